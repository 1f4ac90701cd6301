"""What scripts decide of deliveries and of quiet time: done, recorded with who did it, and never without an end (P3)."""

import threading

import pytest
from scripts_kit import FORWARD, resolve
from test_plan import event

from hostd.archive import deliveries, occurrences, quieting
from hostd.archive import tables as t
from hostd.archive.records import Attempt
from hostd.config.sections import Script
from hostd.jobs.carrying import Carrier
from hostd.jobs.dealing import QUEUE, Dealing
from hostd.jobs.quiet import tell_due
from hostd.sandbox import acts, frames
from hostd.scripting.honesty import dishonest
from hostd.scripting.loading import Names, load_frame
from hostd.scripting.plan import MAX_HOPS, as_frames_event
from hostd.scripting.plan import resolve as planned_of
from hostd.scripting.rehearsal import sentence
from hostd.scripting.situations import EXAMPLES


def on(name, *lines):
    subject = "delivery" if "delivery" in name else "destination"
    return f"def {name}({subject}, host):\n" + "".join(f"    {line}\n" for line in lines)


@pytest.fixture
def bench(bench):
    bench.start()
    bench.put("f.py", FORWARD)
    return bench


def fail(bench, destination="modality:archive"):
    """Have all that waits for a destination fail for good."""
    now = bench.archive.clock.now()
    for one in bench.archive.writer.do(lambda c: deliveries.claim(c, destination, 1, now, 100)):
        attempt = Attempt(one.id, 1, now, "failed", "no", 0xC000)
        bench.archive.writer.do(lambda c, a=attempt: deliveries.finish(c, a, 1), topics=("event",))


def arrived(bench, *names, count=1):
    bench.arrive(count)
    for name in ("f.py", *names):
        bench.until_passed(name)


def rows(bench):
    return [(row.destination, row.state, row.script) for row in bench.rows(t.delivery)]


def test_a_failed_delivery_goes_to_another_destination_and_says_who_did_it(bench):
    bench.put("a.py", on("on_delivery_failed", "host.redirect(delivery, to='ai')"))
    arrived(bench)
    fail(bench)
    bench.until_passed("a.py")
    assert rows(bench) == [("modality:archive", "discarded", "f.py"), ("peer:ai", "waiting", "a.py")]
    said = bench.rows(t.attempt)[-1]
    assert said.outcome == "redirected"
    assert "to peer:ai as delivery 2, redirected by the script a.py: at event" in said.answer
    (action,) = bench.rows(t.action, script="a.py")
    assert (action.verb, action.state, action.result) == ("redirect", "done", {"delivery": 2, "instead_of": 1})


@pytest.mark.parametrize(("verb", "state"), [("retry", "waiting"), ("discard", "discarded")])
def test_a_failed_delivery_is_tried_again_or_given_up(bench, verb, state):
    bench.may("a.py", may=["delete"])
    bench.put("a.py", on("on_delivery_failed", f"host.{verb}(delivery)"))
    arrived(bench)
    fail(bench)
    bench.until_passed("a.py")
    assert [row[1] for row in rows(bench)] == [state]
    assert "by the script a.py" in bench.rows(t.attempt)[-1].answer


def test_what_cannot_be_dealt_with_so_is_left_alone_and_says_why(bench):
    bench.put("a.py", on("on_delivery_failed", "host.hold(delivery)", "host.redirect(delivery, to='archive')"))
    arrived(bench)
    fail(bench)
    bench.until_passed("a.py")
    assert [row[1] for row in rows(bench)] == ["failed"]
    actions = bench.rows(t.action, script="a.py")
    assert [row.state for row in actions] == ["skipped", "skipped"]
    assert "hold is for what is" in actions[0].result["reason"]
    assert "is to modality:archive already" in actions[1].result["reason"]


def test_two_destinations_that_fail_in_turn_come_to_an_end(bench):
    bench.put(
        "a.py",
        on(
            "on_delivery_failed", "host.redirect(delivery, to='ai' if delivery.destination == 'archive' else 'archive')"
        ),
    )
    arrived(bench)
    for _ in range(MAX_HOPS):
        for destination in ("modality:archive", "peer:ai"):
            fail(bench, destination)
            bench.until_passed("a.py")
    assert len(rows(bench)) == MAX_HOPS
    assert rows(bench)[-1][1] == "failed"
    assert "followed from one another" in bench.rows(t.action, script="a.py")[-1].result["reason"]


@pytest.mark.parametrize(("verb", "state"), [("redirect", "discarded"), ("hold", "held"), ("discard", "discarded")])
def test_all_that_waits_for_a_destination_is_dealt_with_after_the_run(bench, verb, state):
    bench.may("a.py", may=["delete"])
    to = ", to='ai'" if verb == "redirect" else ""
    bench.put("a.py", on("on_destination_down", f"host.{verb}(destination{to})"))
    arrived(bench, count=3)
    bench.archive.writer.do(lambda c: occurrences.destination_down(c, "modality:archive", "no", 1.0), topics=("event",))
    bench.until_passed("a.py")
    assert {row[1] for row in rows(bench)} == {"waiting"}
    carrier = Carrier(bench.archive, QUEUE, Dealing(bench.archive), None)
    while carrier.turn() == 0:
        pass
    assert [row[1] for row in rows(bench)][:3] == [state] * 3
    assert [row[:2] for row in rows(bench)][3:] == ([("peer:ai", "waiting")] * 3 if verb == "redirect" else [])
    (action,) = bench.rows(t.action, script="a.py")
    assert (action.state, action.result) == ("done", {"outcome": verb, "destination": "modality:archive", "count": 3})


def probe(bench):
    """Begin to send one that waits for the archive; return what ends that, without success."""
    now = bench.archive.clock.now()
    (probed,) = bench.archive.writer.do(lambda c: deliveries.claim(c, "modality:archive", 1, now, 1))
    attempt = Attempt(probed.id, 1, now, "unreached", "no")
    return lambda: bench.archive.writer.do(lambda c: deliveries.put_off(c, attempt, 1, now + 60), topics=("delivery",))


@pytest.mark.parametrize("comes_back", ["at once", "later"])
@pytest.mark.parametrize(("verb", "state"), [("redirect", "discarded"), ("hold", "held")])
def test_what_is_being_sent_to_a_destination_that_is_down_is_dealt_with_once_it_is_known_not_to_arrive(
    bench, monkeypatch, verb, state, comes_back
):
    to = ", to='ai'" if verb == "redirect" else ""
    bench.put("a.py", on("on_destination_down", f"host.{verb}(destination{to})"))
    arrived(bench, count=3)
    bench.archive.writer.do(lambda c: occurrences.destination_down(c, "modality:archive", "no", 1.0), topics=("event",))
    bench.until_passed("a.py")
    end_probe = probe(bench)
    carrier = Carrier(bench.archive, QUEUE, Dealing(bench.archive), None)
    if comes_back == "later":
        monkeypatch.setattr("hostd.jobs.dealing._PATIENCE_S", 0.0)
        carrier.turn()
        assert [row[1] for row in rows(bench)][:3] == ["sending", state, state]
        (task,) = bench.rows(t.task)
        assert (task.state, task.last_error) == (
            "waiting",
            "1 of the deliveries to modality:archive are being sent just now",
        )
        end_probe()
        monkeypatch.undo()
        bench.archive.clock.advance(61)
    else:
        monkeypatch.setattr("hostd.jobs.dealing._PATIENCE_S", 60.0)
        threading.Thread(target=lambda: (bench.until(lambda: rows(bench)[2][1] == state), end_probe())).start()
    while carrier.turn() == 0:
        pass
    assert [row[1] for row in rows(bench)][:3] == [state] * 3
    (action,) = bench.rows(t.action, script="a.py")
    assert (action.state, action.result["count"]) == ("done", 3)


def test_only_destinations_that_the_script_is_given_are_dealt_with(bench):
    bench.may("a.py", destinations=["ai"])
    lines = ("try:", "    host.retry(delivery)", "except NotAllowed as error:", "    print(error)")
    bench.put("a.py", on("on_delivery_failed", *lines))
    arrived(bench)
    fail(bench)
    bench.until_passed("a.py")
    (said,) = bench.logged("a.py")
    assert said.startswith("this script may not send to 'archive'")
    assert said.endswith('destinations = ["ai", "archive"] under [scripts."a.py"]')


def told(kind="delivery_failed"):
    return event(kind=kind, facts=EXAMPLES[kind])


@pytest.mark.parametrize(
    ("action", "says"),
    [
        (acts.Deal("retry", 1), None),
        (acts.Deal("redirect", 1, "archive"), None),
        (acts.Deal("retry", 2), "another delivery"),
        (acts.Deal("retry", None), "another delivery"),
        (acts.Deal("redirect", 1, "nowhere"), "may not take"),
        (acts.Deal("redirect", 1), "may not take"),
        (acts.Deal("hold", 1, "archive"), "may not take"),
        (acts.Deal("discard", 1), "may not take"),
    ],
)
def test_a_worker_that_takes_what_its_script_may_not_is_dishonest(action, says):
    load = load_frame("x.py", "", Script(), Names(["archive"]), resolve)
    verdict = dishonest(frames.Result(7, [action], [], []), as_frames_event(told()), load, set())
    assert verdict is None if says is None else says in verdict


def test_a_rehearsal_says_what_would_become_of_deliveries():
    (held,) = planned_of([acts.Deal("hold", 1)], told(), resolve)
    assert sentence(held, told()) == "hold delivery 1"
    down = event(kind="destination_down", subject="modality:archive", facts=EXAMPLES["destination_down"])
    (all_of_it,) = planned_of([acts.Deal("redirect", None, "ai")], down, resolve)
    assert sentence(all_of_it, down) == "redirect what waits for modality:archive to peer:ai"


# -- quiet time


def test_a_study_is_stable_when_a_script_says_so_and_what_is_below_it_before(bench):
    lines = ("if study.count == 1:", "    host.declare_stable(study)")
    bench.put("a.py", "def on_new_study(study, host):\n" + "".join(f"    {line}\n" for line in lines))
    seen = bench.archive.bulletin.seen(quieting.TOPIC)
    arrived(bench, "a.py")
    assert bench.archive.bulletin.wait(quieting.TOPIC, seen, 60) > seen, "whoever waits for what is due is told"
    assert tell_due(bench.archive) == 2
    kinds = [row.kind for row in bench.rows(t.event) if row.kind.startswith("stable_")]
    assert kinds == ["stable_series", "stable_study"]


def test_where_nothing_came_since_nothing_is_stable_again(bench):
    bench.put("a.py", "def on_stable_study(study, host):\n    host.declare_stable(study)\n")
    arrived(bench)
    bench.archive.clock.advance(60)
    assert tell_due(bench.archive) == 3
    bench.until_passed("a.py")
    assert tell_due(bench.archive) == 0
    (action,) = bench.rows(t.action, script="a.py")
    assert (action.state, "nothing of the study came" in action.result["reason"]) == ("skipped", True)
