"""`hostd destinations`: how each does, what waits for it, and whether it answers."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from hostd.archive import backlog
from hostd.archive.archive import attach
from hostd.archive.backlog import Standing
from hostd.cli.config import AsJson
from hostd.cli.looking import Config, iso_time, local_time, print_json, print_table, refuse, settings_of
from hostd.delivery.configured import destinations_of
from hostd.errors import DestinationFault

app = typer.Typer(help="Show destinations, and test them.")

_COLUMNS = ("destination", "state", "backlog", "oldest", "held", "failed", "instances/s", "MB/s", "last error")
_MB = 1 << 20


@app.callback(invoke_without_command=True)
def destinations(context: typer.Context, config: Config = None, as_json: AsJson = False) -> None:
    """Show how each destination does, what waits for it and what failed, unless another command follows."""
    if context.invoked_subcommand is None:
        listing(config, as_json)


@app.command("list")
def listing(config: Config = None, as_json: AsJson = False) -> None:
    """Show how each destination does, what waits for it and what failed."""
    settings = settings_of(config)
    configured = tuple(destinations_of(settings))
    with attach(settings.node.place) as connection:
        found = backlog.standings(connection, configured, time.time())
    if as_json:
        print_json([_facts(one, one.name in configured) for one in found])
    else:
        print_table(
            _COLUMNS, [_cells(one, one.name in configured) for one in found], empty="no destination is configured"
        )


@app.command("test")
def ask(
    name: Annotated[str, typer.Argument(help="The destination.")], config: Config = None, as_json: AsJson = False
) -> None:
    """Ask a destination whether it answers, and what it accepts. Nothing is sent to it. Exit code 1: it does not answer."""
    settings = settings_of(config)
    full = ":".join(settings.resolve_destination(name))
    began = time.monotonic()
    try:
        said = destinations_of(settings)[full].examine()
    except DestinationFault as fault:
        if as_json:
            print_json({"destination": full, "ok": False, "said": [], "error": str(fault)})
            raise typer.Exit(1) from None
        raise refuse(f"{full}: {fault}") from None
    seconds = time.monotonic() - began
    if as_json:
        print_json({"destination": full, "ok": True, "said": said, "error": None, "seconds": round(seconds, 3)})
        return
    typer.echo(f"{full} answers ({seconds:.2f} s)")
    for line in said:
        typer.echo(f"  {line}")


def _state(one: Standing, configured: bool) -> str:
    if not configured:
        return "not configured"
    return "works" if one.failing_since is None else "fails"


def _facts(one: Standing, configured: bool) -> dict[str, Any]:
    return {
        "destination": one.name,
        "state": _state(one, configured),
        "failing_since": iso_time(one.failing_since),
        "failing_why": one.failing_why,
        "backlog": one.backlog,
        "oldest": iso_time(one.oldest_at),
        "deliveries": one.states,
        "instances_per_s": round(one.instances_per_s, 3),
        "bytes_per_s": round(one.bytes_per_s),
        "last_error": one.last_error,
    }


def _cells(one: Standing, configured: bool) -> list[object]:
    return [
        one.name,
        _state(one, configured),
        one.backlog,
        local_time(one.oldest_at),
        one.states.get("held", 0),
        one.states.get("failed", 0),
        f"{one.instances_per_s:.2f}",
        f"{one.bytes_per_s / _MB:.2f}",
        one.failing_why or one.last_error or "",
    ]
