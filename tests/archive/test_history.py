"""What became of an instance can be told from the index, also after it was deleted."""

import msgspec
import pytest

from hostd.archive import deliveries, history, instances, plans, receiving, scripts
from hostd.archive import events as log
from hostd.archive.plans import Plan, PlannedDelete, PlannedForward
from hostd.archive.records import Attempt, Blob, Origin
from hostd.archive.scripts import Version
from hostd.archive.telling import plain
from hostd.testing.made import arrive, header

BOTH_DATABASES = True

ROUTER, SILENT, LATE = "router.py", "silent.py", "late.py"
SOP = "1.2.3.4.5"
NAMED = {0x00100020: ("LO", ["P1"]), 0x00080050: ("SH", ["ACC1"]), 0x00080060: ("CS", ["CT"])}


def meet(archive, name):
    def unit(connection):
        scripts.meet(connection, name, 0.0, from_beginning=True)
        return scripts.accept(connection, name, Version("h" + name, "source", ("on_stored_instance",)), 0.0)[0]

    return archive.writer.do(unit)


@pytest.fixture
def routed(archive):
    """One instance that a script forwarded and then deleted; another script did nothing, a third has not had it yet."""
    cursors = {name: meet(archive, name) for name in (ROUTER, SILENT, LATE)}
    arrive(archive, SOP, origin=Origin("dicom", calling_aet="CT1", ip="192.0.2.1"))
    with archive.read() as connection:
        (event,) = log.after(connection, 0, ["stored_instance"], 10)
    forward = PlannedForward(0, {"x": event.subject, "to": "archive", "line": 3}, "modality:archive")
    delete = PlannedDelete(1, {"x": event.subject, "after": "delivered", "line": 4}, "delivered")
    plan = Plan(
        ROUTER, "h" + ROUTER, event, SOP, "1.2", "done", (forward, delete),
        ("Modality", "PatientID"), (("info", "sent P1"),), None, 5.0, 0.25,
    )  # fmt: skip

    def unit(connection):
        before = cursors[ROUTER].low_water
        plans.enter(connection, plan, cursors[ROUTER].token, after=before)
        scripts.advance(connection, SILENT, cursors[SILENT].token, after=before, to=event.number)

    archive.writer.do(unit)
    return archive


def deliver(archive, outcome="delivered"):
    def unit(connection):
        (claimed,) = deliveries.claim(connection, "modality:archive", 1, 10.0, 10)
        return deliveries.finish(connection, Attempt(claimed.id, 1, 11.0, outcome, "0x0000: Success", 0, 0.5, "1.2"), 1)

    assert archive.writer.do(unit)


def told(archive, name=SOP):
    with archive.read() as connection:
        found = history.named(connection, name)
        return found, [history.of(connection, one) for ids in found.values() for one in ids]


def test_every_script_is_told_with_what_it_decided(routed):
    _, (one,) = told(routed)
    first = one.events[0]
    (run,) = first.runs
    assert (run.script, run.version, run.outcome, run.seconds) == (ROUTER, "h" + ROUTER, "done", 0.25)
    assert run.tags_read == ("Modality", "PatientID")
    assert [(action.verb, action.state) for action in run.actions] == [("forward", "done"), ("delete", "open")]
    assert first.without_effect == (SILENT,)
    assert first.ahead_of == (LATE,)
    assert first.event.origin.ip == "192.0.2.1"


def test_every_attempt_is_told_and_a_deleted_instance_is_still_explained(routed):
    deliver(routed)
    for name, kind in ((SOP, "SOP Instance UID"), ("1.2.3", "Study Instance UID"), ("1.2.3.4", "Series Instance UID")):
        found, (one, *others) = told(routed, name)
        assert (list(found), others) == ([kind], [])
    assert one.instance is None
    assert [told.event.kind for told in one.events] == ["stored_instance", "delivery_done", "deleted_instance"]
    (delivery,) = one.deliveries()
    assert [(a.outcome, a.answer) for a in delivery.attempts] == [("delivered", "0x0000: Success")]
    assert history.per_destination([one]) == {"modality:archive": {"delivered": 1}}


def test_a_study_is_found_with_what_was_deleted_of_it(routed):
    deliver(routed)
    arrive(routed, "1.2.3.4.6")
    _, both = told(routed, "1.2.3")
    assert [one.instance is None for one in both] == [True, False]
    assert history.per_destination(both) == {"modality:archive": {"delivered": 1}}


def test_names_of_all_kinds_are_found(archive):
    file = archive.blobs.create()
    file.seal()
    file.close()
    made = msgspec.structs.replace(header(SOP), tags=NAMED)
    arrival = receiving.Arrival(made, Blob(file.name, 0, "x", "1.2.840.10008.1.2.1"), "x", Origin("http"), 1.0)
    archive.writer.do(lambda c: receiving.take_in(c, arrival, "newest"), blobs=[file.name])
    for name, kind in (
        (made.identity.instance, "identifier"), ("ACC1", "Accession Number"), ("P1", "Patient ID"), ("nobody", None),
    ):  # fmt: skip
        for _ in range(2):  # first stored, then deleted
            found, _ = told(archive, name)
            assert list(found) == ([kind] if kind else [])
    archive.writer.do(lambda c: instances.hide(c, made.identity.instance, 2.0))
    for name, kind in ((made.identity.instance, "identifier"), ("ACC1", "Accession Number"), ("P1", "Patient ID")):
        assert list(told(archive, name)[0]) == [kind]
    assert told(archive, "ACC")[0] == {}


def test_without_phi_nothing_tells_who_the_patient_is(routed):
    deliver(routed)
    _, histories = told(routed)
    assert "P1" in str(plain(histories, phi=True))
    assert "PatientID" in str(plain(histories, phi=False))
    assert "P1" not in str(plain(histories, phi=False))
    assert "Success" not in str(plain(histories, phi=False))


def test_what_no_script_asked_anything_for_is_unrouted_once_all_have_had_it(archive):
    arrive(archive, "1.2.3.4.7")
    with archive.read() as connection:
        assert [one.sop_instance_uid for one in history.unrouted(connection, limit=10)] == ["1.2.3.4.7"]
    cursor = meet(archive, SILENT)
    with archive.read() as connection:
        assert history.unrouted(connection, limit=10) == []
        number = log.last_number(connection)
    archive.writer.do(lambda c: scripts.advance(c, SILENT, cursor.token, after=0, to=number))
    with archive.read() as connection:
        assert [one.sop_instance_uid for one in history.unrouted(connection, limit=10)] == ["1.2.3.4.7"]


def test_what_was_routed_is_not_unrouted(routed):
    with routed.read() as connection:
        assert history.unrouted(connection, limit=10) == []
