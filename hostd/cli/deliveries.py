"""`hostd deliveries`: what waits, what failed and why, and trying it again. Patients are not named."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from hostd.archive import deliveries as rows
from hostd.archive.archive import attach
from hostd.archive.records import Attempt, Delivery
from hostd.cli.config import AsJson
from hostd.cli.looking import (
    Config,
    Most,
    iso_time,
    local_time,
    print_json,
    print_table,
    refuse,
    settings_of,
)
from hostd.config.settings import Settings
from hostd.errors import NotFoundError
from hostd.transcoding.transform import told

app = typer.Typer(help="Show deliveries, and try them again.")

State = Annotated[
    list[str] | None,
    typer.Option("--state", help="Only these: preparing, waiting, sending, held, delivered, warning, failed."),
]
Destination = Annotated[str | None, typer.Option("--destination", help="Only those to this destination.")]
Study = Annotated[str | None, typer.Option("--study", help="Only those of this Study Instance UID.")]
Instance = Annotated[str | None, typer.Option("--instance", help="Only those of this instance, by its id.")]

_STATES = frozenset({"preparing", "waiting", "sending", "held", "delivered", "warning", "failed"})
_GIVEN_UP = ("failed", "held")
_ALL = 1 << 40
_COLUMNS = ("number", "destination", "state", "attempts", "asked", "next", "instance", "last error")


@app.callback(invoke_without_command=True)
def deliveries(
    context: typer.Context,
    config: Config = None,
    state: State = None,
    destination: Destination = None,
    study: Study = None,
    instance: Instance = None,
    limit: Most = 100,
    as_json: AsJson = False,
) -> None:
    """List deliveries, the newest first, unless another command follows."""
    if context.invoked_subcommand is None:
        listing(config, state, destination, study, instance, limit, as_json)


@app.command("list")
def listing(
    config: Config = None,
    state: State = None,
    destination: Destination = None,
    study: Study = None,
    instance: Instance = None,
    limit: Most = 100,
    as_json: AsJson = False,
) -> None:
    """List deliveries, the newest first."""
    if unknown := sorted(set(state or ()) - _STATES):
        raise typer.BadParameter(f"there is no state {unknown[0]!r}; there are {', '.join(sorted(_STATES))}")
    settings = settings_of(config)
    with attach(settings.node.place) as connection:
        found = rows.listing(
            connection,
            states=state or (),
            destination=_resolve(settings, destination),
            study=study,
            instance=instance,
            limit=limit,
        )
    if as_json:
        print_json([_facts(delivery) for delivery in found])
    else:
        print_table(_COLUMNS, map(_cells, found), empty="no delivery matches")


@app.command()
def show(
    number: Annotated[int, typer.Argument(help="The number of the delivery.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Show one delivery with all its attempts. Exit code 1: there is none of that number."""
    with attach(settings_of(config).node.place) as connection:
        delivery = rows.get(connection, number)
        attempts = rows.attempts(connection, number)
    if delivery is None:
        raise refuse(f"there is no delivery {number}")
    facts = _facts(delivery)
    if as_json:
        print_json(facts | {"history": [_attempt_facts(attempt) for attempt in attempts]})
        return
    for name, value in facts.items():
        typer.echo(f"{name.replace('_', ' ')}: {'-' if value in {None, ''} else value}")
    columns = ("attempt", "when", "outcome", "status", "seconds", "transfer syntax", "sent as", "answer")
    print_table(columns, map(_attempt_cells, attempts), empty="not tried yet")


@app.command()
def retry(
    numbers: Annotated[list[int] | None, typer.Argument(metavar="[NUMBER]...", help="The deliveries.")] = None,
    destination: Destination = None,
    every: Annotated[
        bool, typer.Option("--all", help="All that failed or are held; with --destination only those to it.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Try deliveries again, at once. Exit code 1: some cannot be; then those that were named are all left as they were."""
    if bool(numbers) == every:
        raise typer.BadParameter("name the deliveries by their numbers, or say --all")
    if destination is not None and not every:
        raise typer.BadParameter("--destination goes with --all")
    settings = settings_of(config)
    with attach(settings.node.place, writes=True) as connection:
        if every:
            done, left = _retry_all(connection, _resolve(settings, destination))
        else:
            try:
                done, left = rows.retry(connection, sorted(set(numbers or ())), time.time()), {}
            except NotFoundError as error:
                raise refuse(error) from None
    if as_json:
        print_json({"retried": done, "left": [{"id": number, "reason": why} for number, why in left.items()]})
    else:
        typer.echo(f"{len(done)} {'delivery is' if len(done) == 1 else 'deliveries are'} to be tried again")
    for number, why in left.items():
        typer.echo(f"hostd: delivery {number} stays as it is: {why}", err=True)
    if left:
        raise typer.Exit(1)


def _retry_all(connection: Connection, destination: str | None) -> tuple[list[int], dict[int, str]]:
    """Retry each that was given up; return which were, and why the others were not."""
    done: list[int] = []
    left: dict[int, str] = {}
    for delivery in reversed(rows.listing(connection, states=_GIVEN_UP, destination=destination, limit=_ALL)):
        try:
            done += rows.retry(connection, [delivery.id], time.time())
        except NotFoundError as error:
            left[delivery.id] = str(error)
    return done, left


def _resolve(settings: Settings, destination: str | None) -> str | None:
    """Return a destination as deliveries name it; one that left the configuration goes by its full name, `kind:name`."""
    if destination is None or ":" in destination:
        return destination
    return ":".join(settings.resolve_destination(destination))


def _facts(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "destination": delivery.destination,
        "state": delivery.state,
        "instance": delivery.instance,
        "sop_instance_uid": delivery.sop_instance_uid,
        "sop_class_uid": delivery.sop_class_uid,
        "transform": told(delivery.transform),
        "script": delivery.script,
        "priority": delivery.priority,
        "attempts": delivery.attempts,
        "possible_doubles": delivery.possible_doubles,
        "last_error": delivery.last_error,
        "created_at": iso_time(delivery.created_at),
        "not_before": iso_time(delivery.not_before or None),
        "next_attempt_at": iso_time(_next_attempt(delivery)),
        "finished_at": iso_time(delivery.finished_at),
    }


def _next_attempt(delivery: Delivery) -> float | None:
    return delivery.next_attempt_at if delivery.state in rows.DUE else None


def _cells(delivery: Delivery) -> list[object]:
    return [
        delivery.id,
        delivery.destination,
        delivery.state,
        delivery.attempts,
        local_time(delivery.created_at),
        local_time(_next_attempt(delivery)),
        delivery.instance,
        delivery.last_error or "",
    ]


def _attempt_facts(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "at": iso_time(attempt.at),
        "outcome": attempt.outcome,
        "answer": attempt.answer,
        "status": attempt.status,
        "seconds": attempt.seconds,
        "sent_syntax": attempt.sent_syntax,
        "sent_sop_instance_uid": attempt.sent_sop_instance_uid,
    }


def _attempt_cells(attempt: Attempt) -> list[object]:
    seconds = "" if attempt.seconds is None else f"{attempt.seconds:.2f}"
    status = "" if attempt.status is None else attempt.status
    when = local_time(attempt.at)
    sent = attempt.sent_syntax or "", attempt.sent_sop_instance_uid or ""
    return [attempt.number, when, attempt.outcome, status, seconds, *sent, attempt.answer]
