"""Real tools, as hospitals have them: gdcmconv and DCMTK's, as codecs on arrival and on the way, and from scripts."""

import json

import pytest
from peer_kit import FORWARD, assert_same_image, needs, sample, until
from pydicom import dcmread

pytestmark = [pytest.mark.peers, needs("storescp", "gdcmconv", "dcmcjpeg", "dcmdjpeg", "dcmodify")]

J2K, JPEG_LOSSLESS, EXPLICIT = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.1"
TOOLS = """
[tools.gdcmconv]
command = ["/usr/bin/gdcmconv", "--j2k", "{input}", "{output}"]
encodes = ["j2k"]

[tools.dcmcjpeg]
command = ["/usr/bin/dcmcjpeg", "{input}", "{output}"]
encodes = ["jpeg-lossless"]

[tools.dcmdjpeg]
command = ["/usr/bin/dcmdjpeg", "{input}", "{output}"]
encodes = ["explicit"]
"""
SCRIPT_TOOLS = """
[tools.compress]
command = ["/usr/bin/gdcmconv", "--j2k", "{input}", "{output}"]

[tools.renew]
command = ["/bin/sh", "-c", 'cp "$1" "$2" && dcmodify -nb -gin -i "$3" "$2"', "renew", "{input}", "{output}", "{0}"]
args = ["ImageComments=[A-Za-z ]+"]

[tools.broken]
command = ["/bin/false", "{input}", "{output}"]

[scripts."tool.py"]
may = ["tools"]
"""


def archive(scp):
    return f'[modalities.archive]\naet = "ARCHIVE"\nhost = "127.0.0.1"\nport = {scp.port}\n'


def script(expression):
    return {"tool.py": f"def on_stored_instance(instance, host):\n    host.forward({expression}, to='archive')\n"}


def codecs_of(node):
    return [json.loads(facts)["codec"] for (facts,) in node.query("SELECT facts FROM receipt")]


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_implicit.dcm", "examples_palette.dcm"])
def test_gdcmconv_compresses_what_arrives_where_hostds_codecs_are_off(start, tmp_path, name):
    node = start.node(
        more=TOOLS + '[transcoding]\nbuiltin = "disabled"\n[ingest]\ntranscode_to = "j2k"\nack_budget_s = 60\n'
    )
    assert node.post(sample(name).read_bytes()).status_code == 200
    uid = dcmread(sample(name)).SOPInstanceUID
    until(lambda: node.instance(uid).blob.transfer_syntax == J2K, "the instance is compressed")
    assert codecs_of(node) == ["tool:gdcmconv"]
    assert_same_image(sample(name), node.path(uid), tmp_path)


def test_what_gdcmconv_crashes_on_is_kept_as_it_came(start):
    node = start.node(
        more=TOOLS + '[transcoding]\nbuiltin = "disabled"\n[ingest]\ntranscode_to = "rle"\nack_budget_s = 60\n'
    )
    original = sample("CT_small.dcm")
    assert node.post(original.read_bytes()).status_code == 200
    uid = dcmread(original).SOPInstanceUID
    assert node.path(uid).read_bytes() == original.read_bytes()


def test_a_tool_that_is_asked_first_makes_what_is_delivered_and_codecs_the_rest(start, tmp_path):
    scp = start.storescp("+xa")
    node = start.node(
        scripts=script("host.transcode(instance, 'jpeg-lossless')"),
        more=archive(scp) + TOOLS + '[transcoding]\nbuiltin = "after"\n',
    )
    uids = []
    for name in ("CT_small.dcm", "MR_small_jp2klossless.dcm"):  # DCMTK cannot read the second
        assert node.post(sample(name).read_bytes()).status_code == 200
        uids.append(dcmread(sample(name)).SOPInstanceUID)
        assert node.ended(uids[-1]).state == "delivered", node.deliveries()
    first, second = (dcmread(scp.path(uid)) for uid in uids)
    assert first.file_meta.TransferSyntaxUID == second.file_meta.TransferSyntaxUID == JPEG_LOSSLESS
    made_by = codecs_of(node)
    assert made_by[0] == "tool:dcmcjpeg"
    assert not made_by[1].startswith("tool:")
    assert first.DerivationDescription.startswith("Lossless JPEG compression")  # so it was DCMTK's
    del first.DerivationDescription
    first.save_as(tmp_path / "first.dcm")
    assert_same_image(sample("CT_small.dcm"), tmp_path / "first.dcm", tmp_path)


def test_another_instance_that_a_tool_makes_is_sent_under_its_own_uid(start):
    scp = start.storescp("+xa")
    node = start.node(
        scripts=script("host.run_tool('renew', instance, ['ImageComments=seen by a tool'])"),
        more=archive(scp) + SCRIPT_TOOLS,
    )
    original = sample("CT_small.dcm")
    assert node.post(original.read_bytes()).status_code == 200
    uid = dcmread(original).SOPInstanceUID
    assert node.ended(uid).state == "delivered", node.deliveries()
    (arrived,) = map(dcmread, scp.folder.iterdir())
    assert arrived.SOPInstanceUID != uid
    assert arrived.file_meta.MediaStorageSOPInstanceUID == arrived.SOPInstanceUID
    assert arrived.ImageComments == "seen by a tool"
    assert node.path(uid).read_bytes() == original.read_bytes()


def test_a_result_in_an_unforeseen_syntax_is_brought_to_one_that_the_peer_takes(start, tmp_path):
    scp = start.storescp("+x=")
    node = start.node(scripts=script("host.run_tool('compress', instance)"), more=archive(scp) + SCRIPT_TOOLS)
    assert node.post(sample("CT_small.dcm").read_bytes()).status_code == 200
    uid = dcmread(sample("CT_small.dcm")).SOPInstanceUID
    assert node.ended(uid).state == "delivered", node.deliveries()
    assert dcmread(scp.path(uid)).file_meta.TransferSyntaxUID == EXPLICIT
    assert "tool:compress" in codecs_of(node)
    assert_same_image(sample("CT_small.dcm"), scp.path(uid), tmp_path)


def test_what_a_tool_could_not_make_is_not_sent_at_all(start):
    scp = start.storescp("+xa")
    node = start.node(scripts=script("host.run_tool('broken', instance)") | {"all.py": FORWARD.replace("'archive'", "'archive', syntax='rle'")},
                      more=archive(scp) + SCRIPT_TOOLS)  # fmt: skip
    assert node.post(sample("CT_small.dcm").read_bytes()).status_code == 200
    uid = str(dcmread(sample("CT_small.dcm")).SOPInstanceUID)
    ended = lambda: sorted(d.state for d in node.deliveries(uid)) == ["delivered", "failed"]  # noqa: E731
    until(ended, "one delivery fails and the other arrives")
    (failed,) = node.deliveries(uid, states=("failed",))
    assert "the tool broken: it failed (exit status 1)" in failed.last_error
    assert len(list(scp.folder.iterdir())) == 1
