"""Real senders: pynetdicom's requestor and DCMTK's tools."""

import io
import shutil
import subprocess
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, build_role
from requesting import associate

from hostd.dicom.part10 import IMPLEMENTATION_CLASS_UID
from hostd.dicom.syntaxes import ALL
from hostd.dimse import scu
from hostd.errors import StorageError

dcmtk = pytest.mark.skipif(
    not all(map(shutil.which, ("storescu", "echoscu", "storescp"))), reason="DCMTK's tools are not on the PATH"
)


def path_of(name):
    path = get_testdata_file(name, download=False)
    assert path, f"pydicom's wheel has no {name}"
    return path


def data_set_of(path):
    """Return the bytes of the data set as they stand in the file."""
    content = Path(path).read_bytes()
    meta_length = int.from_bytes(content[140:144], "little")
    return content[144 + meta_length :]


def test_pynetdicom_stores_and_releases(kit):
    kit.listen()
    path = path_of("CT_small.dcm")
    instance = dcmread(path)
    ae = AE("PYNET")
    ae.add_requested_context(instance.SOPClassUID, ExplicitVRLittleEndian)
    ae.add_requested_context(kit.VERIFICATION)
    association = associate(
        ae, "127.0.0.1", kit.listener.port, ae_title="HOSTD",
        ext_neg=[build_role(instance.SOPClassUID, scu_role=True, scp_role=True)],
    )  # fmt: skip
    assert association.is_established
    assert association.acceptor.implementation_class_uid == IMPLEMENTATION_CLASS_UID
    assert association.send_c_echo().Status == 0
    assert association.send_c_store(instance).Status == 0
    kit.store.finish_error = StorageError("disk full")
    refused = association.send_c_store(instance)
    assert (refused.Status, refused.ErrorComment) == (0xA700, "disk full")
    association.release()
    assert association.is_released
    ((opened, closed),) = kit.log.wait()
    assert (opened.calling_aet, closed.ended) == ("PYNET", "released")
    assert dcmread(io.BytesIO(bytes(kit.store.receptions[0].content)), force=True).PixelData == instance.PixelData


def test_every_transfer_syntax_is_accepted_of_pynetdicom(kit):
    kit.listen()
    ae = AE("PYNET")
    for syntax in ALL:
        ae.add_requested_context(kit.CT, syntax.uid)
        association = associate(ae, "127.0.0.1", kit.listener.port, ae_title="HOSTD")
        assert [str(context.transfer_syntax[0]) for context in association.accepted_contexts] == [syntax.uid]
        association.abort()
        ae.remove_requested_context(kit.CT)
    kit.log.wait(len(ALL))
    assert {closed.ended for closed in kit.log.endings.values()} <= {"aborted by peer", "lost"}


@pytest.mark.peers
@dcmtk
@pytest.mark.parametrize("max_pdu", [4096, 131072])
@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("CT_small.dcm", "-xe"), ("MR_small_implicit.dcm", "-xi"), ("MR_small_bigendian.dcm", "-xb"),
        ("JPEG2000.dcm", "-xw"), ("MR_small_RLE.dcm", "-xr"), ("JPEG-lossy.dcm", "-xx"),
        ("MR_small_jpeg_ls_lossless.dcm", "-xt"), ("image_dfl.dcm", "-xd"),
    ],
)  # fmt: skip
def test_dcmtk_stores_every_kind_of_file(kit, name, option, max_pdu):
    kit.listen()
    path = path_of(name)
    command = ["storescu", "-R", option, "-pdu", str(max_pdu), "--max-send-pdu", str(max_pdu), "-aec", "HOSTD"]
    ran = subprocess.run(
        [*command, "127.0.0.1", str(kit.listener.port), path], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    ((_, closed),) = kit.log.wait()
    assert (closed.ended, closed.stored) == ("released", 1), closed
    (reception,) = kit.store.receptions
    meta = dcmread(path, stop_before_pixels=True).file_meta
    assert reception.facts["transfer_syntax"] == meta.TransferSyntaxUID
    assert len(reception.content) == closed.bytes > 500


@pytest.mark.peers
@dcmtk
def test_dcmtk_verifies_and_is_told_of_a_wrong_title(kit):
    kit.listen()
    port = str(kit.listener.port)
    good = subprocess.run(
        ["echoscu", "-aec", "HOSTD", "--repeat", "3", "127.0.0.1", port], capture_output=True, timeout=60, check=False
    )
    assert good.returncode == 0, good.stderr
    bad = subprocess.run(
        ["echoscu", "-aec", "NOBODY", "127.0.0.1", port], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Called AE Title Not Recognized" in bad.stderr
    aborting = subprocess.run(
        ["echoscu", "-aec", "HOSTD", "--abort", "127.0.0.1", port], capture_output=True, timeout=60, check=False
    )
    assert aborting.returncode == 0
    assert [closed.ended for _, closed in kit.log.wait(3)] == ["released", "rejected", "aborted by peer"]


@pytest.mark.peers
@dcmtk
@pytest.mark.parametrize("max_pdu", [4096, 131072])
def test_dcmtk_takes_what_is_sent(kit, tmp_path, max_pdu):
    listener = kit.listen()
    port = listener.port
    kit.stop()  # its port is free now
    tool = subprocess.Popen(
        ["storescp", "-pdu", str(max_pdu), "+xa", "-od", str(tmp_path), str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        path = path_of("CT_small.dcm")
        header = dcmread(path, stop_before_pixels=True)
        content = data_set_of(path)
        contexts = [(str(header.SOPClassUID), [ExplicitVRLittleEndian]), (kit.VERIFICATION, [kit.IMPLICIT])]

        def connected():
            try:
                return scu.connect("127.0.0.1", port, calling_aet="HOSTD", called_aet="ANY", contexts=contexts)
            except scu.CouldNotConnectError:
                return None

        attempts = []
        kit.until(lambda: attempts.append(connected()) or attempts[-1], timeout=60)
        with attempts[-1] as requestor:
            assert requestor.echo() == 0
            uid, syntax = str(header.SOPInstanceUID), str(ExplicitVRLittleEndian)
            answer = requestor.store(str(header.SOPClassUID), uid, syntax, io.BytesIO(content), len(content))
            assert answer.status == 0
            assert requestor.release()
        (stored,) = tmp_path.iterdir()
        assert dcmread(stored).PixelData == dcmread(path).PixelData
    finally:
        tool.terminate()
        tool.wait(60)
