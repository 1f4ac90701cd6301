"""Real images sent by DCMTK's storescu, compressed by the sample script, and received by DCMTK's storescp."""

import subprocess

import pytest
from peer_kit import COMPRESS, FORWARD, LiveNode, StoreScp, assert_same_image, needs, sample, until
from pydicom import dcmread

pytestmark = [pytest.mark.peers, needs("storescu", "storescp", "echoscu", "gdcmconv", "dcmdrle", "dcmdjpls")]

J2K, JPEG_LOSSLESS = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.70"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"

COMPRESSED_ON_THE_WAY = {
    "CT_small.dcm": "-xe",
    "MR_small_implicit.dcm": "-xi",
    "examples_overlay.dcm": "-xe",
    "examples_rgb_color.dcm": "-xe",
    "examples_palette.dcm": "-xe",
    "SC_rgb_small_odd.dcm": "-xe",
    "wg04/CT1_UNC": "-xe",
    "wg04/MR1_UNC": "-xe",
    "wg04/MR3_UNC": "-xi",
    "wg04/NM1_UNC": "-xe",
    "wg04/US1_UNC": "-xe",
    "wg04/VL1_UNC": "-xe",
    "MR_small_bigendian.dcm": "-xb",
}
"""Uncompressed images: grey, big endian, signed, RGB, palette, several frames, odd sizes. With storescu's option for their syntax."""

SENT_AS_THEY_CAME = {
    "test-SR.dcm": "-xe",  # no pixels
    "waveform_ecg.dcm": "-xe",
    "rtplan.dcm": "-xi",
    "rtdose.dcm": "-xi",  # 32 bits a pixel
    "JPEG2000.dcm": "-xw",
    "MR_small_jp2klossless.dcm": "-xv",
    "MR_small_jpeg_ls_lossless.dcm": "-xt",
    "MR_small_RLE.dcm": "-xr",
    "JPEG-lossy.dcm": "-xx",
    "SC_rgb_jpeg_dcmtk.dcm": "-xy",
    "examples_ybr_color.dcm": "-xy",
    "image_dfl.dcm": "-xd",
    "wg04/CT1_JPLL": "-xs",
    "wg04/US1_RLE": "-xr",
}
"""What the script or the codec leaves alone: compressed already, without pixels, or with pixels that JPEG 2000 does not take."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A node that compresses, and a storescp that takes everything."""
    folder = tmp_path_factory.mktemp("dcmtk")
    archive = StoreScp(folder / "archive", "+xa", "-pm").start()
    node = LiveNode(folder / "hostd", {"compress.py": COMPRESS}, modality(archive))
    yield node, archive
    node.stop()
    archive.stop()


@pytest.fixture(scope="module")
def picky(request, tmp_path_factory):
    """A node with a script, and a storescp with options that say what it takes; `request.param` is (script, option...)."""
    script, *options = request.param
    folder = tmp_path_factory.mktemp("picky")
    archive = StoreScp(folder / "archive", *options).start()
    node = LiveNode(folder / "hostd", {"script.py": script}, modality(archive))
    yield node, archive
    node.stop()
    archive.stop()


def modality(archive, more=""):
    return f'[modalities.archive]\naet = "ARCHIVE"\nhost = "127.0.0.1"\nport = {archive.port}\n{more}'


def sent(node, name, option):
    path = sample(name)
    node.forget(dcmread(path, stop_before_pixels=True).SOPInstanceUID)  # several files are of one instance
    ran = node.storescu(path, option)
    assert ran.returncode == 0, ran.stderr
    return path, dcmread(path, stop_before_pixels=True).SOPInstanceUID


@pytest.mark.parametrize("name", COMPRESSED_ON_THE_WAY)
def test_an_uncompressed_image_arrives_in_jpeg_2000_with_the_same_pixels(pair, tmp_path, name):
    node, archive = pair
    path, uid = sent(node, name, COMPRESSED_ON_THE_WAY[name])
    delivery = node.ended(uid)
    assert (delivery.state, delivery.last_error) == ("delivered", None)
    arrived = archive.path(uid)
    assert dcmread(arrived, stop_before_pixels=True).file_meta.TransferSyntaxUID == J2K
    assert node.attempts(delivery)[-1].sent_syntax == J2K
    assert_same_image(path, arrived, tmp_path)
    assert_same_image(path, node.path(uid), tmp_path)  # the original is kept as it came


@pytest.mark.parametrize("name", SENT_AS_THEY_CAME)
def test_what_cannot_or_need_not_be_compressed_arrives_as_it_came(pair, tmp_path, name):
    node, archive = pair
    path, uid = sent(node, name, SENT_AS_THEY_CAME[name])
    assert node.ended(uid).state == "delivered"
    arrived = archive.path(uid)
    assert (
        dcmread(arrived, stop_before_pixels=True).file_meta.TransferSyntaxUID
        == dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    )
    assert_same_image(path, arrived, tmp_path)


@pytest.mark.parametrize(
    ("picky", "syntax"),
    [
        ((COMPRESS,), EXPLICIT), ((COMPRESS, "+xi"), IMPLICIT), ((COMPRESS, "+xe"), EXPLICIT),
        ((COMPRESS, "+xr"), EXPLICIT), ((COMPRESS, "+xt"), EXPLICIT),
    ],
    ids=["uncompressed", "implicit only", "explicit first", "RLE", "JPEG-LS"],
    indirect=["picky"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["CT_small.dcm", "examples_rgb_color.dcm"])
def test_an_archive_without_jpeg_2000_gets_the_image_uncompressed(picky, tmp_path, syntax, name):
    node, archive = picky
    path, uid = sent(node, name, "-xe")
    assert node.ended(uid).state == "delivered"
    arrived = archive.path(uid)
    assert dcmread(arrived, stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax
    assert_same_image(path, arrived, tmp_path)


@pytest.mark.parametrize(("options", "syntax"), [(("+xv",), J2K), (("+xs",), EXPLICIT)], ids=["takes", "JPEG only"])
def test_the_script_and_the_archive_agree_on_a_syntax(start, tmp_path, options, syntax):
    archive = start.storescp(*options)
    node = start.node(scripts={"compress.py": COMPRESS}, more=modality(archive))
    path, uid = sent(node, "MR_small.dcm", "-xe")
    assert node.ended(uid).state == "delivered"
    arrived = archive.path(uid)
    assert dcmread(arrived, stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax
    assert_same_image(path, arrived, tmp_path)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("MR_small_jp2klossless.dcm", "-xv"), ("JPEG2000.dcm", "-xw"), ("GDCMJ2K_TextGBR.dcm", "-xv"),
        ("wg04/MR1_J2KR", "-xv"), ("wg04/US1_J2KR", "-xv"), ("wg04/VL1_J2KI", "-xw"),
        ("MR_small_RLE.dcm", "-xr"), ("MR_small_jpeg_ls_lossless.dcm", "-xt"), ("wg04/CT1_JPLL", "-xs"),
        ("JPEG-lossy.dcm", "-xx"), ("image_dfl.dcm", "-xd"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("picky", "syntax"),
    [((FORWARD,), EXPLICIT), pytest.param((FORWARD, "+xi"), IMPLICIT, marks=pytest.mark.matrix)],
    ids=["explicit", "implicit"],
    indirect=["picky"],
)
def test_a_compressed_image_is_decompressed_for_an_archive_that_wants_it_so(picky, tmp_path, name, option, syntax):
    node, archive = picky
    archive.empty()  # several of these files are of one instance
    path, uid = sent(node, name, option)
    delivery = node.ended(uid)
    assert (delivery.state, node.attempts(delivery)[-1].sent_syntax) == ("delivered", syntax), delivery.last_error
    assert_same_image(path, archive.path(uid), tmp_path)


def test_the_same_file_twice_is_one_instance_and_two_successes(pair):
    node, _ = pair
    path, uid = sent(node, "reportsi.dcm", "-xe")
    before = node.files()
    again = node.storescu(path, "-xe")
    assert again.returncode == 0, again.stderr
    assert "Success" in again.stderr + again.stdout
    assert node.files() == before
    kinds = [row.kind for row in node.query(f"SELECT kind FROM event WHERE subject = '{node.instance(uid).id}'")]
    assert [kind for kind in kinds if kind != "delivery_done"] == ["stored_instance", "received_again"]


def test_the_tools_are_those_of_dcmtk_in_an_activated_environment_too():
    for tool in ("storescu", "storescp", "echoscu"):
        ran = subprocess.run([tool, "--version"], capture_output=True, text=True, timeout=60, check=False)
        assert ran.stdout.startswith(f"$dcmtk: {tool} "), ran.stdout + ran.stderr


def test_echoscu_is_answered(pair):
    node, _ = pair
    ran = subprocess.run(
        ["echoscu", "-v", "-aec", "HOSTD", "127.0.0.1", str(node.port)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr


def test_a_storescp_that_aborts_gets_the_image_when_it_is_well_again(start, tmp_path):
    ill = start.storescp("--abort-during")
    node = start.node(scripts={"forward.py": FORWARD}, more=modality(ill))
    path, uid = sent(node, "CT_small.dcm", "-xe")

    until(lambda: node.deliveries(uid) and node.deliveries(uid)[0].last_error, "the abort is recorded")
    ill.stop()
    well = StoreScp(tmp_path / "well", port=ill.port).start()
    try:
        assert node.ended(uid).state == "delivered"
        assert_same_image(path, well.path(uid), tmp_path)
    finally:
        well.stop()
