"""Associations as a peer may begin, break and end them, and the row that each leaves."""

import socket
import struct
import threading
import time
from dataclasses import replace

import pytest
from processes import resident_bytes

from hostd.dimse import commands
from hostd.dimse.associate import decode_acceptance
from hostd.dimse.pdu import RELEASE_RP, RELEASE_RQ, abort_pdu, reject_pdu
from hostd.errors import NodeError
from hostd.scp.acceptor import DicomListener

MR = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT = "1.2.840.10008.1.2.1"
J2K = "1.2.840.10008.1.2.4.90"


def store_request(kit):
    command = commands.store_request(message_id=1, sop_class_uid=kit.CT, sop_instance_uid="1.2.3", priority=0)
    return kit.pdv(command, command=True)


def associate_rq(kit, *, version=1, application=b"1.2.840.10008.3.1.1.1", called=b"HOSTD", calling=b"WIRE", items=None):
    def item(kind, content):
        return struct.pack(">BxH", kind, len(content)) + content

    if items is None:
        context = bytes([1, 0, 0, 0]) + item(0x30, kit.CT.encode()) + item(0x40, kit.IMPLICIT.encode())
        items = item(0x10, application) + item(0x20, context) + item(0x50, item(0x51, struct.pack(">I", 16384)))
    body = struct.pack(">H2x16s16s32x", version, called.ljust(16), calling.ljust(16)) + items
    return struct.pack(">BxI", 1, len(body)) + body


# -- negotiation ------------------------------------------------------------------------------------------------------


def test_each_context_gets_the_first_syntax_that_was_proposed_for_it(kit):
    kit.listen()
    wire = kit.wire()
    pdu_type, body = wire.associate(
        (kit.CT, [J2K, kit.IMPLICIT]), (kit.CT, [EXPLICIT, J2K]), (kit.CT, ["1.2.752.24.3.7.6", kit.IMPLICIT]),
        (MR, ["1.2.752.24.3.7.6"]), ("1.2.840.10008.5.1.4.1.1.999.7", [kit.IMPLICIT]),
        ("1.2.840.10008.5.1.1.30", [kit.IMPLICIT]), ("1.2.840.10008.5.1.4.1.2.2.1", [kit.IMPLICIT]),
        (kit.VERIFICATION, ["1.2.752.24.3.7.6"]),
    )  # fmt: skip
    assert pdu_type == 2
    results, user = decode_acceptance(body)
    assert results[1] == (0, J2K)
    assert results[3] == (0, EXPLICIT)
    assert results[5] == (0, kit.IMPLICIT)  # a known syntax before a private one
    assert results[7] == (0, "1.2.752.24.3.7.6")
    assert results[9] == (0, kit.IMPLICIT)  # under the storage root, unknown to us
    assert results[11] == (0, kit.IMPLICIT)  # retired
    assert results[13][0] == 3
    assert results[15][0] == 4
    assert user.max_pdu == 131072
    wire.close()
    ((opened, _),) = kit.log.wait()
    assert [fact.transfer_syntax for fact in opened.contexts[:2]] == [J2K, EXPLICIT]
    assert opened.contexts[6].refused == "the abstract syntax is not supported"
    assert opened.max_pdu == 16384
    assert opened.implementation_version_name.startswith("HOSTD")


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"version": 2}, (1, 2, 2)),
        ({"application": b"1.2.3"}, (1, 1, 2)),
        ({"calling": b""}, (1, 1, 3)),
        ({"called": b"NOBODY"}, (1, 1, 7)),
        ({"called": b"hostd"}, (1, 1, 7)),
        ({"called": b"\xff\xfe"}, (1, 1, 7)),
    ],
)
def test_a_rejection_says_why_and_leaves_a_row(kit, changes, answer):
    kit.listen()
    wire = kit.wire()
    wire.send(associate_rq(kit, **changes))
    assert wire.pdu() == (3, bytes([0, *answer]))
    assert wire.is_at_end()
    ((opened, closed),) = kit.log.wait()
    assert opened.ip == "127.0.0.1"
    assert closed.ended == "rejected"
    assert closed.reason


def test_version_bits_beyond_the_first_are_not_tested(kit):
    kit.listen()
    wire = kit.wire()
    wire.send(associate_rq(kit, version=3))
    assert wire.pdu()[0] == 2


def test_any_called_title_is_served_when_told_so_and_repeated_as_it_stood(kit):
    kit.listen(check_called_aet=False)
    wire = kit.wire()
    request = associate_rq(kit, called=b" any\xff")
    wire.send(request)
    pdu_type, body = wire.pdu()
    assert pdu_type == 2
    assert body[4:68] == request[10:74]


def test_unknown_items_identity_and_async_window_are_no_obstacle(kit):
    kit.listen()

    def item(kind, content):
        return struct.pack(">BxH", kind, len(content)) + content

    context = bytes([1, 0, 0, 0]) + item(0x30, kit.CT.encode()) + item(0x40, kit.IMPLICIT.encode())
    malformed = bytes([3, 0, 0, 0]) + item(0x30, b"")
    role = item(0x54, struct.pack(">H", len(kit.CT)) + kit.CT.encode() + b"\1\1")
    user = item(0x51, struct.pack(">I", 0)) + item(0x53, b"\0\0\0\0") + item(0x58, b"\2\1\0\1a\0\1b") + item(0x77, b"?")
    items = item(0x10, b"1.2.840.10008.3.1.1.1") + item(0x99, b"??") + item(0x20, context) + item(0x20, malformed)
    wire = kit.wire()
    wire.send(associate_rq(kit, items=items + item(0x50, user + role)))
    pdu_type, body = wire.pdu()
    assert pdu_type == 2
    results, answered = decode_acceptance(body)
    assert results[1] == (0, kit.IMPLICIT)
    assert results[3][0] == 2
    assert answered.roles == {kit.CT: (True, False)}
    assert item(0x53, b"\0\1\0\1") in body
    assert item(0x58, b"")[:2] not in body[68:]


# -- what breaks ------------------------------------------------------------------------------------------------------

GARBAGE = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a PDU of 4 GiB": struct.pack(">BxI", 1, 0xFFFFFFFF),
    "an A-ASSOCIATE-RQ without fixed fields": struct.pack(">BxI", 1, 4) + b"\0\1\0\0",
    "an A-ASSOCIATE-RQ whose items overrun": struct.pack(">BxI", 1, 72) + b"\0\1" + bytes(66) + b"\x50\0\xff\xff",
    "an even context number": struct.pack(">BxI", 1, 76) + b"\0\1" + bytes(66) + b"\x20\0\0\4\2\0\0\0",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_instead_of_a_request_is_aborted_and_leaves_a_row(kit, garbage):
    kit.listen()
    wire = kit.wire()
    wire.send(garbage)
    assert wire.pdu() == (7, bytes(4))
    assert wire.is_at_end()
    ((opened, closed),) = kit.log.wait()
    assert (opened.calling_aet, opened.max_pdu) == ("", None)
    assert closed.ended == "aborted by hostd"


UNEXPECTED = {
    "A-ASSOCIATE-AC": struct.pack(">BxI", 2, 68) + bytes(68),
    "A-ASSOCIATE-RJ": reject_pdu(1, 1, 1),
    "A-RELEASE-RP": RELEASE_RP,
}
# PS3.8 Table 9-10: Sta2 aborts as service-user (AA-1), Sta6 as service-provider (AA-8).
STATES = [
    *(("Sta2", pdu_name, pdu, (0, 0)) for pdu_name, pdu in UNEXPECTED.items()),
    ("Sta2", "P-DATA-TF", struct.pack(">BxI", 4, 0), (0, 0)),
    ("Sta2", "A-RELEASE-RQ", RELEASE_RQ, (0, 0)),
    ("Sta2", "type 9", b"\x09\0\0\0\0\0", (0, 0)),
    *(("Sta6", pdu_name, pdu, (2, 2)) for pdu_name, pdu in UNEXPECTED.items()),
    ("Sta6", "A-ASSOCIATE-RQ", struct.pack(">BxI", 1, 68) + bytes(68), (2, 2)),
    ("Sta6", "type 9", b"\x09\0\0\0\0\0", (2, 1)),
    ("Sta6", "4 GiB of P-DATA-TF", struct.pack(">BxI", 4, 0xFFFFFFFF), (2, 6)),
    ("Sta6", "half a PDV header", struct.pack(">BxI", 4, 3) + b"\0\0\0", (2, 6)),
    ("Sta6", "a PDV longer than its PDU", struct.pack(">BxIIBB", 4, 6, 99, 1, 3), (2, 6)),
    ("Sta6", "a PDV of length 0", struct.pack(">BxIIBB", 4, 6, 0, 1, 3), (2, 6)),
    ("Sta6", "an unknown context", struct.pack(">BxIIBB", 4, 6, 2, 77, 3), (2, 6)),
    ("Sta6", "data without command", struct.pack(">BxIIBB", 4, 6, 2, 1, 2), (0, 0)),
    ("Sta6", "an empty command", struct.pack(">BxIIBB", 4, 6, 2, 1, 3), (0, 0)),
    ("in a data set", "A-RELEASE-RQ", RELEASE_RQ, (2, 2)),
    ("in a data set", "a command", struct.pack(">BxIIBB", 4, 6, 2, 1, 3), (0, 0)),
    ("in a data set", "another context", struct.pack(">BxIIBB", 4, 6, 2, 3, 2), (0, 0)),
]


@pytest.mark.parametrize(("state", "name", "pdu", "abort"), STATES, ids=[f"{s}: {n}" for s, n, _, _ in STATES])
def test_an_unexpected_pdu_is_aborted(kit, state, name, pdu, abort):
    kit.listen()
    wire = kit.wire() if state == "Sta2" else kit.associated()
    if state == "in a data set":
        wire.send(kit.p_data(store_request(kit), kit.pdv(b"begin", last=False)))
    wire.send(pdu)
    assert wire.pdu() == (7, bytes([0, 0, *abort]))
    assert wire.is_at_end()
    ((_, closed),) = kit.log.wait()
    assert closed.ended == "aborted by hostd"
    assert closed.reason
    if state == "in a data set":
        assert kit.store.receptions[0].state == "abandoned"
        assert (closed.received, closed.failed) == (1, 1)


def test_an_abort_is_obeyed_in_every_state(kit):
    kit.listen()
    first, second, third = kit.wire(), kit.associated(), kit.associated()
    third.send(kit.p_data(store_request(kit), kit.pdv(b"begin", last=False)))
    for wire in (first, second, third):
        wire.send(abort_pdu(2, 6))
        assert wire.pdu() is None
    assert [closed.ended for _, closed in kit.log.wait(3)] == ["aborted by peer"] * 3
    assert "invalid PDU parameter value" in kit.log.endings[1].reason
    assert kit.store.receptions[0].state == "abandoned"


def test_release_is_confirmed_and_the_connection_closed(kit):
    kit.listen()
    wire = kit.associated()
    wire.send(RELEASE_RQ)
    assert wire.pdu() == (6, bytes(4))
    assert wire.is_at_end()
    ((_, closed),) = kit.log.wait()
    assert closed.ended == "released"


def test_a_peer_that_vanishes_in_the_middle_of_a_pdu_leaves_nothing_but_its_row(kit):
    kit.listen()
    wire = kit.associated()
    wire.send(kit.p_data(store_request(kit)), kit.p_data(kit.pdv(bytes(100)))[:50])
    kit.until(lambda: kit.store.receptions and kit.store.receptions[0].content)
    wire.close()
    ((_, closed),) = kit.log.wait()
    assert closed.ended == "lost"
    assert kit.store.receptions[0].state == "abandoned"


# -- time and number --------------------------------------------------------------------------------------------------


def test_silence_after_connecting_ends_with_artim(kit):
    kit.listen(replace(kit.QUICK, artim_s=0.1))
    wire = kit.wire()
    assert wire.pdu() == (7, bytes(4))
    ((_, closed),) = kit.log.wait()
    assert closed.ended == "timed out"


def test_a_trickle_of_bytes_does_not_restart_artim(kit):
    kit.listen(replace(kit.QUICK, artim_s=0.3))
    wire = kit.wire()
    with pytest.raises(OSError):  # noqa: PT012 - one of many sends fails, and not after the last byte is all well
        for byte in associate_rq(kit):
            wire.send(bytes([byte]))
            time.sleep(0.02)
    assert kit.log.wait()[0][1].ended == "timed out"


@pytest.mark.parametrize("sent", [False, True])
def test_a_silent_association_times_out_with_a_row(kit, sent):
    kit.listen(replace(kit.QUICK, idle_s=60 if sent else 0.1))
    wire = kit.associated()
    if sent:
        kit.hurry(network_s=0.1)
        wire.send(kit.p_data(store_request(kit), kit.pdv(b"begin", last=False)))
    assert wire.pdu()[0] == 7
    ((_, closed),) = kit.log.wait()
    assert closed.ended == "timed out"
    assert [reception.state for reception in kit.store.receptions] == ["abandoned"] * sent


def test_a_slow_disk_is_not_held_against_the_peer(kit):
    kit.listen()
    wire = kit.associated()
    kit.hurry(network_s=0.1)
    kit.store.may_finish.clear()
    wire.send(kit.p_data(store_request(kit), kit.pdv(b"ds")))
    kit.until(lambda: kit.store.receptions)
    time.sleep(0.35)
    kit.store.may_finish.set()
    assert wire.response()[0] == 0


def test_forty_at_once_and_the_one_too_many_is_asked_to_come_back(kit):
    kit.listen(replace(kit.QUICK, associations=40))
    wires = [kit.associated() for _ in range(40)]
    late = kit.wire()
    assert late.associate() == (3, bytes([0, 2, 3, 2]))
    for wire in wires:
        wire.send(kit.p_data(store_request(kit), kit.pdv(b"ds")))
    assert [wire.response()[0] for wire in wires] == [0] * 40
    wires[0].send(RELEASE_RQ)
    assert wires[0].pdu()[0] == 6
    kit.until(lambda: kit.listener.open_associations == 39)
    assert kit.wire().associate()[0] == 2
    assert [closed.ended for _, closed in kit.log.wait(2)] == ["released", "rejected"]


# -- hostd's own troubles ---------------------------------------------------------------------------------------------


def test_without_its_row_no_association_begins(kit):
    kit.listen()
    kit.log.open_error = RuntimeError("index is away")
    assert kit.wire().associate() == (3, bytes([0, 2, 3, 1]))
    kit.log.open_error = None
    assert kit.wire().associate()[0] == 2


def test_stopping_aborts_the_idle_and_lets_the_current_store_finish(kit):
    listener = kit.listen()
    idle, busy, silent = kit.associated(), kit.associated(), kit.wire()
    kit.store.may_finish.clear()
    busy.send(kit.p_data(store_request(kit), kit.pdv(b"ds")))
    kit.until(lambda: kit.store.receptions)
    stop = threading.Thread(target=listener.stop, args=(60,))
    stop.start()
    assert idle.pdu() == (7, bytes(4))
    assert silent.pdu() == (7, bytes(4))
    kit.store.may_finish.set()
    assert busy.response()[0] == 0
    assert busy.pdu() == (7, bytes(4))
    stop.join(60)
    assert not stop.is_alive()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", listener.port))
    assert [closed.ended for _, closed in kit.log.wait(3)] == ["aborted by hostd"] * 3
    assert kit.store.receptions[0].state == "finished"


def test_after_the_grace_a_store_is_cut_off_in_its_middle(kit):
    listener = kit.listen()
    wire = kit.associated()
    wire.send(kit.p_data(store_request(kit), kit.pdv(b"begin", last=False)))
    kit.until(lambda: kit.store.receptions)
    listener.stop(0.1)
    assert wire.pdu() == (7, bytes(4))
    assert kit.store.receptions[0].state == "abandoned"
    assert kit.log.wait()[0][1].ended == "aborted by hostd"


def test_an_address_in_use_is_an_error_that_says_what_to_change(kit):
    port = kit.listen().port
    second = DicomListener(
        host="127.0.0.1", port=port, aets=["X"], check_called_aet=True, store=kit.store, associations=kit.log
    )
    with pytest.raises(NodeError, match=r"dicom\.port"):
        second.start()


def test_without_room_who_would_store_is_rejected_as_transient_and_who_only_asks_is_not(kit):
    room = []
    kit.listen(has_room=lambda: bool(room))
    assert kit.wire().associate() == (3, bytes([0, 2, 3, 1]))  # transient, temporary congestion
    assert kit.wire().associate((kit.VERIFICATION, (kit.IMPLICIT,)))[0] == 2
    ((_, closed),) = kit.log.wait()[:1]
    assert closed.ended == "rejected"
    room.append(True)
    assert kit.wire().associate()[0] == 2  # by itself


def test_two_hundred_associations_at_one_time_are_served_in_bounded_memory_and_one_more_is_refused(kit):
    kit.listen(replace(kit.QUICK, associations=200, idle_s=600))
    before = resident_bytes("self")
    wires = [kit.associated() for _ in range(200)]
    kit.until(lambda: kit.listener.open_associations == 200)
    one_more = kit.wire()
    assert one_more.associate() == (3, bytes([0, 2, 3, 2]))
    request = kit.p_data(
        kit.pdv(commands.echo_request(message_id=1, sop_class_uid=kit.VERIFICATION), command=True, context=3)
    )
    for wire in wires:
        wire.send(request)
    assert [wire.response()[0] for wire in wires] == [0] * 200
    assert resident_bytes("self") - before < 200 * (1 << 20)
    for wire in wires:
        wire.send(RELEASE_RQ)
    assert all(wire.pdu() == (6, RELEASE_RP[6:]) for wire in wires)
    kit.until(lambda: kit.listener.open_associations == 0)
    assert kit.wire().associate()[0] == 2
