"""JSON as this face writes it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from hostd.web.sending import SMALL
from hostd.web.spans import Piece, in_bytes

_SLICE = 1 << 18
"""Bytes that are handed to the network at one time."""


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

    def __init__(self, pieces: Iterable[Piece], *, media_type: str, headers: Mapping[str, str] | None = None) -> None:
        """`headers` have the Content-Length."""
        super().__init__(None, media_type=media_type, headers=headers)
        slices = _Slices()
        self._slices = [*slices.of(in_bytes(pieces)), slices.rest()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        last = self._slices.pop()
        for one in self._slices:
            await send({"type": "http.response.body", "body": one, "more_body": True})
        await send({"type": "http.response.body", "body": last, "more_body": False})


class PiecesResponse(StreamingResponse):
    """An answer of pieces that are made as it is sent: in another thread, as many at a time as make up for the change of threads."""

    def __init__(self, pieces: Iterable[Piece], *, media_type: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__((), media_type=media_type, headers=headers)
        self.pieces = iter(pieces)

    async def stream_response(self, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        slices, content = _Slices(), in_bytes(self.pieces)
        while some := await run_in_threadpool(_gathered, content):
            for one in slices.of(some):
                await send({"type": "http.response.body", "body": one, "more_body": True})
        await send({"type": "http.response.body", "body": slices.rest(), "more_body": False})


def _gathered(pieces: Iterator[bytes]) -> list[bytes]:
    """Return the next pieces, a slice of them or more, with small ones joined; none at the end."""
    found: list[bytes] = []
    small: list[bytes] = []
    length = 0
    for piece in pieces:
        length += len(piece)
        if len(piece) < SMALL:
            small.append(piece)
        else:
            found += [b"".join(small), piece] if small else [piece]
            small = []
        if length >= _SLICE:
            break
    return [*found, b"".join(small)] if small else found


class _Slices:
    """Cuts large pieces into slices, which are not copied; small pieces, and small ends of large ones, are joined with what follows."""

    def __init__(self) -> None:
        self._small: list[bytes | memoryview] = []

    def of(self, pieces: Iterable[bytes]) -> Iterator[bytes | memoryview]:
        """Yield the slices of the next pieces."""
        for piece in pieces:
            if len(piece) < SMALL:
                self._small.append(piece)
                continue
            if any(self._small):
                yield self.rest()
            view = memoryview(piece)
            end = len(view) % _SLICE if len(view) % _SLICE < SMALL else 0
            for start in range(0, len(view) - end, _SLICE):
                yield view[start : start + _SLICE]
            if end:
                self._small.append(view[-end:])

    def rest(self) -> bytes:
        """Return what is left to be sent."""
        joined = b"".join(self._small)
        self._small.clear()
        return joined


def iso_time(at: float | None) -> str | None:
    """Return a time of the index (seconds since 1970 UTC) in ISO 8601 with its zone, to the millisecond."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def orthanc_seconds(at: float) -> str:
    """Return a time (seconds since 1970 UTC) as Orthanc mostly writes it, in UTC: `20260131T235959`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%S")


def orthanc_microseconds(at: float) -> str:
    """Return a time (seconds since 1970 UTC) as Orthanc writes it of jobs, in UTC: `20260131T235959.000000`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%S.%f")
