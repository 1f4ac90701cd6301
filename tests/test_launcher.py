"""Workers that are forked off one process: each for itself, ended as any process is, and none outlives its host."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import has_ended, is_alive, parent_of
from structlog.testing import capture_logs

from hostd import launcher as module
from hostd.launcher import UNKNOWN, Launcher

CODE = str(Path(__file__).resolve().parents[1])
PROGRAM = """
import sys; sys.path.insert(0, sys.argv[3])
import os, signal, socket, threading, time
{before}
from hostd.sandbox import zygote
descriptor, memory_bytes = zygote.settle(int(sys.argv[1]), sys.argv[2])
connection = socket.socket(fileno=descriptor)
while asked := connection.recv(1000).decode():
    connection.send(repr(eval(asked)).encode())
"""
"""A worker that answers what Python makes of an expression."""
PATIENCE_S = 60.0


@pytest.fixture
def launcher():
    with closing(begun()) as made:
        yield made


def begun(before="", **environment):
    program = (sys.executable, "-I", "-S", "-c", PROGRAM.format(before=before))
    return Launcher(program, (CODE,), environment, own_session=True)


closing = contextlib.closing


class Worker:
    def __init__(self, launcher, memory_bytes=1 << 30):
        self.process, self.connection = launcher.start(memory_bytes)
        self.connection.settimeout(PATIENCE_S)

    def ask(self, expression):
        self.connection.send(expression.encode())
        return eval(self.connection.recv(10_000))

    def begin(self, expression):
        self.connection.send(expression.encode())

    def end(self):
        self.connection.close()
        return self.process.wait(PATIENCE_S)


def zygote_of(launcher):
    return launcher._zygote._process


def test_workers_are_forked_off_one_process_and_end_with_their_own_status(launcher):
    one, other, killed = Worker(launcher), Worker(launcher), Worker(launcher)
    zygote = zygote_of(launcher).pid
    assert {parent_of(worker.process.pid) for worker in (one, other, killed)} == {zygote}
    assert one.ask("os.getpid()") == one.process.pid
    assert one.process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        one.process.wait(0.01)
    assert one.end() == one.process.poll() == 0
    other.begin("sys.exit(3)")
    assert other.process.wait(PATIENCE_S) == 3
    killed.begin("time.sleep(1000)")
    killed.process.kill()
    assert killed.process.wait(PATIENCE_S) == -signal.SIGKILL
    killed.process.kill()  # it is gone, and its number may be another's
    assert all(has_ended(worker.process.pid) for worker in (one, other, killed))


def test_a_worker_has_its_memory_limit_a_session_of_its_own_and_nothing_of_another(launcher, monkeypatch):
    monkeypatch.setenv("HOSTD_TEST_SECRET", "secret")
    with Path(__file__).open("rb") as file:
        os.set_inheritable(file.fileno(), True)  # what a careless library does
        first, second = Worker(launcher, 1 << 28), Worker(launcher, 1 << 29)
    sizes = [worker.ask("memory_bytes") for worker in (first, second)]
    assert sizes == [1 << 28, 1 << 29]
    for worker in (first, second):
        assert worker.ask("os.getsid(0)") == worker.process.pid
        opened = worker.ask("{n: os.readlink('/proc/self/fd/' + n) for n in os.listdir('/proc/self/fd')[:-1]}")
        assert [opened[n] for n in "012"] == ["/dev/null"] * 3
        assert opened.keys() == {*"0123"}
        assert opened["3"].startswith("socket:")
        assert worker.ask("{*os.environ} - {'LC_CTYPE'}") == set()
        assert worker.ask("os.getcwd()") == "/"


def test_a_zygote_holds_nothing_but_its_connection_and_those_of_its_workers(launcher, monkeypatch):
    monkeypatch.setenv("HOSTD_TEST_SECRET", "secret")
    workers = [Worker(launcher) for _ in range(3)]
    place = Path(f"/proc/{zygote_of(launcher).pid}")
    assert len(list((place / "task").iterdir())) == 1
    assert b"SECRET" not in (place / "environ").read_bytes()
    assert len(list((place / "fd").iterdir())) == 3 + 1 + 2 * len(workers)
    for worker in workers:
        worker.end()
    ends = time.monotonic() + PATIENCE_S  # it closes a lifeline when it has told the status
    while len(list((place / "fd").iterdir())) > 3 + 1 and time.monotonic() < ends:
        time.sleep(0.01)
    assert len(list((place / "fd").iterdir())) == 3 + 1


def test_where_the_zygote_was_killed_its_workers_go_on_and_another_takes_its_place(launcher):
    before = Worker(launcher)
    zygote = zygote_of(launcher)
    zygote.kill()
    zygote.wait()
    assert before.ask("1 + 1") == 2
    assert before.process.poll() is None
    with capture_logs() as logs:
        after = Worker(launcher)
    assert [log["event"] for log in logs] == ["the process that workers are forked off is gone; it is started anew"]
    assert parent_of(after.process.pid) == zygote_of(launcher).pid != zygote.pid
    before.begin("time.sleep(1000)")
    before.process.kill()
    assert before.process.wait(PATIENCE_S) in (
        UNKNOWN,
        -signal.SIGKILL,
    )  # the latter where this process takes over orphans
    assert has_ended(before.process.pid)


def test_a_zygote_that_hangs_holds_up_nobody_for_long_and_is_replaced(launcher, monkeypatch):
    monkeypatch.setattr(module, "_END_LIMIT_S", 0.1)
    worker = Worker(launcher)
    stopped = zygote_of(launcher)
    stopped.send_signal(signal.SIGSTOP)
    worker.process.kill()
    assert worker.process.wait(PATIENCE_S) == UNKNOWN
    monkeypatch.setattr(module, "_BORN_LIMIT_S", 1.0)
    with capture_logs() as logs:
        other = Worker(launcher)
    assert logs[0]["log_level"] == "warning"
    assert other.ask("1 + 1") == 2
    assert stopped.poll() == -signal.SIGKILL


@pytest.mark.parametrize(
    "before",
    [
        "if sys.argv[2] == 'zygote': os._exit(1)",
        "if sys.argv[2] == 'zygote': threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()",
    ],
    ids=["it does not live", "it has a second thread"],
)
def test_where_no_zygote_can_be_workers_are_started_by_themselves(before):
    with closing(begun(before)) as launcher:
        with capture_logs() as logs:
            worker = Worker(launcher)
        assert parent_of(worker.process.pid) == os.getpid()
        assert "not forked off a process any more" in logs[-1]["event"]
        assert worker.end() == 0
        with capture_logs() as logs:
            assert Worker(launcher).end() == 0
        assert logs == []


def test_where_the_system_has_no_descriptors_of_processes_workers_are_started_by_themselves(monkeypatch):
    monkeypatch.delattr(os, "pidfd_open")
    with closing(begun()) as launcher:
        launcher.warm_up()
        worker = Worker(launcher)
        assert parent_of(worker.process.pid) == os.getpid()
        assert worker.end() == 0


def test_a_system_without_room_for_a_process_says_so_and_the_zygote_stays():
    refuse = "def refuse(real=os.fork): os.fork = real; raise BlockingIOError(11, 'no room')\nos.fork = refuse"
    with closing(begun(refuse)) as launcher:
        with pytest.raises(BlockingIOError, match="temporarily unavailable"):
            Worker(launcher)
        zygote = zygote_of(launcher).pid
        worker = Worker(launcher)
        assert parent_of(worker.process.pid) == zygote


def test_a_zygote_that_rests_is_started_again_and_a_closed_launcher_starts_nothing(launcher):
    Worker(launcher).end()
    first = zygote_of(launcher)
    launcher.rest()
    assert first.poll() == 0
    Worker(launcher).end()
    second = zygote_of(launcher)
    launcher.close()
    assert second.poll() == 0
    with pytest.raises(OSError, match="no more workers"):
        launcher.start(1 << 30)


def test_what_still_runs_is_killed_when_the_launcher_is_closed(launcher):
    worker = Worker(launcher)
    worker.begin("[0 for _ in iter(int, 1)]")
    launcher.close()
    assert worker.process.wait(PATIENCE_S) == -signal.SIGKILL


def test_no_worker_outlives_a_host_that_was_killed_even_one_that_never_looks_at_its_connection():
    host = (
        "import sys; sys.path += sys.argv[1:]\nfrom test_launcher import Worker, begun\n"
        "made = begun(); workers = [Worker(made), Worker(made)]\n"
        "workers[0].begin('[0 for _ in iter(int, 1)]')\n"
        "print(made._zygote._process.pid, *(worker.process.pid for worker in workers), flush=True)\nsys.stdin.read()"
    )
    command = [sys.executable, "-c", host, CODE, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        pids = [int(pid) for pid in running.stdout.readline().split()]
        assert len(pids) == 3
        assert all(map(is_alive, pids))
        running.kill()
    assert all(map(has_ended, pids))
