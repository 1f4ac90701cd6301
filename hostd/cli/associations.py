"""`hostd associations`: who called, and how it ended. And what all commands that look into the index share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from hostd.archive import associations as rows
from hostd.archive.archive import attach
from hostd.archive.associations import AssociationRow
from hostd.cli.config import DEFAULT_FILE, AsJson
from hostd.config.settings import Settings, load

Config = Annotated[
    Path | None, typer.Option("--config", help="The configuration of the node; hostd.toml of this folder if it exists.")
]
Most = Annotated[int, typer.Option("--limit", min=1, help="How many to show at most, the newest first.")]

_COLUMNS = ("number", "began", "from", "to", "received", "stored", "failed", "ended", "why")
_NOT_A_TERMINAL = 200


def associations(
    config: Config = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only those that ended badly, or had an instance that was not stored.")
    ] = False,
    calling_aet: Annotated[str | None, typer.Option("--from", help="Only those of this calling AE title.")] = None,
    limit: Most = 100,
    as_json: AsJson = False,
) -> None:
    """List associations, the newest first."""
    with attach(settings_of(config).node.data) as connection:
        found = rows.listing(connection, failed=failed, calling_aet=calling_aet, limit=limit)
    if as_json:
        print_json([_facts(row) for row in found])
        return
    print_table(_COLUMNS, map(_cells, found), empty="no association matches")


def _facts(row: AssociationRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "at": iso_time(row.at),
        "calling_aet": row.calling_aet,
        "called_aet": row.called_aet,
        "ip": row.ip,
        "port": row.port,
        "ended": row.ended,
        "reason": row.reason,
        "ended_at": iso_time(row.ended_at),
        "received": row.received,
        "stored": row.stored,
        "failed": row.failed,
        "bytes": row.bytes,
        "facts": row.facts,
    }


def _cells(row: AssociationRow) -> list[object]:
    caller = f"{row.calling_aet} {row.ip}:{row.port}"
    counts = (row.received, row.stored, row.failed)
    return [row.id, local_time(row.at), caller, row.called_aet, *counts, row.ended or "is open", row.reason or ""]


# -- shared by the commands that look into the index ------------------------------------------------------------------


def settings_of(config: Path | None) -> Settings:
    """Return the settings of the node that is meant. Raises `ConfigurationError`."""
    return load(config or (DEFAULT_FILE if DEFAULT_FILE.exists() else None))


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


def refuse(message: object) -> typer.Exit:
    """Say on standard error, in one line, why nothing was done; return the exception of exit code 1."""
    typer.echo(f"hostd: {' '.join(str(message).split())}", err=True)
    return typer.Exit(1)
