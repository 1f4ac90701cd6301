"""Transcoding after the acknowledgement: no sender waits for a codec, and every event comes once, when it has ended."""

import threading
import time

import pytest
import sqlalchemy as sa
from ingest_kit import EXPLICIT, FROM_CT1, J2K, data_set_hash, image

from hostd.archive import instances, pending
from hostd.archive import tables as t
from hostd.archive.records import Blob
from hostd.errors import CannotTranscodeError, CodecCrashedError, StorageError
from hostd.intake import ingest_workers
from hostd.intake.ingest_workers import Share
from hostd.transcoding.receipt import Receipt


def outrun(make, **options):
    """Return an intake whose codec is held up, so that the budget runs out."""
    bench = make(budget=0.1, **options)
    bench.pool.gate.clear()
    return bench


def test_what_takes_too_long_is_acknowledged_as_received_and_told_when_it_has_ended(make):
    bench = outrun(make)
    content = image()
    assert bench.receive(content) == "stored"
    original = bench.instance().blob
    assert (original.transfer_syntax, bench.pending(), bench.kinds()) == (EXPLICIT, 1, [])
    bench.check_files()
    bench.pool.gate.set()
    bench.until_ended()
    product = bench.instance().blob
    assert (product.transfer_syntax, bench.pool.calls) == (J2K, 1)  # the job that ran, not another
    event, header = bench.event(0)
    assert (event.kind, event.blob, event.content) == ("stored_instance", product.name, data_set_hash(content))
    assert (event.origin, header.transfer_syntax, header.size) == (FROM_CT1, J2K, product.size)
    assert event.receipt["outcome"] == "made"
    assert [row.result for row in bench.rows(t.receipt)] == [product.name]
    assert bench.archive.collect(trash_seconds=100) == 0
    bench.archive.clock.advance(101)
    assert bench.archive.collect(trash_seconds=100) == 1
    assert bench.files() == [product.name]


def test_a_pending_file_is_pinned_whatever_else_names_it(make):
    bench = outrun(make)
    bench.receive(image())

    def forget_the_instance(connection):
        connection.execute(sa.delete(t.instance))
        connection.execute(sa.update(t.blob).values(released=True))

    bench.archive.writer.do(forget_the_instance)
    bench.archive.clock.advance(1e9)
    assert bench.archive.collect(trash_seconds=0) == 0


def test_a_product_made_afterwards_waits_in_the_trash_with_its_original(make):
    bench = outrun(make)
    bench.receive(image())
    bench.pool.gate.set()
    bench.until_ended()
    bench.archive.writer.do(lambda c: instances.hide(c, bench.instance().id, bench.archive.clock.now()))
    assert bench.archive.collect(trash_seconds=100) == 0
    bench.archive.clock.advance(101)
    assert bench.archive.collect(trash_seconds=100) == 2


def test_without_a_budget_fifty_are_acknowledged_at_once_and_each_has_one_event(make):
    bench = make(budget=0)
    bench.pool.gate.clear()
    files = [image(number) for number in range(1, 51)]
    for content in files:
        assert bench.receive(content) == "stored"
    assert (bench.pending(), bench.kinds(), bench.pool.calls) == (50, [], 1)
    bench.pool.gate.set()
    bench.until_ended()
    assert bench.kinds() == ["stored_instance"] * 50
    assert [event.subject for event in bench.events()] == [bench.instance(n).id for n in range(1, 51)]
    assert {bench.instance(n).blob.transfer_syntax for n in range(1, 51)} == {J2K}
    assert bench.pool.calls == 50
    bench.check_files()


def test_an_identical_repeat_while_pending_is_stored_already(make):
    bench = outrun(make)
    bench.receive(image())
    assert bench.receive(image()) == "already stored"
    assert bench.kinds() == ["received_again"]
    bench.pool.gate.set()
    bench.until_ended()
    assert (bench.kinds(), bench.pool.calls) == (["received_again", "stored_instance"], 1)
    bench.check_files()


def test_other_content_while_pending_ends_the_first_and_both_are_told_in_order(make):
    bench = outrun(make)
    one, two = image(seed=1), image(seed=2)
    assert bench.receive(one) == "stored"
    assert bench.receive(two) == "replaced"
    assert (bench.kinds(), bench.pending()) == (["stored_instance"], 1)
    bench.pool.gate.set()
    bench.until_ended()
    bench.until(lambda: len(bench.files()) == 3, "the result that nobody wants is removed")
    assert bench.kinds() == ["stored_instance", "conflicting_instance"]
    first, second = bench.events()
    assert [first.content, second.content] == [data_set_hash(one), data_set_hash(two)]
    assert (first.receipt["outcome"], second.receipt["outcome"]) == ("kept original", "made")
    assert "other content" in first.receipt["reason"]
    (version,) = bench.rows(t.version)
    assert (version.blob, bench.archive.blobs.path(version.blob).read_bytes()) == (first.blob, one)
    assert bench.instance().blob.name == second.blob
    assert [row.outcome for row in bench.rows(t.receipt)] == ["made"]
    bench.check_files()


def test_with_the_first_kept_both_go_on(make):
    bench = outrun(make, on_conflict="first")
    bench.receive(image(seed=1))
    assert bench.receive(image(seed=2)) == "kept as version"
    bench.pool.gate.set()
    bench.until_ended()
    stored, conflicting = bench.events()
    (version,) = bench.rows(t.version)
    assert (stored.kind, stored.blob) == ("stored_instance", bench.instance().blob.name)
    assert (conflicting.kind, conflicting.blob) == ("conflicting_instance", version.blob)
    assert {stored.receipt["outcome"], conflicting.receipt["outcome"]} == {"made"}


def test_a_delete_while_pending_is_told_after_the_instance_and_nothing_is_swapped(make):
    bench = outrun(make)
    bench.receive(image())
    instance = bench.instance()
    bench.archive.writer.do(lambda c: instances.hide(c, instance.id, 5.0))
    assert (bench.kinds(), bench.pending()) == (["stored_instance", "deleted_instance"], 0)
    event, header = bench.event(0)
    assert (event.blob, header.transfer_syntax, event.receipt["outcome"]) == (
        instance.blob.name,
        EXPLICIT,
        "kept original",
    )
    assert bench.rows(t.receipt) == []
    bench.pool.gate.set()
    bench.until(lambda: bench.pool.running == 0 and len(bench.files()) == 1, "the result is removed")
    assert bench.kinds() == ["stored_instance", "deleted_instance"]
    assert bench.instance() is None
    assert bench.archive.collect(trash_seconds=0) == 1


def test_what_was_deleted_and_came_again_while_pending_has_its_own_event(make):
    bench = outrun(make)
    bench.receive(image())
    bench.archive.writer.do(lambda c: instances.hide(c, bench.instance().id, 5.0))
    assert bench.receive(image()) == "stored"
    bench.pool.gate.set()
    bench.until_ended()
    assert bench.kinds() == ["stored_instance", "deleted_instance", "stored_instance"]
    assert bench.instance().blob.transfer_syntax == J2K


def test_a_failure_afterwards_is_told_as_one_before(make, capsys):
    bench = outrun(make)
    bench.pool.failures = [CannotTranscodeError("its pixels are odd")]
    content = image()
    bench.receive(content)
    assert bench.instance().metadata == {}
    bench.pool.gate.set()
    bench.until_ended()
    instance = bench.instance()
    assert instance.metadata == {"IngestTranscodingFailed": "its pixels are odd"}
    event, header = bench.event(0)
    assert (event.blob, header.transfer_syntax) == (instance.blob.name, EXPLICIT)
    assert (event.receipt["outcome"], event.receipt["reason"]) == ("kept original", "its pixels are odd")
    assert [(row.source, row.outcome) for row in bench.rows(t.receipt)] == [(instance.blob.name, "kept original")]
    assert bench.archive.blobs.path(instance.blob.name).read_bytes() == content
    assert "the original is kept" in capsys.readouterr().out


# -- order, bounds, restarts ----------------------------------------------------------------------------------------------


def test_no_sender_waits_in_vain_behind_what_waits_already(make):
    bench = make(budget=60.0)
    bench.pool.gate.clear()
    bench.budget = 0
    bench.intake._ack_budget_s = 0
    for number in (1, 2):  # one runs, one waits for its turn
        bench.receive(image(number))
    assert bench.pool.entered.acquire(timeout=60)
    bench.intake._ack_budget_s = 60.0
    began = time.monotonic()
    bench.receive(image(3))
    assert time.monotonic() - began < 30.0
    bench.pool.gate.set()
    bench.until_ended()
    assert bench.pool.order == ["1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"]


def test_after_the_backlog_senders_wait_again(make):
    bench = make(budget=0)
    for number in range(1, 4):
        bench.receive(image(number))
    bench.until_ended()
    bench.intake._ack_budget_s = 20.0
    bench.until(lambda: not bench.workers._has_rows, "the workers know that nothing is left")
    bench.receive(image(9))
    assert (bench.pending(), bench.instance(9).blob.transfer_syntax) == (0, J2K)


def test_the_order_is_that_of_arrival_whether_senders_waited_or_not(make):
    bench = outrun(make)
    for number in range(1, 6):
        bench.receive(image(number))
    bench.pool.gate.set()
    bench.until_ended()
    assert bench.pool.order == [f"1.2.3.4.{number}" for number in range(1, 6)]
    assert bench.pool.calls == 5


@pytest.mark.parametrize(("workers", "share"), [(1, Share(1, 1)), (2, Share(1, 2)), (3, Share(2, 2)), (8, Share(7, 2))])
def test_ingest_leaves_a_codec_process_to_deliveries_but_for_what_is_soon_done(workers, share):
    assert Share.of(workers) == share


def test_what_senders_wait_for_and_is_soon_done_has_more_threads(make):
    bench = make(quick=2)
    bench.pool.gate.clear()
    senders = [threading.Thread(target=bench.receive, args=(image(number),)) for number in range(1, 5)]
    for sender in senders:
        sender.start()
    for _ in range(3):
        assert bench.pool.entered.acquire(timeout=60)
    assert not bench.pool.entered.acquire(timeout=0.2)
    bench.pool.gate.set()
    for sender in senders:
        sender.join(60)
    assert (bench.pool.most, bench.pending()) == (3, 0)
    assert bench.kinds() == ["stored_instance"] * 4


@pytest.mark.parametrize(("budget", "soon_done"), [(20.0, 0), (0, 4 << 20)], ids=["large", "nobody waits"])
def test_deliveries_need_not_wait_for_what_is_large_or_has_no_hurry(make, monkeypatch, budget, soon_done):
    monkeypatch.setattr(ingest_workers, "_SOON_DONE", soon_done)
    bench = make(quick=2, budget=budget)
    bench.pool.gate.clear()
    senders = [threading.Thread(target=bench.receive, args=(image(number),)) for number in range(1, 5)]
    for sender in senders:
        sender.start()
    assert bench.pool.entered.acquire(timeout=60)
    assert not bench.pool.entered.acquire(timeout=0.2)
    bench.pool.gate.set()
    for sender in senders:
        sender.join(60)
    bench.until_ended()
    assert bench.pool.most == 1
    assert bench.kinds() == ["stored_instance"] * 4


class Busy:
    """A pool whose every worker takes too long at first."""

    def __init__(self):
        self.calls = 0

    def transcode(self, source, target, result, options=None):
        self.calls += 1
        raise CodecCrashedError("the codec took longer than it may, and was ended")


def test_only_what_no_sender_waits_for_is_done_at_leisure(make):
    leisurely = Busy()
    bench = make(leisurely=leisurely)
    bench.receive(image(1))
    assert (leisurely.calls, bench.pool.calls, bench.pending()) == (0, 1, 0)


def test_what_cannot_be_done_at_leisure_is_done_as_if_somebody_waited(make):
    leisurely = Busy()
    bench = make(budget=0, leisurely=leisurely)
    bench.receive(image(1))
    bench.until_ended()
    assert (leisurely.calls, bench.pool.calls) == (1, 1)
    assert bench.instance(1).blob.transfer_syntax == J2K


def test_no_more_than_its_threads_are_in_the_codec_pool_at_one_time(make):
    bench = make(budget=0, threads=2)
    bench.pool.gate.clear()
    for number in range(1, 9):
        bench.receive(image(number))
    assert bench.pool.entered.acquire(timeout=60)
    assert bench.pool.entered.acquire(timeout=60)
    assert not bench.pool.entered.acquire(timeout=0.2)
    bench.pool.gate.set()
    bench.until_ended()
    assert bench.pool.most == 2
    assert bench.kinds() == ["stored_instance"] * 8


def test_a_stop_leaves_what_runs_and_what_waits_for_the_next_start(make):
    bench = outrun(make)
    senders = [threading.Thread(target=bench.receive, args=(image(number),)) for number in range(1, 4)]
    for sender in senders:
        sender.start()
    assert bench.pool.entered.acquire(timeout=60)
    bench.stop()  # ends the codecs under the running job
    for sender in senders:
        sender.join(60)
    assert (bench.pending(), bench.kinds()) == (3, [])
    assert {row.outcome for row in bench.rows(t.receipt)} == set()
    bench.check_files()
    bench.pool.is_closed = False
    bench.start()
    bench.until_ended()
    assert bench.kinds() == ["stored_instance"] * 3
    assert {bench.instance(n).blob.transfer_syntax for n in range(1, 4)} == {J2K}
    bench.check_files()


def test_an_index_that_refuses_the_end_has_it_done_again(make, monkeypatch):
    monkeypatch.setattr(ingest_workers, "_AGAIN_S", 0.05)
    bench = outrun(make)
    bench.receive(image())
    honest = ingest_workers.ingests.finish
    left = [StorageError("the index could not be written"), ValueError("a bad unit")]

    def fails(*args):
        if left:
            raise left.pop(0)
        return honest(*args)

    monkeypatch.setattr(ingest_workers.ingests, "finish", fails)
    bench.pool.gate.set()
    bench.until_ended()
    assert (bench.kinds(), bench.instance().blob.transfer_syntax) == (["stored_instance"], J2K)
    bench.archive._sweep()
    bench.check_files()


def test_why_the_original_was_kept_is_a_receipt():
    blob = Blob("n/00/x", 7, "ab", EXPLICIT)
    expected = Receipt.kept_original(reason="why", sha256="ab", syntax=EXPLICIT, size=7)
    assert Receipt.from_dict(pending.kept(blob, "why")) == expected
    assert pending.kept(blob, "why")["ratio"] == expected.ratio
