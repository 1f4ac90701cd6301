"""Peers that stop reading in the middle of what they asked for: hostd gives up after its time-out, lets go of everything, and goes on.

And no PDU is larger than the peer said that it takes (PS3.8 Annex D.1).
"""

import contextlib
import io
import random
import socket
import ssl
import time

import pytest
import requests
from certificates import Certificates, needs_openssl
from pydicom import dcmwrite
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from retrieving_kit import CT, EXPLICIT, IMPLICIT, STUDY, Asker, Holder, file_of, identifier, with_role

from hostd.dicom import data_sets
from hostd.dicom.retrieve import STUDY_ROOT_GET
from hostd.dimse import commands
from hostd.dimse.associate import Proposal, encode_request
from hostd.testing.instances import made

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
SMALL_WINDOW = 8192


def large_file(number, megabytes):
    """Return the bytes of an image of that size."""
    ds = made(number, pixels=True, elements={"Modality": "CT"})
    ds.Rows, ds.Columns, ds.NumberOfFrames = 1024, 1024, str(megabytes)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    ds.PixelData = random.Random(number).randbytes(megabytes << 20)  # which no ZIP makes smaller
    written = io.BytesIO()
    dcmwrite(written, ds, enforce_file_format=True)
    return written.getvalue()


class SlowWire:
    """A connection whose window is small, and whose user reads when it likes."""

    def __init__(self, port, kit, tls=None):
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_WINDOW)
        self.sock.settimeout(60)
        self.sock.connect(("127.0.0.1", port))
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="127.0.0.1")
        for name in ("send", "read", "pdu", "close"):
            setattr(self, name, getattr(kit.Wire, name).__get__(self))


@pytest.fixture
def certificates(tmp_path):
    return Certificates(tmp_path / "certificates")


@pytest.fixture
def hold(tmp_path, request):
    def start(*files, **given):
        holder = Holder(tmp_path / "node", **given)
        request.addfinalizer(holder.stop)
        holder.uids = holder.store(*files)
        return holder

    return start


def find_all(asker):
    """Ask for all instances with some thousand return keys, so that each answer is long."""
    keys = {tag: DicomDictionary[tag][0] for tag in sorted(DicomDictionary) if tag >> 16 in {0x18, 0x28, 0x40}}
    ds = Dataset()
    ds.QueryRetrieveLevel = "IMAGE"
    for tag, vr in keys.items():
        if vr in {"LO", "SH", "CS", "DS", "IS", "DA", "TM", "LT", "ST"}:
            ds.add_new(tag, vr, "")
    elements = [
        (commands.AFFECTED_SOP_CLASS_UID, commands.uid(STUDY_ROOT_FIND)),
        (commands.COMMAND_FIELD, commands.us(commands.C_FIND_RQ)),
        (commands.MESSAGE_ID, commands.us(7)),
        (commands.PRIORITY, commands.us(0)),
        (commands.COMMAND_DATA_SET_TYPE, commands.us(1)),
    ]
    asker.wire.send(asker.kit.p_data(asker.kit.pdv(commands.encode(elements), command=True)))
    asker.wire.send(asker.kit.p_data(asker.kit.pdv(data_sets.encode(ds, IMPLICIT))))


def how_associations_ended(holder):
    with holder.archive.read() as connection:
        found = connection.exec_driver_sql("SELECT ended, reason FROM association ORDER BY id").all()
    return [tuple(one) for one in found]


@needs_openssl
@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "TLS"])
def test_who_stops_reading_in_the_middle_of_a_get_is_given_up(hold, kit, certificates, is_tls):
    certificate, key = certificates.server
    secured = {"tls_port": 0, "certificate_file": certificate, "key_file": key} if is_tls else {}
    holder = hold(large_file(1, 10), dicom={"timeout_s": 2.0, **secured})
    tls = ssl.create_default_context(cafile=certificates.ca) if is_tls else None
    port = holder.node.dicom.tls_port if is_tls else holder.port
    wire = SlowWire(port, kit, tls)
    asker = Asker(wire, kit, sop_class=STUDY_ROOT_GET, storage=[[EXPLICIT, IMPLICIT]])
    asker.ask(identifier(StudyInstanceUID=STUDY))
    wire.read(4096)  # it has begun
    kit.until(lambda: holder.node.dicom.open_associations == 0)
    ended, reason = how_associations_ended(holder)[-1]
    assert (ended, reason) == ("timed out", "the peer did not take what was sent to it in time")
    ((one, _),) = holder.retrievals()
    assert (one.state, one.completed) == ("broken", 0)
    wire.close()

    again = Asker(kit.Wire(holder.port), kit, sop_class=STUDY_ROOT_GET, storage=[[EXPLICIT, IMPLICIT]])
    again.ask(identifier(StudyInstanceUID=STUDY))
    responses, failed, _ = again.ended()
    assert (responses[-1][0], failed) == (0, [])
    assert again.got.keys() == set(holder.uids)


def test_who_stops_reading_in_the_middle_of_the_answers_to_a_query_is_given_up(hold, kit):
    holder = hold(*(file_of(number) for number in range(1, 701)), dicom={"timeout_s": 1.0})
    wire = SlowWire(holder.port, kit)
    asker = Asker(wire, kit, sop_class=STUDY_ROOT_FIND)
    find_all(asker)
    wire.read(2048)
    kit.until(lambda: holder.node.dicom.open_associations == 0)
    assert how_associations_ended(holder)[-1] == (
        "timed out",
        "the peer did not take what was sent to it in time",
    )
    wire.close()

    again = Asker(kit.Wire(holder.port), kit, sop_class=STUDY_ROOT_FIND)
    find_all(again)
    responses, _, _ = again.ended()
    assert len(responses) == 701
    assert responses[-1][0] == 0


def test_an_asker_that_is_silent_between_two_questions_is_given_up(hold, kit):
    holder = hold(file_of(1), dicom={"timeout_s": 0.5})
    wire = kit.Wire(holder.port)
    asker = Asker(wire, kit, sop_class=STUDY_ROOT_FIND)
    find_all(asker)
    asker.ended()
    assert wire.pdu()[0] == 7  # A-ABORT
    kit.until(lambda: holder.node.dicom.open_associations == 0)
    assert how_associations_ended(holder)[-1] == ("timed out", "the peer was idle for longer than allowed")


def test_who_does_not_answer_what_it_gets_is_given_up(hold, kit):
    holder = hold(file_of(1), dicom={"timeout_s": 0.5})
    wire = kit.Wire(holder.port)
    asker = Asker(wire, kit, sop_class=STUDY_ROOT_GET, storage=[[EXPLICIT, IMPLICIT]])
    asker.ask(identifier(StudyInstanceUID=STUDY))
    command, _, data = asker.message()
    assert command.command == commands.C_STORE_RQ
    assert data
    kit.until(lambda: holder.node.dicom.open_associations == 0)
    assert how_associations_ended(holder)[-1][0] == "timed out"
    ((one, _),) = holder.retrievals()
    assert one.state == "broken"


@pytest.mark.parametrize("most", [4096, 16384, 0])
@pytest.mark.parametrize("asks", ["find", "get"])
def test_no_pdu_is_larger_than_the_peer_takes(hold, kit, most, asks):
    holder = hold(large_file(1, 2))
    sop_class = STUDY_ROOT_FIND if asks == "find" else STUDY_ROOT_GET
    proposals = [Proposal(1, sop_class, (IMPLICIT,)), Proposal(3, CT, (EXPLICIT,))]
    request = encode_request(calling_aet="ASKER", called_aet="HOSTD", proposals=proposals, max_pdu=most)
    sizes = []

    class Counting(kit.Wire):
        def send(self, *pdus):
            if not sizes and pdus[0][:1] == b"\1":
                sizes.append(0)
                pdus = [with_role(request, CT)] if asks == "get" else [request]
            super().send(*pdus)

        def pdu(self):
            kind, body = super().pdu()
            if kind == 4:
                sizes.append(len(body))
            return kind, body

    asker = Asker(Counting(holder.port), kit, sop_class=sop_class, storage=[[EXPLICIT]] if asks == "get" else ())
    if asks == "find":
        find_all(asker)
    else:
        asker.ask(identifier(StudyInstanceUID=STUDY))
    responses, _, _ = asker.ended()
    assert responses[-1][0] == 0
    assert len(sizes) > 2
    if most:
        assert max(sizes) <= most
    if asks == "get":
        assert asker.got.keys() == set(holder.uids)
        assert max(sizes) > (most or 16384) - 64


def test_a_client_that_stops_reading_in_the_middle_of_a_download_is_cut_off(hold):
    files = [large_file(number, 16) for number in (1, 2)]
    holder = hold(*files, http={"port": 0, "timeout_s": 1.0, "max_requests": 1})
    http = holder.node.http.port
    paths = (f"/dicom-web/studies/{STUDY}", f"/studies/{_study(holder)}/archive")
    for path in paths:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_WINDOW)
            sock.connect(("127.0.0.1", http))
            accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n".encode())
            assert sock.recv(15).startswith(b"HTTP/1.1 200")
            assert requests.get(f"http://127.0.0.1:{http}/tools/now", timeout=60).status_code == 503
            _until_free(http)
            sock.settimeout(60)
            assert not _rest_of(sock).endswith(b"0\r\n\r\n")  # it is not taken for whole
    whole = requests.get(f"http://127.0.0.1:{http}{paths[1]}", timeout=60)
    assert whole.status_code == 200
    assert len(whole.content) > 0


def _rest_of(sock):
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(1 << 20):
            got += piece
    return got


def _study(holder):
    with holder.archive.read() as connection:
        return connection.exec_driver_sql("SELECT study FROM instance").scalar()


def _until_free(http):
    """Wait until the one request at a time that may be worked on is another's."""
    end = time.monotonic() + 60
    while requests.get(f"http://127.0.0.1:{http}/tools/now", timeout=60).status_code != 200:
        assert time.monotonic() < end, "the request that nobody reads is worked on for ever"
        time.sleep(0.05)
