"""`hostd transcode`: what becomes of files and folders, and what never does."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from typer.testing import CliRunner

from hostd import cli
from hostd.cli import signals
from hostd.dicom.syntaxes import JPEG2000, JPEG2000_LOSSLESS, RLE_LOSSLESS
from hostd.transcoding import batch
from hostd.transcoding.pool import CodecPool
from hostd.transcoding.receipt import NOT_VERIFIED

ROOT = Path(__file__).parents[2]
CT, MR, COMPRESSED, DOSE, REPORT = (
    Path(get_testdata_file(name, download=False)).read_bytes()
    for name in ("CT_small.dcm", "MR_small.dcm", "MR_small_jp2klossless.dcm", "rtdose_1frame.dcm", "test-SR.dcm")
)
app = cli.build()


@pytest.fixture(scope="module")
def codecs():
    pool = CodecPool(workers=2)
    yield pool
    pool.close()


@pytest.fixture(autouse=True)
def lent(monkeypatch, codecs):
    """Codec processes start once for all tests; return what the command asked for."""
    asked = []

    class Lent:
        def __init__(self, *, workers):
            asked.append(workers)
            self.transcode = codecs.transcode

        def close(self):
            pass

    monkeypatch.setattr(batch, "CodecPool", Lent)
    return asked


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(files):
    for name, content in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def run(*arguments):
    return CliRunner().invoke(app, ["transcode", *map(str, arguments)])


def told(*arguments, exit_code=0):
    """Return the summary, and of each file what became of it and why."""
    ran = run(*arguments, "--json")
    assert ran.exit_code == exit_code, ran.output
    found = json.loads(ran.stdout)
    return found["summary"], {file["source"]: (file["became"], file["reason"]) for file in found["files"]}


def syntax_of(path):
    return pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if not path.is_dir())


# -- what goes where ---------------------------------------------------------------------------------------------------


def test_a_folder_keeps_its_structure_and_every_pixel(folder, codecs):
    put({"in/CT.dcm": CT, "in/a/b/MR.dcm": MR, "in/a/done": COMPRESSED})
    ran = run("in", "out", "--to", "j2k")
    assert ran.exit_code == 0, ran.output
    assert files_below("out") == files_below("in") == ["CT.dcm", "a/b/MR.dcm", "a/done"]
    for name in files_below("out"):
        assert syntax_of(Path("out", name)) == JPEG2000_LOSSLESS.uid
        assert codecs.pixel_hash(Path("out", name)) == codecs.pixel_hash(Path("in", name))
    assert Path("in/CT.dcm").read_bytes() == CT
    before = len(CT) + len(MR) + len(COMPRESSED)
    after = sum(Path("out", name).stat().st_size for name in files_below("out"))
    assert "3 found: 2 transcoded; 1 copied, being in that syntax already\n" in ran.output
    assert f"{before:,} bytes became {after:,}, ratio {before / after:.2f}" in ran.output


def test_what_is_in_that_syntax_already_is_copied_byte_for_byte(folder):
    put({"done.dcm": COMPRESSED + bytes(3)})
    summary, files = told("done.dcm", "out.dcm", "--to", "j2k")
    assert files["done.dcm"] == ("copied", "it is in JPEG 2000 Lossless (1.2.840.10008.1.2.4.90) already")
    assert Path("out.dcm").read_bytes() == COMPRESSED + bytes(3)
    assert summary["copied"] == 1


@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        (["ct.dcm", "new.dcm"], "new.dcm"),
        (["ct.dcm", "new/"], "new/ct.dcm"),
        (["ct.dcm", "there"], "there/ct.dcm"),
        (["ct.dcm", "deep/er/new.dcm"], "deep/er/new.dcm"),
        (["ct.dcm", "mr.dcm", "new"], "new/ct.dcm"),
        (["there", "ct.dcm", "new"], "new/ct.dcm"),
    ],
)
def test_out_is_a_file_for_one_file_only_and_otherwise_a_folder(folder, arguments, result):
    put({"ct.dcm": CT, "mr.dcm": MR})
    Path("there").mkdir()
    assert run(*arguments, "--to", "rle").exit_code == 0
    assert syntax_of(result) == RLE_LOSSLESS.uid


@pytest.mark.parametrize("name", ["j2k", "J2K", "JPEG2000Lossless", "1.2.840.10008.1.2.4.90"])
def test_a_syntax_goes_by_short_name_keyword_or_uid(folder, name):
    put({"ct.dcm": CT})
    assert run("ct.dcm", "out.dcm", "--to", name).exit_code == 0
    assert syntax_of("out.dcm") == JPEG2000_LOSSLESS.uid


@pytest.mark.parametrize(
    ("options", "syntax"),
    [
        (["--to", "JPEG2000", "--quality", 80], JPEG2000.uid),
        (["--to", "JPEG2000", "--ratio", "8.5"], JPEG2000.uid),
        (["--to", "JPEGLSNearLossless", "--near", 3], "1.2.840.10008.1.2.4.81"),
    ],
)
def test_loss_is_asked_for_by_quality_ratio_or_near(folder, options, syntax):
    put({"mr.dcm": MR})
    assert run("mr.dcm", "out.dcm", *options).exit_code == 0
    assert syntax_of("out.dcm") == syntax
    assert pydicom.dcmread("out.dcm").LossyImageCompression == "01"


# -- what makes no sense as a whole ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["in", "out", "--to", "JPEG2000"], "j2k, which loses nothing"),
        (["in", "out", "--to", "j2k", "--quality", 90], "for a lossy result name JPEG2000"),
        (["in", "out", "--to", "JPEG2000", "--quality", 90, "--ratio", 3], "exactly one of"),
        (["in", "out", "--to", "nonsense"], "no transfer syntax is called 'nonsense'"),
        (["in", "out", "--to", "ExplicitVRBigEndian"], "retired"),
        (["missing", "out", "--to", "j2k"], "missing is not there"),
        (["in", "in", "--to", "j2k"], "results never replace"),
        (["in", "in/../in", "--to", "j2k"], "results never replace"),
        (["in", "file", "--to", "j2k"], "file is a file"),
    ],
)
def test_nothing_is_begun_when_what_is_asked_for_makes_no_sense(folder, monkeypatch, capsys, arguments, says):
    put({"in/ct.dcm": CT, "file": b"precious"})
    monkeypatch.setattr(sys, "argv", ["hostd", "transcode", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert says in capsys.readouterr().err
    assert files_below(".") == ["file", "in/ct.dcm"]
    assert Path("file").read_bytes() == b"precious"


@pytest.mark.parametrize(
    "arguments",
    [["in", "--to", "j2k"], ["in", "out"], ["in", "out", "--to", "JPEG2000", "--quality", 0],
     ["in", "out", "--to", "j2k", "--workers", 0]],
)  # fmt: skip
def test_a_command_that_lacks_something_ends_with_2(folder, arguments):
    put({"in/ct.dcm": CT})
    assert run(*arguments).exit_code == 2
    assert files_below(".") == ["in/ct.dcm"]


# -- one file never costs another --------------------------------------------------------------------------------------


def test_a_failing_file_stops_no_other_and_says_why(folder):
    put({"in/ct.dcm": CT, "in/dose.dcm": DOSE, "in/sr.dcm": REPORT, "in/cut.dcm": CT[:20000], "in/head.dcm": CT[:200]})
    ran = run("in", "out", "--to", "j2k")
    assert ran.exit_code == 1
    assert files_below("out") == ["ct.dcm"]
    assert "failed: in/dose.dcm: JPEG 2000 is done up to 24 bits" in ran.stderr
    assert "failed: in/sr.dcm: the instance has no pixel data" in ran.stderr
    assert "failed: in/cut.dcm: the file ends inside its pixel data" in ran.stderr
    assert "failed: in/head.dcm: the file ends inside its file meta information" in ran.stderr
    assert "5 found: 1 transcoded; 4 failed" in ran.stdout


def test_what_is_no_dicom_is_skipped_by_name_but_is_a_failure_when_it_was_named(folder):
    directory = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    directory.save_as("DICOMDIR")
    put({"in/ct.dcm": CT, "in/notes.txt": b"notes", "in/empty": b"", "in/DICOMDIR": Path("DICOMDIR").read_bytes()})
    summary, files = told("in", "out", "--to", "rle")
    assert {name: became for name, (became, _) in files.items()} == {
        "in/ct.dcm": "made", "in/notes.txt": "skipped", "in/empty": "skipped", "in/DICOMDIR": "skipped",
    }  # fmt: skip
    assert "not a DICOM file" in files["in/notes.txt"][1]
    assert "DICOMDIR" in files["in/DICOMDIR"][1]
    assert (summary["made"], summary["skipped"], summary["failed"]) == (1, 3, 0)
    assert files_below("out") == ["ct.dcm"]
    _, files = told("in/notes.txt", "in/ct.dcm", "out2", "--to", "rle", exit_code=1)
    assert [files[name][0] for name in ("in/ct.dcm", "in/notes.txt")] == ["made", "failed"]


def test_a_result_that_exists_stays_as_it_is_unless_told_otherwise(folder):
    put({"in/ct.dcm": CT, "in/mr.dcm": MR, "out/ct.dcm": b"precious"})
    _, files = told("in", "out", "--to", "rle", exit_code=1)
    assert files["in/ct.dcm"] == ("failed", "out/ct.dcm exists already; --overwrite replaces it")
    assert files["in/mr.dcm"][0] == "made"
    assert Path("out/ct.dcm").read_bytes() == b"precious"
    assert run("in", "out", "--to", "rle", "--overwrite").exit_code == 0
    assert syntax_of("out/ct.dcm") == RLE_LOSSLESS.uid
    assert files_below("out") == ["ct.dcm", "mr.dcm"]


def test_a_file_that_is_read_is_never_replaced_whatever_its_name(folder):
    put({"in/ct.dcm": CT, "mr.dcm": MR})
    Path("out").mkdir()
    Path("out/ct.dcm").symlink_to("../in/ct.dcm")
    os.link("mr.dcm", "out/mr.dcm")
    _, files = told("in", "mr.dcm", "out", "--to", "rle", "--overwrite", exit_code=1)
    for became, reason in files.values():
        assert became == "failed"
        assert "results never replace those" in reason
    assert (Path("out/ct.dcm").read_bytes(), Path("out/mr.dcm").read_bytes()) == (CT, MR)
    _, files = told("mr.dcm", "mr.dcm", "--to", "rle", "--overwrite", exit_code=1)
    assert Path("mr.dcm").read_bytes() == MR


def test_two_files_with_the_same_result_are_not_mixed_up(folder, codecs):
    put({"a/x.dcm": CT, "b/x.dcm": MR})
    _, files = told("a", "b", "b/x.dcm", "out", "--to", "rle", exit_code=1)
    assert files["a/x.dcm"][0] == "made"
    assert files["b/x.dcm"] == (
        "failed",
        "its result would be out/x.dcm, as that of a/x.dcm; give them folders of their own",
    )
    assert codecs.pixel_hash(Path("out/x.dcm")) == codecs.pixel_hash(Path("a/x.dcm"))


def test_the_same_file_named_twice_is_done_once(folder):
    put({"a/x.dcm": CT})
    summary, _ = told("a/x.dcm", "a", "a/../a/x.dcm", "out", "--to", "rle")
    assert (summary["found"], summary["made"]) == (1, 1)


def test_results_below_what_is_read_are_not_read(folder):
    put({"in/ct.dcm": CT})
    for _ in range(2):
        summary, files = told("in", "in/out", "--to", "rle", "--overwrite")
        assert summary["made"] == 1
    assert files["in/out"] == ("skipped", "the results go there")
    assert files_below("in") == ["ct.dcm", "out/ct.dcm"]


def test_links_that_go_in_circles_or_nowhere_end_in_words(folder):
    put({"in/a/ct.dcm": CT})
    Path("in/a/loop").symlink_to("..")
    Path("in/a/twin").symlink_to("../a")
    Path("in/self").symlink_to("self")
    Path("in/gone").symlink_to("nothing")
    os.mkfifo("in/pipe")
    summary, files = told("in", "out", "--to", "rle", exit_code=1)
    assert files["in/a/loop"] == ("skipped", "a link to the folder in, which is read already")
    assert files["in/a/twin"] == ("skipped", "a link to the folder in/a, which is read already")
    assert files["in/self"] == ("failed", "the link leads nowhere: Too many levels of symbolic links")
    assert files["in/gone"] == ("failed", "the link leads nowhere: No such file or directory")
    assert files["in/pipe"] == ("skipped", "it is neither a file nor a folder")
    assert (summary["made"], summary["found"]) == (1, 6)


def test_files_and_folders_that_cannot_be_read_are_failures_in_words(folder, monkeypatch):
    put({"in/ct.dcm": CT, "in/shut/mr.dcm": MR})
    Path("in/odd").symlink_to("/proc/self/mem")  # not even root reads its beginning
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    _, files = told("in", "out", "--to", "rle", exit_code=1)
    assert files["in/shut"] == ("failed", "the folder cannot be read: Permission denied")
    assert files["in/odd"] == ("failed", "Input/output error")
    assert files["in/ct.dcm"][0] == "made"


def test_a_folder_that_cannot_be_made_is_a_failure_of_its_files(folder):
    put({"in/a/ct.dcm": CT, "in/mr.dcm": MR, "out/a": b"a file"})
    _, files = told("in", "out", "--to", "rle", exit_code=1)
    assert files["in/a/ct.dcm"][0] == "failed"
    assert "out/a" in files["in/a/ct.dcm"][1]
    assert files["in/mr.dcm"][0] == "made"


def test_a_folder_that_takes_no_file_is_named(folder):
    put({"ct.dcm": CT})
    Path("nowhere").symlink_to("nothing")
    for place, says in (
        ("/proc/ct.dcm", "No such file or directory: /proc"),
        ("nowhere/ct.dcm", "File exists: nowhere"),
    ):
        assert told("ct.dcm", place, "--to", "rle", exit_code=1)[1]["ct.dcm"] == ("failed", says)


def test_a_name_that_was_taken_after_the_plan_was_made_is_left_to_its_owner(folder, monkeypatch):
    put({"ct.dcm": CT})
    bring = batch.bring

    def slower_than_another(*arguments, **how):
        put({"out.dcm": b"theirs"})
        return bring(*arguments, **how)

    monkeypatch.setattr(batch, "bring", slower_than_another)
    _, files = told("ct.dcm", "out.dcm", "--to", "rle", exit_code=1)
    assert files["ct.dcm"] == ("failed", "out.dcm exists already; --overwrite replaces it")
    assert files_below(".") == ["ct.dcm", "out.dcm"]
    assert Path("out.dcm").read_bytes() == b"theirs"


def test_names_that_are_no_text_are_kept_and_steer_no_terminal(folder):
    name = os.fsdecode(b"in/\xe9\x1b[31m.dcm")
    put({name: CT, "in/\x1b]0;x\x07": b"no image"})
    ran = run("in", "out", "--to", "rle")
    assert ran.exit_code == 0
    assert "\x1b" not in ran.output
    assert Path(os.fsdecode(b"out/\xe9\x1b[31m.dcm")).exists()
    told("in", "out2", "--to", "rle")


def test_a_full_disk_fails_the_file_in_words_and_leaves_nothing(folder):
    put({"in/big.dcm": CT, "in/small.dcm": MR})
    Path("full").mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", "full"], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    try:
        _, files = told("in", "full", "--to", "explicit", "--workers", 1, exit_code=1)
        assert files["in/big.dcm"] == ("failed", "No space left on device")  # a copy
        _, files = told("in/big.dcm", "full", "--to", "implicit", exit_code=1)
        assert files["in/big.dcm"] == ("failed", "No space left on device")  # a transcode
        assert files_below("full") == ["small.dcm"]
    finally:
        subprocess.run(["umount", "full"], check=True)


# -- what is told ------------------------------------------------------------------------------------------------------


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(folder, lent):
    put({"in/ct.dcm": CT, "in/done.dcm": COMPRESSED, "in/dose.dcm": DOSE, "in/sr.dcm": REPORT, "in/x": b"x"})
    ran = run("in", "out", "--to", "j2k", "--dry-run")
    assert ran.exit_code == 1
    assert re.search(
        r"would make: in/ct.dcm → out/ct.dcm: from Explicit VR .* to JPEG 2000 Lossless .*: encode$",
        ran.stdout,
        re.MULTILINE,
    )
    assert "would copy: in/done.dcm → out/done.dcm: it is in" in ran.stdout
    assert "failed: in/dose.dcm: JPEG 2000 is done up to 24 bits" in ran.stderr
    assert "failed: in/sr.dcm: the instance has no pixel data" in ran.stderr
    assert "skipped: in/x" in ran.stderr
    assert not Path("out").exists()
    assert lent == []


@pytest.mark.parametrize(
    ("content", "to", "how"),
    [
        (CT, "implicit", "write another header around the same pixel bytes"),
        (CT, "EncapsulatedUncompressedExplicitVRLittleEndian", "frame the same frames anew"),
        (COMPRESSED, "explicit", "decode"),
        (COMPRESSED, "rle", "decode and encode"),
        (REPORT, "implicit", "write another header; there is no pixel data"),
    ],
)
def test_a_dry_run_foretells_what_is_then_done(folder, content, to, how):
    put({"image.dcm": content})
    summary, files = told("image.dcm", "out.dcm", "--to", to, "--dry-run")
    assert files["image.dcm"][1].endswith(f": {how}")
    assert (summary["would_make"], summary["made"]) == (1, 0)
    assert told("image.dcm", "out.dcm", "--to", to)[0]["made"] == 1


def test_json_has_one_object_a_file_with_its_receipt_and_a_summary(folder):
    put({"in/ct.dcm": CT, "in/x": b"x"})
    found = json.loads(run("in", "out", "--to", "j2k", "--json").stdout)
    first, second = found["files"]
    assert (first["source"], first["result"], first["became"], first["reason"]) == (
        "in/ct.dcm",
        "out/ct.dcm",
        "made",
        "",
    )
    assert first["receipt"]["result_syntax"] == JPEG2000_LOSSLESS.uid
    assert first["receipt"]["pixel_hash_before"] == first["receipt"]["pixel_hash_after"]
    assert (second["source"], second["result"], second["became"], second["receipt"]) == ("in/x", None, "skipped", None)
    summary = found["summary"]
    assert summary["to"] == JPEG2000_LOSSLESS.uid
    assert summary["bytes_before"] == len(CT)
    assert summary["bytes_after"] == Path("out/ct.dcm").stat().st_size
    assert summary["ratio"] == first["receipt"]["ratio"]
    assert summary["verified"] is True


def test_without_verification_the_receipts_and_the_summary_say_so(folder):
    put({"ct.dcm": CT})
    ran = run("ct.dcm", "a.dcm", "--to", "j2k", "--no-verify")
    assert "not verified, as asked" in ran.stdout
    assert "verified" not in run("ct.dcm", "b.dcm", "--to", "j2k").stdout
    found = json.loads(run("ct.dcm", "c.dcm", "--to", "j2k", "--no-verify", "--json").stdout)
    assert found["files"][0]["receipt"]["verified_by"] == NOT_VERIFIED
    assert found["summary"]["verified"] is False
    assert Path("a.dcm").read_bytes() == Path("b.dcm").read_bytes() == Path("c.dcm").read_bytes()


def test_all_processors_work_unless_told_otherwise(folder, lent):
    put({"ct.dcm": CT})
    run("ct.dcm", "a.dcm", "--to", "rle")
    run("ct.dcm", "b.dcm", "--to", "rle", "--workers", 5)
    assert lent == [len(os.sched_getaffinity(0)), 5]


def test_an_empty_folder_is_said_to_be_one(folder):
    Path("in").mkdir()
    ran = run("in", "out", "--to", "j2k")
    assert (ran.exit_code, ran.stdout) == (0, "no file was found\n")


def test_every_option_is_in_the_manual():
    manual = (ROOT / "docs" / "transcoding.md").read_text("utf-8")
    assert "hostd transcode" in (ROOT / "README.md").read_text("utf-8")
    options = re.findall(r"--[a-z-]+", CliRunner().invoke(app, ["transcode", "--help"], terminal_width=200).stdout)
    assert len(set(options)) > 9
    for option in set(options) - {"--help"}:
        assert f"`{option}" in manual, option


# -- the command as a process ------------------------------------------------------------------------------------------


def start(*arguments, **how):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "hostd", "transcode", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, **how)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_whole_results_only_and_says_what_was_done(folder, codecs, number):
    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    ds.Rows = ds.Columns = 1024
    ds.PixelData = ds.PixelData * 64
    Path("in").mkdir()
    ds.save_as("in/000.dcm")
    for n in range(1, 300):
        os.link("in/000.dcm", f"in/{n:03}.dcm")
    running = start("in", "out", "--to", "j2k", "--workers", 1, "--json", stderr=subprocess.PIPE)
    until = time.monotonic() + 60
    while not (Path("out").exists() and any(Path("out").glob("*.dcm"))):
        assert time.monotonic() < until
        time.sleep(0.02)
    running.send_signal(number)
    stdout, stderr = running.communicate(timeout=60)
    assert running.returncode == 1, stderr
    found = json.loads(stdout)
    made = sorted(Path(file["result"]).name for file in found["files"] if file["became"] == "made")
    assert files_below("out") == made
    assert 0 < len(made) < 300
    assert {codecs.pixel_hash(Path("out", name)) for name in made} == {codecs.pixel_hash(Path("in/000.dcm"))}
    summary = found["summary"]
    assert summary["stopped"]
    assert (summary["made"], summary["not_done"], summary["failed"]) == (len(made), 300 - len(made), 0)


def test_the_progress_bar_is_for_terminals_only(folder):
    put({"ct.dcm": CT})
    running = start("ct.dcm", "a.dcm", "--to", "explicit", stderr=subprocess.PIPE)
    _, stderr = running.communicate(timeout=60)
    assert (running.returncode, stderr) == (0, "")
    mine, theirs = pty.openpty()
    try:
        running = start("ct.dcm", "b.dcm", "--to", "explicit", "--json", stderr=theirs)
        stdout, _ = running.communicate(timeout=60)
        assert b"transcoding" in os.read(mine, 1 << 16)
    finally:
        os.close(mine)
        os.close(theirs)
    assert json.loads(stdout)["summary"]["copied"] == 1


def test_signals_are_as_before_when_the_command_has_ended(folder):
    put({"ct.dcm": CT})
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run("ct.dcm", "a.dcm", "--to", "explicit")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    called = []
    with signals.calling_on_stop(lambda: called.append(1)):
        pass
    assert called == []
