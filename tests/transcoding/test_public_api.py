"""`hostd.transcode`: the engine for programs."""

from __future__ import annotations

import ast
import inspect
import io
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pydicom
import pytest
from processes import is_alive
from transcoding_images import image, pixels_of, saved

import hostd
from hostd.dicom.syntaxes import JPEG2000, JPEG2000_LOSSLESS, JPEG_LS_NEAR, UnknownSyntaxError
from hostd.errors import CannotTranscodeError
from hostd.transcoding import placing, public
from hostd.transcoding.receipt import NOT_VERIFIED

CONTENT = saved(image(rows=40, columns=50))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "ct.dcm"
    path.write_bytes(CONTENT)
    return path


def syntax_of(content):
    return pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True).file_meta.TransferSyntaxUID


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_bytes_become_bytes_with_a_receipt_and_come_back_the_same():
    small = hostd.transcode(CONTENT, to="j2k")
    assert isinstance(small, hostd.Transcoded)
    assert isinstance(small.receipt, hostd.Receipt)
    assert syntax_of(small.content) == JPEG2000_LOSSLESS.uid
    assert small.receipt.pixel_hash_after == small.receipt.pixel_hash_before != ""
    assert (small.receipt.bytes_before, small.receipt.bytes_after) == (len(CONTENT), len(small.content))
    assert small.path is None
    back = hostd.transcode(small.content, "1.2.840.10008.1.2.1")
    assert (pixels_of(back.content) == pixels_of(CONTENT)).all()


def test_a_path_becomes_bytes_or_the_file_that_is_asked_for(file, tmp_path):
    returned = hostd.transcode(str(file), to="j2k").content
    written = hostd.transcode(file, to="j2k", result=tmp_path / "small.dcm")
    assert written.path == tmp_path / "small.dcm"
    assert written.content == b""
    assert written.path.read_bytes() == returned
    assert names_in(tmp_path) == ["ct.dcm", "small.dcm"]
    assert file.read_bytes() == CONTENT


def test_what_is_in_that_syntax_already_comes_back_byte_for_byte(file, tmp_path):
    odd = CONTENT + bytes(7)  # no transcoder would write this
    same = hostd.transcode(odd, to="explicit")
    assert same.content == odd
    assert same.receipt.outcome == "kept original"
    assert "already" in same.receipt.reason
    hostd.transcode(file, to="explicit", result=tmp_path / "same.dcm")
    assert (tmp_path / "same.dcm").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("to", "how", "target"),
    [
        ("JPEG2000", {"quality": 80}, JPEG2000),
        ("JPEG2000", {"ratio": 4}, JPEG2000),
        ("JPEGLSNearLossless", {"near": 2}, JPEG_LS_NEAR),
    ],
)
def test_a_lossy_result_is_an_instance_of_its_own(to, how, target):
    lossy = hostd.transcode(CONTENT, to=to, **how)
    read = pydicom.dcmread(io.BytesIO(lossy.content))
    assert read.file_meta.TransferSyntaxUID == target.uid
    assert read.SOPInstanceUID != "1.2.3.4.5"
    assert read.LossyImageCompression == "01"
    assert "PSNR" in lossy.receipt.verified_by


@pytest.mark.parametrize(
    ("to", "how", "says"),
    [
        ("JPEG2000", {}, "j2k"),
        ("HTJ2K", {}, "htj2k"),
        ("JPEGXL", {}, "jxl"),
        ("JPEGBaseline8Bit", {}, "jpeg-lossless"),
        ("j2k", {"quality": 80}, "name JPEG2000"),
        ("JPEG2000", {"quality": 80, "ratio": 4}, "exactly one"),
        ("JPEG2000", {"near": 4}, "JPEG-LS"),
        ("JPEG2000", {"quality": 0}, "1 to 100"),
        ("JPEG2000", {"quality": 80.5}, "whole number"),
        ("ExplicitVRBigEndian", {}, "retired"),
        ("HEVCMP51", {}, "cannot be written"),
    ],
)
def test_loss_that_was_not_asked_for_or_in_vain_is_refused_in_words(to, how, says):
    with pytest.raises(CannotTranscodeError, match=says):
        hostd.transcode(CONTENT, to=to, **how)


def test_an_unknown_syntax_is_refused_with_the_nearest_names():
    with pytest.raises(UnknownSyntaxError, match="j2k"):
        hostd.transcode(CONTENT, to="j2kk")


def test_a_recompressed_jpeg_is_restored_without_asking_for_loss():
    jpeg = hostd.transcode(
        saved(image(rows=40, columns=48, spp=3, allocated=8, stored=8)), "JPEGBaseline8Bit", quality=90
    )
    packed = hostd.transcode(jpeg.content, to="JPEGXLJPEGRecompression")
    restored = hostd.transcode(packed.content, to="JPEGBaseline8Bit")
    frame = pydicom.dcmread(io.BytesIO(jpeg.content)).PixelData
    assert pydicom.dcmread(io.BytesIO(restored.content)).PixelData == frame


def test_without_verification_the_receipt_says_so():
    receipt = hostd.transcode(CONTENT, to="j2k", verify=False).receipt
    assert (receipt.verified_by, receipt.pixel_hash_after) == (NOT_VERIFIED, "")


def test_errors_are_of_hostd_and_name_the_file(file, tmp_path):
    with pytest.raises(hostd.TranscodeError, match=r"missing\.dcm"):
        hostd.transcode(tmp_path / "missing.dcm", to="j2k")
    with pytest.raises(hostd.TranscodeError, match=r"ct\.dcm: there is no folder .*/no for"):
        hostd.transcode(file, to="j2k", result=tmp_path / "no" / "folder.dcm")
    with pytest.raises(CannotTranscodeError, match="not a DICOM file"):
        hostd.transcode(b"x" * 200, to="j2k")
    assert names_in(tmp_path) == ["ct.dcm"]


def test_an_existing_file_is_replaced_only_when_that_is_said_and_the_source_never(file, tmp_path):
    taken = tmp_path / "taken.dcm"
    taken.write_bytes(b"precious")
    with pytest.raises(hostd.TranscodeError, match="exists already"):
        hostd.transcode(file, to="j2k", result=taken)
    assert taken.read_bytes() == b"precious"
    hostd.transcode(file, to="j2k", result=taken, overwrite=True)
    assert syntax_of(taken.read_bytes()) == JPEG2000_LOSSLESS.uid
    (tmp_path / "link.dcm").symlink_to(file)
    for same in (file, tmp_path / "link.dcm"):
        with pytest.raises(hostd.TranscodeError, match="replace its own source"):
            hostd.transcode(file, to="j2k", result=same, overwrite=True)
    assert file.read_bytes() == CONTENT
    assert names_in(tmp_path) == ["ct.dcm", "link.dcm", "taken.dcm"]


def test_a_result_that_fails_leaves_no_file(tmp_path):
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(saved(image(HighBit=17)))
    with pytest.raises(CannotTranscodeError, match=r"bad\.dcm: .*HighBit"):
        hostd.transcode(bad, to="j2k", result=tmp_path / "result.dcm")
    assert names_in(tmp_path) == ["bad.dcm"]


def test_a_copy_that_is_told_to_stop_leaves_no_file(file, tmp_path):
    wanted = public.Wanted.parse("explicit")
    with pytest.raises(hostd.TranscodeError, match="stop"):
        public.bring(file, wanted, tmp_path / "copy", None, go_on=lambda: False)
    assert names_in(tmp_path) == ["ct.dcm"]


def test_the_example_of_its_documentation_works(file, tmp_path, monkeypatch, capsys):
    (tmp_path / "us.dcm").write_bytes(CONTENT)
    monkeypatch.chdir(tmp_path)
    lines = inspect.getdoc(hostd.transcode).splitlines()
    exec(textwrap.dedent("\n".join(line for line in lines if line.startswith("    "))))
    assert "compared" in capsys.readouterr().out
    assert syntax_of((tmp_path / "us-lossy.dcm").read_bytes()) == JPEG2000.uid


# -- how results are named ---------------------------------------------------------------------------------------------


@pytest.fixture(params=[True, False], ids=["with hard links", "without hard links"])
def naming(request, monkeypatch):
    if not request.param:

        def refuse(*_, **__):
            raise PermissionError(1, "Operation not permitted")  # what exFAT says

        monkeypatch.setattr(placing.os, "link", refuse)


def test_a_result_has_its_name_when_it_is_whole_and_not_before(naming, tmp_path):
    result = tmp_path / "result"
    with placing.placed(result) as spare:
        spare.write_bytes(b"half")
        assert not result.exists()
        spare.write_bytes(b"whole")
    assert result.read_bytes() == b"whole"
    assert names_in(tmp_path) == ["result"]


def test_a_name_that_was_taken_meanwhile_stays_with_who_took_it(naming, tmp_path):
    result = tmp_path / "result"
    placing_it = placing.placed(result)
    placing_it.__enter__().write_bytes(b"mine")
    result.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        placing_it.__exit__(None, None, None)
    assert result.read_bytes() == b"theirs"
    assert names_in(tmp_path) == ["result"]


def test_a_result_is_open_to_whom_its_source_is_as_far_as_the_umask_lets_it(tmp_path):
    source = tmp_path / "source"
    source.touch()
    before = os.umask(0o027)
    try:
        for given, expected in ((0o600, 0o600), (0o644, 0o640), (0o777, 0o640), (0o444, 0o640)):
            source.chmod(given)
            with placing.placed(tmp_path / "result", like=source, overwrite=True) as spare:
                spare.touch()
            assert (tmp_path / "result").stat().st_mode & 0o777 == expected
    finally:
        os.umask(before)


# -- the package -------------------------------------------------------------------------------------------------------


def python(script, *arguments):
    environment = os.environ | {"PYTHONPATH": str(Path(hostd.__file__).parents[1])}
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True, text=True, timeout=100, env=environment, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


def test_importing_hostd_imports_nothing_of_it_until_a_name_is_asked_for():
    script = """
        import sys, hostd
        print(*[name for name in sys.modules if name.startswith("hostd")])
        assert set(hostd.__all__) <= set(dir(hostd))
        print(*[name for name in sys.modules if name.startswith("hostd")])
        hostd.transcode
        print("hostd.transcoding.public" in sys.modules, "imagecodecs" in sys.modules)
    """
    assert python(script) == ["hostd", "hostd", "True", "False"]


def test_type_checkers_see_every_public_name_and_there_is_no_other():
    tree = ast.parse(Path(hostd.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    assert sorted(alias.name for node in block.body for alias in node.names) == sorted(hostd.__all__)
    for name in hostd.__all__:
        assert getattr(hostd, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'transmogrify'"):
        _ = hostd.transmogrify


def test_the_codec_processes_end_with_the_program(file):
    script = """
        import sys, hostd
        from hostd.transcoding import public
        hostd.transcode(sys.argv[1], to="j2k")
        print(*[worker.pid for worker in public._shared.pool()._idle])
    """
    (pid,) = python(script, file)
    assert not is_alive(pid)


def test_a_forked_process_has_codec_processes_of_its_own(file):
    script = """
        import os, sys, hostd
        from hostd.transcoding import public
        def pids():
            hostd.transcode(sys.argv[1], to="j2k")
            return [worker.pid for worker in public._shared.pool()._idle]
        mine = pids()
        child = os.fork()
        if not child:
            sys.exit(pids() == mine)
        assert os.waitpid(child, 0)[1] == 0
        assert pids() == mine
        print("ok")
    """
    assert python(script, file) == ["ok"]
