"""Who gets what another failed to take, and what a destination insists on; with peers that lie."""

import threading

import pytest
from delivery_kit import EXPLICIT, FakeDestination, small_file
from lying_peer import BREAK, FORGET, HANG, NO_ANSWER, REFUSE, LyingPeer, reject, say, slowly
from peers_kit import shipped

from hostd.archive import acceptance, deliveries
from hostd.archive.acceptance import Acceptance
from hostd.config.sections import Modality as Configured
from hostd.delivery.destinations import Answer
from hostd.delivery.destinations.modality import Modality
from hostd.delivery.terms import Terms
from hostd.dimse import rejection
from hostd.transcoding.pool import CodecPool
from hostd.transcoding.transform import Transform

IMPLICIT = "1.2.840.10008.1.2"
REJECTIONS = [one for one in vars(rejection).values() if isinstance(one, rejection.Rejection)]
J2K = "1.2.840.10008.1.2.4.90"
RLE = "1.2.840.10008.1.2.5"
NAME = "modality:fake"
OTHER = "modality:other"
REFUSED = Answer("instance", "0xC000 (cannot understand)", 0xC000, EXPLICIT)
ALTERNATE = Terms(alternate=OTHER)


def modality(peer, name="archive", **options):
    return Modality(
        name, aet="LIAR", host="127.0.0.1", port=peer.port, calling_aet="HOSTD", timeout_s=options.pop("timeout_s", 60.0),
        **options,
    )  # fmt: skip


@pytest.fixture
def coding(node):
    node.pool = CodecPool(workers=1)
    yield node
    node.pool.close()


def stand_in_of(node, number):
    with node.archive.read() as connection:
        return [d for d in deliveries.listing(connection) if d.alternate_of == number]


# -- the alternate ----------------------------------------------------------------------------------------------------


def test_what_a_destination_fails_to_take_goes_to_its_alternate_and_both_are_recorded(node, fake):
    other = FakeDestination(OTHER)
    fake.answers[None] = REFUSED
    number = node.ask(NAME)
    node.couriers(fake, other, terms=ALTERNATE)
    failed = node.until_state(number, "failed")
    (instead,) = stand_in_of(node, number)
    assert (instead.destination, instead.content, instead.priority) == (OTHER, failed.content, failed.priority)
    assert node.until_state(instead.id, "delivered")
    assert failed.last_error == f"{REFUSED.text}; delivery {instead.id} to {OTHER} stands in for it"


def test_one_that_stands_in_has_no_stand_in_itself(node, fake):
    other = FakeDestination(OTHER)
    fake.answers[None] = other.answers[None] = REFUSED
    number = node.ask(NAME)
    couriers = node.couriers(fake, other)
    couriers.use({NAME: fake, OTHER: other}, {NAME: Terms(alternate=OTHER), OTHER: Terms(alternate=NAME)})
    node.until_state(number, "failed")
    (instead,) = stand_in_of(node, number) or [None]
    if instead is not None:  # the courier may have sent before it had its terms
        node.until_state(instead.id, "failed")
        assert stand_in_of(node, instead.id) == []


def test_what_is_too_old_for_a_dead_peer_goes_to_the_alternate(node, fake):
    other = FakeDestination(OTHER)
    fake.refuses = "connection refused"
    number = node.ask(NAME)
    couriers = node.couriers(fake, other, terms=Terms(alternate=OTHER, max_age_s=3600))
    node.until(lambda: couriers.health()[NAME].is_failing)
    node.advance(3661)
    node.until_state(number, "failed")
    (instead,) = stand_in_of(node, number)
    node.until_state(instead.id, "delivered")


# -- syntaxes ---------------------------------------------------------------------------------------------------------


def test_the_same_instance_goes_to_each_peer_in_what_that_one_takes_and_each_is_made_once(coding):
    instance = coding.receive(shipped("MR_small_jp2klossless.dcm"))
    made = []
    transcode = coding.pool.transcode

    def counted(source, target, result, options=None):
        made.append(target.uid)
        return transcode(source, target, result, options)

    coding.pool.transcode = counted
    with LyingPeer(syntaxes=[J2K]) as first, LyingPeer(syntaxes=[IMPLICIT]) as second, LyingPeer(syntaxes=[RLE]) as third, \
            LyingPeer(syntaxes=[IMPLICIT]) as fourth:  # fmt: skip
        peers = {
            "first": modality(first, "first"), "second": modality(second, "second"),
            "third": modality(third, "third", prefer=RLE), "fourth": modality(fourth, "fourth"),
        }  # fmt: skip
        numbers = [coding.ask(f"modality:{name}", instance) for name in peers]
        coding.couriers(*peers.values())
        for number in numbers:
            coding.until_state(number, "delivered")
        uid = instance.sop_instance_uid
        assert [peer.seen[uid] for peer in (first, second, third, fourth)] == [J2K, IMPLICIT, RLE, IMPLICIT]
        assert peers["second"].learnt.acceptance(instance.sop_class_uid) == Acceptance((IMPLICIT,), (J2K,))
    with coding.archive.read() as connection:
        first, second = (acceptance.listing(connection, f"modality:{name}") for name in ("first", "second"))
    assert [(one.sop_class_uid, one.acceptance.accepted, one.at) for one in first] == [
        (instance.sop_class_uid, (J2K,), coding.clock.now())
    ]
    assert second[0].acceptance == Acceptance((IMPLICIT,), (J2K,))
    assert sorted(made) == sorted([IMPLICIT, RLE])


def test_fan_out_makes_what_is_asked_for_once(coding):
    instance = coding.receive(shipped("CT_small.dcm"))
    made = []
    transcode = coding.pool.transcode
    coding.pool.transcode = lambda *args, **options: (made.append(args), transcode(*args, **options))[1]
    fakes = [FakeDestination(f"modality:{name}") for name in ("a", "b", "c", "d")]
    numbers = [coding.ask(fake.name, instance, transform=Transform.into(J2K).canonical()) for fake in fakes]
    coding.couriers(*fakes)
    for number in numbers:
        coding.until_state(number, "delivered")
    assert len(made) == 1
    assert {syntax for fake in fakes for _, syntax in fake.sent} == {J2K}


def test_a_destination_gets_only_what_it_requires(coding):
    plain = coding.receive(shipped("CT_small.dcm"))
    compressed = coding.receive(shipped("MR_small_jp2klossless.dcm"))
    with LyingPeer() as peer:
        numbers = [coding.ask("modality:archive", instance) for instance in (plain, compressed)]
        coding.couriers(modality(peer, require=RLE))
        for number in numbers:
            coding.until_state(number, "delivered")
        assert set(peer.seen.values()) == {RLE}


def test_what_cannot_be_what_is_required_fails_and_says_so(coding):
    instance = coding.receive(shipped("CT_small.dcm"))
    with LyingPeer(syntaxes=[EXPLICIT]) as peer:
        number = coding.ask("modality:archive", instance)
        coding.couriers(modality(peer, require=RLE))
        coding.until(lambda: coding.outcomes(number) == ["unnegotiated"])
        coding.advance(11)
        error = coding.until_state(number, "failed").last_error
    assert "the peer accepts nothing" in error
    assert f"{EXPLICIT}" in error
    assert "is required for this destination" in error


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"require": "JPEG2000"}, "may lose information"),
        ({"prefer": "JPEGBaseline8Bit"}, "may lose information"),
        ({"require": "nonsense"}, "nonsense"),
        ({"require": "rle", "allow_transcoding": False}, "keep one of them"),
    ],
)
def test_what_makes_no_sense_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        Configured(aet="A", host="h", port=104, **options)


# -- peers that lie ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("manner", "outcome", "doubles"),
    [
        (say(0x0111), "present", 0),
        *((say(status), "warning", 0) for status in (0xB000, 0xB006, 0xB007)),
        *((say(status), "failed", 0) for status in (0xA900, 0xA9FF, 0xC000, 0xCFFF, 0x0117, 0x0122)),
        *((say(status), "waiting", 0) for status in (0xA700, 0xA7FF)),
        (say(0x0110), "waiting", 0),
        (BREAK, "waiting", 0),
        (NO_ANSWER, "lost", 1),
        (REFUSE, "unreached", 0),
        *((reject(why), "unreached", 0) for why in REJECTIONS),
        (slowly(0.05), "delivered", 0),
        (FORGET, "delivered", 0),  # what only storage commitment finds out
    ],
)
def test_whatever_a_peer_does_is_recorded_as_what_it_was(node, manner, outcome, doubles):
    size = 24 << 20 if manner == BREAK else 64  # more than the kernel takes before the peer is there to break off
    instance = node.receive(small_file(PixelData=bytes(size), Rows=1, Columns=1, BitsAllocated=8))
    with LyingPeer(lambda _uid: manner) as peer:
        number = node.ask("modality:archive", instance)
        node.couriers(modality(peer))
        node.until(lambda: node.outcomes(number) == [outcome])
    assert node.get(number).possible_doubles == doubles


def test_a_peer_that_hangs_is_a_lost_answer_and_holds_nobody_else(node, fake):
    hung = threading.Event()

    def manner(uid):
        if uid is not None:
            hung.set()
            return HANG
        return say(0)

    with LyingPeer(manner) as peer:
        number = node.ask("modality:archive")
        node.couriers(modality(peer, timeout_s=3.0), fake)
        assert hung.wait(60)
        for _ in range(10):
            node.until_state(node.ask(NAME), "delivered")
        node.until(lambda: node.outcomes(number) == ["lost"])
    assert node.get(number).possible_doubles == 1


def test_a_peer_that_died_and_rose_gets_everything_once(node):
    with LyingPeer() as peer:
        couriers = node.couriers(modality(peer))
        node.until_state(node.ask("modality:archive"), "delivered")
        peer.die()
        numbers = [node.ask("modality:archive") for _ in range(10)]
        node.until(lambda: couriers.health()["modality:archive"].is_failing)
        peer.rise()
        couriers.probe()
        for number in numbers:
            node.until_state(number, "delivered")
        assert set(peer.kept.values()) == {1}
        assert len(peer.kept) == 11
