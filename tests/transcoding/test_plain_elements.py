"""Elements that are read in one go are those that are read one by one."""

import io
from pathlib import Path
from unittest.mock import patch

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from hostd.errors import CannotTranscodeError
from hostd.transcoding import elements as el

PIXELS = el.pixel_head(el.PIXEL_DATA, b"OW", 2, implicit=False) + b"\1\2"
TEXTS = st.text("abc", max_size=40)


def data_set(texts, large, items, undefined):
    """Return a data set in explicit VR little endian, with sequences and values of long VRs among the others."""
    made = Dataset()
    made.PatientName, made.PatientComments = texts
    made.ReferencedImageSequence = Sequence([Dataset() for _ in range(items)])
    made["ReferencedImageSequence"].is_undefined_length = undefined
    made.EncapsulatedDocument = large
    made.Rows = 7
    made.add_new(0x00091010, "UN", b"\1\2")
    if items:
        made.ReferencedImageSequence[0].PatientID = texts[0]
    out = pydicom.filebase.DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, False
    write_dataset(out, made)
    return out.getvalue()


def read(content):
    """Return what is read, or why it cannot be."""
    file = io.BytesIO(content)
    try:
        return el.read_until_pixels(file, implicit=False)
    except CannotTranscodeError as error:
        return str(error)


def both(content, block):
    with patch.object(el, "_BLOCK", block):
        at_once = read(content)
    with patch.object(el._Reader, "plain", lambda _self, _elements: None):
        return at_once, read(content)


@settings(deadline=None)
@given(
    texts=st.tuples(TEXTS, TEXTS),
    large=st.binary(max_size=300),
    items=st.integers(0, 2),
    undefined=st.booleans(),
    end=st.integers(0, 900),
    more=st.binary(max_size=20),
    block=st.sampled_from([8, 12, 64, 300, 1 << 14]),
)
def test_whatever_is_read_in_one_go_is_what_is_read_one_by_one(texts, large, items, undefined, end, more, block):
    content = data_set(texts, large + b"\0" * (len(large) % 2), items, undefined)[:end] + more
    at_once, one_by_one = both(content, block)
    assert at_once == one_by_one


@settings(deadline=None)
@given(
    texts=st.tuples(TEXTS, TEXTS),
    large=st.binary(max_size=300),
    items=st.integers(0, 2),
    undefined=st.booleans(),
    changes=st.lists(st.tuples(st.integers(0, 300), st.binary(min_size=1, max_size=8)), max_size=2),
)
def test_elements_that_are_written_again_as_they_stand_are_what_is_encoded(texts, large, items, undefined, changes):
    content = bytearray(data_set(texts, large + b"\0" * (len(large) % 2), items, undefined) + PIXELS)
    for place, value in changes:
        content[place : place + len(value)] = value
    found = read(bytes(content))
    if isinstance(found, tuple) and (encoded := found[0].encoded):
        assert encoded == el.encode(dict(found[0]), implicit=False)
        assert read(encoded + PIXELS)[0] == found[0]
        with io.BytesIO(encoded + PIXELS) as file:
            again, pixel = el.read_until_pixels(file, implicit=False, known=found[0])
        assert (again, again.encoded, pixel.tag) == (found[0], b"", el.PIXEL_DATA)
    else:
        assert changes or undefined


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm", "rtplan.dcm"])
def test_real_files_are_read_the_same(name):
    path = get_testdata_file(name, download=False)
    with Path(path).open("rb") as file:
        content = file.read()[pydicom.dcmread(path).file_meta.FileMetaInformationGroupLength + 144 :]
    at_once, one_by_one = both(content, 1 << 14)
    assert at_once == one_by_one
    if name == "CT_small.dcm":
        assert len(at_once[0]) > 60
        assert at_once[1].tag == el.PIXEL_DATA
