"""`/series/{id}/ordered-slices`: the frames of a series in the order in which they lie, or else in that of their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from hostd.archive.archive import Archive
from hostd.archive.records import Instance
from hostd.web.errors import BAD_SEQUENCE_OF_CALLS, WebError
from hostd.web.forms import index_in_series
from hostd.web.frames import counted, frame_count
from hostd.web.resources import instances_of
from hostd.web.responses import JsonResponse

_PARALLEL = 1e-4
"""How far the normals of two slices may be apart that belong to one volume."""


def slice_routes(archive: Archive) -> APIRouter:
    """Return the route."""
    router = APIRouter(prefix="/series/{identifier}", tags=["series"])

    @router.get("/ordered-slices", summary="List its frames in the order in which they lie, or that of their numbers")
    def ordered_slices(identifier: str) -> Response:
        with archive.read() as connection:
            members = instances_of(connection, "series", identifier)
        volume = by_position(members)
        ordered = volume or by_number(members)
        if ordered is None:
            raise WebError(500, BAD_SEQUENCE_OF_CALLS, "the instances have neither positions nor different numbers")
        return JsonResponse(slices_form(ordered, is_volume=volume is not None))

    return router


def ordered(members: Sequence[Instance]) -> list[Instance]:
    """Return the instances of a series in the order in which they lie, or that of their numbers, or of their identifiers."""
    return by_position(members) or by_number(members) or list(members)


def slices_form(instances: Sequence[Instance], *, is_volume: bool) -> dict[str, Any]:
    """Return the frames of these instances in Orthanc's form. Raises `WebError` for too many."""
    counts = [(one.id, count) for one, count in counted(instances)]
    return {
        "Dicom": [f"/instances/{one}/file" for one, _ in counts],
        "Slices": [f"/instances/{one}/frames/{frame}" for one, count in counts for frame in range(count)],
        "SlicesShort": [[one, 0, count] for one, count in counts],
        "Type": "Volume" if is_volume else "Sequence",
    }


def by_position(members: Sequence[Instance]) -> list[Instance] | None:
    """Return parallel slices as they lie along their normal; None where they are no volume: one alone, without a position, or two at one."""
    placed: list[tuple[float, Instance]] = []
    normal: list[float] | None = None
    for one in members:
        position = _numbers(one.attributes["instance"].get("ImagePositionPatient", ""), 3)
        own = _normal(
            one.attributes["instance"].get("ImageOrientationPatient")
            or one.attributes["series"].get("ImageOrientationPatient", "")
        )
        if position is None or own is None or frame_count(one) != 1:
            return None
        normal = normal or own
        if any(abs(a - b) > _PARALLEL for a, b in zip(normal, own, strict=True)):
            return None
        placed.append((sum(a * b for a, b in zip(normal, position, strict=True)), one))
    if len(placed) < 2 or len({at for at, _ in placed}) < len(placed):
        return None
    return [one for _, one in sorted(placed, key=lambda pair: pair[0])]


def by_number(members: Sequence[Instance]) -> list[Instance] | None:
    """Return the instances in the order of their numbers, None where one has none, or two have the same."""
    numbers = {index_in_series(one): one for one in members}
    if None in numbers or len(numbers) < len(members):
        return None
    return [numbers[number] for number in sorted(number for number in numbers if number is not None)]


def _normal(text: str) -> list[float] | None:
    """Return the normal of the plane that a text of six direction cosines spans (PS3.3 §C.7.6.2.1.1)."""
    found = _numbers(text, 6)
    if found is None:
        return None
    (a, b, c), (d, e, f) = found[:3], found[3:]
    return [b * f - c * e, c * d - a * f, a * e - b * d]


def _numbers(text: str, count: int) -> list[float] | None:
    try:
        found = [float(part) for part in text.split("\\")]
    except ValueError:
        return None
    return found if len(found) == count else None
