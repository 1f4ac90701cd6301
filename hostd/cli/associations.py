"""`hostd associations`: who called, and how it ended."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hostd.archive import associations as rows
from hostd.archive.archive import attach
from hostd.archive.associations import AssociationRow
from hostd.cli.config import AsJson
from hostd.cli.looking import Config, Most, iso_time, local_time, print_json, print_table, settings_of

_COLUMNS = ("number", "began", "from", "to", "received", "stored", "failed", "ended", "why")


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
    with attach(settings_of(config).node.place) as connection:
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
