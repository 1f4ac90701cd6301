"""`host.http_get`, `host.post`, `host.put` in scripts: who may, what is recorded, and that no rehearsal asks anybody."""

import pytest
from scripts_kit import handler, resolve

from hostd.archive import events, tasks
from hostd.archive import tables as t
from hostd.config.sections import Script
from hostd.errors import ScriptError
from hostd.scripting.asking import Means
from hostd.scripting.host import Limits, ScriptHost
from hostd.scripting.loading import Names, load_frame
from hostd.scripting.replay import Replayer
from hostd.scripting.runtime import ScriptWorker

ASKS = handler(
    "answer = host.http_get('registry', '/patients?id=' + instance.patient_id)",
    "print(answer.status, answer.json()['name'], answer.is_good)",
    "print(host.http_get('registry', '/patients?id=' + instance.patient_id).text)",
)
TELLS = handler("host.post('registry', 'reports', {'uid': instance.sop_instance_uid})")


@pytest.fixture
def asked():
    return []


@pytest.fixture
def outside(bench, asked):
    """A bench whose scripts may ask a system that answers."""

    def get(target, path):
        asked.append((target, path))
        if "P9" in path:
            raise ScriptError("the target registry gave no answer: refused")
        return 200, '{"name": "A"}'

    def start():
        bench.host = ScriptHost(
            bench.archive, bench.folder, entries=bench.entries, names=Names(["archive"], targets=["registry"]),
            means=Means(resolve, get=get), isolation="required", limits=Limits(2), launcher=bench.launcher, rescan_s=60, check_file=lambda _path: None,
        )  # fmt: skip
        bench.host.start()
        return bench

    bench.start = start
    return bench


def test_an_answer_reaches_the_script_and_is_recorded_with_the_run(outside, asked):
    outside.may("a.py", may=["http"])
    outside.write("a.py", ASKS)
    outside.start()
    outside.arrive()
    outside.until_passed("a.py")
    assert outside.logged("a.py") == ["200 A True", '{"name": "A"}']
    assert asked == [("registry", "/patients?id=P1")], "the same question is asked once"
    (run,) = outside.rows(t.run)
    assert run.asked == [
        {"verb": "http_get", "target": "registry", "path": "/patients?id=P1", "status": 200, "body": '{"name": "A"}'}
    ]


def test_a_run_that_only_asked_is_recorded_so_that_it_can_be_rehearsed(outside):
    outside.may("a.py", may=["http"])
    outside.write("a.py", handler("host.http_get('registry', 'x')"))
    outside.start()
    outside.arrive()
    outside.until_passed("a.py")
    (run,) = outside.rows(t.run)
    assert [one["path"] for one in run.asked] == ["x"]


def test_a_replay_answers_from_the_record_and_asks_nobody(outside, asked):
    outside.may("a.py", may=["http"])
    outside.write("a.py", ASKS)
    outside.start()
    outside.arrive()
    outside.until_passed("a.py")
    asked.clear()
    with outside.archive.read() as connection:
        past = events.latest(connection, ["stored_instance"], 10)
    other = ASKS.replace("/patients", "/people")
    named = Names(["archive"], targets=["registry"])
    found = []
    for text in (ASKS, other):
        replayer = Replayer(
            lambda text=text: ScriptWorker.start(load_frame("a.py", text, Script(may=["http"]), named, resolve)),
            file_of=outside.archive.blobs.path, read=outside.archive.read,
            destinations=resolve, time_limit_s=60,
        )  # fmt: skip
        found += [one.outcome for one in replayer.replay(past)]
    assert [text for _, text in found[0].log] == ["200 A True", '{"name": "A"}']
    assert "a rehearsal asks nobody outside" in found[1].error
    assert asked == []


def test_no_answer_is_an_error_that_the_script_can_catch(outside):
    outside.may("a.py", may=["http"])
    outside.write(
        "a.py",
        handler("try:", "    host.http_get('registry', 'P9')", "except ValueError as error:", "    print(error)"),
    )
    outside.start()
    outside.arrive()
    outside.until_passed("a.py")
    assert outside.logged("a.py") == ["the target registry gave no answer: refused"]


def test_one_run_asks_so_many_questions(outside, asked):
    outside.may("a.py", may=["http"])
    outside.write("a.py", handler("for n in range(25):", "    host.http_get('registry', str(n))"))
    outside.start()
    outside.arrive()
    outside.until_passed("a.py")
    assert "20 questions" in outside.rows(t.run)[-1].error
    assert len(asked) == 40, "twenty in each of two tries"


def test_without_the_capability_nothing_is_asked_or_told(outside, asked):
    for number, text in enumerate((ASKS, TELLS)):
        outside.write(f"{number}.py", text)
    outside.start()
    outside.arrive()
    for number in range(2):
        outside.until_passed(f"{number}.py")
        assert f'may = ["http"] under [scripts."{number}.py"]' in outside.rows(t.run, script=f"{number}.py")[-1].error
    assert asked == []
    assert outside.rows(t.task) == []


def test_what_is_told_is_a_task_of_its_target(outside):
    outside.may("a.py", may=["http"])
    outside.write("a.py", TELLS)
    outside.start()
    outside.arrive()
    outside.until_passed("a.py")
    with outside.archive.read() as connection:
        (task,) = tasks.listing(connection)
        assert tasks.orphaned(connection, "http:", ["http:other"]) == ["http:registry"]
        assert tasks.orphaned(connection, "http:", ["http:registry"]) == []
    assert (task.verb, task.queue, task.state) == ("post", "http:registry", "waiting")
    assert task.details == {"method": "POST", "path": "reports", "json": '{"uid": "1.2.3.4.1"}'}
    (action,) = outside.rows(t.action)
    assert action.inputs == {"target": "registry", "path": "reports", "line": 2}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("host.http_get('registry', '../x')", "no parts . and .."),
        ("host.http_get('registry', '//evil/x')", "one slash or none"),
        ("host.post('registry', 'a\\r\\nb', {})", "printable ASCII"),
        ("host.post('registry', 'a', {1, 2})", "cannot be sent as JSON"),
        ("host.post('registry', 'a', float('nan'))", "cannot be sent as JSON"),
        ("host.put('registry', 'a', 'x' * 300000)", "up to 256 KiB"),
        ("host.put('registr', 'a', 1)", "did you mean registry"),
        ("host.put(5, 'a', 1)", "named by a text"),
    ],
)
def test_what_cannot_be_asked_or_told_fails_the_run_with_its_line(outside, line, says):
    outside.may("a.py", may=["http"])
    outside.write("a.py", handler(line))
    outside.start()
    outside.arrive()
    outside.until_passed("a.py")
    error = outside.rows(t.run)[-1].error
    assert says in error
    assert "(line 2)" in error
