"""`hostd scripts history | rollback | release | disable | enable | parked`, `hostd run-on`, `hostd deploy`, `hostd init`."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from pydicom.data import get_testdata_file
from typer.testing import CliRunner

from hostd.archive import events, plans, repeats, scripts
from hostd.archive import tables as t
from hostd.archive.archive import attach
from hostd.archive.plans import Plan
from hostd.archive.scripts import Version
from hostd.cli import build
from hostd.sandbox import api
from hostd.testing.made import arrive

SAYS = "def on_stored_instance(instance, host):\n    print('{}')\n"
FORWARDS = "def on_stored_instance(instance, host):\n    host.forward(instance, to='archive')\n"


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


ONE, TWO = SAYS.format("one"), SAYS.format("two")


@pytest.fixture
def config(config):
    config.write_text(
        config.read_text()
        + '[modalities.archive]\naet = "A"\nhost = "127.0.0.1"\nport = 104\n[scripting]\nreload = "manual"\n'
    )
    folder = config.parent / "scripts"
    folder.mkdir(mode=0o755)
    (folder / "a.py").write_text(TWO)
    (folder / "a.py").chmod(0o600)
    return config


@pytest.fixture
def archive(archive):
    """Two versions of a.py ran, the second with a helper."""

    def unit(connection):
        scripts.meet(connection, "a.py", 1.0, from_beginning=True)
        handlers = ("on_stored_instance",)
        scripts.accept(connection, "a.py", Version(digest(ONE), ONE, handlers), 1.0)
        scripts.accept(connection, "a.py", Version(digest(TWO), TWO, handlers, {"rules": "LIMIT = 1\n"}), 2.0)

    archive.writer.do(unit)
    return archive


def run(config, *arguments, **other):
    return CliRunner().invoke(build(), [*map(str, arguments), "--config", str(config)], **other)


def listed(config):
    return {row["name"]: row for row in json.loads(run(config, "scripts", "--json").stdout)}


def known(archive, name="a.py"):
    with archive.read() as connection:
        return scripts.find(connection, name)


# -- versions ---------------------------------------------------------------------------------------------------------


def test_the_history_tells_every_version_that_ran_and_until_when(config, archive):
    told = json.loads(run(config, "scripts", "history", "a.py", "--json").stdout)
    assert [(row["version"], row["since"], row["until"]) for row in told] == [
        (digest(ONE), "1970-01-01T00:00:01.000+00:00", "1970-01-01T00:00:02.000+00:00"),
        (digest(TWO), "1970-01-01T00:00:02.000+00:00", None),
    ]
    text = run(config, "scripts", "history", "a.py").stdout
    assert "on_stored_instance" in text
    assert digest(ONE)[:12] in text


def test_a_version_is_shown_with_its_helpers_and_two_are_compared(config, archive):
    shown = run(config, "scripts", "history", "a.py", "--show", digest(TWO)[:6]).stdout
    assert shown == TWO + "\n# -- lib/rules.py\n\nLIMIT = 1\n"
    lines = run(config, "scripts", "history", "a.py", "--diff", digest(ONE)[:6], digest(TWO)[:6]).stdout.splitlines()
    assert "-    print('one')" in lines
    assert "+    print('two')" in lines
    assert "+LIMIT = 1" in lines


def test_a_rollback_pins_the_version_before_and_a_release_lets_go(config, archive):
    assert run(config, "scripts", "rollback", "a.py").exit_code == 0
    assert (known(archive).pinned, known(archive).pinned_over) == (digest(ONE), digest(TWO))
    assert listed(config)["a.py"]["pinned"] == digest(ONE)
    assert f"pinned to {digest(ONE)[:12]}" in run(config, "scripts").stdout
    assert run(config, "scripts", "release", "a.py").exit_code == 0
    assert known(archive).pinned is None
    assert run(config, "scripts", "release", "a.py").exit_code == 1


def test_what_cannot_be_decided_is_said_and_changes_nothing(config, archive):
    for arguments in (
        ["rollback", "b.py"],
        ["rollback", "a.py", digest(TWO)],
        ["enable", "a.py"],
        ["history", "a.py", "--show", "zz"],
    ):
        result = run(config, "scripts", *arguments)
        assert result.exit_code != 0
        assert "Traceback" not in result.output
    assert known(archive).pinned is None


def test_a_disabled_script_is_shown_as_such_with_what_waits_for_it(config, archive):
    assert run(config, "scripts", "disable", "a.py").exit_code == 0
    arrive(archive)
    behind = listed(config)["a.py"]["behind"]
    assert listed(config)["a.py"]["state"] == "disabled"
    assert "1 disabled" in run(config, "status").stdout
    assert run(config, "scripts", "enable", "a.py", "--skip").exit_code == 1  # this node has not come to it
    result = run(config, "scripts", "enable", "a.py")
    assert f"{behind} events wait" in result.output
    assert not known(archive).disabled


# -- parked, and run on -----------------------------------------------------------------------------------------------


@pytest.fixture
def parked(archive):
    """a.py was parked on the first of two instances, and said something about the second."""
    arrive(archive, "1.2.3.4.5")
    arrive(archive, "1.2.3.4.6")

    def unit(connection):
        first, second = repeats.of_the_past(connection, ["stored_instance"])
        token = scripts.get_cursor(connection, "a.py").token
        enter(connection, first, token, after=0, outcome="parked", error="ValueError: [red]no")
        enter(connection, second, token, after=first, outcome="done", log=(("info", "seen"),))
        return first, second

    return archive.writer.do(unit)


def enter(connection, number, token, *, after, outcome, error=None, log=()):
    event = events.get(connection, number)
    plan = Plan("a.py", digest(TWO), event, "1.2", "1.2", outcome, (), (), log, error, 3.0, 0.1)
    plans.enter(connection, plan, token, after=after)


def test_parked_events_are_listed_with_their_reason_until_they_run_again(config, archive, parked):
    (row,) = json.loads(run(config, "scripts", "parked", "--json").stdout)
    assert (row["script"], row["event"], row["error"]) == ("a.py", parked[0], "ValueError: [red]no")
    assert "[red]no" in run(config, "scripts", "parked", "a.py").stdout
    assert listed(config)["a.py"]["parked_events"] == 1
    result = run(config, "run-on", "a.py", "--parked")
    assert (result.exit_code, result.stdout) == (0, "a.py runs again on 1 event\n")
    assert "no event is parked" in run(config, "scripts", "parked").stdout
    assert f"event {parked[0]} again, for a.py alone" in run(config, "explain", "1.2.3.4.5").stdout
    assert run(config, "run-on", "a.py", "--parked").exit_code == 1


@pytest.mark.parametrize("which", [["--study", "1.2.3"], ["--since", "2020-01-01"]])
def test_of_a_study_or_a_time_runs_again_what_had_no_effect_yet(config, archive, parked, which):
    told = json.loads(run(config, "run-on", "a.py", *which, "--json").stdout)
    assert [(row["event"], row["again_as"] is not None) for row in told] == [(parked[0], True), (parked[1], False)]
    assert "with an effect" in told[1]["left"]
    told = json.loads(run(config, "run-on", "a.py", *which, "--again", "--json").stdout)
    assert [row["again_as"] is not None for row in told] == [False, True]


def test_what_matches_nothing_or_is_not_said_clearly_does_nothing(config, archive, parked):
    assert run(config, "run-on", "a.py", "--accession", "A1").exit_code == 1
    assert run(config, "run-on", "a.py", "--event", "99999").exit_code == 1
    assert run(config, "run-on", "a.py").exit_code == 2
    assert run(config, "run-on", "a.py", "--since", "yesterday").exit_code == 2
    assert run(config, "run-on", "a.py", "--since", "2020-01-01", "--parked").exit_code == 2
    with archive.read() as connection:
        assert connection.execute(t.event.select().where(t.event.c.repeats.is_not(None))).all() == []


# -- deploy -----------------------------------------------------------------------------------------------------------


def test_deploy_shows_the_difference_over_the_past_asks_and_approves_what_it_rehearsed(config, archive, parked):
    (config.parent / "scripts" / "a.py").write_text(FORWARDS)
    result = run(config, "deploy", "a.py", input="n\n")
    assert result.exit_code == 1
    assert "would now forward to modality:archive: 2 events" in result.output
    assert known(archive).approved is None
    assert run(config, "deploy", "a.py", "--yes").exit_code == 0
    assert known(archive).approved == digest(FORWARDS)


def test_what_does_not_compile_or_runs_already_is_not_deployed(config, archive):
    assert "holds the version that runs already" in run(config, "deploy", "a.py", "--yes").output
    (config.parent / "scripts" / "a.py").write_text("import os\n")
    result = run(config, "deploy", "a.py", "--yes")
    assert result.exit_code == 1
    assert "line 1" in result.output
    assert known(archive).approved is None


# -- init -------------------------------------------------------------------------------------------------------------


def test_init_writes_what_is_valid_and_runs_and_never_writes_over_anything(tmp_path):
    folder = tmp_path / "new"
    result = CliRunner().invoke(build(), ["init", str(folder)])
    assert result.exit_code == 0, result.output
    assert "hostd run" in result.output
    file, script = folder / "hostd.toml", folder / "scripts" / "arrivals.py"
    assert CliRunner().invoke(build(), ["config", "check", str(file)]).exit_code == 0
    checked = CliRunner().invoke(build(), ["check", str(script), "--config", str(file)])
    assert checked.exit_code == 0, checked.output
    file.write_text("mine")
    assert CliRunner().invoke(build(), ["init", str(folder)]).exit_code == 1
    assert file.read_text() == "mine"


def test_every_setting_that_init_only_mentions_is_valid_too(tmp_path):
    CliRunner().invoke(build(), ["init", str(tmp_path)])
    file = tmp_path / "hostd.toml"
    secret = tmp_path / "secret"
    secret.write_text("x")
    text = re.sub(r"^# (?=\w+ = |\[)", "", file.read_text(), flags=re.MULTILINE)
    assert "\n[modalities.archive]" in text
    file.write_text(text.replace("/run/secrets/buffer", str(secret)))
    result = CliRunner().invoke(build(), ["config", "check", str(file)])
    assert result.exit_code == 0, result.output


def test_what_the_first_script_only_mentions_does_what_it_says(tmp_path):
    said = CliRunner().invoke(build(), ["init", str(tmp_path)]).output
    file, script = tmp_path / "hostd.toml", tmp_path / "scripts" / "arrivals.py"
    assert f"hostd try {script} FILE.dcm" in said
    file.write_text(
        re.sub(r"^# (?=\[modalities|aet = |host = \"192|port = 104)", "", file.read_text(), flags=re.MULTILINE)
    )
    text = re.sub(r"^    # (?=if |    host)", "    ", script.read_text(), flags=re.MULTILINE)
    assert text != script.read_text()
    script.write_text(text)
    ran = CliRunner().invoke(
        build(), ["try", str(script), get_testdata_file("CT_small.dcm", download=False), "--config", str(file)]
    )
    assert ran.exit_code == 0, ran.output
    assert "forward to modality:archive in JPEG 2000 Lossless" in ran.output
    for handler in re.findall(r"(on_\w+)\(", text):
        assert handler in api.HANDLERS


def test_scripts_that_are_there_stay_alone(tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "mine.py").write_text(ONE)
    assert CliRunner().invoke(build(), ["init", str(tmp_path)]).exit_code == 0
    assert [path.name for path in (tmp_path / "scripts").iterdir()] == ["mine.py"]


# -- on a node that runs ----------------------------------------------------------------------------------------------


def until(condition):
    ends = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < ends
        time.sleep(0.1)
    return found


def test_a_running_node_follows_a_rollback_and_runs_on_what_it_is_told(tmp_path):
    file = tmp_path / "hostd.toml"
    file.write_text("[dicom]\nenabled = false\n[http]\nport = 0\n[scripting]\nattempts = 1\n")
    file.chmod(0o600)
    (tmp_path / "scripts").mkdir(mode=0o755)
    script = tmp_path / "scripts" / "a.py"
    script.write_text(ONE)
    script.chmod(0o600)
    data = tmp_path / "hostd-data"
    node = subprocess.Popen(
        [sys.executable, "-m", "hostd", "run", str(file)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip

    def here(name="a.py"):
        with attach(data) as connection:
            return scripts.find(connection, name)

    def logged():
        with attach(data) as connection:
            return [text for row in connection.execute(t.run.select().order_by(t.run.c.id)) for _, text in row.log]

    try:
        while not (line := node.stdout.readline()).startswith("ready"):
            assert line
            if line.startswith("HTTP on "):
                url = "http://" + line.split()[2]
        until(lambda: here() and here().version == digest(ONE))
        broken = "def on_stored_instance(instance, host):\n    raise ValueError('no')\n"
        script.write_text(broken)
        until(lambda: here().version == digest(broken))
        content = Path(get_testdata_file("CT_small.dcm", download=False)).read_bytes()
        assert requests.post(f"{url}/instances", data=content, timeout=60).ok
        until(lambda: listed(file)["a.py"]["parked_events"] == 1)
        assert run(file, "scripts", "rollback", "a.py").exit_code == 0
        until(lambda: here().version == digest(ONE))
        assert run(file, "run-on", "a.py", "--parked").exit_code == 0
        until(lambda: logged() == ["one"])
    finally:
        node.send_signal(signal.SIGTERM)
        _, errors = node.communicate(timeout=60)
    assert node.returncode == 0
    assert "Traceback" not in errors
