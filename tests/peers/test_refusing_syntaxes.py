"""A sender that is refused a transfer syntax transcodes before it sends: what Orthanc's switches are for, with real senders."""

import subprocess

import pytest
from peer_kit import needs, sample, until
from pydicom import dcmread

pytestmark = [pytest.mark.peers, needs("storescu", "echoscu", "Orthanc")]
JPEG_LS = "1.2.840.10008.1.2.4.80"
FILE = "MR_small_jpeg_ls_lossless.dcm"


def storescu(node, *options, aet="DCMTK"):
    return subprocess.run(
        ["storescu", "-v", "-aet", aet, "-aec", "HOSTD", *options, "127.0.0.1", str(node.port), str(sample(FILE))],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_real_orthanc_decompresses_for_a_node_that_refuses_jpeg_ls_and_the_refusal_can_be_changed(start):
    node = start.node()
    node.reconfigure('rejected_transfer_syntaxes = ["1.2.840.10008.1.2.4.8?"]')
    orthanc = start.orthanc(more={"DicomModalities": {"node": ["HOSTD", "127.0.0.1", node.port]}})
    identifier = orthanc.take(sample(FILE).read_bytes())
    uid = dcmread(sample(FILE), stop_before_pixels=True).SOPInstanceUID
    assert orthanc.post("/modalities/node/store", identifier).ok
    assert node.instance(uid).blob.transfer_syntax != JPEG_LS
    assert storescu(node, "-xt").returncode != 0
    node.node.accepted.accept_transfer_syntaxes(["*"])
    assert storescu(node, "-xt").returncode == 0
    rows = node.query("SELECT facts FROM association ORDER BY id")
    assert "none of the transfer syntaxes is supported" in str(rows[1])


def test_strangers_may_store_or_not_as_the_configuration_says(start):
    node = start.node()
    assert storescu(node, "-xt").returncode == 0
    node.reconfigure("always_allow_store = false")
    refused = storescu(node, "-xt")
    assert "Calling AE Title Not Recognized" in refused.stderr + refused.stdout
    node.reconfigure("always_allow_store = false", '[modalities.dcmtk]\naet = "DCMTK"\nhost = "127.0.0.1"\nport = 104')
    assert storescu(node, "-xt").returncode == 0
    assert storescu(node, "-xt", aet="OTHER").returncode != 0
    ended = until(lambda: node.query("SELECT ended, reason FROM association WHERE ended = 'rejected'"), "rows")
    assert ended[0].reason == "the calling AE title is not recognised"
