"""`hostd destinations`: how each does, what waits for it, and whether it answers."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from pydicom.uid import UID

from hostd.archive import acceptance, backlog
from hostd.archive.acceptance import Remembered
from hostd.archive.archive import attach
from hostd.archive.backlog import Standing
from hostd.cli.config import AsJson
from hostd.cli.looking import Config, iso_time, local_time, print_json, print_table, refuse, resolve, settings_of
from hostd.delivery.configured import destinations_of
from hostd.dicom.syntaxes import by_uid
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


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The destination.")], config: Config = None, as_json: AsJson = False
) -> None:
    """Show how one destination does, and what it accepted when it was last sent to."""
    settings = settings_of(config)
    full = resolve(settings, name)
    assert full is not None
    configured = tuple(destinations_of(settings))
    with attach(settings.node.place) as connection:
        found = [one for one in backlog.standings(connection, configured, time.time()) if one.name == full]
        learnt = acceptance.listing(connection, full)
    if not found:
        raise refuse(f"there is no destination {full}, and nothing was ever to go there")
    facts = _facts(found[0], full in configured)
    if as_json:
        print_json(facts | {"accepts": [_learnt_facts(one) for one in learnt]})
        return
    facts["deliveries"] = ", ".join(f"{count} {state}" for state, count in sorted(found[0].states.items()))
    for key, value in facts.items():
        typer.echo(f"{key.replace('_', ' ')}: {'-' if value in (None, '') else value}")
    if learnt:
        typer.echo()
        print_table(("SOP class", "accepts", "refuses", "as of"), map(_learnt_cells, learnt), empty="")


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


def _learnt_facts(one: Remembered) -> dict[str, Any]:
    return {
        "sop_class_uid": one.sop_class_uid,
        "accepted": list(one.acceptance.accepted),
        "refused": list(one.acceptance.refused),
        "at": iso_time(one.at),
    }


def _learnt_cells(one: Remembered) -> list[object]:
    accepted, refused = (
        ", ".join(str(by_uid(uid)) for uid in of) for of in (one.acceptance.accepted, one.acceptance.refused)
    )
    return [UID(one.sop_class_uid).name, accepted or "nothing", refused, local_time(one.at)]


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
