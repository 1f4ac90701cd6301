"""`hostd deliveries retry | hold | release | redirect | discard`: what people decide of deliveries, recorded with who, when and why."""

from __future__ import annotations

import contextlib
import getpass
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from hostd.archive import delivery_orders
from hostd.archive.archive import attach
from hostd.archive.delivery_orders import AT_ONCE, Decided, Matching, Order
from hostd.cli.config import AsJson
from hostd.cli.looking import Config, print_json, resolve, settings_of
from hostd.config.settings import Settings

Numbers = Annotated[list[int] | None, typer.Argument(metavar="[NUMBER]...", help="The deliveries.")]
Every = Annotated[
    bool, typer.Option("--all", help="All of which this may be decided, and that the other options choose.")
]
Destination = Annotated[str | None, typer.Option("--destination", help="With --all: only those to this destination.")]
Study = Annotated[str | None, typer.Option("--study", help="With --all: only those of this Study Instance UID.")]
Failure = Annotated[
    str | None, typer.Option("--reason", help="With --all: only those whose last error has this text in it.")
]
Why = Annotated[str, typer.Option("--why", help="Why, for the record.")]


def _command(verb: str, what: str) -> Callable[..., None]:
    """Return the command that decides `verb`; `what` is its help."""

    def command(
        numbers: Numbers = None,
        destination: Destination = None,
        reason: Failure = None,
        study: Study = None,
        every: Every = False,
        why: Why = "",
        config: Config = None,
        as_json: AsJson = False,
    ) -> None:
        _decide(verb, numbers, Matching(destination, reason, study), every, why, config, as_json)

    command.__name__, command.__doc__ = verb, what
    return command


retry = _command("retry", "Try again, at once, what failed or is held. Exit code 1: some cannot be.")
hold = _command("hold", "Keep back what waits, until it is released. Exit code 1: some cannot be.")
release = _command("release", "Let go on what was held. Exit code 1: some cannot be.")
discard = _command(
    "discard",
    "Give up what waits, is held or failed: it is never sent. Needs --why. Exit code 1: some cannot be.",
)


def redirect(
    to: Annotated[str, typer.Option("--to", help="The destination to send to instead.")],
    numbers: Numbers = None,
    destination: Destination = None,
    reason: Failure = None,
    study: Study = None,
    every: Every = False,
    why: Why = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Send to another destination what waits, is held or failed. Exit code 1: some cannot be."""
    _decide("redirect", numbers, Matching(destination, reason, study), every, why, config, as_json, to)


def _decide(
    verb: str,
    numbers: list[int] | None,
    wanted: Matching,
    every: bool,
    why: str,
    config: Path | None,
    as_json: bool,
    to: str | None = None,
) -> None:
    if verb == "discard" and not why:
        raise typer.BadParameter("say why, for the record: --why TEXT")
    if bool(numbers) == every:
        raise typer.BadParameter("name the deliveries by their numbers, or say --all")
    if not every and wanted != Matching():
        raise typer.BadParameter("--destination, --reason and --study go with --all")
    settings = settings_of(config)
    if to is not None:
        to = ":".join(settings.resolve_destination(to))  # one that is not configured would never be sent to
    order = Order(verb, getpass.getuser(), why, time.time(), to)
    wanted = Matching(resolve(settings, wanted.destination), wanted.reason, wanted.study)
    decided = _of_all(settings, order, wanted) if every else _of_these(settings, order, sorted(set(numbers or ())))
    _say(decided, order, as_json)


def _of_these(settings: Settings, order: Order, numbers: list[int]) -> Decided:
    """Decide of all that are named, or of none."""
    decided = Decided()
    with contextlib.suppress(_SomeCannotError), attach(settings.node.place, writes=True) as connection:
        for at in range(0, len(numbers), AT_ONCE):
            decided.add(delivery_orders.decide(connection, order, numbers[at : at + AT_ONCE]))
        if decided.left:
            raise _SomeCannotError  # which undoes what was decided of the others
    return Decided(left=decided.left) if decided.left else decided


class _SomeCannotError(Exception):
    pass


def _of_all(settings: Settings, order: Order, wanted: Matching) -> Decided:
    """Decide of all that match; what cannot be decided is left."""

    def writes(unit: Callable[[Connection], tuple[list[int], Decided]]) -> tuple[list[int], Decided]:
        with attach(settings.node.place, writes=True) as connection:
            return unit(connection)

    return delivery_orders.decide_all(writes, order, wanted)


def _say(decided: Decided, order: Order, as_json: bool) -> None:
    past = {"retry": "to be tried again", "hold": "held", "release": "released", "discard": "discarded"}
    if as_json:
        left = [{"id": number, "reason": why} for number, why in decided.left.items()]
        key = "retried" if order.verb == "retry" else "done"
        facts = {key: decided.done, "left": left}
        if order.verb == "redirect":
            facts["made"] = [{"id": old, "new": new} for old, new in decided.made.items()]
        print_json(facts)
    else:
        are = "delivery is" if len(decided.done) == 1 else "deliveries are"
        typer.echo(f"{len(decided.done)} {are} {past.get(order.verb, f'sent to {order.to} instead')}")
    for number, why in decided.left.items():
        typer.echo(f"hostd: delivery {number} stays as it is: {why}", err=True)
    if decided.left:
        raise typer.Exit(1)
