"""The section "Transcoding" of docs/performance.md, made from the cells; ratios first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.figures import Cell as Figure
from benchmarks.figures import Dots, Ratio, Section, Spread, Table, Target
from benchmarks.transcode.images import Image
from benchmarks.transcode.rounds import Cell, Faster, ratio
from hostd.dicom.syntaxes import HTJ2K_LOSSLESS_RPCL, JPEG2000_LOSSLESS, JPEG_LOSSLESS_SV1, TransferSyntax

SECTION = "transcoding"
Key = tuple[str, TransferSyntax, bool]
"""Image, syntax, whether it is decoded."""
HOSTD, VERIFIED = "hostd", "hostd, verified"
WORKER, WORKER_VERIFIED = "hostd's worker", "hostd's worker, verified"
_OF_PROCESSES = ("DCMTK", "gdcmconv", "Orthanc", "Orthanc with GDCM")
"""Their whole job is measured, so that a worker's whole job stands beside them."""


@dataclass(frozen=True, slots=True)
class Run:
    """All that was measured in one run."""

    rounds: int
    images: Sequence[Image]
    cells: dict[Key, list[Cell]]
    two: Sequence[tuple[Cell, Cell]]
    codecs: dict[TransferSyntax, str]

    def cell(self, key: Key, subject: str) -> Cell | None:
        """Return what a subject did with that."""
        return next((cell for cell in self.cells.get(key, []) if cell.subject == subject), None)

    def compared(self, one: tuple[Key, str], other: tuple[Key, str]) -> Faster | None:
        """Return how many times as fast the one is as the other."""
        first, second = self.cell(*one), self.cell(*other)
        return ratio(first, second) if first and second else None


def section(run: Run) -> Section:
    """Return the section."""
    lines = "\n".join(f"- {image.name}: {image.description}" for image in run.images)
    points = [
        (f"{image} {syntax.uid.removeprefix('1.2.840.10008.1.2')} {_way(decoding)}", f"beside {cell.subject}", found.wall)
        for (image, syntax, decoding), cell in _others(run)
        if (found := run.compared(((image, syntax, decoding), _ours(cell.subject)[0]), ((image, syntax, decoding), cell.subject)))
    ]  # fmt: skip
    return Section(
        name=SECTION,
        title="Transcoding",
        command="python -m benchmarks.transcode",
        rounds=run.rounds,
        how=f"""In each round all did the same task in turn; medians, and in brackets the smallest and the largest. All were bound to one processor. Before
anything was measured its pixels were compared with the original's. Verification is what hostd always does unless it is told otherwise.

{lines}

The targets are without verification, which the tables below have as well. Measured is the geometric mean over the images, and in brackets the least and the most
of any. What was bound to one processor is judged by processor time, which changes less than the clock when others use the machine; two workers on two processors by the clock.""",
        targets=list(_targets(run)),
        picture=Dots(points, "times as fast as the other, without verification, one core (right of 1: hostd is faster)") if points else None,
        caption="How many times as fast as each of the others",
        tables=[_beside(run), _every(run), Table((), (), "What did not work", _failures(run))],
    )  # fmt: skip


_BESIDE = """How many times as fast hostd is, file to file: above 1 it is faster. Beside GDCM's library stands hostd's transcoder called in
the same way; beside whole commands and Orthanc's REST stands a jailed codec worker that syncs its result to disk and hashes
both files. "CPU" is the same ratio, without verification, by processor time. Size is that of the other's result divided by hostd's: above 1 hostd's is smaller."""

_EVERY = """hostd's transcoder called in its process, file to file, lossy ones with quality 90. Ratio is the size of the source file divided
by that of the result. Milliseconds are of the whole image, all its frames."""

_TWO_WORKERS = 1.7


def _targets(run: Run) -> Iterable[Target]:
    def of(one: tuple[TransferSyntax, str], other: tuple[TransferSyntax, str]) -> dict[str, Faster]:
        found = {
            image.name: run.compared(((image.name, one[0], False), one[1]), ((image.name, other[0], False), other[1]))
            for image in run.images
        }
        return {image: faster for image, faster in found.items() if faster is not None}

    jpeg, j2k, htj2k = JPEG_LOSSLESS_SV1, JPEG2000_LOSSLESS, HTJ2K_LOSSLESS_RPCL
    for what, least, found in (
        ("`.70` encoded: times as fast as Orthanc", 1.0, of((jpeg, WORKER), (jpeg, "Orthanc"))),
        ("`.90` encoded: times as fast as GDCM's library", 1.3, of((j2k, HOSTD), (j2k, "GDCM's library"))),
        ("`.202` encoded: times as fast as `.90`", 8.0, of((htj2k, HOSTD), (j2k, HOSTD))),
    ):
        yield from _target(what, least, {image: faster.cpu for image, faster in found.items()}, "by processor time")
    for syntax in dict.fromkeys(one.task.syntax for one, _ in run.two):
        walls = {
            one.task.image: faster.wall
            for one, two in run.two
            if one.task.syntax == syntax and (faster := ratio(two, one))
        }
        what = f"`{_short(syntax)}` with two workers on two cores: times as fast as with one"
        yield from _target(what, _TWO_WORKERS, walls, "by the clock")


def _target(what: str, least: float, found: dict[str, Ratio | None] | dict[str, Ratio], by: str) -> Iterable[Target]:
    known = {image: one for image, one in found.items() if one is not None}
    if known:
        note = f"{by}: " + ", ".join(f"{image} {Spread.said(one, 2)}" for image, one in known.items())
        yield Target.of_each(what, known, least, note)


def _beside(run: Run) -> Table:
    rows: list[Sequence[Figure]] = []
    for key, other in _others(run):
        plain, verified = _ours(other.subject)
        without, with_ = (run.compared((key, name), (key, other.subject)) for name in (plain, verified))
        ours = run.cell(key, plain)
        if without and with_ and ours:
            size = "" if key[2] else f"{other.size / ours.size:.2f}"
            what = f"`{_short(key[1])}` {_way(key[2])}"
            cpu = without.cpu and without.cpu.median
            rows.append((key[0], what, other.subject, without.wall, Spread.said(with_.wall, 2), cpu, size))
    head = ("image", "syntax", "beside", "without verification", "verified", "CPU", "size")
    return Table(head, rows, "Beside others, on one core", _BESIDE)


def _every(run: Run) -> Table:
    rows: list[Sequence[Figure]] = []
    for image in run.images:
        for syntax, codec in run.codecs.items():
            cells = [
                run.cell((image.name, syntax, decoding), name) for decoding in (False, True) for name in (HOSTD, VERIFIED)
            ]  # fmt: skip
            encoded = cells[0]
            if encoded is None or encoded.failure:
                continue
            smaller = encoded.task.source.stat().st_size / encoded.size
            times = [None if cell is None or cell.failure else cell.milliseconds for cell in cells]
            rows.append((image.name, f"`{_short(syntax)}` {syntax.name}", codec, f"{smaller:.2f}", *times))
    head = (
        "image",
        "syntax",
        "codec",
        "ratio",
        "encode, ms",
        "encode verified, ms",
        "decode, ms",
        "decode verified, ms",
    )
    return Table(head, rows, "Every syntax", _EVERY)


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


def _way(decoding: bool) -> str:
    return "decode" if decoding else "encode"


def _short(syntax: TransferSyntax) -> str:
    return syntax.uid.removeprefix("1.2.840.10008.1.2").removeprefix(".4")
