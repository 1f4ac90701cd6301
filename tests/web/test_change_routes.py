"""/changes and /exports: the event log as Orthanc tells it, page by page, in numbers that stay."""

import itertools

import pytest
import sqlalchemy as sa
from web_support import changed, dicom_file, is_orthanc_error

from hostd.archive import changes, deliveries, instances, levels
from hostd.archive import tables as t
from hostd.archive.records import Attempt


def seen(client, query=""):
    return client.get(f"/changes{query}").json()


def types(page):
    return [(entry["ChangeType"], entry["ResourceType"]) for entry in page["Changes"]]


@pytest.fixture
def stored(client):
    """The identifiers of one stored instance and its levels."""
    return client.post("/instances", content=dicom_file()).json()


def test_what_comes_changes_and_goes_is_told_in_order(face, client, stored):
    def unit(connection):
        for due in levels.due(connection, face.archive.clock.now() + 3600, limit=9):
            levels.tell_stable(connection, due, face.archive.clock.now())
        levels.changed(connection, stored["ID"], face.archive.clock.now(), "metadata")

    face.archive.writer.do(unit)
    client.post("/instances", content=changed(dicom_file(), PatientComments="other"))
    client.delete(stored["Path"])
    page = seen(client)
    assert types(page) == [
        ("NewInstance", "Instance"), ("NewPatient", "Patient"), ("NewStudy", "Study"), ("NewSeries", "Series"),
        ("StableSeries", "Series"), ("StableStudy", "Study"), ("StablePatient", "Patient"),
        ("UpdatedMetadata", "Instance"),
        ("UpdatedAttachment", "Instance"), ("UpdatedAttachment", "Series"),
        ("UpdatedAttachment", "Study"), ("UpdatedAttachment", "Patient"),
        ("Deleted", "Instance"), ("Deleted", "Series"), ("Deleted", "Study"), ("Deleted", "Patient"),
    ]  # fmt: skip
    assert {kind for kind, _ in types(page)} <= changes.TYPES
    first = page["Changes"][0]
    assert (first["ID"], first["Path"]) == (stored["ID"], stored["Path"])
    assert page["Changes"][3]["Path"] == f"/series/{stored['ParentSeries']}"
    assert len(first["Date"]) == len("20260131T235959")
    numbers = [entry["Seq"] for entry in page["Changes"]]
    assert numbers == sorted(set(numbers))
    assert page["Done"] is True
    assert page["Last"] == numbers[-1]


def test_pages_follow_each_other_without_gap_or_double(client, stored):
    whole, paged, since = seen(client)["Changes"], [], 0
    for _ in itertools.count():
        page = seen(client, f"?since={since}&limit=3")
        assert len(page["Changes"]) <= 3
        paged += page["Changes"]
        since = page["Last"]
        if page["Done"]:
            break
    assert paged == whole
    assert seen(client, f"?since={since}") == {"Changes": [], "Done": True, "Last": since}
    assert seen(client, f"?since={since + 1000}")["Last"] == since


def test_nothing_is_skipped_by_whoever_asks_for_nothing(client, stored):
    assert seen(client, "?since=1&limit=0") == {"Changes": [], "Done": False, "Last": 1}


def test_the_newest_change_alone(client, stored):
    whole = seen(client)
    assert seen(client, "?last") == {"Changes": whole["Changes"][-1:], "Done": True, "Last": whole["Last"]}
    assert len(seen(client, "?last=false")["Changes"]) == 4


def test_what_was_told_is_forgotten_here_and_stays_for_scripts(face, client, stored):
    last = seen(client)["Last"]
    assert client.delete("/changes").text == ""
    assert seen(client) == {"Changes": [], "Done": True, "Last": last}
    client.delete(stored["Path"])
    assert types(seen(client))[0] == ("Deleted", "Instance")
    client.delete("/changes")
    assert seen(client, "?last")["Changes"] == []
    with face.archive.read() as connection:
        assert connection.execute(sa.select(sa.func.min(t.event.c.number))).scalar() == 1


def test_an_event_that_a_script_is_given_again_is_no_change(face, client, stored):
    def again(connection):
        from hostd.archive import events  # noqa: PLC0415

        events.repeat(connection, 1, "script.py", face.archive.clock.now())

    face.archive.writer.do(again)
    assert len(seen(client)["Changes"]) == 4


def test_a_page_looks_at_a_bounded_stretch_of_the_log(face, client, stored, monkeypatch):
    """A million events of other kinds are passed in pages that may be empty, and nothing between them is lost."""
    monkeypatch.setattr(changes, "_STRETCH", 5)
    rows = [{"kind": "association_closed", "subject": "1", "at": 0.0, "facts": {}}] * 23
    face.archive.writer.do(lambda c: c.execute(sa.insert(t.event), rows))
    client.delete(stored["Path"])
    found, pages, since, done = [], 0, 0, False
    while not done:
        page = seen(client, f"?since={since}")
        assert page["Last"] - since <= 5
        found += types(page)
        pages, since, done = pages + 1, page["Last"], page["Done"]
    assert len(found) == 8
    assert pages >= 6
    assert seen(client, "?last")["Changes"][0]["ChangeType"] == "Deleted"


def test_pages_are_found_by_the_number_of_their_events(face):
    with face.archive.read() as connection:
        plans = []
        real = connection.execute

        def explained(query, *arguments, **named):
            text = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
            plans.extend(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}"))
            return real(query, *arguments, **named)

        connection.execute = explained
        changes.changes(connection, since=7, limit=10)
        changes.last_change(connection)
        changes.exports(connection, since=7, limit=10)
    assert [plan for plan in plans if plan.startswith("SCAN")] == []
    assert sum("rowid>? AND rowid<?" in plan for plan in plans) == 3


@pytest.mark.parametrize("query", ["since=x", "since=-1", "limit=-1", "limit=1.5", "limit=10001"])
def test_what_is_no_number_is_refused(client, query):
    assert is_orthanc_error(client.get(f"/changes?{query}"), 400, 5)


# -- exports --------------------------------------------------------------------------------------------------------


def send(face, outcome="delivered"):
    """Have the one instance delivered to a modality."""
    from hostd.archive import occurrences  # noqa: PLC0415

    now = face.archive.clock.now()

    def unit(connection):
        (one,) = instances.page(connection)
        number, _ = deliveries.ask(
            connection, destination="modality:archive", instance=one.id, sop_instance_uid=one.sop_instance_uid,
            sop_class_uid=one.sop_class_uid, content=one.received_sha256, blob=one.blob.name, now=now,
        )  # fmt: skip
        deliveries.claim(connection, "modality:archive", 7, now, 1)
        attempt = Attempt(number, 1, now, outcome, "0x0000", 0, 0.25)
        deliveries.finish(connection, attempt, 7)
        return attempt

    attempt = face.archive.writer.do(unit)
    with face.archive.read() as connection:
        told = connection.execute(sa.select(t.event.c.number).where(t.event.c.kind.startswith("delivery"))).all()
    if not told:
        face.archive.writer.do(lambda c: occurrences.deliveries_ended(c, [attempt]))


def test_what_was_sent_is_told_with_all_its_identifiers(face, client, stored):
    send(face)
    page = client.get("/exports").json()
    (export,) = page["Exports"]
    assert page == {"Exports": [export], "Done": True, "Last": export["Seq"]}
    assert export == {
        "Date": export["Date"],
        "ID": stored["ID"],
        "Path": stored["Path"],
        "PatientID": "1CT1",
        "RemoteModality": "archive",
        "ResourceType": "Instance",
        "SOPInstanceUID": "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322",
        "Seq": export["Seq"],
        "SeriesInstanceUID": "1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322",
        "StudyInstanceUID": "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322",
    }
    assert client.get("/exports?last").json()["Exports"] == [export]
    assert client.delete("/exports").status_code == 200
    assert client.get("/exports").json() == {"Exports": [], "Done": True, "Last": page["Last"]}
    assert len(seen(client)["Changes"]) == 4, "changes are forgotten for themselves"


def test_what_failed_to_be_sent_is_no_export(face, client, stored):
    send(face, "failed")
    assert client.get("/exports").json()["Exports"] == []
