"""Damaged files through the one door: refused with a `ReceptionError`, or stored; never a file without its row."""

from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from hostd.archive import instances
from hostd.archive.archive import Archive
from hostd.archive.records import Origin
from hostd.clock import SystemClock
from hostd.dicom.header import Header
from hostd.dicom.part10 import data_set_offset
from hostd.errors import ReceptionError
from hostd.intake.intake import Intake

NAMES = [
    "CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "JPEG2000.dcm", "image_dfl.dcm", "test-SR.dcm",
    "nested_priv_SQ.dcm", "rtplan.dcm", "SC_rgb_rle_2frame.dcm", "UN_sequence.dcm", "reportsi.dcm",
]  # fmt: skip
FILES = [Path(str(get_testdata_file(name, download=False))).read_bytes() for name in NAMES]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    made = Archive(tmp_path_factory.mktemp("mutations"), "test", SystemClock())
    yield made
    made.close()


@st.composite
def damaged(draw):
    """Return a real file with some bytes changed, taken out, put in, or cut off, mostly where the header is."""
    content = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(128, min(len(content), 3000) - 1))
        match draw(st.sampled_from(["change", "take out", "put in", "cut", "length"])):
            case "change":
                content[at] = draw(st.integers(0, 255))
            case "take out":
                del content[at : at + draw(st.integers(1, 40))]
            case "put in":
                content[at:at] = draw(st.binary(min_size=1, max_size=20))
            case "cut":
                del content[max(200, len(content) - draw(st.integers(1, len(content)))) :]
            case "length":
                content[at : at + 4] = draw(
                    st.sampled_from([b"\xff" * 4, b"\0\0\0\x80", b"\xfe\xff\xdd\xe0", b"SQ\0\0"])
                )
        if len(content) < 200:
            break
    return bytes(content)


def take(archive, content):
    """Take a file in; return the outcome, None when it was refused."""
    intake = Intake(archive, on_conflict="newest", name_sender=lambda origin: None)
    reception = intake.receive_file(origin=Origin("http"))
    try:
        for start in range(0, len(content), 1000):
            reception.write(content[start : start + 1000])
        return reception.finish().outcome
    except ReceptionError as error:
        assert str(error)  # noqa: PT017 - either outcome is right, but a refusal says why
        return None


def assert_files_are_rows(archive):
    with archive.read() as connection:
        rows = set(connection.exec_driver_sql("SELECT name FROM blob").scalars())
        stored = instances.page(connection)
        headers = connection.exec_driver_sql("SELECT header FROM event WHERE header IS NOT NULL").scalars().all()
    assert set(archive.blobs.names()) == rows
    assert {instance.blob.name for instance in stored} <= rows
    for header in headers[-3:]:
        Header.decode(header)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=damaged())
def test_a_damaged_file_is_refused_or_stored_and_never_anything_else(archive, content):
    take(archive, content)
    assert_files_are_rows(archive)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    content=damaged(),
    name=st.sampled_from(
        [
            "1.2.840.10008.1.2",
            "1.2.840.10008.1.2.1",
            "1.2.840.10008.1.2.2",
            "1.2.840.10008.1.2.1.99",
            "1.2.840.10008.1.2.4.90",
        ]
    ),
)
def test_a_damaged_data_set_is_refused_or_stored_and_never_anything_else(archive, content, name):
    intake = Intake(archive, on_conflict="newest", name_sender=lambda origin: None)
    reception = intake.receive(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2", sop_instance_uid="1.2.3", transfer_syntax=name,
        origin=Origin("dicom", calling_aet="X"),
    )  # fmt: skip
    try:
        reception.write(content[300:])
        reception.finish()
    except ReceptionError as error:
        assert str(error)  # noqa: PT017 - either outcome is right, but a refusal says why
    assert_files_are_rows(archive)


@pytest.mark.parametrize("content", FILES, ids=NAMES)
def test_every_real_file_is_taken_whole_and_refused_where_it_is_cut(archive, content, request):
    if take(archive, content) is None:  # UN_sequence and its like are no whole instances
        assert request.node.callspec.id in {"UN_sequence.dcm", "nested_priv_SQ.dcm"}
        return
    start = data_set_offset(BytesIO(content)).offset
    for kept in (start + 9, start + (len(content) - start) // 3, start + (len(content) - start) // 2):
        assert take(archive, content[:kept]) is None, f"cut after {kept} of {len(content)} bytes"
    assert_files_are_rows(archive)
