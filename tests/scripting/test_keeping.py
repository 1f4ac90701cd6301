"""Scripts that store and replace: what enters the plan, what is refused, and what other scripts are told."""

import pytest
from scripts_kit import handler
from test_plan import HERE, J2K, J2K91, event, plan

from hostd.archive import tables as t
from hostd.archive import tasks
from hostd.archive.tasks import PlannedTask
from hostd.config.sections import Script
from hostd.errors import ScriptError
from hostd.sandbox import acts, frames
from hostd.scripting.honesty import dishonest
from hostd.scripting.loading import Names, load_frame
from hostd.scripting.plan import MAX_HOPS, as_frames_event
from hostd.scripting.rehearsal import sentence
from hostd.transcoding.transform import Transform

MODIFY = frames.Modify(HERE, {"PatientID": "7"})
LOSSY = frames.Transcode(HERE, J2K91, quality=80)
LOSSLESS = frames.Transcode(HERE, J2K)


def test_a_product_with_an_identity_of_its_own_may_be_stored():
    for make in (MODIFY, LOSSY, frames.Redact(HERE, [(0, 0, 1, 1)])):
        *_, stored = plan(make, acts.Store(0))
        assert isinstance(stored, PlannedTask)
        assert (stored.verb, stored.queue, stored.skip) == ("store", "store", None)
        assert Transform.parse(stored.transform)
        assert sentence(stored, event()) == "store the product of the instance"


def test_a_lossless_transcode_of_the_same_instance_may_replace_it():
    *_, replaced = plan(LOSSLESS, acts.Replace(HERE, 0))
    assert Transform.parse(replaced.transform) == Transform.into(J2K)
    assert "its original kept as a version" in sentence(replaced, event())


@pytest.mark.parametrize(
    ("actions", "says"),
    [
        ((LOSSLESS, acts.Store(0, line=3)), "line 3: a lossless transcode is the same instance"),
        ((LOSSLESS, frames.Transcode(0, "1.2.840.10008.1.2.5"), acts.Store(1)), "the same instance"),
        ((MODIFY, acts.Replace(HERE, 0, line=4)), "line 4: only a lossless transcode"),
        ((LOSSY, acts.Replace(HERE, 0)), "only a lossless transcode"),
        ((MODIFY, frames.Transcode(0, J2K), acts.Replace(HERE, 1)), "only a lossless transcode"),
        ((acts.Store(0),), "the handle is not of this run"),
        ((LOSSLESS, acts.Replace("another", 0)), "only the instance of the event"),
    ],
)
def test_what_would_be_another_instance_than_it_seems_is_refused(actions, says):
    with pytest.raises(ScriptError, match=says):
        plan(*actions)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kind": "deleted_instance"}, "it was deleted"),
        ({"blob": None}, "its content was refused"),
        ({"facts": {"hops": MAX_HOPS}}, "followed from one another already"),
    ],
)
def test_where_nothing_can_be_made_nothing_is_asked_for(changes, says):
    *_, stored = plan(MODIFY, acts.Store(0), **changes)
    assert says in stored.skip
    *_, replaced = plan(LOSSLESS, acts.Replace(HERE, 0), **changes)
    assert says in replaced.skip


@pytest.mark.parametrize("action", [acts.Store(0), acts.Replace(HERE, 0)])
def test_a_worker_that_takes_what_its_script_may_not_is_dishonest(action):
    verb = type(action).__name__.lower()

    def judged(*actions, may):
        load = load_frame("x.py", "", Script(may=may), Names(), str)
        return dishonest(frames.Result(7, list(actions), [], []), as_frames_event(event()), load, set())

    assert judged(LOSSLESS, action, may=[verb]) is None
    assert judged(LOSSLESS, action, may=[]) == f"an action that this script may not take ({verb})"
    assert judged(action, may=[verb]) == "an action on a product that no earlier action makes"


def test_what_a_script_asks_for_is_a_row_until_it_is_carried_out(bench):
    bench.may("a.py", may=["modify", "store", "replace"])
    bench.write(
        "a.py",
        handler(
            "host.store(host.modify(instance, set={'PatientID': '7'}))",
            "host.replace(instance, host.transcode(instance, 'j2k'))",
        ),
    )
    bench.start()
    identifier = bench.arrive()
    bench.until_passed("a.py")
    assert [(row.verb, row.state) for row in bench.rows(t.action)][1::2] == [("store", "open"), ("replace", "open")]
    assert [(row.queue, row.instance, row.state) for row in bench.rows(t.task)] == [
        ("store", identifier, "waiting"),
        ("replace", identifier, "waiting"),
    ]


def test_a_series_is_stored_as_a_task_for_each_of_its_instances(bench):
    bench.may("a.py", may=["modify", "store", "replace"])
    lines = ("def on_new_series(series, host):", "    host.store(host.modify(series, remove=['InstitutionName']))",
             "    host.replace(series, host.transcode(series, 'j2k'))")  # fmt: skip
    bench.write("a.py", "\n".join(lines))
    bench.start()
    identifier = bench.arrive()
    bench.until_passed("a.py")
    assert [(row.queue, row.instance) for row in bench.rows(t.task)] == [("store", identifier), ("replace", identifier)]


def test_the_end_of_an_action_is_told_with_its_result(bench):
    bench.write(
        "b.py",
        "def on_action_done(action, host):\n    print(action.verb, action.script, action.state, action.reason, action.result, action.attempts, action.instance.sop_instance_uid, action.event, action)\n",
    )
    bench.may("a.py", may=["modify", "store"])
    bench.write("a.py", handler("host.store(host.modify(instance, set={'PatientID': '7'}))"))
    bench.start()
    bench.until(lambda: (known := bench.known("b.py")) and known.state == "running")
    bench.arrive()
    bench.until_passed("a.py")

    bench.archive.writer.do(lambda c: tasks.fail(c, 1, "it could not be made", 5.0), topics=("event",))
    bench.until(lambda: bench.logged("b.py"))
    assert bench.logged("b.py") == ["store a.py failed it could not be made {} 0 1.2.3.4.1 3 <action 1, store: failed>"]
