"""What a cancelled job was sending is sent no more: what waits or is only claimed goes no more, and what fails on its way is not tried again (P3)."""

import json
import shutil

import pytest
import requests
from delivery_kit import ANSWERED, small_file
from node_kit import Place, wait_until
from peers_kit import storescp

from hostd.archive import deliveries, jobs
from hostd.archive import tables as t
from hostd.archive.delivery_orders import Order, decide
from hostd.archive.sendings import Way
from hostd.config.settings import load
from hostd.delivery.destinations import Answer
from hostd.jobs.running import Runner
from hostd.jobs.sending import MODALITY, Sending, Sends
from hostd.node import Node as WholeNode

BOTH_DATABASES = True
TO = "modality:fake"
AGAIN = Answer("later", "0xA700", 0xA700)


@pytest.fixture
def job(node, fake):
    """A job that sends ten instances, the first of which is on its way."""
    runner = Runner(node.archive, {}, node.policy, at_once=1)
    fake.gate.clear()
    couriers = node.couriers(fake)
    runner.kinds[MODALITY] = Sends(node.archive, couriers)
    ids = [node.receive(small_file()).id for _ in range(10)]
    asked = Sending(Way(TO, "", None, "", 20)).to_json()
    identifier = node.archive.writer.do(
        lambda c: jobs.submit(c, MODALITY, asked, node.clock.now(), items=ids), topics=jobs.TOPICS
    )
    runner.start()
    assert fake.entered.acquire(timeout=60)
    yield identifier
    fake.gate.set()
    runner.stop(60)


def cancel(node, identifier):
    node.archive.writer.do(lambda c: jobs.decide(c, identifier, "cancel", node.clock.now()), topics=jobs.TOPICS)
    node.until(lambda: get(node, identifier).has_ended)


def get(node, identifier):
    with node.archive.read() as connection:
        return jobs.get(connection, identifier)


def states(node):
    with node.archive.read() as connection:
        return [row.state for row in reversed(deliveries.listing(connection))]


def of_open(node):
    return [state for state in states(node) if state in t.OPEN_STATES]


def test_what_is_claimed_is_not_sent_any_more_and_what_is_on_its_way_is_in_the_account(node, fake, job):
    cancel(node, job)
    fake.gate.set()
    node.until(lambda: not of_open(node))
    found = states(node)
    assert found.count("delivered") == len(fake.sent)
    assert 1 <= len(fake.sent) <= 2, "what was on its way, and what was noted to follow"
    assert found.count("failed") == 10 - len(fake.sent)
    assert get(node, job).error_code == 37
    other = node.ask(TO)  # the courier goes on
    node.until_state(other, "delivered")
    with node.archive.read() as connection:
        failed = next(row for row in deliveries.listing(connection) if row.state == "failed")
        assert ("the job was cancelled" in failed.last_error, failed.attempts) == (True, 0)


def test_what_fails_on_its_way_is_not_tried_again(node, fake, job):
    fake.answers[None] = AGAIN
    cancel(node, job)
    fake.gate.set()
    node.until(lambda: not of_open(node))
    assert set(states(node)) == {"failed"}
    sent = len(fake.sent)
    first = node.get(1)
    assert "its job ended while it was sent; last: 0xA700" in first.last_error
    assert [one.outcome for one in node.attempts(1)] == ["waiting", "failed"]
    node.advance(10_000)
    node.ask(TO)
    fake.wait(lambda: len(fake.sent) > sent)
    assert len(fake.sent) == sent + 1, "only what somebody else asked for"


def test_what_a_person_has_tried_again_is_tried_as_any_other(node, fake, job):
    fake.answers[None] = AGAIN
    cancel(node, job)
    fake.gate.set()
    node.until(lambda: not of_open(node))
    order = Order("retry", "me", "why", node.clock.now())
    assert node.archive.writer.do(lambda c: decide(c, order, [1]), topics=("delivery",)).done == [1]
    node.until(lambda: len(node.attempts(1)) == 3)
    assert node.get(1).state == "waiting"
    fake.answers[None] = ANSWERED
    node.advance(10_000)
    node.until_state(1, "delivered")


@pytest.mark.sqlite_only
@pytest.mark.skipif(shutil.which("storescp") is None, reason="DCMTK is not on the PATH")
def test_a_slow_storescp_gets_no_more_than_is_told_as_delivered(tmp_path):
    """Over HTTP, as people cancel."""
    received = tmp_path / "received"
    with storescp(received, "--sleep-during", 1) as port:
        more = f'[modalities.slow]\naet = "SLOW"\nhost = "127.0.0.1"\nport = {port}\n'
        place = Place(tmp_path, "sender", more=more)
        node = WholeNode(load(place.config), run_scripts=False)
        node.start()
        try:
            url = f"http://127.0.0.1:{place.http_port}"
            ids = [requests.post(f"{url}/instances", data=small_file(), timeout=60).json()["ID"] for _ in range(8)]
            body = json.dumps({"Resources": ids, "Asynchronous": True})
            job = requests.post(f"{url}/modalities/slow/store", data=body, timeout=60).json()["ID"]
            wait_until("some are there", lambda: len(list(received.iterdir())) >= 2)
            assert requests.post(f"{url}/jobs/{job}/cancel", timeout=60).status_code == 200

            def ended():
                with node.archive.read() as connection:
                    found = deliveries.listing(connection)
                return found if not any(row.state in t.OPEN_STATES for row in found) else None

            found = wait_until("all deliveries have ended", ended)
            assert requests.get(f"{url}/jobs/{job}", timeout=60).json()["State"] == "Failure"
        finally:
            node.stop()
    delivered = [row.sop_instance_uid for row in found if row.state == "delivered"]
    there = sorted(path.name.split(".", 1)[1] for path in received.iterdir())
    assert there == sorted(delivered)
    assert 2 <= len(there) < 8
