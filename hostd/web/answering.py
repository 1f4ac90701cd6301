"""The outermost layer: no exception gets past it, a sender that is refused gets to read why, and a "/" at the end of a path, or behind another, says nothing."""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hostd.web.errors import answer, unknown_resource

_SLASHES = re.compile("/{2,}")
_READ_AWAY = 16 << 20
_READ_AWAY_S = 5.0

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),  # patients' data must not lie about in caches
)


class Answering:
    """Wraps the app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI's
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if "//" in path or (len(path) > 1 and path.endswith("/")):  # Orthanc's clients write some paths so
            scope = {**scope, "path": _SLASHES.sub("/", path).rstrip("/") or "/"}
        exchange = _Exchange(Request(scope), receive, send)
        try:
            if (
                "\n" in path
            ):  # the pattern of a route ends before a last line break too, and what a role may do is told by the whole path
                raise unknown_resource("no path has a line break in it")
            await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:
            if exchange.has_begun:  # too late to say anything: the connection is cut, so that nobody takes it for whole
                raise
            await answer(exchange.request, error)(scope, exchange.receive, exchange.send)


class _Exchange:
    """One request and its answer."""

    def __init__(self, request: Request, receive: Receive, send: Send) -> None:
        self.request = request
        self.has_begun = False
        self._receive = receive
        self._send = send
        self._has_asked = False
        self._is_read = False

    async def receive(self) -> Message:
        self._has_asked = True
        message = await self._receive()
        self._is_read = self._is_read or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if message["status"] >= 400 and message["status"] != HTTPStatus.REQUEST_TIMEOUT:
                await self._read_away()
            self.has_begun = True
            message = {**message, "headers": [*message["headers"], *_HEADERS]}
        await self._send(message)

    async def _read_away(self) -> None:
        """Take in the rest of a small body: a connection closed on unread data may lose the answer on its way."""
        waits = "expect" in self.request.headers and not self._has_asked
        if waits or not self._has_body():
            return
        room = _READ_AWAY
        try:
            async with asyncio.timeout(_READ_AWAY_S):
                while not self._is_read and room > 0:
                    room -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            return

    def _has_body(self) -> bool:
        headers = self.request.headers
        return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
