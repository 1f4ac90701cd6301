"""What a destination has already is not sent, where its owner says so; and is never taken for a delivery (P4)."""

import itertools
import shutil
from contextlib import contextmanager

import pytest
from delivery_kit import small_file
from lying_peer import BREAK, NO_ANSWER, LyingPeer, say
from peers_kit import DICOMWEB, listening, needs_dicomweb, needs_orthanc, orthanc, shipped
from ports import free_port

from hostd.archive import searching
from hostd.config.dicomweb import DicomWeb
from hostd.config.settings import Settings
from hostd.delivery.configured import destinations_of, terms_of
from hostd.delivery.destinations.modality import Modality
from hostd.delivery.faults import IN_A_ROW
from hostd.delivery.terms import Terms
from hostd.dicom import query
from hostd.transcoding.pool import CodecPool
from hostd.transcoding.transform import Transcode, Transform

NAME = "modality:archive"
ASKING = Terms(skips_present=True, commit_timeout_s=3600.0)
LOSSY = Transform((Transcode("1.2.840.10008.1.2.4.91", quality=60),))


@pytest.fixture
def peer():
    with LyingPeer() as made:
        yield made


def archive_at(peer, *, looks=True):
    return Modality(
        "archive", aet="ARCHIVE", host="127.0.0.1", port=peer.port, calling_aet="HOSTD", timeout_s=10.0, looks=looks
    )


def test_what_the_peer_has_is_not_sent_is_no_delivery_and_releases_no_delete(node, peer):
    instance = node.receive(small_file())
    peer.finds = lambda uid: [uid]
    number = node.ask(NAME, instance)
    delete = node.delete_after(instance, number)
    node.couriers(archive_at(peer), terms=ASKING)
    delivery = node.until_state(number, "present")
    (attempt,) = node.attempts(number)
    assert (attempt.outcome, attempt.status, attempt.sent_syntax, attempt.sent_sop_instance_uid) == (
        "present",
        None,
        None,
        None,
    )
    assert "nothing was sent; content was not compared" in attempt.answer
    assert (delivery.last_error, delivery.commitment, delivery.attempts) == (None, None, 1)
    assert (peer.queried, sum(peer.kept.values()), peer.associations) == ([instance.sop_instance_uid], 0, 1)
    assert (node.action(delete).state, node.action(delete).result["reason"]) == (
        "held",
        f"delivery {number} is present",
    )
    assert node.holds(instance)
    with node.archive.read() as connection:
        assert not searching.content_had(connection, instance.id, instance.received_sha256, NAME)
        kinds = connection.exec_driver_sql("SELECT kind FROM event ORDER BY number").scalars().all()
    assert kinds[-1] == "delivery_done"


def test_a_duplicate_that_the_peer_refuses_is_no_delivery_and_releases_no_delete(node, peer):
    instance = node.receive(small_file())
    peer.manner = lambda _uid: say(0x0111)
    number = node.ask(NAME, instance)
    delete = node.delete_after(instance, number)
    node.couriers(archive_at(peer), terms=Terms(commit_timeout_s=3600.0))
    delivery = node.until_state(number, "present")
    assert (delivery.last_error, delivery.commitment) == (None, None)
    assert (node.action(delete).state, node.action(delete).result["reason"]) == (
        "held",
        f"delivery {number} is present",
    )
    with node.archive.read() as connection:
        assert not searching.content_had(connection, instance.id, instance.received_sha256, NAME)


def test_a_duplicate_after_a_lost_answer_proves_nothing_either(node, peer):
    instance = node.receive(small_file())
    peer.manner = lambda _uid: NO_ANSWER
    number = node.ask(NAME, instance)
    delete = node.delete_after(instance, number)
    node.couriers(archive_at(peer))
    node.until(lambda: node.outcomes(number) == ["lost"])
    peer.manner = lambda _uid: say(0x0111)
    node.advance(2000)
    node.until_state(number, "present")
    assert node.action(delete).state == "held"
    assert node.holds(instance)


def test_many_duplicates_one_after_another_hold_no_queue(node, peer):
    peer.manner = lambda _uid: say(0x0111)
    numbers = [node.ask(NAME) for _ in range(IN_A_ROW + 5)]
    node.couriers(archive_at(peer))
    for number in numbers:
        node.until_state(number, "present")


@pytest.mark.parametrize(
    "finds",
    [
        None,  # it takes no queries
        lambda uid: [],
        lambda uid: ["1.2.3", "1.2.4"],  # it ignores the key
        lambda uid: 0xA700,
        lambda uid: 0xC001,
        lambda uid: 0xFE00,
        lambda uid: BREAK,
        lambda uid: itertools.repeat("1.2.3"),  # it does not come to an end
    ],
)
def test_what_the_peer_does_not_say_it_has_is_sent(node, peer, finds):
    peer.finds = finds
    numbers = [node.ask(NAME) for _ in range(2)]
    node.couriers(archive_at(peer), terms=ASKING)
    for number in numbers:
        node.until_state(number, "delivered")
        assert node.outcomes(number) == ["delivered"]
    assert set(peer.kept.values()) == {1}
    assert len(peer.queried) <= 4  # in both information models, where the first answers with an error


def test_a_peer_that_only_knows_patients_is_asked_in_its_model(node, peer):
    peer.finds, peer.roots = lambda uid: [uid], (query.PATIENT_ROOT,)
    number = node.ask(NAME, node.receive(small_file(SpecificCharacterSet="ISO_IR 192", PatientID="Ä1")))
    node.couriers(archive_at(peer), terms=ASKING)
    node.until_state(number, "present")


def test_nothing_is_asked_where_it_is_sent_anyway(node, peer):
    peer.finds = lambda uid: [uid]
    number = node.ask(NAME)
    node.couriers(archive_at(peer, looks=False))
    node.until_state(number, "delivered")
    assert peer.queried == []


def test_it_is_asked_for_what_would_be_sent_and_not_for_what_it_is_made_of(node, peer):
    node.pool = CodecPool(workers=1)
    try:
        instance = node.receive(shipped("CT_small.dcm"))
        peer.finds = lambda uid: [instance.sop_instance_uid]
        number = node.ask(NAME, instance, transform=LOSSY.canonical())
        node.couriers(archive_at(peer), terms=ASKING)
        node.until_state(number, "delivered")
    finally:
        node.pool.close()
    assert peer.queried == [node.attempts(number)[0].sent_sop_instance_uid]
    assert peer.queried != [instance.sop_instance_uid]


def test_after_a_lost_answer_a_double_is_avoided_and_still_nothing_is_proven(node, peer):
    instance = node.receive(small_file())
    peer.manner = lambda uid: ("no answer",) if uid else say(0)
    peer.finds = lambda uid: [uid] if peer.kept[uid] else []
    number = node.ask(NAME, instance)
    delete = node.delete_after(instance, number)
    node.couriers(archive_at(peer), terms=ASKING)
    node.until(lambda: node.outcomes(number) == ["lost"])
    node.advance(11)
    node.until_state(number, "present")
    assert (node.get(number).possible_doubles, peer.kept[instance.sop_instance_uid]) == (1, 1)
    assert node.action(delete).state == "held"


def test_a_destination_says_in_the_configuration_whether_it_is_asked():
    common = {"aet": "A", "host": "h", "port": 104}
    settings = Settings(
        modalities={"a": common | {"if_present": "skip"}, "b": common},
        peers={"c": {"url": "http://c/", "if_present": "skip"}},
    )
    assert {name: terms.skips_present for name, terms in terms_of(settings).items()} == {
        "modality:a": True, "modality:b": False, "peer:c": True,
    }  # fmt: skip
    made = destinations_of(settings)
    assert (len(made["modality:a"].queries), made["modality:b"].queries) == (2, ())
    assert DicomWeb(url="http://d/").if_present == "send"


# -- the real things --------------------------------------------------------------------------------------------------


@pytest.mark.peers
@needs_orthanc
@needs_dicomweb
def test_orthanc_is_asked_by_each_of_its_faces(node, tmp_path):
    there, other = node.receive(shipped("CT_small.dcm")), node.receive(shipped("MR_small.dcm"))
    with orthanc(tmp_path / "orthanc", [DICOMWEB]) as running:
        signed_in = {"username": running.username, "password": running.password, "if_present": "skip"}
        modality = {"aet": "ORTHANC", "host": "127.0.0.1", "port": running.dicom_port, "if_present": "skip"}
        settings = Settings(
            modalities={"archive": modality},
            peers={"buffer": {"url": running.url, **signed_in}},
            dicomweb={"cloud": {"url": f"{running.url}dicom-web/", **signed_in}},
        )
        made, terms = destinations_of(settings), terms_of(settings)
        couriers = node.couriers(*made.values())
        couriers.use(made, terms)
        node.until_state(node.ask(NAME, there), "delivered")
        for name in made:
            node.until_state(node.ask(name, there), "present")
        for name, state in (("dicomweb:cloud", "delivered"), ("peer:buffer", "present"), (NAME, "present")):
            node.until_state(node.ask(name, other), state)


@contextmanager
def dcmqrscp(folder):
    port = free_port()
    (folder / "ARCHIVE").mkdir(parents=True)
    (folder / "dcmqrscp.cfg").write_text(
        f"NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        "HostTable BEGIN\nHostTable END\nVendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nARCHIVE {folder / 'ARCHIVE'} RW (200, 1024mb) ANY\nAETable END\n"
    )
    with listening(port, "dcmqrscp", "-c", folder / "dcmqrscp.cfg", port):
        yield port


@pytest.mark.peers
@pytest.mark.skipif(shutil.which("dcmqrscp") is None, reason="DCMTK's dcmqrscp is not on the PATH")
def test_dcmqrscp_is_asked_by_cfind(node, tmp_path):
    there, other = node.receive(shipped("CT_small.dcm")), node.receive(shipped("MR_small.dcm"))
    with dcmqrscp(tmp_path / "dcmqrscp") as port:
        destination = Modality("archive", aet="ARCHIVE", host="127.0.0.1", port=port, calling_aet="HOSTD", looks=True)
        node.couriers(destination, terms=ASKING)
        node.until_state(node.ask(NAME, there), "delivered")
        node.until_state(node.ask(NAME, there), "present")
        node.until_state(node.ask(NAME, other), "delivered")
