"""What the commands of all benchmarks have in common: their arguments, their folder, and what they do with what they found."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks import document
from benchmarks.figures import Section

CANNOT = os.EX_UNAVAILABLE
"""The exit status where a program that is measured is not there."""
_OF_NO_EFFECT = ("write", "page", "json")
"""Arguments that change nothing of what is measured."""


def parser(name: str, about: str | None, *, rounds: int | None = None, most: str = "") -> argparse.ArgumentParser:
    """Return one with what every benchmark takes; `rounds` is how often it measures by default, `most` what --quick does."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=about)
    made.add_argument("--quick", action="store_true", help=most or "a little of everything, once: does it run?")
    if rounds is not None:
        made.add_argument("--rounds", type=int, default=rounds, help=f"how often each is measured (default {rounds})")
    made.add_argument("--folder", type=Path, help="where files are (default: the system's temporary folder)")
    made.add_argument("--write", action="store_true", help="write the section and its picture into the page")
    made.add_argument("--page", type=Path, default=document.PAGE, help="the page (default docs/performance.md)")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures into a file, as JSON")
    return made


@contextmanager
def begun(parser: argparse.ArgumentParser, needs: Sequence[str] = ()) -> Iterator[tuple[argparse.Namespace, Path]]:
    """Give the arguments, and an empty folder that is removed at the end. Ends the process where a program that it needs is not there."""
    asked = parser.parse_args()
    asked.command = " ".join([parser.prog, *map(shlex.quote, _arguments(parser, asked))])
    if asked.quick:
        if asked.write and asked.page == document.PAGE:
            parser.error("figures of --quick mean nothing: name another --page")
        asked.rounds = 1
    if absent := [program for program in needs if not (Path(program).exists() or shutil.which(program))]:
        parser.exit(CANNOT, f"{parser.prog}: not measured, {', '.join(absent)} is not there\n")
    end_when_told()
    with tempfile.TemporaryDirectory(prefix="hostd-benchmark-", dir=asked.folder) as folder:
        yield asked, Path(folder)


def end_when_told() -> None:
    """Have SIGTERM end this process as an exception does: what it started is ended on the way out."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _arguments(parser: argparse.ArgumentParser, asked: argparse.Namespace) -> list[str]:
    """Return those that are not as they are by default, and change what is measured."""
    given = []
    for name, value in vars(asked).items():
        if name not in _OF_NO_EFFECT and value != parser.get_default(name):
            given += [f"--{name}", *([] if value is True else [str(value)])]
    return given


def finish(asked: argparse.Namespace, sections: Sequence[Section]) -> None:
    """Print sections, and write them where that is asked for."""
    sections = [replace(section, command=asked.command) for section in sections]
    for section in sections:
        print(section.markdown(), end="\n\n", flush=True)  # noqa: T201 - what the command is for
        if asked.write:
            if not document.write(asked.page, section):
                say("no picture: matplotlib is not installed (pip install 'hostd[bench]')")
            say(f"the section {section.title!r} is written to {asked.page}")
    if asked.json:
        found = {
            section.name: section.as_json() | {"tables": [table.as_json() for table in section.tables]}
            for section in sections
        }
        asked.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def say(line: str) -> None:
    """Tell whoever waits."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - a command's own progress
