"""`hostd scripts`: how far each script is, what is wrong with it, and letting a new one begin at the beginning."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from hostd.archive import events, orders, repeats, schedules
from hostd.archive import scripts as rows
from hostd.archive.archive import attach
from hostd.archive.scripts import KnownScript
from hostd.cli.config import AsJson
from hostd.cli.looking import Config, iso_time, local_time, print_json, print_table, refuse, settings_of

app = typer.Typer(
    help="Show scripts, their versions and what is the matter with them; decide which version runs, and from where."
)

_SHORT = 12
_COLUMNS = (
    "script",
    "state",
    "version",
    "events behind",
    "not asked",
    "parked",
    "next by the clock",
    "what is the matter",
)


@app.callback(invoke_without_command=True)
def scripts(context: typer.Context, config: Config = None, as_json: AsJson = False) -> None:
    """List the scripts, unless another command follows."""
    if context.invoked_subcommand is None:
        listing(config, as_json)


@app.command("list")
def listing(config: Config = None, as_json: AsJson = False) -> None:
    """List the scripts that the node knows, with the number of events that each has not had yet."""
    with attach(settings_of(config).node.place) as connection:
        found = [_facts(connection, script) for script in rows.known(connection)]
    if as_json:
        print_json(found)
        return
    cells = [
        [
            row["name"],
            row["state"],
            (row["version"] or "")[:_SHORT],
            row["behind"],
            row["skipped"],
            row["parked_events"],
            _next(row["schedules"]),
            _matter(row),
        ]
        for row in found
    ]
    print_table(_COLUMNS, cells, empty="no script was ever seen")


@app.command()
def start(
    name: Annotated[str, typer.Argument(help="The file name of the script, as compress.py.")],
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Give it every event that is still in the log.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: Config = None,
) -> None:
    """Have a script that was never seen begin with the oldest event. Exit code 1: it is known already, or you said no."""
    if not from_beginning:
        raise typer.BadParameter("a new script begins with what comes from now on by itself; say --from-beginning")
    if not name.endswith(".py") or "/" in name:
        raise typer.BadParameter(f"{name!r} is not the file name of a script, as compress.py")
    place = settings_of(config).node.place
    with attach(place) as connection:
        _refuse_known(connection, name)
        count = events.count_after(connection, 0)
    if not yes and not typer.confirm(f"{name} will be given {count} events of the past. Go on?"):
        raise refuse("nothing was changed")
    with attach(place, writes=True) as connection:
        _refuse_known(connection, name)
        rows.meet(connection, name, time.time(), from_beginning=True)
    typer.echo(f"{name} begins with the oldest event; it runs as soon as its file is in the scripts folder")


def _refuse_known(connection: Connection, name: str) -> None:
    if rows.find(connection, name) is not None:
        raise refuse(f"{name} is known already and goes on where it stopped; under another file name it can begin anew")


def _next(schedules: list[dict[str, Any]]) -> str:
    """Say which function of a script is the next to run by the clock."""
    coming = [one for one in schedules if one["due_at"] is not None]
    return f"{coming[0]['function']}, {coming[0]['due_at']}" if coming else ""


def _matter(row: dict[str, Any]) -> str:
    """Say in words what one should know of a script besides its state."""
    said = [row["error"] or ""]
    if row["pinned"]:
        said.append(f"pinned to {row['pinned'][:_SHORT]}")
    if row["waiting"]:
        said.append(f"an edit of its file waits ({row['waiting'][:_SHORT]})")
    return "; ".join(one for one in said if one)


def _facts(connection: Connection, script: KnownScript) -> dict[str, Any]:
    return {
        "name": script.name,
        "state": script.standing,
        "version": script.version,
        "pinned": script.pinned,
        "waiting": script.waiting,
        "behind": orders.behind_of(connection, script),
        "skipped": script.skipped,
        "parked_events": repeats.count_parked(connection, script.name),
        "schedules": [
            {
                "function": one.function,
                "when": one.timing.words,
                "due_at": iso_time(one.due_at),
                "last_at": iso_time(one.told_at),
            }
            for one in schedules.of_script(connection, script.name)
        ],
        "absent_since": iso_time(script.absent_since),
        "error": script.trouble,
    }


@app.command()
def parked(
    name: Annotated[str | None, typer.Argument(help="Only those of this script.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List the events that scripts could not digest, and that were not run again since (`hostd run-on SCRIPT --parked`)."""
    with attach(settings_of(config).node.place) as connection:
        if name is not None:
            orders.needed(connection, name)
        parked_events = repeats.parked(connection, name)
    found = [_parked_facts(one) for one in parked_events]
    if as_json:
        print_json(found)
        return
    cells = [
        [
            row["script"],
            row["event"],
            local_time(one.at),
            row["kind"] or "no longer kept",
            row["instance"] or "",
            row["error"],
        ]
        for one, row in zip(parked_events, found, strict=True)
    ]
    print_table(("script", "event", "parked", "kind", "instance", "why"), cells, empty="no event is parked")


def _parked_facts(one: repeats.ParkedEvent) -> dict[str, Any]:
    return {
        "script": one.script,
        "version": one.version,
        "event": one.number,
        "at": iso_time(one.at),
        "kind": one.event.kind if one.event else None,
        "instance": one.event.subject if one.event else None,
        "error": one.error,
    }
