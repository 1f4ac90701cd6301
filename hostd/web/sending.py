"""Long answers, sent by threads: each hands what it sends to the network itself, and has the system send parts of files.

On the event loop one thread would copy for all clients, and wait for the loop between two pieces. A thread sends as long as the client
takes what comes, and a quarter of a second at most; meanwhile, and while the client takes nothing, the connection waits without one.
"""

from __future__ import annotations

import asyncio
import select
import socket
import time
from collections.abc import Iterable, Iterator
from itertools import chain

import anyio.to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from hostd.web.spans import Piece, Span

PIECES = "hostd.response.pieces"
"""The extension of ASGI: where a scope has it, `pieces` of a body whose length the header told may be sent as one message of this type.

An empty body must follow.
"""
SMALL = 1 << 14
"""Bytes below which a piece is sent with the one that follows."""

_THREADS = 16
"""Threads that send at one time, of all connections; they are not of those in which requests are worked on."""
_TURN_S = 0.25
"""Seconds after which a thread serves others, if there are any."""
_PATIENCE_MS = 20
"""Milliseconds for which a thread waits for a client. One that reads as fast as it can takes something within one."""
_MORE: int = getattr(socket, "MSG_MORE", 0)
"""More follows at once: Linux sends it together."""
_MOST_BUFFERS = 64
"""Pieces that are sent as one, at most: a system takes 1024 (IOV_MAX)."""


class Sending:
    """Offers the extension to an app that is served by uvicorn, but where the connection is encrypted: only the event loop can do that."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._threads = anyio.CapacityLimiter(_THREADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI's
        cycle = getattr(send, "__self__", None)
        if scope["type"] != "http" or scope["scheme"] != "http" or not isinstance(cycle, RequestResponseCycle):
            await self._app(scope, receive, send)
            return

        async def send_any(message: Message) -> None:
            if message["type"] == PIECES:
                await self._send_body(cycle, message["pieces"])
            else:
                await send(message)

        scope.setdefault("extensions", {})[PIECES] = {}
        await self._app(scope, receive, send_any)

    async def _send_body(self, cycle: RequestResponseCycle, pieces: Iterable[Piece]) -> None:
        """Send a body. Raises what the pieces raise; what the client does is no error."""
        await _flush(cycle)
        if cycle.disconnected:
            return
        # A duplicate: the transport closes its own when the client has gone, and the number may be another connection's then.
        with cycle.transport.get_extra_info("socket").dup() as connection:
            body = _Body(connection, pieces)
            try:
                while not body.has_ended:
                    cycle.expected_content_length -= await anyio.to_thread.run_sync(body.send, limiter=self._threads)
                    if body.waits:
                        await _until_writable(connection)
            except _GoneError:
                cycle.transport.abort()
                await asyncio.sleep(0)  # uvicorn is told, and takes what follows for what nobody waits for


async def _flush(cycle: RequestResponseCycle) -> None:
    """Return when all that was sent before is with the system: what a thread sends must not overtake it."""
    cycle.transport.set_write_buffer_limits(high=0)
    await cycle.flow.drain()
    cycle.transport.set_write_buffer_limits()


async def _until_writable(connection: socket.socket) -> None:
    """Return when the client has taken something, or has gone."""
    loop, is_writable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_writer(connection, is_writable.set)
    try:
        await is_writable.wait()
    finally:
        loop.remove_writer(connection)


class _GoneError(Exception):
    """There is nobody to send to any more."""


class _Body:
    """What is left of a body, and where it goes."""

    def __init__(self, connection: socket.socket, pieces: Iterable[Piece]) -> None:
        self.has_ended = False
        self.waits = False
        """Whether the client took nothing at the end of the last turn."""
        self._connection = connection
        self._writable = select.poll()
        self._writable.register(connection, select.POLLOUT)
        self._pieces = iter(pieces)
        self._begun: list[bytes | memoryview] = []
        """Pieces that are on their way, less what was sent of the first."""
        self._span: Span | None = None
        """The part of a file that follows them, less what was sent of it."""

    def send(self) -> int:
        """Send for one turn; return how many bytes. Raises `_GoneError`, and what the pieces raise."""
        until = time.monotonic() + _TURN_S
        total = 0
        self.waits = False
        while not self.waits:
            if not self._begun and self._span is None:
                self._begun, self._span = _some(self._pieces)
            if not self._begun and self._span is None:
                self.has_ended = True
                break
            try:
                sent = self._sent_some()
            except BlockingIOError:
                self.waits = not self._writable.poll(_PATIENCE_MS)
                continue
            except OSError as error:
                raise _GoneError from error
            total += sent
            if time.monotonic() >= until:
                break
        return total

    def _sent_some(self) -> int:
        """Send what the connection takes at once of what has begun; return how many bytes. Raises `OSError`."""
        if self._begun or self._span is None:
            sent = self._connection.sendmsg(self._begun, (), 0 if self._span is None else _MORE)
            self._pass(sent)
            return sent
        sent = self._span.sent_to(self._connection)
        left = self._span.after(sent)
        self._span = left if sent and left.length else None
        if not sent:  # reading it tells why
            self._pieces = chain(left.pieces(), self._pieces)
        return sent

    def _pass(self, sent: int) -> None:
        while self._begun and sent >= len(self._begun[0]):
            sent -= len(self._begun.pop(0))
        if sent:
            self._begun[0] = memoryview(self._begun[0])[sent:]


def _some(pieces: Iterator[Piece]) -> tuple[list[bytes | memoryview], Span | None]:
    """Return the next piece, with all small ones before it: the last apart where it is in a file. Nothing at the end."""
    found: list[bytes | memoryview] = []
    for piece in pieces:
        if isinstance(piece, Span):
            if piece.length >= SMALL:
                return found, piece
            found += piece.pieces()
            continue
        if piece:
            found.append(piece)
        if len(piece) >= SMALL or len(found) >= _MOST_BUFFERS:
            break
    return found, None
