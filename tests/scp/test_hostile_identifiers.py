"""Whatever identifier and command a query or a retrieve brings: an answer or an abort, no fault of hostd, and it goes on serving.

For a part of HOSTD_FUZZ_SECONDS.
"""

import os
import random
import struct
import time
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from hostd.config.settings import load
from hostd.dicom.part10 import data_set_offset
from hostd.dimse import commands, scu
from hostd.dimse.errors import DimseError
from hostd.node import Node

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(600)]

SECONDS = float(os.environ.get("HOSTD_FUZZ_SECONDS", "90")) / 3
IMPLICIT, EXPLICIT, VERIFICATION = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.1"
ROOT = "1.2.840.10008.5.1.4.1.2"
FIND, MOVE, GET = ([f"{ROOT}.{model}.{verb}" for model in (1, 2)] for verb in (1, 2, 3))

TAGS = (
    0x00080005, 0x00080016, 0x00080018, 0x00080020, 0x00080030, 0x00080050, 0x00080052, 0x00080054, 0x00080060, 0x00080061, 0x00081030,
    0x00100010, 0x00100020, 0x00100030, 0x0020000D, 0x0020000E, 0x00200010, 0x00200013, 0x00201206, 0x00201208, 0x00209999, 0x00091001,
    0x7FE00010, 0xFFFEE000, 0xFFFEE0DD, 0x00081111, 0x00400275, 0x00000000,
)  # fmt: skip
VALUES = (
    b"", b"*", b"?", b"STUDY ", b"SERIES", b"IMAGE ", b"PATIENT ", b"20040101-20050101 ", b"-", b"20040119", b"1200-", b"CT\\MR ", b"\\\\",
    b"1CT1", b"CompressedSamples^CT1", b"ISO_IR 100", b"ISO_IR 192", b"\\ISO 2022 IR 87", b"ISO_IR 999", b"\xff\xfe\x00", b"\x1b$B" * 4,
    b"1.3.6.1.4.1.5962.1.2.1.20040119072730.12322\0", b"1.2.3\\" * 400, b"*" * 3000, b"?*" * 200, b"\0" * 64, b"9" * 80, b"%_[", b"';--",
)  # fmt: skip
VRS = (b"CS", b"UI", b"LO", b"DA", b"TM", b"PN", b"SQ", b"OB", b"UN", b"XX", b"\0\0")


def element(chance, syntax, depth=0):
    """Return an element, mostly a good one."""
    tag = chance.choice(TAGS)
    value = chance.choice(VALUES) if chance.random() < 0.85 else chance.randbytes(chance.randrange(40))
    if depth < 4 and chance.random() < 0.15:
        item = identifier(chance, syntax, depth + 1)
        value = struct.pack("<HHL", 0xFFFE, 0xE000, chance.choice([len(item), len(item), 0xFFFFFFFF, 7])) + item
    length = len(value) if chance.random() < 0.93 else chance.choice([0xFFFFFFFF, len(value) + 1, 0x7FFFFFFF, 0])
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if syntax == IMPLICIT:
        return head + struct.pack("<L", length) + value
    vr = chance.choice(VRS)
    if vr in {b"SQ", b"OB", b"UN"}:
        return head + vr + b"\0\0" + struct.pack("<L", length) + value
    return head + vr + struct.pack("<H", length & 0xFFFF) + value


def identifier(chance, syntax, depth=0):
    parts = [element(chance, syntax, depth) for _ in range(chance.randrange(7))]
    if chance.random() < 0.8:
        parts.sort(key=lambda part: struct.unpack("<HH", part[:4]))
    if depth == 0 and chance.random() < 0.8:  # the level, so that more than the first look is taken
        level = chance.choice([b"STUDY ", b"SERIES", b"IMAGE ", b"PATIENT "])
        vr = b"" if syntax == IMPLICIT else b"CS"
        length = struct.pack("<L", len(level)) if syntax == IMPLICIT else struct.pack("<H", len(level))
        parts = [struct.pack("<HH", 8, 0x52) + vr + length + level, *parts]
    return b"".join(parts)


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("queried")
    file = folder / "hostd.toml"
    file.write_text(
        '[node]\nname = "queried"\ndata = "./data"\n[dicom]\nport = 0\n[http]\nenabled = false\n'
        '[modalities.asking]\naet = "ASKING"\nhost = "127.0.0.1"\nport = 9\n'
    )
    file.chmod(0o600)
    made = Node(load(file, environ={}), run_scripts=False)
    made.start()
    yield made
    made.stop()


def associate(node, syntax):
    contexts = [(sop_class, [syntax]) for sop_class in (*FIND, *MOVE, *GET)] + [(VERIFICATION, [IMPLICIT])]
    return scu.connect(
        "127.0.0.1", node.dicom.port, calling_aet="ASKING", called_aet="HOSTD", contexts=contexts, timeout_s=60
    )


def ask(chance, association, syntax):
    """Ask once; return the last status, None where the other side hung up."""
    kind = chance.choice([FIND, FIND, FIND, MOVE, GET])
    sop_class = chance.choice(kind)
    if kind is FIND:
        request = commands.find_request
    elif kind is GET:
        request = commands.get_request
    else:
        to = chance.choice(["ASKING", "NOBODY", "", "A" * 16])

        def request(**facts):
            return commands.move_request(destination=to, **facts)

    sent = identifier(chance, syntax)
    try:
        ended = association.converse(
            sop_class,
            lambda number: request(message_id=number, sop_class_uid=sop_class),
            lambda _syntax: sent,
            lambda _message, between: between.drain() is None,
            within_s=60,
        )
    except DimseError:
        return None
    assert "error of hostd" not in ended.comment, (hex(ended.status), ended.comment, sent)
    return ended.status


def store(node, path):
    header = dcmread(path, stop_before_pixels=True)
    with path.open("rb") as file:
        syntax = data_set_offset(file).transfer_syntax_uid
        with scu.connect(
            "127.0.0.1", node.dicom.port, calling_aet="ASKING", called_aet="HOSTD", contexts=[(header.SOPClassUID, [syntax])], timeout_s=60
        ) as association:  # fmt: skip
            left = path.stat().st_size - file.tell()
            assert association.store(header.SOPClassUID, header.SOPInstanceUID, syntax, file, left).status == 0


def test_no_identifier_is_a_fault_of_hostd(node):
    seed = random.SystemRandom().randrange(2**32)
    chance, counts = random.Random(seed), {}
    store(node, Path(get_testdata_file("CT_small.dcm", download=False)))
    ends = time.monotonic() + SECONDS
    association = None
    try:
        while time.monotonic() < ends:
            if association is None or not association.is_open:
                syntax = chance.choice([IMPLICIT, EXPLICIT])
                association = associate(node, syntax)
            status = ask(chance, association, syntax)
            counts[status] = counts.get(status, 0) + 1
    finally:
        if association is not None:
            association.abort()
    told = ", ".join(f"{'aborted' if status is None else f'0x{status:04X}'}: {n}" for status, n in counts.items())
    print(f"{sum(counts.values())} requests, seed {seed}: {told}")  # noqa: T201
    assert sum(counts.values()) > 100
    assert counts.get(0, 0) > 10, "too little of it was taken for anything"
    with associate(node, IMPLICIT) as last:
        assert last.echo() == 0
