"""The codec workers: what goes wrong in one costs its job and nothing else."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from processes import has_ended, parent_of, peak_bytes, resident_bytes, threads_of
from transcoding_images import image, pixels_of, saved

from hostd.dicom.syntaxes import ALL, EXPLICIT_LE, IMPLICIT_LE, JPEG2000_LOSSLESS, RLE_LOSSLESS
from hostd.errors import CannotTranscodeError, CodecCrashedError, WrongPixelsError
from hostd.transcoding import file_leases, registry
from hostd.transcoding import pool as module
from hostd.transcoding import worker as codec_process
from hostd.transcoding.leisure import put_last
from hostd.transcoding.messages import MOST_AT_ONCE, Draw, Several
from hostd.transcoding.options import EncodeOptions
from hostd.transcoding.pool import CodecPool
from hostd.transcoding.receipt import Receipt
from hostd.transcoding.used_files import UsedFiles


@pytest.fixture(scope="module")
def pool():
    made = CodecPool(workers=2)
    yield made
    made.close()


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.dcm"
    path.write_bytes(saved(image(rows=40, columns=50)))
    return path


@pytest.fixture
def odd(monkeypatch, tmp_path):
    """Make a pool whose workers misbehave until `.marker` is removed."""
    pools = []

    def made(behaviour, **settings):
        marker = tmp_path / "misbehave"
        marker.touch()
        script = str(Path(__file__).with_name("odd_worker.py"))
        monkeypatch.setattr(module, "_COMMAND", (sys.executable, "-I", script, behaviour, str(marker)))
        pools.append(CodecPool(workers=1, **settings))
        pools[-1].marker = marker
        return pools[-1]

    yield made
    for pool in pools:
        pool.close()


def idle_pids(pool):
    return [worker.pid for worker in pool._idle]


def test_a_transcode_there_and_back_with_its_receipts(pool, source, tmp_path):
    compressed, back = tmp_path / "a", tmp_path / "b"
    receipt = pool.transcode(source, JPEG2000_LOSSLESS, compressed)
    assert receipt.outcome == "made"
    assert receipt.bytes_before == source.stat().st_size
    assert receipt.bytes_after == compressed.stat().st_size
    assert receipt.ratio == receipt.bytes_before / receipt.bytes_after
    assert (receipt.source_syntax, receipt.result_syntax) == (EXPLICIT_LE.uid, JPEG2000_LOSSLESS.uid)
    assert receipt.source_sha256 == subprocess.check_output(["sha256sum", source], text=True).split()[0]
    assert receipt.result_sha256 == subprocess.check_output(["sha256sum", compressed], text=True).split()[0]
    assert (
        receipt.pixel_hash_before == receipt.pixel_hash_after == pool.pixel_hash(source) == pool.pixel_hash(compressed)
    )
    assert receipt.codec == "imagecodecs"
    assert "pylibjpeg-openjpeg" in receipt.verified_by
    pool.transcode(compressed, EXPLICIT_LE, back)
    assert (pixels_of(back.read_bytes()) == pixels_of(source.read_bytes())).all()
    assert Receipt.from_dict(receipt.to_dict()) == receipt


@pytest.mark.parametrize("target", [s for s in ALL if registry.encoders(s)], ids=lambda s: s.keyword)
def test_every_codec_works_inside_the_jail(pool, target, tmp_path):
    plain, encoded, back = tmp_path / "plain", tmp_path / "encoded", tmp_path / "back"
    options = EncodeOptions(quality=90) if target.is_lossy else None
    for samples in (1, 3):
        plain.write_bytes(saved(image(rows=300, columns=200, spp=samples, allocated=8, stored=8)))
        receipt = pool.transcode(plain, target, encoded, options)
        assert receipt.result_syntax == target.uid
        assert ("PSNR" in receipt.verified_by) == target.is_lossy
        pool.transcode(encoded, IMPLICIT_LE, back)
        if not options:
            assert (pixels_of(back.read_bytes()) == pixels_of(plain.read_bytes())).all()
        for path in (plain, encoded, back):
            path.unlink()


def test_a_refusal_leaves_no_file_and_the_worker_goes_on(pool, source, tmp_path):
    pool.pixel_hash(source)
    before = set(idle_pids(pool))
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(saved(image(HighBit=17)))
    with pytest.raises(CannotTranscodeError, match="HighBit"):
        pool.transcode(bad, JPEG2000_LOSSLESS, tmp_path / "result")
    with pytest.raises(CannotTranscodeError, match="not a DICOM file"):
        pool.transcode(Path(__file__), JPEG2000_LOSSLESS, tmp_path / "result")
    assert not (tmp_path / "result").exists()
    assert set(idle_pids(pool)) == before


def test_a_result_that_exists_is_never_overwritten(pool, source, tmp_path):
    taken = tmp_path / "taken"
    taken.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        pool.transcode(source, JPEG2000_LOSSLESS, taken)
    assert taken.read_bytes() == b"precious"


def test_callers_beyond_the_workers_wait_for_their_turn(pool, source, tmp_path):
    receipts = []

    def one(number):
        receipts.append(pool.transcode(source, JPEG2000_LOSSLESS, tmp_path / f"result{number}"))

    threads = [threading.Thread(target=one, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({receipt.result_sha256 for receipt in receipts}) == 1
    assert len(receipts) == 6
    assert len(idle_pids(pool)) <= 2


def test_a_lying_codec_gives_wrong_pixels_and_no_file(odd, source, tmp_path):
    with pytest.raises(WrongPixelsError):
        odd("lie").transcode(source, JPEG2000_LOSSLESS, tmp_path / "result")
    assert not (tmp_path / "result").exists()


def test_a_worker_that_writes_another_syntax_is_found_out_by_the_host(odd, source, tmp_path):
    with pytest.raises(WrongPixelsError, match=r"1\.2\.840\.10008\.1\.2\.1\.99"):
        odd("relabel").transcode(source, JPEG2000_LOSSLESS, tmp_path / "result")
    assert not (tmp_path / "result").exists()


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [("crash", "SIGSEGV"), ("hang", "took longer"), ("eat", "memory"), ("babble", "what it should not")],
)
def test_a_worker_that_fails_costs_its_job_and_the_next_works(odd, source, tmp_path, behaviour, says):
    pool = odd(behaviour, time_limit_s=1 if behaviour == "hang" else 60)
    result = tmp_path / "result"
    with pytest.raises(CodecCrashedError, match=says):
        pool.transcode(source, JPEG2000_LOSSLESS, result)
    assert not result.exists()
    pool.marker.unlink()
    assert pool.transcode(source, JPEG2000_LOSSLESS, result).outcome == "made"


@pytest.mark.parametrize(
    ("behaviour", "says"), [("die_decoding", "died on this file .*SIGSEGV"), ("hang_decoding", "took longer")]
)
def test_pixels_that_end_a_worker_are_not_measured(odd, pool, source, tmp_path, behaviour, says):
    bad = tmp_path / "bad.dcm"
    pool.transcode(source, JPEG2000_LOSSLESS, bad)
    with pytest.raises(CodecCrashedError, match=says):
        odd(behaviour, time_limit_s=1 if behaviour == "hang_decoding" else 60).measure(bad)
    assert pool.measure(bad) == pool.measure(source)


def test_a_worker_killed_in_the_middle_of_a_job_costs_that_job_only(odd, source, tmp_path):
    pool = odd("hang")
    killed = []

    def kill():
        while not pool._busy:
            time.sleep(0.01)
        (worker,) = pool._busy
        time.sleep(0.2)
        killed.append(worker.pid)
        os.kill(worker.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(CodecCrashedError, match="SIGKILL"):
        pool.transcode(source, JPEG2000_LOSSLESS, tmp_path / "result")
    killer.join()
    assert has_ended(killed[0])
    pool.marker.unlink()
    assert pool.transcode(source, JPEG2000_LOSSLESS, tmp_path / "result").outcome == "made"


def test_a_worker_that_died_while_idle_is_replaced(odd, source):
    pool = odd("lie")
    before = pool.pixel_hash(source)
    (pid,) = idle_pids(pool)
    os.kill(pid, signal.SIGKILL)
    (worker,) = pool._idle
    worker._process.wait()
    assert pool.pixel_hash(source) == before


def test_an_idle_worker_leaves(source):
    pool = CodecPool(workers=1, idle_s=0.1)
    pool.pixel_hash(source)
    pids = idle_pids(pool)
    deadline = time.monotonic() + 60
    while idle_pids(pool) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not idle_pids(pool)
    assert all(has_ended(pid) for pid in pids)
    assert pool.pixel_hash(source)
    pool.close()


def test_only_workers_that_had_no_work_for_long_enough_leave(source):
    pool = CodecPool(workers=1, idle_s=3600)
    pool.pixel_hash(source)
    (pid,) = idle_pids(pool)
    pool._leave()
    assert idle_pids(pool) == [pid]
    assert pool._leaving
    pool._leaving.cancel()
    (worker,) = pool._idle
    pool._idle[worker] = time.monotonic()
    pool._leave()
    assert not idle_pids(pool)
    assert not pool._leaving
    assert has_ended(pid)
    pool.close()


def test_workers_are_forked_off_a_process_of_one_thread_that_has_loaded_all_codecs(source):
    pool = CodecPool(workers=1)
    pool.pixel_hash(source)
    (pid,) = idle_pids(pool)
    zygote = parent_of(pid)
    assert zygote == pool._launcher._zygote._process.pid
    assert len(threads_of(zygote)) == 1
    assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, zygote) > 0
    assert os.getsid(pid) == os.getsid(0), "niceness may be regarded within a session only"
    pool.close()
    assert has_ended(pid)
    assert has_ended(zygote)


@pytest.mark.parametrize("stays_warm", [False, True])
def test_what_workers_are_forked_off_leaves_with_the_last_of_them_unless_it_is_to_stay_warm(source, stays_warm):
    pool = CodecPool(workers=1, idle_s=0.1)
    if stays_warm:
        pool.warm_up()
    pool.pixel_hash(source)
    zygote = pool._launcher._zygote._process
    deadline = time.monotonic() + 60
    while (idle_pids(pool) or not (stays_warm or zygote.poll() is not None)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not idle_pids(pool)
    assert (zygote.poll() is None) == stays_warm
    assert pool.pixel_hash(source)
    pool.close()
    assert zygote.poll() is not None


def test_a_job_goes_on_when_what_its_worker_was_forked_off_is_killed(source, tmp_path, monkeypatch):
    pool = CodecPool(workers=1)
    before = pool.pixel_hash(source)
    (worker,) = pool._idle
    begin = worker.begin

    def begin_and_kill(*job):
        begin(*job)
        pool._launcher._zygote._process.kill()

    monkeypatch.setattr(worker, "begin", begin_and_kill)
    assert pool.transcode(source, JPEG2000_LOSSLESS, tmp_path / "result").pixel_hash_before == before
    os.kill(worker.pid, signal.SIGKILL)
    worker._process.wait()
    assert pool.pixel_hash(source) == before, "another is started"
    pool.close()


def test_a_worker_does_the_next_job_while_a_result_is_synced(source, tmp_path, monkeypatch):
    pool = CodecPool(workers=1)
    hashes = []

    def sync(descriptor):
        other = threading.Thread(target=lambda: hashes.append(pool.pixel_hash(source)), daemon=True)
        other.start()
        other.join(60)

    monkeypatch.setattr(module.os, "fsync", sync)
    receipt = pool.transcode(source, JPEG2000_LOSSLESS, tmp_path / "result")
    assert hashes == [receipt.pixel_hash_before]
    pool.close()


def test_closing_ends_running_jobs_and_all_workers(odd, source, tmp_path):
    pool = odd("hang")

    def close():
        while not pool._busy:
            time.sleep(0.01)
        pool.close()

    closer = threading.Thread(target=close)
    closer.start()
    with pytest.raises(CodecCrashedError):
        pool.transcode(source, JPEG2000_LOSSLESS, tmp_path / "result")
    closer.join()
    with pytest.raises(CodecCrashedError, match="the node stops"):
        pool.transcode(source, JPEG2000_LOSSLESS, tmp_path / "result")


def test_a_jailed_worker_reaches_nothing(odd, source, tmp_path):
    pool = odd("look")
    with pytest.raises(CodecCrashedError, match=r"reached \[\]") as caught:
        pool.transcode(source, JPEG2000_LOSSLESS, tmp_path / "result")
    assert "generator False" in str(caught.value), "workers that are forked would draw the same numbers"
    environment = str(caught.value).partition("environment ")[2]
    assert "HOME" not in environment
    assert "PATH" not in environment.replace("PYTHON", "")


def test_the_jail_of_a_worker_has_all_its_layers_here(pool, source):
    pool.pixel_hash(source)
    (layers, *_) = [worker.layers for worker in pool._idle]
    assert layers["rlimits"]
    assert layers["no_new_privs"]
    assert layers["seccomp"] or layers["landlock"]


def policies(pid):
    """Return the scheduling policy of each thread of a process."""
    found = {}
    for thread in threads_of(pid):
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            found[thread] = os.sched_getscheduler(thread)
    return found


@pytest.mark.skipif(
    not hasattr(os, "SCHED_IDLE"), reason="this system has no policy of scheduling for what has no hurry"
)
@pytest.mark.parametrize("at_leisure", [True, False])
def test_what_is_done_at_leisure_has_a_processor_only_while_nothing_else_wants_one(odd, source, tmp_path, at_leisure):
    pool = odd("name_thread")
    pool.pixel_hash(source)
    (pid,) = idle_pids(pool)
    (leisurely,) = [thread for thread, policy in policies(pid).items() if policy == os.SCHED_IDLE]
    assert policies(pid)[pid] == os.SCHED_BATCH
    with pytest.raises(CodecCrashedError, match="thread") as caught:
        pool.transcode(source, JPEG2000_LOSSLESS, tmp_path / "result", at_leisure=at_leisure)
    assert f"thread {leisurely if at_leisure else pid}" in str(caught.value)


def test_what_is_made_at_leisure_is_what_is_made_in_a_hurry(pool, source, tmp_path):
    one = pool.transcode(source, JPEG2000_LOSSLESS, tmp_path / "one")
    other = pool.at_leisure().transcode(source, JPEG2000_LOSSLESS, tmp_path / "other")
    assert one.result_sha256 == other.result_sha256
    assert one.verified_by == other.verified_by


def test_what_is_made_in_passing_is_the_same_verified_and_not_hashed(pool, source, tmp_path):
    kept = pool.transcode(source, JPEG2000_LOSSLESS, tmp_path / "kept")
    pool.transcode(source, RLE_LOSSLESS, tmp_path / "rle")
    used = UsedFiles()
    for compressed in ("kept", "rle"):
        recorded = pool.transcode(tmp_path / compressed, EXPLICIT_LE, tmp_path / f"{compressed}.one")
        (tmp_path / "used").write_bytes(b"longer than what is made" * 100_000)
        used.give(tmp_path / "used", 2_400_000)
        other = pool.in_passing(used).transcode(tmp_path / compressed, EXPLICIT_LE, tmp_path / f"{compressed}.other")
        assert (tmp_path / f"{compressed}.one").read_bytes() == (tmp_path / f"{compressed}.other").read_bytes()
        assert other.verified_by == recorded.verified_by
        assert recorded.pixel_hash_before == recorded.pixel_hash_after == kept.pixel_hash_before
        assert not (tmp_path / "used").exists()
        assert (other.source_sha256, other.result_sha256, other.pixel_hash_before) == ("", "", "")


def test_what_was_half_written_over_in_passing_is_used_no_more(odd, source, tmp_path):
    pool, used = odd("crash"), UsedFiles()
    (tmp_path / "used").write_bytes(b"of another")
    used.give(tmp_path / "used", 10)
    with pytest.raises(CodecCrashedError):
        pool.in_passing(used).transcode(source, JPEG2000_LOSSLESS, tmp_path / "result")
    assert not (tmp_path / "used").exists()
    assert not (tmp_path / "result").exists()


@pytest.mark.skipif(not file_leases.IS_KNOWN, reason="this system has no leases, by which it could be told")
def test_a_worker_that_keeps_a_result_open_could_change_it_when_it_has_been_looked_at(
    odd, sources, tmp_path, monkeypatch
):
    with sources[0].open("rb") as file:
        if not file_leases.is_local(file.fileno()):
            pytest.skip("the file system of the temporary folder is none of which the kernel knows who has a file open")
    monkeypatch.setattr(module, "_HANDED_BACK_S", 0.1)
    pool, pairs = odd("keep"), pairs_of(sources[:2], tmp_path)
    for make in (
        lambda: pool.transcode(*pairs[0][:1], JPEG2000_LOSSLESS, pairs[0][1]),
        lambda: pool.draw(sources[0], Draw(0, "rendered", "png"), pairs[0][1]),
        lambda: pool.transcode_several(JPEG2000_LOSSLESS, pairs),
    ):
        with pytest.raises(CodecCrashedError, match="kept open what it had written"):
            make()
        assert not any(result.exists() for _, result in pairs)
        assert not idle_pids(pool)
    pool.marker.unlink()
    assert pool.transcode(sources[0], JPEG2000_LOSSLESS, pairs[0][1]).outcome == "made"


def test_who_has_a_result_open_for_a_moment_only_is_waited_for(pool, source, tmp_path):
    def open_result(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        threading.Timer(0.3, os.close, [os.dup(descriptor)]).start()
        return descriptor

    assert pool.transcode(source, RLE_LOSSLESS, tmp_path / "result", open_result=open_result).outcome == "made"


@pytest.mark.parametrize("behaviour", ["crash", "eat"])
def test_what_fails_at_leisure_costs_its_job_only(odd, source, tmp_path, behaviour):
    pool = odd(behaviour)
    with pytest.raises(CodecCrashedError):
        pool.at_leisure().transcode(source, JPEG2000_LOSSLESS, tmp_path / "result")
    assert not (tmp_path / "result").exists()
    pool.marker.unlink()
    assert pool.at_leisure().transcode(source, JPEG2000_LOSSLESS, tmp_path / "result").outcome == "made"


def test_a_thread_that_the_worker_does_not_have_is_left_alone():
    assert not put_last(os.getppid(), os.getpid())
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_memory_stays_bounded_whatever_the_size_of_the_file(source, tmp_path):
    pool = CodecPool(workers=1)
    pool.pixel_hash(source)
    (pid,) = idle_pids(pool)
    before = resident_bytes(pid)
    frames, side = 1600, 360
    small = image(rows=side, columns=side, stored=16, frames=2)
    small.NumberOfFrames = frames
    length = frames * side * side * 2
    head = saved(small).replace(
        b"\xe0\x7f\x10\0OW\0\0" + (2 * side * side * 2).to_bytes(4, "little"),
        b"\xe0\x7f\x10\0OW\0\0" + length.to_bytes(4, "little"),
    )
    large = tmp_path / "large.dcm"
    large.write_bytes(head[: -2 * side * side * 2])
    os.truncate(large, large.stat().st_size + length)
    assert large.stat().st_size > 390 << 20
    receipt = pool.transcode(large, IMPLICIT_LE, tmp_path / "result")
    assert receipt.bytes_after > 390 << 20
    assert not receipt.pixel_hash_after.startswith("raw:")
    facts = pool.measure(large)
    assert (facts.is_blank, facts.histogram) == (True, (frames * side * side,))
    assert idle_pids(pool) == [pid]
    assert peak_bytes(pid) - before < 150 << 20
    pool.close()


def test_importing_the_pool_loads_no_codec():
    check = "import sys, hostd.transcoding.pool; print([m for m in ('numpy', 'imagecodecs', 'openjpeg', 'pydicom') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", check], text=True).strip() == "[]"


def test_a_worker_lives_on_when_the_system_refuses_what_it_writes(source, tmp_path):
    """A file may be no larger, or a disk is full: that is no fault of the codec, and refused once more as the file is closed."""
    with closing(CodecPool(workers=1)) as pool:
        pool.transcode(source, RLE_LOSSLESS, tmp_path / "rle")
        (worker,) = idle_pids(pool)
        limits = resource.prlimit(worker, resource.RLIMIT_FSIZE)
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(OSError, match="File too large"):
            pool.transcode(tmp_path / "rle", EXPLICIT_LE, tmp_path / "native")
        assert not (tmp_path / "native").exists()
        resource.prlimit(worker, resource.RLIMIT_FSIZE, limits)
        pool.transcode(tmp_path / "rle", EXPLICIT_LE, tmp_path / "native")
        assert idle_pids(pool) == [worker]


# -- several in one job --------------------------------------------------------------------------------------------------


def pairs_of(sources, folder):
    return [(one, folder / f"made {number}") for number, one in enumerate(sources)]


@pytest.fixture
def sources(tmp_path):
    """Write as many files of different images as one job may be about."""
    made = [tmp_path / f"{number}.dcm" for number in range(MOST_AT_ONCE)]
    for number, path in enumerate(made):
        path.write_bytes(saved(image(rows=30 + number, columns=40)))
    return made


def test_several_are_made_as_each_alone_is(pool, sources, tmp_path):
    pairs, used = pairs_of(sources, tmp_path), UsedFiles()
    (tmp_path / "used").write_bytes(b"longer than what is made" * 100_000)
    used.give(tmp_path / "used", 2_400_000)
    for (source, result), receipt in zip(
        pairs, pool.in_passing(used).transcode_several(RLE_LOSSLESS, pairs), strict=True
    ):
        alone = pool.in_passing(used).transcode(source, RLE_LOSSLESS, tmp_path / "alone")
        assert (tmp_path / "alone").read_bytes() == result.read_bytes()
        (tmp_path / "alone").unlink()
        assert (receipt.verified_by, receipt.codec) == (alone.verified_by, alone.codec)
        assert (receipt.source_syntax, receipt.result_syntax) == (EXPLICIT_LE.uid, RLE_LOSSLESS.uid)
        assert (receipt.bytes_before, receipt.bytes_after) == (source.stat().st_size, result.stat().st_size)
    assert not (tmp_path / "used").exists()


def test_one_of_several_that_cannot_be_made_costs_no_other(pool, sources, tmp_path):
    pool.pixel_hash(sources[0])
    before = set(idle_pids(pool))
    sources[1].write_bytes(saved(image(HighBit=17)))
    pairs = pairs_of(sources[:3], tmp_path)
    first, second, third = pool.transcode_several(RLE_LOSSLESS, pairs)
    assert (first is not None, second, third is not None) == (True, None, True)
    assert [result.exists() for _, result in pairs] == [True, False, True]
    assert set(idle_pids(pool)) == before
    with pytest.raises(CannotTranscodeError, match="HighBit"):
        pool.transcode(*pairs[1][:1], RLE_LOSSLESS, pairs[1][1])


@pytest.mark.parametrize("unreadable", [b"no DICOM", None])
def test_of_several_with_a_source_that_cannot_be_read_none_is_left(pool, sources, tmp_path, unreadable):
    sources[1].unlink()
    if unreadable is not None:
        sources[1].write_bytes(unreadable)
    pairs = pairs_of(sources[:3], tmp_path)
    with pytest.raises((CannotTranscodeError, FileNotFoundError)):
        pool.transcode_several(RLE_LOSSLESS, pairs)
    assert not any(result.exists() for _, result in pairs)
    assert pool.transcode(sources[0], RLE_LOSSLESS, pairs[0][1]).outcome == "made"


@pytest.mark.parametrize(("behaviour", "says"), [("crash", "SIGSEGV"), ("hang", "longer than it may")])
def test_a_worker_that_dies_of_one_of_several_leaves_none(odd, sources, tmp_path, behaviour, says):
    pool, pairs = odd(behaviour, time_limit_s=1 if behaviour == "hang" else 60), pairs_of(sources[:3], tmp_path)
    with pytest.raises(CodecCrashedError, match=says):
        pool.transcode_several(JPEG2000_LOSSLESS, pairs)
    assert not any(result.exists() for _, result in pairs)
    pool.marker.unlink()
    assert all(pool.transcode_several(JPEG2000_LOSSLESS, pairs))


def test_several_may_take_no_longer_than_what_is_small_takes(odd, sources, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SEVERAL_LIMIT_S", 1)
    with pytest.raises(CodecCrashedError, match="longer than it may"):
        odd("hang").transcode_several(JPEG2000_LOSSLESS, pairs_of(sources[:2], tmp_path))


@pytest.mark.parametrize("behaviour", ["eat", "look", "lie", "relabel"])
def test_nothing_of_a_worker_that_fails_or_lies_is_left_and_the_next_job_is_done(odd, sources, tmp_path, behaviour):
    pool, pairs = odd(behaviour), pairs_of(sources[:3], tmp_path)
    assert pool.transcode_several(JPEG2000_LOSSLESS, pairs) == [None] * 3
    assert not any(result.exists() for _, result in pairs)
    workers = idle_pids(pool)
    assert bool(workers) == (behaviour in ("lie", "relabel")), "what has failed in a way that it should not is ended"
    pool.marker.unlink()
    for worker in list(pool._idle):
        worker.end()
    assert all(pool.transcode_several(JPEG2000_LOSSLESS, pairs))


@pytest.mark.parametrize(
    ("behaviour", "says"), [("surplus", "more than it was asked"), ("confuse", "another question")]
)
def test_a_worker_that_answers_what_was_not_asked_is_used_no_more(odd, sources, tmp_path, behaviour, says):
    pool, pairs = odd(behaviour), pairs_of(sources[:2], tmp_path)
    with pytest.raises(CodecCrashedError, match=says):
        pool.transcode_several(JPEG2000_LOSSLESS, pairs)
    assert not any(result.exists() for _, result in pairs)
    assert not idle_pids(pool)


def test_what_was_made_before_a_worker_had_no_more_memory_is_kept(odd, sources, tmp_path):
    pool, pairs = odd("eat_second"), pairs_of(sources[:3], tmp_path)
    receipts = pool.transcode_several(JPEG2000_LOSSLESS, pairs)
    assert [receipt is not None for receipt in receipts] == [True, False, False]
    assert [result.exists() for _, result in pairs] == [True, False, False]
    assert not idle_pids(pool)


def test_no_descriptor_is_left_open_whatever_becomes_of_several(pool, odd, sources, tmp_path):
    def open_files():
        return len(list(Path("/proc/self/fd").iterdir()))

    pairs = pairs_of(sources, tmp_path)
    pool.transcode_several(RLE_LOSSLESS, pairs[:1])
    before = open_files()
    pool.transcode_several(RLE_LOSSLESS, pairs[1:])
    sources[3].write_bytes(b"no DICOM")
    for _, result in pairs:
        result.unlink()
    with pytest.raises(CannotTranscodeError):
        pool.transcode_several(RLE_LOSSLESS, pairs)
    assert open_files() == before


def test_who_waits_for_a_worker_has_nothing_open_meanwhile(sources, tmp_path):
    pairs, opened = pairs_of(sources, tmp_path), []

    def open_result(path):
        opened.append(path)
        return os.open(path, os.O_RDWR | os.O_CREAT)

    with closing(CodecPool(workers=1)) as pool, ThreadPoolExecutor(1) as executor:
        with pool._worker():
            making = executor.submit(pool.transcode_several, RLE_LOSSLESS, pairs, open_result=open_result)
            time.sleep(0.2)
            assert not opened
        assert all(making.result(60))


def test_of_what_takes_long_no_other_is_begun(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(codec_process, "_SEVERAL_S", 0)
    descriptors = [os.open(path, os.O_RDWR | os.O_CREAT) for pair in pairs_of(sources[:2], tmp_path) for path in pair]
    made = codec_process._several(Several(RLE_LOSSLESS.uid, 2), None, descriptors)
    assert len(made.outcomes) == 1
    for descriptor in descriptors[2:]:
        os.close(descriptor)


def test_what_cannot_be_written_of_several_costs_no_other(pool, sources, tmp_path):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    pairs = pairs_of(sources[:2], tmp_path)

    def open_result(path):
        return os.open(full if path == pairs[0][1] else path, os.O_RDWR | os.O_CREAT)

    first, second = pool.transcode_several(RLE_LOSSLESS, pairs, open_result=open_result)
    assert (first, second is not None) == (None, True)
    assert pairs[1][1].exists()


def test_more_than_a_job_may_be_about_is_refused_by_the_worker(pool, sources, tmp_path):
    pairs = pairs_of([*sources, sources[0]], tmp_path)
    with pytest.raises(CodecCrashedError):
        pool.transcode_several(RLE_LOSSLESS, pairs)
    assert not any(result.exists() for _, result in pairs)
