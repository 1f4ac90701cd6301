"""`hostd deliveries`: what waits, what failed and why. Patients are not named."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hostd.archive import commitments
from hostd.archive import deliveries as rows
from hostd.archive.archive import attach
from hostd.archive.records import Attempt, Delivery
from hostd.cli import delivery_orders as orders
from hostd.cli.config import AsJson
from hostd.cli.looking import (
    Config,
    Most,
    iso_time,
    local_time,
    print_json,
    print_table,
    refuse,
    resolve,
    settings_of,
)
from hostd.transcoding.transform import told

app = typer.Typer(help="Show deliveries, and decide of them: retry, hold, release, redirect, discard.")
for command in (orders.retry, orders.hold, orders.release, orders.redirect, orders.discard):
    app.command()(command)

State = Annotated[
    list[str] | None,
    typer.Option(
        "--state", help="Only these: preparing, waiting, sending, held, delivered, warning, present, failed, discarded."
    ),
]
Destination = Annotated[str | None, typer.Option("--destination", help="Only those to this destination.")]
Study = Annotated[str | None, typer.Option("--study", help="Only those of this Study Instance UID.")]
Instance = Annotated[str | None, typer.Option("--instance", help="Only those of this instance, by its id.")]

_STATES = frozenset(
    {"preparing", "waiting", "sending", "held", "delivered", "warning", "present", "failed", "discarded"}
)
_COMMITMENTS = {
    "wanted": "commitment wanted",
    "asked": "commitment asked",
    "committed": "committed",
    "refused": "not committed",
}
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
            destination=resolve(settings, destination),
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
        if delivery is None:
            raise refuse(f"there is no delivery {number}")
        attempts = rows.attempts(connection, number)
        stand_in = rows.stand_in_of(connection, number)
        reported_at = commitments.reported_at(connection, delivery.commitment_uid)
    facts = _facts(delivery) | {"commitment_reported_at": iso_time(reported_at), "stand_in": None}
    if as_json:
        if stand_in is not None:
            facts["stand_in"] = {"id": stand_in.id, "destination": stand_in.destination, "state": stand_in.state}
        print_json(facts | {"history": [_attempt_facts(attempt) for attempt in attempts]})
        return
    if stand_in is not None:
        facts["stand_in"] = f"delivery {stand_in.id} to {stand_in.destination}, {stand_in.state}"
    for name, value in facts.items():
        typer.echo(f"{name.replace('_', ' ')}: {'-' if value in {None, ''} else value}")
    columns = ("attempt", "when", "outcome", "status", "seconds", "transfer syntax", "sent as", "answer")
    print_table(columns, map(_attempt_cells, attempts), empty="not tried yet")


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
        "stands_in_for": delivery.alternate_of,
        "commitment": delivery.commitment,
        "commitment_transaction": delivery.commitment_uid,
        "commitment_asked_at": iso_time(delivery.commitment_asked_at),
    }


def _next_attempt(delivery: Delivery) -> float | None:
    return delivery.next_attempt_at if delivery.state in rows.DUE else None


def _cells(delivery: Delivery) -> list[object]:
    return [
        delivery.id,
        delivery.destination + (f", for {delivery.alternate_of}" if delivery.alternate_of is not None else ""),
        delivery.state + (f", {_COMMITMENTS[delivery.commitment]}" if delivery.commitment is not None else ""),
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
