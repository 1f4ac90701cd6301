"""`hostd deploy`: take an edit by hand: rehearse it on the node's own past, show what would change, ask, and swap."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from hostd.archive import orders, scripts
from hostd.archive.archive import attach
from hostd.cli.configured import configured
from hostd.cli.looking import Config, printable, refuse
from hostd.cli.replay import past_of, replayed_over, show_differences, version_named
from hostd.cli.versions import Name, file_of
from hostd.errors import ScriptError
from hostd.scripting.replay import Replayed, differences

_SHORT = 12


def deploy(
    name: Name,
    last: Annotated[int, typer.Option("--last", min=1, help="Rehearse over so many of the newest events.")] = 500,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: Config = None,
) -> None:
    """Take what a script's file holds, after a rehearsal beside the version that runs. Exit code 1: nothing was changed."""
    configuration = configured(config)
    settings = configuration.settings
    new = file_of(settings, name)
    if new.problem:
        raise refuse(new.problem)
    with attach(settings.node.place) as connection:
        known = scripts.find(connection, name)
        old = version_named(connection, f"{name}@{known.version}") if known is not None and known.version else None
    if known is not None and old is not None and old.hash == new.hash and known.parked is None:
        raise refuse(f"{name} holds the version that runs already, {new.hash[:_SHORT]}")
    try:
        past = past_of(configuration, [new] if old is None else [new, old], last)
        now = replayed_over(configuration, new, past)
    except ScriptError as error:
        raise refuse(f"{name} is not deployed: {error}") from error
    before = [Replayed(event, None) for event in past] if old is None else replayed_over(configuration, old, past)
    show_differences(differences(now, before), len(past))
    for one in now:
        if one.outcome is not None and one.outcome.error:
            typer.echo(f"it fails on event {one.event.number}: {printable(one.outcome.error)}", err=True)
    if not yes and not typer.confirm(f"Deploy {name} as {new.hash[:_SHORT]}?"):
        raise refuse("nothing was changed")
    with attach(settings.node.place, writes=True) as connection:
        scripts.meet(connection, name, time.time(), from_beginning=settings.script(name).start == "beginning")
        orders.approve(connection, name, new.hash)
    typer.echo(f"{name} {new.hash[:_SHORT]} is deployed; a node that runs follows within seconds")


__all__ = ["deploy"]
