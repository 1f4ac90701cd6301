"""`hostd status`: what a node holds and how far it is, from its index, whether it runs or not."""

from __future__ import annotations

from collections import Counter
from typing import Any

import typer
from sqlalchemy import Connection

from hostd.archive import deliveries, events, instances, leases, tasks
from hostd.archive import scripts as rows
from hostd.archive.archive import attach
from hostd.cli.config import AsJson
from hostd.cli.looking import Config, print_json, settings_of
from hostd.config.sections import Script
from hostd.config.settings import Settings
from hostd.errors import ScriptError
from hostd.sandbox.jail import LAYERS
from hostd.scripting.loading import Names, load_frame
from hostd.scripting.runtime import ScriptWorker


def status(config: Config = None, as_json: AsJson = False) -> None:
    """Show what a node holds and how far it is: instances, events, deliveries, scripts, and how scripts are isolated here."""
    settings = settings_of(config)
    with attach(settings.node.place) as connection:
        facts = _facts(settings, connection)
    facts["isolation"] = _isolation(settings)
    if as_json:
        print_json(facts)
        return
    for line in _sentences(facts):
        typer.echo(line)


def _facts(settings: Settings, connection: Connection) -> dict[str, Any]:
    known = rows.known(connection)
    states: dict[str, int] = {}
    for script in known:
        states[script.standing] = states.get(script.standing, 0) + 1
    return {
        "name": settings.node.name,
        "data": str(settings.node.data),
        "dicom": _address(settings.dicom.enabled, settings.dicom.host, settings.dicom.port),
        "http": _address(settings.http.enabled, settings.http.host, settings.http.port),
        "instances": instances.count(connection),
        "events": events.last_number(connection),
        "deliveries": _by_state(deliveries.counts(connection)),
        "nodes": _nodes(settings, connection),
        "leases": _leases(settings, connection),
        "actions": tasks.counts(connection),
        "scripts": states,
        "troubled_scripts": {script.name: script.trouble for script in known if script.trouble is not None},
    }


def _nodes(settings: Settings, connection: Connection) -> dict[str, str]:
    """Return the nodes on a shared index, and whether each runs."""
    return {one.who: one.state for one in _known_leases(settings, connection) if one.what.startswith(leases.NODE)}


def _leases(settings: Settings, connection: Connection) -> dict[str, str]:
    """Return what is leased by which node now, on a shared index."""
    found = _known_leases(settings, connection)
    return {one.what: one.who for one in found if one.left_s > 0 and not one.what.startswith(leases.NODE)}


def _known_leases(settings: Settings, connection: Connection) -> list[leases.Lease]:
    return leases.listing(connection, 0.0) if settings.node.database is not None else []


def _by_state(counts: dict[str, dict[str, int]]) -> dict[str, int]:
    """Add up what is counted by destination."""
    total: Counter[str] = Counter()
    for of_one in counts.values():
        total.update(of_one)
    return dict(sorted(total.items()))


def _address(enabled: bool, host: str, port: int) -> str | None:
    return f"{host}:{port}" if enabled else None


def _isolation(settings: Settings) -> dict[str, Any]:
    """Say what is asked for, and what a worker that is started here and now gets."""
    asked = settings.scripting.isolation
    frame = load_frame("(isolation check)", "", Script(), Names(), str)
    try:
        worker = ScriptWorker.start(frame, isolation="best-effort")
    except ScriptError as error:
        return {"asked": asked, "layers": {}, "error": str(error)}
    worker.stop()
    return {"asked": asked, "layers": worker.layers, "error": None}


def _sentences(facts: dict[str, Any]) -> list[str]:
    counted = ", ".join(f"{count} {state}" for state, count in facts["deliveries"].items()) or "none"
    scripts = ", ".join(f"{count} {state}" for state, count in facts["scripts"].items()) or "none"
    actions = ", ".join(f"{count} {state}" for state, count in facts["actions"].items()) or "none"
    isolation = facts["isolation"]
    there = ", ".join(layer for layer in LAYERS if isolation["layers"].get(layer)) or "nothing"
    missing = ", ".join(layer for layer in LAYERS if not isolation["layers"].get(layer))
    lines = [
        f"node {facts['name']}, data in {facts['data']}",
        f"DICOM on {facts['dicom'] or 'no port (off)'}, HTTP on {facts['http'] or 'no port (off)'}",
        f"{facts['instances']} instances, {facts['events']} events so far",
        f"deliveries: {counted}",
        *(f"node {name} {state}" for name, state in facts["nodes"].items()),
        *(f"{what} is held by {who}" for what, who in facts["leases"].items()),
        f"actions after runs: {actions}",
        f"scripts: {scripts}",
        *(f"  {name}: {error}" for name, error in facts["troubled_scripts"].items()),
        f"isolation of scripts ({isolation['asked']}): {there}" + (f"; this system lacks {missing}" if missing else ""),
    ]
    return [*lines, f"  no worker could be started: {isolation['error']}"] if isolation["error"] else lines
