"""Sequences of undefined length are passed over to where they end, whatever is in them."""

import io
import itertools
import struct

import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from hostd.dicom import open_sequences, parsed_header
from hostd.dicom.open_sequences import after_item, value_of
from hostd.errors import UnparsableError

FORMS = [(False, True), (True, True), (False, False)]
"""Whether it is in implicit VR, and whether in little endian."""
MOST = 64 << 20
TAG = 0x00082112


def item(text, *, below=None, is_open=True):
    found = Dataset()
    found.PatientComments = text
    found.Rows = 7
    if below is not None:
        found.add_new(TAG, "SQ", below)
        found[TAG].is_undefined_length = is_open
    found.is_undefined_length_sequence_item = is_open
    return found


def written(items, *, implicit, little):
    """Return a sequence of undefined length: its items with the delimiter, as pydicom writes them."""
    dataset = Dataset()
    dataset.add_new(TAG, "SQ", items)
    dataset[TAG].is_undefined_length = True
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = little, implicit
    write_dataset(file, dataset)
    return file.getvalue()[8 if implicit else 12 :]


@pytest.mark.parametrize(("implicit", "little"), FORMS)
@pytest.mark.parametrize("length", [0, 10, 5000, 40_000])
def test_what_is_passed_over_ends_with_its_own_delimiter(implicit, little, length):
    for outer, inner in itertools.product((True, False), repeat=2):
        below = [item("b" * length, is_open=inner), item("", below=[], is_open=inner)]
        items = [item("a", below=below, is_open=outer), item("", is_open=outer), Dataset(), item("c", is_open=inner)]
        content = written(items, implicit=implicit, little=little)
        file = io.BytesIO(b"before" + content + b"behind")
        file.seek(6)
        assert value_of(file, implicit=implicit, little=little, most=MOST) == content[:-8]
        assert file.read() == b"behind"


@pytest.mark.parametrize(("implicit", "little"), FORMS)
def test_items_follow_each_other(implicit, little):
    content = written(
        [item("a"), item("b", is_open=False), item("c", below=[item("d")])], implicit=implicit, little=little
    )[:-8]
    begin = b"\xfe\xff\x00\xe0" if little else b"\xff\xfe\xe0\x00"
    position, seen = 0, 0
    while position < len(content):
        assert content[position:].startswith(begin)
        position = after_item(content, position, implicit=implicit, little=little)
        seen += 1
    assert (position, seen) == (len(content), 3)
    with pytest.raises(UnparsableError):
        after_item(content, len(content), implicit=implicit, little=little)
    with pytest.raises(UnparsableError):
        after_item(content[:-4], position - 60, implicit=implicit, little=little)


def test_items_in_implicit_vr_are_passed_over_where_the_data_set_has_explicit():
    content = written([item("a", below=[item("b")]), item("c")], implicit=True, little=True)
    assert value_of(io.BytesIO(content), implicit=False, little=True, most=MOST) == content[:-8]


def test_what_is_not_well_formed_or_too_large_or_has_no_end_is_left_where_it_stands():
    content = written([item("a" * 100), item("b")], implicit=False, little=True)
    for wrong in (
        b"",
        content[:-1],
        content[:-8],
        b"\x08\0" + content[2:],
        content[:8] + b"\xfe\xff\xdd\xe0" + content[12:],
    ):
        file = io.BytesIO(b"before" + wrong)
        file.seek(6)
        assert value_of(file, implicit=False, little=True, most=MOST) is None
        assert file.tell() == 6
    assert value_of(io.BytesIO(content), implicit=False, little=True, most=len(content) - 9) is None
    assert value_of(io.BytesIO(content), implicit=False, little=True, most=len(content) - 8) is not None


def test_the_end_is_not_looked_for_in_vain_of_sequence_after_sequence(monkeypatch):
    walked = []
    monkeypatch.setattr(open_sequences, "value_of", lambda file, **how: walked.append(value_of(file, **how)))
    # pydicom ends such an item where the delimiter stands, whatever its length claims.
    open_item = struct.pack("<HHI", 0xFFFE, 0xE000, 0x7FFFFFF0) + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
    ended = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    data = b"".join(
        struct.pack("<HH2sHI", 0x0041, 0x1000 + number, b"SQ", 0, 0xFFFFFFFF) + open_item + ended
        for number in range(200)
    )
    dataset, _ = parsed_header.parse(io.BytesIO(data), 0, "1.2.840.10008.1.2.1")
    assert len(dataset) == 200
    assert len(walked) == 16
