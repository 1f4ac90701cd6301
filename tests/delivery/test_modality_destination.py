"""C-STORE: what is proposed, what is sent, and what real peers make of it."""

import socket
import threading
from dataclasses import replace
from types import SimpleNamespace

import pydicom
import pytest
from delivery_kit import CT, EXPLICIT, small_file
from hypothesis import given
from hypothesis import strategies as st
from peers_kit import needs_orthanc, needs_storescp, orthanc, shipped, storescp
from ports import free_port

from hostd.archive.deliveries import PRIORITIES
from hostd.delivery.destinations import Outgoing
from hostd.delivery.destinations.modality import Modality, _dimse_priority, fitting, foreseen
from hostd.delivery.negotiation import candidates, contexts_of, plan_associations
from hostd.delivery.terms import Terms
from hostd.dimse import scu
from hostd.dimse.associate import Answered, decode_request, encode_acceptance
from hostd.errors import InstanceFault
from hostd.transcoding.pool import CodecPool
from hostd.transcoding.transform import Transform

IMPLICIT = "1.2.840.10008.1.2"
J2K = "1.2.840.10008.1.2.4.90"
RLE = "1.2.840.10008.1.2.5"
MPEG4 = "1.2.840.10008.1.2.4.102"
NAME = "modality:archive"
FALLBACKS = (EXPLICIT, IMPLICIT)


def modality(port, *, aet="ANY", timeout_s=60.0, **options):
    return Modality(
        "archive", aet=aet, host="127.0.0.1", port=port, calling_aet="HOSTD", timeout_s=timeout_s, **options
    )


def outgoing(own, transform=None, sop_class=CT, number=1):
    delivery = SimpleNamespace(id=number, sop_class_uid=sop_class, priority=PRIORITIES["normal"])
    return Outgoing(delivery, own, transform or Transform(), None)


def test_what_may_be_sent_is_tried_in_the_order_of_least_change():
    assert candidates(outgoing(J2K), FALLBACKS) == (J2K, EXPLICIT, IMPLICIT)
    assert candidates(outgoing(EXPLICIT, Transform.into(J2K)), FALLBACKS) == (J2K, EXPLICIT, IMPLICIT)
    assert candidates(outgoing(RLE, Transform.into(J2K)), FALLBACKS) == (J2K, RLE, EXPLICIT, IMPLICIT)
    assert candidates(outgoing(RLE, Transform.into(J2K, or_original=False)), FALLBACKS) == (J2K,)
    assert candidates(outgoing(J2K), ()) == (J2K,)


@pytest.mark.parametrize("require", [None, J2K, IMPLICIT])
@pytest.mark.parametrize(
    "accepted", [(IMPLICIT,), (IMPLICIT, EXPLICIT), (J2K, IMPLICIT), (RLE, EXPLICIT), (MPEG4,), ()]
)
@pytest.mark.parametrize("fallbacks", [FALLBACKS, ()])
@pytest.mark.parametrize("transform", [Transform(), Transform.into(J2K), Transform.into(J2K, or_original=False)])
def test_what_is_foreseen_is_what_is_asked_for_first(transform, fallbacks, accepted, require):
    asked = []

    class Products:
        def obtain(self, delivery, transform=None):
            asked.append(transform)
            raise InstanceFault("it is only asked")

    one = replace(outgoing(RLE, transform), products=Products())
    with pytest.raises(InstanceFault):
        fitting(one, accepted, fallbacks, require)
    theirs = (None, one.transform.required)  # what the delivery itself asks for
    first = asked[0] if asked else None
    assert foreseen(one, accepted, fallbacks, require) == (None if first in theirs else first)


def test_each_compressed_syntax_has_a_context_of_its_own():
    assert contexts_of(outgoing(RLE, Transform.into(J2K)), FALLBACKS) == [
        (CT, (J2K,)), (CT, (RLE,)), (CT, (EXPLICIT, IMPLICIT)),
    ]  # fmt: skip
    assert contexts_of(outgoing(J2K), ()) == [(CT, (J2K,))]
    assert contexts_of(outgoing(EXPLICIT), (RLE, *FALLBACKS)) == [
        (CT, (EXPLICIT,)), (CT, (RLE,)), (CT, (EXPLICIT, IMPLICIT)),
    ]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from([J2K, RLE, EXPLICIT]), st.integers(1, 80)), min_size=1, max_size=150))
def test_no_association_has_more_than_128_contexts_and_every_instance_has_its_own(made):
    batch = [outgoing(own, Transform.into(J2K), f"1.2.{sop}", n) for n, (own, sop) in enumerate(made)]
    plan = plan_associations(batch, FALLBACKS)
    assert [o.delivery.id for group, _ in plan for o in group] == list(range(len(batch)))
    for group, contexts in plan:
        assert 1 <= len(contexts) <= 128
        assert len(set(contexts)) == len(contexts)
        assert {c for o in group for c in contexts_of(o, FALLBACKS)} == set(contexts)


def test_a_dead_peer_causes_no_transcoding_and_fails_nothing(node):
    number = node.ask(NAME, node.receive(shipped("CT_small.dcm")), transform=Transform.into(J2K).canonical())
    couriers = node.couriers(modality(free_port()))  # node.pool refuses to transcode
    node.until(lambda: couriers.health()[NAME].is_failing)
    assert node.outcomes(number) == ["unreached"]
    assert "could not connect" in node.get(number).last_error


def test_a_peer_that_accepts_and_then_says_nothing_is_not_waited_for_long(node):
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = node.ask(NAME)
        node.couriers(modality(server.getsockname()[1], timeout_s=0.3))
        node.until(lambda: node.outcomes(number) == ["unreached"])


@pytest.mark.parametrize("title", ["a title that is much too long", "back\\slash"])
def test_a_title_that_the_standard_forbids_holds_the_queue_with_its_reason(node, title):
    number = node.ask(NAME)
    destination = Modality("archive", aet=title, host="127.0.0.1", port=free_port(), calling_aet="HOSTD")
    node.couriers(destination)
    node.until(lambda: node.outcomes(number) == ["unreached"])
    assert title[:16] in node.get(number).last_error


# -- DCMTK ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def codecs():
    pool = CodecPool(workers=1)
    yield pool
    pool.close()


@pytest.fixture
def coding(node, codecs):
    node.pool = codecs
    return node


def stored_in(folder):
    return {str(ds.SOPInstanceUID): ds for ds in map(pydicom.dcmread, folder.iterdir())}


@pytest.mark.peers
@needs_storescp
@pytest.mark.parametrize(
    ("option", "file", "transform", "sent"),
    [
        ("+xa", "CT_small.dcm", None, EXPLICIT),
        ("+xi", "CT_small.dcm", None, IMPLICIT),
        ("+xa", "MR_small_jp2klossless.dcm", None, J2K),
        ("+xe", "MR_small_jp2klossless.dcm", None, EXPLICIT),
        ("+xi", "MR_small_jp2klossless.dcm", None, IMPLICIT),
        ("+xa", "CT_small.dcm", Transform.into(J2K), J2K),
        ("+xe", "CT_small.dcm", Transform.into(J2K), EXPLICIT),
    ],
)
def test_the_peer_gets_what_it_accepts_with_the_same_pixels(coding, tmp_path, option, file, transform, sent):
    content = shipped(file)
    number = coding.ask(NAME, coding.receive(content), transform=transform.canonical() if transform else "")
    with storescp(tmp_path / "peer", option) as port:
        coding.couriers(modality(port))
        coding.until_state(number, "delivered", "failed")
        delivery = coding.get(number)
        assert delivery.state == "delivered", delivery.last_error
        (arrived,) = stored_in(tmp_path / "peer").values()
    (attempt,) = coding.attempts(number)
    assert arrived.file_meta.TransferSyntaxUID == attempt.sent_syntax == sent
    original = pydicom.dcmread(coding.archive.blobs.path(delivery.blob))
    assert arrived.SOPInstanceUID == original.SOPInstanceUID
    assert (arrived.pixel_array == original.pixel_array).all()


@pytest.mark.peers
@needs_storescp
@pytest.mark.parametrize(
    ("options", "transform", "says"),
    [
        ({"transcode": False}, None, "no common transfer syntax"),
        ({}, Transform.into("1.2.840.10008.1.2.4.202", or_original=False), "no common transfer syntax"),
    ],
)
def test_without_a_common_syntax_the_instance_fails_and_both_sides_are_named(
    coding, tmp_path, options, transform, says
):
    instance = coding.receive(shipped("MR_small_jp2klossless.dcm"))
    number = coding.ask(NAME, instance, transform=transform.canonical() if transform else "")
    other = coding.ask(NAME)
    with storescp(tmp_path / "peer", "+xe") as port:
        coding.couriers(modality(port, **options))
        coding.until_state(other, "delivered")
        coding.until(lambda: coding.outcomes(number) == ["unnegotiated"])
        coding.advance(11)
        error = coding.until_state(number, "failed").last_error
    assert coding.outcomes(number) == ["unnegotiated", "failed"]
    assert says in error
    assert "the peer accepts" in error
    assert J2K in error


@pytest.mark.peers
@needs_storescp
def test_what_cannot_be_decompressed_fails_with_the_codecs_reason(coding, tmp_path):
    number = coding.ask(NAME, coding.receive(small_file(syntax=MPEG4)))
    with storescp(tmp_path / "peer", "+xe") as port:
        coding.couriers(modality(port))
        error = coding.until_state(number, "failed").last_error
    assert "does not decode" in error
    assert MPEG4 in error


@pytest.mark.peers
@needs_storescp
def test_a_lossless_transform_that_fails_sends_the_original_and_says_why(coding, tmp_path):
    number = coding.ask(NAME, coding.receive(small_file(syntax=MPEG4)), transform=Transform.into(J2K).canonical())
    with storescp(tmp_path / "peer", "+xa") as port:
        coding.couriers(modality(port))
        coding.until_state(number, "delivered")
    (attempt,) = coding.attempts(number)
    assert attempt.sent_syntax == MPEG4
    assert "do not decode" in attempt.answer or "does not decode" in attempt.answer


@pytest.mark.peers
@needs_storescp
def test_a_batch_with_more_contexts_than_an_association_has_is_delivered_whole(node, tmp_path):
    numbers = [node.ask(NAME, node.receive(small_file(f"1.2.826.0.1.3680043.9.{n}"))) for n in range(1, 70)]
    with storescp(tmp_path / "peer", "-pm", "+xa") as port:
        node.couriers(modality(port), terms=Terms(batch=100))
        for number in numbers:
            node.until_state(number, "delivered")
        assert len(list((tmp_path / "peer").iterdir())) == 69


@pytest.mark.peers
@needs_storescp
def test_a_peer_that_rejects_associations_is_to_blame_itself(node, tmp_path):
    number = node.ask(NAME)
    with storescp(tmp_path / "peer", "--refuse") as port:
        node.couriers(modality(port))
        node.until(lambda: node.outcomes(number) == ["unreached"])
    assert "rejected" in node.get(number).last_error


@pytest.mark.peers
@needs_storescp
def test_a_peer_that_aborts_instead_of_answering_may_have_the_instance(node, tmp_path):
    number = node.ask(NAME)
    with storescp(tmp_path / "peer", "--abort-after") as port:
        node.couriers(modality(port))
        node.until(lambda: node.outcomes(number) == ["lost"])
    assert node.get(number).possible_doubles == 1
    assert node.get(number).state == "waiting"


@pytest.mark.peers
@needs_storescp
def test_a_peer_that_dies_and_comes_back_gets_everything(node, tmp_path):
    with storescp(tmp_path / "peer") as port:
        couriers = node.couriers(modality(port))
        node.until_state(node.ask(NAME), "delivered")
    numbers = [node.ask(NAME) for _ in range(5)]
    node.until(lambda: couriers.health()[NAME].is_failing)
    with storescp(tmp_path / "peer") as port:
        couriers.use({NAME: modality(port)})
        couriers.probe()
        for number in numbers:
            node.until_state(number, "delivered")
        assert len(stored_in(tmp_path / "peer")) == 6


@pytest.mark.peers
@needs_orthanc
def test_orthanc_as_a_modality_stores_what_is_sent_and_again(coding, tmp_path):
    instance = coding.receive(shipped("CT_small.dcm"))
    with orthanc(tmp_path / "orthanc") as peer:
        coding.couriers(modality(peer.dicom_port, aet="ORTHANC"))
        transform = Transform.into(J2K).canonical()
        for _ in range(2):
            coding.until_state(coding.ask(NAME, instance, transform=transform), "delivered")
        assert peer.get("instances").json() == [instance.id]
        stored = peer.get(f"instances/{instance.id}/metadata/TransferSyntax").text
    assert stored == J2K


# -- a peer that breaks off in the middle -----------------------------------------------------------------------------


def test_a_connection_that_breaks_in_the_middle_of_an_instance_is_tried_again_and_is_no_possible_double(node):
    big = node.receive(small_file(PixelData=bytes(24 << 20), Rows=1, Columns=1, BitsAllocated=8))
    number = node.ask(NAME, big)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_accept_and_break, args=(server,), daemon=True)
        thread.start()
        node.couriers(modality(server.getsockname()[1]))
        node.until(lambda: node.outcomes(number) == ["waiting"])
        thread.join(60)
    (attempt,) = node.attempts(number)
    assert attempt.sent_syntax == EXPLICIT
    assert node.get(number).possible_doubles == 0


def _accept_and_break(server):
    """Accept the first context of an association, take a little of the data set, and reset the connection."""
    sock, _ = server.accept()
    header = _exactly(sock, 6)
    request = decode_request(_exactly(sock, int.from_bytes(header[2:6], "big")))
    accepted = [Answered(proposal.id, 0, proposal.transfer_syntaxes[0]) for proposal in request.proposals]
    sock.sendall(encode_acceptance(request, accepted, {}, max_pdu=16384))
    _exactly(sock, 1 << 20)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    sock.close()


def _exactly(sock, count):
    content = bytearray()
    while len(content) < count:
        piece = sock.recv(count - len(content))
        assert piece
        content += piece
    return bytes(content)


def test_the_priority_of_the_request_follows_that_of_the_delivery():
    assert [_dimse_priority(PRIORITIES[name]) for name in ("low", "normal", "high", "stat")] == [
        scu.PRIORITY_LOW, scu.PRIORITY_MEDIUM, scu.PRIORITY_HIGH, scu.PRIORITY_HIGH,
    ]  # fmt: skip
