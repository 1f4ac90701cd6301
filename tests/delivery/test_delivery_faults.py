import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostd.archive.records import Attempt
from hostd.delivery import faults

BOTH_DATABASES = True


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (0x0000, "delivered"), (0x0111, "present"),
        (0xB000, "warning"), (0xB006, "warning"), (0xB007, "warning"), (0xBFFF, "warning"), (0x0001, "warning"),
        (0xA900, "instance"), (0xA9FF, "instance"), (0xC000, "instance"), (0xCFFF, "instance"),
        (0x0117, "instance"), (0x0122, "instance"), (0x0124, "instance"),
        (0xA700, "later"), (0xA7FF, "later"), (0x0110, "later"), (0xFE00, "later"), (0xFF00, "later"), (0x0211, "later"),
        (0x9999, "later"),
    ],
)  # fmt: skip
def test_a_dimse_status_is_judged_as_the_standard_means_it(status, verdict):
    assert faults.of_status(status) == verdict


@given(st.integers(0, 0xFFFF))
def test_no_status_blames_the_whole_destination_and_few_mean_success(status):
    verdict = faults.of_status(status)
    assert verdict != "destination"
    assert (verdict == "delivered") == (status == 0x0000)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (400, "instance"), (409, "instance"), (413, "instance"), (415, "instance"),
        (401, "destination"), (403, "destination"), (404, "destination"), (429, "destination"), (302, "destination"),
        (500, "destination"), (502, "destination"), (503, "destination"), (507, "destination"),
        (408, "later"), (418, "later"),
    ],
)  # fmt: skip
def test_an_http_status_tells_whose_fault_it_is(status, verdict):
    assert faults.of_http(status) == verdict


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ({"Status": "Success"}, "delivered"),
        ({"Status": "AlreadyStored"}, "delivered"),
        ({"Status": "FilteredOut"}, "instance"),
        ({"Status": "Failure"}, "later"),
        ({"Status": ["Success"]}, "later"),
        ({}, "later"),
        ([{"Status": "Success"}], "later"),
        ("Success", "later"),
        (None, "later"),
    ],
)
def test_only_an_answer_that_says_stored_is_a_delivery(answer, verdict):
    judged, text = faults.of_store_answer(answer)
    assert judged == verdict
    assert text


def attempt(outcome, at=0.0, syntax="1.2", seconds=0.1):
    return Attempt(1, 1, at, outcome, "said", None, seconds, syntax)


def test_tries_are_counted_since_the_last_final_failure_and_without_the_destinations_faults():
    history = [
        attempt("waiting"), attempt("failed"), attempt("waiting"), attempt("unreached"), attempt("lost"),
        attempt("stray"), attempt("lost", syntax=None, seconds=None),
    ]  # fmt: skip
    assert faults.tries(history) == 2
    assert faults.tries([]) == 0


@given(st.lists(st.sampled_from(["unreached", "stray"])))
def test_the_destinations_faults_never_add_up(outcomes):
    assert faults.tries([attempt(outcome) for outcome in outcomes]) == 0


def tried(verdict, status=None, **options):
    return faults.Tried(verdict, status, **options)


WAITED = [attempt("waiting", at=at) for at in range(faults.MAX_TRIES - 1)]
NIGHT = faults.SCARCE_S


@pytest.mark.parametrize(
    ("came", "earlier", "now", "outcome"),
    [
        (tried("delivered", 0), [], 0, "delivered"),
        (tried("warning", 0xB000), [], 0, "warning"),
        (tried("present"), [], 0, "present"),
        (tried("present"), [attempt("lost")], 0, "present"),
        (tried("present", 0x0111), [attempt("waiting"), attempt("unreached")], 0, "present"),
        (tried("present", 0x0111), [attempt("lost"), attempt("unreached")], 0, "present"),
        (tried("instance", 0xC000), [], 0, "failed"),
        (tried("instance", 0xC000, counts=False), [], 0, "failed"),
        (tried("later", 0x0110), [], 0, "waiting"),
        (tried("later", 0x0110), WAITED[1:], 9, "waiting"),
        (tried("later", 0x0110), WAITED, 9, "failed"),
        (tried("later", 0x0110, counts=False), WAITED, 9, "unreached"),
        (tried("later", 0xA700), WAITED, 9, "waiting"),
        (tried("later", 0xA700), WAITED, NIGHT - 1, "waiting"),
        (tried("later", 0xA700), WAITED, NIGHT, "failed"),
        (tried("later", 0xA700), WAITED[1:], NIGHT, "waiting"),
        (tried("later", lost=True), [], 0, "lost"),
        (tried("later", lost=True, counts=False), [], 0, "lost"),
        (tried("later", lost=True), WAITED, 9, "failed"),
        (tried("unnegotiated"), [], 0, "unnegotiated"),
        (tried("unnegotiated"), [attempt("unnegotiated")], 0, "failed"),
        (tried("unnegotiated", counts=False), [attempt("unnegotiated")], 0, "unnegotiated"),
        (tried("unnegotiated"), [attempt("unnegotiated"), attempt("unreached")], 0, "unnegotiated"),
    ],
)
def test_what_becomes_of_an_instance_after_a_try(came, earlier, now, outcome):
    assert faults.outcome(came, earlier, now) == outcome


def test_an_instance_is_alone_in_failing_only_when_others_were_taken_after_it_was_sent():
    history = [attempt("unreached", at=10)]
    assert not faults.is_alone_in_failing(history, None)
    assert not faults.is_alone_in_failing(history, 9)
    assert faults.is_alone_in_failing(history, 11)
    assert not faults.is_alone_in_failing([], 11)
    assert not faults.is_alone_in_failing([attempt("unreached", at=10, syntax=None)], 11)
