"""What notifications promise: they arrive, again and again tried, limited, without patients and without secrets."""

import pytest
from certificates import Certificates, needs_openssl, secured
from channels_kit import HookServer, MailServer
from delivery_kit import ANSWERED, FakeDestination, small_file
from ports import free_port

from hostd.archive import notices
from hostd.config.notify import Channel
from hostd.delivery.channels import ChannelError, Message, channel_of
from hostd.delivery.destinations import Answer
from hostd.delivery.notifier import Notifiers

NAME = "modality:fake"
REFUSED = Answer("instance", "0xC000 (patient Muster^Max is not known)", 0xC000, "1.2.840.10008.1.2.1")
NOTE = Message("notification-7", "The first line\nand another", 1.7e9, "x.py")


def hook(port, **more):
    return Channel(url=f"http://127.0.0.1:{port}/secret-key", timeout_s=60, **more)


def mail(port, **more):
    return Channel(
        host="127.0.0.1",
        port=port,
        tls="none",
        sender="hostd@here.example",
        to=["a@there.example"],
        timeout_s=60,
        **more,
    )


@pytest.fixture
def web():
    with HookServer() as made:
        yield made


@pytest.fixture
def post():
    with MailServer() as made:
        yield made


@pytest.fixture
def notifying(node):
    started = []

    def start(**channels):
        made = Notifiers(
            node.archive, {name: channel_of(name, entry, "node") for name, entry in channels.items()}, node.policy,
            node.clock, "node",
        )  # fmt: skip
        made.start()
        started.append(made)
        return made

    yield start
    for one in started:
        one.stop(10)


def ask(node, channel="ops", text="hello", **more):
    options = {"key": text, "every_s": None, "now": node.clock.now(), **more}
    number, is_new = node.archive.writer.do(
        lambda c: notices.ask(c, channel=channel, text=text, **options), topics=("notification",)
    )
    return number, is_new


def rows(node):
    with node.archive.read() as connection:
        return list(reversed(notices.listing(connection)))


def state(node, number):
    return next(one for one in rows(node) if one.id == number)


def turn(node, seconds):
    node.clock.advance(seconds)
    node.archive.bulletin.ring("notification", "delivery")


# -- the channels


def test_a_mail_says_who_what_and_when_and_can_be_told_from_its_double(post):
    channel_of("ops", mail(post.port), "node").send(NOTE)
    (got,) = post.mails
    assert (got["From"], got["To"]) == ("hostd@here.example", "a@there.example")
    assert got["Subject"] == "[hostd node] The first line"
    assert got["Message-ID"] == "<notification-7@node.hostd.invalid>"
    assert "and another" in got.get_content()
    assert "x.py" in got.get_content()


def test_a_text_cannot_add_headers_to_a_mail(post):
    channel_of("ops", mail(post.port), "node").send(Message("1", "a\r\nBcc: all@there.example\r\n\r\nb", 1.7e9))
    assert post.mails[0]["Bcc"] is None
    assert "Bcc: all" in post.mails[0].get_content()


def test_what_a_mail_server_refuses_for_good_is_final_and_what_it_puts_off_is_not(post):
    for answer, final in (("554 no", True), ("451 later", False)):
        post.answer = answer
        with pytest.raises(ChannelError, match=answer[:3]) as refused:
            channel_of("ops", mail(post.port), "node").send(NOTE)
        assert refused.value.is_final is final


def test_a_password_is_never_sent_to_a_server_that_cannot_encrypt(post):
    entry = Channel(
        host="127.0.0.1",
        port=post.port,
        sender="a@b.example",
        to=["c@d.example"],
        username="u",
        password="geheim",
        timeout_s=60,
    )
    with pytest.raises(ChannelError) as refused:
        channel_of("ops", entry, "node").send(NOTE)
    assert post.mails == []
    assert "geheim" not in str(refused.value)


def test_a_webhook_gets_json_with_its_headers(web):
    channel_of("ops", hook(web.port, headers={"X-Key": "k"}), "node").send(NOTE)
    assert web.bodies[0] == {
        "text": NOTE.text, "id": "notification-7", "at": "2023-11-14T22:13:20+00:00", "node": "node", "script": "x.py",
    }  # fmt: skip
    assert web.headers[0]["X-Key"] == "k"
    assert web.headers[0]["Idempotency-Key"] == "notification-7"


def test_no_error_of_a_webhook_tells_its_url(web):
    web.status = 302
    for port in (web.port, free_port()):
        with pytest.raises(ChannelError) as refused:
            channel_of("ops", hook(port), "node").send(NOTE)
        assert "secret-key" not in str(refused.value)
        assert refused.value.is_final is False
    assert len(web.bodies) == 1  # the redirection was not followed


# -- the notifiers


def test_a_notification_is_sent_once(node, web, notifying):
    notifying(ops=hook(web.port))
    number, _ = ask(node)
    node.until(lambda: state(node, number).state == "sent")
    assert [body["text"] for body in web.bodies] == ["hello"]


def test_what_cannot_be_sent_is_tried_again_and_given_up_in_the_open(node, web, notifying):
    web.status = 503
    notifying(ops=hook(web.port, give_up_after_h=1))
    number, _ = ask(node)
    node.until(lambda: state(node, number).attempts == 1)
    assert state(node, number).state == "waiting"
    assert "503" in state(node, number).last_error
    turn(node, 3601)
    node.until(lambda: state(node, number).state == "failed")
    assert len(web.bodies) == 2
    web.status = 200
    node.archive.writer.do(lambda c: notices.retry(c, number, node.clock.now()), topics=("notification",))
    node.until(lambda: state(node, number).state == "sent")


def test_channels_change_while_notifications_are_sent(node, web, notifying):
    with HookServer() as other:
        running = notifying(ops=hook(web.port), old=hook(web.port))
        number, _ = ask(node)
        node.until(lambda: state(node, number).state == "sent")
        running.use(
            {"ops": channel_of("ops", hook(other.port), "node"), "new": channel_of("new", hook(other.port), "node")}
        )
        sent = [ask(node)[0], ask(node, "new")[0]]
        waits, _ = ask(node, "old")
        node.until(lambda: all(state(node, one).state == "sent" for one in sent))
        assert (len(web.bodies), len(other.bodies), state(node, waits).state) == (1, 2, "waiting")
        running.use({"old": channel_of("old", hook(web.port), "node")})
        node.until(lambda: state(node, waits).state == "sent")


def test_what_waits_survives_a_restart(node, web, notifying):
    web.status = 503
    first = notifying(ops=hook(web.port))
    number, _ = ask(node)
    node.until(lambda: state(node, number).attempts == 1)
    first.stop(10)
    node.archive.close()
    node.open()
    web.status = 200
    turn(node, 100)
    second = Notifiers(
        node.archive, {"ops": channel_of("ops", hook(web.port), "node")}, node.policy, node.clock, "node"
    )
    second.start()
    node.until(lambda: state(node, number).state == "sent")
    second.stop(10)
    assert [body["id"] for body in web.bodies] == [f"notification-{number}"] * 2


def test_a_slow_channel_delays_no_other(node, web, post, notifying):
    post.gate.clear()
    notifying(slow=mail(post.port), ops=hook(web.port))
    stuck, _ = ask(node, "slow")
    number, _ = ask(node)
    node.until(lambda: state(node, number).state == "sent")
    assert state(node, stuck).state == "waiting"
    post.gate.set()


def test_more_of_one_key_are_counted_and_held_back_until_their_time(node, web, notifying):
    notifying(ops=hook(web.port))
    first, _ = ask(node, key="k", every_s=60)
    node.until(lambda: state(node, first).state == "sent")
    assert ask(node, key="k", every_s=60, text="other") == (first, False)
    assert ask(node, key="k", every_s=60) == (first, False)
    assert ask(node, key="another", every_s=60)[1]
    turn(node, 61)
    second, is_new = ask(node, key="k", every_s=60)
    assert is_new
    node.until(lambda: state(node, second).state == "sent")
    assert "2 more like it were held back" in web.bodies[-1]["text"]


# -- what is told without a script


def test_failed_deliveries_reach_the_default_channel_once_an_hour_and_name_no_patient(node, fake, web, notifying):
    notifying(default=hook(web.port))
    fake.answers[None] = REFUSED
    numbers = [node.ask(NAME) for _ in range(3)]
    node.couriers(fake)
    for number in numbers:
        node.until_state(number, "failed")
    node.until(lambda: [one.state for one in rows(node)] == ["sent"])
    assert "modality:fake failed with status 0xC000" in web.bodies[0]["text"]
    assert "Muster" not in web.bodies[0]["text"]
    turn(node, 3601)
    node.until_state(node.ask(NAME), "failed")
    node.until(lambda: [one.state for one in rows(node)] == ["sent", "sent"])
    assert "2 more like it" in web.bodies[1]["text"]


def test_a_channel_with_phi_gets_the_answer_too(node, fake, web, notifying):
    notifying(default=hook(web.port, phi=True))
    fake.answers[None] = REFUSED
    node.ask(NAME)
    node.couriers(fake)
    node.until(lambda: web.bodies)
    assert "Muster^Max is not known" in web.bodies[0]["text"]


def test_a_dead_destination_is_told_once_however_many_deliveries_wait_and_without_a_channel_nothing_is_written(
    node, fake, web, notifying
):
    fake.refuses = "no route to host"
    other = FakeDestination("modality:other")
    other.refuses = "no route to host"
    node.couriers(other)
    node.ask(other.name)
    other.wait(lambda: other.connections)
    node.until(lambda: events_of(node, "destination_down"))
    assert rows(node) == []
    notifying(default=hook(web.port))
    for _ in range(3):
        node.ask(NAME)
    node.couriers(fake)
    node.until(lambda: web.bodies)
    turn(node, 100)
    fake.wait(lambda: len(fake.connections) > 1)
    assert len(rows(node)) == 1
    assert "modality:fake fails" in web.bodies[0]["text"]


# -- events of deliveries


def events_of(node, *kinds):
    from hostd.archive import events  # noqa: PLC0415

    with node.archive.read() as connection:
        return events.latest(connection, kinds, 100)


def test_each_delivery_that_ends_is_one_event_with_its_answer_and_its_instance(node, fake):
    good, bad = node.receive(small_file()), node.receive(small_file())
    fake.answers[bad.sop_instance_uid] = REFUSED
    first, second = node.ask(NAME, good), node.ask(NAME, bad)
    node.couriers(fake)
    node.until_state(second, "failed")
    done, failed = events_of(node, "delivery_done", "delivery_failed")
    assert (done.kind, done.subject, done.facts["delivery"], done.facts["state"]) == (
        "delivery_done", good.id, first, "delivered",
    )  # fmt: skip
    assert (failed.kind, failed.subject, failed.facts["delivery"]) == ("delivery_failed", bad.id, second)
    assert failed.facts["status"] == 0xC000
    assert failed.header is not None
    assert done.facts["sent_syntax"] == ANSWERED.sent_syntax


def test_a_destination_is_told_as_down_once_and_as_up_once_over_restarts(node, fake):
    fake.refuses = "no route to host"
    number = node.ask(NAME)
    node.couriers(fake)
    node.until(lambda: events_of(node, "destination_down"))
    node.started.pop().stop(10)
    node.archive.close()
    node.open()
    before = len(fake.connections)
    node.couriers(fake)
    turn(node, 1000)
    fake.wait(lambda: len(fake.connections) > before)
    fake.refuses = None
    node.until(lambda: turn(node, 1000) or node.get(number).state == "delivered")
    node.until(lambda: events_of(node, "destination_up"))
    down, up = events_of(node, "destination_down", "destination_up")
    assert (down.kind, up.kind) == ("destination_down", "destination_up")
    assert down.subject == up.subject == NAME
    assert "no route to host" in up.facts["reason"]
    assert up.facts["since"] == down.at


@needs_openssl
@pytest.mark.parametrize("missing", [None, "ca_file", "client_certificate_file"])
def test_a_webhook_is_called_with_own_authority_and_client_certificate(web, tmp_path, missing):
    certificates = Certificates(tmp_path / "certificates")
    secured(web.server, certificates)
    certificate, key = certificates.client
    options = {"ca_file": certificates.ca, "client_certificate_file": certificate, "client_key_file": key}
    if missing == "client_certificate_file":
        del options["client_certificate_file"], options["client_key_file"]
    elif missing is not None:
        del options[missing]
    channel = channel_of("ops", Channel(url=f"https://127.0.0.1:{web.port}/hook", timeout_s=60, **options), "node")
    if missing is None:
        channel.send(NOTE)
        assert [body["id"] for body in web.bodies] == [NOTE.id]
    else:
        with pytest.raises(ChannelError):
            channel.send(NOTE)
        assert web.bodies == []
