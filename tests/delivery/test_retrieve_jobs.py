"""Jobs that have other archives send: what fails says so in the number that clients look at, and a cancelled one is cancelled there."""

import threading
import time

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE, evt

from hostd.archive import jobs
from hostd.archive.archive import Archive
from hostd.clock import SystemClock
from hostd.config.sections import Modality as Section
from hostd.delivery.destinations.modality import configured
from hostd.delivery.providers import Provider
from hostd.delivery.retrieve_jobs import GET, MOVE, Retrieves, asked
from hostd.delivery.retrieving import Here, Retrievals
from hostd.dicom.query import Question
from hostd.jobs.running import Runner

MOVE_SCP, GET_SCP = "1.2.840.10008.5.1.4.1.2.2.2", "1.2.840.10008.5.1.4.1.2.2.3"
CT = "1.2.840.10008.5.1.4.1.1.2"
QUESTION = Question("study", {0x0020000D: "1.2"})


def instance(number):
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CT, f"1.2.3.{number}"
    made.StudyInstanceUID, made.SeriesInstanceUID, made.PatientID = "1.2", "1.2.3", "P"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return made


class Waits:
    def next_attempt(self, now, attempts, random):
        return now + 3600


@pytest.fixture
def desk(tmp_path):
    """A runner of such jobs, and an archive of pynetdicom that does as the test says."""
    does = {}
    ae = AE(ae_title="PACS")
    ae.add_supported_context(MOVE_SCP)
    ae.add_requested_context(CT)

    def moved(event):
        yield from does["move"](event)

    handlers = [(evt.EVT_C_MOVE, moved)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    section = Section(aet="PACS", host="127.0.0.1", port=server.server_address[1])
    provider = Provider(configured("pacs", section), by="move", query_timeout_s=60, retrieve_timeout_s=60)
    archive = Archive(tmp_path, "test", SystemClock())
    retrievals = Retrievals(archive, Here("HOSTD", lambda *_: (0, "")))
    kinds = {kind: Retrieves(kind, lambda: {"pacs": provider}, retrievals) for kind in (MOVE, GET)}
    runner = Runner(archive, kinds, Waits(), at_once=1)
    runner.start()

    def submit(kind=MOVE, name="pacs"):
        job = asked(name, [QUESTION, QUESTION], target="HOSTD")
        return archive.writer.do(lambda c: jobs.submit(c, kind, job, archive.clock.now()), topics=jobs.TOPICS)

    yield does, archive, runner, submit
    retrievals.stop()
    runner.stop(60)
    server.shutdown()
    archive.close()


def test_a_job_that_is_cancelled_is_cancelled_over_there(desk):
    does, archive, runner, submit = desk
    begun, cancelled = threading.Event(), threading.Event()

    def move(event):
        begun.set()
        yield listening.server_address
        yield 1
        for _ in range(600):
            if event.is_cancelled:
                cancelled.set()
                yield 0xFE00, None
                return
            threading.Event().wait(0.1)

    # pynetdicom connects to the destination first, which must be there
    sink = AE(ae_title="HOSTD")
    sink.add_supported_context(CT)
    listening = sink.start_server(("127.0.0.1", 0), block=False)
    does["move"] = move
    try:
        identifier = submit()
        assert begun.wait(60)
        archive.writer.do(lambda c: jobs.decide(c, identifier, "cancel", archive.clock.now()), topics=jobs.TOPICS)
        job = runner.await_end(identifier, seconds=60)
    finally:
        listening.shutdown()
    assert cancelled.is_set()
    assert (job.state, job.error_code) == ("failure", 37)


def test_a_job_shows_how_far_it_is_while_the_archive_sends(desk):
    does, archive, runner, submit = desk
    seen, sink = threading.Event(), AE(ae_title="HOSTD")
    sink.add_supported_context(CT)
    listening = sink.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _event: 0x0000)]
    )

    def move(_event):
        yield listening.server_address
        yield 2
        yield 0xFF00, instance(1)
        seen.wait(60)
        yield 0xFF00, instance(2)

    does["move"] = move
    identifier = submit()

    def progress():
        with archive.read() as connection:
            return jobs.get(connection, identifier).progress

    try:
        end = time.monotonic() + 60
        while progress() != 0.25:  # half of the first of two questions
            assert time.monotonic() < end, progress()
            time.sleep(0.02)
        seen.set()
        assert runner.await_end(identifier, seconds=60).state == "success"
    finally:
        seen.set()
        listening.shutdown()


def test_what_the_archive_refuses_is_a_failure_with_its_status(desk):
    does, _, runner, submit = desk

    def move(_event):
        yield None, None

    does["move"] = move
    job = runner.await_end(submit(), seconds=60)
    assert (job.state, job.error_code) == ("failure", 9)
    assert job.error_payload == {"Type": "Dimse", "Content": {"DimseErrorStatus": 0xA801}}
    assert "enter that AE title there" in job.error_details


@pytest.mark.parametrize(
    ("kind", "name", "code", "says"), [(GET, "pacs", 9, "does not offer that"), (MOVE, "gone", 17, "no modality 'gone'")]
)  # fmt: skip
def test_what_cannot_be_asked_of_it_is_a_failure(desk, kind, name, code, says):
    _, _, runner, submit = desk
    job = runner.await_end(submit(kind, name), seconds=60)
    assert (job.state, job.error_code) == ("failure", code)
    assert says in job.error_details


def test_nothing_more_is_asked_for_after_a_failure(desk):
    does, _, runner, submit = desk
    asked_for = []

    def move(event):
        asked_for.append(event.identifier.StudyInstanceUID)
        yield None, None

    does["move"] = move
    runner.await_end(submit(), seconds=60)
    assert asked_for == ["1.2"]
