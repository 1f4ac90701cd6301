"""Data sets that nobody should send, made from a good CT image."""

import struct
import zlib
from io import BytesIO

from pydicom import dcmread, dcmwrite
from pydicom.data import get_testdata_file
from pydicom.uid import DeflatedExplicitVRLittleEndian

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"


def good():
    return dcmread(get_testdata_file("CT_small.dcm", download=False))


def element(tag, vr, value):
    """Return an element in explicit VR little endian; `value` may be longer than its even length demands."""
    value += b"\0" * (len(value) % 2)
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    long = vr in {b"OB", b"OW", b"UN", b"SQ", b"UT"}
    return head + (struct.pack("<xxI", len(value)) if long else struct.pack("<H", len(value))) + value


def identified(uid, *, before=b"", after=b"", without=()):
    """Return a small data set with the UIDs that an instance needs; `before` and `after` surround the study's elements."""
    parts = {
        0x00080016: element(0x00080016, b"UI", CT_STORAGE.encode()),
        0x00080018: element(0x00080018, b"UI", uid.encode()),
        0x00100020: element(0x00100020, b"LO", b"HOSTILE"),
        0x0020000D: element(0x0020000D, b"UI", b"1.2.3"),
        0x0020000E: element(0x0020000E, b"UI", b"1.2.3.4"),
    }
    front = b"".join(parts[tag] for tag in (0x00080016, 0x00080018) if tag not in without)
    back = b"".join(parts[tag] for tag in (0x00100020, 0x0020000D, 0x0020000E) if tag not in without)
    return front + before + back + after


def nested(depth, *, explicit_length):
    """Return a sequence with `depth` levels."""
    if not explicit_length:
        open_, close = (
            b"\x40\x00\x75\xa7SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff",
            (b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"),
        )
        return open_ * depth + close * depth
    heads = []
    length = 0
    for _ in range(depth):
        heads.append(struct.pack("<HH2sxxIHHI", 0x0040, 0xA775, b"SQ", length + 8, 0xFFFE, 0xE000, length))
        length += 20
    return b"".join(reversed(heads))


def bomb(mebibytes):
    """Return a deflated data set of a few kilobytes that inflates to so many MiB."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    packed = packer.compress(identified("1.2.3.99") + struct.pack("<HH2sxxI", 0x7FE1, 0x1010, b"OB", mebibytes << 20))
    for _ in range(mebibytes):
        packed += packer.compress(bytes(1 << 20))
    packed += packer.flush()
    return packed + b"\0" * (len(packed) % 2)


def as_file(data_set, syntax=EXPLICIT, uid="1.2.3.99"):
    """Return the data set with preamble and file meta information before it, such as they are."""
    meta = b"".join(
        (
            element(0x00020001, b"OB", b"\0\1"), element(0x00020002, b"UI", CT_STORAGE.encode()),
            element(0x00020003, b"UI", uid.encode("latin-1")), element(0x00020010, b"UI", syntax.encode()),
        )
    )  # fmt: skip
    return bytes(128) + b"DICM" + element(0x00020000, b"UL", struct.pack("<I", len(meta))) + meta + data_set


def truncated_image():
    """Return a file, and its data set, that end in the middle of the pixels."""
    written = BytesIO()
    dcmwrite(written, good(), enforce_file_format=True)
    return written.getvalue()[:-5000]


def of(instance, *, deflated=False):
    """Return an instance of pydicom as a file."""
    if deflated:
        instance.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    written = BytesIO()
    dcmwrite(written, instance, enforce_file_format=True)
    return written.getvalue()
