"""What the commands share that look into the index of a node, running or not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from sqlalchemy.exc import DBAPIError

from hostd.archive.archive import attach
from hostd.cli.config import chosen
from hostd.config.hashing import unhashed
from hostd.config.settings import Settings, load
from hostd.delivery.remotes import with_remotes
from hostd.errors import NodeError

Config = Annotated[
    Path | None, typer.Option("--config", help="The configuration of the node; hostd.toml of this folder if it exists.")
]
Most = Annotated[int, typer.Option("--limit", min=1, help="How many to show at most, the newest first.")]

_NOT_A_TERMINAL = 200


def settings_of(config: Path | None) -> Settings:
    """Return the settings of the node that is meant, with the modalities and peers that were put by HTTP. Raises `ConfigurationError`."""
    return with_what_was_put(load(chosen(config), hashed=unhashed))


def with_what_was_put(settings: Settings) -> Settings:
    """Return settings with the modalities and peers that were put by HTTP; as they are where there is no index."""
    try:
        with attach(settings.node.place) as connection:
            return with_remotes(settings, connection)[0]
    except (NodeError, DBAPIError):  # none yet, or of another release: whoever needs the index says so
        return settings


def resolve(settings: Settings, destination: str | None) -> str | None:
    """Return a destination as deliveries name it; one that left the configuration goes by its full name, `kind:name`."""
    if destination is None or ":" in destination:
        return destination
    return ":".join(settings.resolve_destination(destination))


def iso_time(at: float | None) -> str | None:
    """Return a time of the index in ISO 8601 with its zone, for machines."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def local_time(at: float | None) -> str:
    """Return a time of the index in this machine's zone, for people."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def print_json(facts: object) -> None:
    """Print facts for machines."""
    typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], cells: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows for people, or say that there are none."""
    table = Table(*(Column(name, overflow="fold") for name in columns), box=None)
    for row in cells:
        table.add_row(*(escape(str(cell)) for cell in row))
    if not table.row_count:
        typer.echo(empty)
        return
    console = Console()
    if not console.is_terminal:  # what is cut cannot be searched
        console.width = _NOT_A_TERMINAL
    console.print(table)


def printable(text: str) -> str:
    """Return a text without control characters: what a file holds must not steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def refuse(message: object) -> typer.Exit:
    """Say on standard error, in one line, why nothing was done; return the exception of exit code 1."""
    typer.echo(f"hostd: {' '.join(str(message).split())}", err=True)
    return typer.Exit(1)
