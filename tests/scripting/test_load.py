"""Many events to many scripts: none is lost, none is late, what does nothing costs no row, and what hangs delays nobody (P2)."""

import threading

import pytest
from scripts_kit import handler

from hostd.archive import tables as t
from hostd.scripting import execution
from hostd.testing.made import offer

EVENTS = 40
TEXT = 0x00204000
"""Image Comments."""
SCRIPTS = {
    "archive.py": handler("host.forward(instance, to='archive')"),
    "ai.py": handler("host.forward(instance, to='ai')"),
    "counts.py": handler("if instance.tags.InstanceNumber % 20 == 0:", "    print(instance.tags.InstanceNumber)"),
    **{f"skips{n}.py": 'handles = {"Modality": ["MR"]}\n' + handler("print('asked')") for n in range(3)},
    **{f"reads{n}.py": handler("instance.tags.PatientID, instance.tags.Modality") for n in range(4)},
}


def behind(bench, number, names=SCRIPTS):
    """Return the scripts that have not passed an event."""
    return [name for name in names if not (known := bench.known(name)) or known.cursor.low_water < number]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("a_second", "seconds"), [(40, 2), pytest.param(500, 4, marks=pytest.mark.load)])
def test_so_many_events_a_second_reach_ten_scripts_within_a_second(bench, a_second, seconds):
    """By the turned clock: the next second begins once the scripts have passed the one before it, while they take this one's."""
    assert len(SCRIPTS) == 10
    total = a_second * seconds
    for name, text in SCRIPTS.items():
        bench.write(name, text)
    bench.start()
    for name, text in SCRIPTS.items():
        bench.until_runs(name, text)
    passed = 0
    for first in range(1, total, a_second):
        for start in range(first, first + a_second, 20):
            offer(bench.archive, range(start, start + 20))
        bench.until(lambda at=passed: not behind(bench, at), timeout=120)
        passed = bench.last_event()
        bench.archive.clock.advance(1)
    bench.until(lambda: not behind(bench, passed), timeout=120)
    offered = bench.rows(t.event, kind="stored_instance")
    at = {event.number: event.at for event in offered}
    assert len(at) == total
    for name in ("archive.py", "ai.py"):
        runs = bench.rows(t.run, script=name)
        assert [run.event for run in runs] == sorted(at)
        assert max(run.at - at[run.event] for run in runs) <= 1.0
    assert sorted(int(text) for text in bench.logged("counts.py")) == list(range(20, total + 1, 20))
    assert len(bench.rows(t.delivery)) == len(bench.rows(t.action)) == 2 * total
    assert len(bench.rows(t.run)) == 2 * total + len(bench.logged("counts.py"))
    assert {bench.known(f"skips{n}.py").skipped for n in range(3)} == {total}


def test_a_script_that_waits_and_one_that_is_killed_delay_nobody(bench, monkeypatch):
    answered, gate = execution.questions.answer_from, threading.Event()

    def waits(*asked):
        assert gate.wait(60)
        return answered(*asked)

    monkeypatch.setattr(execution.questions, "answer_from", waits)
    bench.attempts = 1
    bench.may("killed.py", time_limit_s=5)
    scripts = {
        "waits.py": handler("try:", "    instance.tags.ImageComments", "except ValueError:", "    print('no file')"),
        "killed.py": handler("while instance.tags.InstanceNumber == 5:", "    pass"),
        "archive.py": SCRIPTS["archive.py"],
        "reads.py": SCRIPTS["reads0.py"],
    }
    for name, text in scripts.items():
        bench.write(name, text)
    bench.start()
    for name, text in scripts.items():
        bench.until_runs(name, text)
    offer(bench.archive, range(1, EVENTS + 1), large=TEXT)
    try:
        bench.until(lambda: not behind(bench, bench.last_event(), ["archive.py", "reads.py", "killed.py"]), timeout=100)
        assert bench.known("waits.py").cursor.low_water < bench.rows(t.event, kind="stored_instance")[0].number
    finally:
        gate.set()
    assert len(bench.rows(t.run, script="archive.py")) == len(bench.rows(t.delivery)) == EVENTS
    (parked,) = bench.rows(t.run, script="killed.py")
    assert parked.outcome == "parked"
    assert "killed after 5 s" in parked.error
    bench.until(lambda: not behind(bench, bench.last_event(), ["waits.py"]), timeout=100)
    assert bench.logged("waits.py") == ["no file"] * EVENTS
