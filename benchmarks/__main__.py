"""`python -m benchmarks`: what there is to measure and how long it takes; with `--run`, all of it, each writing its section of docs/performance.md."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

ALL = {
    "scripts": (1, ["--write"]),
    "growth": (2, ["--write"]),
    "idle": (5, ["--write"]),
    "ingest": (4, ["--write", "--rounds", "3", "--instances", "40"]),
    "deliveries": (3, ["--write"]),
    "receive": (6, ["--write", "--rounds", "3"]),
    "nodes": (3, ["--write"]),
    "retrieve": (3, ["--write"]),
    "transcode": (5, ["--compared"]),
    "soak": (10, ["--write", "--folder", "/dev/shm"]),  # noqa: S108 - memory, of which this is about
}
"""Each with the minutes that it takes on two cores that have nothing else to do, and its arguments."""


def main() -> None:
    """List, or run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--run", nargs="*", metavar="NAME", choices=[*ALL, []], help="run these; without names, all")
    asked = parser.parse_args()
    if asked.run is None:
        for name, (minutes, arguments) in ALL.items():
            say(f"python -m benchmarks.{name} {' '.join(arguments)}   # {minutes} min")
        return
    failed = []
    for name in asked.run or ALL:
        began = time.monotonic()
        ended = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *ALL[name][1]], check=False)
        say(f"{name}: {'done' if ended.returncode == 0 else 'failed'} after {(time.monotonic() - began) / 60:.1f} min")
        failed += [name] if ended.returncode else []
    sys.exit(1 if failed else 0)


def say(line: str) -> None:
    """Tell whoever asked."""
    print(line, flush=True)  # noqa: T201 - what the command is for


if __name__ == "__main__":
    main()
