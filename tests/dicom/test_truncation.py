"""Where a file ends in the middle of its pixel data."""

import struct
from io import BytesIO

import pytest

from hostd.dicom.syntaxes import lookup
from hostd.dicom.truncation import missing_bytes


def missing(content, syntax):
    return missing_bytes(BytesIO(content), 0, len(content), lookup(syntax))


def native(syntax, vr=b"OW", length=100):
    if syntax == "implicit":
        return struct.pack("<HHI", 0x7FE0, 0x10, length) + bytes(length)
    order = ">" if syntax == "ExplicitVRBigEndian" else "<"
    return struct.pack(order + "HH2sxxI", 0x7FE0, 0x10, vr, length) + bytes(length)


@pytest.mark.parametrize("syntax", ["implicit", "explicit", "ExplicitVRBigEndian"])
def test_native_pixels_lack_what_is_cut_off(syntax):
    whole = native(syntax)
    assert missing(whole, syntax) == 0
    assert missing(whole + b"more", syntax) == 0
    for cut in (1, 50, 100):
        assert missing(whole[:-cut], syntax) == cut


@pytest.mark.parametrize("kept", range(1, 12))
def test_a_head_that_is_cut_counts_as_missing(kept):
    assert missing(native("explicit")[:kept], "explicit") > 0


def fragments(*lengths, delimited=True):
    content = struct.pack("<HH2sxxI", 0x7FE0, 0x10, b"OB", 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    for length in lengths:
        content += struct.pack("<HHI", 0xFFFE, 0xE000, length) + bytes(length)
    return content + (struct.pack("<HHI", 0xFFFE, 0xE0DD, 0) if delimited else b"")


def test_fragments_lack_what_is_cut_off_the_last():
    assert missing(fragments(10, 20), "j2k") == 0
    assert missing(fragments(10, 20)[:-8], "j2k") == 0  # only the delimiter is missing
    assert missing(fragments(10, 20, delimited=False)[:-7], "j2k") == 7
    assert missing(fragments(10, 20)[:-3], "j2k") == 3  # inside the delimiter


def test_a_fragment_that_claims_4_gib_lacks_most_of_it():
    content = fragments(10, delimited=False) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFF0) + bytes(10)
    assert missing(content, "j2k") == 0xFFFFFFF0 - 10
