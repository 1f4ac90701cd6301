"""What lost information goes out under its own identity, and nothing goes out in its place."""

import pydicom
import pytest
from peers_kit import needs_orthanc, needs_storescp, orthanc, shipped, storescp

from hostd.delivery.destinations.modality import Modality
from hostd.delivery.destinations.peer import Peer
from hostd.delivery.http import Access
from hostd.errors import CannotTranscodeError
from hostd.transcoding.pool import CodecPool
from hostd.transcoding.transform import Transcode, Transform

EXPLICIT, J2K91 = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.91"
LOSSY = Transform((Transcode(J2K91, quality=60),))
CHAIN = LOSSY.then(Transcode(EXPLICIT))
NAME = "modality:archive"


@pytest.fixture(scope="module")
def codecs():
    pool = CodecPool(workers=1)
    yield pool
    pool.close()


@pytest.fixture
def coding(node, codecs):
    node.pool = codecs
    return node


class Unable:
    """Codecs that can do anything but this."""

    def transcode(self, source, target, result, options=None):
        raise CannotTranscodeError("the codec said no")


def modality(port):
    return Modality("archive", aet="ANY", host="127.0.0.1", port=port, calling_aet="HOSTD", timeout_s=60.0)


@pytest.mark.peers
@needs_storescp
@pytest.mark.parametrize(("option", "transform", "sent"), [
    ("+xa", LOSSY, J2K91), ("+xa", CHAIN, EXPLICIT), ("+xe", LOSSY, EXPLICIT),
])  # fmt: skip
def test_a_modality_gets_a_lossy_result_as_the_instance_that_it_is(coding, tmp_path, option, transform, sent):
    instance = coding.receive(shipped("CT_small.dcm"))
    number = coding.ask(NAME, instance, transform=transform.canonical())
    with storescp(tmp_path / "peer", option) as port:
        coding.couriers(modality(port))
        delivery = coding.until_state(number, "delivered", "failed")
        assert delivery.state == "delivered", delivery.last_error
        (arrived,) = map(pydicom.dcmread, (tmp_path / "peer").iterdir())
    (attempt,) = coding.attempts(number)
    assert arrived.SOPInstanceUID == arrived.file_meta.MediaStorageSOPInstanceUID == attempt.sent_sop_instance_uid
    assert attempt.sent_sop_instance_uid != instance.sop_instance_uid
    assert arrived.SourceImageSequence[0].ReferencedSOPInstanceUID == instance.sop_instance_uid
    assert arrived.file_meta.TransferSyntaxUID == attempt.sent_syntax == sent


@pytest.mark.peers
@needs_orthanc
def test_orthanc_as_a_peer_holds_one_instance_however_often_it_is_sent(coding, tmp_path):
    instance = coding.receive(shipped("CT_small.dcm"))
    with orthanc(tmp_path / "orthanc") as running:
        coding.couriers(Peer("buffer", Access(running.url, running.username, running.password)))
        for _ in range(2):
            number = coding.ask("peer:buffer", instance, transform=LOSSY.canonical())
            coding.until_state(number, "delivered")
            coding.archive.collect(trash_seconds=0.0)  # the second time it is made again
        (stored,) = running.get("instances").json()
        tags = running.get(f"instances/{stored}/simplified-tags").json()
    (attempt,) = coding.attempts(number)
    assert (attempt.answer, tags["SOPInstanceUID"]) == ("already stored", attempt.sent_sop_instance_uid)
    assert tags["LossyImageCompression"] == "01"


@pytest.mark.parametrize("transform", [LOSSY, CHAIN, CHAIN.then(Transcode("1.2.840.10008.1.2.5", or_original=False))])
def test_what_cannot_lose_information_is_not_sent_at_all(node, fake, transform):
    node.pool = Unable()
    number = node.ask(fake.name, node.receive(shipped("CT_small.dcm")), transform=transform.canonical())
    node.couriers(fake)
    assert "the codec said no" in node.until_state(number, "failed").last_error
    assert fake.sent == []


@pytest.mark.peers
@needs_storescp
def test_not_a_byte_reaches_a_modality_when_a_loss_fails(node, tmp_path):
    node.pool = Unable()
    number = node.ask(NAME, node.receive(shipped("CT_small.dcm")), transform=CHAIN.canonical())
    other = node.ask(NAME)
    with storescp(tmp_path / "peer", "+xa") as port:
        node.couriers(modality(port))
        assert "the codec said no" in node.until_state(number, "failed").last_error
        node.until_state(other, "delivered")
        (arrived,) = map(pydicom.dcmread, (tmp_path / "peer").iterdir())
    assert arrived.SOPInstanceUID == node.get(other).sop_instance_uid
    assert [attempt.sent_sop_instance_uid for attempt in node.attempts(number)] == [None]


def test_a_delete_that_waits_for_a_failed_loss_is_held_and_the_instance_stays(node, fake):
    node.pool = Unable()
    instance = node.receive(shipped("CT_small.dcm"))
    number = node.ask(fake.name, instance, transform=CHAIN.canonical())
    action = node.delete_after(instance, number)
    node.couriers(fake)
    node.until_state(number, "failed")
    row = node.action(action)
    assert (row.state, row.result["reason"]) == ("held", f"delivery {number} is failed")
    assert node.holds(instance)
    assert fake.sent == []
