"""`python -m benchmarks`: measure everything, one benchmark after another, each in a process of its own; then say which targets are reached.

With `--write` each writes its section of docs/performance.md, its picture and what the table at the top of the page says of it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import document
from benchmarks.command import CANNOT, end_when_told, say
from benchmarks.figures import Target, said

KNOWN: dict[str, tuple[int, list[str]]] = {
    "receive": (7, ["--huge"]),
    "ingest": (6, []),
    "transcode": (5, ["--compared", "--rounds", "3"]),
    "scripts": (2, []),
    "deliveries": (2, []),
    "retrieve": (3, []),
    "query": (1, []),
    "wado": (1, []),
    "archive": (2, []),
    "nodes": (2, []),
    "growth": (2, []),
    "idle": (4, []),
    "soak": (20, ["--folder", "/dev/shm"]),  # noqa: S108 - memory, of which this is about
}
"""Every benchmark, with some of the minutes that it takes on two cores that have nothing else to do, and its arguments."""


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these of {', '.join(KNOWN)}")
    parser.add_argument("--without", nargs="+", default=[], metavar="NAME", help="not these")
    parser.add_argument("--list", action="store_true", help="only say what would be run, and how long each takes")
    parser.add_argument("--quick", action="store_true", help="a little of each: does it run? Its figures mean nothing")
    parser.add_argument("--write", action="store_true", help="write the sections and their pictures into the page")
    parser.add_argument("--page", type=Path, default=document.PAGE, help="the page (default docs/performance.md)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures into a file, as JSON")
    asked = parser.parse_args()
    if unknown := {*asked.names, *asked.without} - KNOWN.keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(KNOWN)}")
    if asked.quick and asked.write and asked.page == document.PAGE:
        parser.error("figures of --quick mean nothing: name another --page")
    names = [name for name in asked.names or KNOWN if name not in asked.without]
    commands = {name: _command(name, asked) for name in names}
    if asked.list:
        for name, arguments in commands.items():
            say(f"{' '.join(['python', *arguments])}   # {KNOWN[name][0]} min")
        return
    end_when_told()
    found, failed = _run(commands, say_sections=not asked.write)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for line in summary(found):
        print(line)  # noqa: T201 - what the command is for
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


def _command(name: str, asked: argparse.Namespace) -> list[str]:
    """Return the arguments of Python that run a benchmark."""
    more = ["--quick"] if asked.quick else KNOWN[name][1]
    return ["-m", f"benchmarks.{name}", *more, *(["--write", "--page", str(asked.page)] if asked.write else [])]


def _run(commands: Mapping[str, Sequence[str]], *, say_sections: bool) -> tuple[dict[str, Any], list[str]]:
    """Run one after another; return what each section has, and who failed."""
    found: dict[str, Any] = {}
    failed = []
    with tempfile.TemporaryDirectory(prefix="hostd-benchmarks-") as folder:
        for number, (name, arguments) in enumerate(commands.items(), 1):
            say(f"{number} of {len(commands)}, {name}: some {KNOWN[name][0]} min on a machine that does nothing else")
            figures, began = Path(folder, f"{name}.json"), time.monotonic()
            ended = _ended(
                [sys.executable, *arguments, "--json", str(figures)], None if say_sections else subprocess.DEVNULL
            )
            took = f"after {(time.monotonic() - began) / 60:.1f} min"
            say(f"{name}: {'done' if ended == 0 else 'not measured' if ended == CANNOT else 'failed'} {took}")
            if ended == 0:
                found |= json.loads(figures.read_text(encoding="utf-8"))
            elif ended != CANNOT:
                failed.append(name)
    return found, failed


def _ended(command: Sequence[str], output: int | None) -> int:
    """Run a command; return its exit status. It is ended when this process is, and ends what it started itself."""
    process = subprocess.Popen(command, stdout=output)
    try:
        return process.wait()
    finally:
        process.terminate()
        process.wait()


def summary(found: Mapping[str, Any]) -> list[str]:
    """Return a line for each target, those that are missed at the end, and one that counts them."""
    targets = [(facts["title"], Target.from_json(one)) for facts in found.values() for one in facts["targets"]]
    lines = [
        f"{'reached' if target.is_reached else 'MISSED '}  {title}: {target.what}: {said(target.measured)} {target.unit}, {target.aimed}"
        for title, target in sorted(targets, key=lambda one: not one[1].is_reached)
    ]
    return [*lines, f"{sum(target.is_reached for _, target in targets)} of {len(targets)} targets are reached."]


if __name__ == "__main__":
    main()
