"""`hostd notify`: what people were told, what could not be told, and a message to try a channel with."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from hostd.archive import notices
from hostd.archive.archive import attach
from hostd.archive.notices import Notification
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
from hostd.delivery.channels import ChannelError, Message, channel_of
from hostd.errors import NotFoundError

app = typer.Typer(help="Notifications, and the channels by which they go.", no_args_is_help=True)

_COLUMNS = ("number", "asked for", "channel", "by", "state", "tries", "held back", "text", "why not")


@app.command("test")
def send_test(name: Annotated[str, typer.Argument(help=r"A channel, \[notify.NAME].")], config: Config = None) -> None:
    """Send a message by a channel, from here and now. Exit code 0: it was taken; 1: it was not, and why."""
    settings = settings_of(config)
    if name not in settings.notify:
        there_are = f"there are: {', '.join(sorted(settings.notify))}" if settings.notify else "none is configured"
        raise NotFoundError(f"there is no channel {name!r} in the configuration; {there_are}")
    now = time.time()
    text = f"This is a test of the channel {name}. Somebody ran `hostd notify test {name}`."
    try:
        channel_of(name, settings.notify[name], settings.node.name).send(Message(f"test-{now:.0f}", text, now))
    except ChannelError as error:
        raise refuse(error) from error
    typer.echo(f"{name}: the message was taken")


@app.command("list")
def listing(
    config: Config = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that could not be sent.")] = False,
    limit: Most = 100,
    as_json: AsJson = False,
) -> None:
    """List notifications, the newest first."""
    with attach(settings_of(config).node.place) as connection:
        found = notices.listing(connection, states=("failed",) if failed else (), limit=limit)
    if as_json:
        print_json([_facts(one) for one in found])
        return
    print_table(_COLUMNS, map(_cells, found), empty="no notification matches")


@app.command()
def retry(
    number: Annotated[int, typer.Argument(help="The notification, as `hostd notify list` numbers it.")],
    config: Config = None,
) -> None:
    """Try a notification again at once that failed, or waits."""
    with attach(settings_of(config).node.place, writes=True) as connection:
        notices.retry(connection, number, time.time())
    typer.echo(f"notification {number} is tried again")


def _facts(one: Notification) -> dict[str, Any]:
    return {
        "id": one.id,
        "channel": one.channel,
        "script": one.script,
        "text": one.text,
        "state": one.state,
        "attempts": one.attempts,
        "held_back": one.more,
        "last_error": one.last_error,
        "created": iso_time(one.created_at),
        "finished": iso_time(one.finished_at),
    }


def _cells(one: Notification) -> list[object]:
    who = one.script or "hostd"
    tried = (one.state, one.attempts, one.more)
    return [one.id, local_time(one.created_at), one.channel, who, *tried, printable(one.text), one.last_error or ""]
