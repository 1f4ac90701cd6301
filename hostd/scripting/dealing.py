"""From what a script decided about deliveries, and about quiet time, to what is entered."""

from __future__ import annotations

from collections.abc import Callable

from hostd.archive.fanout import Many
from hostd.archive.handling import PlannedDeal
from hostd.archive.quieting import PlannedStable
from hostd.archive.records import Event
from hostd.archive.tasks import PlannedTask
from hostd.errors import ScriptError
from hostd.jobs.dealing import QUEUE
from hostd.sandbox import acts

_ABOUT_A_DESTINATION = ("destination_down", "destination_up")


def planned(
    position: int, action: acts.Deal, event: Event, destinations: Callable[[str], str], skip: str | None
) -> PlannedDeal | PlannedTask:
    """Return what is entered of a decision about the delivery or the destination of an event. Raises `HostdError`."""
    inputs = {"line": action.line} | ({"to": action.to} if action.to else {})
    to = destinations(action.to) if action.verb == "redirect" else ""
    if action.delivery is not None:
        if (event.facts or {}).get("delivery") != action.delivery:
            raise ScriptError("only the delivery of the event can be dealt with")
        return PlannedDeal(position, inputs | {"delivery": action.delivery}, action.verb, action.delivery, to, skip)
    if event.kind not in _ABOUT_A_DESTINATION:
        raise ScriptError("only the destination of the event can be dealt with")
    details = {"destination": event.subject, "verb": action.verb, "to": to, "event": event.number}
    inputs |= {"destination": event.subject}
    return PlannedTask(position, inputs, action.verb, QUEUE, details=details, skip=skip)


def stable(position: int, action: acts.DeclareStable, of: Many | None) -> PlannedStable:
    """Return what is entered of `declare_stable`. Raises `ScriptError` for what is no level."""
    if of is None or of.instance:
        raise ScriptError("only a series, study or patient is stable")
    return PlannedStable(position, {"x": action.x, "line": action.line}, of)


def sentence(deal: PlannedDeal | PlannedTask) -> str:
    """Say in words what is decided."""
    if isinstance(deal, PlannedDeal):
        what, to = f"delivery {deal.delivery}", deal.to
    else:
        what, to = f"what waits for {deal.details['destination']}", deal.details["to"]
    said = f"{deal.verb} {what}" + (f" to {to}" if to else "")
    return said if deal.skip is None else f"{said}: nothing is done, {deal.skip}"
