"""A ZIP is written as it is read: however large, little of it is held, and where nobody takes it nothing is left behind."""

import gc
import io
import tracemalloc
import zipfile
from contextlib import contextmanager

import pytest
from jobs_kit import decide, get, run_out
from tasks_kit import Steady

from hostd.archive import jobs
from hostd.errors import CannotTranscodeError
from hostd.jobs import packing
from hostd.jobs.faults import JobFault
from hostd.jobs.packing import ARCHIVE, Names, Packed, Packer, Packing, Packs, packed, plain
from hostd.jobs.running import Runner
from hostd.testing.made import EXPLICIT, arrive, header
from hostd.transcoding.transform import Transcode

RLE, JPEG = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50"


def stored(archive, number, content):
    uid = f"1.2.3.4.{number}"
    arrive(archive, uid, content=content)
    return header(uid).identity.instance


def found(archive, ids):
    with archive.read() as connection:
        return packed(connection, ids)


class Maker:
    """Makes the same of everything, or nothing."""

    def __init__(self, path, fault=None):
        self.path, self.fault = path, fault

    @contextmanager
    def made(self, stored, syntax, transform):
        if self.fault is not None:
            raise self.fault
        yield self.path


def test_little_is_held_of_what_is_large(archive):
    large = [stored(archive, n, bytes([n]) * (8 << 20)) for n in range(6)]
    instances, size = found(archive, large), 0
    gc.collect()
    tracemalloc.start()
    try:
        for piece in Packer(archive, None).pieces(Packing(), instances):
            size += len(piece)
            assert len(piece) < 4 << 20
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 0
    assert peak < 8 << 20, f"{peak >> 20} MiB were held of 48"


def test_a_zip_whose_client_went_away_lets_go_of_its_files(archive):
    ids = [stored(archive, n, bytes(range(256)) * 20000) for n in range(3)]
    pieces = Packer(archive, None).pieces(Packing(), found(archive, ids))
    next(pieces)
    pieces.close()
    with pytest.raises(StopIteration):
        next(pieces)


def test_a_file_that_is_missing_breaks_it_off(archive):
    (one,) = found(archive, [stored(archive, 1, b"data")])
    archive.blobs.unlink(one.blob)
    with pytest.raises(JobFault, match="is missing"):
        list(Packer(archive, None).pieces(Packing(), [one]))
    with pytest.raises(JobFault, match="no longer there"):
        found(archive, ["nothing"])


def test_what_cannot_be_transcoded_stays_as_it_is_but_never_where_it_was_to_lose_something(archive, tmp_path):
    one = stored(archive, 1, b"as it is")
    made = tmp_path / "made"
    made.write_bytes(b"made")

    def packed_as(step, maker):
        content = b"".join(Packer(archive, maker).pieces(Packing(transcode=step), found(archive, [one])))
        with zipfile.ZipFile(io.BytesIO(content)) as zipped:
            (name,) = zipped.namelist()
            return zipped.read(name)

    lossless, lossy = Transcode(RLE), Transcode(JPEG, quality=90)
    cannot = Maker(made, CannotTranscodeError("no pixels"))
    assert packed_as(lossless, Maker(made)) == b"made"
    assert packed_as(lossless, cannot) == b"as it is"
    assert packed_as(Transcode(EXPLICIT), cannot) == b"as it is"  # it is in that syntax already
    with pytest.raises(CannotTranscodeError):
        packed_as(lossy, cannot)


def named(patient="p", study="s", series="e", number=1, **texts):
    attributes = {
        "patient": {"PatientID": texts.get("id", "1"), "PatientName": texts.get("name", "A^B")},
        "study": {"StudyDescription": texts.get("study_text", "S")}, "series": {"Modality": texts.get("modality", "CT")},
        "instance": {"InstanceNumber": str(number)},
    }  # fmt: skip
    return Packed("i", patient, study, series, "1.2", "1.3", "c", "b", 4, EXPLICIT, attributes)


def test_folders_of_the_same_name_are_told_apart_and_no_name_leads_elsewhere():
    names = Names()
    assert names.of(named()) == "1 A B/S/CT/CT000000.dcm"
    assert names.of(named()) == "1 A B/S/CT/CT000001.dcm"
    assert names.of(named(series="f")) == "1 A B/S/CT-2/CT000000.dcm"
    assert names.of(named(patient="q", study="t", series="g")) == "1 A B-2/S/CT/CT000000.dcm"
    hostile = named(
        patient="r", study="u", series="h", id="../../etc", name="\x00/passwd", study_text="..", modality="../x"
    )
    assert names.of(hostile) == "etc passwd/Unknown Study/x/00000000.dcm".replace("x/00000000", "x/X0000000")
    assert plain("..") == ""


@pytest.fixture
def packs(archive):
    return Packs(archive, Packer(archive, None))


def ask(archive, ids):
    return archive.writer.do(
        lambda c: jobs.submit(c, ARCHIVE, {"is_media": False, "extended": False, "transcode": None}, 0.0, items=ids)
    )


def test_a_job_keeps_its_archive_until_it_is_forgotten(archive, packs):
    runner = Runner(archive, {ARCHIVE: packs}, Steady(), at_once=1)
    one = ask(archive, [stored(archive, n, b"data") for n in range(3)])
    run_out(runner)
    job = get(archive, one)
    assert (job.state, job.content["UncompressedSize"]) == ("success", "12")
    with zipfile.ZipFile(packs.output(job)) as zipped:
        assert len(zipped.namelist()) == 3
    assert packs.output(job).stat().st_mode & 0o077 == 0
    runner.delete(one)
    assert not packs.output(job).exists()


@pytest.fixture
def _in_slices(monkeypatch):
    """A step ends whenever it may."""
    monkeypatch.setattr(packing, "_SLICE_S", 0.0)


@pytest.mark.usefixtures("_in_slices")
def test_how_far_it_is_is_shown_while_it_packs(archive, packs):
    one = ask(archive, [stored(archive, n, b"data") for n in range(4)])
    seen, step = [], packs.step

    def looked_at(job):
        seen.append(job.progress)
        return step(job)

    packs.step = looked_at
    run_out(Runner(archive, {ARCHIVE: packs}, Steady(), at_once=1))
    assert seen[:5] == [0.0, 0.25, 0.5, 0.75, 0.99]
    assert (get(archive, one).state, get(archive, one).progress) == ("success", 1.0)
    with zipfile.ZipFile(packs.output(get(archive, one))) as zipped:
        assert zipped.testzip() is None
        assert len(zipped.namelist()) == 4


@pytest.mark.usefixtures("_in_slices")
@pytest.mark.parametrize("verb", ["cancel", "pause"])
def test_a_job_that_is_to_end_while_it_packs_ends_there_and_leaves_nothing(archive, packs, verb):
    one = ask(archive, [stored(archive, n, bytes([n]) * (2 << 20)) for n in range(3)])
    seen, step = [], packs.step

    def decided(job):
        done = step(job)
        seen.append([path.name for path in packs._folder.iterdir()])
        if len(seen) == 1:
            decide(archive, one, verb)
        return done

    packs.step = decided
    runner = Runner(archive, {ARCHIVE: packs}, Steady(), at_once=1)
    run_out(runner)
    assert seen == [[f"{one}.part"]], "it ended after the step in which it was decided"
    assert list(packs._folder.iterdir()) == []
    if verb == "cancel":
        assert (get(archive, one).state, get(archive, one).error_code) == ("failure", 37)
        return
    assert get(archive, one).state == "paused"
    decide(archive, one, "resume")
    run_out(runner)
    with zipfile.ZipFile(packs.output(get(archive, one))) as zipped:
        assert len(zipped.namelist()) == 3


@pytest.mark.usefixtures("_in_slices")
def test_what_fails_in_its_middle_leaves_nothing(archive, packs):
    ids = [stored(archive, n, b"data") for n in range(3)]
    one = ask(archive, ids)
    with archive.read() as connection:
        last = packed(connection, ids)[-1]
    archive.blobs.unlink(last.blob)
    run_out(Runner(archive, {ARCHIVE: packs}, Steady(), at_once=1))
    assert get(archive, one).state == "failure"
    assert list(packs._folder.iterdir()) == []


@pytest.mark.usefixtures("_in_slices")
def test_a_node_that_stops_while_it_packs_leaves_nothing_and_the_next_begins_anew(archive, packs):
    one = ask(archive, [stored(archive, n, b"data") for n in range(3)])
    runner = Runner(archive, {ARCHIVE: packs}, Steady(), at_once=1)
    step = packs.step

    def stopping(job):
        runner._closing.set()
        return step(job)

    packs.step = stopping
    assert runner.turn() == 0
    packs.close()
    assert list(packs._folder.iterdir()) == []
    following = Packs(archive, Packer(archive, None))
    run_out(Runner(archive, {ARCHIVE: following}, Steady(), at_once=1))
    with zipfile.ZipFile(following.output(get(archive, one))) as zipped:
        assert len(zipped.namelist()) == 3


def test_what_a_killed_node_left_half_packed_goes_at_the_next_start(archive, packs):
    one = ask(archive, [stored(archive, 1, b"data")])
    run_out(Runner(archive, {ARCHIVE: packs}, Steady(), at_once=1))
    (packs._folder / "some.part").write_bytes(b"half")
    (packs._folder / "forgotten.zip").write_bytes(b"old")
    packs.sweep()
    assert [path.name for path in packs._folder.iterdir()] == [f"{one}.zip"]
