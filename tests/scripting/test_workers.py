"""`workers = N`: events in parallel, those of one study in order, and no more harm done by one that hangs, dies or is replaced."""

import os
import signal
import threading

import pytest
from scripts_kit import Fails, handler

from hostd.archive import tables as t
from hostd.errors import StorageError
from hostd.scripting import lane

PRINT_UID = handler("print(instance.sop_instance_uid)")


@pytest.fixture
def three(bench):
    bench.may("a.py", workers=3, time_limit_s=60)
    return bench


class Gate:
    """Holds the runs on some studies until it is opened; the others pass."""

    def __init__(self, monkeypatch, *held):
        self.held = set(held)
        self.waiting = []
        self.opened = threading.Event()
        self._real = lane.execute
        monkeypatch.setattr(lane, "execute", self)

    def __call__(self, archive, worker, event, rules, **named):
        if event.study in self.held:
            self.waiting.append(worker.pid)
            assert self.opened.wait(60)
        return self._real(archive, worker, event, rules, **named)


def study(number):
    return {"tags": {"StudyInstanceUID": f"1.2.{number}", "SeriesInstanceUID": f"1.2.{number}.1"}}


def test_a_study_that_hangs_delays_itself_alone(three, monkeypatch):
    three.start()
    three.put("a.py", PRINT_UID)
    gate = Gate(monkeypatch, "1.2.7")
    three.arrive(**study(7))  # 1.2.3.4.1
    three.until(lambda: gate.waiting)
    for number in range(12):
        three.arrive(**study(number % 4))
    three.arrive(**study(7))  # 1.2.3.4.14 waits behind the first of its study
    three.until(lambda: len(three.logged("a.py")) == 12)
    assert set(three.logged("a.py")) == {f"1.2.3.4.{n}" for n in range(2, 14)}
    low = three.known("a.py").cursor
    assert low.finished
    gate.opened.set()
    three.until_passed("a.py")
    assert three.known("a.py").cursor.finished == ()
    said = three.logged("a.py")
    assert len(said) == 14
    for number in (0, 1, 2, 3):
        of_it = [
            uid
            for uid in said
            if (int(uid.rpartition(".")[2]) - 2) % 4 == number and uid not in ("1.2.3.4.1", "1.2.3.4.14")
        ]
        assert of_it == sorted(of_it, key=lambda uid: int(uid.rpartition(".")[2]))
    assert said.index("1.2.3.4.1") < said.index("1.2.3.4.14")


def test_a_worker_that_is_killed_delays_its_own_study_and_its_event_is_run_again(three, monkeypatch):
    three.start()
    three.put("a.py", PRINT_UID)
    gate = Gate(monkeypatch, "1.2.7")
    three.arrive(**study(7))
    three.until(lambda: gate.waiting)
    os.kill(gate.waiting[0], signal.SIGKILL)
    for number in range(6):
        three.arrive(**study(number))
    three.until(lambda: len(three.logged("a.py")) == 6)
    gate.opened.set()
    three.until_passed("a.py")
    assert sorted(three.logged("a.py")) == sorted(f"1.2.3.4.{n}" for n in range(1, 8))
    assert [run.outcome for run in three.rows(t.run) if run.outcome != "done"] == ["failed"]


def test_an_event_that_is_parked_does_not_hold_up_the_rest_of_its_study(three):
    three.start()
    three.put(
        "a.py", handler("if instance.sop_instance_uid == '1.2.3.4.2':", "    1 / 0", "print(instance.sop_instance_uid)")
    )
    three.arrive(4, **study(1))
    three.until_passed("a.py")
    assert three.logged("a.py") == ["1.2.3.4.1", "1.2.3.4.3", "1.2.3.4.4"]
    assert [run.outcome for run in three.rows(t.run) if run.error] == ["failed", "parked"]


def test_a_new_version_waits_for_all_runs_and_nothing_runs_twice(three, monkeypatch):
    three.start()
    three.put("a.py", PRINT_UID)
    gate = Gate(monkeypatch, "1.2.1", "1.2.2")
    three.arrive(**study(1))
    three.arrive(**study(2))
    three.until(lambda: len(gate.waiting) == 2)
    third = three.arrive(**study(1))
    text = handler("print('new', instance.sop_instance_uid)")
    three.write("a.py", text)
    runner = three.host._runners["a.py"]
    three.until(lambda: runner._orders.is_there_one)
    assert three.rows(t.run) == []
    gate.opened.set()
    three.until_runs("a.py", text)
    three.until_passed("a.py")
    assert sorted(three.logged("a.py")) == ["1.2.3.4.1", "1.2.3.4.2", "new 1.2.3.4.3"]
    assert len(three.rows(t.run)) == 3, third


def test_a_stop_in_the_middle_loses_nothing_and_repeats_nothing(three, monkeypatch):
    three.start()
    three.put("a.py", PRINT_UID)
    gate = Gate(monkeypatch, "1.2.1")
    three.arrive(**study(1))
    three.until(lambda: gate.waiting)
    three.arrive(3, **study(2))
    three.until(lambda: len(three.logged("a.py")) == 3)
    stopping = threading.Thread(target=three.stop)
    stopping.start()
    gate.opened.set()
    stopping.join(60)
    three.start()
    three.arrive(2, **study(1))
    three.until_passed("a.py")
    assert sorted(three.logged("a.py")) == [f"1.2.3.4.{n}" for n in range(1, 7)]


@pytest.mark.parametrize("before", [True, False])
def test_a_commit_that_fails_or_whose_answer_is_lost_enters_each_plan_once(three, monkeypatch, before):
    three.start()
    three.put("a.py", handler("print(instance.sop_instance_uid)", "host.forward(instance, to='archive')"))
    fails = Fails(three.archive, StorageError("disk"), before=before).install(monkeypatch)
    for number in range(9):
        three.arrive(**study(number % 3))
    three.until_passed("a.py")
    assert fails.failed.is_set()
    assert len(three.rows(t.delivery)) == 9
    assert sorted(three.logged("a.py")) == [f"1.2.3.4.{n}" for n in range(1, 10)]


def test_workers_that_change_the_same_state_lose_no_change(three):
    three.start()
    three.put("a.py", handler("host.state['n'] = host.state.get('n', 0) + 1", "print(host.state['n'])"))
    for number in range(12):
        three.arrive(**study(number % 4))
    three.until_passed("a.py")
    assert sorted(map(int, three.logged("a.py"))) == list(range(1, 13))
