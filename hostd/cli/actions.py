"""`hostd actions`: what scripts asked for that is done after their runs, what failed of it and why; trying it again, or giving it up."""

from __future__ import annotations

import getpass
import time
from typing import Annotated, Any

import typer

from hostd.archive import tasks
from hostd.archive.archive import attach
from hostd.archive.tasks import Task
from hostd.cli.config import AsJson
from hostd.cli.looking import (
    Config,
    Most,
    iso_time,
    local_time,
    print_json,
    print_table,
    printable,
    refuse,
    settings_of,
)

app = typer.Typer(
    help="What scripts asked for that is done after their runs: store, replace and their like.", no_args_is_help=True
)

_COLUMNS = ("number", "asked for", "verb", "by", "instance", "state", "tries", "came of it")


Numbers = Annotated[list[int], typer.Argument(metavar="NUMBER...", help="As `hostd actions list` numbers them.")]


@app.command("list")
def listing(
    config: Config = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed.")] = False,
    waiting: Annotated[bool, typer.Option("--open", help="Only those that are still to be done.")] = False,
    limit: Most = 100,
    as_json: AsJson = False,
) -> None:
    """List what was asked for, the newest first, with why it failed or waits."""
    states = (*(("failed",) if failed else ()), *(tasks.OPEN if waiting else ()))
    with attach(settings_of(config).node.place) as connection:
        found = tasks.listing(connection, states=states, limit=limit)
    if as_json:
        print_json([_facts(one) for one in found])
        return
    print_table(_COLUMNS, map(_cells, found), empty="no action matches")


@app.command()
def retry(
    numbers: Numbers,
    config: Config = None,
) -> None:
    """Try again at once what failed, or waits."""
    with attach(settings_of(config).node.place, writes=True) as connection:
        for number in numbers:
            tasks.retry(connection, number, time.time())
    typer.echo(f"{', '.join(map(str, numbers))}: tried again")


@app.command()
def discard(
    numbers: Numbers,
    why: Annotated[str, typer.Option("--why", help="Why, for the record.")],
    config: Config = None,
) -> None:
    """Give up what failed, or waits: it is never done, and its files are no longer kept for it."""
    with attach(settings_of(config).node.place, writes=True) as connection:
        for number in numbers:
            tasks.discard(connection, number, getpass.getuser(), why, time.time())
    typer.echo(f"{', '.join(map(str, numbers))}: discarded")


@app.command()
def show(
    number: Annotated[int, typer.Argument(help="As `hostd actions list` numbers them.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show an action with all that is known of it. Exit code 1: there is none of that number."""
    with attach(settings_of(config).node.place) as connection:
        task = tasks.get(connection, number)
    if task is None:
        raise refuse(f"there is no action {number}")
    if as_json:
        print_json(_facts(task))
        return
    for name, value in _facts(task).items():
        if value is not None:
            typer.echo(f"{name.replace('_', ' ')}: {printable(str(value))}")


def _facts(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "verb": task.verb,
        "queue": task.queue,
        "script": task.script,
        "instance": task.instance,
        "sop_instance_uid": task.sop_instance_uid,
        "state": task.state,
        "attempts": task.attempts,
        "result": task.result,
        "last_error": task.last_error,
        "created": iso_time(task.created_at),
        "finished": iso_time(task.finished_at),
        "next_attempt": iso_time(task.next_attempt_at) if task.state == "waiting" else None,
    }


def _cells(task: Task) -> list[object]:
    came = task.last_error or ", ".join(f"{name} {value}" for name, value in (task.result or {}).items())
    about = task.sop_instance_uid or ""
    return [
        task.id,
        local_time(task.created_at),
        task.verb,
        task.script,
        about,
        task.state,
        task.attempts,
        printable(came),
    ]


__all__ = ["app"]
