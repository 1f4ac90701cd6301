"""`hostd actions`, and what `hostd explain` and `hostd status` say of what is done after a run."""

import json
import sys
from pathlib import Path

from typer.testing import CliRunner

from hostd.archive import tables as t
from hostd.archive import tasks
from hostd.cli import build
from hostd.testing.made import arrive

sys.path.insert(0, str(Path(__file__).parents[1] / "jobs"))

from tasks_kit import ask, later, rows


def run(config, *arguments):
    return CliRunner().invoke(build(), [*arguments, "--config", str(config)])


def test_a_failed_action_is_shown_with_its_reason_and_tried_again(config, archive):
    arrive(archive)
    ask(archive, later(verb="store", queue="store"))
    archive.writer.do(lambda c: tasks.fail(c, 1, "it cannot be made", 5.0))
    listed = run(config, "actions", "list", "--failed")
    assert all(said in listed.output for said in ("store", "a.py", "1.2.3.4.5", "failed", "it cannot be made"))
    told = run(config, "explain", "1.2.3.4.5").output
    assert "1. store: failed" in told
    assert "task 1: failed, 0 tries: it cannot be made" in told
    assert "it cannot be made" not in run(config, "explain", "1.2.3.4.5", "--no-phi").output
    assert "actions after runs: 1 failed" in run(config, "status").output
    assert run(config, "actions", "retry", "1").exit_code == 0
    (waiting,) = json.loads(run(config, "actions", "list", "--open", "--json").output)
    assert (waiting["id"], waiting["state"]) == (1, "waiting")
    assert json.loads(run(config, "actions", "list", "--failed", "--json").output) == []
    assert rows(archive, t.action)[0].state == "open"
    assert run(config, "actions", "retry", "7").exit_code != 0
    assert run(config, "actions", "discard", "1").exit_code == 2, "why is to be said"
    assert run(config, "actions", "discard", "1", "--why", "too old").output == "1: discarded\n"
    shown = run(config, "actions", "show", "1").output
    assert "state: discarded" in shown
    assert "too old" in shown
    assert json.loads(run(config, "actions", "show", "1", "--json").output)["verb"] == "store"
    assert run(config, "actions", "show", "7").exit_code == 1
