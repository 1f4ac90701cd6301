"""Functional groups of 30 MB cost no memory unless a script reads them: not on the way in, not in the event, not in the worker (PS3.3 C.7.6.16)."""

import struct
import tracemalloc

import pytest
from processes import peak_bytes
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import ExplicitVRLittleEndian
from scripts_kit import handler

from hostd.archive import events
from hostd.archive.records import Origin
from hostd.config.sections import Script
from hostd.intake.intake import Intake
from hostd.scripting.asking import Means
from hostd.scripting.execution import Rules, execute
from hostd.scripting.loading import Names, load_frame
from hostd.scripting.runtime import ScriptWorker

SIZE = 30 << 20
TEXT_SIZE = 900_000
LIMIT = 3 << 20
"""Bytes that the host may have taken at most, a tenth of the header."""


def element(tag, vr, value):
    """Return an element in explicit VR with a long length field."""
    return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, len(value)) + value


def item(content):
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def pieces():
    """Yield a file with Per-Frame Functional Groups of 30 MB, and a text that a script may just read, piece by piece."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.3.4.5"
    ds.PatientID, ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = "P1", "1.2.3", "1.2.3.4", "CT"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    out = DicomBytesIO()
    ds.save_as(out, enforce_file_format=True)
    yield out.getvalue()
    yield element(0x0040A160, b"UT", b"t" * TEXT_SIZE)
    position = element(0x00209113, b"SQ", item(element(0x00209158, b"UT", b"c" * 1000)))
    frame = item(position)
    count = SIZE // len(frame)
    yield struct.pack("<HH2sHI", 0x5200, 0x9230, b"SQ", 0, count * len(frame))
    for _ in range(count):
        yield frame


@pytest.fixture
def traced():
    tracemalloc.start()
    yield
    tracemalloc.stop()


def peak(call):
    """Return what a call returns, and how many bytes were allocated at most while it ran."""
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    return call(), tracemalloc.get_traced_memory()[1] - before


def receive(archive):
    reception = Intake(archive, on_conflict="newest", name_sender=lambda _: None).receive_file(origin=Origin("http"))
    for piece in pieces():
        reception.write(piece)
    assert reception.finish().outcome == "stored"


def run(archive, text):
    """Run a script on the event in a worker of its own; return the plan, the host's peak and by how much the worker grew."""
    with archive.read() as connection:
        (event,) = events.after(connection, 0, ("stored_instance",), 10)
    assert len(event.header) < 64 << 10
    worker = ScriptWorker.start(load_frame("a.py", text, Script(), Names(), str))
    try:
        before = peak_bytes(worker.pid)
        (plan, _), most = peak(
            lambda: execute(archive, worker, event, Rules(20.0, 1, Means(str)), script="a.py", version="1")
        )
        return plan, most, peak_bytes(worker.pid) - before
    finally:
        worker.stop()


def test_what_is_not_read_costs_nothing(archive, traced):
    _, taking_in = peak(lambda: receive(archive))
    assert taking_in < LIMIT
    plan, in_host, in_worker = run(archive, handler("print(instance.tags.PatientID, instance.tags.Modality)"))
    assert plan.log == (("info", "P1 CT"),)
    assert in_host < LIMIT
    assert in_worker < 1 << 20


def test_what_is_read_does_and_what_is_too_large_is_not_sent(archive, traced):
    receive(archive)
    plan, _, in_worker = run(archive, handler("print(len(instance.tags.TextValue))"))
    assert plan.log == (("info", str(TEXT_SIZE)),)
    assert in_worker > TEXT_SIZE // 2  # so the measure can tell
    plan, _, in_worker = run(archive, handler("instance.tags.PerFrameFunctionalGroupsSequence"))
    assert "ValueTooLarge" in plan.error
    assert in_worker < 1 << 20
