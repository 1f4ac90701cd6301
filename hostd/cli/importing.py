"""`hostd import`: the DICOM files of a folder, an Orthanc's storage or a medium, taken into the archive."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from hostd.archive.room import Room
from hostd.cli import log
from hostd.cli.config import AsJson
from hostd.cli.looking import Config, print_json, printable, settings_of
from hostd.cli.signals import calling_on_stop
from hostd.clock import SystemClock
from hostd.config.permissions import hindrance, private_folder, refuse_network_file_system
from hostd.config.settings import Settings
from hostd.errors import ConfigurationError, StorageError
from hostd.intake.candidates import files_in
from hostd.intake.importing import Imported, Importer, Terms

_BECAME = {
    "stored": ("imported", "would be imported"),
    "already stored": ("already stored", "already stored"),
    "replaced": ("imported in the place of other content", "would be imported in the place of other content"),
    "kept as version": ("kept beside other content", "would be kept beside other content"),
    "refused": ("refused", "would be refused"),
    "failed": ("failed", "would fail"),
    "other": ("no DICOM instances", "no DICOM instances"),
}
_NOT_TAKEN = ("refused", "failed", "other")


def import_(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Folders, with all that is in them, and files.")
    ],
    events: Annotated[
        bool, typer.Option("--events", help="Raise events for scripts, as for what is received. Otherwise none.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Files that are copied at the same time.")] = 4,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Take the DICOM files of a folder into the archive, beside a running node or without one. Files are read only, and copied as they are.

    What was stopped goes on when the same is asked for again. Exit code 1: something failed, was refused, or is left; 2: nothing was begun.
    """
    began = time.monotonic()
    log.configure("text", "warning")
    settings = settings_of(config)
    _refuse_own(settings, paths)
    if not dry_run:
        refuse_network_file_system(settings.node.data)
        private_folder(settings.node.data)
    room = Room(settings.node.place.blobs, settings.node.refuse_below_mb)
    terms = Terms(
        settings.ingest.on_conflict, events, settings.stable.quiet_of, room.is_left, workers, settings.storage
    )
    unread: list[Imported] = []

    def note(error: OSError) -> None:
        unread.append(Imported(Path(error.filename), "failed", error.strerror or str(error)))

    counts = Counter[str]()
    reasons = Counter[str]()
    listed: list[Imported] = []
    trouble = ""
    importer = Importer(settings.node.place, settings.node.name, SystemClock(), terms, dry_run=dry_run)
    try:
        with calling_on_stop(importer.stop):
            try:
                for one in _followed(paths, (importer.rehearse if dry_run else importer.take)(files_in(paths, note))):
                    counts[one.became] += 1
                    reasons[one.reason] += one.became == "other"
                    if one.became in _NOT_TAKEN and (as_json or one.became != "other"):
                        listed.append(one)
            except StorageError as error:
                trouble = str(error)
    finally:
        importer.close()
    counts["failed"] += len(unread)
    seconds = time.monotonic() - began
    facts = {
        **{became.replace(" ", "_"): counts[became] for became in _BECAME}, "events": events, "dry_run": dry_run,
        "recycled_patients": 0 if dry_run else importer.recycled, "stopped": importer.was_stopped(), "trouble": trouble, "seconds": round(seconds, 3),
    }  # fmt: skip
    if as_json:
        print_json({"summary": facts, "not_taken": [_plain(one) for one in (*unread, *listed)]})
    else:
        _print([*unread, *listed], counts, reasons, facts)
    if counts["failed"] or counts["refused"] or importer.was_stopped() or trouble:
        raise typer.Exit(1)


def _refuse_own(settings: Settings, paths: Sequence[Path]) -> None:
    """Refuse what is not there, and what holds the archive's own files. Raises `ConfigurationError`."""
    for path in paths:
        if fault := hindrance(path):
            raise ConfigurationError(fault)
        if not path.exists():
            raise ConfigurationError(f"{path} is not there")
        own, asked = settings.node.place.blobs.resolve(), path.resolve()
        if own.is_relative_to(asked) or asked.is_relative_to(own):
            raise ConfigurationError(f"{path} holds the files of this archive itself ({own}): name another folder")


def _followed(paths: list[Path], outcomes: Iterable[Imported]) -> Iterator[Imported]:
    """Yield the outcomes, and show on a terminal how far they are."""
    console = Console(stderr=True)
    total = sum(1 for _ in files_in(paths, lambda _: None)) if console.is_terminal else None
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("importing", total=total)
        for outcome in outcomes:
            progress.advance(bar)
            yield outcome


def _plain(one: Imported) -> dict[str, Any]:
    path = str(one.path).encode("utf-8", "backslashreplace").decode()
    return {"file": path, "became": one.became, "reason": one.reason}


def _print(listed: Sequence[Imported], counts: Counter[str], reasons: Counter[str], facts: dict[str, Any]) -> None:
    for one in listed:
        typer.echo(printable(f"{one.became}: {_plain(one)['file']}: {one.reason}"), err=True)
    for reason, count in reasons.most_common():
        if count:
            typer.echo(printable(f"{count:,} left: {reason}"), err=True)
    counted = [f"{counts[became]:,} {words[facts['dry_run']]}" for became, words in _BECAME.items() if counts[became]]
    typer.echo("; ".join(counted) if counted else "no file was found")
    if facts["recycled_patients"]:
        typer.echo(f"{facts['recycled_patients']:,} patients were recycled to make room ([storage])")
    if facts["trouble"]:
        typer.echo(f"hostd: {printable(facts['trouble'])}", err=True)
    if facts["stopped"]:
        typer.echo("stopped: what was imported is safe, and the same command goes on with the rest", err=True)
