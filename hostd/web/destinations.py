"""`/destinations`: how each does, what waits for it, and whether it answers. hostd's own, in Orthanc's manner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from hostd.archive import acceptance, backlog
from hostd.archive.acceptance import Remembered
from hostd.archive.archive import Archive
from hostd.archive.backlog import Standing
from hostd.delivery.destinations import Destination
from hostd.errors import DestinationFault
from hostd.web.errors import unknown_resource
from hostd.web.responses import JsonResponse, iso_time

Destinations = Callable[[], Mapping[str, Destination]]
"""Gives the destinations of the configuration as it is now, by `kind:name`."""


def destination_routes(archive: Archive, destinations: Destinations) -> APIRouter:
    """Return the routes of destinations."""
    router = APIRouter(prefix="/destinations", tags=["destinations"])

    @router.get("", summary="List destinations, with what waits for each and how it does")
    def listing() -> Response:
        configured = destinations()
        with archive.read() as connection:
            found = backlog.standings(connection, tuple(configured), archive.clock.now())
        return JsonResponse([_form(one, one.name in configured) for one in found])

    @router.get("/{name}", summary="Show a destination, and what it accepted when it was last sent to")
    def describe(name: str) -> Response:
        configured = destinations()
        with archive.read() as connection:
            standings = backlog.standings(connection, tuple(configured), archive.clock.now())
            learnt = acceptance.listing(connection, name)
        found = next((one for one in standings if one.name == name), None)
        if found is None:
            raise unknown_resource()
        return JsonResponse(_form(found, name in configured) | {"Accepts": [_learnt_form(one) for one in learnt]})

    @router.post("/{name}/test", summary="Ask a destination whether it answers, and what it accepts")
    def test(name: str) -> Response:
        destination = destinations().get(name)
        if destination is None:
            raise unknown_resource()
        try:
            said, error = destination.examine(), None
        except DestinationFault as fault:
            said, error = [], str(fault)
        return JsonResponse({"Destination": name, "Answers": error is None, "Said": said, "Error": error})

    return router


def _learnt_form(one: Remembered) -> dict[str, Any]:
    return {
        "SOPClassUID": one.sop_class_uid,
        "Accepted": list(one.acceptance.accepted),
        "Refused": list(one.acceptance.refused),
        "Time": iso_time(one.at),
    }


def _form(one: Standing, configured: bool) -> dict[str, Any]:
    return {
        "Destination": one.name,
        "Configured": configured,
        "FailingSince": iso_time(one.failing_since),
        "FailingWhy": one.failing_why,
        "Backlog": one.backlog,
        "Oldest": iso_time(one.oldest_at),
        "Deliveries": one.states,
        "InstancesPerSecond": round(one.instances_per_s, 3),
        "BytesPerSecond": round(one.bytes_per_s),
        "LastError": one.last_error,
    }
