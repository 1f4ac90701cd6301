"""Turns: each server is asked for the same series by the same program, one after the other, and what arrives is counted."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom

from benchmarks.receive import made
from benchmarks.receive.made import Size
from benchmarks.receive.servers import ENVIRONMENT
from benchmarks.retrieve.archives import ARCHIVE, ASKER, HOLDERS, Holder, Receiver
from hostd.transcoding.public import transcode

_PATIENCE_S = 120
WAYS = ("C-MOVE", "C-GET")
FIRST = "C-MOVE, the first time"


@dataclass(frozen=True, slots=True)
class Case:
    """A series that is asked for; `compressed`: it is stored in RLE, and who gets it takes uncompressed instances only."""

    name: str
    size: Size
    compressed: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """What one retrieval took, in seconds: of the wall, and of the server's processor time."""

    wall: float
    cpu: float


Turns = dict[tuple[str, str, str], list[Turn]]
"""(case, way, server) → its turns."""


def taken(folder: Path, cases: Sequence[Case], rounds: int) -> Turns:
    """Fill each server, and ask it for each case in each way, in turns. Raises `RuntimeError` when not all arrives."""
    # Of a compressed one there is one more for each round, which nobody has asked for before.
    series = {
        case.name: [_written(folder / case.name / f"{n}", case) for n in range(rounds + 1 if case.compressed else 1)]
        for case in cases
    }
    receiver = Receiver(folder / "receiver")
    holders: list[Holder] = []
    found: Turns = {}
    try:
        for kind in HOLDERS:
            holders.append(kind(folder / kind.name, receiver.port))
            for one in (one for of_case in series.values() for one in of_case):
                holders[-1].fill(one.files)
        for turn in range(rounds + 1):
            holders.reverse()
            for case, way, said, which in _asking(cases, turn):
                for holder in holders:
                    arrived = receiver.folder / "files" if way == "C-MOVE" else folder / "got"
                    took = _asked(holder, way, series[case.name][which], arrived)
                    if turn:  # the first of each only warms up
                        found.setdefault((case.name, said, holder.name), []).append(took)
    finally:
        for server in (*holders, receiver):
            server.stop()
    return found


def _asking(cases: Sequence[Case], turn: int) -> Iterator[tuple[Case, str, str, int]]:
    """Give what is asked for in a turn: which case, in which way, what that is called, and the number of its series."""
    for case in cases:
        if case.compressed and turn:
            yield case, WAYS[0], FIRST, turn
        for way in WAYS:
            yield case, way, way, 0


@dataclass(frozen=True, slots=True)
class _Series:
    files: list[Path]
    study: str
    series: str


def _written(folder: Path, case: Case) -> _Series:
    (where,) = made.made(folder, case.size, 1)
    files = sorted(where.iterdir())
    header = pydicom.dcmread(files[0], stop_before_pixels=True)
    if case.compressed:
        for file in files:
            file.with_suffix(".rle.dcm").write_bytes(transcode(file, "rle").content)
            file.unlink()
        files = sorted(where.iterdir())
    return _Series(files, str(header.StudyInstanceUID), str(header.SeriesInstanceUID))


def _asked(holder: Holder, way: str, wanted: _Series, arrived: Path) -> Turn:
    arrived.mkdir(exist_ok=True)
    keys = ["QueryRetrieveLevel=SERIES", f"StudyInstanceUID={wanted.study}", f"SeriesInstanceUID={wanted.series}"]
    keys = [part for key in keys for part in ("-k", key)]
    to = ["-aem", ARCHIVE] if way == "C-MOVE" else ["+B", "-od", str(arrived)]
    program = "movescu" if way == "C-MOVE" else "getscu"
    command = [program, "-S", "-pdu", "131072", "-aet", ASKER, "-aec", "ANY", *to, *keys, "127.0.0.1", str(holder.port)]
    cpu, began = holder.cpu_s(), time.perf_counter()
    ran = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    wall = time.perf_counter() - began
    cpu = holder.cpu_s() - cpu
    there = list(arrived.iterdir())
    if ran.returncode != 0 or len(there) != len(wanted.files):
        raise RuntimeError(
            f"{len(there)} of {len(wanted.files)} came from {holder.name} by {way}: {ran.stdout}{ran.stderr}"
        )
    syntax = pydicom.dcmread(there[0], stop_before_pixels=True).file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        raise RuntimeError(f"what came from {holder.name} by {way} is in {syntax.name}")
    for file in there:
        file.unlink()
    return Turn(wall, cpu)
