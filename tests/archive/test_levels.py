"""The events of series, studies and patients, and of changed and deleted instances: in the transaction of what they tell (P2)."""

import pytest
import sqlalchemy as sa

from hostd.archive import associations, events, instances, levels, members, plans, scripts
from hostd.archive import tables as t
from hostd.archive.fanout import Many
from hostd.archive.levels import LevelFacts
from hostd.archive.plans import Plan, PlannedForward
from hostd.archive.records import Origin
from hostd.dicom.header import Header
from hostd.testing.made import SERIES, STUDY, arrive, header

BOTH_DATABASES = True

A = header().identity
HANDLED = (
    "stored_instance", "conflicting_instance", "updated_instance", "deleted_instance", "association_closed",
    *(f"{what}_{level}" for what in ("new", "updated", "deleted", "stable") for level in levels.LEVELS),
)  # fmt: skip


def told(archive, after=0):
    with archive.read() as connection:
        return events.after(connection, after, HANDLED, 1000)


def kinds(archive, after=0):
    return [event.kind for event in told(archive, after)]


def last(archive, kind):
    return next(event for event in reversed(told(archive)) if event.kind == kind)


def hide(archive, uid="1.2.3.4.5"):
    return archive.writer.do(lambda c: instances.hide(c, header(uid).identity.instance, 9.0))


def page(archive, event, **more):
    with archive.read() as connection:
        asked = {"new_only": False, "after": (-1, ""), "limit": 100} | more
        return [member.id for member in members.page(connection, event, LevelFacts.of(event.facts), **asked)]


def test_each_level_begins_once_with_its_first_instance(archive):
    arrive(archive, "1.2.3.4.1")
    arrive(archive, "1.2.3.4.2")
    arrive(archive, "1.2.3.5.1", series="1.2.3.5")
    arrive(archive, "1.2.4.5.1", series="1.2.4.5", study="1.2.4")
    assert kinds(archive) == [
        "stored_instance", "new_patient", "new_study", "new_series",
        "stored_instance",
        "stored_instance", "new_series",
        "stored_instance", "new_study", "new_series",
    ]  # fmt: skip


def test_a_level_event_tells_its_attributes_and_its_first_instance(archive):
    arrive(archive, "1.2.3.4.1", origin=Origin("dicom", calling_aet="CT1", association=7))
    event = last(archive, "new_series")
    facts = LevelFacts.of(event.facts)
    assert (event.subject, facts.series_instance_uid, facts.study_instance_uid) == (A.series, SERIES, STUDY)
    assert (facts.attributes, facts.count) == ({"PatientID": "P1", "Modality": "CT"}, 1)
    with archive.read() as connection:
        assert members.first(connection, event, facts).id == header("1.2.3.4.1").identity.instance
        assert members.origins(connection, event, facts) == [Origin("dicom", calling_aet="CT1")]
        assert connection.execute(sa.select(t.event.c.study).where(t.event.c.number == event.number)).scalar() == STUDY


def test_the_last_delete_ends_the_levels_and_its_events_still_tell_what_they_were(archive):
    arrive(archive, "1.2.3.4.1")
    arrive(archive, "1.2.3.5.1", series="1.2.3.5")
    mark = told(archive)[-1].number
    hide(archive, "1.2.3.4.1")
    assert kinds(archive, mark) == ["deleted_instance", "deleted_series"]
    archive.writer.do(lambda c: instances.hide(c, header("1.2.3.5.1", series="1.2.3.5").identity.instance, 9.0))
    assert kinds(archive, mark)[2:] == ["deleted_instance", "deleted_series", "deleted_study", "deleted_patient"]
    event = last(archive, "deleted_series")
    facts = LevelFacts.of(event.facts)
    assert (facts.attributes["Modality"], facts.count, facts.first) == ("CT", 0, None)
    gone = last(archive, "deleted_instance")
    assert Header.decode(gone.header).sop_instance_uid == "1.2.3.5.1"
    with archive.read() as connection:
        assert page(archive, event) == []
        assert members.origins(connection, event, facts) == [Origin("dicom", calling_aet="CT1")]
        assert connection.execute(sa.select(t.stable)).all() == []


def test_a_level_that_was_deleted_begins_anew(archive):
    arrive(archive)
    hide(archive)
    mark = told(archive)[-1].number
    arrive(archive)
    assert kinds(archive, mark) == ["stored_instance", "new_patient", "new_study", "new_series"]


def test_other_content_updates_the_instance_and_the_levels_above(archive):
    arrive(archive, content=b"one")
    mark = told(archive)[-1].number
    arrive(archive, content=b"two")
    updated = ["updated_instance", "updated_series", "updated_study", "updated_patient"]
    assert kinds(archive, mark) == ["conflicting_instance", *updated]
    assert last(archive, "updated_instance").facts == {"changes": ["content"]}
    assert LevelFacts.of(last(archive, "updated_study").facts).changes == ("content",)


@pytest.mark.parametrize("on_conflict", ["first", "refuse"])
def test_what_is_kept_beside_or_refused_updates_nothing(archive, on_conflict):
    arrive(archive, content=b"one")
    mark = told(archive)[-1].number
    arrive(archive, content=b"two", on_conflict=on_conflict)
    assert kinds(archive, mark) == ["conflicting_instance"]


def test_changed_metadata_and_labels_are_told_of_what_they_belong_to(archive):
    arrive(archive)
    mark = told(archive)[-1].number
    archive.writer.do(lambda c: levels.changed(c, A.instance, 5.0, "metadata", "labels"))
    archive.writer.do(lambda c: levels.changed(c, "no such instance", 5.0, "metadata"))
    archive.writer.do(lambda c: levels.level_changed(c, "study", A.study, 5.0, "labels"))
    archive.writer.do(lambda c: levels.level_changed(c, "study", "no such study", 5.0, "labels"))
    assert kinds(archive, mark) == ["updated_instance", "updated_study"]
    event = last(archive, "updated_instance")
    assert event.facts == {"changes": ["metadata", "labels"]}
    assert Header.decode(event.header).sop_instance_uid == "1.2.3.4.5"


def test_members_are_those_of_the_event_whatever_came_went_or_changed_since(archive):
    uids = [f"1.2.3.4.{number}" for number in range(1, 6)]
    for uid in uids[:4]:
        arrive(archive, uid)
    archive.writer.do(lambda c: levels.level_changed(c, "series", A.series, 5.0, "labels"))
    event = last(archive, "updated_series")
    arrive(archive, uids[4])  # came later
    hide(archive, uids[1])
    arrive(archive, uids[2], content=b"other")  # has an event of its own
    assert page(archive, event) == [header(uid).identity.instance for uid in (uids[0], uids[3])]
    assert LevelFacts.of(event.facts).count == 4


def test_the_first_instance_is_as_it_was_also_after_it_was_replaced(archive):
    arrive(archive, content=b"one")
    event = last(archive, "new_study")
    arrive(archive, content=b"two")
    with archive.read() as connection:
        first = members.first(connection, event, LevelFacts.of(event.facts))
    assert archive.blobs.path(first.blob).read_bytes() == b"one"


def test_pages_follow_one_another_without_gap_or_double(archive):
    for number in range(7):
        arrive(archive, f"1.2.3.4.{number}")
    archive.writer.do(lambda c: levels.level_changed(c, "patient", A.patient, 5.0, "labels"))
    event = last(archive, "updated_patient")
    facts, seen, after = LevelFacts.of(event.facts), [], (-1, "")
    with archive.read() as connection:
        while found := members.page(connection, event, facts, new_only=False, after=after, limit=3):
            seen += [member.id for member in found]
            after = (found[-1].told, found[-1].id)
    assert seen == [header(f"1.2.3.4.{number}").identity.instance for number in range(7)]


def test_an_association_is_told_with_the_row_that_closes_it(archive):
    facts = {"contexts": []}
    number = archive.writer.do(
        lambda c: associations.open_row(
            c, at=1.0, calling_aet="CT1", called_aet="HOSTD", ip="192.0.2.1", port=1, facts=facts
        )
    )
    archive.writer.do(
        lambda c: associations.close_row(
            c, number, ended="released", reason="", ended_at=3.0, received=5, stored=4, failed=1, size=10
        )
    )
    event = last(archive, "association_closed")
    assert (event.subject, event.facts["association"], event.facts["calling_aet"]) == (str(number), number, "CT1")
    assert (event.facts["received"], event.facts["stored"], event.facts["failed"]) == (5, 4, 1)


def test_an_association_that_a_crash_interrupted_is_told_once(archive):
    archive.writer.do(
        lambda c: associations.open_row(c, at=1.0, calling_aet="A", called_aet="B", ip="", port=1, facts={})
    )
    for _ in range(2):
        archive.writer.do(lambda c: associations.close_interrupted(c, "node", 9.0))
    assert [event.facts["ended"] for event in told(archive)] == ["interrupted"]


@pytest.mark.parametrize("of", ["another study", "1.2.3", ""])
def test_an_action_on_what_is_no_instance_of_the_level_sends_nothing(archive, of):
    arrive(archive, "1.2.3.4.1")
    arrive(archive, "1.2.4.5.1", series="1.2.4.5", study="1.2.4")
    event = next(event for event in told(archive) if event.kind == "new_study")
    other = header("1.2.4.5.1", series="1.2.4.5", study="1.2.4").identity.instance
    plan = Plan(
        script="a.py", version="v", event=event, sop_instance_uid="", sop_class_uid="", outcome="done",
        actions=(PlannedForward(0, {}, "modality:archive", of=Many.of(event, of or other)),),
        tags_read=(), log=(), error=None, at=1.0, seconds=0.0,
    )  # fmt: skip
    archive.writer.do(lambda c: scripts.meet(c, "a.py", 0.0, from_beginning=True))
    archive.writer.do(lambda c: plans.enter(c, plan, 0, after=0))
    with archive.read() as connection:
        action = connection.execute(sa.select(t.action)).one()
        assert connection.execute(sa.select(t.delivery)).all() == []
    assert action.state == "skipped"
    assert "nothing of it is left" in action.result["reason"]
