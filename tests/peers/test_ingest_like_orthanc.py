"""The same files into hostd and into a real Orthanc with the same settings for transcoding on ingest."""

import numpy as np
import pytest
import requests
from peer_kit import LiveNode, Orthanc, needs, sample, samples_of
from pydicom import dcmread

from hostd.dicom.identity import Identity
from hostd.errors import HostdError

pytestmark = [pytest.mark.peers, needs("Orthanc", "gdcmconv", "dcmdrle", "dcmdjpls")]

ROOT = "1.2.840.10008.1.2"
FILES = (
    "CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "SC_rgb_small_odd.dcm", "examples_palette.dcm",
    "liver_1frame.dcm", "rtdose_1frame.dcm", "SC_rgb_rle_2frame.dcm", "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_dcmtk_+eb+cy+np.dcm", "JPEG2000.dcm", "test-SR.dcm", "image_dfl.dcm",
)  # fmt: skip
SETTINGS = {
    "jpeg-ls": ("4.80", True, True),
    "jpeg-lossless": ("4.70", True, True),
    "only uncompressed": ("4.80", True, False),
    "only compressed": ("4.80", False, True),
    "explicit": ("1", True, True),
    "deflated": ("1.99", True, True),
}
"""Name → end of the target's UID, of_uncompressed, of_compressed."""
NO_JPEG_2000 = "Orthanc without its GDCM plug-in decodes no JPEG 2000 and keeps the file; hostd does decode it"
NO_PIXELS = "there is nothing to compress: Orthanc 1.10 names the file by the target all the same, hostd leaves it, as Orthanc 1.13 does"
DIFFERENCES = {
    ("jpeg-ls", "JPEG2000.dcm"): NO_JPEG_2000,
    ("jpeg-lossless", "JPEG2000.dcm"): NO_JPEG_2000,
    ("only compressed", "JPEG2000.dcm"): NO_JPEG_2000,
    ("explicit", "JPEG2000.dcm"): NO_JPEG_2000,
    ("deflated", "JPEG2000.dcm"): NO_JPEG_2000,
    ("jpeg-ls", "test-SR.dcm"): NO_PIXELS,
    ("jpeg-lossless", "test-SR.dcm"): NO_PIXELS,
    ("only uncompressed", "test-SR.dcm"): NO_PIXELS,
}
"""(Setting, file) → why hostd's transfer syntax is another than Orthanc's."""


@pytest.fixture(scope="module", params=SETTINGS)
def started(request, tmp_path_factory):
    """A node and an Orthanc with the same settings."""
    end, uncompressed, compressed = SETTINGS[request.param]
    folder = tmp_path_factory.mktemp("pair")
    settings = {
        "IngestTranscoding": f"{ROOT}.{end}",
        "IngestTranscodingOfUncompressed": uncompressed,
        "IngestTranscodingOfCompressed": compressed,
    }
    orthanc = Orthanc(folder / "orthanc", more=settings).start()
    try:
        node = LiveNode(
            folder / "hostd",
            more=f'[ingest]\ntranscode_to = "{ROOT}.{end}"\nof_uncompressed = {str(uncompressed).lower()}\n'
            f"of_compressed = {str(compressed).lower()}\nack_budget_s = 60\n",
        )
        yield request.param, node, orthanc
        node.stop()
    finally:
        orthanc.stop()


@pytest.fixture
def pair(started):
    setting, node, orthanc = started
    return setting, node, orthanc.revive()


def stored_by(orthanc, content, to):
    """Have Orthanc store a file; return its identifier, and what Orthanc made of it.

    Not over HTTP: GDCM's JPEG-LS needs more stack than Orthanc's HTTP threads have. Over DICOM too this Orthanc ends by itself now and then
    (it says "corrupted double-linked list"): then it is asked again.
    """
    for _ in range(4):
        try:
            identifier = orthanc.take(content)
            path = orthanc.file(identifier, to)
            requests.delete(f"{orthanc.url}/instances/{identifier}", timeout=60).raise_for_status()
        except (HostdError, requests.ConnectionError):
            orthanc.process.wait(60)  # one that goes on did not end by itself: this raises
            orthanc.revive()
            continue
        return identifier, path
    pytest.skip("this Orthanc ended by itself four times over this file")


@pytest.mark.parametrize("name", FILES)
def test_what_is_stored_is_what_orthanc_stores(pair, tmp_path, name):
    setting, node, orthanc = pair
    content = sample(name).read_bytes()
    uid = dcmread(sample(name), stop_before_pixels=True).SOPInstanceUID
    node.forget(uid)  # some of the files share it
    ours = node.post(content)
    assert (ours.status_code, ours.json()["Status"]) == (200, "Success"), ours.text
    theirs, path = stored_by(orthanc, content, tmp_path / "theirs.dcm")
    assert ours.json()["ID"] == theirs
    found, expected = dcmread(node.path(uid)), dcmread(path)
    assert found.SOPInstanceUID == expected.SOPInstanceUID == uid
    is_same = found.file_meta.TransferSyntaxUID == expected.file_meta.TransferSyntaxUID
    assert is_same is ((setting, name) not in DIFFERENCES), (
        found.file_meta.TransferSyntaxUID,
        expected.file_meta.TransferSyntaxUID,
    )
    if "PixelData" in expected:
        np.testing.assert_array_equal(samples_of(node.path(uid), tmp_path), samples_of(path, tmp_path))


# -- with loss ------------------------------------------------------------------------------------------------------------

BASELINE = f"{ROOT}.4.50"
SENT_TWICE = "Orthanc makes a new instance each time that a file is sent; hostd makes one, and knows the file again"


@pytest.fixture(scope="module")
def lossy_pair(tmp_path_factory):
    """A node and an Orthanc that bring everything to JPEG Baseline, quality 90."""
    folder = tmp_path_factory.mktemp("lossy")
    settings = {"IngestTranscoding": BASELINE, "DicomLossyTranscodingQuality": 90}
    orthanc = Orthanc(folder / "orthanc", more=settings).start()
    try:
        node = LiveNode(
            folder / "hostd", more=f'[ingest]\ntranscode_to = "{BASELINE}"\nquality = 90\nack_budget_s = 60\n'
        )
        yield node, orthanc
        node.stop()
    finally:
        orthanc.stop()


def shape(image):
    return image.Rows, image.Columns, image.SamplesPerPixel, int(image.get("NumberOfFrames") or 1)


@pytest.mark.parametrize("name", ["SC_rgb_small_odd.dcm", "SC_rgb_rle_2frame.dcm", "SC_rgb_jpeg_gdcm.dcm"])
def test_a_lossy_result_says_of_itself_what_orthancs_does(lossy_pair, tmp_path, name):
    node, orthanc = lossy_pair
    content = sample(name).read_bytes()
    source = dcmread(sample(name))
    ours, theirs = node.post(content).json(), orthanc.post("/instances", content).json()
    assert ours["Status"] == theirs["Status"] == "Success"
    ours_file = tmp_path / "ours.dcm"
    ours_file.write_bytes(requests.get(f"{node.url}{ours['Path']}/file", timeout=60).content)
    theirs_file = orthanc.file(theirs["ID"], tmp_path / "theirs.dcm")
    for path, identifier in ((ours_file, ours["ID"]), (theirs_file, theirs["ID"])):
        made = dcmread(path)
        assert made.file_meta.TransferSyntaxUID == BASELINE
        assert made.SOPInstanceUID not in {source.SOPInstanceUID, ""}
        assert (
            identifier
            == Identity(
                made.get("PatientID", ""), made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID
            ).instance
        )
        assert (made.ImageType[0], made.LossyImageCompression) == ("DERIVED", "01")
        assert made.LossyImageCompressionMethod == "ISO_10918_1"
        named = [item.get("ReferencedSOPInstanceUID") for item in made.SourceImageSequence]
        assert source.SOPInstanceUID in named
        assert "113040" in [item.CodeValue for item in made.DerivationCodeSequence]
        assert shape(made) == shape(source)


def test_sixteen_bits_are_kept_as_received_by_both(lossy_pair):
    node, orthanc = lossy_pair
    content = sample("CT_small.dcm").read_bytes()
    ours, theirs = node.post(content).json(), orthanc.post("/instances", content).json()
    assert ours["ID"] == theirs["ID"]
    assert ours["Status"] == theirs["Status"] == "Success"
    assert requests.get(f"{node.url}{ours['Path']}/metadata/IngestTranscodingFailed", timeout=60).text


def test_the_same_file_sent_twice_is_one_instance_and_two_of_orthancs(lossy_pair):
    node, orthanc = lossy_pair
    content = sample("examples_rgb_color.dcm").read_bytes()
    ours, theirs = (
        [post(content).json() for _ in range(2)] for post in (node.post, lambda c: orthanc.post("/instances", c))
    )
    assert [answer["Status"] for answer in ours] == ["Success", "AlreadyStored"]
    assert len({answer["ID"] for answer in ours}) == 1
    assert len({answer["ID"] for answer in theirs}) == 2, SENT_TWICE
