"""What is made for whoever retrieves is made once in five minutes, verified, and leaves nothing behind."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from products_kit import store
from transcoding_images import CT, EXPLICIT, J2K, instance_file

from hostd.archive.archive import Archive
from hostd.archive.records import Delivery
from hostd.errors import CannotTranscodeError, CodecCrashedError, InstanceFault, StorageError
from hostd.testing.clock import ManualClock
from hostd.transcoding import passing as module
from hostd.transcoding.messages import MOST_AT_ONCE
from hostd.transcoding.passing import Passing
from hostd.transcoding.products import Products
from hostd.transcoding.receipt import Receipt
from hostd.transcoding.transform import Transcode, Transform
from hostd.transcoding.used_files import UsedFiles

RLE = "1.2.840.10008.1.2.5"
TO_J2K = Transform.into(J2K, or_original=False)


class Codecs:
    """Writes a file of the target syntax, of another instance if told, or fails as told."""

    def __init__(self):
        self.calls, self.failures, self.gives, self.size = 0, [], "1.2.3", 0
        self.together, self.wrong = [], {}
        """How many were asked for at one time each, and what comes of those whose turn it is then: None, or another instance's UID."""

    def transcode(self, source, target, result, options=None):
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        content = instance_file(self.gives, target.uid)
        result.write_bytes(content)
        self.size = len(content)
        return Receipt("made", "", "", "", EXPLICIT, target.uid, bytes_before=1, bytes_after=len(content))

    def transcode_several(self, target, pairs):
        self.together.append(len(pairs))
        if self.failures:
            raise self.failures.pop(0)
        receipts = []
        for place, (_, result) in enumerate(pairs):
            uid = self.wrong.get(place, self.gives)
            if uid is not None:
                result.write_bytes(instance_file(uid, target.uid))
            receipts.append(uid and Receipt("made", "", "", "", EXPLICIT, target.uid, bytes_before=1, bytes_after=1))
        return receipts


@pytest.fixture
def codecs():
    return Codecs()


@pytest.fixture
def passing(archive, codecs):
    return started(archive, codecs)


def started(archive, codecs, **given):
    given.setdefault("several", codecs)
    given.setdefault("now", archive.clock.now)
    return Passing(archive, codecs, Products(archive, codecs), given.pop("used", None) or UsedFiles(), **given)


def asked(archive):
    """Store a file; return a delivery of it as a retrieval has it."""
    return Delivery(
        id=0, instance="i", sop_instance_uid="1.2.3", sop_class_uid=CT, destination="modality:x", content="content",
        blob=store(archive), transform="", priority=0, state="sending", attempts=0, not_before=0, next_attempt_at=0,
        last_error=None, possible_doubles=0, created_at=0, finished_at=None, script=None,
    )  # fmt: skip


def files(archive):
    return set(archive.blobs.names())


def test_it_is_made_once_for_all_who_ask_in_the_next_minutes(passing, codecs, archive):
    delivery = asked(archive)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: passing.obtain(delivery, TO_J2K), range(4)))
    assert len(set(made)) == 1
    assert (made[0].transfer_syntax, made[0].sop_instance_uid, codecs.calls) == (J2K, "1.2.3", 1)
    archive.clock.advance(299)
    passing.tidy()
    assert passing.obtain(delivery, TO_J2K) == made[0]
    archive.clock.advance(299)
    passing.tidy()
    assert made[0].path.exists(), "the time begins again with each who asks"
    archive.clock.advance(1)
    passing.tidy()
    assert files(archive) == {delivery.blob}
    assert passing.obtain(delivery, TO_J2K).path.exists()
    assert codecs.calls == 2


def test_it_has_no_row_so_that_the_next_start_removes_what_a_crash_leaves(tmp_path, prepared, codecs):
    archive = Archive(prepared(tmp_path), "node", ManualClock())
    passing = started(archive, codecs)
    delivery = asked(archive)
    made = passing.obtain(delivery, TO_J2K)
    assert made.blob in files(archive)
    with archive.read() as connection:
        assert connection.exec_driver_sql("SELECT name FROM blob").scalars().all() == [delivery.blob]
        assert connection.exec_driver_sql("SELECT count(*) FROM receipt").scalar_one() == 0
    archive.close()
    again = Archive(tmp_path, "node", ManualClock())
    assert files(again) == {delivery.blob}
    again.close()


def test_the_oldest_go_when_they_are_too_large_together_and_are_made_again(archive, codecs):
    first, second, third = (asked(archive) for _ in range(3))
    stored = files(archive)
    passing = started(archive, codecs, most_bytes=1, newest=2, used=UsedFiles(most=0))
    made = [passing.obtain(each, TO_J2K) for each in (first, second)]
    passing.obtain(first, TO_J2K)  # the second is the one that was asked for longest ago now
    made.append(passing.obtain(third, TO_J2K))
    assert files(archive) - stored == {made[0].blob, made[2].blob}
    assert passing.obtain(second, TO_J2K).path.exists()
    assert codecs.calls == 4


def test_what_makes_room_is_written_over_and_whoever_was_to_send_it_does_not_find_it(archive, codecs):
    used, deliveries = UsedFiles(), [asked(archive) for _ in range(3)]
    passing = started(archive, codecs, most_bytes=1, newest=1, used=used)
    first, second = (passing.obtain(each, TO_J2K) for each in deliveries[:2])
    descriptor = used.open(archive.blobs.vacant().path)
    assert os.fstat(descriptor).st_size == codecs.size, "it is what was made first"
    os.close(descriptor)
    assert not first.path.exists()
    assert second.path.exists()
    passing.obtain(deliveries[2], TO_J2K)
    assert second.path.exists(), "it waits to be written over"
    passing.tidy()
    assert not second.path.exists()


def test_what_was_removed_by_somebody_else_is_made_again(passing, codecs, archive):
    delivery = asked(archive)
    passing.obtain(delivery, TO_J2K).path.unlink()
    assert passing.obtain(delivery, TO_J2K).path.exists()
    assert codecs.calls == 2


@pytest.mark.parametrize("reason", ["the codestream is broken", "another"])
def test_what_cannot_be_made_is_the_instances_fault_and_leaves_no_file(passing, codecs, archive, reason):
    delivery = asked(archive)
    if reason == "another":
        codecs.gives, reason = "1.2.4", "another instance than it was asked for"
    else:
        codecs.failures.append(CannotTranscodeError(reason))
    with pytest.raises(InstanceFault, match=f"could not be brought to .*{reason}"):
        passing.obtain(delivery, TO_J2K)
    assert files(archive) == {delivery.blob}


def test_a_codec_that_crashed_gets_one_more_try(passing, codecs, archive):
    codecs.failures.append(CodecCrashedError("died"))
    assert passing.obtain(asked(archive), TO_J2K).path.exists()


def test_a_full_disk_is_no_verdict_on_the_file_and_leaves_none(passing, codecs, archive):
    delivery = asked(archive)
    codecs.failures.append(OSError(28, "No space left on device"))
    with pytest.raises(OSError, match="No space left"):
        passing.obtain(delivery, TO_J2K)
    assert files(archive) == {delivery.blob}


def test_a_node_that_stops_leaves_nothing(passing, archive):
    one, other = asked(archive), asked(archive)
    passing.obtain(one, TO_J2K)
    passing.stop()
    assert files(archive) == {one.blob, other.blob}
    with pytest.raises(StorageError, match="the node stops"):
        passing.obtain(other, TO_J2K)
    assert files(archive) == {one.blob, other.blob}


def test_what_is_more_than_a_change_of_syntax_has_its_receipt_as_ever(passing, archive):
    delivery = asked(archive)
    passing.obtain(delivery, Transform((Transcode(J2K),)))  # may be its source: the receipt says whether it is
    with archive.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM receipt").scalar_one() == 1
    assert passing.obtain(delivery, Transform()).blob == delivery.blob
    assert passing.obtain(delivery, Transform.into(EXPLICIT, or_original=False)).blob == delivery.blob


# -- several at one time -------------------------------------------------------------------------------------------------


def test_what_will_be_asked_for_is_made_in_as_few_jobs_as_it_can_be(passing, codecs, archive):
    deliveries = [asked(archive) for _ in range(MOST_AT_ONCE + 2)]
    passing.obtain(deliveries[0], TO_J2K)
    passing.obtain_ahead([(each, TO_J2K) for each in (*deliveries, deliveries[1])])
    made = [passing.obtain(each, TO_J2K) for each in deliveries]
    assert len({one.path for one in made if one.path.exists()}) == len(deliveries)
    assert (sum(codecs.together), codecs.calls) == (len(deliveries) - 1, 1)
    assert max(codecs.together) <= MOST_AT_ONCE


def test_each_target_and_what_is_more_than_a_change_of_syntax_is_apart(passing, codecs, archive):
    first, second, third = (asked(archive) for _ in range(3))
    to_rle = Transform.into(RLE, or_original=False)
    passing.obtain_ahead([(first, TO_J2K), (second, to_rle), (third, Transform((Transcode(J2K),)))])
    assert codecs.together == [1, 1]
    assert passing.obtain(second, to_rle).transfer_syntax == RLE


def test_one_that_was_not_made_with_the_others_is_made_alone_and_tells_what_is_wrong(passing, codecs, archive):
    deliveries = [asked(archive) for _ in range(3)]
    codecs.wrong[1] = None
    passing.obtain_ahead([(each, TO_J2K) for each in deliveries])
    codecs.failures.append(CannotTranscodeError("the codestream is broken"))
    with pytest.raises(InstanceFault, match="the codestream is broken"):
        passing.obtain(deliveries[1], TO_J2K)
    assert all(passing.obtain(deliveries[n], TO_J2K).path.exists() for n in (0, 2))
    assert codecs.calls == 1


def test_another_instance_among_several_is_not_taken(passing, codecs, archive):
    deliveries = [asked(archive) for _ in range(2)]
    codecs.wrong[0] = "1.2.4"
    passing.obtain_ahead([(each, TO_J2K) for each in deliveries])
    assert len(files(archive)) == 3, "the stored ones, and the one that is what it should be"
    codecs.gives = "1.2.4"
    with pytest.raises(InstanceFault, match="another instance than it was asked for"):
        passing.obtain(deliveries[0], TO_J2K)


@pytest.mark.parametrize("failure", [CodecCrashedError("died"), OSError(28, "No space left on device")])
def test_what_fails_altogether_is_made_one_by_one(passing, codecs, archive, failure):
    deliveries = [asked(archive) for _ in range(2)]
    codecs.failures.append(failure)
    passing.obtain_ahead([(each, TO_J2K) for each in deliveries])
    assert files(archive) == {each.blob for each in deliveries}
    assert all(passing.obtain(each, TO_J2K).path.exists() for each in deliveries)
    assert codecs.calls == 2


def test_those_who_ask_for_the_same_in_another_order_do_not_wait_for_each_other_for_ever(passing, codecs, archive):
    wanted = [(asked(archive), TO_J2K) for _ in range(MOST_AT_ONCE)]
    with ThreadPoolExecutor(4) as pool:
        for asking in [pool.submit(passing.obtain_ahead, wanted[::step]) for step in (1, -1) * 10]:
            asking.result(60)
    assert sum(codecs.together) == len(wanted)


def test_where_tools_come_first_nothing_is_made_several_at_one_time(archive, codecs):
    passing, delivery = started(archive, codecs, several=None), asked(archive)
    passing.obtain_ahead([(delivery, TO_J2K)])
    assert files(archive) == {delivery.blob}


def test_what_was_made_ahead_is_there_still_when_a_slow_line_comes_to_it(passing, codecs, archive):
    deliveries = [asked(archive) for _ in range(MOST_AT_ONCE)]
    passing.obtain_ahead([(each, TO_J2K) for each in deliveries])
    for each in deliveries:
        archive.clock.advance(30)
        passing.tidy()
        assert passing.obtain(each, TO_J2K).path.exists()
    assert codecs.calls == 0


def test_many_that_are_large_are_not_all_kept_because_they_are_new(archive, codecs, monkeypatch):
    monkeypatch.setattr(module, "_NEWEST_BYTES", 3)
    passing = started(archive, codecs, most_bytes=1, newest=8, used=UsedFiles(most=0))
    deliveries = [asked(archive) for _ in range(5)]
    passing.obtain_ahead([(each, TO_J2K) for each in deliveries[:3]])  # a byte each, as their receipts say
    assert len(files(archive)) == 5 + 3
    passing.obtain_ahead([(each, TO_J2K) for each in deliveries[3:]])
    assert len(files(archive)) == 5 + 3


def test_nothing_is_left_of_several_when_what_nobody_foresaw_happens(passing, codecs, archive, monkeypatch):
    deliveries = [asked(archive) for _ in range(3)]

    def fail(path, uid):
        raise MemoryError

    monkeypatch.setattr(module, "require_same_instance", fail)
    with pytest.raises(MemoryError):
        passing.obtain_ahead([(each, TO_J2K) for each in deliveries])
    assert files(archive) == {each.blob for each in deliveries}
    monkeypatch.undo()
    passing.obtain_ahead([(each, TO_J2K) for each in deliveries])
    assert len(files(archive)) == 6, "no lock is held any more"


def test_nothing_is_made_ahead_by_a_node_that_stops(passing, archive):
    one, other = asked(archive), asked(archive)
    passing.stop()
    passing.obtain_ahead([(one, TO_J2K), (other, TO_J2K)])
    assert files(archive) == {one.blob, other.blob}
