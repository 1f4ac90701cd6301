"""The section "Transcoding" of docs/performance.md, written from the cells; ratios first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.transcode.images import Image
from benchmarks.transcode.rounds import Cell, Ratio, ratio
from hostd.dicom.syntaxes import HTJ2K_LOSSLESS_RPCL, JPEG2000_LOSSLESS, JPEG_LOSSLESS_SV1, TransferSyntax

Key = tuple[str, TransferSyntax, bool]
"""Image, syntax, whether it is decoded."""
HOSTD, VERIFIED = "hostd", "hostd, verified"
WORKER, WORKER_VERIFIED = "hostd's worker", "hostd's worker, verified"
_OF_PROCESSES = ("DCMTK", "gdcmconv", "Orthanc", "Orthanc with GDCM")
"""Their whole job is measured, so that a worker's whole job stands beside them."""


@dataclass(frozen=True, slots=True)
class Run:
    """All that was measured in one run."""

    machine: str
    rounds: int
    images: Sequence[Image]
    cells: dict[Key, list[Cell]]
    two: Sequence[tuple[Cell, Cell]]
    codecs: dict[TransferSyntax, str]

    def cell(self, key: Key, subject: str) -> Cell | None:
        """Return what a subject did with that."""
        return next((cell for cell in self.cells.get(key, []) if cell.subject == subject), None)

    def compared(self, one: tuple[Key, str], other: tuple[Key, str]) -> Ratio | None:
        """Return how many times as fast the one is as the other."""
        first, second = self.cell(*one), self.cell(*other)
        return ratio(first, second) if first and second else None


def section(run: Run, plot: str) -> str:
    """Return the section in Markdown; `plot` is the name of its picture, or empty."""
    picture = f"![How many times as fast as each of the others]({plot})" if plot else ""
    parts = [
        "## Transcoding", _introduction(run), "### Targets", _targets(run), "### Beside others, on one core", _BESIDE, picture,
        _beside(run), "### Every syntax", _EVERY, _every(run), "### What did not work", _failures(run),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part)


def bars(run: Run) -> list[tuple[str, str, float]]:
    """Return what the plot shows: what was done, beside whom, and how many times as fast without verification."""
    return [
        (f"{image} {syntax.uid.removeprefix('1.2.840.10008.1.2')} {_way(decoding)}", cell.subject, found.median)
        for (image, syntax, decoding), cell in _others(run)
        if (found := run.compared(((image, syntax, decoding), _ours(cell.subject)[0]), ((image, syntax, decoding), cell.subject)))
    ]  # fmt: skip


def _introduction(run: Run) -> str:
    lines = "\n".join(f"- {image.name}: {image.description}" for image in run.images)
    return f"""Made by `python -m benchmarks.transcode`; see `benchmarks/README.md`. {run.rounds} rounds, in each of which all did the
same task in turn; medians, and in brackets the smallest and the largest. All were bound to one processor. Before anything was
measured its pixels were compared with the original's. Verification is what hostd always does unless it is told otherwise.

Machine: {run.machine}.

{lines}"""


_TARGETS = """Without verification, which the tables below have as well. What was bound to one processor is judged by processor time, which
other work on the machine hardly changes: first the geometric mean over the images. Two workers are judged by the clock."""

_TWO_WORKERS = 1.7

_BESIDE = """How many times as fast hostd is, file to file: above 1 it is faster. Beside GDCM's library stands hostd's transcoder called in
the same way; beside whole commands and Orthanc's REST stands a jailed codec worker that syncs its result to disk and hashes
both files. "CPU" is the same ratio, without verification, by processor time. Size is that of the other's result divided by hostd's: above 1 hostd's is smaller."""

_EVERY = """hostd's transcoder called in its process, file to file, lossy ones with quality 90. Ratio is the size of the source file divided
by that of the result. Milliseconds are of the whole image, all its frames."""


def _targets(run: Run) -> str:
    rows = [
        _target(run, "`.70` encoded, times as fast as Orthanc", 1.0, lambda image: run.compared(
            ((image, JPEG_LOSSLESS_SV1, False), WORKER), ((image, JPEG_LOSSLESS_SV1, False), "Orthanc"))),
        _target(run, "`.90` encoded, times as fast as GDCM's library", 1.3, lambda image: run.compared(
            ((image, JPEG2000_LOSSLESS, False), HOSTD), ((image, JPEG2000_LOSSLESS, False), "GDCM's library"))),
        _target(run, "`.202` encoded, times as fast as `.90`", 8.0, lambda image: run.compared(
            ((image, HTJ2K_LOSSLESS_RPCL, False), HOSTD), ((image, JPEG2000_LOSSLESS, False), HOSTD))),
    ]  # fmt: skip
    for syntax in dict.fromkeys(one.task.syntax for one, _ in run.two):
        found = {
            one.task.image: faster
            for one, two in run.two
            if one.task.syntax == syntax and (faster := ratio(two, one)) is not None
        }
        missed = [image for image, faster in found.items() if faster.median < _TWO_WORKERS]
        mean = _mean(faster.median for faster in found.values())
        walls = ", ".join(f"{image} {_spread(faster)}" for image, faster in found.items())
        name = f"`{_short(syntax)}` with two workers on two cores, times as fast as with one"
        rows.append(
            f"| {name} | {_TWO_WORKERS:g} | | **{mean:.2f}**; {walls} | {_reached(missed, is_mean=mean >= _TWO_WORKERS)} |"
        )
    return f"{_TARGETS}\n\n{_table('| what | target | by processor time | by the clock | reached |', rows)}"


def _mean(ratios: Iterable[float]) -> float:
    """Return the geometric mean."""
    logarithms = [math.log(found) for found in ratios]
    return math.exp(sum(logarithms) / len(logarithms))


def _reached(missed: Sequence[str], *, is_mean: bool) -> str:
    return "yes" if not missed else f"**not on {', '.join(missed)}**; mean {'yes' if is_mean else '**no**'}"


def _target(run: Run, name: str, target: float, of: object) -> str:
    assert callable(of)
    found: dict[str, Ratio] = {image.name: r for image in run.images if (r := of(image.name)) is not None}
    if not found:
        return f"| {name} | {target:g} | not measured here | | |"
    mean = _mean(r.cpu for r in found.values())
    used = ", ".join(f"{image} {r.cpu:.2f}" for image, r in found.items())
    walls = ", ".join(f"{image} {_spread(r)}" for image, r in found.items())
    missed = [image for image, r in found.items() if r.cpu < target]
    reached = _reached(missed, is_mean=mean >= target)
    return f"| {name} | {target:g} | **{mean:.2f}**; {used} | {walls} | {reached} |"


def _beside(run: Run) -> str:
    rows = []
    for key, other in _others(run):
        plain, verified = _ours(other.subject)
        without, with_ = (run.compared((key, name), (key, other.subject)) for name in (plain, verified))
        ours = run.cell(key, plain)
        if without and with_ and ours:
            size = "" if key[2] else f"{other.size / ours.size:.2f}"
            rows.append(
                f"| {key[0]} | `{_short(key[1])}` {_way(key[2])} | {other.subject} | **{without.median:.2f}** [{without.low:.2f} to {without.high:.2f}] "
                f"| {with_.median:.2f} [{with_.low:.2f} to {with_.high:.2f}] | {without.cpu:.2f} | {size} |"
            )
    return _table("| image | syntax | beside | without verification | verified | CPU | size |", rows)


def _every(run: Run) -> str:
    rows = []
    for image in run.images:
        for syntax, codec in run.codecs.items():
            cells = [
                run.cell((image.name, syntax, decoding), name) for decoding in (False, True) for name in (HOSTD, VERIFIED)
            ]  # fmt: skip
            encoded = cells[0]
            if encoded is None or encoded.failure:
                continue
            smaller = encoded.task.source.stat().st_size / encoded.size
            times = " | ".join(_milliseconds(cell) for cell in cells)
            rows.append(f"| {image.name} | `{_short(syntax)}` {syntax.name} | {codec} | {smaller:.2f} | {times} |")
    return _table(
        "| image | syntax | codec | ratio | encode, ms | encode verified, ms | decode, ms | decode verified, ms |", rows
    )


def _failures(run: Run) -> str:
    lines = [
        f"- {image}, `{_short(syntax)}` {_way(decoding)}, {cell.subject}: {cell.failure}"
        for (image, syntax, decoding), cells in run.cells.items()
        for cell in cells
        if cell.failure and cell.subject not in (VERIFIED, WORKER_VERIFIED)
    ]
    return "\n".join(lines) or "Everything that was tried worked."


def _others(run: Run) -> Iterable[tuple[Key, Cell]]:
    ours = (HOSTD, VERIFIED, WORKER, WORKER_VERIFIED)
    return [(key, cell) for key, cells in run.cells.items() for cell in cells if cell.subject not in ours]


def _ours(other: str) -> tuple[str, str]:
    return (WORKER, WORKER_VERIFIED) if other in _OF_PROCESSES else (HOSTD, VERIFIED)


def _milliseconds(cell: Cell | None) -> str:
    if cell is None or cell.failure:
        return ""
    low, high = (1000 * f(sample.wall for sample in cell.samples) for f in (min, max))
    return f"{cell.milliseconds:.1f} [{low:.1f} to {high:.1f}]"


def _spread(found: Ratio) -> str:
    return f"{found.median:.2f} [{found.low:.2f} to {found.high:.2f}]"


def _way(decoding: bool) -> str:
    return "decode" if decoding else "encode"


def _short(syntax: TransferSyntax) -> str:
    return syntax.uid.removeprefix("1.2.840.10008.1.2").removeprefix(".4")


def _table(head: str, rows: Iterable[str]) -> str:
    return "\n".join([head, "|" + "---|" * (head.count("|") - 1), *rows])


def plot_path(page: Path) -> Path:
    """Return where the picture of that page goes."""
    return page.with_name("performance-transcoding.svg")
