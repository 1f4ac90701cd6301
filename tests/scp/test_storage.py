"""C-STORE as a peer sees it: what is written, what is answered."""

import random
import struct

import pytest

from hostd.dimse import commands
from hostd.errors import ConflictError, FilterRefusedError, MismatchError, StorageError, UnparsableError

UID = "1.2.3.4"


def request(kit, **changes):
    facts = {"message_id": 7, "sop_class_uid": kit.CT, "sop_instance_uid": UID, "priority": 0} | changes
    return kit.pdv(commands.store_request(**facts), command=True)


def raw(kit, *elements):
    return kit.p_data(kit.pdv(commands.encode(elements), command=True))


def test_an_instance_arrives_whole_with_its_origin(kit):
    kit.listen()
    wire = kit.associated()
    wire.send(kit.p_data(request(kit)), kit.p_data(kit.pdv(b"data set")))
    assert wire.response() == (0, "")
    (reception,) = kit.store.receptions
    assert reception.content == b"data set"
    assert reception.state == "finished"
    facts = reception.facts
    assert (facts["sop_class_uid"], facts["sop_instance_uid"], facts["transfer_syntax"]) == (kit.CT, UID, kit.IMPLICIT)
    origin = facts["origin"]
    assert (origin.kind, origin.calling_aet, origin.called_aet, origin.ip) == ("dicom", "WIRE", "HOSTD", "127.0.0.1")
    assert origin.association == 1
    wire.close()
    ((_, closed),) = kit.log.wait()
    assert (closed.received, closed.stored, closed.failed, closed.bytes) == (1, 1, 0, 8)


def test_the_answer_repeats_the_identity_of_the_request(kit):
    kit.listen()
    wire = kit.associated()
    wire.send(kit.p_data(request(kit)), kit.p_data(kit.pdv(b"ds")))
    _, body = wire.pdu()
    answer = commands.decode(body[6:])
    assert answer.command == 0x8001
    assert answer.number(commands.MESSAGE_ID_BEING_RESPONDED_TO) == 7
    assert answer.text(commands.AFFECTED_SOP_CLASS_UID) == kit.CT
    assert answer.text(commands.AFFECTED_SOP_INSTANCE_UID) == UID
    assert not answer.has_data_set
    (group_length,) = struct.unpack_from("<I", body, 6 + 8)
    assert group_length == len(body) - 6 - 12


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_command_and_data_may_be_cut_anywhere(kit, size):
    kit.listen()
    wire = kit.associated()
    command = request(kit)[6:]
    data = bytes(range(200))
    for content, is_command in ((command, True), (data, False)):
        pieces = [content[start : start + size] for start in range(0, len(content), size)]
        for number, piece in enumerate(pieces):
            wire.send(kit.p_data(kit.pdv(piece, command=is_command, last=number == len(pieces) - 1)))
    assert wire.response()[0] == 0
    assert kit.store.receptions[0].content == data


def test_command_and_data_may_share_a_pdu(kit):
    kit.listen()
    wire = kit.associated()
    parts = [
        kit.pdv(b"one ", last=False),
        kit.pdv(b"", last=False),
        kit.pdv(b"two ", last=False),
        kit.pdv(b"", last=True),
    ]
    wire.send(kit.p_data(request(kit), *parts), kit.p_data())
    assert wire.response()[0] == 0
    assert kit.store.receptions[0].content == b"one two "


def test_several_requests_may_wait_in_one_segment(kit):
    kit.listen()
    wire = kit.associated()
    wire.send(*(kit.p_data(request(kit, message_id=n), kit.pdv(b"ds")) for n in range(1, 6)))
    assert [wire.response()[0] for _ in range(5)] == [0] * 5


def test_a_large_data_set_is_never_held_in_memory_whole(kit):
    kit.listen()
    wire = kit.associated()
    block = bytes(100_000)
    wire.send(kit.p_data(request(kit)))
    for number in range(40):
        wire.send(kit.p_data(kit.pdv(block, last=number == 39)))
    assert wire.response()[0] == 0
    (reception,) = kit.store.receptions
    assert len(reception.content) == 4_000_000
    assert reception.fragments >= 4_000_000 / (256 << 10)


def test_fragments_of_all_lengths_arrive_whole_wherever_what_is_received_at_once_ends(kit):
    """Pieces are handed on together, and never after what they stand in was filled anew."""
    kit.listen()
    wire = kit.associated()
    chance = random.Random(7)
    sizes = [chance.choice([0, 1, 2, 5, 4000, 70_000, 300_000]) for _ in range(400)]
    fragments = [chance.randbytes(size) for size in sizes]
    sent = [kit.p_data(request(kit))]
    for number, fragment in enumerate(fragments):
        sent += [kit.p_data()] * chance.choice([0, 0, 0, 1, 40])  # PDUs with nothing in them
        sent.append(kit.p_data(kit.pdv(fragment, last=number == len(fragments) - 1)))
    wire.send(*sent)
    assert wire.response() == (0, "")
    assert kit.store.receptions[0].content == b"".join(fragments)


def test_thousands_of_tiny_fragments_arrive_whole(kit):
    kit.listen()
    wire = kit.associated()
    data = random.Random(8).randbytes(60_000)
    wire.send(kit.p_data(request(kit), *(kit.pdv(data[at : at + 2], last=at == 59_998) for at in range(0, 60_000, 2))))
    assert wire.response() == (0, "")
    assert kit.store.receptions[0].content == data


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnparsableError("no UIDs"), 0xC000),
        (MismatchError("other UID"), 0xA900),
        (ConflictError("other content"), 0x0111),
        (StorageError("disk full"), 0xA700),
        (FilterRefusedError("filter a.py: later", 0xA700), 0xA700),
        (FilterRefusedError("filter a.py: never", 0xC123), 0xC123),
        (RuntimeError("secret path"), 0xA700),
    ],
)
@pytest.mark.parametrize("where", ["receive_error", "write_error", "finish_error"])
def test_an_error_becomes_its_status_and_the_association_lives(kit, where, error, status):
    kit.listen()
    wire = kit.associated()
    setattr(kit.store, where, error)
    wire.send(kit.p_data(request(kit)), *(kit.p_data(kit.pdv(bytes(5000), last=n == 9)) for n in range(10)))
    answered, comment = wire.response()
    assert answered == status
    assert (comment == str(error)) == (not isinstance(error, RuntimeError))
    if where == "write_error":
        assert kit.store.receptions[0].state == "abandoned"
    setattr(kit.store, where, None)
    wire.send(kit.p_data(request(kit), kit.pdv(b"again")))
    assert wire.response()[0] == 0
    wire.close()
    ((_, closed),) = kit.log.wait()
    assert (closed.received, closed.stored, closed.failed, closed.bytes) == (2, 1, 1, 50005)


@pytest.mark.parametrize(("size", "fragments"), [(2, 1), (1_000_000, 1), (1_000_000, 3)])
def test_an_error_in_the_middle_of_a_fragment_or_in_the_last_becomes_its_status_too(kit, size, fragments):
    """What is left of a fragment that is longer than what is received at once is thrown away with the others."""
    kit.listen()
    wire = kit.associated()
    kit.store.write_error = StorageError("disk full")
    data = [kit.p_data(kit.pdv(bytes(size), last=n == fragments - 1)) for n in range(fragments)]
    wire.send(kit.p_data(request(kit)), *data)
    assert wire.response() == (0xA700, "disk full")
    assert kit.store.receptions[0].state == "abandoned"
    kit.store.write_error = None
    wire.send(kit.p_data(request(kit), kit.pdv(b"again")))
    assert wire.response() == (0, "")
    wire.close()
    ((_, closed),) = kit.log.wait()
    assert (closed.received, closed.stored, closed.failed, closed.bytes) == (2, 1, 1, size * fragments + 5)


def test_an_error_comment_is_a_valid_lo(kit):
    kit.listen()
    wire = kit.associated()
    kit.store.finish_error = UnparsableError("Größe \\ \n" + 100 * "x")
    wire.send(kit.p_data(request(kit), kit.pdv(b"ds")))
    _, comment = wire.response()
    assert comment == "Gr??e ? " + 56 * "x"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"sop_class_uid": ""}, 0xC000),
        ({"sop_instance_uid": ""}, 0xC000),
        ({"sop_instance_uid": "../../etc/passwd"}, 0x0106),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.4"}, 0xA900),
        ({"sop_class_uid": "1.2.840.10008.1.1"}, 0x0122),
    ],
)
def test_a_command_that_does_not_fit_is_refused_after_its_data_set(kit, changes, status):
    kit.listen()
    wire = kit.associated()
    wire.send(kit.p_data(request(kit, **changes)), kit.p_data(kit.pdv(b"ds")))
    assert wire.response()[0] == status
    assert not kit.store.receptions
    wire.send(kit.p_data(request(kit), kit.pdv(b"ds")))
    assert wire.response()[0] == 0


def test_a_store_on_the_verification_context_is_refused(kit):
    kit.listen()
    wire = kit.associated()
    command = commands.store_request(message_id=1, sop_class_uid=kit.CT, sop_instance_uid=UID, priority=0)
    wire.send(kit.p_data(kit.pdv(command, command=True, context=3), kit.pdv(b"ds", context=3)))
    assert wire.response()[0] == 0x0122


def test_a_store_without_data_set_is_refused(kit):
    kit.listen()
    wire = kit.associated()
    wire.send(
        raw(kit, (2, commands.uid(kit.CT)), (0x100, b"\1\0"), (0x110, b"\1\0"), (0x800, b"\1\1"), (0x1000, b"1.22"))
    )
    assert wire.response()[0] == 0xC000


def test_what_real_senders_get_wrong_in_a_command_is_let_pass(kit):
    kit.listen()
    wire = kit.associated()
    sloppy = b"".join(
        struct.pack("<HHI", group, element, len(value)) + value
        for group, element, value in (
            (0, 0x0000, struct.pack("<I", 9999)),  # wrong group length
            (0, 0x1000, b"1.2.3 "),  # out of order, padded by a space
            (0, 0x0002, kit.CT.encode()),  # odd length
            (0, 0x0100, struct.pack("<I", 1)),  # UL instead of US
            (0, 0x0110, b"\7\0"),
            (8, 0x0018, b"1.2 "),  # of another group
        )
    )  # no Command Data Set Type
    wire.send(kit.p_data(kit.pdv(sloppy, command=True), kit.pdv(b"ds")))
    assert wire.response()[0] == 0
    assert kit.store.receptions[0].facts["sop_instance_uid"] == "1.2.3"


def test_echo_is_answered_on_any_context(kit):
    kit.listen()
    wire = kit.associated()
    for context in (1, 3):
        echo = commands.echo_request(message_id=1, sop_class_uid=kit.VERIFICATION)
        wire.send(kit.p_data(kit.pdv(echo, command=True, context=context)))
        assert wire.response() == (0, "")


@pytest.mark.parametrize("command", [0x0020, 0x0010, 0x0021, 0x0100, 0x0130, 0x7777])
def test_other_operations_are_not_recognized(kit, command):
    kit.listen()
    wire = kit.associated()
    wire.send(
        raw(kit, (0x100, commands.us(command)), (0x110, b"\1\0"), (0x800, b"\0\0")), kit.p_data(kit.pdv(b"query"))
    )
    assert wire.response()[0] == 0x0211


def test_a_cancel_has_no_answer(kit):
    kit.listen()
    wire = kit.associated()
    wire.send(raw(kit, (0x100, commands.us(0x0FFF)), (0x120, b"\1\0"), (0x800, b"\1\1")))
    wire.send(kit.p_data(request(kit), kit.pdv(b"ds")))
    assert wire.response()[0] == 0
