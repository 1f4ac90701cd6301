"""Requests with many responses: each is sent as it comes, can be cancelled at once, and is answered to its end whatever happens."""

import threading

import pytest

from hostd.dicom import statuses
from hostd.dimse import commands
from hostd.dimse.pdu import RELEASE_RP, RELEASE_RQ
from hostd.scp.access import Callers, Known, Rules
from hostd.scp.services import Cancelled, Refusal, Response

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
PENDING = Response(statuses.PENDING, b"\x08\x00\x52\x00\x06\x00\x00\x00STUDY ")


class FakeService:
    act = "find"
    command = commands.C_FIND_RQ
    sop_classes = (FIND,)
    syntaxes = ("1.2.840.10008.1.2",)

    def __init__(self, answer):
        self._answer = answer
        self.asked = []
        self.has_ended = threading.Event()

    def answer(self, exchange):
        self.asked.append(exchange)
        try:
            yield from self._answer(exchange)
        finally:
            self.has_ended.set()


FOR_ALL = Rules(everybody=frozenset(("echo", "store", "find", "move", "get")))


def serve(kit, answer, *, rules=FOR_ALL, **options):
    service = FakeService(answer)
    service.callers = Callers(rules)
    kit.listen(services=[service], callers=service.callers, **options)
    wire = kit.wire()
    pdu_type, _ = wire.associate((FIND, [kit.IMPLICIT]), (kit.VERIFICATION, [kit.IMPLICIT]))
    assert pdu_type == 2
    return service, wire


def find(kit, number=1, data_set=PENDING.data_set):
    command = commands.find_request(message_id=number, sop_class_uid=FIND)
    return kit.p_data(kit.pdv(command, command=True), kit.pdv(data_set))


def echo(kit, number=2):
    command = commands.echo_request(message_id=number, sop_class_uid=kit.VERIFICATION)
    return kit.p_data(kit.pdv(command, command=True, context=3))


def cancel(kit, number=1):
    command = commands.encode(
        (
            (commands.COMMAND_FIELD, commands.us(commands.C_CANCEL_RQ)),
            (commands.MESSAGE_ID_BEING_RESPONDED_TO, commands.us(number)),
            (commands.COMMAND_DATA_SET_TYPE, commands.us(commands.NO_DATA_SET)),
        )
    )
    return kit.p_data(kit.pdv(command, command=True))


def answers(wire):
    """Return the statuses up to the final one, and how many had a data set."""
    found, with_data_set = [], 0
    while not found or found[-1][0] in (0xFF00, 0xFF01):
        found.append(wire.response())
        if found[-1][0] in (0xFF00, 0xFF01):
            assert wire.pdu()[0] == 4
            with_data_set += 1
    return found, with_data_set


def is_still_served(kit, wire):
    wire.send(echo(kit))
    return wire.response()[0] == 0


def endless(exchange):
    while True:
        yield PENDING


def test_responses_are_sent_as_they_come_and_the_last_is_success(kit):
    may_go_on = threading.Event()

    def answer(exchange):
        yield PENDING
        assert may_go_on.wait(60)
        yield PENDING

    service, wire = serve(kit, answer)
    wire.send(find(kit))
    assert wire.response()[0] == 0xFF00
    assert wire.pdu()[1][6:] == PENDING.data_set
    may_go_on.set()
    assert answers(wire) == ([(0xFF00, ""), (0, "")], 1)
    (exchange,) = service.asked
    assert exchange.data_set == PENDING.data_set
    assert exchange.origin.calling_aet == "WIRE"
    assert is_still_served(kit, wire)


def test_a_cancel_ends_it_at_once_and_the_association_goes_on(kit):
    service, wire = serve(kit, endless)
    wire.send(find(kit))
    assert wire.response()[0] == 0xFF00
    wire.pdu()
    wire.send(cancel(kit))
    found, _ = answers(wire)
    assert found[-1] == (0xFE00, "")
    assert service.has_ended.wait(60)
    assert is_still_served(kit, wire)


def test_a_cancel_of_something_else_ends_nothing(kit):
    may_go_on = threading.Event()

    def answer(exchange):
        yield PENDING
        assert may_go_on.wait(60)
        yield PENDING

    _, wire = serve(kit, answer)
    wire.send(find(kit))
    wire.send(cancel(kit, number=7))
    may_go_on.set()
    assert answers(wire)[0][-1] == (0, "")


def test_a_cancel_is_heeded_in_the_middle_of_long_work(kit):
    began = threading.Event()

    def answer(exchange):
        began.set()
        while True:
            exchange.heed(60)
        yield PENDING

    _, wire = serve(kit, answer)
    wire.send(find(kit))
    assert began.wait(60)
    wire.send(cancel(kit))
    assert answers(wire) == ([(0xFE00, "")], 0)


@pytest.mark.parametrize("last", [[Response(0xFE00, comment="three were sent")], []])
def test_a_service_may_say_more_when_it_is_cancelled(kit, last):
    def answer(exchange):
        try:
            yield from endless(exchange)
        except Cancelled:
            yield from last

    _, wire = serve(kit, answer)
    wire.send(find(kit), cancel(kit))
    assert answers(wire)[0][-1] == (0xFE00, last[0].comment if last else "")


def test_a_second_request_is_refused_while_the_first_is_under_way(kit):
    began, may_go_on = threading.Event(), threading.Event()

    def answer(exchange):
        began.set()
        while not may_go_on.is_set():
            exchange.heed(0.01)
        yield PENDING

    service, wire = serve(kit, answer)
    wire.send(find(kit))
    assert began.wait(60)
    wire.send(echo(kit, 2))
    status, comment = wire.response()
    assert status == 0x0213
    assert "one at a time" in comment
    wire.send(find(kit, 1))
    assert wire.response()[0] == 0x0210
    may_go_on.set()
    assert answers(wire) == ([(0xFF00, ""), (0, "")], 1)
    assert len(service.asked) == 1


def test_who_wants_to_leave_before_the_end_is_let_go(kit):
    _, wire = serve(kit, endless)
    wire.send(find(kit), RELEASE_RQ)
    assert answers(wire)[0][-1][0] == 0xFE00
    assert wire.pdu() == (RELEASE_RP[0], RELEASE_RP[6:])
    ((_, closed),) = kit.log.wait()
    assert closed.ended == "released"


def test_a_peer_that_is_gone_ends_the_work(kit):
    service, wire = serve(kit, endless)
    wire.send(find(kit))
    wire.response()
    wire.close()
    assert service.has_ended.wait(60)
    ((_, closed),) = kit.log.wait()
    assert closed.ended == "lost"


def test_stopping_ends_the_work(kit):
    service, wire = serve(kit, endless)
    wire.send(find(kit))
    wire.response()
    stopping = threading.Thread(target=kit.listener.stop, args=(60,))
    stopping.start()
    while (pdu := wire.pdu()) is not None and pdu[0] == 4:
        pass
    assert pdu == (7, b"\0\0\0\0")
    stopping.join(60)
    assert service.has_ended.is_set()
    ((_, closed),) = kit.log.wait()
    assert (closed.ended, closed.reason) == ("aborted by hostd", "hostd is stopping")


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (Refusal(0xA900, "that is no identifier"), (0xA900, "that is no identifier")),
        (ValueError("oops"), (0xC000, "an error of hostd; its log says which")),
    ],
)
@pytest.mark.parametrize("after", [0, 2])
def test_what_goes_wrong_is_answered_and_the_association_goes_on(kit, error, answer, after):
    def failing(exchange):
        for _ in range(after):
            yield PENDING
        raise error

    _, wire = serve(kit, failing)
    wire.send(find(kit))
    assert answers(wire) == ([(0xFF00, "")] * after + [answer], after)
    assert is_still_served(kit, wire)


def test_only_those_are_served_who_may(kit):
    service, wire = serve(kit, endless, rules=Rules())
    wire.send(find(kit))
    assert answers(wire) == ([(0x0124, "WIRE at 127.0.0.1 is no configured modality")], 0)
    service.callers.use(Rules((Known("wire", "WIRE", "127.0.0.1", frozenset(["move"])),)))
    wire.send(find(kit))
    assert answers(wire) == ([(0x0124, "modality wire may not find")], 0)
    assert not service.asked
    service.callers.use(Rules((Known("wire", "WIRE", "127.0.0.1", frozenset(["find"])),)))
    wire.send(find(kit), cancel(kit))
    assert answers(wire)[0][-1][0] == 0xFE00


def test_the_answer_to_a_sub_operation_is_awaited_and_a_cancel_meanwhile_is_kept(kit):
    heard = []

    def answer(exchange):
        request = commands.store_request(message_id=9, sop_class_uid=kit.CT, sop_instance_uid="1.2.3", priority=0)
        exchange.association.send_message(1, request, b"\x08\x00\x05\x00\x00\x00\x00\x00")
        heard.append(exchange.response_to(9).number(commands.STATUS))
        exchange.heed()
        yield PENDING

    _, wire = serve(kit, answer)
    wire.send(find(kit))
    assert wire.pdu()[0] == wire.pdu()[0] == 4
    response = commands.encode(
        (
            (commands.COMMAND_FIELD, commands.us(0x8001)),
            (commands.MESSAGE_ID_BEING_RESPONDED_TO, commands.us(9)),
            (commands.COMMAND_DATA_SET_TYPE, commands.us(commands.NO_DATA_SET)),
            (commands.STATUS, commands.us(0xB007)),
        )
    )
    wire.send(cancel(kit), kit.p_data(kit.pdv(response, command=True)))
    assert answers(wire) == ([(0xFE00, "")], 0)
    assert heard == [0xB007]


def test_an_identifier_without_end_is_not_read(kit):
    _, wire = serve(kit, endless)
    command = commands.find_request(message_id=1, sop_class_uid=FIND)
    wire.send(kit.p_data(kit.pdv(command, command=True)))
    for _ in range(65):
        try:
            wire.send(kit.p_data(kit.pdv(b"\0" * 65536, last=False)))
        except ConnectionError:
            break
    ((_, closed),) = kit.log.wait()
    assert "longer than that of any such message should be" in closed.reason


def test_sub_operations_are_counted_in_the_response():
    request = commands.decode(commands.find_request(message_id=3, sop_class_uid=FIND))
    counted = commands.SubOperations(completed=70_000, failed=1, warning=0, remaining=5)
    encoded = commands.decode(commands.response(request, 0xFF00, sub_operations=counted, has_data_set=True))
    numbers = [encoded.number(element) for element in range(0x1020, 0x1024)]
    assert numbers == [5, 65535, 1, 0]
    assert encoded.has_data_set
    final = commands.SubOperations(completed=2, failed=0, warning=0)
    assert 0x1020 not in commands.decode(commands.response(request, 0, sub_operations=final)).elements
