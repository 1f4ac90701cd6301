"""Archives and media beside a real Orthanc: the same folders and files, the same answers, and a DICOMDIR that others read."""

import io
import json
import shutil
import subprocess
import zipfile

import pytest
import requests
from peer_kit import LiveNode, Orthanc, needs, sample, until
from pydicom import dcmread
from pydicom.fileset import FileSet

pytestmark = [pytest.mark.peers, needs("Orthanc")]

RLE, JPEG = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50"
J2K = "1.2.840.10008.1.2.4.90"


def odd(name, **changes):
    file = dcmread(sample(name))
    for keyword, value in changes.items():
        setattr(file, keyword, value)
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID
    file.save_as(out := io.BytesIO())
    return out.getvalue()


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A real Orthanc and a node that hold the same; the identifiers of what was stored first."""
    orthanc = Orthanc(tmp_path_factory.mktemp("model")).start()
    live = LiveNode(tmp_path_factory.mktemp("ours"))
    files = [
        sample("CT_small.dcm").read_bytes(),
        odd("CT_small.dcm", SOPInstanceUID="1.2.3.1", InstanceNumber=2),
        odd("CT_small.dcm", SOPInstanceUID="1.2.3.2", SeriesInstanceUID="1.2.4.1"),
        odd("CT_small.dcm", SOPInstanceUID="1.2.3.3", StudyInstanceUID="1.2.5.1", SeriesInstanceUID="1.2.4.2", StudyDescription="a-b/c:d..e_f *(g)", AccessionNumber="A 7"),
        odd("CT_small.dcm", SOPInstanceUID="1.2.3.4", StudyInstanceUID="1.2.5.2", SeriesInstanceUID="1.2.4.3", StudyDescription="", SeriesDescription="\u00c4rm", SpecificCharacterSet="ISO_IR 100"),
        sample("MR_small.dcm").read_bytes(),
        sample("rtplan.dcm").read_bytes(),
    ]  # fmt: skip
    for content in files:
        said = [requests.post(f"{one.url}/instances", data=content, timeout=60).json() for one in (live, orthanc)]
        assert said[0] == said[1]
    first = requests.post(f"{live.url}/instances", data=files[0], timeout=60).json()
    yield live, orthanc, {"patients": first["ParentPatient"], "studies": first["ParentStudy"], "series": first["ParentSeries"]}  # fmt: skip
    live.stop()
    orthanc.stop()


def zipped(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    found = zipfile.ZipFile(io.BytesIO(answer.content))
    assert found.testzip() is None
    return found


def folders(archive):
    """Return the folders with how many files each has; the order in which some are numbered is nobody's promise."""
    names = [name.rpartition("/") for name in archive.namelist()]
    return sorted((folder, sum(other[0] == folder for other in names)) for folder in {name[0] for name in names})


@pytest.mark.parametrize("table", ["patients", "studies", "series"])
def test_an_archive_has_the_folders_of_orthancs(both, table):
    ours, model, ids = both
    said, meant = (requests.get(f"{one.url}/{table}/{ids[table]}/archive", timeout=60) for one in (ours, model))
    assert said.headers["content-disposition"] == meant.headers["content-disposition"]
    mine, theirs = zipped(said), zipped(meant)
    kept = [(name.replace("-2/", "/").replace("-3/", "/"), n) for name, n in folders(mine)]
    assert sorted(kept) == sorted((name.replace("-2/", "/").replace("-3/", "/"), n) for name, n in folders(theirs))
    assert {name.rpartition("/")[2] for name in mine.namelist()} == {name.rpartition("/")[2] for name in theirs.namelist()}  # fmt: skip
    contents = {mine.read(name) for name in mine.namelist()}
    assert contents == {theirs.read(name) for name in theirs.namelist()}


def test_many_are_packed_by_get_and_by_post(both):
    ours, model, _ = both
    every = requests.get(f"{ours.url}/patients", timeout=60).json()
    said, meant = (requests.post(f"{one.url}/tools/create-archive", json=every, timeout=60) for one in (ours, model))
    assert said.headers["content-disposition"] == meant.headers["content-disposition"]
    assert sorted(n for _, n in folders(zipped(said))) == sorted(n for _, n in folders(zipped(meant)))
    got = requests.get(f"{ours.url}/tools/create-archive", params={"resources": ",".join(every)}, timeout=60)
    assert sorted(zipped(got).namelist()) == sorted(zipped(said).namelist())
    empty = requests.post(f"{ours.url}/tools/create-archive", json=[], timeout=60)
    assert zipped(empty).namelist() == []


@pytest.mark.parametrize("extended", ["", "-extended"])
def test_others_read_the_medium(both, tmp_path, extended):
    ours, model, _ = both
    every = requests.get(f"{ours.url}/patients", timeout=60).json()
    said, meant = (
        requests.post(f"{one.url}/tools/create-media{extended}", json=every, timeout=60) for one in (ours, model)
    )
    assert sorted(zipped(said).namelist()) == sorted(zipped(meant).namelist())
    seen = []
    for name, answer in (("ours", said), ("theirs", meant)):
        zipped(answer).extractall(tmp_path / name)
        found = FileSet(tmp_path / name / "DICOMDIR")
        seen.append(sorted(str(one.SOPInstanceUID) for one in found))
        loaded = [(name, one.path, one.load().SOPInstanceUID, one.SOPInstanceUID) for one in found]
        assert [one for one in loaded if one[2] != one[3]] == []
    assert seen[0] == seen[1]
    assert len(seen[0]) == 7
    if shutil.which("dcmdump"):
        ran = subprocess.run(["dcmdump", str(tmp_path / "ours" / "DICOMDIR")], capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
        assert (ran.returncode, "RT PLAN" in ran.stdout, ran.stderr) == (0, True, "")
    records = dcmread(tmp_path / "ours" / "DICOMDIR").DirectoryRecordSequence
    (umlaut,) = [one for one in records if one.get("StudyID") is not None and one.StudyInstanceUID == "1.2.5.2"]
    assert umlaut.DirectoryRecordType == "STUDY"
    assert ("PatientSex" in records[0]) == bool(extended)


def test_files_are_brought_to_another_syntax_and_stay_where_they_have_no_pixels(both):
    ours, _, _ = both
    every = requests.get(f"{ours.url}/patients", timeout=60).json()
    answer = requests.post(f"{ours.url}/tools/create-archive", json={"Resources": every, "Transcode": RLE}, timeout=60)
    found = zipped(answer)
    syntaxes = [str(dcmread(io.BytesIO(found.read(name))).file_meta.TransferSyntaxUID) for name in found.namelist()]
    assert syntaxes.count(RLE) == 6
    assert len(syntaxes) == 7


def test_what_cannot_be_packed_is_refused(both):
    ours, model, ids = both
    for path in (f"/studies/{ids['studies']}/archive?transcode=1.2.3", "/studies/nope/archive"):
        said, meant = (requests.get(one.url + path, timeout=60) for one in (ours, model))
        assert (said.status_code, said.json()["OrthancStatus"]) == (meant.status_code, meant.json()["OrthancStatus"])
    assert requests.post(f"{ours.url}/tools/create-archive", data="x", timeout=60).status_code == 400
    assert requests.post(f"{ours.url}/tools/create-archive", json={}, timeout=60).status_code == 400
    assert requests.get(f"{ours.url}/jobs/nope/archive", timeout=60).json()["OrthancStatus"] == 7


@pytest.mark.parametrize("kind", ["archive", "media"])
def test_a_job_keeps_the_archive_to_be_fetched(both, kind):
    ours, model, ids = both

    def ended(one):
        body = json.dumps({"Asynchronous": True, "Priority": 1})
        job = requests.post(f"{one.url}/studies/{ids['studies']}/{kind}", data=body, timeout=60).json()
        return until(lambda: (found := requests.get(one.url + job["Path"], timeout=60).json())["State"] == "Success" and found, "it succeeds")  # fmt: skip

    said, meant = ended(ours), ended(model)
    assert said.keys() == meant.keys()
    assert (said["Type"], said["Content"].keys()) == (meant["Type"], meant["Content"].keys())
    assert said["Content"]["UncompressedSize"] == meant["Content"]["UncompressedSize"]
    archive = requests.get(f"{ours.url}/jobs/{said['ID']}/archive", timeout=60)
    assert said["Content"]["ArchiveSize"] == str(len(archive.content))
    theirs = requests.get(f"{model.url}/jobs/{meant['ID']}/archive", timeout=60)
    assert sorted(n for _, n in folders(zipped(archive))) == sorted(n for _, n in folders(zipped(theirs)))
    assert requests.delete(f"{ours.url}/jobs/{said['ID']}/archive", timeout=60).json() == {}
    assert requests.get(f"{ours.url}/jobs/{said['ID']}/archive", timeout=60).status_code == 404
    assert requests.delete(f"{ours.url}/jobs/{said['ID']}", timeout=60).json() == {}
