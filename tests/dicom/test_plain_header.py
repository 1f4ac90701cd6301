"""What the reader of usual headers says is what pydicom says, and of the others it says nothing."""

import io
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_charset_files, get_testdata_files
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from hostd.dicom import header, syntaxes
from hostd.dicom.part10 import data_set_offset
from hostd.errors import UnparsableError

FILES = sorted({Path(name) for name in [*get_testdata_files(), *get_charset_files()] if Path(name).is_file()})


def both(content, syntax, offset=0):
    """Return what the two readers say of a data set, with where each leaves the file."""
    said = []
    for read in (header._read_plain, header._read_any):
        file = io.BytesIO(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = read(file, offset, syntax)
            except UnparsableError as error:
                found = str(error)
        # Where there is no pixel data nobody asks where the reader stopped.
        at = file.tell() if isinstance(found, tuple) and found[1] else None
        said.append(None if found is None else (found, at))
    return said


def test_real_files_are_read_as_pydicom_reads_them_and_most_of_them_here():
    seen, read_here = 0, 0
    for path in FILES:
        content = path.read_bytes()
        try:
            start = data_set_offset(io.BytesIO(content))
        except UnparsableError:
            continue
        syntax = syntaxes.by_uid(start.transfer_syntax_uid)
        if syntax.is_deflated or not syntax.is_little_endian:
            continue
        plain, other = both(content, syntax, start.offset)
        assert plain is None or plain == other, path
        seen += 1
        read_here += plain is not None
    assert seen > 50
    assert read_here > 0.8 * seen


def encoded(dataset, syntax, *, undefined):
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = undefined
            for item in element.value:
                item.is_undefined_length_sequence_item = undefined
    written = DicomBytesIO()
    written.is_little_endian, written.is_implicit_VR = True, syntax.is_implicit_vr
    write_dataset(written, dataset)
    return written.getvalue()


def data_set(*, nested=True, pixels=True):
    dataset = Dataset()
    dataset.SpecificCharacterSet = ["", "ISO 2022 IR 100"]
    dataset.PatientName, dataset.PatientID = "Doe^Jérôme", "1\\2"
    dataset.ImageType, dataset.PatientComments = ["ORIGINAL", "PRIMARY"], "a\\b  "
    dataset.PixelRepresentation, dataset.Rows = 1, 7
    dataset.add_new(0x00280106, "SS", -3)
    dataset.add_new(0x00180050, "DS", "")
    dataset.add_new(0x00290010, "LO", "SOMEBODY")
    dataset.add_new(0x00291001, "UN", b"\1\2")
    dataset.add_new(0x00291002, "OB", b"x" * 2000)
    dataset.add_new(0x00280009, "AT", [0x00181063])
    if nested:
        deep = data_set(nested=False, pixels=False)
        deep.SpecificCharacterSet = "ISO_IR 192"
        deep.ReferencedImageSequence = Sequence([data_set(nested=False, pixels=False)])
        dataset.ReferencedStudySequence = Sequence([deep, Dataset(), data_set(nested=False)])
        dataset.ReferencedSeriesSequence = Sequence([])
    if pixels:
        dataset.add_new(0x7FE00010, "OW", b"\0" * 40)
    return dataset


SYNTAXES = [syntaxes.lookup("ImplicitVRLittleEndian"), syntaxes.lookup("ExplicitVRLittleEndian")]


@pytest.mark.parametrize("syntax", SYNTAXES, ids=str)
@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("pixels", [False, True])
def test_sequences_of_either_length_are_read_here(syntax, undefined, pixels):
    plain, other = both(encoded(data_set(pixels=pixels), syntax, undefined=undefined), syntax)
    assert plain == other
    assert plain[0][1] == ({0x7FE00010: ("OW", None)} if pixels else {})
    assert plain[0][0][0x00081110][1][0][0x00081140][1][0][0x00100020] == ("LO", ["1", "2"])


def test_what_is_too_large_does_not_travel_in_either():
    dataset = data_set()
    dataset.ReferencedPerformedProcedureStepSequence = Sequence([data_set() for _ in range(40)])
    dataset.ReferencedInstanceSequence = Sequence([data_set(pixels=False) for _ in range(9)])
    for number in range(30):
        dataset.add_new(0x00291100 + number, "OB", b"y" * 1000)
    for undefined in (False, True):
        plain, other = both(encoded(dataset, SYNTAXES[1], undefined=undefined), SYNTAXES[1])
        assert plain == other


def test_a_header_larger_than_the_first_look_is_read_here():
    dataset = data_set()
    dataset.add_new(0x00291003, "OB", b"z" * 200_000)
    plain, other = both(encoded(dataset, SYNTAXES[1], undefined=False), SYNTAXES[1])
    assert plain == other


@pytest.mark.parametrize("syntax", SYNTAXES, ids=str)
def test_sequences_nested_without_end_are_left_to_pydicom(syntax):
    head = b"\x08\0\x10\x11" + (b"" if syntax.is_implicit_vr else b"SQ\0\0") + b"\xff" * 4
    item = b"\xfe\xff\0\xe0" + b"\xff" * 4
    assert header._read_plain(io.BytesIO((head + item) * 5000), 0, syntax) is None


_WHOLE = [(syntax, encoded(data_set(), syntax, undefined=u)) for syntax in SYNTAXES for u in (False, True)]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(_WHOLE),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 4000),
)
def test_of_a_damaged_header_nothing_else_is_said_than_pydicom_says(whole, edits, cut):
    syntax, content = whole
    damaged = bytearray(content)
    for at, value in edits:
        damaged[at % len(damaged)] = value
    plain, other = both(bytes(damaged[: cut or None]), syntax)
    assert plain is None or plain == other
