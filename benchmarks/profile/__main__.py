"""`python -m benchmarks.profile PICTURE.svg`: a flame graph of a node that receives instances."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.receive import made
from benchmarks.receive.made import Size
from benchmarks.receive.rounds import Sample, send
from benchmarks.receive.servers import Hostd

SIZES = {"30kB": made.SMALL, "0.5MB": made.CT, "30MB": made.LARGE}
_WARMING = 20
"""Instances that are sent before, so that what is done once is not in the picture."""
_PATIENCE_S = 60.0


def main() -> None:
    """Receive under py-spy, write the picture, and say how fast it was meanwhile."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("picture", type=Path, help="the SVG to write; with another ending, what flamegraph.pl reads")
    parser.add_argument("--size", choices=SIZES, default="0.5MB", help="of each instance (default 0.5MB)")
    parser.add_argument("--instances", type=int, default=1000, help="how many are sent (default 1000)")
    parser.add_argument("--associations", type=int, default=1, help="how many at once (default 1)")
    parser.add_argument("--all", action="store_true", help="what waits for the disk or the network too")
    asked = parser.parse_args()
    for program in ("py-spy", "storescu"):
        if _found(program) is None:
            parser.error(f"{program} is not there: pip install 'hostd[bench]', apt-get install dcmtk")
    size = replace(SIZES[asked.size], count=asked.instances)
    sample = profile(asked.picture, size, asked.associations, everything=asked.all)
    print(f"{sample.rate:.0f} instances/s, {sample.cpu_ms:.2f} ms of CPU each, py-spy looking on")  # noqa: T201 - a command


def profile(picture: Path, size: Size, associations: int, *, everything: bool = False) -> Sample:
    """Have a node receive under py-spy. Raises `RuntimeError` where py-spy may not look into the node."""
    with tempfile.TemporaryDirectory(prefix="hostd-profile-") as folder:
        sent = made.made(Path(folder, "sent"), size, associations)
        first = made.made(Path(folder, "first"), replace(size, count=min(_WARMING, size.count)), 1)
        node = Hostd(Path(folder, "hostd"))
        try:
            send(first, node)
            with _looked_at(node.process.pid, picture, everything=everything) as spy:
                sample = send(sent, node)
                spy()
        finally:
            node.stop()
    return sample


class _looked_at:  # noqa: N801 - a context manager that reads as a word
    """Runs py-spy on a process; what it gives ends py-spy, which then writes the picture."""

    def __init__(self, process: int, picture: Path, *, everything: bool) -> None:
        form = "flamegraph" if picture.suffix == ".svg" else "raw"
        program = _found("py-spy")
        assert program is not None
        self._command = [
            program, "record", "--pid", str(process), "--output", str(picture), "--format", form, "--rate", "400",
            "--duration", "86400", "--function", "--idle" if everything else "--gil",
        ]  # fmt: skip

    def __enter__(self) -> Callable[[], None]:
        self._spy = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert self._spy.stdout is not None
        ends = time.monotonic() + _PATIENCE_S
        said = b""
        while b"Sampling process" not in said:  # from now on it looks
            if not (piece := os.read(self._spy.stdout.fileno(), 4096)) or time.monotonic() > ends:
                raise RuntimeError(f"py-spy does not look at the node: {said.decode(errors='replace').strip()}")
            said += piece
        return self._end

    def __exit__(self, *_: object) -> None:
        if self._spy.poll() is None:
            self._spy.kill()
            self._spy.wait()

    def _end(self) -> None:
        self._spy.send_signal(signal.SIGINT)
        said, _ = self._spy.communicate(timeout=_PATIENCE_S)
        if self._spy.returncode != 0:
            raise RuntimeError(f"py-spy failed: {said.decode(errors='replace').strip()}")


def _found(program: str) -> str | None:
    beside = Path(sys.executable).with_name(program)
    return str(beside) if beside.exists() else shutil.which(program)


if __name__ == "__main__":
    main()
