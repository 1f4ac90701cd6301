"""Which version of a script runs, through edits, disappearances and restarts (P5), with a real folder and real workers."""

import hashlib
import os
import time
from concurrent.futures import Future

import pytest
from processes import is_alive, parent_of
from scripts_kit import FORWARD, Fails, handler

from hostd.archive import scripts
from hostd.archive import tables as t
from hostd.errors import StorageError
from hostd.scripting.processes import WorkerLost
from hostd.scripting.runtime import ScriptWorker

ONE = handler("print('one')")
TWO = handler("print('two')")
BROKEN = "def on_stored_instance(instance, host):\n    pass\nimport os\n"
OWN = "def on_start(host): print('start')\ndef on_stop(host): print('stop')\n"


def error_of(bench, name="a.py"):
    known = bench.known(name)
    return known.error if known else None


# -- edits ------------------------------------------------------------------------------------------------------------


def test_a_good_edit_takes_over(bench):
    bench.write("a.py", ONE)
    bench.start()
    bench.arrive()
    bench.until_passed("a.py")
    bench.put("a.py", TWO)
    bench.arrive()
    bench.until_passed("a.py")
    assert bench.logged() == ["one", "two"]


def test_a_broken_edit_changes_nothing_and_says_file_line_and_reason(bench):
    bench.write("a.py", ONE)
    bench.start()
    bench.write("a.py", BROKEN)
    bench.until(lambda: error_of(bench))
    assert error_of(bench).startswith("a.py: line 3: module `os`")
    bench.arrive()
    bench.until_passed("a.py")
    assert bench.logged() == ["one"]
    assert bench.known("a.py").state == "running"


def test_a_bad_edit_that_is_taken_back_clears_the_error(bench):
    bench.write("a.py", ONE)
    bench.start()
    bench.write("a.py", BROKEN)
    bench.until(lambda: error_of(bench))
    bench.write("a.py", ONE)
    bench.until(lambda: not error_of(bench))
    assert bench.known("a.py").state == "running"


def test_a_file_that_is_emptied_leaves_the_last_good_version(bench):
    bench.write("a.py", ONE)
    bench.start()
    bench.write("a.py", "")
    bench.until(lambda: "is empty" in (error_of(bench) or ""))
    bench.arrive()
    bench.until_passed("a.py")
    assert bench.logged() == ["one"]


def test_a_broken_edit_is_reported_once_and_not_with_every_change_of_another_script(bench, capsys):
    bench.write("a.py", BROKEN)
    bench.start()
    bench.put("b.py", ONE)
    bench.put("b.py", TWO)
    assert capsys.readouterr().out.count("script not taken") == 1


def test_the_last_good_version_goes_on_after_a_restart_with_the_broken_file_still_there(bench):
    bench.write("a.py", ONE)
    bench.start()
    bench.write("a.py", BROKEN)
    bench.until(lambda: error_of(bench))
    bench.stop()
    bench.start()
    bench.arrive()
    bench.until_passed("a.py")
    assert bench.logged() == ["one"]
    assert "line 3" in error_of(bench)
    bench.put("a.py", TWO)
    assert error_of(bench) is None


def test_a_broken_new_script_is_met_and_its_events_wait_for_it(bench):
    bench.start()
    bench.write("a.py", BROKEN)
    bench.until(lambda: error_of(bench))
    assert (bench.known("a.py").state, bench.known("a.py").version) == ("broken", None)
    bench.arrive(2)
    bench.put("a.py", ONE)
    bench.until_passed("a.py")
    assert bench.logged() == ["one", "one"]
    assert error_of(bench) is None


def test_a_broken_new_script_that_is_deleted_is_absent(bench):
    bench.write("a.py", BROKEN)
    bench.start()
    (bench.folder / "a.py").unlink()
    bench.until(lambda: bench.known("a.py").state == "absent")


def test_an_edit_while_a_run_is_going_on_has_the_effects_of_one_version_for_each_event(bench):
    spin = "while time.monotonic() < end: pass"
    bench.write(
        "a.py", "import time\n" + handler("end = time.monotonic() + 0.5", spin, "host.forward(instance, to='archive')")
    )
    bench.start()
    bench.arrive(8)
    bench.until(lambda: bench.rows(t.action))  # the next run begins at once
    bench.put("a.py", handler("host.forward(instance, to='ai')"))
    bench.arrive()
    bench.until_passed("a.py")
    actions = bench.rows(t.action)
    assert len({action.event for action in actions}) == len(actions) == len(bench.rows(t.delivery)) == 9
    sent_to = [action.inputs["to"] for action in actions]
    assert sent_to == sorted(sent_to, reverse=True)  # first the one version, then the other
    assert set(sent_to) == {"archive", "ai"}


def test_edits_faster_than_they_can_be_tried_end_with_the_newest(bench):
    bench.write("a.py", "import time\n" + handler("end = time.monotonic() + 0.5", "while time.monotonic() < end: pass"))
    bench.start()
    bench.arrive()
    for number in range(4):
        newest = handler(f"print('edit {number}')")
        bench.write("a.py", newest)
        time.sleep(0.25)
    bench.until_runs("a.py", newest)
    bench.arrive()
    bench.until_passed("a.py")
    assert bench.logged()[-1] == "edit 3"


def test_lines_that_will_not_work_are_reported_when_the_script_is_taken(bench, capsys):
    bench.write("a.py", "def on_stored_instnace(instance, host):\n    host.forward(instance, to='archiv')\n")
    bench.start()
    said = capsys.readouterr().out
    assert "did you mean on_stored_instance" in said
    assert "no destination is called" in said
    assert "no handler" in said


def test_what_will_not_work_stands_with_the_script_until_a_version_without_it_runs(bench):
    bench.start()
    wrong = handler("instance.tags.PatentID", "host.forward(instance, to='archive', priorty='stat')")
    bench.put("a.py", wrong)
    expected = (
        "line 2: no element has the keyword 'PatentID'; did you mean PatientID?; "
        "line 3: host.forward has no 'priorty'; did you mean priority?"
    )
    assert (bench.known("a.py").trouble, bench.known("a.py").standing) == (expected, "running")
    bench.write("a.py", "def on_start(host)\n")
    bench.until(lambda: bench.known("a.py").error)
    assert bench.known("a.py").trouble.endswith(f"; of the version that runs, {expected}")
    bench.put("a.py", FORWARD)
    assert bench.known("a.py").trouble is None


def test_of_much_that_will_not_work_the_first_lines_are_noted(bench):
    bench.start()
    bench.put("a.py", handler(*(f"instance.tags.Nothing{number}" for number in range(5))))
    assert "line 4" in bench.known("a.py").trouble
    assert bench.known("a.py").trouble.endswith("; and 2 more, which hostd check lists")


def test_an_edit_that_never_ends_loading_is_tried_again_and_then_left(bench, monkeypatch):
    tries = []
    bench.write("a.py", ONE)
    bench.rescan_s = 0.2
    bench.start()
    genuine = bench.host._load

    def load(name, source, helpers=None):
        if source == TWO:
            tries.append(source)
            raise WorkerLost("a.py was killed after 10 s: it had not ended")
        return genuine(name, source, helpers)

    monkeypatch.setattr(bench.host, "_load", load)
    bench.write("a.py", TWO)
    bench.until(lambda: len(tries) == bench.attempts)
    time.sleep(0.5)
    assert len(tries) == bench.attempts
    assert "killed after 10 s" in error_of(bench)


# -- files ------------------------------------------------------------------------------------------------------------


def test_files_that_cannot_be_scripts_hinder_no_other(bench):
    (bench.folder / "latin.py").write_bytes(b"\xff")
    (bench.folder / "null.py").write_bytes(b"x = 1\0")
    (bench.folder / os.fsdecode(b"bad\xff.py")).write_text("pass")
    (bench.folder / "folder.py").mkdir()
    (bench.folder / "link.py").symlink_to("nowhere")
    bench.write("with a space.py", ONE)
    bench.start()
    bench.arrive()
    bench.until_passed("with a space.py")
    assert bench.logged() == ["one"]
    broken = {row.name for row in bench.rows(t.script, state="broken")}
    assert broken == {"latin.py", "null.py", "bad\\xff.py", "link.py"}


# -- disappearance ----------------------------------------------------------------------------------------------------


def test_a_deleted_script_that_returns_goes_on_where_it_stopped(bench):
    bench.write("a.py", ONE + OWN)
    bench.start()
    bench.arrive()
    bench.until(lambda: "one" in bench.logged())
    (bench.folder / "a.py").unlink()
    bench.until(lambda: bench.known("a.py").state == "absent")
    bench.arrive(2)
    bench.put("a.py", ONE + OWN)
    bench.until_passed("a.py")
    assert bench.logged() == ["start", "one", "stop", "start", "one", "one"]


def test_a_script_that_was_deleted_while_no_node_ran_stops_at_the_next_start(bench):
    bench.write("a.py", ONE + OWN)
    bench.start()
    bench.until(lambda: bench.logged() == ["start"])
    bench.stop()
    (bench.folder / "a.py").unlink()
    bench.start()
    bench.until(lambda: bench.known("a.py").state == "absent")
    assert bench.logged() == ["start", "stop"]
    assert bench.known("a.py").absent_since is not None


def test_a_script_that_returns_broken_does_not_run_and_is_not_forgotten(bench):
    bench.write("a.py", ONE)
    bench.start()
    bench.until(lambda: bench.known("a.py").state == "running")
    (bench.folder / "a.py").unlink()
    bench.until(lambda: bench.known("a.py").state == "absent")
    bench.write("a.py", BROKEN)
    bench.until(lambda: bench.known("a.py").state == "broken")
    assert bench.known("a.py").absent_since is None
    bench.arrive()
    bench.put("a.py", ONE)
    bench.until_passed("a.py")
    assert bench.logged() == ["one"]


def test_a_folder_that_vanishes_stops_no_script(bench):
    bench.rescan_s = 0.2
    bench.write("a.py", ONE)
    bench.start()
    bench.folder.rename(bench.folder.with_name("away"))
    time.sleep(0.5)
    bench.arrive()
    bench.until_passed("a.py")
    bench.folder.with_name("away").rename(bench.folder)
    bench.put("a.py", TWO)
    began = ["new_patient", "new_study", "new_series"]
    assert [row.kind for row in bench.rows(t.event)] == ["start", "stored_instance", *began, "start"]


# -- on_start and on_stop ---------------------------------------------------------------------------------------------


def test_on_start_and_on_stop_run_once_a_version_and_not_with_the_node(bench):
    bench.write("a.py", ONE + OWN)
    bench.start()
    bench.until(lambda: bench.logged() == ["start"])
    bench.stop()
    bench.start()
    bench.arrive()
    bench.until_passed("a.py")
    assert bench.logged() == ["start", "one"]
    bench.put("a.py", TWO + OWN)
    bench.until(lambda: bench.logged() == ["start", "one", "stop", "start"])


def test_the_former_versions_on_stop_runs_when_it_was_edited_while_no_node_ran(bench):
    bench.write("a.py", "def on_stop(host): print('stop one')\n")
    bench.start()
    bench.until(lambda: (known := bench.known("a.py")) and known.state == "running")
    bench.stop()
    bench.write("a.py", OWN)
    bench.start()
    bench.until(lambda: bench.logged() == ["stop one", "start"])


def test_on_start_that_was_interrupted_by_a_crash_runs_at_the_next_start(bench):
    bench.write("a.py", ONE + OWN)
    bench.start()
    bench.until(lambda: bench.logged() == ["start"])
    bench.stop()
    with bench.archive.read() as connection:
        version = scripts.get_version(connection, "a.py", bench.known("a.py").version)
    changed = version.source + "# changed\n"
    bench.write("a.py", changed)
    crashes_after_accepting(bench, changed, version.handlers)
    bench.start()
    bench.until(lambda: bench.logged() == ["start", "start"])
    bench.stop()
    bench.start()
    bench.arrive()
    bench.until_passed("a.py")
    assert bench.logged() == ["start", "start", "one"]


def crashes_after_accepting(bench, source, handlers):
    version = scripts.Version(hashlib.sha256(source.encode()).hexdigest(), source, handlers)
    bench.archive.writer.do(lambda c: scripts.accept(c, "a.py", version, 1.0))


def test_on_stop_that_has_run_before_a_crash_does_not_run_again(bench, monkeypatch):
    bench.write("a.py", ONE + OWN)
    bench.start()
    bench.until(lambda: bench.logged() == ["start"])

    def crash(*_):
        raise StorageError("the machine is gone")

    with monkeypatch.context() as patch:
        patch.setattr(scripts, "accept", crash)
        bench.write("a.py", TWO + OWN)
        bench.until(lambda: bench.logged() == ["start", "stop"])
        time.sleep(0.6)  # the runner tries again meanwhile
        bench.stop()
    bench.start()
    bench.until(lambda: bench.logged()[-1] == "start" and len(bench.logged()) > 2)
    assert bench.logged() == ["start", "stop", "start"]


def test_on_start_comes_before_events_even_if_its_commit_fails(bench, monkeypatch):
    bench.arrive()
    bench.may("a.py", start="beginning")
    genuine, failed = bench.archive.writer.submit, []

    def submit(unit, **options):
        future = genuine(unit, **options)
        if unit.__qualname__.startswith("Lane._enter") and not failed:
            failed.append(future.result())
            return refused()
        return future

    def refused():
        future = Future()
        future.set_exception(StorageError("nobody knows"))
        return future

    monkeypatch.setattr(bench.archive.writer, "submit", submit)
    bench.write("a.py", ONE + OWN)
    bench.start()
    bench.until_passed("a.py")
    assert len(failed) == 1
    assert bench.logged() == ["start", "one"]


def test_on_start_that_fails_is_parked_and_the_script_runs(bench):
    bench.write("a.py", ONE + "def on_start(host): 1 / 0\n")
    bench.start()
    bench.arrive()
    bench.until_passed("a.py")
    assert [run.outcome for run in bench.rows(t.run)] == ["failed", "parked", "done"]


# -- the node ---------------------------------------------------------------------------------------------------------


def test_a_take_over_that_cannot_be_written_is_tried_again(bench, monkeypatch):
    bench.write("a.py", ONE)
    bench.start()
    bench.until(lambda: (known := bench.known("a.py")) and known.state == "running")
    genuine, failed = scripts.accept, []

    def accept(*arguments):
        if not failed:
            failed.append(True)
            raise StorageError("the disk is full")
        return genuine(*arguments)

    monkeypatch.setattr(scripts, "accept", accept)
    bench.put("a.py", FORWARD)
    bench.arrive()
    bench.until_passed("a.py")
    assert failed == [True]
    assert len(bench.rows(t.delivery)) == 1


def test_a_worker_that_cannot_be_started_again_makes_events_wait(bench, monkeypatch):
    bench.may("a.py", time_limit_s=2)
    bench.write(
        "a.py", handler("while instance.sop_instance_uid == '1.2.3.4.1': pass", "host.forward(instance, to='ai')")
    )
    bench.start()
    genuine, missing = bench.host._load, []

    def load(name, source, helpers=None):
        if not missing:
            missing.append(name)
            raise WorkerLost("no worker could be started for a.py: out of memory")
        return genuine(name, source, helpers)

    monkeypatch.setattr(bench.host, "_load", load)
    bench.arrive(2)
    bench.until_passed("a.py")
    assert missing == ["a.py"]
    assert [run.outcome for run in bench.rows(t.run)] == ["failed", "parked", "done"]


def test_workers_end_with_the_host(bench):
    bench.write("a.py", ONE)
    bench.start()
    bench.until(lambda: (known := bench.known("a.py")) and known.state == "running")
    pid = bench.until(lambda: bench.host._runners["a.py"]._running).worker.pid
    assert bench.host.layers["seccomp"]
    bench.stop()
    assert not is_alive(pid)


def test_the_workers_of_all_scripts_are_forked_off_one_process_that_is_warm_already(bench):
    bench.launcher.warm_up()
    zygote = bench.launcher._zygote._process
    for name in ("a.py", "b.py"):
        bench.write(name, FORWARD)
    bench.start()
    for name in ("a.py", "b.py"):
        bench.until_runs(name, FORWARD)
        running = bench.until(lambda name=name: bench.host._runners[name]._running)
        assert parent_of(running.worker.pid) == zygote.pid
    bench.stop()
    assert zygote.poll() is not None


def test_a_script_loses_no_event_when_the_process_that_workers_are_forked_off_is_killed(bench):
    hangs = "while instance.sop_instance_uid == '1.2.3.4.2': pass"
    bench.may("a.py", time_limit_s=0.3)
    bench.write("a.py", handler(hangs, "host.log(instance.sop_instance_uid)"))
    bench.start()
    bench.arrive()
    bench.until_passed("a.py")
    zygote = bench.launcher._zygote._process
    zygote.kill()
    zygote.wait()
    bench.arrive(2)  # its worker goes on, is killed at the first of them, and is started anew
    bench.until_passed("a.py")
    assert bench.logged("a.py") == ["1.2.3.4.1", "1.2.3.4.3"]
    assert [run.outcome for run in bench.rows(t.run)] == ["done", "failed", "parked", "done"]
    assert bench.launcher._zygote._process.pid != zygote.pid


def test_a_host_that_could_not_start_can_be_stopped(bench, monkeypatch):
    def start(load, **how):
        raise WorkerLost("this system has no landlock")

    monkeypatch.setattr(ScriptWorker, "start", start)
    with pytest.raises(WorkerLost, match="landlock"):
        bench.start()
    bench.stop()


def test_commits_that_fail_once_do_not_stop_the_script(bench, monkeypatch):
    bench.write("a.py", FORWARD)
    bench.start()
    Fails(bench.archive, StorageError("full"), before=True).install(monkeypatch)
    bench.arrive(100)
    bench.until_passed("a.py")
    assert len(bench.rows(t.delivery)) == 100


def test_a_stop_that_comes_between_two_looks_is_not_missed(bench, monkeypatch):
    bench.write("a.py", ONE)
    bench.start()
    bench.until(lambda: (known := bench.known("a.py")) and known.state == "running")
    runner = bench.host._runners["a.py"]
    genuine = bench.archive.bulletin.seen

    def seen(topic):  # the node is stopped just before the runner looks at the bulletin
        if not runner._stopping:
            runner.stop()
        return genuine(topic)

    monkeypatch.setattr(bench.archive.bulletin, "seen", seen)
    bench.arrive()
    runner._thread.join(60)
    assert not runner._thread.is_alive()
