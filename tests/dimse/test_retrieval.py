"""C-FIND, C-MOVE and C-GET as the asking side, against pynetdicom's archive: answers, counts, cancelling, waiting."""

import threading
import time

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pynetdicom import AE, evt

from hostd.dicom import data_sets
from hostd.dimse import commands, retrieval, scu
from hostd.dimse.errors import NoContextError, ProtocolError, TimedOutError
from hostd.dimse.retrieval import Counts

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
GET = "1.2.840.10008.5.1.4.1.2.2.3"
CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"


def identifier(syntax):
    keys = Dataset()
    keys.QueryRetrieveLevel = "STUDY"
    keys.StudyInstanceUID = ""
    return data_sets.encode(keys, syntax)


def match(number):
    found = Dataset()
    found.QueryRetrieveLevel = "STUDY"
    found.StudyInstanceUID = f"1.2.{number}"
    return found


def instance(number):
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CT, f"1.2.3.{number}"
    made.StudyInstanceUID, made.SeriesInstanceUID, made.PatientID = "1.2", "1.2.3", "P"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = EXPLICIT
    return made


@pytest.fixture(scope="module")
def listening():
    """An archive of pynetdicom that does as the test says: event → handler."""
    does = {}
    ae = AE(ae_title="ARCHIVE")
    for sop_class in (FIND, MOVE, GET):
        ae.add_supported_context(sop_class, EXPLICIT)
    ae.add_supported_context(CT, EXPLICIT, scu_role=True, scp_role=True)
    ae.add_requested_context(CT, EXPLICIT)

    def handler(event):
        yield from does[event.event](event)

    def requested(event):
        if evt.EVT_REQUESTED in does:
            does[evt.EVT_REQUESTED](event)

    handlers = [(event, handler) for event in (evt.EVT_C_FIND, evt.EVT_C_MOVE, evt.EVT_C_GET)]
    handlers.append((evt.EVT_REQUESTED, requested))
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    yield server.server_address[1], does
    server.shutdown()


@pytest.fixture
def archive(listening):
    """Return what has the archive do that, and associates with it."""
    port, does = listening
    does.clear()
    associations = []

    def start(event, handler, *, served=(CT,)):
        does[event] = handler
        association = scu.connect(
            "127.0.0.1", port, calling_aet="HOSTD", called_aet="ARCHIVE",
            contexts=[(FIND, [EXPLICIT]), (MOVE, [EXPLICIT]), (GET, [EXPLICIT]), (CT, [EXPLICIT])],
            served=served, timeout_s=60,
        )  # fmt: skip
        associations.append(association)
        return association

    yield start
    for association in associations:
        association.abort()


def uids(found):
    return [str(data_sets.decode(one, found.syntax).StudyInstanceUID) for one in found.matches]


def test_all_that_matches_is_given_and_the_association_goes_on(archive):
    association = archive(evt.EVT_C_FIND, lambda _event: ((0xFF00, match(n)) for n in range(3)))
    for _ in range(2):
        found = retrieval.find(association, FIND, identifier)
        assert (found.status, found.is_whole, uids(found)) == (0, True, ["1.2.0", "1.2.1", "1.2.2"])
    assert association.release()


def test_a_failure_is_told_with_what_the_peer_says_of_it(archive):
    def fail(_event):
        status = Dataset()
        status.Status, status.ErrorComment = 0xC001, "the index is locked"
        yield status, None

    found = retrieval.find(archive(evt.EVT_C_FIND, fail), FIND, identifier)
    assert retrieval.said(found.status, found.comment) == "0xC001 (unable to process): the index is locked"


def test_more_than_is_wanted_is_cancelled_and_said_to_be_cut(archive):
    stopped = threading.Event()

    def endless(event):
        for number in range(100_000):
            if event.is_cancelled:
                stopped.set()
                yield 0xFE00, None
                return
            yield 0xFF00, match(number)

    association = archive(evt.EVT_C_FIND, endless)
    found = retrieval.find(association, FIND, identifier, most=5)
    assert (found.status, found.is_whole, len(found.matches)) == (0xFE00, False, 5)
    assert stopped.is_set()
    assert association.release()


def test_exactly_as_many_as_are_wanted_are_whole(archive):
    association = archive(evt.EVT_C_FIND, lambda _event: ((0xFF00, match(n)) for n in range(5)))
    assert retrieval.find(association, FIND, identifier, most=5).is_whole


def test_a_peer_that_is_silent_is_not_waited_for_longer_than_was_said(archive):
    let_go = threading.Event()

    def silent(_event):
        let_go.wait(60)
        yield 0xFF00, match(1)

    association = archive(evt.EVT_C_FIND, silent)
    begun = time.monotonic()
    try:
        with pytest.raises(TimedOutError):
            retrieval.find(association, FIND, identifier, within_s=0.3)
    finally:
        let_go.set()
    assert time.monotonic() - begun < 30
    assert not association.is_open


def test_what_is_not_accepted_is_said_and_the_association_stays(archive):
    association = archive(evt.EVT_C_FIND, lambda _event: ())
    with pytest.raises(NoContextError):
        retrieval.find(association, "1.2.840.10008.5.1.4.1.2.1.1", identifier)
    assert association.is_open


def test_a_move_tells_how_far_it_is_and_how_it_ended(archive):
    """The destination cannot be reached: pynetdicom then says that all failed."""
    destinations = []

    def move(event):
        destinations.append(event.move_destination)
        yield "127.0.0.1", 1
        yield 2
        yield 0xFF00, instance(1)
        yield 0xFF00, instance(2)

    association = archive(evt.EVT_C_MOVE, move)
    ended = retrieval.move(association, MOVE, identifier, "WORKSTATION")
    assert destinations == ["WORKSTATION"]
    assert ended.status == 0xA801
    assert association.is_open


def test_a_move_to_who_is_unknown_is_a_failure_with_its_name(archive):
    def unknown(_event):
        yield None, None

    ended = retrieval.move(archive(evt.EVT_C_MOVE, unknown), MOVE, identifier, "NOBODY")
    assert retrieval.said(ended.status, "") == "0xA801 (move destination unknown)"


def test_a_get_brings_instances_on_the_same_association_and_answers_each(archive):
    answers = []

    def get(_event):
        yield 3
        for number in range(3):
            yield 0xFF00, instance(number)

    association = archive(evt.EVT_C_GET, get)
    taken, progress = [], []

    def store(on, message):
        data = b"".join(bytes(piece) for piece in on.data_set())
        taken.append((message.command.text(commands.AFFECTED_SOP_INSTANCE_UID), len(data) > 0))
        answers.append(len(taken))
        return (0xA700, "no room") if len(taken) == 3 else (0x0000, "")

    ended = retrieval.get(association, GET, identifier, store, on_progress=progress.append)
    assert taken == [("1.2.3.0", True), ("1.2.3.1", True), ("1.2.3.2", True)]
    assert (ended.status, ended.counts) == (0xB000, Counts(0, 2, 1, 0))
    assert progress[0] == Counts(2, 1, 0, 0)
    assert association.release()


def test_a_get_can_be_cancelled(archive):
    def get(event):
        yield 1000
        for number in range(1000):
            if event.is_cancelled:
                yield 0xFE00, None
                return
            yield 0xFF00, instance(number)

    association = archive(evt.EVT_C_GET, get)
    count = 0

    def store(on, _message):
        nonlocal count
        on.drain()
        count += 1
        return 0, ""

    ended = retrieval.get(association, GET, identifier, store, is_cancelled=lambda: count >= 3)
    assert ended.status == 0xFE00
    assert ended.counts.completed < 1000
    assert association.release()


def test_an_error_of_ours_while_something_comes_ends_the_association(archive):
    def get(_event):
        yield 1
        yield 0xFF00, instance(1)

    association = archive(evt.EVT_C_GET, get)

    def fail(_on, _message):
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        retrieval.get(association, GET, identifier, fail)
    assert not association.is_open


def test_a_peer_that_sends_instances_where_it_is_asked_what_it_has_is_refused(archive):
    """A C-STORE in the middle of a C-FIND has no business there."""

    def store(event):
        event.assoc.dimse_timeout = 60
        event.assoc.send_c_store(instance(1))
        yield 0x0000, None

    association = archive(evt.EVT_C_FIND, store)
    with pytest.raises(ProtocolError, match="asked for something"):
        retrieval.find(association, FIND, identifier)
    assert not association.is_open


def test_roles_are_proposed_only_for_what_is_served(archive):
    asked = []

    def requested(event):
        asked.append(event.assoc.requestor.role_selection)

    for served in ([], [CT]):
        archive(evt.EVT_REQUESTED, requested, served=served).release()
    assert asked[0] == {}
    assert (asked[1][CT].scu_role, asked[1][CT].scp_role) == (False, True)
