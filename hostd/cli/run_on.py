"""`hostd run-on`: give a script events of the past again, those it was parked on or missed. It really runs, and acts."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime
from typing import Annotated

import typer
from sqlalchemy import Connection

from hostd.archive import events, history, orders, repeats
from hostd.archive.archive import attach
from hostd.archive.repeats import Repeated
from hostd.archive.scripts import KnownScript
from hostd.cli.config import AsJson
from hostd.cli.looking import Config, print_json, printable, settings_of

_SHOWN = 10


def run_on(
    script: Annotated[str, typer.Argument(help="The file name of the script, as compress.py.")],
    event: Annotated[
        list[int] | None, typer.Option("--event", help="The event of this number; may be repeated.")
    ] = None,
    study: Annotated[str | None, typer.Option("--study", help="The events of this Study Instance UID.")] = None,
    accession: Annotated[str | None, typer.Option("--accession", help="Those of this Accession Number.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Those from this time on, as 2026-05-01 or 2026-05-01T08:30.")
    ] = None,
    parked: Annotated[bool, typer.Option("--parked", help="Those that it could not digest.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also those that it had with an effect.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Have a script run again on events of the past, each once, after what waits for it already.

    Exit code 1: some were named by number and are left, or nothing is run again.
    """
    if sum(bool(one) for one in (event, study, accession, since, parked)) != 1:
        raise typer.BadParameter("say which events: --event, --study, --accession, --since or --parked, one of them")
    from_time = _time(since) if since is not None else None
    with attach(settings_of(config).node.place, writes=True) as connection:
        known = orders.needed(connection, script)
        if event:
            numbers = event
        elif parked:
            numbers = [one.number for one in repeats.parked(connection, script)]
        else:
            numbers = _chosen(connection, known, study, accession, from_time)
        found = repeats.again(connection, known, numbers, time.time(), even_if_done=again)
    if as_json:
        print_json([{"event": one.number, "again_as": one.again_as, "left": one.left} for one in found])
    else:
        _show(known, found)
    if not any(one.again_as for one in found) or (event and any(one.left for one in found)):
        raise typer.Exit(1)


def _chosen(
    connection: Connection, known: KnownScript, study: str | None, accession: str | None, since: float | None
) -> list[int]:
    kinds = sorted(events.kinds_of(known.handlers))
    subjects = None if accession is None else history.named(connection, accession).get("Accession Number", [])
    return repeats.of_the_past(connection, kinds, script=known.name, study=study, subjects=subjects, since=since)


def _time(text: str) -> float:
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a time, as 2026-05-01 or 2026-05-01T08:30") from None


def _show(known: KnownScript, found: list[Repeated]) -> None:
    count = sum(one.again_as is not None for one in found)
    if count:
        wait = "" if known.standing == "running" else f", once it runs (it is {known.standing})"
        typer.echo(f"{known.name} runs again on {count} {'event' if count == 1 else 'events'}{wait}")
    elif not found:
        typer.echo("no event matches", err=True)
    left = [one for one in found if one.left is not None]
    for one in left[:_SHOWN]:
        typer.echo(f"  event {one.number} is left: {printable(one.left or '')}", err=True)
    for why, more in Counter(one.left for one in left[_SHOWN:]).most_common():
        typer.echo(f"  {more} more are left: {printable(why or '')}", err=True)


__all__ = ["run_on"]
