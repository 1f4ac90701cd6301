"""Files that nobody should send, to a running node, by C-STORE and by HTTP (P6).

Each is refused with a status that says why, leaves nothing behind, and the node takes the next good file.
"""

import io
import socket
import struct
import time

import pytest
import requests
from hostile_files import (
    CT_STORAGE,
    DEFLATED,
    EXPLICIT,
    as_file,
    bomb,
    element,
    good,
    identified,
    nested,
    of,
    truncated_image,
)  # fmt: skip
from peer_kit import until
from processes import peak_bytes

from hostd.dicom.header import Header
from hostd.dimse import scu
from hostd.dimse.associate import Proposal, encode_request


def store(node, data_set, *, uid="1.2.3.99", syntax=EXPLICIT):
    """Send a data set under an identity of the command's own choice; return the answer."""
    contexts = [(CT_STORAGE, [syntax])]
    with scu.connect(
        "127.0.0.1", node.port, calling_aet="HOSTILE", called_aet="HOSTD", contexts=contexts, timeout_s=60
    ) as association:
        return association.store(CT_STORAGE, uid, syntax, io.BytesIO(data_set), len(data_set))


def traces(node):
    """Return all that receiving leaves, but the rows and events of associations."""
    return (
        node.files(),
        node.query("SELECT count(*) FROM blob"),
        node.query("SELECT count(*) FROM instance"),
        node.query("SELECT count(*) FROM event WHERE kind <> 'association_closed'"),
    )


def assert_lives(node):
    """Fail unless the node takes a good file, both ways."""
    instance = good()
    instance.SOPInstanceUID = instance.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{time.monotonic_ns()}"
    content = of(instance)
    answer = node.post(content)
    assert (answer.status_code, answer.json()["Status"]) == (200, "Success")
    start = content.index(b"DICM")
    meta = 4 + 12 + int.from_bytes(content[start + 12 : start + 16], "little")
    assert store(node, content[start + meta :], uid=instance.SOPInstanceUID).status == 0


def cut():
    """Return the data set of an image that ends in its pixels."""
    content = truncated_image()
    start = content.index(b"DICM")
    return content[start + 16 + int.from_bytes(content[start + 12 : start + 16], "little") :], good().SOPInstanceUID


DEEP = 10_000
LONG_CLAIM = struct.pack("<HH2sxxI", 0x0029, 0x1010, b"OB", 0xFFFFFFF0) + bytes(600)
MANY_ELEMENTS = b"".join(
    element(0x00090000 + (n >> 12 << 17) + 0x1000 + (n & 0xFFF), b"OB", bytes(9990)) for n in range(10_000)
)
LARGE_ELEMENTS = b"".join(element(0x00291000 + n, b"OB", bytes(10 << 20)) for n in range(10))
REFUSED = {
    "random bytes": (lambda: bytes(range(256)) * 20, "1.2.3.99", EXPLICIT, ""),
    "one byte": (lambda: b"\x08\x00", "1.2.3.99", EXPLICIT, "no "),
    "cut in the pixels": (lambda: cut()[0], str(cut()[1]), EXPLICIT, "truncated"),
    "no study": (lambda: identified("1.2.3.99", without=(0x0020000D,)), "1.2.3.99", EXPLICIT, "no Study Instance UID"),
    "no series": (lambda: identified("1.2.3.99", without=(0x0020000E,)), "1.2.3.99", EXPLICIT, "no Series Instance"),
    "no SOP class": (lambda: identified("1.2.3.99", without=(0x00080016,)), "1.2.3.99", EXPLICIT, "no SOP Class UID"),
    "no SOP instance": (lambda: identified("1.2", without=(0x00080018,)), "1.2.3.99", EXPLICIT, "no SOP Instance UID"),
    "UID that is a path": (lambda: identified("../../etc/passwd"), "1.2.3.99", EXPLICIT, "is not a UID"),
    "UID with a null": (lambda: identified("1.2\0/../3"), "1.2.3.99", EXPLICIT, "is not a UID"),
    "4 GiB in 1 kB": (lambda: identified("1.2.3.99", after=LONG_CLAIM), "1.2.3.99", EXPLICIT, "truncated"),
    "deep, undefined": (
        lambda: identified("1.2.3.99", after=nested(DEEP, explicit_length=False)), "1.2.3.99", EXPLICIT, "too deeply",
    ),
    "header of 100 MB": (lambda: identified("1.2.3.99", before=MANY_ELEMENTS), "1.2.3.99", EXPLICIT, "larger than 64 MiB"),
    "deflated garbage": (lambda: b"\xff" * 500, "1.2.3.99", DEFLATED, "deflated data set is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_by_dicom_it_is_refused_and_leaves_nothing(node, what):
    make, uid, syntax, why = REFUSED[what]
    before = traces(node)
    answer = store(node, make(), uid=uid, syntax=syntax)
    assert answer.status == 0xC000, answer
    assert why[:64] in answer.comment
    assert traces(node) == before
    assert_lives(node)


@pytest.mark.parametrize("what", REFUSED)
def test_by_http_it_is_refused_and_leaves_nothing(node, what):
    make, _, syntax, why = REFUSED[what]
    before = traces(node)
    answer = node.post(as_file(make(), syntax))
    assert answer.status_code == 400, answer.text
    assert answer.json()["OrthancStatus"] == 15
    assert why in answer.json()["Details"]
    assert str(node.folder) not in answer.text
    assert traces(node) == before
    assert_lives(node)


@pytest.mark.parametrize(
    "body",
    [b"", b"GET / HTTP/1.1\r\n", b"\x7fELF" + bytes(300), bytes(128) + b"DICM", bytes(1000), b"PK\3\4" + bytes(500)],
    ids=["empty", "text", "program", "prefix only", "zeros", "zip"],
)
def test_what_is_no_dicom_file_is_refused_by_http(node, body):
    before = traces(node)
    answer = node.post(body)
    assert (answer.status_code, answer.json()["OrthancStatus"]) == (400, 15), answer.text
    assert answer.json()["Details"]
    assert traces(node) == before
    assert_lives(node)


def test_an_empty_data_set_is_refused_by_dicom(node):
    before = traces(node)
    assert store(node, b"").status == 0xC000
    assert traces(node) == before
    assert_lives(node)


@pytest.mark.parametrize(
    ("data_set", "uid", "status"),
    [
        (identified("1.2.3.4.5.6"), "1.2.3.99", 0xA900),
        (identified("1.2.3.99").replace(b"4.1.1.2", b"4.1.1.4"), "1.2.3.99", 0xA900),
        (identified("1.2.3.99"), "../../etc/passwd", 0x0106),
        (identified("1.2.3.99"), "1.2.3.99" + "9" * 64, 0x0106),
    ],
    ids=["instance", "class", "path", "too long"],
)
def test_uids_that_disagree_with_the_command_are_refused(node, data_set, uid, status):
    before = traces(node)
    try:
        answer = store(node, data_set, uid=uid)
    except ValueError:
        pytest.fail("the sender of the test must be able to send anything")
    assert answer.status == status, answer
    assert traces(node) == before
    assert_lives(node)


# -- odd, but an instance all the same -------------------------------------------------------------------------------


def header_of(node, uid):
    """Return the header that scripts see."""
    row = node.query(f"SELECT header FROM event WHERE subject = '{node.instance(uid).id}' ORDER BY number DESC LIMIT 1")
    return Header.decode(row[0].header)


def garbage():
    return b"".join(element(0x00110000 | 0x10 + n, b"LO", bytes(range(1, 60))) for n in range(20)) + b"".join(
        element(0x00111000 + n, b"UN", bytes(range(256))) for n in range(20)
    )


ODD = {
    "deep, explicit": lambda uid: identified(uid, after=nested(DEEP, explicit_length=True)),
    "large values": lambda uid: identified(uid, before=LARGE_ELEMENTS),
    "private garbage": lambda uid: identified(uid, before=garbage()),
    "unknown character set": lambda uid: element(0x00080005, b"CS", b"KLINGON\\ISO 2022 IR 9999") + identified(
        uid, before=element(0x00100010, b"PN", b"\xff\xfe\x1b$B^\x1b(J=\x80")
    ),
    "text that is no number": lambda uid: identified(uid, after=element(0x00280008, b"IS", "٣² many".encode())),
    "numbers of odd length": lambda uid: identified(uid, before=element(0x00181063, b"US", b"\1\2\3\4\5\6\7")),
}  # fmt: skip


@pytest.mark.parametrize("way", ["dicom", "http"])
@pytest.mark.parametrize("what", ODD)
def test_an_odd_instance_is_stored_byte_for_byte(node, what, way):
    uid = f"1.2.3.{len(what)}.{list(ODD).index(what)}.{len(way)}"
    data_set = ODD[what](uid)
    if way == "dicom":
        answer = store(node, data_set, uid=uid)
        assert answer.status == 0, answer
    else:
        assert node.post(as_file(data_set, uid=uid)).status_code == 200
    assert node.path(uid).read_bytes().endswith(data_set)
    assert header_of(node, uid).patient_id == "HOSTILE"
    assert_lives(node)


@pytest.mark.parametrize("way", ["dicom", "http"])
def test_a_deflated_bomb_is_stored_as_it_is_and_not_inflated_beyond_the_limit(node, way):
    packed = bomb(400)
    assert len(packed) < 1 << 20
    began = time.monotonic()
    if way == "dicom":
        assert store(node, packed, syntax=DEFLATED).status == 0
    else:
        assert node.post(as_file(packed, DEFLATED)).status_code == 200
    assert time.monotonic() - began < 60
    assert node.path("1.2.3.99").read_bytes().endswith(packed)
    assert peak_bytes("self") < 2 << 30
    node.forget("1.2.3.99")
    assert_lives(node)


def test_a_deflated_data_set_that_ends_early_is_refused(node):
    packed = bomb(1)[:-200]
    before = traces(node)
    answer = store(node, packed, syntax=DEFLATED)
    assert (answer.status, "truncated" in answer.comment) == (0xC000, True)
    assert traces(node) == before


# -- senders that stop -----------------------------------------------------------------------------------------------


def begun(node):
    """Return a connection whose association is accepted, with half a PDU of a C-STORE data set on its way."""
    wire = socket.create_connection(("127.0.0.1", node.port), timeout=60)
    wire.sendall(
        encode_request(
            calling_aet="STOPS", called_aet="HOSTD", proposals=[Proposal(1, CT_STORAGE, (EXPLICIT,))], max_pdu=16384
        )
    )
    assert wire.recv(1) == b"\x02"
    wire.recv(4096)
    command = b"".join(
        struct.pack("<HHI", 0, tag, len(value)) + value
        for tag, value in (
            (0x0002, CT_STORAGE.encode() + b"\0"), (0x0100, b"\1\0"), (0x0110, b"\1\0"), (0x0700, b"\0\0"),
            (0x0800, b"\1\0"), (0x1000, b"1.2.3.99"),
        )
    )  # fmt: skip
    command = struct.pack("<HHII", 0, 0, 4, len(command)) + command
    wire.sendall(struct.pack(">BxIIBB", 4, len(command) + 6, len(command) + 2, 1, 3) + command)
    wire.sendall(struct.pack(">BxIIBB", 4, 10_006, 10_002, 1, 0) + identified("1.2.3.99"))
    return wire


def associations(node):
    return node.query("SELECT ended, received, stored, failed FROM association WHERE calling_aet = 'STOPS' ORDER BY id")


@pytest.mark.parametrize("manner", ["close", "reset"])
def test_an_association_that_stops_inside_a_pdu_leaves_its_row_and_no_file(node, manner):
    before, rows = traces(node), len(associations(node))
    wire = begun(node)
    until(lambda: len(node.files()) == len(before[0]) + 1, "the reception has begun", 60)
    if manner == "reset":
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.close()
    until(lambda: len(found := associations(node)) > rows and found[-1].ended, "the association's row is closed", 60)
    assert tuple(associations(node)[-1]) == ("lost", 1, 0, 1)
    assert traces(node) == before
    assert_lives(node)


def test_an_upload_that_stops_leaves_nothing(node):
    before = traces(node)
    content = of(good()) + bytes(1 << 20)
    host = f"127.0.0.1:{node.node.http.port}"
    with socket.create_connection(("127.0.0.1", node.node.http.port), timeout=60) as wire:
        wire.sendall(f"POST /instances HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(content)}\r\n\r\n".encode())
        wire.sendall(content[:900_000])  # less than half a mebibyte is on no disk until it is whole
        until(lambda: len(node.files()) == len(before[0]) + 1, "the upload has begun", 60)
    until(lambda: traces(node) == before, "nothing is left of the upload", 60)
    assert requests.get(f"{node.url}/system", timeout=60).ok
    assert_lives(node)
