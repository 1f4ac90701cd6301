"""The benchmark of uploads and of transcoding on arrival runs, and what it measures is what it says."""

import pytest

from benchmarks import document
from benchmarks.ingest import __main__ as ingest
from benchmarks.ingest import files, rounds, servers
from benchmarks.ingest.unverified import without_verification
from benchmarks.receive.rounds import send
from hostd.archive import tables as t
from hostd.archive.archive import attach
from hostd.dicom.syntaxes import JPEG_LOSSLESS_SV1
from hostd.transcoding.pool import CodecPool
from hostd.transcoding.receipt import NOT_VERIFIED

pytestmark = pytest.mark.peers


def test_it_measures_and_writes_its_sections(tmp_path, monkeypatch):
    monkeypatch.setattr(rounds, "SYNTAXES", (JPEG_LOSSLESS_SV1,))
    run = ingest.taken(tmp_path, rounds_=1, instances=4, quick=True)
    assert {name for _, name in run.ingest.cells} == {rounds.HOSTD, rounds.UNVERIFIED}
    page = tmp_path / "performance.md"
    for section in (ingest.of_uploads(run), ingest.of_ingest(run)):
        document.write(page, section)
    assert "| `.70` | 4 associations | hostd, not verified |" in page.read_text()
    assert "| 0.5 MB | 4 connections | hostd |" in page.read_text()


def test_only_the_one_that_is_said_to_leave_verification_out_does(tmp_path):
    (folder,) = files.made(tmp_path / "files", 2, 1)
    said = {}
    for kind in (servers.TranscodingHostd, servers.UnverifiedHostd):
        server = kind(tmp_path / "server", JPEG_LOSSLESS_SV1)
        try:
            send([folder], server)
            assert server.transcoded() == 2
            with attach(server.data) as connection:
                said[kind.name] = [row.facts["verified_by"] for row in connection.execute(t.receipt.select())]
        finally:
            server.stop()
    assert all(one and not one.startswith(NOT_VERIFIED) for one in said["hostd"])
    assert said["hostd, not verified"] == [NOT_VERIFIED] * 2


def test_verification_is_left_out_by_the_default_of_one_function(monkeypatch):
    before = dict(CodecPool.transcode.__kwdefaults__)
    monkeypatch.setattr(CodecPool.transcode, "__kwdefaults__", dict(before))
    without_verification()
    assert before["verify"] is True
    assert CodecPool.transcode.__kwdefaults__ == before | {"verify": False}
