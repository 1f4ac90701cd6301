"""What is made for whoever retrieves is made once a minute, verified, and leaves nothing behind."""

import gc
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from transcoding_images import EXPLICIT, J2K, instance_file

from hostd.archive.archive import Archive
from hostd.archive.instances import add_blob
from hostd.archive.records import Blob, Delivery
from hostd.dicom.part10 import file_header
from hostd.errors import CannotTranscodeError, CodecCrashedError, InstanceFault, StorageError
from hostd.testing.clock import ManualClock
from hostd.transcoding.memory import Memory
from hostd.transcoding.passing import Passing
from hostd.transcoding.products import Products
from hostd.transcoding.receipt import Receipt
from hostd.transcoding.transform import Transcode, Transform

CT = "1.2.840.10008.5.1.4.1.1.2"
TO_J2K = Transform.into(J2K, or_original=False)


class Codecs:
    """Writes a file of the target syntax, of another instance if told, or fails as told."""

    def __init__(self):
        self.calls, self.failures, self.gives, self.size = 0, [], "1.2.3", 0

    def transcode(self, source, target, result, options=None):
        content = self._content(target)
        result.write_bytes(content)
        return self._receipt(target, content)

    def fill(self, source, target, result, most_bytes):
        content = self._content(target)
        if len(content) > most_bytes:
            raise OSError(27, "File too large")
        os.write(result, content)
        return self._receipt(target, content)

    def _content(self, target):
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        content = instance_file(self.gives, target.uid)
        self.size = len(content)
        return content

    def _receipt(self, target, content):
        return Receipt("made", "", "", "", EXPLICIT, target.uid, bytes_before=1, bytes_after=len(content))


@pytest.fixture
def archive(tmp_path, prepared):
    opened = Archive(prepared(tmp_path), "node", ManualClock())
    yield opened
    opened.close()


@pytest.fixture
def codecs():
    return Codecs()


@pytest.fixture
def passing(archive, codecs):
    return started(archive, codecs)


def started(archive, codecs, **given):
    given.setdefault("now", archive.clock.now)
    return Passing(archive, codecs, Products(archive, codecs), **given)


def asked(archive):
    """Store a file; return a delivery of it as a retrieval has it."""
    content = file_header(CT, "1.2.3", EXPLICIT) + b"source"
    file = archive.blobs.create()
    file.write(content)
    file.seal()
    file.close()
    blob = Blob(file.name, len(content), hashlib.sha256(content).hexdigest(), EXPLICIT)
    archive.writer.do(lambda c: add_blob(c, blob, 0.0), blobs=[file.name])
    return Delivery(
        id=0, instance="i", sop_instance_uid="1.2.3", sop_class_uid=CT, destination="modality:x", content="content",
        blob=file.name, transform="", priority=0, state="sending", attempts=0, not_before=0, next_attempt_at=0,
        last_error=None, possible_doubles=0, created_at=0, finished_at=None, script=None,
    )  # fmt: skip


def files(archive):
    return set(archive.blobs.names())


def test_it_is_made_once_for_all_who_ask_in_the_next_minute(passing, codecs, archive):
    delivery = asked(archive)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: passing.obtain(delivery, TO_J2K), range(4)))
    assert len(set(made)) == 1
    assert (made[0].transfer_syntax, made[0].sop_instance_uid, codecs.calls) == (J2K, "1.2.3", 1)
    archive.clock.advance(59)
    passing.tidy()
    assert passing.obtain(delivery, TO_J2K) == made[0]
    archive.clock.advance(59)
    passing.tidy()
    assert made[0].path.exists(), "the minute begins again with each who asks"
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
    passing = started(archive, codecs, most_bytes=1, newest=2)
    made = [passing.obtain(each, TO_J2K) for each in (first, second)]
    passing.obtain(first, TO_J2K)  # the second is the one that was asked for longest ago now
    made.append(passing.obtain(third, TO_J2K))
    assert files(archive) - stored == {made[0].blob, made[2].blob}
    assert passing.obtain(second, TO_J2K).path.exists()
    assert codecs.calls == 4


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


in_memory_only_here = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="the system has no files in memory")
ROOM = 4 << 20
"""Bytes that what is made of a small file may have."""


def in_memory(archive, codecs, memory, **given):
    given.setdefault("now", archive.clock.now)
    return Passing(archive, codecs, Products(archive, codecs), codecs, memory=memory, **given)


def open_memory_files():
    gc.collect()
    found = set()
    for place in Path("/proc/self/fd").iterdir():
        try:
            if str(place.readlink()).startswith("/memfd:hostd"):
                found.add(place.name)
        except FileNotFoundError:
            pass  # that of the listing
    return found


@in_memory_only_here
def test_what_is_in_memory_is_no_file_of_the_archive_and_goes_after_a_minute(archive, codecs):
    delivery, before, memory = asked(archive), open_memory_files(), Memory()
    passing = in_memory(archive, codecs, memory)
    made = passing.obtain(delivery, TO_J2K)
    assert made.path.read_bytes() == instance_file("1.2.3", J2K)
    assert passing.obtain(delivery, TO_J2K) is made
    assert (files(archive), codecs.calls, memory.sizes) == ({delivery.blob}, 1, [codecs.size])
    archive.clock.advance(61)
    passing.tidy()
    del made
    assert (open_memory_files(), memory.sizes) == (before, [])


@in_memory_only_here
def test_nobody_changes_what_was_verified_even_by_a_descriptor_of_before(archive, codecs):
    kept = []

    def fill(source, target, result, most_bytes, fill=codecs.fill):
        kept.append(os.dup(result))
        return fill(source, target, result, most_bytes)

    codecs.fill = fill
    made = in_memory(archive, codecs, Memory()).obtain(asked(archive), TO_J2K)
    try:
        for change in (lambda: os.pwrite(kept[0], b"x", 0), lambda: os.ftruncate(kept[0], 0)):
            with pytest.raises(PermissionError):
                change()
    finally:
        os.close(kept[0])
    assert made.path.read_bytes() == instance_file("1.2.3", J2K)


@in_memory_only_here
def test_what_is_being_sent_stays_the_same_file_when_it_has_to_make_room(archive, codecs):
    memory = Memory(most_bytes=ROOM)
    passing = in_memory(archive, codecs, memory, newest=0)
    first = passing.obtain(asked(archive), TO_J2K)
    place = str(first.path)
    stored = files(archive)
    other = asked(archive)
    second = passing.obtain(other, TO_J2K)
    assert files(archive) - stored == {other.blob, second.blob}, "the first still has the room, so the second is a file"
    assert first.path.read_bytes() == instance_file("1.2.3", J2K)
    assert str(second.path) != place
    del first
    assert memory.sizes == []
    third = passing.obtain(asked(archive), TO_J2K)
    assert third.path.read_bytes() == instance_file("1.2.3", J2K)
    assert memory.sizes == [codecs.size]


@in_memory_only_here
def test_a_place_never_comes_to_be_another_file_while_anybody_has_it(archive, codecs):
    passing = in_memory(archive, codecs, Memory(most_files=2), newest=0)
    sending = passing.obtain(asked(archive), TO_J2K).path  # the place alone
    identity = sending.stat().st_ino
    places = {str(passing.obtain(asked(archive), TO_J2K).path) for _ in range(6)}
    assert str(sending) not in places
    assert sending.stat().st_ino == identity


@in_memory_only_here
def test_the_oldest_in_memory_go_first_and_descriptors_stay_few(archive, codecs):
    before, memory = open_memory_files(), Memory(most_files=3)
    passing = in_memory(archive, codecs, memory, newest=0)
    deliveries = [asked(archive) for _ in range(8)]
    for delivery in deliveries:
        passing.obtain(delivery, TO_J2K)
        assert len(open_memory_files() - before) <= 3
    assert files(archive) == {delivery.blob for delivery in deliveries}
    for delivery in deliveries[5:]:
        passing.obtain(delivery, TO_J2K)
    assert codecs.calls == 8, "the last three are there still"
    passing.stop()
    assert open_memory_files() == before


@in_memory_only_here
@pytest.mark.parametrize("reason", ["no room", "those on their way", "too large", "cannot"])
def test_what_memory_does_not_take_is_a_file(archive, codecs, reason):
    before, memory = open_memory_files(), Memory(most_bytes=ROOM)
    passing = in_memory(archive, codecs, memory)
    if reason == "no room":
        memory = Memory(most_bytes=ROOM - 1)
        passing = in_memory(archive, codecs, memory)
    elif reason == "those on their way":
        passing.obtain(asked(archive), TO_J2K)
    else:
        codecs.failures.append(OSError(27, "File too large") if reason == "too large" else CannotTranscodeError("no"))
    taken = memory.sizes
    made = passing.obtain(asked(archive), TO_J2K)
    assert made.path == archive.blobs.path(made.blob)
    assert made.path.read_bytes() == instance_file("1.2.3", J2K)
    assert memory.sizes == taken
    passing.stop()
    assert made.blob not in files(archive)
    assert open_memory_files() == before


@in_memory_only_here
def test_a_codec_that_crashed_in_memory_gets_one_more_try_and_no_third(archive, codecs):
    passing = in_memory(archive, codecs, Memory())
    codecs.failures += [CodecCrashedError("died")] * 2
    with pytest.raises(InstanceFault, match="died"):
        passing.obtain(asked(archive), TO_J2K)
    assert codecs.calls == 2


@in_memory_only_here
def test_another_instance_in_memory_is_not_sent_and_not_kept(archive, codecs):
    memory = Memory()
    passing = in_memory(archive, codecs, memory)
    codecs.gives = "1.2.4"
    with pytest.raises(InstanceFault, match="another instance than it was asked for"):
        passing.obtain(asked(archive), TO_J2K)
    gc.collect()
    assert memory.sizes == []


def test_where_the_system_has_no_files_in_memory_it_is_a_file(archive, codecs, monkeypatch):
    monkeypatch.delattr(os, "memfd_create", raising=False)
    made = in_memory(archive, codecs, Memory()).obtain(asked(archive), TO_J2K)
    assert made.path == archive.blobs.path(made.blob)
