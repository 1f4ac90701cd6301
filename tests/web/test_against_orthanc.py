"""A real Orthanc beside hostd: the same answers for the same files, and Orthanc as a peer that sends."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import requests
from ports import free_port
from web_support import Face, dicom_file

from hostd.transcoding.pool import CodecPool
from hostd.web.listener import HttpListener

ORTHANC = shutil.which("Orthanc")
pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(ORTHANC is None, reason="there is no Orthanc on this machine (apt-get install orthanc)"),
]

FILES = [
    "CT_small.dcm", "MR_small.dcm", "693_J2KI.dcm", "JPEG2000.dcm", "JPEG-lossy.dcm", "rtplan.dcm",
    "rtdose.dcm", "test-SR.dcm", "reportsi.dcm", "waveform_ecg.dcm", "image_dfl.dcm",
    "liver_expb_1frame.dcm", "SC_rgb_small_odd_big_endian.dcm", "examples_palette.dcm", "examples_ybr_color.dcm",
]  # fmt: skip
WG04 = Path(__file__).parents[3] / "shared" / "data" / "wg04"


@pytest.fixture(scope="module")
def hostd(tmp_path_factory):
    pool = CodecPool(workers=1)
    face = Face(tmp_path_factory.mktemp("hostd"), limit=64 << 20, artist=pool)
    listener = HttpListener(face.app, "127.0.0.1", 0)
    listener.start()
    yield f"http://127.0.0.1:{listener.port}"
    listener.stop(1)
    face.close()
    pool.close()


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory, hostd):
    folder = tmp_path_factory.mktemp("orthanc")
    port = free_port()
    options = {
        "HttpPort": port, "DicomPort": free_port(), "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
        "StorageDirectory": str(folder), "IndexDirectory": str(folder), "Plugins": [],
        "OrthancPeers": {"hostd": [hostd + "/"]},
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(options))
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([ORTHANC, folder / "orthanc.json"], stdout=log, stderr=log)
        try:
            wait_for(url, process, folder / "log")
            yield url
        finally:
            process.kill()  # an orderly end takes seconds
            process.wait(60)


def wait_for(url, process, log):
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            requests.get(url + "/system", timeout=60).raise_for_status()
        except requests.RequestException:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"Orthanc did not start: {log.read_text()}")


def upload(url, content):
    answer = requests.post(url + "/instances", data=content, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def get(url, path):
    return requests.get(url + path, timeout=60).json()


def normal(tags, *, top=True):
    """Return Orthanc's tags without what hostd shows otherwise on purpose (docs/http.md "What differs from Orthanc")."""
    shown = {}
    for number, given in tags.items():
        group, element = number.split(",")
        if element == "0000" or (not top and group == "7fe0"):
            continue  # group lengths, and pixel data of icons
        if number in {"0028,0008", "0028,0009"}:
            continue  # Orthanc cuts a multi-valued AT, and keeps a NumberOfFrames that is no number otherwise
        tag = dict(given)
        if int(group, 16) % 2:
            del tag["Name"]  # another dictionary of private elements
        tag["Name"] = tag.get("Name", "").removeprefix("RETIRED_")
        if tag["Type"] == "Sequence":
            tag["Value"] = [normal(item, top=False) for item in tag["Value"]]
        elif tag["Value"] is not None:
            tag["Value"] = "\\".join(part.strip() for part in tag["Value"].split("\\"))
        shown[number] = tag
    return shown


@pytest.mark.parametrize("name", FILES)
def test_ids_tags_and_metadata_are_orthancs(orthanc, hostd, name):
    compare(orthanc, hostd, dicom_file(name))


@pytest.mark.skipif(not WG04.exists(), reason="the WG-04 images (shared/data) are not beside the checkout")
@pytest.mark.parametrize("name", ["CT1_UNC", "MR3_UNC", "US1_UNC", "NM1_J2KR", "VL1_RLE"])
def test_ids_tags_and_metadata_of_whole_images_are_orthancs(orthanc, hostd, name):
    compare(orthanc, hostd, (WG04 / name).read_bytes())


def compare(orthanc, hostd, content):
    theirs, ours = upload(orthanc, content), upload(hostd, content)
    assert {**ours, "Status": ""} == {**theirs, "Status": ""}
    path = ours["Path"]
    assert normal(get(hostd, path + "/tags")) == normal(get(orthanc, path + "/tags"))

    short = get(hostd, path + "/tags?short")
    assert list(short) == list(get(hostd, path + "/tags"))

    their_simple, our_simple = get(orthanc, path + "/tags?simplify"), get(hostd, path + "/tags?simplify")
    for keyword in ("PatientName", "PatientID", "SOPInstanceUID", "Modality", "StudyDate", "PixelData"):
        assert our_simple.get(keyword, "absent") == their_simple.get(keyword, "absent")

    their_metadata, our_metadata = (get(url, path + "/metadata?expand") for url in (orthanc, hostd))
    for left_out in ("ReceptionDate", "PixelDataOffset"):
        their_metadata.pop(left_out, None)
        our_metadata.pop(left_out, None)
    assert our_metadata == {
        name: value for name, value in their_metadata.items() if (name, value) != ("IndexInSeries", "")
    }

    their_description, our_description = get(orthanc, path), get(hostd, path)
    assert set(our_description) == set(their_description) | {"Labels"}
    for key in ("FileSize", "ID", "IndexInSeries", "ParentSeries", "Type"):
        assert our_description[key] == their_description[key]
    assert (
        requests.get(hostd + path + "/file", timeout=60).content
        == requests.get(orthanc + path + "/file", timeout=60).content
    )


def test_statistics_and_errors_have_orthancs_form(orthanc, hostd):
    ours, theirs = get(hostd, "/statistics"), get(orthanc, "/statistics")
    assert {key: type(value) for key, value in ours.items()} == {key: type(value) for key, value in theirs.items()}
    assert set(get(orthanc, "/system")) <= set(get(hostd, "/system"))
    for body in (b"", b"hello"):
        answers = [requests.post(url + "/instances", data=body, timeout=60) for url in (orthanc, hostd)]
        assert answers[0].status_code == answers[1].status_code == 400
        their_error, our_error = (answer.json() | {"Details": ""} for answer in answers)
        assert our_error == their_error
    assert get(hostd, "/nope") == get(orthanc, "/nope")


@pytest.mark.parametrize("compress", [False, True])
def test_an_orthanc_peer_sends_to_hostd(orthanc, hostd, compress):
    stored = upload(orthanc, dicom_file("MR_small.dcm"))
    assert get(orthanc, "/peers/hostd/system")["Software"] == "hostd"
    requests.delete(hostd + stored["Path"], timeout=60)
    job = requests.post(
        orthanc + "/peers/hostd/store",
        json={"Resources": [stored["ID"]], "Compress": compress},
        timeout=60,
    )
    assert job.status_code == 200, job.text
    assert job.json()["FailedInstancesCount"] == 0
    assert requests.get(hostd + stored["Path"] + "/file", timeout=60).content == dicom_file("MR_small.dcm")


def test_an_orthanc_peer_sends_straight_and_passes_the_answer_on(orthanc, hostd):
    stored = upload(hostd, dicom_file("CT_small.dcm"))
    requests.delete(hostd + stored["Path"], timeout=60)
    answer = requests.post(orthanc + "/peers/hostd/store-straight", data=dicom_file("CT_small.dcm"), timeout=60)
    assert answer.json() == {**stored, "Status": "Success"}


LEVELS = ("patients", "studies", "series", "instances")


def of_levels(stored):
    """Return the paths of an instance and of what it is in."""
    return {
        "patients": f"/patients/{stored['ParentPatient']}",
        "studies": f"/studies/{stored['ParentStudy']}",
        "series": f"/series/{stored['ParentSeries']}",
        "instances": stored["Path"],
    }


def without_empty(value):
    """Return what Orthanc says of a level in hostd's manner: no empty tags, no names and times of its own, in the order of ids."""
    if isinstance(value, list):
        return sorted(
            (without_empty(one) for one in value), key=lambda one: one["ID"] if isinstance(one, dict) else one
        )
    if not isinstance(value, dict):
        return value
    own = {"FileUuid", "IsStable", "LastUpdate", "Labels", "Uuid"}
    return {
        key: without_empty(one)
        for key, one in value.items()
        if key not in own and not ("Tags" not in key and one == "")
    }


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "rtplan.dcm", "JPEG-lossy.dcm", "liver_expb_1frame.dcm", "examples_palette.dcm"]
)
def test_levels_are_orthancs(orthanc, hostd, name):
    paths = of_levels(upload(orthanc, dicom_file(name)))
    for url in (orthanc, hostd):  # others may have stored more of the same patient
        requests.delete(url + paths["patients"], timeout=60)
        upload(url, dicom_file(name))
    for number, (level, path) in enumerate(paths.items()):
        up = ("patient", "study", "series")[:number]
        below = [path, *(f"{path}/{one}" for one in (*up, *LEVELS[number + 1 :], "statistics", "attachments"))]
        if level != "instances":
            below += [f"{path}?expand", f"{path}/metadata"]
        for asked in below:
            theirs, ours = get(orthanc, asked), get(hostd, asked)
            assert without_empty(ours) == without_empty(theirs), asked
            assert type(ours) is type(theirs)
        for asked in (f"{path}/module", *([f"{path}/shared-tags"] if level != "instances" else [f"{path}/header"])):
            assert_like(normal(get(hostd, asked)), normal(get(orthanc, asked)), asked)
    assert_same_content(orthanc, hostd, paths["instances"])


def assert_like(ours, theirs, asked):
    """Compare tags; of modules hostd has some more than Orthanc, and some fewer (docs/orthanc.md)."""
    if not asked.endswith("module"):
        assert ours == theirs
    for tag in ours.keys() & theirs.keys():
        assert ours[tag] == theirs[tag]


def assert_same_content(orthanc, hostd, path):
    theirs, ours = get(orthanc, f"{path}/content"), get(hostd, f"{path}/content")
    assert [tag for tag in theirs if tag <= "7fe0-0010" and not tag.endswith("-0000")] == ours
    for tag in ours:
        found = [requests.get(f"{url}{path}/content/{tag}", timeout=60) for url in (orthanc, hostd)]
        told = [str(one.json()) if "json" in one.headers["content-type"] else one.content for one in found]
        assert told[0] == told[1], tag


def test_what_is_wrong_about_levels_is_as_with_orthanc(orthanc, hostd):
    paths = of_levels(upload(orthanc, dicom_file("CT_small.dcm")))
    upload(hostd, dicom_file("CT_small.dcm"))
    for level, path in paths.items():
        for method, asked in [
            ("GET", f"/{level}/nope"), ("DELETE", f"/{level}/nope"), ("GET", f"/{level}/nope/metadata"), ("GET", f"{path}/nope"),
            ("GET", f"{path}/metadata/nope"), ("PUT", f"{path}/metadata/7"), ("DELETE", f"{path}/metadata/7"),
            ("GET", f"/{level}/nope/module"), ("GET", f"/{level}/nope/instances"), ("GET", f"/{level}/nope/statistics"),
        ]:  # fmt: skip
            statuses = [
                requests.request(method, url + asked, data=b"x", timeout=60).status_code for url in (orthanc, hostd)
            ]
            assert statuses[0] == statuses[1], (method, asked)


def test_metadata_are_set_as_with_orthanc(orthanc, hostd):
    paths = of_levels(upload(orthanc, dicom_file("CT_small.dcm")))
    upload(hostd, dicom_file("CT_small.dcm"))
    for path in paths.values():
        said = []
        for url in (orthanc, hostd):
            asked = [
                requests.request(method, f"{url}{path}/metadata/1024", data=body, timeout=60)
                for method, body in (("PUT", b"hello"), ("GET", None), ("DELETE", None), ("GET", None))
            ]
            said.append([(one.status_code, one.headers.get("etag"), one.text if one.ok else "") for one in asked])
        assert said[0] == said[1]


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small.dcm", "examples_palette.dcm", "examples_ybr_color.dcm", "examples_overlay.dcm"]
)
def test_pictures_are_orthancs(orthanc, hostd, name):
    path = upload(orthanc, dicom_file(name))["Path"]
    upload(hostd, dicom_file(name))
    assert get(hostd, path + "/frames") == get(orthanc, path + "/frames")
    asked = ["preview", "rendered?window-center=100&window-width=300"]
    if "palette" not in name and "color" not in name:
        asked += ["image-uint8", "image-uint16", "image-int16"]
    for what in asked:
        theirs, ours = (
            imagecodecs.png_decode(requests.get(f"{url}{path}/frames/0/{what}", timeout=60).content).astype(int)
            for url in (orthanc, hostd)
        )
        # Orthanc's window is one value wider than that of the standard.
        assert np.abs(theirs - ours).max() <= (2 if "window" in what else 0), what
    theirs, ours = (requests.get(f"{url}{path}/frames/0/raw", timeout=60) for url in (orthanc, hostd))
    assert (ours.content, ours.headers["content-type"]) == (theirs.content, theirs.headers["content-type"])
