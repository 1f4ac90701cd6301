"""`python -m benchmarks`: what there is to measure and how long it takes; with `--run`, all of it, each writing its section of docs/performance.md."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

_KNOWN: dict[str, tuple[int, list[str]]] = {
    "scripts": (1, ["--write"]),
    "growth": (2, ["--write"]),
    "idle": (5, ["--write"]),
    "ingest": (4, ["--write", "--rounds", "3", "--instances", "40"]),
    "deliveries": (3, ["--write"]),
    "receive": (6, ["--write", "--rounds", "3"]),
    "nodes": (3, ["--write"]),
    "retrieve": (3, ["--write"]),
    "transcode": (5, ["--compared"]),
    "soak": (20, ["--write", "--folder", "/dev/shm"]),  # noqa: S108 - memory, of which this is about
}
"""Some with the minutes that they take on two cores that have nothing else to do, and their arguments."""
_NO_SECTION = "profile"


def every() -> dict[str, tuple[int | None, list[str]]]:
    """Return all benchmarks that write a section, with their minutes, where these are known, and their arguments."""
    found = sorted(path.parent.name for path in Path(__file__).parent.glob("*/__main__.py"))
    return {name: _KNOWN.get(name, (None, ["--write"])) for name in [*_KNOWN, *found] if name != _NO_SECTION}


def main() -> None:
    """List, or run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--run", nargs="*", metavar="NAME", help="run these; without names, all")
    asked = parser.parse_args()
    if asked.run is None:
        for name, (minutes, arguments) in every().items():
            say(f"python -m benchmarks.{name} {' '.join(arguments)}" + (f"   # {minutes} min" if minutes else ""))
        return
    if unknown := set(asked.run) - every().keys():
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(every())}")
    failed = []
    for name in asked.run or every():
        began = time.monotonic()
        ended = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *every()[name][1]], check=False)
        say(f"{name}: {'done' if ended.returncode == 0 else 'failed'} after {(time.monotonic() - began) / 60:.1f} min")
        failed += [name] if ended.returncode else []
    sys.exit(1 if failed else 0)


def say(line: str) -> None:
    """Tell whoever asked."""
    print(line, flush=True)  # noqa: T201 - what the command is for


if __name__ == "__main__":
    main()
