"""C-MOVE and C-GET asked of a node by DCMTK's movescu and getscu, and by a real Orthanc."""

import json
import subprocess

import pytest
from peer_kit import assert_same_image, needs, sample
from pydicom import dcmread

pytestmark = [pytest.mark.peers, needs("movescu", "getscu", "storescp", "Orthanc", "gdcmconv")]

J2K = "MR_small_jp2klossless.dcm"
FILES = [J2K, "CT_small.dcm", "SC_rgb_rle.dcm", "test-SR.dcm", "examples_rgb_color.dcm"]
OPTIONS = {J2K: "-xv", "SC_rgb_rle.dcm": "-xr"}
ASKER = '[modalities.asker]\naet = "ASKER"\nhost = "127.0.0.1"\nport = 104\n'


def modality(name, peer, aet="ARCHIVE", more=""):
    return f'[modalities.{name}]\naet = "{aet}"\nhost = "127.0.0.1"\nport = {peer.port}\n{more}\n'


def header(name):
    return dcmread(sample(name), stop_before_pixels=True)


def run(tool, node, *arguments, aet="ASKER"):
    """Run movescu or getscu; return what it wrote, after its exit code."""
    ended = subprocess.run(
        [tool, "-v", "-d", "-aet", aet, "-aec", "HOSTD", "127.0.0.1", str(node.port), *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return ended.returncode, ended.stdout + ended.stderr


def keys(level, **values):
    return [
        part for name, value in {"QueryRetrieveLevel": level, **values}.items() for part in ("-k", f"{name}={value}")
    ]


def filled(start, more="", files=FILES):
    node = start.node(more=ASKER + more)
    for name in files:
        assert node.storescu(sample(name), OPTIONS.get(name, "-xe")).returncode == 0
    return node


def arrived(folder):
    return {dcmread(path, stop_before_pixels=True).SOPInstanceUID: path for path in folder.iterdir()}


def retrievals(node):
    return node.query("SELECT kind, destination, count, completed, warnings, failed, state FROM retrieval ORDER BY id")


def test_movescu_has_a_study_sent_decompressed_to_who_takes_only_uncompressed(start, tmp_path):
    archive = start.storescp("+xe")
    node = filled(start, modality("archive", archive))
    uids = "\\".join({header(name).StudyInstanceUID for name in FILES})
    code, said = run("movescu", node, "-S", "-aem", "ARCHIVE", *keys("STUDY", StudyInstanceUID=uids))
    assert code == 0, said
    found = arrived(archive.folder)
    assert found.keys() == {header(name).SOPInstanceUID for name in FILES}
    for name in FILES:
        path = found[header(name).SOPInstanceUID]
        assert not dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID.is_encapsulated
        assert_same_image(sample(name), path, tmp_path)
    assert retrievals(node) == [("move", "modality:archive", len(FILES), len(FILES), 0, 0, "done")]


def test_getscu_gets_what_it_asks_for_at_every_level(start, tmp_path):
    node = filled(start)
    mr = header(J2K)
    asked = {
        "STUDY": {"StudyInstanceUID": mr.StudyInstanceUID},
        "SERIES": {"StudyInstanceUID": mr.StudyInstanceUID, "SeriesInstanceUID": mr.SeriesInstanceUID},
        "IMAGE": {"SOPInstanceUID": mr.SOPInstanceUID},
        "PATIENT": {"PatientID": mr.PatientID},
    }
    for level, values in asked.items():
        folder = tmp_path / level
        folder.mkdir()
        code, said = run("getscu", node, "-P" if level == "PATIENT" else "-S", "-od", folder, *keys(level, **values))
        assert code == 0, said
        found = arrived(folder)
        assert mr.SOPInstanceUID in found, said
        assert_same_image(sample(J2K), found[mr.SOPInstanceUID], tmp_path)
        assert not dcmread(found[mr.SOPInstanceUID]).file_meta.TransferSyntaxUID.is_encapsulated
    assert [row[-1] for row in retrievals(node)] == ["done"] * 4


def test_a_real_orthanc_has_a_study_sent_to_itself(start):
    orthanc = start.orthanc(started=False)
    node = filled(start, f'[modalities.orthanc]\naet = "ORTHANC"\nhost = "127.0.0.1"\nport = {orthanc.dicom_port}\n')
    orthanc.more = {"DicomModalities": {"node": ["HOSTD", "127.0.0.1", node.port]}}
    orthanc.start()
    body = {"Level": "Study", "Resources": [{"StudyInstanceUID": header("CT_small.dcm").StudyInstanceUID}]}
    answer = orthanc.post("/modalities/node/move", json.dumps(body))
    assert answer.ok, answer.text
    uids = {
        orthanc.get(f"/instances/{one}/tags?simplify").json()["SOPInstanceUID"]
        for one in orthanc.get("/instances").json()
    }
    assert uids == {header("CT_small.dcm").SOPInstanceUID}
    assert retrievals(node) == [("move", "modality:orthanc", 1, 1, 0, 0, "done")]


def test_strangers_are_told_that_they_are_strangers(start, tmp_path):
    archive = start.storescp()
    node = filled(start, modality("archive", archive), ["CT_small.dcm"])
    study = keys("STUDY", StudyInstanceUID=header("CT_small.dcm").StudyInstanceUID)
    code, said = run("movescu", node, "-S", "-aem", "ARCHIVE", *study, aet="STRANGER")
    assert code != 0
    assert "no configured modality" in said
    code, said = run("movescu", node, "-S", "-aem", "NOWHERE", *study)
    assert code != 0
    assert "0xa801" in said.lower()
    assert not arrived(archive.folder)
