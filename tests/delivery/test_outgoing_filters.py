"""Filters before a delivery: what they keep back is never sent, and never counts as delivered."""

from dataclasses import replace

import pytest
from delivery_kit import small_file
from test_couriers import NAME

from hostd.archive.filterings import FilterRun
from hostd.delivery.faults import MAX_TRIES, of_filters
from hostd.intake.filtering import Changes, Judgement
from hostd.sandbox import frames
from hostd.scripting import filters
from hostd.scripting.filters import Filters, Reached

ACCEPTED = Judgement("accept", "", "", 0, Changes(), ())
DISCARDED = replace(ACCEPTED, verdict="discard", script="a.py", reason="a test patient")
FAILED = replace(ACCEPTED, verdict="refuse", script="a.py", reason="it raised", has_failed=True)


class Says:
    def __init__(self, judgement):
        self.judgement = judgement
        self.asked = []

    def __call__(self, delivery):
        self.asked.append(delivery.id)
        return self.judgement


@pytest.mark.parametrize("judgement", [None, ACCEPTED])
def test_what_filters_accept_goes(node, fake, judgement):
    number = node.ask(NAME)
    node.couriers(fake, ask_filters=Says(judgement))
    node.until_state(number, "delivered")


def test_what_a_filter_discards_is_failed_with_its_reason_and_nothing_is_sent(node, fake):
    numbers = [node.ask(NAME), node.ask(NAME)]
    node.couriers(fake, ask_filters=Says(DISCARDED))
    for number in numbers:
        failed = node.until_state(number, "failed", "delivered")
        assert (failed.state, failed.last_error) == ("failed", "filtered out by a.py: a test patient")
        assert node.outcomes(number) == ["failed"]
    assert fake.sent == fake.connections == []


def test_what_a_filter_keeps_back_holds_up_nothing_else(node, fake):
    kept = node.receive(small_file())
    first, second = node.ask(NAME, kept), node.ask(NAME)
    node.couriers(fake, ask_filters=lambda delivery: DISCARDED if delivery.instance == kept.id else None)
    assert node.until_state(first, "failed", "delivered").state == "failed"
    node.until_state(second, "delivered")


def test_a_filter_that_fails_puts_the_delivery_off_and_is_asked_again(node, fake):
    number, says = node.ask(NAME), Says(FAILED)
    node.couriers(fake, ask_filters=says)
    node.until(lambda: node.outcomes(number) == ["waiting"])
    assert "the filter a.py failed, so nothing was sent" in node.get(number).last_error
    assert fake.sent == []
    says.judgement = ACCEPTED
    node.advance(11)
    node.until_state(number, "delivered")
    assert len(says.asked) == 2


def test_a_filter_that_fails_for_ever_ends_in_a_failed_delivery(node, fake):
    number, says = node.ask(NAME), Says(FAILED)
    node.couriers(fake, ask_filters=says)
    for tried in range(1, MAX_TRIES + 1):
        node.until(lambda tried=tried: len(node.outcomes(number)) == tried)
        node.advance(1001)
    assert node.until_state(number, "failed", "delivered").state == "failed"
    assert fake.sent == []


def test_the_verdicts_as_a_courier_understands_them():
    assert of_filters(None) is of_filters(ACCEPTED) is None
    assert of_filters(DISCARDED)[0] == "instance"
    assert of_filters(FAILED)[0] == "later"


def test_a_filter_sees_instance_destination_and_origin_and_leaves_a_row(node, monkeypatch):
    instance = node.receive(small_file(PatientID="TEST1"))
    delivery = node.get(node.ask("modality:archive", instance))
    asked = []

    def run(self, script, question, answer):
        asked.append(question)
        return script, frames.Verdict(question.id, "discard", [], ["PatientID"], reason="a test patient")

    made = Filters(
        node.archive,
        time_limit_s=1,
        workers=1,
        reached={"modality:archive": Reached("archive", "ARCHIVE", "192.0.2.7")},
    )
    made._scripts = {"a.py": filters._Script("a.py", "v1", frozenset({"filter_outgoing_instance"}), None)}
    monkeypatch.setattr(Filters, "_run", run)
    judgement = made.outgoing(delivery)
    assert (judgement.verdict, judgement.reason) == ("discard", "a test patient")
    (question,) = asked
    assert (question.instance.patient_id, question.destination, question.instance.origin.kind) == (
        "TEST1",
        "archive",
        "http",
    )
    assert (question.destination_aet, question.destination_host) == ("ARCHIVE", "192.0.2.7")
    (run_kept,) = judgement.runs
    assert isinstance(run_kept, FilterRun)
    with node.archive.read() as connection:
        kinds = connection.exec_driver_sql("SELECT kind FROM event ORDER BY number").scalars().all()
        verbs = connection.exec_driver_sql("SELECT verb FROM action").scalars().all()
    assert (kinds[0], kinds[-1], verbs) == ("stored_instance", "filtered_outgoing", ["discard"])


def test_a_file_that_cannot_be_read_is_not_sent(node):
    delivery = node.get(node.ask(NAME))
    node.archive.blobs.unlink(delivery.blob)
    made = Filters(node.archive, time_limit_s=1, workers=1)
    made._scripts = {"a.py": filters._Script("a.py", "v1", frozenset({"filter_outgoing_instance"}), None)}
    assert made.outgoing(delivery).has_failed
