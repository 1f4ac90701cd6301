"""The header's values as scripts see them: text in every character set, numbers in both byte orders, nothing large."""

import struct
import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_charset_files, get_testdata_file

from hostd.dicom.header import MAX_ELEMENTS, MAX_VALUE, Header, element_value, read_elements, read_header
from hostd.dicom.main_tags import main_elements, main_tags
from hostd.dicom.part10 import data_set_offset
from hostd.errors import UnparsableError

IMPLICIT, EXPLICIT, BIG, DEFLATED = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".2", ".1.99"))
LONG = {b"OB", b"OW", b"UN", b"SQ", b"UT", b"UV", b"SV"}


class Builder:
    """Writes data sets in explicit VR of either byte order, or in implicit VR."""

    def __init__(self, syntax=EXPLICIT):
        self.syntax = syntax
        self.order = ">" if syntax == BIG else "<"

    def element(self, tag, vr, value):
        value += (b" " if vr in {b"CS", b"DS", b"IS", b"LO", b"PN", b"SH"} else b"\0") * (len(value) % 2)
        head = struct.pack(self.order + "HH", tag >> 16, tag & 0xFFFF)
        if self.syntax == IMPLICIT:
            return head + struct.pack("<I", len(value)) + value
        if vr in LONG:
            return head + vr + struct.pack(self.order + "xxI", len(value)) + value
        return head + vr + struct.pack(self.order + "H", len(value)) + value

    def item(self, content):
        return struct.pack(self.order + "HHI", 0xFFFE, 0xE000, len(content)) + content

    def data_set(self, *elements):
        """Return a data set with the UIDs that an instance needs and these (tag, VR, value)."""
        needed = [
            (0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.2"), (0x00080018, b"UI", b"1.2.3.4.5"),
            (0x0020000D, b"UI", b"1.2.3"), (0x0020000E, b"UI", b"1.2.3.4"),
        ]  # fmt: skip
        given = {tag: (vr, value) for tag, vr, value in [*needed, *elements]}
        return b"".join(self.element(tag, *given[tag]) for tag in sorted(given))

    def read(self, *elements):
        content = self.data_set(*elements)
        return read_header(BytesIO(content), offset=0, transfer_syntax=self.syntax, size=len(content))

    def value(self, tag, vr, value):
        return self.read((tag, vr, value)).tags[tag]


def of_file(path):
    with Path(path).open("rb") as file:
        start = data_set_offset(file)
        return read_header(
            file, offset=start.offset, transfer_syntax=start.transfer_syntax_uid, size=Path(path).stat().st_size
        )


def raw(path, path_of_tags, limit=1 << 20):
    with Path(path).open("rb") as file:
        start = data_set_offset(file)
        return element_value(
            file, offset=start.offset, transfer_syntax=start.transfer_syntax_uid, path=path_of_tags, limit=limit
        )


# -- text --------------------------------------------------------------------------------------------------------------

NAMES = {
    "chrArab": "قباني^لنزار", "chrFren": "Buc^Jérôme", "chrGerm": "Äneas^Rüdiger", "chrGreek": "Διονυσιος",
    "chrH31": "Yamada^Tarou=山田^太郎=やまだ^たろう", "chrH32": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "chrHbrw": "שרון^דבורה", "chrI2": "Hong^Gildong=洪^吉洞=홍^길동", "chrJapMulti": "やまだ^たろう",
    "chrKoreanMulti": "김희중", "chrRuss": "Люкceмбypг", "chrX1": "Wang^XiaoDong=王^小東=",  # noqa: RUF001 - Russian is meant
    "chrX2": "Wang^XiaoDong=王^小东=",
}  # fmt: skip


def charset_file(name):
    (found,) = [path for path in get_charset_files(f"{name}.dcm") if Path(path).name == f"{name}.dcm"]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_read_in_its_character_set(name):
    with Path(charset_file(name)).open("rb") as file:
        start = data_set_offset(file)
        values = element_value(
            file, offset=start.offset, transfer_syntax=start.transfer_syntax_uid, path=[0x00100010], limit=1000
        )
    assert values == [NAMES[name]]
    assert values[0].rstrip("=") == str(dcmread(charset_file(name)).PatientName)


def test_utf_8_is_read_as_such():
    header = Builder().read((0x00080005, b"CS", b"ISO_IR 192"), (0x00100010, b"PN", "Šťastný^Zoë".encode()))
    assert header.tags[0x00100010] == ("PN", ["Šťastný^Zoë"])
    assert main_tags(header)["patient"]["PatientName"] == "Šťastný^Zoë"


def test_main_tags_that_are_empty_are_told_and_those_that_are_not_there_are_not():
    header = Builder().read(
        (0x00080050, b"SH", b""), (0x00081030, b"LO", b"  "), (0x00204000, b"LT", b"x" * (MAX_VALUE + 2)),
        (0x00540081, b"US", b""), (0x00540101, b"US", b"\2\0"), (0x00080080, b"OB", b"none"),
    )  # fmt: skip
    found = main_tags(header)
    assert {name: found["study"].get(name) for name in ("AccessionNumber", "StudyDescription", "StudyID")} == {
        "AccessionNumber": "", "StudyDescription": "", "StudyID": None,
    }  # fmt: skip
    assert "InstitutionName" not in found["study"]
    assert found["series"].keys() & {"NumberOfSlices", "NumberOfTimeSlices"} == {"NumberOfTimeSlices"}
    assert found["series"]["NumberOfTimeSlices"] == "2"
    assert "ImageComments" not in found["instance"]


def test_main_tags_of_the_index_are_elements_again():
    told = {
        "AccessionNumber": "", "SeriesType": "STATIC\\IMAGE", "ImageComments": "a\\b", "ImageIndex": "1\\2", "NumberOfSlices": "a few",
    }  # fmt: skip
    assert main_elements(told) == {
        0x00080050: ("SH", []), 0x00541000: ("CS", ["STATIC", "IMAGE"]), 0x00204000: ("LT", ["a\\b"]),
        0x00541330: ("US", [1, 2]), 0x00540081: ("LO", ["a few"]),
    }  # fmt: skip


@pytest.mark.parametrize(
    "charset", [b"KLINGON", b"ISO 2022 IR 9999\\nonsense", b"ISO_IR 192", b"\\ISO 2022 IR 87", b"ISO\0IR 192"]
)
def test_bytes_that_do_not_fit_their_character_set_are_shown_and_never_raise(charset):
    value = Builder().read((0x00080005, b"CS", charset), (0x00100010, b"PN", b"A\xff\xfe\x1b$B")).tags[0x00100010]
    assert value[0] == "PN"
    assert value[1][0].startswith("A")


def test_an_item_without_a_character_set_has_that_of_its_data_set():
    builder = Builder()
    own = builder.item(
        builder.element(0x00080005, b"CS", b"ISO_IR 192") + builder.element(0x00080104, b"LO", "é".encode())
    )
    inherited = builder.item(builder.element(0x00080104, b"LO", "é".encode("latin-1")))
    header = builder.read((0x00080005, b"CS", b"ISO_IR 100"), (0x0040A043, b"SQ", own + inherited))
    vr, items = header.tags[0x0040A043]
    assert vr == "SQ"
    assert [item[0x00080104] for item in items] == [("LO", ["é"]), ("LO", ["é"])]


@pytest.mark.parametrize(
    ("tag", "vr", "value", "seen"),
    [
        (0x00100020, b"LO", b" 00123 ", ["00123"]),
        (0x00180050, b"DS", b" 1.50 ", ["1.50"]),
        (0x00200013, b"IS", b"+07 ", ["+07"]),
        (0x00200032, b"DS", b"1\\-2.5\\ 3e2", ["1", "-2.5", "3e2"]),
        (0x00180050, b"DS", b"thick", ["thick"]),
        (0x00080008, b"CS", b"ORIGINAL\\\\AXIAL", ["ORIGINAL", "", "AXIAL"]),
        (0x00080008, b"CS", b"  ", []),
        (0x00100010, b"PN", b"Doe^John^^Dr", ["Doe^John^^Dr"]),
        (0x00204000, b"LT", b"a\\b  ", ["a\\b"]),
        (0x00080020, b"DA", b"20261122", ["20261122"]),
        (0x00280008, b"IS", b"", []),
    ],
)
def test_text_stands_as_in_the_file_without_its_padding(tag, vr, value, seen):
    assert Builder().value(tag, vr, value) == (vr.decode(), seen)


# -- numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [EXPLICIT, BIG, IMPLICIT])
@pytest.mark.parametrize(
    ("tag", "vr", "code", "numbers"),
    [
        (0x00280010, b"US", "H", [512]), (0x00189219, b"SS", "h", [-5]), (0x00081161, b"UL", "I", [1, 70000]),
        (0x00186020, b"SL", "i", [-70000]), (0x00189313, b"FD", "d", [1.5, -2.25, 1e300]), (0x00089459, b"FL", "f", [0.5]),
    ],
)  # fmt: skip
def test_binary_numbers_are_numbers_in_every_byte_order(syntax, tag, vr, code, numbers):
    builder = Builder(syntax)
    packed = struct.pack(f"{builder.order}{len(numbers)}{code}", *numbers)
    seen_vr, seen = builder.value(tag, vr, packed)
    assert (seen_vr, seen) == (vr.decode(), numbers)


@pytest.mark.parametrize("syntax", [EXPLICIT, BIG, IMPLICIT])
def test_an_attribute_tag_is_one_number(syntax):
    builder = Builder(syntax)
    packed = struct.pack(builder.order + "HHHH", 0x0018, 0x1063, 0x0054, 0x0010)
    assert builder.value(0x00280009, b"AT", packed) == ("AT", [0x00181063, 0x00540010])


@pytest.mark.parametrize(("signed", "smallest"), [(0, 0xFFFE), (1, -2)])
@pytest.mark.parametrize("syntax", [IMPLICIT])
def test_us_or_ss_is_decided_by_the_pixel_representation(syntax, signed, smallest):
    header = Builder(syntax).read((0x00280103, b"US", struct.pack("<H", signed)), (0x00280106, b"US", b"\xfe\xff"))
    assert header.tags[0x00280106] == ("SS" if signed else "US", [smallest])


def test_a_number_of_odd_length_loses_only_its_rest():
    assert Builder().value(0x00280010, b"US", b"\1\0\2\0\3\0")[1] == [1, 2, 3]
    assert Builder().value(0x00081161, b"UL", b"\1\0\0\0\2\0")[1] == [1]


# -- private elements, sequences, large values -------------------------------------------------------------------------


def test_a_private_element_of_implicit_vr_is_bytes_under_a_named_creator():
    header = Builder(IMPLICIT).read((0x00290010, b"LO", b"SOMEBODY 1.0"), (0x00291001, b"UN", b"\1\2\3\4"))
    assert header.tags[0x00290010] == ("LO", ["SOMEBODY 1.0"])
    assert header.tags[0x00291001] == ("UN", [b"\1\2\3\4"])


def test_sequences_are_elements_again_and_one_of_their_values_can_be_fetched():
    header = of_file(get_testdata_file("rtplan.dcm", download=False))
    vr, items = header.tags[0x300A00B0]
    assert vr == "SQ"
    assert items[0][0x300A00C0] == ("IS", ["1"])
    path = get_testdata_file("rtplan.dcm", download=False)
    assert raw(path, [0x300A00B0, 0, 0x300A00C0]) == ["1"]
    assert raw(path, [0x300A00B0, 9, 0x300A00C0]) == []
    assert raw(path, [0x300A0002]) == [str(dcmread(path).RTPlanLabel)]
    assert raw(path, [0x00189999]) == []


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG, DEFLATED])
def test_a_large_value_does_not_travel_and_is_fetched(syntax):
    builder = Builder(EXPLICIT if syntax == DEFLATED else syntax)
    comment = b"x" * (MAX_VALUE + 2)
    content = builder.data_set((0x00204000, b"LT", comment), (0x00100020, b"LO", b"P1"))
    if syntax == DEFLATED:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        content = packer.compress(content) + packer.flush()
    header = read_header(BytesIO(content), offset=0, transfer_syntax=syntax, size=len(content))
    assert header.tags[0x00204000] == ("LT", None)
    assert header.patient_id == "P1"
    for limit, value in ((1 << 20, [comment.decode()]), (MAX_VALUE, None)):
        found = element_value(BytesIO(content), offset=0, transfer_syntax=syntax, path=[0x00204000], limit=limit)
        assert found == value


def test_what_travels_in_all_is_limited():
    header = Builder().read(*[(0x00091000 + n, b"LO", b"y" * 1000) for n in range(100)])
    travelled = [values for tag, (_, values) in header.tags.items() if tag >> 16 == 0x0009 and values is not None]
    assert 0 < len(travelled) * 1000 <= MAX_ELEMENTS
    assert len(header.encode()) < 2 * MAX_ELEMENTS


ITEM = b"\xfe\xff\x00\xe0"
OPEN = b"\xff\xff\xff\xff"


def with_items(items, end=b"\xfe\xff\xdd\xe0\0\0\0\0"):
    """Return a data set that has these encoded items in a sequence of undefined length, and an element behind it."""
    builder = Builder()
    return (
        builder.data_set((0x00100020, b"LO", b"P1"))
        + b"\x40\x00\x75\x02SQ\0\0"
        + OPEN
        + b"".join(items)
        + end
        + builder.element(0x00400280, b"ST", b"behind")
    )


def deflated(content):
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


def numbered(count, *, is_open=False):
    builder = Builder()
    elements = [builder.element(0x00080100, b"SH", b"%06d" % number) for number in range(count)]
    if is_open:
        return [ITEM + OPEN + one + b"\xfe\xff\x0d\xe0\0\0\0\0" for one in elements]
    return [builder.item(one) for one in elements]


@pytest.mark.parametrize("syntax", [EXPLICIT, DEFLATED])
@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("count", [1000, 4000, 60_000])
def test_items_that_are_too_many_to_travel_are_asked_for(syntax, is_open, count):
    content = with_items(numbered(count, is_open=is_open))
    content = deflated(content) if syntax == DEFLATED else content
    header = read_header(BytesIO(content), offset=0, transfer_syntax=syntax, size=len(content))
    vr, items = header.tags[0x00400275]
    assert (vr, None if items is None else len(items)) == ("SQ", count if count == 1000 else None)
    assert header.tags[0x00400280] == ("ST", ["behind"])
    assert len(header.encode()) < 2 * MAX_ELEMENTS
    for number, values in ((count - 1, [f"{count - 1:06d}"]), (count, [])):
        path = [0x00400275, number, 0x00080100]
        assert element_value(BytesIO(content), offset=0, transfer_syntax=syntax, path=path, limit=1 << 20) == values
    if count > 4000:
        return
    elements, _ = read_elements(
        BytesIO(content), offset=0, transfer_syntax=syntax, max_value=MAX_VALUE, max_elements=16 << 20
    )
    assert [item[0x00080100] for item in elements[0x00400275][1]] == [("SH", [f"{n:06d}"]) for n in range(count)]


def test_an_element_of_a_sequence_that_is_larger_than_what_may_be_asked_for_is_too_large():
    content = Builder().data_set((0x00400275, b"SQ", b"".join(numbered(1000))))
    for limit, value in ((1 << 20, ["000500"]), (1000, None)):
        path = [0x00400275, 500, 0x00080100]
        found = element_value(BytesIO(content), offset=0, transfer_syntax=EXPLICIT, path=path, limit=limit)
        assert found == value


@pytest.mark.parametrize("is_nested", [False, True])
def test_items_without_anything_do_not_cost_more_memory_than_the_header_has_bytes(is_nested):
    items = [ITEM + bytes(4)] * 50_000
    if is_nested:
        below = b"\x40\x00\x75\x02SQ\0\0" + OPEN + b"".join(items) + b"\xfe\xff\xdd\xe0\0\0\0\0"
        items = [Builder().item(below)] * 4
    content = deflated(with_items(items))
    tracemalloc.start()
    try:
        header = read_header(BytesIO(content), offset=0, transfer_syntax=DEFLATED, size=len(content))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert header.tags[0x00400275] == ("SQ", None)
    assert peak < 16 << 20


def test_the_stored_form_comes_back_the_same():
    header = of_file(get_testdata_file("CT_small.dcm", download=False))
    assert Header.decode(header.encode()).encode() == header.encode()
    assert (header.has_pixels, header.frames, header.size) == (True, 1, 39206)
    assert 0x7FE00010 not in header.tags


def test_a_header_has_the_frames_of_its_image_and_none_without_pixels():
    assert of_file(get_testdata_file("examples_ybr_color.dcm", download=False)).frames == 30
    report = of_file(get_testdata_file("test-SR.dcm", download=False))
    assert (report.has_pixels, report.frames) == (False, 0)


@pytest.mark.parametrize(
    ("said", "frames"), [(b"2147483647", 2**31 - 1), (b"2147483648", 1), (b"9" * 30, 1), (b"0", 1)]
)
def test_a_number_of_frames_that_no_is_can_be_counts_as_one(said, frames):
    header = Builder().read((0x00280008, b"IS", said), (0x7FE00010, b"OW", b"\1\2"))
    assert header.frames == frames
    assert Header.decode(header.encode()) == header


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
def test_a_patient_id_is_whole_with_its_backslashes(syntax):
    ids = [Builder(syntax).read((0x00100020, b"LO", value)).identity for value in (b"a", b"a\\b", b"a\\c")]
    assert [one.patient_id for one in ids] == ["a", "a\\b", "a\\c"]
    assert len({one.patient for one in ids}) == 3


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", [0x00080016, 0x00080018, 0x0020000D, 0x0020000E])
@pytest.mark.parametrize("value", [b"", b"../../etc/passwd", b"1.2.", b"1" * 66])
def test_an_instance_without_good_uids_is_refused(tag, value):
    with pytest.raises(UnparsableError, match=r"no |is not a UID"):
        Builder().read((tag, b"UI", value))


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
def test_a_patient_id_too_long_to_be_told_from_others_is_refused(syntax):
    with pytest.raises(UnparsableError, match="Patient ID"):
        Builder(syntax).read((0x00100020, b"LO", b"x" * (MAX_VALUE + 2)))


@pytest.mark.parametrize("length", [400, 2 << 20, 0xFFFFFFF0])
def test_an_element_that_claims_more_than_there_is_is_refused(length):
    content = Builder().data_set() + struct.pack("<HH2sxxI", 0x0029, 0x1010, b"OB", length) + bytes(300)
    with pytest.raises(UnparsableError, match=r"truncated: \(0029,1010\) lacks"):
        read_header(BytesIO(content), offset=0, transfer_syntax=EXPLICIT, size=len(content))


def test_a_sequence_of_undefined_length_that_does_not_end_is_refused():
    builder = Builder()
    begun = b"\x40\x00\x75\xa7SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" + builder.element(
        0x00400001, b"LO", b"ab"
    )
    whole = builder.data_set() + begun + b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    read_header(BytesIO(whole), offset=0, transfer_syntax=EXPLICIT, size=len(whole))
    for cut in (2, 8, 16, 20):
        with pytest.raises(UnparsableError):
            read_header(BytesIO(whole[:-cut]), offset=0, transfer_syntax=EXPLICIT, size=len(whole) - cut)


@pytest.mark.parametrize(
    "content",
    [
        with_items([ITEM + bytes(4)] * 300_000, end=b""),
        Builder().data_set() + b"".join(struct.pack("<HH", 0x41 + 2 * (n >> 15), 0x1000 + (n & 0x7FFF)) + b"US\0\0" for n in range(300_000)),
    ],
    ids=["items", "elements"],
)  # fmt: skip
def test_a_header_of_more_elements_than_any_has_is_refused(content):
    with pytest.raises(UnparsableError, match="too many elements"):
        read_header(BytesIO(content), offset=0, transfer_syntax=EXPLICIT, size=len(content))


def test_a_deflated_data_set_that_does_not_end_is_refused():
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    content = (packer.compress(Builder().data_set((0x00204000, b"LT", bytes(range(97, 120)) * 40))) + packer.flush())[
        :-8
    ]
    with pytest.raises(UnparsableError, match="truncated"):
        read_header(BytesIO(content), offset=0, transfer_syntax=DEFLATED, size=len(content))
