"""`python -m benchmarks.archive`: measure the download of a study as a ZIP beside Orthanc, and write the section "Archives" of docs/performance.md."""

from __future__ import annotations

import io
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import requests
from pydicom import dcmread
from pydicom.uid import generate_uid

from benchmarks import command
from benchmarks.deliveries import servers
from benchmarks.deliveries.servers import PATIENCE_S, Running
from benchmarks.figures import Cell, Dots, Ratio, Section, Spread, Table, Target
from benchmarks.receive import made
from benchmarks.receive.servers import free_port

SECTION = "archive"
_STUDIES = {"uncompressed": False, "JPEG 2000 lossless": True}
_PIECE = 1 << 20
_J2K = "1.2.840.10008.1.2.4.90"


@dataclass(frozen=True, slots=True)
class Turn:
    """One download: seconds by the clock, until the first byte, and of the server's processors; and how large the ZIP was."""

    wall: float
    first: float
    cpu: float
    size: int


def main() -> None:
    """Measure, print, and with `--write` write the section."""
    parser = command.parser("archive", __doc__, rounds=5)
    parser.add_argument("--instances", type=int, default=200, help="how many in a study (default 200)")
    with command.begun(parser, ["Orthanc"]) as (asked, folder):
        size = replace(made.CT, count=8 if asked.quick else asked.instances)
        files = [_smoothed(file) for file in made.read(size, folder / "files")]
        turns = _taken(files, asked.rounds, folder)
        command.finish(asked, [section(turns, len(files), sum(map(len, files)))])


def section(turns: dict[tuple[str, str], list[Turn]], count: int, size: int) -> Section:
    """Return the section, of studies with so many instances of so many bytes in all, uncompressed."""
    rows: list[Sequence[Cell]] = []
    points = []
    for study in _STUDIES:
        ratio = Ratio.between(
            (turn.wall for turn in turns[study, "Orthanc"]), (turn.wall for turn in turns[study, "hostd"])
        )
        points.append((study, "hostd", ratio))
        for server in ("hostd", "Orthanc"):
            done = turns[study, server]
            rate, first = Spread.of(count / one.wall for one in done), Spread.of(1e3 * one.first for one in done)
            cpu, mib = Spread.of(1e3 * one.cpu / count for one in done), done[0].size / (1 << 20)
            rows.append((study, server, rate, ratio if server == "hostd" else None, first, cpu, mib))
    return Section(
        name=SECTION,
        title="Archives",
        command="python -m benchmarks.archive",
        rounds=len(turns[next(iter(_STUDIES)), "hostd"]),
        how=f"""`GET /studies/{{id}}/archive` of {count} CT images, {size / count / (1 << 20):.2f} MiB
each as they are uncompressed, in turns; medians, and in brackets the smallest and the largest. CPU time is that of the server alone. Every ZIP was whole: each of its
files is checked.""",
        targets=[Target.none_slower("a study as a ZIP", {study: ratio for study, _, ratio in points})],
        picture=Dots(points, "times as fast as Orthanc (right of 1: faster); bars from the least to the most"),
        caption="How many times as fast as Orthanc",
        tables=[
            Table(
                (
                    "study", "server", "instances/s", "times as fast as Orthanc", "ms until the first byte", "ms of CPU an instance", "ZIP, MiB",
                ),
                rows,
            )
        ],
    )  # fmt: skip


def _taken(files: list[bytes], rounds: int, folder: Path) -> dict[tuple[str, str], list[Turn]]:
    """Have each server give each study in each round, every other round in reverse order."""
    turns: dict[tuple[str, str], list[Turn]] = {}
    with ExitStack() as stack:
        running = {
            "hostd": stack.enter_context(_node(folder / "hostd")),
            "Orthanc": stack.enter_context(servers.orthanc(folder / "orthanc", {})),
        }
        studies: dict[tuple[str, str], str] = {}
        for study, is_compressed in _STUDIES.items():
            content = [_of_study(file, study, is_compressed=is_compressed) for file in files]
            for name, server in running.items():
                ids = [server.post(file) for file in content]
                parent = requests.get(f"{server.url}instances/{ids[0]}/study", timeout=PATIENCE_S)
                studies[study, name] = parent.json()["ID"]
        for number in range(rounds + 1):
            order = list(studies)
            for study, name in reversed(order) if number % 2 else order:
                turn = _download(running[name], studies[study, name], len(files))
                if number:  # the first is for the caches
                    turns.setdefault((study, name), []).append(turn)
    return turns


def _download(server: Running, study: str, count: int) -> Turn:
    cpu, began = server.cpu_s(), time.monotonic()
    content, first = io.BytesIO(), 0.0
    with requests.get(f"{server.url}studies/{study}/archive", timeout=PATIENCE_S, stream=True) as answer:
        answer.raise_for_status()
        for piece in answer.iter_content(_PIECE):
            first = first or time.monotonic() - began
            content.write(piece)
    turn = Turn(time.monotonic() - began, first, server.cpu_s() - cpu, content.tell())
    with zipfile.ZipFile(content) as archive:
        if archive.testzip() is not None or len(archive.namelist()) != count:
            raise RuntimeError(f"the ZIP of {server.url} is not whole")
    return turn


@contextmanager
def _node(folder: Path) -> Iterator[Running]:
    """Run `hostd run` without scripts."""
    folder.mkdir(mode=0o700)
    config, port = folder / "hostd.toml", free_port()
    config.write_text(
        '[node]\nname = "benchmark"\ndata = "data"\nscripts = "scripts"\nmin_free_mb = 0\n'
        f"[dicom]\nenabled = false\n[http]\nport = {port}\n"
    )
    config.chmod(0o600)
    with servers.process([sys.executable, "-m", "hostd", "run", str(config)], port, folder) as process:
        yield Running(f"http://127.0.0.1:{port}/", process)


def _smoothed(file: bytes) -> bytes:
    """Return an image whose pixels can be compressed about as those of a CT: noise of four bits on a slope."""
    data_set = dcmread(io.BytesIO(file))
    pixels = data_set.pixel_array
    rows, columns = pixels.shape
    slope = np.arange(rows)[:, None] * 4 + np.arange(columns)[None, :] // 2
    data_set.PixelData = ((pixels & 0xF) + slope).astype("<u2").tobytes()
    data_set.save_as(written := io.BytesIO())
    return written.getvalue()


def _of_study(file: bytes, study: str, *, is_compressed: bool) -> bytes:
    """Return an image as one of a study of that name, in JPEG 2000 without loss where it `is_compressed`."""
    data_set = dcmread(io.BytesIO(file))
    if is_compressed:
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            data_set[name].value = generate_uid(entropy_srcs=[data_set[name].value])
        data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
        data_set.StudyDescription = study
        data_set.compress(_J2K, generate_instance_uid=False)
    data_set.save_as(written := io.BytesIO())
    return written.getvalue()


if __name__ == "__main__":
    main()
