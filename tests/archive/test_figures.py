"""Figures outlast their rows; what is finished goes in pieces, and what still says something stays."""

import pytest
import sqlalchemy as sa
from waiting_kit import delete_that_waits, run_with_action

from hostd.archive import commitments, deliveries, figures, finished, instances, rows
from hostd.archive import tables as t
from hostd.archive.records import Attempt, Blob
from hostd.dicom.commitment import Report
from hostd.testing.made import arrive

BOTH_DATABASES = True

ARCHIVE, BUFFER = "modality:archive", "peer:buffer"
BLOB = Blob("test/00/a", 3000, "s", "1.2")
DAY = 86_400.0


@pytest.fixture
def blob(archive):
    archive.writer.do(lambda c: instances.add_blob(c, BLOB, 1.0))
    return BLOB


def deliver(archive, content, *, at=1000.0, outcome="delivered", destination=ARCHIVE, instance="gone"):
    """Ask for a delivery and settle it; return its number."""

    def unit(connection):
        number, _ = deliveries.ask(
            connection, instance=instance, sop_instance_uid="1.2", sop_class_uid="1.3", destination=destination,
            content=content, blob=BLOB.name, now=at,
        )  # fmt: skip
        assert [d.id for d in deliveries.claim(connection, destination, 7, at, 1)] == [number]
        assert deliveries.finish(connection, Attempt(number, 1, at, outcome, "x", 0, 0.5), 7)
        return number

    return archive.writer.do(unit)


def totals(archive):
    with archive.read() as connection:
        return {(f.destination, f.outcome): (f.attempts, f.size, f.seconds) for f in figures.totals(connection)}


def reckon(archive, limit=2000):
    count = 0
    while archive.writer.do(lambda c: figures.reckon(c, limit=limit)):
        count += 1
    return count


def purge(archive, kind, before):
    """Purge to the end; return how many went."""
    after, gone = 0, 0
    while (step := archive.writer.do(lambda c, after=after: finished.ALL[kind](c, before, after))) is not None:
        after, more = step
        gone += more
    return gone


def numbers(archive, table=t.delivery):
    with archive.read() as connection:
        return list(connection.execute(sa.select(table.c.id).order_by(table.c.id)).scalars())


def test_figures_are_the_same_before_and_after_they_are_reckoned_and_after_the_rows_are_gone(archive, blob):
    for number in range(5):
        deliver(archive, str(number), at=1000.0 + number * DAY)
    deliver(archive, "f", outcome="failed")
    deliver(archive, "b", destination=BUFFER)
    expected = {
        (ARCHIVE, "delivered"): (5, 15_000, 2.5), (ARCHIVE, "failed"): (1, 3000, 0.5), (BUFFER, "delivered"): (1, 3000, 0.5),
    }  # fmt: skip
    assert totals(archive) == expected
    assert reckon(archive, limit=2) == 4
    assert totals(archive) == expected
    assert reckon(archive) == 0
    assert purge(archive, "deliveries", 1e12) == 6
    assert totals(archive) == expected
    deliver(archive, "later", destination=BUFFER)
    assert totals(archive)[BUFFER, "delivered"] == (2, 6000, 1.0)
    with archive.read() as connection:
        days = connection.execute(sa.select(t.figure.c.day).where(t.figure.c.outcome == "delivered")).scalars().all()
    assert sorted(days) == [0, 0, 1, 2, 3, 4]


def test_what_is_not_yet_in_the_figures_is_not_forgotten(archive, blob):
    number = deliver(archive, "a")
    assert purge(archive, "deliveries", 1e12) == 0
    reckon(archive)
    assert purge(archive, "deliveries", 1e12) == 1
    assert number not in numbers(archive)
    assert numbers(archive, t.attempt) == []


def test_what_says_something_stays_whatever_its_age(archive, blob):
    arrive(archive, "1.2.3.4.5")
    with archive.read() as connection:
        stored = instances.by_sop_instance_uid(connection, "1.2.3.4.5")[0]
    of_what_is_stored = deliver(archive, "s", instance=stored.id)
    failed = deliver(archive, "f", outcome="failed")
    young = deliver(archive, "y", at=5000.0)
    old = deliver(archive, "o", at=100.0)
    waited_for = deliver(archive, "w", at=100.0)
    delete_that_waits(archive, waited_for)
    reckon(archive)
    assert purge(archive, "deliveries", 2000.0) == 1
    assert numbers(archive) == sorted({of_what_is_stored, failed, young, waited_for})
    assert old not in numbers(archive)
    archive.writer.do(lambda c: instances.hide(c, stored.id, 1.0))
    assert purge(archive, "deliveries", 2000.0) == 1
    assert of_what_is_stored not in numbers(archive)


def ran(archive, state="done", **run):
    return archive.writer.do(lambda c: run_with_action(c, verb="label", inputs={}, state=state, **run))


def test_runs_go_with_their_actions_but_not_before_what_they_asked_for(archive, blob):
    old, _ = ran(archive)
    parked, _ = ran(archive, outcome="parked", event=2)
    young, _ = ran(archive, at=9000.0, event=3)
    waiting, _ = ran(archive, event=4, state="open")
    asking, action = ran(archive, event=5)
    number = deliver(archive, "a", at=100.0)
    archive.writer.do(lambda c: c.execute(sa.update(t.delivery).values(action=action)))
    assert purge(archive, "runs", 2000.0) == 1
    assert numbers(archive, t.run) == [parked, young, waiting, asking]
    reckon(archive)
    assert purge(archive, "deliveries", 2000.0) == 1
    assert number not in numbers(archive)
    assert purge(archive, "runs", 2000.0) == 1
    assert numbers(archive, t.run) == [parked, young, waiting]
    assert old not in numbers(archive, t.run)


def test_a_receipt_stays_as_long_as_one_of_its_files(archive, blob):
    def receipt(connection, source, transform, result):
        return rows.insert(
            connection, t.receipt, source=source, transform=transform, result=result, outcome="made", facts={}, at=1.0
        )

    kept = archive.writer.do(lambda c: receipt(c, BLOB.name, "x", None))
    made = archive.writer.do(lambda c: receipt(c, "gone", "x", BLOB.name))
    gone = archive.writer.do(lambda c: receipt(c, "gone", "y", None))
    assert purge(archive, "receipts", 2000.0) == 1
    assert numbers(archive, t.receipt) == [kept, made]
    assert gone not in numbers(archive, t.receipt)


def test_a_purge_looks_at_a_few_rows_a_unit(archive, blob, monkeypatch):
    monkeypatch.setattr(finished, "AT_ONCE", 2)
    for number in range(5):
        deliver(archive, str(number))
    reckon(archive)
    steps, after = [], 0
    while (step := archive.writer.do(lambda c, after=after: finished.deliveries(c, 1e12, after))) is not None:
        steps.append(step[1])
        after = step[0]
    assert steps == [2, 2, 1]


def test_the_archive_forgets_all_kinds_in_the_right_order(archive, blob, clock):
    _, action = ran(archive, at=clock.now())
    deliver(archive, "a", at=clock.now())
    archive.writer.do(lambda c: c.execute(sa.update(t.delivery).values(action=action)))
    archive.reckon()
    assert archive.forget_finished(seconds=60) == 0
    clock.advance(100)
    assert archive.forget_finished(seconds=60) == 2
    assert (numbers(archive), numbers(archive, t.run), numbers(archive, t.action)) == ([], [], [])


def test_a_transaction_of_storage_commitment_is_forgotten_when_no_delivery_needs_it_any_more(archive, blob, clock):
    clock.advance(10_000 - clock.now())
    late, named, settled = (deliver(archive, one) for one in ("late", "named", "settled"))

    def ask(number, uid, at):
        def unit(connection):
            connection.execute(sa.update(t.delivery).where(t.delivery.c.id == number).values(commitment="wanted"))
            commitments.ask(connection, ARCHIVE, uid, at, asked_before=0, limit=10)

        archive.writer.do(unit)

    def transactions():
        with archive.read() as connection:
            return set(connection.execute(sa.select(t.commitment.c.uid)).scalars())

    ask(settled, "1.1", 2000.0)
    archive.writer.do(lambda c: commitments.settle(c, Report("1.1", frozenset({"1.2"}), {}), 2001.0))
    ask(late, "1.3", 2000.0)
    ask(late, "1.4", 3000.0)  # anew: a report under the first one settles it all the same
    ask(named, "1.5", 9990.0)
    archive.forget_finished(seconds=60)
    assert transactions() == {"1.1", "1.3", "1.4", "1.5"}, "deliveries name them, or could be settled by them"
    reckon(archive)
    archive.writer.do(lambda c: c.execute(sa.update(t.delivery).values(commitment="committed")))
    archive.forget_finished(seconds=60)
    assert numbers(archive) == []
    assert transactions() == {"1.5"}, "too young"
    clock.advance(100)
    archive.forget_finished(seconds=60)
    assert transactions() == set()
