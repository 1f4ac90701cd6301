"""Storage commitment: asked for what was delivered, settled by reports that come at once, later, falsely or never (P3, P4)."""

import contextlib

import pytest
from delivery_kit import small_file
from hypothesis import given
from hypothesis import strategies as st
from lying_peer import FORGET, LyingPeer, reference
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role
from requesting import associate

from hostd.config.sections import Modality as Configured
from hostd.delivery import commissioner
from hostd.delivery.destinations import Answer
from hostd.delivery.destinations.modality import Modality
from hostd.delivery.lane import _is_original
from hostd.delivery.terms import Terms
from hostd.dicom.commitment import INSTANCE, PUSH_MODEL, SYNTAXES, Reference, Report, decode_report, encode_request
from hostd.errors import UnparsableError
from hostd.scp.acceptor import DicomListener
from hostd.transcoding.transform import Transcode, Transform

NAME = "modality:archive"
HOUR = 3600.0
COMMITTING = Terms(commit_timeout_s=HOUR)


@pytest.fixture
def peer():
    with LyingPeer() as made:
        yield made


def archive_at(peer):
    return Modality("archive", aet="ARCHIVE", host="127.0.0.1", port=peer.port, calling_aet="HOSTD", timeout_s=60.0)


def test_what_the_peer_has_committed_to_may_be_deleted_and_not_before(node, peer):
    instance = node.receive(small_file())
    number = node.ask(NAME, instance)
    delete = node.delete_after(instance, number, after="committed")
    peer.commit = lambda uids: None
    node.couriers(archive_at(peer), terms=COMMITTING)
    node.until_state(number, "delivered")
    node.until(lambda: len(peer.asked) == 1)
    assert peer.asked[0][1] == (instance.sop_instance_uid,)
    assert (node.get(number).commitment, node.action(delete).state) == ("asked", "open")
    assert node.holds(instance)
    peer.commit = lambda uids: (uids, ())
    node.advance(HOUR + 1)
    node.until(lambda: node.get(number).commitment == "committed")
    assert len(peer.asked) == 2
    assert peer.asked[0][0] != peer.asked[1][0]
    assert node.action(delete).state == "done"
    assert not node.holds(instance)


def test_a_peer_that_forgot_does_not_commit_and_the_delete_is_held(node, peer):
    instance, other = node.receive(small_file()), node.receive(small_file())
    peer.manner = lambda uid: FORGET if uid == instance.sop_instance_uid else ("answer", 0)
    peer.commit = lambda uids: ([uid for uid in uids if peer.kept[uid]], [uid for uid in uids if not peer.kept[uid]])
    forgotten, kept = node.ask(NAME, instance), node.ask(NAME, other)
    delete, fine = (
        node.delete_after(instance, forgotten, after="committed"),
        node.delete_after(other, kept, after="committed"),
    )
    node.couriers(archive_at(peer), terms=COMMITTING)
    node.until(lambda: (node.get(forgotten).commitment, node.get(kept).commitment) == ("refused", "committed"))
    assert node.action(delete).state == "held"
    assert "storage commitment was refused" in node.action(delete).result["reason"]
    assert node.holds(instance)
    assert "0x0112" in node.get(forgotten).last_error
    assert node.action(fine).state == "done"


def test_each_reference_is_settled_by_itself_and_what_is_not_spoken_of_waits(node, peer):
    numbers = [node.ask(NAME) for _ in range(3)]
    uids = [node.get(number).sop_instance_uid for number in numbers]
    peer.commit = lambda asked: ([uid for uid in asked if uid == uids[0]] + ["1.2.3"], ())
    node.couriers(archive_at(peer), terms=COMMITTING)
    node.until(lambda: node.get(numbers[0]).commitment == "committed")
    node.until(lambda: sum(len(asked) for _, asked in peer.asked) == 3)
    assert [node.get(number).commitment for number in numbers[1:]] == ["asked", "asked"]
    peer.commit = lambda asked: (asked, ())
    node.advance(HOUR + 1)
    node.until(lambda: [node.get(number).commitment for number in numbers] == ["committed"] * 3)


def test_what_a_report_says_of_itself_both_ways_is_not_committed(node, peer):
    peer.commit = lambda uids: (uids, uids)
    number = node.ask(NAME)
    node.couriers(archive_at(peer), terms=COMMITTING)
    node.until(lambda: node.get(number).commitment == "refused")


def test_a_request_that_is_not_taken_is_made_again(node, peer):
    peer.takes_request = False
    number = node.ask(NAME)
    node.couriers(archive_at(peer), terms=COMMITTING)
    node.until(lambda: len(peer.asked) == 1 and node.get(number).commitment == "wanted")
    peer.takes_request = True
    node.advance(11)
    node.until(lambda: node.get(number).commitment == "committed")


def test_where_nobody_commits_nothing_is_deleted(node, peer):
    instance = node.receive(small_file())
    number = node.ask(NAME, instance)
    delete = node.delete_after(instance, number, after="committed")
    node.couriers(archive_at(peer))
    node.until_state(number, "delivered")
    assert node.get(number).commitment is None
    assert node.action(delete).state == "held"
    assert "commitment = true" in node.action(delete).result["reason"]
    assert node.holds(instance)
    assert peer.asked == []


@pytest.mark.parametrize(
    ("transform", "sent_as", "proves"),
    [
        (Transform(), "1.2", True),
        (Transform(), None, True),
        (Transform.into("1.2.840.10008.1.2.4.90"), "1.2", True),
        (Transform((Transcode("1.2.840.10008.1.2.4.91", quality=80),)), "1.9", False),
        (Transform((Transcode("1.2.840.10008.1.2.4.91", quality=80),)), "1.2", False),
        (Transform(), "1.9", False),
    ],
)
def test_only_the_instance_itself_without_loss_proves_that_it_is_elsewhere(node, transform, sent_as, proves):
    number = node.ask(NAME, node.receive(small_file(SOPInstanceUID="1.2")), transform=transform.canonical())
    answer = Answer("delivered", "stored", 0, "1.2.840.10008.1.2.1", sent_sop_instance_uid=sent_as)
    assert _is_original(node.get(number), answer) is proves
    assert _is_original(node.get(number), Answer("instance", "no")) is None


# -- the report on an association that the peer opens -----------------------------------------------------------------


class Log:
    def opened(self, facts):
        return 1

    def closed(self, association_id, facts):
        pass


@pytest.fixture
def listener(node):
    made = DicomListener(
        host="127.0.0.1", port=0, aets=["HOSTD"], check_called_aet=False, store=None, associations=Log(),
        on_report=lambda report: commissioner.settle(node.archive, report),
    )  # fmt: skip
    made.start()
    yield made
    made.stop(5)


def report_later(listener, transaction, committed, failed=()):
    """Have a peer open an association of its own and report on it, as SCP of the commitment; return the status."""
    data_set = Dataset()
    data_set.TransactionUID = transaction
    data_set.ReferencedSOPSequence = [reference(uid) for uid in committed]
    data_set.FailedSOPSequence = [reference(uid, reason=0x0112) for uid in failed]
    entity = AE(ae_title="ARCHIVE")
    entity.add_requested_context(PUSH_MODEL)
    association = associate(
        entity,
        "127.0.0.1",
        listener.port,
        ae_title="HOSTD",
        ext_neg=[build_role(PUSH_MODEL, scu_role=False, scp_role=True)],
    )
    assert association.is_established
    status, _ = association.send_n_event_report(data_set, 2 if failed else 1, PUSH_MODEL, INSTANCE)
    association.release()
    return status.Status


def test_a_report_may_come_later_on_an_association_of_the_peers(node, peer, listener):
    peer.commit = lambda uids: None
    number = node.ask(NAME)
    node.couriers(archive_at(peer), terms=COMMITTING)
    node.until(lambda: len(peer.asked) == 1)
    transaction, uids = peer.asked[0]
    assert report_later(listener, "1.2.3.4", uids) == 0x0115  # a transaction that nobody asked for
    assert node.get(number).commitment == "asked"
    assert report_later(listener, transaction, uids) == 0
    assert node.get(number).commitment == "committed"
    assert report_later(listener, transaction, [], uids) == 0  # takes nothing back
    assert node.get(number).commitment == "committed"


def test_a_report_that_comes_too_late_settles_what_was_asked_anew_and_nothing_that_was_delivered_since(
    node, peer, listener
):
    peer.commit = lambda uids: None
    instance = node.receive(small_file())
    number = node.ask(NAME, instance)
    node.couriers(archive_at(peer), terms=COMMITTING)
    node.until(lambda: len(peer.asked) == 1)
    node.advance(HOUR + 1)
    node.until(lambda: len(peer.asked) == 2)
    again = node.ask(NAME, instance)
    node.until(lambda: node.get(again).commitment == "asked")
    assert report_later(listener, *peer.asked[0]) == 0
    assert (node.get(number).commitment, node.get(again).commitment) == ("committed", "asked")


# -- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_request_names_each_instance(syntax):
    encoded = encode_request("1.2.3", [Reference("1.4", "1.5"), Reference("1.4", "1.6")], syntax)
    assert decode_report(encoded, syntax) == Report("1.2.3", frozenset({"1.5", "1.6"}), {})


@given(st.binary(max_size=200), st.sampled_from(SYNTAXES))
def test_garbage_is_no_report(data, syntax):
    with contextlib.suppress(UnparsableError):
        decode_report(data, syntax)


def test_terms_follow_the_configuration():
    common = {"aet": "A", "host": "h", "port": 104}
    assert Terms.of(Configured(**common), 1, 0).commit_timeout_s is None
    assert Terms.of(Configured(**common, commitment=True, commit_timeout_s=60), 1, 0).commit_timeout_s == 60
