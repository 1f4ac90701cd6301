"""What comes of which no script is told: it is in the archive as all else is, and nothing begins with it."""

import pytest
import sqlalchemy as sa

from hostd.archive import events, history, instances, levels, members, repeats, scripts
from hostd.archive import tables as t
from hostd.archive.levels import LevelFacts
from hostd.archive.records import NOBODY
from hostd.archive.scripts import Version
from hostd.testing.made import STUDY, arrive, header

BOTH_DATABASES = True

A = header().identity
STORED = ["stored_instance"]
HANDLED = (
    *("stored_instance", "received_again", "conflicting_instance", "updated_instance", "deleted_instance"),
    *(f"{what}_{level}" for what in ("new", "updated", "deleted", "stable") for level in levels.LEVELS),
)


def told(archive):
    """Return the kinds of what every script is told."""
    with archive.read() as connection:
        return [event.kind for event in events.after(connection, 0, HANDLED, 1000, script="a.py")]


def log(archive):
    with archive.read() as connection:
        query = sa.select(t.event.c.kind, t.event.c.only_for).order_by(t.event.c.number)
        return [tuple(row) for row in connection.execute(query)]


def settle(archive, now):
    """Tell what is stable by then, and return the new and all members of each series that was told."""

    def unit(connection):
        return [levels.tell_stable(connection, one, now) for one in levels.due(connection, now, limit=100)]

    numbers = archive.writer.do(unit)
    with archive.read() as connection:
        found = [events.get(connection, number) for number in numbers if number is not None]
        facts = [LevelFacts.of(event.facts) for event in found]
        shown = [
            len(members.page(connection, event, one, new_only=False, after=(-1, ""), limit=100))
            for event, one in zip(found, facts, strict=True)
            if one.level == "series"
        ]
    return [(one.new, one.count) for one in facts if one.level == "series"], shown


def test_it_is_stored_with_an_event_that_no_script_is_told(archive):
    assert arrive(archive, silent=True) == "stored"
    assert told(archive) == []
    assert log(archive) == [("stored_instance", NOBODY)]
    with archive.read() as connection:
        assert instances.get(connection, A.instance) is not None
        assert [one.event.kind for one in history.of(connection, A.instance).events] == STORED


def test_it_is_never_told_as_stable(archive):
    arrive(archive, silent=True)
    assert settle(archive, 1e12) == ([], [])


def test_what_is_received_later_is_new_beside_it(archive):
    arrive(archive, "1.2.3.4.1", silent=True)
    arrive(archive, "1.2.3.4.2")
    assert told(archive) == STORED  # study, series and patient began before
    assert settle(archive, 1e12) == ([(1, 2)], [2])


def test_what_waits_to_be_told_as_stable_still_is(archive):
    arrive(archive, "1.2.3.4.1")
    arrive(archive, "1.2.3.4.2", silent=True)
    assert settle(archive, 1e12) == ([(2, 2)], [2])


def test_a_repeat_leaves_no_row(archive):
    arrive(archive)
    before = log(archive)
    assert arrive(archive, silent=True) == "already stored"
    assert log(archive) == before


@pytest.mark.parametrize(("on_conflict", "outcome"), [("newest", "replaced"), ("first", "kept as version")])
def test_other_content_is_kept_without_a_word(archive, on_conflict, outcome):
    arrive(archive, content=b"one")
    settle(archive, 1e12)
    before = told(archive)
    assert arrive(archive, content=b"two", on_conflict=on_conflict, silent=True) == outcome
    assert told(archive) == before
    assert settle(archive, 2e12) == ([], [])
    with archive.read() as connection:
        assert instances.get(connection, A.instance).blob.size == 3
        assert connection.execute(sa.select(t.version.c.id)).all()


def test_what_is_refused_leaves_no_row(archive):
    arrive(archive, content=b"one")
    before = log(archive)
    assert arrive(archive, content=b"two", on_conflict="refuse", silent=True) == "refused"
    assert log(archive) == before


def test_its_delete_is_told_as_every_other(archive):
    arrive(archive, silent=True)
    archive.writer.do(lambda c: instances.hide(c, A.instance, 9.0))
    assert told(archive) == ["deleted_instance", "deleted_series", "deleted_study", "deleted_patient"]


def test_it_can_be_given_to_a_script_by_hand(archive):
    arrive(archive, silent=True)

    def unit(connection):
        scripts.meet(connection, "a.py", 0.0, from_beginning=False)
        scripts.accept(connection, "a.py", Version("hash", "text", ("on_stored_instance",)), 0.0)
        (known,) = scripts.known(connection)
        numbers = repeats.of_the_past(connection, STORED, script="a.py", study=STUDY)
        return repeats.again(connection, known, numbers, 1.0)

    (repeated,) = archive.writer.do(unit)
    assert repeated.left is None
    assert told(archive) == STORED


def test_it_is_not_listed_as_what_no_script_cared_for(archive):
    arrive(archive, "1.2.3.4.1")
    arrive(archive, "1.2.3.4.2", silent=True)
    with archive.read() as connection:
        assert [one.sop_instance_uid for one in history.unrouted(connection, limit=10)] == ["1.2.3.4.1"]
