"""The head of DICOM files."""

from __future__ import annotations

import io
import struct
import tempfile
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from hostd.dicom import part10
from hostd.errors import UnparsableError

EXPLICIT = "1.2.840.10008.1.2.1"
CT = "1.2.840.10008.5.1.4.1.1.2"


def header(**changes):
    return part10.file_header(CT, "1.2.3.4", EXPLICIT, source_aet=changes.get("source_aet", "MODALITY1"))


def test_pydicom_reads_the_file_meta_as_it_was_meant():
    meta = pydicom.dcmread(io.BytesIO(header())).file_meta
    assert meta.MediaStorageSOPClassUID == CT
    assert meta.MediaStorageSOPInstanceUID == "1.2.3.4"
    assert meta.TransferSyntaxUID == EXPLICIT
    assert meta.FileMetaInformationVersion == b"\0\1"
    assert meta.ImplementationClassUID == part10.IMPLEMENTATION_CLASS_UID
    assert meta.ImplementationClassUID.is_valid
    assert meta.ImplementationVersionName == "HOSTD_0_1"
    assert meta.SourceApplicationEntityTitle == "MODALITY1"


def test_the_group_length_counts_what_follows_it():
    written = header()
    (length,) = struct.unpack("<I", written[140:144])
    assert 144 + length == len(written)


def test_a_source_that_is_not_known_is_left_out():
    assert "SourceApplicationEntityTitle" not in pydicom.dcmread(io.BytesIO(header(source_aet=None))).file_meta


@given(st.text(max_size=40))
def test_no_calling_ae_title_makes_a_file_unreadable(aet):
    start = part10.data_set_offset(io.BytesIO(header(source_aet=aet) + b"\x08\0\x05\0CS\0\0"))
    assert start.transfer_syntax_uid == EXPLICIT


def test_offset_and_meta_of_what_hostd_writes():
    start = part10.data_set_offset(io.BytesIO(header() + b"\x08\0\x05\0CS\0\0"))
    assert start.offset == len(header())
    assert start.transfer_syntax_uid == EXPLICIT
    assert start.meta[part10.META_INSTANCE] == "1.2.3.4"
    assert start.meta[part10.META_SOURCE_AET] == "MODALITY1"


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "JPEG2000.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm", "rtplan.dcm"]
)
def test_offset_agrees_with_pydicom_on_real_files(name):
    path = Path(get_testdata_file(name, download=False))
    with path.open("rb") as file:
        start = part10.data_set_offset(file)
        assert file.tell() == start.offset
    with path.open("rb") as file:
        pydicom.filereader.read_preamble(file, False)
        meta = pydicom.filereader.read_file_meta_info(path)
        pydicom.filereader._read_file_meta_info(file)
        assert start.offset == file.tell()
    assert start.transfer_syntax_uid == meta.TransferSyntaxUID


def test_a_missing_preamble_is_tolerated():
    whole = header() + b"\x08\0\x05\0CS\0\0"
    for cut in (128, 132):
        start = part10.data_set_offset(io.BytesIO(whole[cut:]))
        assert start.offset == len(header()) - cut
        assert start.transfer_syntax_uid == EXPLICIT


def test_a_missing_or_wrong_group_length_is_tolerated():
    whole = header()
    without = whole[:132] + whole[144:]
    wrong = whole[:140] + b"\x05\0\0\0" + whole[144:]
    for made in (without, wrong):
        start = part10.data_set_offset(io.BytesIO(made + b"\x08\0\x05\0CS\0\0"))
        assert start.offset == len(made)
        assert start.transfer_syntax_uid == EXPLICIT


def test_file_meta_in_implicit_vr_is_tolerated():
    uid = EXPLICIT.encode() + b"\0" * (len(EXPLICIT) % 2)
    made = bytes(128) + b"DICM" + b"\x02\0\x10\0" + struct.pack("<I", len(uid)) + uid
    assert part10.data_set_offset(io.BytesIO(made)) == (len(made), EXPLICIT, {part10.META_TRANSFER_SYNTAX: EXPLICIT})


def test_a_deflated_data_set_that_begins_like_file_meta_is_not_taken_for_it():
    made = part10.file_header(CT, "1.2.3", "1.2.840.10008.1.2.1.99", source_aet=None)
    assert part10.data_set_offset(io.BytesIO(made + b"\x02\0\x99\x81\xfe\x33\x00\x01")).offset == len(made)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n" * 40, "not a DICOM file"),
        (bytes(200), "not a DICOM file"),
        (bytes(128) + b"DICM", "no transfer syntax"),
        (header()[:-80], "ends inside"),
        (b"DICM", "no transfer syntax"),
    ],
)
def test_what_is_not_dicom_is_refused_in_plain_words(content, says):
    with pytest.raises(UnparsableError, match=says):
        part10.data_set_offset(io.BytesIO(content))


@given(st.binary(max_size=400))
def test_noise_is_refused_or_read_but_never_breaks(noise):
    for content in (noise, bytes(128) + b"DICM" + noise, b"\x02\0" + noise):
        try:
            start = part10.data_set_offset(io.BytesIO(content))
        except UnparsableError:
            continue
        assert 0 < start.offset <= len(content)


@given(
    st.text("AB ", max_size=20),
    st.integers(0, 400),
    st.lists(st.tuples(st.integers(128, 360), st.binary(min_size=1, max_size=4)), max_size=3),
    st.binary(max_size=40),
)
def test_file_meta_read_at_once_is_what_is_read_element_by_element(aet, end, changes, more):
    content = bytearray(header(source_aet=aet) + b"\x08\0\x05\0CS\0\0")
    for place, value in changes:
        content[place : place + len(value)] = value
    file = io.BytesIO(bytes(content[: len(content) - end if end < 200 else None]) + more)
    begin = file.getvalue()[:1024]
    at_once = part10._plain_meta(begin, 132)
    if at_once is not None:
        assert at_once == part10._read_meta(file, 132)


@given(
    st.sampled_from([0, 700, 860, 880, 1020, 5000]),
    st.integers(0, 40),
    st.integers(0, 60),
    st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=4)), max_size=2),
)
def test_what_is_said_of_a_descriptor_is_what_is_said_of_a_file(private, more, end, changes):
    meta = header() + b"\x02\0\x02\1OB\0\0" + struct.pack("<I", private) + bytes(private)
    content = bytearray(meta + bytes(range(8, 8 + more)))
    for place, value in changes:
        content[place : place + len(value)] = value
    with tempfile.TemporaryFile() as file:
        file.write(content[: len(content) - end])
        file.flush()
        said = []
        for ask in (lambda: part10.start_of(file.fileno()), lambda: part10.data_set_offset(file)):
            try:
                said.append(ask())
            except UnparsableError as error:
                said.append((type(error), str(error)))
    assert said[0] == said[1]


def test_files_that_begin_alike_are_told_apart_by_what_follows(tmp_path):
    meta = header() + b"\x02\0\x02\1OB\0\0" + struct.pack("<I", 2000) + bytes(2000)
    texts = [b"\x02\0\x00\1UI\x04\x00" + uid for uid in (b"1.2\0", b"1.3\0")]  # (0002,0100) of either, after 2000 bytes
    starts = []
    for number, text in enumerate(texts):
        (tmp_path / f"{number}").write_bytes(meta + text + b"\x08\0\x05\0CS\0\0")
        starts.append(part10.start_at(tmp_path / f"{number}"))
    assert [start.meta[0x00020100] for start in starts] == ["1.2", "1.3"]


def test_what_is_recalled_of_a_file_cannot_be_changed_for_another(tmp_path):
    (tmp_path / "file").write_bytes(header() + bytes(range(8, 48)))
    start = part10.start_at(tmp_path / "file")
    with pytest.raises(TypeError):
        start.meta[part10.META_INSTANCE] = "1.2.3"
    assert part10.start_at(tmp_path / "file").meta[part10.META_INSTANCE] == "1.2.3.4"
