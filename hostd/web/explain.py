"""`/explain`: what became of an image, a series, a study or a patient. hostd's own, in Orthanc's manner."""

from __future__ import annotations

from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from hostd.archive import history
from hostd.archive.archive import Archive
from hostd.archive.telling import plain
from hostd.web.errors import unknown_resource
from hostd.web.parameters import Newest
from hostd.web.responses import JsonResponse


def explain_routes(archive: Archive) -> APIRouter:
    """Return the route of explanations."""
    router = APIRouter(prefix="/explain", tags=["explain"])

    @router.get("/{name}", summary="Tell what became of an instance, or of all of a series, study or patient")
    def explain(
        name: str,
        phi: Annotated[bool, Query(description="Whether patients' data are in the answer.")] = True,
        limit: Newest = 1000,
    ) -> Response:
        with archive.read() as connection:
            found = history.named(connection, name)
            ids = list(dict.fromkeys(chain.from_iterable(found.values())))
            told = plain([history.of(connection, one) for one in ids[:limit]], phi=phi)
        if not ids:
            raise unknown_resource()
        return JsonResponse(
            {
                "Name": history.shown_name(name, found, phi=phi),
                "Is": list(found),
                "Count": len(ids),
                **_in_orthancs_manner(told),
            }
        )

    return router


def _in_orthancs_manner(told: dict[str, Any]) -> dict[str, Any]:
    """Return it with its own keys as Orthanc spells them; what scripts, senders and elements are called is left alone."""
    return {
        "Instances": [_spelled(instance) for instance in told["instances"]],
        "Destinations": told["destinations"],
    }


_LEFT_ALONE = frozenset(("origin", "metadata", "tags_read", "inputs", "result"))


def _spelled(value: Any, key: str = "") -> Any:
    if isinstance(value, list) and key not in _LEFT_ALONE:
        return [_spelled(item) for item in value]
    if isinstance(value, dict) and key not in _LEFT_ALONE:
        return {_spelling(name): _spelled(item, name) for name, item in value.items()}
    return value


def _spelling(name: str) -> str:
    words = name.split("_")
    return "".join({"sop": "SOP", "uid": "UID", "id": "ID"}.get(word, word.capitalize()) for word in words)
