"""The host's side of a worker, with real workers: hostile scripts end as failures or lost workers, never as trouble for the host."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import msgspec
import pytest
from processes import has_ended, is_there

from hostd.sandbox import frames
from hostd.sandbox.channel import Channel
from hostd.scripting import processes, runtime
from hostd.scripting.processes import WorkerLost
from hostd.scripting.runtime import RefusedScriptError, ScriptWorker
from hostd.scripting.vocabulary import vocabulary

KEYWORDS, SYNTAXES, LOSSLESS_OF = vocabulary()


def load(source, **changes):
    facts = {
        "name": "x.py", "source": source, "keywords": KEYWORDS, "syntaxes": SYNTAXES, "lossless_of": LOSSLESS_OF,
        "destinations": ["archive"], "known_destinations": ["archive", "ai"], "may": [],
    }  # fmt: skip
    return frames.Load(**(facts | changes))


def handler(body):
    return "def on_stored_instance(instance, host):\n    " + "\n    ".join(body.splitlines())


def event(number=1, tags=None):
    instance = frames.Instance(
        id="one", sop_instance_uid="1.1", sop_class="1.2", series_instance_uid="1.3", study_instance_uid="1.4", patient_id="p",
        transfer_syntax=SYNTAXES["explicit"], has_pixels=True, frames=1, size=9, origin=frames.Origin("dicom"),
        tags=frames.packed(tags or {0x00204000: ("LT", None), 0x00080060: ("CS", ["CT"])}),
    )  # fmt: skip
    return frames.Event(number, "on_stored_instance", 1.7e9, instance)


def no_answer(question):
    raise AssertionError(question)


@pytest.fixture
def start():
    workers = []

    def begin(source, *, load_time_limit_s=60.0, **changes):
        workers.append(ScriptWorker.start(load(source, **changes), load_time_limit_s=load_time_limit_s))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.stop()


def run(worker, limit=60.0, number=1, answer=no_answer, **facts):
    return worker.run(event(number, **facts), time_limit_s=limit, answer=answer)


def test_a_worker_says_what_the_script_has_and_runs_event_after_event(start):
    worker = start(
        "n = 0\nprint('loaded')\n" + handler("global n\nn += 1\nprint(n)\nhost.forward(instance, to='archive')")
    )
    assert worker.ready.handlers == ["on_stored_instance"]
    assert worker.ready.log == [("info", "loaded")]
    assert worker.layers["seccomp"] == 1
    first, second = run(worker), run(worker, number=2)
    assert (first.id, second.id, first.log, second.log) == (1, 2, [("info", "1")], [("info", "2")])
    assert len(second.actions) == 1


def test_a_refused_script_says_where_and_leaves_no_process():
    with pytest.raises(RefusedScriptError, match=r"x\.py: line 2: module `os`") as refused:
        ScriptWorker.start(load("x = 1\nimport os\n"))
    assert refused.value.problems[0].line == 2


def test_a_script_that_does_not_load_in_time_is_killed():
    with pytest.raises(WorkerLost, match=r"killed after 0\.7 s"):
        ScriptWorker.start(load("while True: pass"), load_time_limit_s=0.7)


@pytest.mark.parametrize(
    "body",
    [
        "while True: pass",
        "9 ** 9 ** 9",
        "while True:\n    try:\n        while True: pass\n    except:\n        pass",
        "import itertools\nfor _ in itertools.count(): pass",
        "sum(range(1 << 60))",
        "import re\nre.match('(a*)*b', 'a' * 60)",
    ],
)
def test_a_run_over_its_time_is_killed(start, body):
    worker = start(handler(body))
    begun = time.monotonic()
    with pytest.raises(WorkerLost, match=r"x\.py was killed after 0\.3 s"):
        run(worker, limit=0.3)
    assert time.monotonic() - begun < 60
    assert not is_there(worker.pid)
    with pytest.raises(WorkerLost, match="is not running"):
        run(worker)


@pytest.mark.parametrize(
    ("body", "type_"),
    [
        ("x = [0] * (1 << 40)", "MemoryError"),
        ("x = 'x' * (1 << 30)", "MemoryError"),
        ("def f(): return f()\nf()", "RecursionError"),
        ("for i in range(10 ** 6): host.forward(instance, to='archive')", "TooManyActions"),
        ("open('/etc/passwd')", "NameError"),
        ("raise ValueError('x' * 10 ** 7)", "ValueError"),
        ("class Odd(Exception): pass\nraise Odd(Odd)", "Odd"),
    ],
)
def test_a_script_that_fails_leaves_its_worker_running(start, body, type_):
    worker = start(handler(body))
    result = run(worker)
    assert (result.failure.type, result.actions) == (type_, [])
    assert run(worker, number=2).failure.type == type_


def test_a_memory_hog_ends_itself_and_not_the_machine(start):
    worker = start(handler("x = []\nwhile True: x.append('x' * 100000 + str(len(x)))"), memory_bytes=128 << 20)
    try:
        assert run(worker).failure.type == "MemoryError"
    except WorkerLost as lost:
        assert "memory" in str(lost)  # noqa: PT017 - either end is right


@pytest.mark.parametrize(
    "name", ["import os", "import socket", "import subprocess", "import ctypes", "import threading"]
)
def test_a_script_that_wants_the_machine_is_refused(name):
    with pytest.raises(RefusedScriptError, match="is not offered to scripts"):
        ScriptWorker.start(load(name))


def test_a_log_flood_is_cut(start):
    result = run(
        start(
            handler("while len(x) < 300000:\n    x.append(1)\n    print('x' * 1000)").replace(
                "\n    while", "\n    x = []\n    while", 1
            )
        )
    )
    assert sum(len(text) for _, text in result.log) < 70_000
    assert "cut" in result.log[-1][1]


def test_the_time_of_questions_does_not_count(start):
    def slow(question):
        time.sleep(2.1)
        return frames.Answer(question.id, ["far"])

    result = run(start(handler("print(instance.tags.ImageComments)")), limit=2, answer=slow)
    assert result.log == [("info", "far")]


def test_a_value_over_a_limit_does_not_reach_the_script(start):
    body = "try:\n    instance.tags.ImageComments\nexcept ValueTooLarge as error:\n    print(error)"
    result = run(start(handler(body)), answer=lambda q: frames.Answer(q.id, ["x" * (frames.MAX_VALUE + 1)]))
    assert "up to 1 MiB" in result.log[0][1]


def test_a_run_may_read_so_much_and_no_more(start):
    tags = {0x00204000 + i: ("LT", None) for i in range(10)}
    body = "for i in range(10):\n    try:\n        print(len(instance.tags[0x00204000 + i]))\n    except ValueTooLarge as error:\n        print(error)"
    worker = start(handler(body))
    for number in (1, 2):  # the second run begins anew
        result = run(worker, number=number, tags=tags, answer=lambda q: frames.Answer(q.id, ["x" * 1_000_000]))
        assert [text for _, text in result.log[:8]] == ["1000000"] * 8
        assert "8 MiB" in result.log[8][1]


def test_a_question_that_has_no_answer_is_an_error_in_the_script(start):
    result = run(
        start(handler("instance.tags.ImageComments")), answer=lambda q: frames.Answer(q.id, error="the file is gone")
    )
    assert (result.failure.type, result.failure.message) == ("ValueError", "the file is gone")


def test_endless_questions_end(start, monkeypatch):
    monkeypatch.setattr(runtime, "_MAX_QUESTIONS", 50)
    body = "i = 0\nwhile True:\n    i += 1\n    try:\n        instance.tags[0x00204000 + i]\n    except ValueError:\n        pass"
    tags = {0x00204000 + i: ("LT", None) for i in range(100)}
    with pytest.raises(WorkerLost, match="50 questions"):
        run(start(handler(body)), tags=tags, answer=lambda q: frames.Answer(q.id, error="no"))


def test_what_the_answering_host_raises_is_passed_on_and_ends_the_worker(start):
    worker = start(handler("instance.tags.ImageComments"))
    with pytest.raises(ZeroDivisionError):
        run(worker, answer=lambda _: 1 / 0)
    assert not is_there(worker.pid)


def test_a_worker_that_dies_is_reported_with_its_reason(start):
    worker = start(handler("while True: pass"))
    os.kill(worker.pid, signal.SIGSEGV)
    with pytest.raises(WorkerLost, match="died of SIGSEGV"):
        run(worker)


def test_stop_ends_the_process(start):
    worker = start(handler("pass"))
    worker.stop()
    assert not is_there(worker.pid)
    with pytest.raises(WorkerLost, match="it was stopped"):
        run(worker)


def test_a_worker_leaves_when_its_host_is_gone_even_from_an_endless_loop():
    program = (
        "import sys\nfrom hostd.sandbox import frames\nfrom hostd.sandbox.channel import encoded\nfrom hostd.scripting.runtime import ScriptWorker\n"
        "w = ScriptWorker.start(frames.Load('x.py', 'def on_start(host):\\n while True: pass\\n', {}, {}, {}, [], [], []))\n"
        "w._send(encoded(frames.Event(1, 'on_start', 0.0)))\nprint(w.pid, flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as host:
        pid = int(host.stdout.readline())
        host.kill()
    assert has_ended(pid)


def test_a_script_worker_is_refused_where_isolation_is_required_and_absent(monkeypatch):
    monkeypatch.setattr(processes, "_BOOTSTRAP", processes._BOOTSTRAP.replace(
        "from hostd.sandbox.worker", "from hostd.sandbox import jail; jail._ARCHITECTURES.clear(); from hostd.sandbox.worker"))  # fmt: skip
    with pytest.raises(WorkerLost, match="no seccomp, and isolation is required"):
        ScriptWorker.start(load("x = 1"))
    worker = ScriptWorker.start(load("x = 1"), isolation="best-effort")
    assert worker.layers["seccomp"] == 0
    worker.stop()


# -- a worker that was taken over -------------------------------------------------------------------------------------


def taken_over(monkeypatch, sends, may=("lossy",)):
    """Start a process that says hello and ready as a worker does, and then runs what it likes."""
    program = (
        "import sys; sys.path += sys.argv[3:]\nimport socket, struct, time, msgspec\nfrom hostd.sandbox import frames\nfrom hostd.sandbox.channel import Channel\n"
        "s = socket.socket(fileno=int(sys.argv[1]))\nc = Channel(s, frames.FromHost, max_receive=frames.MAX_FRAME)\n"
        "c.send(frames.Hello({'landlock': 1, 'seccomp': 1}))\nc.receive()\nc.send(frames.Ready(['on_stored_instance'], []))\nc.receive()\n"
    )
    monkeypatch.setattr(processes, "_BOOTSTRAP", program + sends + "\ntime.sleep(30)")
    return ScriptWorker.start(load("", may=list(may)))


GARBAGE = {
    "s.sendall(b'\\xff\\xff\\xff\\xff')": "is over the limit",
    "s.sendall(struct.pack('>I', frames.MAX_RESULT + 1))": "is over the limit",
    "s.sendall(struct.pack('>I', 3) + b'abc')": "garbage",
    "s.sendall(struct.pack('>I', 5000) + b'\\x91' * 5000)": "garbage",
    "s.sendall(struct.pack('>I', 5) + b'\\xdd\\xff\\xff\\xff\\xff')": "garbage",
    "c.send({'type': 'result', 'id': 1, 'actions': [], 'log': [], 'tags_read': [], 'more': 1})": "garbage",
    "c.send({'type': 'result', 'id': 1, 'actions': [{'type': 'exec'}], 'log': [], 'tags_read': []})": "garbage",
    "c.send({'type': 'question', 'id': 1, 'verb': 'open', 'path': []})": "garbage",
    "c.send(msgspec.msgpack.Ext(1, b'x'))": "garbage",
    "c.send(frames.Hello({}))": "something else than a result",
    "c.send(frames.Result(2, [], [], []))": "another event",
    "c.send(frames.Result(1, [frames.Delete('one')], [], []))": "may not take",
    "c.send(frames.Result(1, [frames.Forward('one', 'ai')], [], []))": "may not take",
    "c.send(frames.Result(1, [frames.Forward('two', 'archive')], [], []))": "another instance",
    "c.send(frames.Result(1, [frames.Forward(0, 'archive')], [], []))": "no earlier action",
    "c.send(frames.Result(1, [frames.Transcode('one', 'x')], [], []))": "may not take",
    "c.send(frames.Result(1, [frames.Forward('one', 'archive', syntax='1.2.840.10008.1.2.4.91')], [], []))": "may not take",
    "c.send(frames.Result(1, [frames.Transcode('one', '1.2.840.10008.1.2.1')] * 1001, [], []))": "too long",
    "sys.exit(3)": "exit code 3",
    "s.close()": "closed its connection",
}


LOSSY_ACTIONS = [
    "frames.Transcode('one', '1.2.840.10008.1.2.4.91')", "frames.Transcode('one', '1.2.840.10008.1.2.4.91', lossy=True)",
    "frames.Transcode('one', '1.2.840.10008.1.2.4.90', lossy=True)", "frames.Transcode('one', '1.2.840.10008.1.2.4.90', near=0)",
    "frames.Transcode('one', '1.2.840.10008.1.2.4.90', quality=80)", "frames.Transcode('one', '1.2.840.10008.1.2.4.90', ratio=8.0)",
]  # fmt: skip


@pytest.mark.parametrize("action", LOSSY_ACTIONS)
def test_a_worker_that_asks_for_loss_without_the_capability_is_ended(monkeypatch, action):
    worker = taken_over(monkeypatch, f"c.send(frames.Result(1, [{action}], [], []))", may=())
    with pytest.raises(WorkerLost, match="may not take"):
        run(worker)
    assert not is_there(worker.pid)


@pytest.mark.parametrize(("sends", "reason"), GARBAGE.items(), ids=GARBAGE)
def test_what_no_honest_worker_sends_ends_the_worker(monkeypatch, sends, reason):
    worker = taken_over(monkeypatch, sends)
    with pytest.raises(WorkerLost, match=reason):
        run(worker)
    assert not is_there(worker.pid)


def test_a_frame_that_trickles_in_does_not_outlast_the_limit(monkeypatch):
    worker = taken_over(
        monkeypatch, "s.sendall(struct.pack('>I', 1000))\nwhile True:\n    s.sendall(b'x'); time.sleep(0.05)"
    )
    begun = time.monotonic()
    with pytest.raises(WorkerLost, match="killed after"):
        run(worker, limit=0.4)
    assert time.monotonic() - begun < 40  # of the 50 s that the whole frame would take


# -- what the worker is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trickles", [False, True], ids=["it does not read", "it reads a little now and then"])
def test_a_frame_that_is_not_read_does_not_hold_up_the_host(trickles):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        channel = Channel(ours, frames.FromWorker, max_receive=frames.MAX_RESULT)
        channel.settimeout(0.3)
        if trickles:
            threading.Thread(target=_read_slowly, args=(theirs,), daemon=True).start()
        with pytest.raises(TimeoutError):
            channel.send_encoded(bytes(4 << 20))


def _read_slowly(end):
    with contextlib.suppress(OSError):  # it is closed meanwhile
        while end.recv(4096):
            time.sleep(0.02)


def test_frames_that_come_together_are_received_one_by_one():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sends = Channel(theirs, frames.FromHost, max_receive=frames.MAX_FRAME)
        channel = Channel(ours, frames.Hello, max_receive=frames.MAX_RESULT)
        for number in range(3):
            sends.send(frames.Hello({"landlock": number}))
        assert [channel.receive(deadline=time.monotonic() + 60).layers["landlock"] for _ in range(3)] == [0, 1, 2]
        with pytest.raises(TimeoutError):
            channel.receive(deadline=time.monotonic() + 0.05)
        theirs.close()
        with pytest.raises(EOFError):
            channel.receive(deadline=time.monotonic() + 60)


@pytest.mark.parametrize("is_forked", [False, True], ids=["by itself", "forked"])
def test_a_worker_holds_nothing_worth_stealing(is_forked, monkeypatch):
    program = (
        "import sys; sys.path += sys.argv[3:]\nimport os, socket\nimport hostd.sandbox.worker\n"
        "from hostd.sandbox import zygote\ns = socket.socket(fileno=zygote.settle(int(sys.argv[1]), sys.argv[2])[0])\n"
        "s.sendall('\\n'.join([*sys.modules, *('ENV ' + k for k in os.environ), *('FD ' + f for f in os.listdir('/proc/self/fd'))]).encode())"
    )
    monkeypatch.setenv("HOSTD_TEST_SECRET", "secret")
    monkeypatch.setattr(processes, "_BOOTSTRAP", program)
    launcher = processes.launcher()
    started = processes.start("a.py", 128 << 20, launcher if is_forked else None)
    seen = b""
    while chunk := started.channel._socket.recv(1 << 20):
        seen += chunk
    started.process.wait(60)
    started.channel.close()
    launcher.close()
    names = seen.decode().split("\n")
    modules = {name for name in names if not name.startswith(("ENV ", "FD "))}
    assert "hostd.sandbox.worker" in modules
    assert {m for m in modules if m.split(".")[0] == "hostd" and not m.startswith("hostd.sandbox")} == {"hostd"}
    assert not modules & {
        "pydicom",
        "numpy",
        "sqlalchemy",
        "requests",
        "subprocess",
        "multiprocessing",
        "pickle",
        "ssl",
        "asyncio",
    }
    assert [name for name in names if name.startswith("ENV ") and name != "ENV LC_CTYPE"] == []
    assert (
        len([name for name in names if name.startswith("FD ")]) <= 5
    )  # the three standard ones, the connection, the listing


def test_workers_that_were_forked_draw_other_numbers_and_uuids():
    launcher = processes.launcher()
    source = "import random, uuid\n" + handler("host.log([random.random(), random.gauss(0, 1), uuid.uuid4()])")
    said = []
    for _ in range(2):
        worker = ScriptWorker.start(load(source), forked_by=launcher)
        said.append(run(worker).log)
        worker.stop()
    launcher.close()
    (one,), (other,) = said
    assert one != other
    assert not set(one[1].strip("[]").split(", ")) & set(other[1].strip("[]").split(", "))


def test_the_vocabulary_has_the_standards_keywords_and_every_name_of_a_syntax():
    assert KEYWORDS["PatientName"] == (0x00100010, "PN")
    assert SYNTAXES["j2k"] == SYNTAXES["1.2.840.10008.1.2.4.90"] == SYNTAXES["JPEG2000Lossless"]
    assert LOSSLESS_OF[SYNTAXES["HTJ2K"].uid] == "htj2k"
    assert all(not SYNTAXES[short].is_lossy for short in LOSSLESS_OF.values())
    assert len(msgspec.msgpack.encode(load(""))) < frames.MAX_FRAME // 4
