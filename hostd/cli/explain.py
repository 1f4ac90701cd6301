"""`hostd explain` and `hostd instances`: what became of an image, a series, a study, a patient, and of what no script wanted."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any

import typer

from hostd.archive import history, instances
from hostd.archive.archive import attach
from hostd.archive.records import Instance
from hostd.archive.telling import plain
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
from hostd.dicom import syntaxes

NoPhi = Annotated[
    bool,
    typer.Option("--no-phi", help="Leave out what says who the patient is, and whatever a script or a peer wrote."),
]

_COLUMNS = ("instance", "received", "from", "SOP class", "bytes", "transfer syntax")
_SHORT = 12
_ARRIVALS = {"stored_instance", "conflicting_instance", "filtered_instance", "discarded_instance", "refused_instance"}
"""Kinds of event about what has come, of which it is said who sent it."""
_UNSAID = {"priority": "normal", "again": False, "back": False, "or_original": True, "lossy": False}
"""What the inputs of an action hold where a script said nothing."""


def explain(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A SOP, series or study instance UID, an accession number, a patient ID, or Orthanc's id.",
        ),
    ],
    config: Config = None,
    no_phi: NoPhi = False,
    limit: Most = 1000,
    as_json: AsJson = False,
) -> None:
    """Tell what became of an instance, or of all of a series, study or patient: also of what was deleted since.

    Exit code 1: the node knows nothing of that name.
    """
    with attach(settings_of(config).node.place) as connection:
        found = history.named(connection, name)
        ids = list(dict.fromkeys(chain.from_iterable(found.values())))
        told = plain([history.of(connection, one) for one in ids[:limit]], phi=not no_phi)
    if not ids:
        raise refuse(f"nothing is known of {name!r}: no stored instance has it, and no event that is still kept")
    facts = {"name": history.shown_name(name, found, phi=not no_phi), "is": list(found), "count": len(ids), **told}
    if as_json:
        print_json(facts)
        return
    for line in _lines(facts):
        typer.echo(printable(line))


def listing(
    config: Config = None,
    unrouted: Annotated[
        bool,
        typer.Option("--unrouted", help="Only what is stored, was seen by all scripts, and was asked nothing for."),
    ] = False,
    limit: Most = 100,
    as_json: AsJson = False,
) -> None:
    """List the stored instances. Patients are not named."""
    with attach(settings_of(config).node.place) as connection:
        found = history.unrouted(connection, limit=limit) if unrouted else instances.newest(connection, limit=limit)
    if as_json:
        print_json([_facts(instance) for instance in found])
        return
    empty = (
        "every stored instance was asked something for, or has scripts ahead of it" if unrouted else "nothing is stored"
    )
    print_table(_COLUMNS, map(_cells, found), empty=empty)


def _facts(instance: Instance) -> dict[str, Any]:
    return {
        "id": instance.id,
        "sop_instance_uid": instance.sop_instance_uid,
        "series_instance_uid": instance.series_instance_uid,
        "study_instance_uid": instance.study_instance_uid,
        "sop_class": instance.sop_class_uid,
        "received": iso_time(instance.received_at),
        "origin": instance.origin.to_json(),
        "size": instance.blob.size,
        "transfer_syntax": instance.blob.transfer_syntax,
    }


def _cells(instance: Instance) -> list[object]:
    origin = instance.origin
    sender = origin.modality or origin.calling_aet or origin.username or origin.ip or origin.kind
    syntax = syntaxes.named(instance.blob.transfer_syntax)
    return [
        instance.sop_instance_uid, local_time(instance.received_at), sender, instance.sop_class_uid,
        instance.blob.size, syntax,
    ]  # fmt: skip


# -- the story in lines -----------------------------------------------------------------------------------------------


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    shown = facts["instances"]
    more = "" if len(shown) == facts["count"] else f", the first {len(shown)} are told"
    yield f"{facts['name']} is {' and '.join(facts['is'])} of {facts['count']} instance{'s' * (facts['count'] != 1)}{more}"
    for destination, states in facts["destinations"].items():
        delivered = states.get("delivered", 0) + states.get("warning", 0)
        rest = ", ".join(f"{count} {state}" for state, count in sorted(states.items()) if state != "delivered")
        yield f"{destination}: {delivered} of {facts['count']} delivered" + (f" ({rest})" if rest else "")
    for one in shown:
        yield ""
        yield from _instance_lines(one)


def _instance_lines(one: dict[str, Any]) -> Iterator[str]:
    what = f"{one.get('modality') or 'instance'} {one.get('sop_instance_uid', one['id'])}"
    was_stored = any(event["kind"] == "stored_instance" for event in one["events"])
    where = "not stored any more" if was_stored else "not stored"
    if one["stored"]:
        where = f"stored in {one['transfer_syntax']}, {one['size']} bytes"
    yield f"{what}: {where}"
    for event in one["events"]:
        yield from ("  " + line for line in _event_lines(event))
    for delivery in one["other_deliveries"]:
        yield from ("  " + line for line in _delivery_lines(delivery))
    for retrieved in one["retrieved"]:
        yield "  " + _retrieved_words(retrieved)


def _retrieved_words(retrieved: dict[str, Any]) -> str:
    """Say who had an instance sent, to whom, and how it went."""
    asked = f"{retrieved['kind']} by {retrieved['calling_aet']} ({retrieved['ip']})"
    association = f", association {retrieved['association']}" if retrieved["association"] else ""
    answer = retrieved.get("answer") or ("" if retrieved["status"] is None else f"status 0x{retrieved['status']:04X}")
    syntax = f" in {retrieved['sent_syntax']}" if retrieved["sent_syntax"] else ""
    return (
        f"{retrieved['at']} retrieval {retrieved['retrieval']}, {asked} to {retrieved['destination']}{association}:"
        f" {retrieved['outcome']}{syntax}" + (f", {answer}" if answer else "")
    )


def _event_lines(event: dict[str, Any]) -> Iterator[str]:
    again = f", event {event['repeats']} again, for {event['only_for']} alone" if event["repeats"] else ""
    what = f"{event['kind'].replace('_', ' ')}{_arrival_words(event) if event['kind'] in _ARRIVALS else ''}"
    to = f" to {event['destination']}" if event["destination"] else ""
    yield f"{event['at']} {what}{to} (event {event['number']}{again})"
    if event["receipt"]:
        yield f"  ingest: {_receipt_words(event['receipt'])}"
    for run in event["runs"]:
        yield from ("  " + line for line in _run_lines(run))
    if event["without_effect"]:
        yield f"  had it and did nothing: {', '.join(event['without_effect'])}"
    if event["not_yet_had_by"]:
        yield f"  have not had it yet: {', '.join(event['not_yet_had_by'])}"


def _arrival_words(event: dict[str, Any]) -> str:
    sender = f" {_sender_words(event['origin'])}" if event["origin"] else ""
    sender += f" from {event['file']}" if event["file"] else ""
    return sender + (f" in {event['transfer_syntax']}" if event["transfer_syntax"] else "")


def _sender_words(origin: dict[str, Any]) -> str:
    """Say by which way something came and from whom: `by C-STORE from ct1 (CT1, 192.0.2.9) to HOSTD, association 5`."""
    way = {"dicom": "by C-STORE", "http": "by HTTP", "script": "by a script", "import": "by an import"}[origin["kind"]]
    names = [str(origin[key]) for key in ("modality", "calling_aet", "username", "ip") if origin.get(key)]
    sender = f" from {names[0]}" + (f" ({', '.join(names[1:])})" if names[1:] else "") if names else ""
    called = f" to {origin['called_aet']}" if origin.get("called_aet") else ""
    association = f", association {origin['association']}" if origin.get("association") else ""
    return f"{way}{sender}{called}{association}"


def _run_lines(run: dict[str, Any]) -> Iterator[str]:
    yield f"{run['script']} version {run['version'][:_SHORT]}: {run['outcome']}, {1000 * run['seconds']:.0f} ms, at {run['at']}"
    read = run["tags_read"]
    if read:
        # What pixels come to is no value of the header: it is among what was asked.
        names = (
            [name if name == "pixels" else f"{name}={_shown(read[name])}" for name in read]
            if isinstance(read, dict)
            else read
        )
        yield f"  read {', '.join(names)}"
    for asked in run["asked"]:
        yield f"  asked {asked if isinstance(asked, str) else ', '.join(_facts_of(asked))}"
    for level, text in run.get("log", ()):
        yield f"  {level}: {text}"
    if run.get("error"):
        yield f"  error: {run['error']}"
    for action in run["actions"]:
        asked = ", ".join(
            f"{name} {_asked(value)}"
            for name, value in action["inputs"].items()
            if name not in {"x", "line"} and value != _UNSAID.get(name)
        )
        yield f"  {action['position'] + 1}. {action['verb']}{' ' + asked if asked else ''}: {action['state']}"
        if action["delivery"]:
            yield from ("    " + line for line in _delivery_lines(action["delivery"]))
        elif action["tasks"]:
            yield from ("    " + _task_line(task) for task in action["tasks"])
        elif action["result"]:
            yield "    " + ", ".join(f"{name} {value}" for name, value in action["result"].items())


def _task_line(task: dict[str, Any]) -> str:
    said = f"task {task['id']}: {task['state']}, {task['attempts']} {'try' if task['attempts'] == 1 else 'tries'}"
    result = ", ".join(f"{name} {value}" for name, value in (task["result"] or {}).items())
    return said + (f", {result}" if result else "") + (f": {task['last_error']}" if task.get("last_error") else "")


def _facts_of(asked: dict[str, Any]) -> Iterator[str]:
    """Say a question and its answer, of many answers how many there were."""
    for name, value in asked.items():
        yield f"{len(value)} answers" if name == "answers" and isinstance(value, list) else f"{name} {value}"


def _asked(value: Any) -> str:
    is_names = isinstance(value, list) and all(isinstance(one, str) for one in value)
    return " and ".join(value) if is_names else str(value)


def _delivery_lines(delivery: dict[str, Any]) -> Iterator[str]:
    yield f"delivery {delivery['id']} to {delivery['destination']}: {delivery['state']}"
    if delivery["receipt"]:
        yield f"  {_receipt_words(delivery['receipt'])}"
    for attempt in delivery["attempts"]:
        answer = attempt.get("answer") or ("" if attempt["status"] is None else f"status 0x{attempt['status']:04X}")
        yield f"  attempt {attempt['number']} at {attempt['at']}: {attempt['outcome']}" + (
            f", {answer}" if answer else ""
        )


def _receipt_words(receipt: dict[str, Any]) -> str:
    if receipt["outcome"] != "made":
        return f"{receipt['outcome']}{': ' + receipt['reason'] if receipt.get('reason') else ''}"
    return (
        f"{syntaxes.named(receipt['source_syntax'])} to {syntaxes.named(receipt['result_syntax'])}, ratio {receipt['ratio']:.2f},"
        f" by {receipt['codec']} {receipt['codec_version']}, verified: {receipt['verified_by']}"
    )


def _shown(values: list[Any] | None) -> str:
    return "?" if values is None else "\\".join(map(str, values)) or "''"


__all__ = ["explain", "listing"]
