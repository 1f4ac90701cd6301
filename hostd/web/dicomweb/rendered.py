"""What is asked of a picture (PS3.18 §8.3.5): its form, the window that it is shown by, its size, and the part of the image that it shows."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from fastapi import Query, Request

from hostd.archive.archive import Archive
from hostd.archive.records import Instance
from hostd.transcoding.messages import Draw
from hostd.transcoding.pixels import COLUMNS, ROWS
from hostd.web import tags
from hostd.web.accepting import preferred
from hostd.web.dicomweb.choosing import not_acceptable
from hostd.web.errors import INCOMPATIBLE_IMAGE_FORMAT, PARAMETER_OUT_OF_RANGE, WebError
from hostd.web.files import opened, parses
from hostd.web.frames import MAX_SIDE, AskedWindow, window_of

Window = Annotated[
    str | None, Query(description="`center,width` or `center,width,function` of a window to show it by.")
]
Viewport = Annotated[
    str | None,
    Query(
        description="`width,height` that a picture must fit into, with `,x,y,width,height` of the part that is drawn."
    ),
]
Region = tuple[int, int, int, int]
"""A part of an image: its first column and row, and how many it has of them, less than 0 for those in reverse order."""
Quality = Annotated[int, Query(ge=1, le=100, description="How good a JPEG is to be.")]


def job_of(
    request: Request,
    archive: Archive,
    instance: Instance,
    number: int,
    window: str | None,
    viewport: str | None,
    quality: int,
) -> Draw:
    """Return how a frame (from 0) is to be drawn. Raises `WebError` for what cannot be."""
    asked = request.query_params.get("accept") or request.headers.get("accept")
    kind = preferred(asked, ("image/jpeg", "image/png"))
    if kind is None:
        raise not_acceptable("pictures are image/jpeg or image/png")
    form: Literal["png", "jpeg"] = "png" if kind == "image/png" else "jpeg"
    return Draw(number, "rendered", form, quality, _window(window), *_viewport(viewport, archive, instance))


def _window(text: str | None) -> AskedWindow | None:
    if not text:
        return None
    parts = text.split(",")
    functions = {
        "linear": "LINEAR",
        "linear-exact": "LINEAR_EXACT",
        "linear_exact": "LINEAR_EXACT",
        "sigmoid": "SIGMOID",
    }
    function = functions.get(parts[2].strip().lower()) if len(parts) == 3 else "LINEAR"
    try:
        center, width = float(parts[0]), float(parts[1])
    except (ValueError, IndexError):
        function = None
    if function is None or not 2 <= len(parts) <= 3:
        raise WebError(
            400, PARAMETER_OUT_OF_RANGE, "a window is center,width or center,width,function (PS3.18 §8.3.5.1.4)"
        )
    return window_of(center, width, function)


def _viewport(text: str | None, archive: Archive, instance: Instance) -> tuple[int, int, Region | None]:
    """Return what a viewport says of a picture: the columns and rows that it must fit into, and the part that is drawn."""
    if not text:
        return 0, 0, None
    sides, region = text.split(",")[:2], text.split(",")[2:]
    are_sides = all(one.isascii() and one.isdigit() and len(one) < 10 and 0 < int(one) <= MAX_SIDE for one in sides)
    if len(sides) != 2 or not are_sides or len(region) > 4:
        raise _no_viewport()
    columns, rows = map(int, sides)
    if not any(region):
        return columns, rows, None
    own_columns, own_rows = _size(archive, instance)
    left, top, width, height = (*region, "", "", "")[:4]
    (column, across), (row, down) = _extent(left, width, own_columns), _extent(top, height, own_rows)
    return columns, rows, (column, row, across, down)


def _extent(first: str, length: str, size: int) -> tuple[int, int]:
    """Return where a part of so many pixels begins, and how many it has, less than 0 for one that is turned about.

    What is left out reaches from the first to the last. A pixel of which a part is asked for is drawn as a whole.
    """
    try:
        begin = float(first or 0)
        extent = float(length) if length else size - begin
    except ValueError as error:
        raise _no_viewport() from error
    if not 0 <= begin < begin + abs(extent) <= size:
        raise _no_viewport()
    count = math.ceil(begin + abs(extent)) - math.floor(begin)
    return math.floor(begin), count if extent > 0 else -count


def _size(archive: Archive, instance: Instance) -> tuple[int, int]:
    """Return how many columns and rows an image has."""
    parses(instance)
    with opened(archive, instance) as file:
        elements = tags.read_elements(file)
    columns, rows = (elements.get(tag, ("", None))[1] for tag in (COLUMNS, ROWS))
    match columns, rows:
        case [int(width), *_], [int(height), *_]:
            return width, height
    raise WebError(415, INCOMPATIBLE_IMAGE_FORMAT, "the header does not say how large the image is")


def _no_viewport() -> WebError:
    return WebError(
        400, PARAMETER_OUT_OF_RANGE,
        f"a viewport is width,height, each from 1 to {MAX_SIDE}, or width,height,x,y,width,height, of which the last four name a part inside"
        " of the image (PS3.18 §8.3.5.1.3)",
    )  # fmt: skip
