"""`python -m benchmarks` knows every benchmark that writes a section, with arguments that it takes, and sums up what they found."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import is_alive

import benchmarks
from benchmarks import __main__ as everything
from benchmarks import machine
from benchmarks.__main__ import KNOWN, summary
from benchmarks.figures import Spread, Target

FOLDER = Path(benchmarks.__file__).parent


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], capture_output=True, text=True, check=False, cwd=FOLDER.parent
    )


def test_every_benchmark_that_writes_a_section_is_known():
    found = {path.parent.name for path in FOLDER.glob("*/__main__.py") if "command.finish(" in path.read_text()}
    assert found == KNOWN.keys()


@pytest.mark.load
@pytest.mark.parametrize("name", KNOWN)
def test_each_takes_the_arguments_that_it_is_given(name):
    said = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--help"], capture_output=True, text=True, check=True, cwd=FOLDER.parent
    ).stdout  # fmt: skip
    given = [argument for argument in KNOWN[name][1] if argument.startswith("--")]
    assert all(argument in said for argument in [*given, "--quick", "--write", "--page", "--json", "--folder"])


def test_it_lists_what_is_chosen():
    said = run("--list", "receive", "wado", "--without", "wado")
    assert said.returncode == 0
    assert said.stderr.splitlines() == ["python -m benchmarks.receive --huge   # 7 min"]
    assert len(run("--list").stderr.splitlines()) == len(KNOWN)


def test_an_unknown_name_is_refused():
    said = run("receiving")
    assert said.returncode == 2
    assert "there is no receiving; there are receive, " in said.stderr


def test_figures_of_a_trial_are_not_written_into_the_page():
    assert "name another --page" in run("--quick", "--write").stderr
    alone = subprocess.run(
        [sys.executable, "-m", "benchmarks.growth", "--quick", "--write"], capture_output=True, text=True, check=False, cwd=FOLDER.parent
    )  # fmt: skip
    assert alone.returncode == 2
    assert "name another --page" in alone.stderr


def test_the_summary_has_what_is_missed_at_its_end():
    missed, reached = (Target(what, Spread(2.0, 1.5, 2.5), least=least) for what, least in (("a", 3.0), ("b", 1.0)))
    found = {"x": {"title": "X", "targets": [missed.as_json(), reached.as_json()]}}
    assert summary(found) == [
        "reached  X: b: 2.00 [1.50 to 2.50] times, at least 1 times",
        "MISSED   X: a: 2.00 [1.50 to 2.50] times, at least 3 times",
        "1 of 2 targets are reached.",
    ]


def test_one_that_fails_does_not_keep_the_others_from_being_run(monkeypatch, tmp_path, capsys):
    scripts = {
        "receive": 'import sys; open(sys.argv[-1], \'w\').write(\'{"receiving": {"title": "R", "targets": []}}\')',
        "ingest": "import sys; sys.exit(1)",
        "wado": f"import sys; sys.exit({everything.CANNOT})",
    }
    monkeypatch.setattr(everything, "_command", lambda name, _asked: ["-c", scripts[name]])
    monkeypatch.setattr(sys, "argv", ["benchmarks", "ingest", "wado", "receive", "--json", str(tmp_path / "all.json")])
    with pytest.raises(SystemExit, match="failed: ingest"):
        everything.main()
    assert json.loads((tmp_path / "all.json").read_text()).keys() == {"receiving"}
    said = capsys.readouterr().err
    assert all(what in said for what in ("ingest: failed", "wado: not measured", "receive: done"))


@pytest.mark.load
def test_what_a_benchmark_has_started_ends_with_all_of_them():
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "idle", "--quick"], stdout=subprocess.DEVNULL, cwd=FOLDER.parent
    )
    try:
        ends = time.monotonic() + 60
        while len(started := machine.tree_rss_bytes(process.pid)) < 3:  # the benchmark, and a node
            assert time.monotonic() < ends
            time.sleep(0.05)
    finally:
        process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM
    assert [number for number, _ in started if is_alive(number)] == []
