"""`hostd backup | restore | verify | index rebuild`: a second copy of what a node holds, and whether both are what they should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from hostd.archive import backup as backups
from hostd.archive import rebuilding, verifying
from hostd.cli.config import AsJson
from hostd.cli.looking import Config, print_json, settings_of
from hostd.config.place import Place

index = typer.Typer(help="Mend the index.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the backup.")]
_MOST_NAMED = 20
_MB = 1 << 20


def backup(
    folder: Folder,
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy every file. Otherwise files are linked where that can be: on one disk.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Back up the index and all files, while the node runs or not; again into the same folder adds only what is new. Exit code 1: files are missing."""
    with _shown("backing up") as progress:
        report = backups.backup(settings_of(config).node.place, folder, link=not copy, progress=progress)
    if as_json:
        print_json(asdict(report) | {"files": dict(report.files)})
    else:
        ways = ", ".join(f"{count} {way}" for way, count in sorted(report.files.items())) or "nothing new"
        typer.echo(f"{folder}: {ways}, {report.size / _MB:.1f} MiB in all, {report.removed} removed")
        if report.files["linked"]:
            typer.echo("linked files are on the same disk: they outlive a mistake, and not the disk (--copy)")
    _name_missing(report.missing)


def restore(
    folder: Folder,
    hold: Annotated[
        bool,
        typer.Option("--hold", help="Hold what was still to be sent and done outside then: it may have been since."),
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make the data folder of a backup; it must have no index, and no node may run. Exit code 1: files are missing."""
    place = settings_of(config).node.place
    data = place.data
    with _shown("restoring") as progress:
        report = backups.restore(folder, place, hold=hold, progress=progress)
    if as_json:
        print_json(asdict(report) | {"files": dict(report.files)})
    else:
        typer.echo(f"{data}: {sum(report.files.values())} files, {report.size / _MB:.1f} MiB")
        if hold:
            typer.echo(
                f"held: {report.held} deliveries (`hostd deliveries release --all`), {report.actions} actions (`hostd actions retry`),"
                f" {report.notices} notifications (`hostd notify retry`), {report.jobs} jobs (`POST /jobs/ID/resume`);"
                " what scripts had yet to be told is told after the start"
            )
    _name_missing(report.missing)


def verify(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="A backup, or another data folder than that of the configuration."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Look at sizes only, and read no file.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """See whether every file is there and is what was stored, and whether there are files that nobody knows. Exit code 1: something is wrong."""
    place = Place.of(folder) if folder else settings_of(config).node.place
    data = place.data
    with _shown("verifying") as progress:
        found = verifying.verify(place, hashes=not quick, progress=progress)
    if as_json:
        print_json(asdict(found) | {"sound": found.is_sound})
    else:
        typer.echo(f"{data}: {found.files} files are as they were stored, {found.size / _MB:.1f} MiB")
        for what, names in (
            ("is missing", found.missing),
            ("is changed", [f"{name}: {how}" for name, how in found.changed.items()]),
            ("is known to nobody", found.orphans),
            ("index", found.index),
        ):
            for name in names[:_MOST_NAMED]:
                typer.echo(f"{what}: {name}", err=True)
            if len(names) > _MOST_NAMED:
                typer.echo(f"{what}: {len(names) - _MOST_NAMED} more (--json names all)", err=True)
    if not found.is_sound:
        raise typer.Exit(1)


@index.command()
def rebuild(config: Config = None, as_json: AsJson = False) -> None:
    """Make an index of the files, when it is lost and no backup is there. Exit code 1: some hold no instance.

    Those are put aside, whole: attachments are among them. Labels, metadata, events, deliveries, protected patients, modalities and peers put by HTTP, promises
    of storage commitment, pseudonyms and the installation's secret are not in the files; what was deleted and is in the trash comes back.
    """
    settings = settings_of(config)
    place = settings.node.place
    data = place.data
    with _shown("rebuilding") as progress:
        found = rebuilding.rebuild(place, on_conflict=settings.ingest.on_conflict, progress=progress)
    if as_json:
        print_json(asdict(found))
    else:
        typer.echo(f"{data}: {found.instances} instances, {found.versions} versions, {len(found.repeats)} repeats")
        for name, why in found.unreadable.items():
            typer.echo(f"holds no instance, and is now in {data / rebuilding.UNREADABLE}: {name}: {why}", err=True)
    if found.unreadable:
        raise typer.Exit(1)


@index.callback()
def mend() -> None:
    """Mend the index."""  # one command of a group would otherwise take the group's place


def _name_missing(names: list[str]) -> None:
    for name in names[:_MOST_NAMED]:
        typer.echo(f"is missing: {name}", err=True)
    if names:
        typer.echo(f"hostd: {len(names)} files that the index names are missing", err=True)
        raise typer.Exit(1)


@contextmanager
def _shown(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar of bytes on standard error, where that is a terminal."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(what, total=None)

        def progress(size: int, total: int) -> None:
            shown.update(task, total=total or 1, advance=size)

        yield progress
