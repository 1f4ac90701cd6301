"""The same files into hostd and into a real Orthanc with the same settings for transcoding on ingest."""

import numpy as np
import pytest
import requests
from peer_kit import LiveNode, Orthanc, needs, sample, samples_of
from pydicom import dcmread

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
def pair(request, tmp_path_factory):
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


@pytest.mark.parametrize("name", FILES)
def test_what_is_stored_is_what_orthanc_stores(pair, tmp_path, name):
    setting, node, orthanc = pair
    content = sample(name).read_bytes()
    uid = dcmread(sample(name), stop_before_pixels=True).SOPInstanceUID
    node.forget(uid)  # some of the files share it
    ours, theirs = node.post(content), orthanc.post("/instances", content)
    assert (ours.status_code, theirs.status_code) == (200, 200), (ours.text, theirs.text)
    assert ours.json()["Status"] == theirs.json()["Status"] == "Success"
    assert ours.json()["ID"] == theirs.json()["ID"]
    path = orthanc.file(theirs.json()["ID"], tmp_path / "theirs.dcm")
    requests.delete(f"{orthanc.url}/instances/{theirs.json()['ID']}", timeout=30).raise_for_status()
    found, expected = dcmread(node.path(uid)), dcmread(path)
    assert found.SOPInstanceUID == expected.SOPInstanceUID == uid
    is_same = found.file_meta.TransferSyntaxUID == expected.file_meta.TransferSyntaxUID
    assert is_same is ((setting, name) not in DIFFERENCES), (
        found.file_meta.TransferSyntaxUID,
        expected.file_meta.TransferSyntaxUID,
    )
    if "PixelData" in expected:
        np.testing.assert_array_equal(samples_of(node.path(uid), tmp_path), samples_of(path, tmp_path))
