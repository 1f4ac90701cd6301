"""JSON as this face writes it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

_SLICE = 1 << 18
"""Bytes that are handed to the network at one time."""
_SMALL = 1 << 14
"""Bytes below which a piece is rather copied than sent by itself."""


def encoded(content: Any) -> bytes:
    """Return the text of an answer in JSON; what is not Unicode in a damaged file is replaced."""
    try:
        return msgspec.json.encode(content)  # in a tenth of the time
    except UnicodeEncodeError:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")


class JsonResponse(Response):
    """An answer in JSON, with the content type that Orthanc gives."""

    media_type = "application/json; charset=utf-8"

    def render(self, content: Any) -> bytes:
        """Return the text."""
        return encoded(content)


class WholeResponse(Response):
    """An answer of large pieces that are all there, and not copied: of what the network cannot take at once only a slice is."""

    def __init__(self, pieces: Iterable[bytes], *, media_type: str, headers: Mapping[str, str] | None = None) -> None:
        """`headers` have the Content-Length."""
        super().__init__(None, media_type=media_type, headers=headers)
        self._pieces = _gathered(iter(pieces), sys.maxsize)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await _send(self._pieces[:-1], send)
        *slices, last = _slices(self._pieces[-1] if self._pieces else b"")
        for piece in slices:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": last, "more_body": False})


class PiecesResponse(StreamingResponse):
    """An answer of pieces that are made in another thread as it is sent, as many at a time as make up for the change of threads."""

    def __init__(self, pieces: Iterable[bytes], *, media_type: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__((), media_type=media_type, headers=headers)
        self._pieces = iter(pieces)

    async def stream_response(self, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        while some := await run_in_threadpool(_gathered, self._pieces, _SLICE):
            await _send(some, send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _gathered(pieces: Iterator[bytes], enough: int) -> list[bytes]:
    """Return the next pieces, up to so many bytes and small ones joined; none at the end."""
    found: list[bytes] = []
    small: list[bytes] = []
    length = 0
    for piece in pieces:
        length += len(piece)
        if len(piece) < _SMALL:
            small.append(piece)
        else:
            found += [b"".join(small), piece] if small else [piece]
            small = []
        if length >= enough:
            break
    return [*found, b"".join(small)] if small else found


async def _send(pieces: Sequence[bytes], send: Send) -> None:
    for piece in pieces:
        for part in _slices(piece):
            await send({"type": "http.response.body", "body": part, "more_body": True})


def _slices(piece: bytes) -> list[memoryview]:
    """Return a piece in slices, at least one."""
    view = memoryview(piece)
    return [view[start : start + _SLICE] for start in range(0, len(view) or 1, _SLICE)]


def iso_time(at: float | None) -> str | None:
    """Return a time of the index (seconds since 1970 UTC) in ISO 8601 with its zone, to the millisecond."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def orthanc_time(at: float) -> str:
    """Return a time of the index as Orthanc writes it, in UTC: `20260131T235959.000000`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%S.%f")
