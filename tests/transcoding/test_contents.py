"""What a file holds is found by path, without making anything of what is beside it."""

import io
import tracemalloc

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from hostd.dicom.part10 import file_header
from hostd.errors import UnparsableError
from hostd.transcoding.contents import Listing, Value, find

SEQUENCE, COMMENTS, ROWS = 0x00400275, 0x00104000, 0x00280010
EMPTY = b"\xfe\xff\x00\xe0\0\0\0\0"
ELEMENTS = b"".join(b"\x41\0" + number.to_bytes(2, "little") + b"US\0\0" for number in range(0x1000, 0x9000))
OPEN, CLOSE = b"\xff\xff\xff\xff", b"\xfe\xff\xdd\xe0\0\0\0\0"


def file_of(dataset, syntax):
    content = io.BytesIO()
    dataset.save_as(content, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
    return io.BytesIO(file_header("1.2.3", str(generate_uid()), str(syntax)) + content.getvalue())


def read(found):
    found.file.seek(found.at)
    return found.file.read(found.length)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("is_open", [False, True])
def test_items_and_what_is_in_them_are_found(syntax, is_open):
    items = []
    for text in ("first", "second", ""):
        item = Dataset()
        item.PatientComments = text
        item.add_new(SEQUENCE, "SQ", [Dataset(), Dataset()])
        item[SEQUENCE].is_undefined_length = is_open
        item.is_undefined_length_sequence_item = is_open
        items.append(item)
    dataset = Dataset()
    dataset.add_new(SEQUENCE, "SQ", items)
    dataset[SEQUENCE].is_undefined_length = is_open
    dataset.add_new(0x00400280, "ST", "behind")
    file = file_of(dataset, syntax)
    assert find(file, []) == Listing((SEQUENCE, 0x00400280))
    assert find(file, [SEQUENCE]) == Listing(count=3)
    assert find(file, [SEQUENCE, 1]) == Listing((COMMENTS, SEQUENCE))
    assert read(find(file, [SEQUENCE, 1, COMMENTS])) == b"second"
    assert find(file, [SEQUENCE, 1, SEQUENCE]) == Listing(count=2)
    assert find(file, [SEQUENCE, 1, SEQUENCE, 1]) == Listing(())
    assert find(file, [SEQUENCE, 3]) is None
    assert find(file, [SEQUENCE, 1, SEQUENCE, 2]) is None
    assert isinstance(find(file, [0x00400280]), Value)


def with_sequence(content):
    return io.BytesIO(
        file_header("1.2.3", "1.2.3.4", str(ExplicitVRLittleEndian)) + b"\x40\x00\x75\x02SQ\0\0" + content
    )


@pytest.mark.parametrize(
    "content",
    [
        OPEN + EMPTY * 50_000 + CLOSE,
        (8 * 50_000).to_bytes(4, "little") + EMPTY * 50_000,
        OPEN + b"\xfe\xff\x00\xe0" + OPEN + ELEMENTS + b"\xfe\xff\x0d\xe0\0\0\0\0" + CLOSE,
    ],
    ids=["items", "items with a length", "elements"],
)  # fmt: skip
def test_what_is_only_counted_is_not_made(content):
    file = with_sequence(content)
    tracemalloc.start()
    try:
        found = find(file, [SEQUENCE])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == Listing(count=50_000 if EMPTY * 2 in content else 1)
    assert peak < 4 * len(content) + (1 << 20)


def test_items_that_are_cut_off_are_told():
    with pytest.raises(UnparsableError):
        find(with_sequence(b"\x0c\0\0\0" + EMPTY + b"\xfe\xff\x00\xe0"), [SEQUENCE])
    with pytest.raises(UnparsableError):
        find(with_sequence(b"\x08\0\0\0" + b"\xfe\xff\x00\xe0\x08\0\0\0"), [SEQUENCE])
