"""`python -m benchmarks.transcode`: measure, and write the section "Transcoding" of docs/performance.md."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from benchmarks import command
from benchmarks.command import say
from benchmarks.transcode import images, peers, report, two_cores
from benchmarks.transcode.images import Image
from benchmarks.transcode.report import Key, Run
from benchmarks.transcode.rounds import Cell, Effort, measured_together
from benchmarks.transcode.subjects import LOSSY, Engine, Service, Subject, Task
from hostd.dicom import syntaxes
from hostd.dicom.syntaxes import EXPLICIT_LE, JPEG2000_LOSSLESS, TransferSyntax
from hostd.errors import CannotTranscodeError
from hostd.transcoding import registry
from hostd.transcoding.pool import ENVIRONMENT
from hostd.transcoding.transcode import pixel_hash, transcode

COMPARED = (
    syntaxes.JPEG_LOSSLESS_SV1, syntaxes.JPEG_LS_LOSSLESS, JPEG2000_LOSSLESS, syntaxes.HTJ2K_LOSSLESS_RPCL, syntaxes.RLE_LOSSLESS,
)  # fmt: skip
"""What the targets are about and others have too: measured through a worker as well, and with `--quick` alone."""
IN_TURNS = (JPEG2000_LOSSLESS, syntaxes.HTJ2K_LOSSLESS_RPCL)
"""A target compares them with one another, so that they are measured in turns."""


def main() -> None:
    """Measure, print, and with `--write` write the section."""
    parser = command.parser(
        "transcode", __doc__, rounds=5, most="one round on a tiny image, to see that it runs; no Orthanc"
    )
    parser.add_argument(
        "--compared", action="store_true", help="only the syntaxes that the targets and others are about"
    )
    if not ENVIRONMENT.items() <= os.environ.items():
        # hostd's transcoder is measured as a codec worker runs it, and all that are measured beside it have the same.
        os.execve(sys.executable, sys.orig_argv, os.environ | ENVIRONMENT)  # noqa: S606 - this very command
    with command.begun(parser) as (asked, folder):
        effort = Effort(1, 0, 4) if asked.quick else Effort(max(1, asked.rounds), 0.3, 40)
        run = taken(folder, effort, quick=asked.quick, compared=asked.quick or asked.compared)
        command.finish(asked, [report.section(run)])


def taken(folder: Path, effort: Effort, *, quick: bool, compared: bool) -> Run:
    """Measure everything, in a folder that is thrown away."""
    measured_images = [images.tiny(folder)] if quick else images.found(folder)
    codecs = {
        syntax: encoders[0].NAME
        for syntax in syntaxes.ALL
        if (encoders := registry.encoders(syntax)) and (not compared or syntax in COMPARED)
    }
    processors = os.sched_getaffinity(0)
    cells: dict[Key, list[Cell]] = {}
    try:
        # Bound before anything is started: children inherit it.
        os.sched_setaffinity(0, {max(processors)})
        with ExitStack() as stack:
            subjects = _subjects(folder, quick=quick)
            for subject in subjects:
                stack.callback(subject.close)
            for image in measured_images:
                for together in _groups(codecs):
                    cells |= _both_ways(image, together, subjects, effort, folder)
    finally:
        os.sched_setaffinity(0, processors)
    wanted = COMPARED[:1] if quick else COMPARED[:4]
    tasks = [
        Task(image.name, syntax, False, image.path, syntax)
        for syntax in wanted
        if registry.encoders(syntax)
        for image in measured_images
    ]
    two = two_cores.compared(tasks, effort, folder) if len(processors) > 1 else []
    return Run(effort.rounds, measured_images, cells, two, codecs)


def _subjects(folder: Path, *, quick: bool) -> list[Subject]:
    found: list[Subject] = [Engine(verify=False), Engine(verify=True)]
    found += [Service(COMPARED, verify=False), Service(COMPARED, verify=True)]
    found += peers.libraries()
    found += peers.commands()
    found += [] if quick else peers.orthancs(folder)
    say(f"measured: {', '.join(subject.name for subject in found)}")
    return found


def _groups(codecs: Iterable[TransferSyntax]) -> list[list[TransferSyntax]]:
    """Return the syntaxes, those that a target compares with one another in one list, as they have their turns together."""
    alone = [[syntax] for syntax in codecs if syntax not in IN_TURNS]
    together = [syntax for syntax in codecs if syntax in IN_TURNS]
    return [*alone, together] if together else alone


def _both_ways(
    image: Image, together: list[TransferSyntax], subjects: list[Subject], effort: Effort, folder: Path
) -> dict[Key, list[Cell]]:
    """Measure the image encoded, and what hostd made of it decoded."""
    with image.path.open("rb") as source:
        original = pixel_hash(source)
    encoding, decoding = [], []
    for syntax in together:
        encoded = folder / f"{image.name}-{syntax.uid}.dcm"
        try:
            with image.path.open("rb") as source, encoded.open("w+b") as result:
                facts = transcode(source, syntax, result, LOSSY if syntax.is_lossy else None)
        except CannotTranscodeError as error:
            say(f"{image.name} {syntax.name}: hostd does not do this: {error}")
            continue
        assert syntax.is_lossy or facts.pixel_hash_after == original
        wanted = "" if syntax.is_lossy else original
        encoding.append((Task(image.name, syntax, False, image.path, syntax), subjects, wanted))
        decoding.append((Task(image.name, syntax, True, encoded, EXPLICIT_LE), subjects, facts.pixel_hash_after))
    found = {}
    for asked in (encoding, decoding):
        for (task, _, _), cells in zip(asked, measured_together(asked, effort, folder, say), strict=True):
            found[image.name, task.syntax, task.is_decoding] = cells
            times = ", ".join(f"{cell.subject} {cell.milliseconds.median:.1f}" for cell in cells if not cell.failure)
            say(f"{image.name} {task.syntax.name} {'decode' if task.is_decoding else 'encode'}, ms: {times}")
    return found


if __name__ == "__main__":
    main()
