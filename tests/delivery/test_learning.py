"""What a peer accepts is learnt at each association; a refusal is believed for a while, and never for long."""

import pytest
from delivery_kit import CT, EXPLICIT, small_file
from lying_peer import LyingPeer
from peers_kit import shipped

from hostd.archive.acceptance import Acceptance
from hostd.delivery.destinations import Outgoing
from hostd.delivery.destinations.modality import Modality
from hostd.delivery.learning import BELIEVED_S, Learnt
from hostd.errors import CannotTranscodeError, InstanceFault, NoCommonSyntaxError
from hostd.transcoding.products import Products
from hostd.transcoding.stored import Stored
from hostd.transcoding.transform import Transform

IMPLICIT, J2K, RLE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"
PAIR = (CT, (EXPLICIT, IMPLICIT))


class Clock:
    at = 0.0

    def __call__(self):
        return self.at


def test_a_refusal_is_believed_until_the_peer_says_otherwise_or_time_has_passed():
    clock = Clock()
    learnt = Learnt(clock)
    assert not learnt.refuses((CT, (J2K,)))
    learnt.note([(CT, (J2K,)), (CT, (RLE,)), PAIR], {(CT, EXPLICIT)})
    assert learnt.acceptance(CT) == Acceptance((EXPLICIT,), (J2K, RLE))
    assert learnt.refuses((CT, (J2K,)))
    assert not learnt.refuses(PAIR)
    assert not learnt.refuses(("1.2.3", (J2K,)))
    learnt.note([(CT, (J2K,))], {(CT, J2K)})
    assert not learnt.refuses((CT, (J2K,)))
    clock.at = BELIEVED_S + 1
    assert not learnt.refuses((CT, (RLE,)))


def test_only_news_is_told_and_what_is_old_once_more():
    clock = Clock()
    learnt = Learnt(clock)
    learnt.note([PAIR], {(CT, IMPLICIT)})
    assert learnt.news() == {CT: Acceptance((IMPLICIT,), ())}
    learnt.note([PAIR], {(CT, IMPLICIT)})
    assert learnt.news() == {}
    learnt.note([(CT, (RLE,))], ())
    assert learnt.news() == {CT: Acceptance((IMPLICIT,), (RLE,))}
    clock.at = BELIEVED_S + 1
    assert learnt.news() == {CT: Acceptance((IMPLICIT,), (RLE,))}


# -- what it is good for ----------------------------------------------------------------------------------------------


def outgoing(node, content):
    delivery = node.get(node.ask("modality:archive", node.receive(content)))
    products = Products(node.archive, node.pool)
    return Outgoing(delivery, products.source(Stored.of(delivery)).transfer_syntax, Transform(), products)


class Unable:
    """Codecs that can do nothing."""

    def transcode(self, source, target, result, options=None):
        raise CannotTranscodeError("the codec said no")


@pytest.fixture
def plain_and_compressed(node):
    """Return two of one SOP class, one of them in RLE, which cannot be decompressed."""
    node.pool = Unable()
    return outgoing(node, small_file(sop_class="1.2.840.10008.5.1.4.1.1.4")), outgoing(
        node, shipped("MR_small_RLE.dcm")
    )


def modality(peer):
    return Modality("archive", aet="LIAR", host="127.0.0.1", port=peer.port, calling_aet="HOSTD", timeout_s=60.0)


def test_an_association_takes_what_it_proposed_all_for_that_is_not_known_to_be_refused(plain_and_compressed):
    plain, compressed = plain_and_compressed
    with LyingPeer(syntaxes=[EXPLICIT]) as peer:
        archive = modality(peer)
        with archive.connect([plain]) as session:
            assert not session.takes(compressed)  # it may want RLE, which was not proposed
        with archive.connect([compressed]):
            pass
        with archive.connect([plain]) as session:
            assert session.takes(compressed)  # it is known not to want it
        assert peer.associations == 3


def test_where_the_belief_proves_wrong_it_is_negotiated_anew(plain_and_compressed):
    plain, compressed = plain_and_compressed
    with LyingPeer(syntaxes=[EXPLICIT]) as peer:
        archive = modality(peer)
        with archive.connect([compressed]) as session, pytest.raises(InstanceFault) as failed:
            session.send(compressed)
        assert not isinstance(failed.value, NoCommonSyntaxError)
        peer.syntaxes = [EXPLICIT, RLE]
        with archive.connect([plain]) as session:
            assert session.takes(compressed)
            with pytest.raises(NoCommonSyntaxError):
                session.send(compressed)
        with archive.connect([compressed]) as session:
            assert session.send(compressed).sent_syntax == RLE
