"""What one call of a facade can cost ends at the limits of its script, and a large header costs nothing unless it is read."""

import io
import tracemalloc

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian
from scripts_kit import arrive, handler

from hostd.archive import tables as t
from hostd.archive.records import Event, Origin
from hostd.config.sections import Script
from hostd.dicom.header import read_header
from hostd.dicom.part10 import data_set_offset
from hostd.scripting import questions
from hostd.scripting.loading import Names, load_frame
from hostd.scripting.plan import as_frames_event
from hostd.scripting.processes import WorkerLost
from hostd.scripting.runtime import ScriptWorker

CPU = {
    "a pattern that backtracks": "import re\nre.match('(a+)+$', 'a' * 60 + 'b')",
    "a sum without end": "import itertools\nsum(itertools.count())",
    "a large factorial": "import math\nmath.factorial(10 ** 8)",
    "a large power": "print(9 ** 9 ** 9 > 1)",
    "a reduction without end": "import functools, itertools\nfunctools.reduce(lambda a, b: a, itertools.count())",
    "a search without end": "import operator, itertools\noperator.contains(itertools.count(), -1)",
    "a deque without end": "import collections, itertools\ncollections.deque(itertools.cycle([1]), 1)",
}

MEMORY = {
    "a count of everything": "import statistics, itertools\nstatistics.mode(itertools.count(1))",
    "a product of large ranges": "import itertools\nnext(itertools.product(range(10 ** 9), repeat=9))",
    "permutations of a large range": "import itertools\nnext(itertools.permutations(range(10 ** 9)))",
    "a cache of large values": "import functools\n@functools.cache\ndef f(n):\n    return bytes(10 ** 7)\nfor n in range(1000):\n    f(n)",
    "many random bytes": "import random\nrandom.randbytes(10 ** 10)",
    "many bits": "import random\nrandom.getrandbits(10 ** 11)",
    "a wide text": "import textwrap\ntextwrap.indent('x\\n' * 10 ** 7, 'y' * 10 ** 4)",
    "a heap of everything": "import heapq\nheapq.nlargest(10 ** 9, range(10 ** 9))",
    "copies of copies": "import copy\na = [bytes(10 ** 6)]\nwhile True:\n    a = a + copy.deepcopy(a)",
}


def worker_of(body, memory_mb=96):
    return ScriptWorker.start(
        load_frame("a.py", handler(*body.splitlines()), Script(memory_mb=memory_mb), Names(), str)
    )


@pytest.fixture
def event(archive):
    arrive(archive, "1.2.3")
    with archive.read() as connection:
        row = connection.execute(sa.select(t.event)).first()
    return as_frames_event(
        Event(row.number, row.kind, row.subject, row.blob, row.content, row.header, Origin("dicom"), row.at)
    )


@pytest.mark.parametrize("body", CPU.values(), ids=CPU)
def test_a_call_that_does_not_end_is_killed_by_the_time_limit(event, body):
    worker = worker_of(body)
    with pytest.raises(WorkerLost, match=r"was killed after 0\.3 s|out of memory"):
        worker.run(event, time_limit_s=0.3, answer=None)


@pytest.mark.parametrize("body", MEMORY.values(), ids=MEMORY)
def test_a_call_that_wants_all_memory_fails_its_run_and_nothing_else(event, body):
    worker = worker_of(body)
    try:
        result = worker.run(event, time_limit_s=60, answer=None)
    except WorkerLost as lost:
        assert "out of memory" in str(lost)  # noqa: PT017 - either end is a good one
    else:
        assert result.failure.type in {"MemoryError", "OverflowError"}
    finally:
        worker.stop()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file whose functional groups have 30 MB."""
    item = Dataset()
    item.ImageComments = "c" * 10_000
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.3"
    dataset.PatientID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.Modality = (
        "P1",
        "1.2",
        "1.2.1",
        "CT",
    )
    dataset.PerFrameFunctionalGroupsSequence = Sequence([item] * 3000)
    dataset.InstanceNumber = 1
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPInstanceUID, dataset.file_meta.MediaStorageSOPClassUID = (
        "1.2.3",
        dataset.SOPClassUID,
    )
    file = tmp_path_factory.mktemp("large") / "large.dcm"
    saved = io.BytesIO()
    dataset.save_as(saved, enforce_file_format=True)
    file.write_bytes(saved.getvalue())
    assert file.stat().st_size > 30_000_000
    return file


def test_a_header_of_30_mb_costs_no_memory_unless_it_is_read(large):
    with large.open("rb") as opened:
        start = data_set_offset(opened)
        tracemalloc.start()
        header = read_header(
            opened, offset=start.offset, transfer_syntax=start.transfer_syntax_uid, size=large.stat().st_size
        )
        encoded = header.encode()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 4_000_000
    assert len(encoded) < 10_000
    event = as_frames_event(
        Event(1, "stored_instance", header.identity.instance, str(large), "", encoded, Origin("dicom"), 1.0)
    )
    body = (
        "print(instance.tags.Modality, 'PerFrameFunctionalGroupsSequence' in instance.tags)\n"
        "try:\n    instance.tags.PerFrameFunctionalGroupsSequence\nexcept ValueTooLarge:\n    print('too large')"
    )
    worker = worker_of(body, memory_mb=64)
    asked = []

    def answer(question):
        asked.append(question)
        tracemalloc.start()
        reply = questions.answer(question, large)
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
        tracemalloc.stop()
        return reply

    result = worker.run(event, time_limit_s=60, answer=answer)
    worker.stop()
    assert result.failure is None
    assert [text for _, text in result.log] == ["CT True", "too large"]
    assert len(asked) == 1
