"""`hostd send`: files, or a study of the archive, to a destination, by the couriers that carry everything else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from hostd.archive.archive import attach, is_held
from hostd.archive.blobs import SENDING, FolderBlobs
from hostd.archive.deliveries import PRIORITIES
from hostd.cli.config import AsJson
from hostd.cli.looking import Config, print_json, printable, refuse, settings_of
from hostd.config.settings import DESTINATION_TABLES, Settings
from hostd.delivery import sending
from hostd.delivery.sending import Outlook
from hostd.errors import StorageError, UnparsableError
from hostd.node import Node

_LOOK_S = 0.3
_AT_ONCE = 20


def send(
    destination: Annotated[str, typer.Argument(help="A destination of the configuration.")],
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="Files, or folders of files.")] = None,
    study: Annotated[str | None, typer.Option("--study", help="Instead of files: a Study Instance UID.")] = None,
    priority: Annotated[str, typer.Option("--priority", help="low, normal, high or stat.")] = "normal",
    wait_s: Annotated[
        float | None, typer.Option("--wait", min=0, help="Seconds to wait for the end of it. Absent: for ever.")
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Send files, or a study of the archive, and wait until all has arrived. Works beside a running node, and without one.

    Files are not stored, and raise no events. Exit code 1: something did not arrive (yet); what was asked for and waits goes on when a node runs.
    """
    if bool(files) == (study is not None):
        raise typer.BadParameter("name files, or a --study")
    if priority not in PRIORITIES:
        raise typer.BadParameter(f"there is no priority {priority!r}; there are {', '.join(PRIORITIES)}")
    settings = settings_of(config)
    kind, name = settings.resolve_destination(destination)
    with _couriers(settings, kind, name):
        to = f"{kind}:{name}"
        if study is not None:
            with attach(settings.node.place, writes=True) as connection:
                numbers = sending.ask_for_study(connection, study, to, PRIORITIES[priority], time.time())
            unread: dict[str, str] = {}
            if not numbers:
                raise refuse(f"no instance of the study {study} is in the archive")
        else:
            numbers, unread = _ask(settings, _found(files or ()), to, PRIORITIES[priority])
        with _shown(len(numbers)) as progress:
            end = None if wait_s is None else time.monotonic() + wait_s
            found = _followed(settings, numbers, progress, end)
    _say(found, unread, to, as_json)


def _couriers(settings: Settings, kind: str, name: str) -> AbstractContextManager[None]:
    """Make sure that somebody carries: the node that runs, or else a node without doors and scripts, to this destination and its alternate."""
    if is_held(settings.node.data):
        return nullcontext()
    alternate = settings.destinations()[kind][name].alternate
    needed = {(kind, name)} | ({settings.resolve_destination(alternate)} if alternate else set())
    alone = {
        table: {one: entry for one, entry in getattr(settings, table).items() if (each, one) in needed}
        for each, table in DESTINATION_TABLES.items()
    }
    closed = {face: getattr(settings, face).model_copy(update={"enabled": False}) for face in ("dicom", "http")}
    return _running(
        Node(settings.model_copy(update={**alone, **closed, "sources": {}, "notify": {}}), run_scripts=False)
    )


@contextmanager
def _running(node: Node) -> Iterator[None]:
    node.start()
    try:
        yield
    finally:
        node.stop()


def _found(files: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in files:
        found += sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return found


def _ask(settings: Settings, files: Sequence[Path], to: str, priority: int) -> tuple[list[int], dict[str, str]]:
    """Ask for deliveries of files; return their numbers, and why some cannot be sent."""
    place, numbers, unread = settings.node.place, [], {}
    for at in range(0, len(files), _AT_ONCE):
        prepared = []
        for file in files[at : at + _AT_ONCE]:
            try:
                prepared.append(sending.prepare(place, file))
            except (UnparsableError, OSError) as error:
                unread[str(file)] = str(error)
            except StorageError as error:
                raise refuse(error) from error
        with attach(place, writes=True) as connection:
            asked = [sending.ask_for_file(connection, one, to, priority, time.time()) for one in prepared]
        blobs = FolderBlobs(place.blobs, SENDING)
        for one, (number, is_new) in zip(prepared, asked, strict=True):
            numbers.append(number)
            if not is_new:  # the same is on its way there already
                blobs.unlink(one.blob.name)
    return numbers, unread


def _followed(
    settings: Settings, numbers: Sequence[int], progress: Callable[[Outlook], None], end: float | None
) -> Outlook:
    """Look until all has ended, or the time is over, or somebody is tired of it."""
    while True:
        with attach(settings.node.place) as connection:
            found = sending.outlook(connection, numbers)
        progress(found)
        if found.ended == sum(found.states.values()) or (end is not None and time.monotonic() >= end):
            return found
        try:
            time.sleep(_LOOK_S)
        except KeyboardInterrupt:
            return found


def _say(found: Outlook, unread: dict[str, str], to: str, as_json: bool) -> None:
    arrived = found.states["delivered"] + found.states["warning"]
    waiting = sum(found.states.values()) - found.ended
    if as_json:
        print_json(
            {
                "destination": to,
                "deliveries": dict(found.states),
                "failed": found.failed,
                "unread": unread,
                "waiting_why": found.waiting_why,
            }
        )
    else:
        present = f", {found.states['present']} were there already" if found.states["present"] else ""
        typer.echo(f"{arrived} of {sum(found.states.values()) + len(unread)} arrived at {to}{present}")
        for number, why in found.failed.items():
            typer.echo(printable(f"delivery {number} failed: {why}"), err=True)
        for name, why in unread.items():
            typer.echo(printable(f"{name}: {why}"), err=True)
        if waiting:
            why = f" ({found.waiting_why})" if found.waiting_why else ""
            typer.echo(
                printable(
                    f"{waiting} still wait{why}: a node that runs goes on with them, `hostd deliveries` shows them"
                ),
                err=True,
            )
    if waiting or unread or found.failed:
        raise typer.Exit(1)


@contextmanager
def _shown(total: int) -> Iterator[Callable[[Outlook], None]]:
    """Show a bar of instances on standard error, where that is a terminal."""
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("sending", total=total)

        def progress(found: Outlook) -> None:
            why = f"waiting: {printable(found.waiting_why)[:60]}" if found.waiting_why else "sending"
            shown.update(task, completed=found.ended, description=why)

        yield progress
