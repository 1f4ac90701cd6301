"""Lists in JSON that may be long: whole where they are short, and else in pieces as they are found."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from hostd.web.bulk import json_list
from hostd.web.responses import PiecesResponse

_PIECE = 64 << 10
"""Bytes that are sent at one time: each piece is fetched from another thread."""


async def listed(found: Iterator[Any], media_type: str) -> Response:
    """Return the answer that gives what is found as a list. What goes wrong before its first piece is there is raised."""
    pieces = _pieces(json_list(found))
    begun = await run_in_threadpool(lambda: list(islice(pieces, 2)))
    if len(begun) < 2:
        return Response(b"".join(begun), media_type=media_type)
    return PiecesResponse(chain(begun, pieces), media_type=media_type)


def _pieces(encoded: Iterator[bytes]) -> Iterator[bytes]:
    piece = bytearray()
    for one in encoded:
        piece += one
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)
