"""What the commands say of functions that run by the clock."""

import json

import pytest
from typer.testing import CliRunner

from hostd.archive import schedules, scripts
from hostd.archive.schedules import Timing
from hostd.cli import build
from hostd.jobs.timetable import Timetable

BOTH = """\
@cron("0 2 * * *")
def nightly(host):
    host.log("swept")


@every(minutes=10)
def tick(host):
    host.notify("ops", "tick")
"""


@pytest.fixture
def script(config):
    config.write_text(
        config.read_text() + '[notify.ops]\nurl = "http://127.0.0.1:1/"\n[scripts."a.py"]\nchannels = ["ops"]\n'
    )
    file = config.parent / "a.py"
    file.write_text(BOTH)
    return file


def run(config, *arguments):
    return CliRunner().invoke(build(), [*map(str, arguments), "--config", str(config)])


def test_check_says_when_they_run(config, script):
    result = run(config, "check", script)
    assert result.exit_code == 0, result.output
    assert "good (nightly at 0 2 * * *, tick every 600 s)" in result.output
    script.write_text(BOTH.replace("0 2", "0 24"))
    result = run(config, "check", script)
    assert result.exit_code == 1
    assert "a.py:1: '0 24 * * *' is no cron expression: Bad hour" in result.output


def test_try_rehearses_them_without_files(config, script):
    result = run(config, "try", script)
    assert result.exit_code == 0, result.output
    assert "a.py: nightly\n  would do nothing\n  log info: swept" in result.output
    assert "a.py: tick\n  would notify ops: tick" in result.output
    result = run(config, "try", script, "--event", "tick")
    assert "nightly" not in result.output
    result = run(config, "try", script, script, "--event", "never")
    assert "by the clock: nightly, tick" in result.output


def test_try_of_a_script_without_any_asks_for_files(config, script):
    script.write_text("def on_stored_instance(instance, host):\n    pass\n")
    result = run(config, "try", script)
    assert result.exit_code == 2
    assert "name the DICOM files" in result.output


def test_scripts_shows_what_is_next(config, archive):
    timetable = Timetable()

    def unit(connection):
        for name in ("a.py", "b.py"):
            scripts.meet(connection, name, 0.0, from_beginning=False)
            scripts.accept(connection, name, scripts.Version(name, "", ("f",)), 0.0)
        wanted = [("f", Timing(None, "0 2 * * *")), ("g", Timing(600.0, None))]
        schedules.renew(connection, "a.py", wanted, 0.0, timetable.next_after)
        (one,) = [one for one in schedules.known(connection) if one.function == "g"]
        schedules.tell(connection, one, 1200.0, 600.0)

    archive.writer.do(unit)
    found = {row["name"]: row["schedules"] for row in json.loads(run(config, "scripts", "list", "--json").stdout)}
    assert found == {
        "a.py": [
            {"function": "g", "when": "every 600 s", "due_at": "1970-01-01T00:20:00.000+00:00",
             "last_at": "1970-01-01T00:10:00.000+00:00"},
            {"function": "f", "when": "at 0 2 * * *", "due_at": "1970-01-01T02:00:00.000+00:00", "last_at": None},
        ],
        "b.py": [],
    }  # fmt: skip


def test_replay_and_run_on_know_the_events_of_that_script(config, archive):
    def unit(connection):
        for name in ("a.py", "b.py"):
            version = scripts.Version("v" + name, BOTH, ("nightly", "tick"))
            scripts.meet(connection, name, 0.0, from_beginning=True)
            scripts.accept(connection, name, version, 0.0)
            schedules.renew(connection, name, [("nightly", Timing(600.0, None))], 0.0, Timetable().next_after)
        for one in schedules.known(connection):
            schedules.tell(connection, one, 1200.0, 600.0)

    archive.writer.do(unit)
    result = run(config, "replay", "a.py")
    assert "over 1 past events" in result.output, result.output
    result = run(config, "run-on", "a.py", "--since", "1970-01-01T00:00", "--json")
    (left,) = json.loads(result.stdout)
    assert "it waits for a.py already" in left["left"]
