"""The HTTP listener: uvicorn in a thread of its own, on a socket that is bound before anything else begins."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from email.utils import formatdate
from functools import lru_cache

import structlog
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hostd.dimse.tls import ServerTls, Shown
from hostd.errors import NodeError
from hostd.web.sending import Sending

_log = structlog.get_logger(__name__)

_SLOW_S = 10.0
"""Seconds after which the log says that a start takes long: on a machine that stalls it may, and it comes about all the same."""
_FORCED_S = 5.0
_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
"""Milliseconds for which what is sent may be neither acknowledged nor let in by the other side; Linux has it."""


class HttpListener:
    """Serves an app. The port is taken at once, so that a taken one stops a start early; `port` 0 takes a free one."""

    def __init__(
        self, app: ASGIApp, host: str, port: int, tls: ServerTls | None = None, *, idle_s: float = 60.0
    ) -> None:
        """Bind; with `tls` it is HTTPS. A client that takes nothing of its answer for `idle_s` seconds is cut off. Raises `NodeError` when the address cannot be listened on, `ConfigurationError` for its certificates."""
        context = Shown(tls).renewing() if tls is not None else None
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family, backlog=256)
        except OSError as error:
            raise NodeError(
                f"HTTP cannot listen on {host}:{port}: {error.strerror or error}; choose another http.port or http.host"
            ) from error
        # asyncio sets it only of sockets that name their protocol, which these do not; connections have it from this one. Without it a
        # body waits 40 ms for the client to acknowledge its header.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if _USER_TIMEOUT is not None:  # of connections, too; asyncio itself would wait for ever
            self._socket.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, max(1, round(idle_s * 1000)))
        self.port: int = self._socket.getsockname()[1]
        self._config = uvicorn.Config(
            Sending(_dated(app)),
            loop="asyncio",
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            # Who a request comes from decides what it may do: no header may say so.
            proxy_headers=False,
            server_header=False,
            date_header=False,
            headers=[("server", "hostd")],
        )
        self._config.load()
        self._config.ssl = context
        self._server = _Server(self._config)
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    def start(self) -> None:
        """Return once requests are answered, however long that takes. Raises `NodeError` when the server ends before."""
        self._thread.start()
        while not self._server.is_up.wait(_SLOW_S):
            _log.warning("the HTTP face is not up yet: the machine is slow, or stood still")
        if not self._server.started:
            raise NodeError("the HTTP face did not start; the log says why")

    def stop(self, grace_s: float) -> None:
        """Take no more requests, let those under way end for `grace_s` seconds, then cut them. A second call does nothing."""
        self._config.timeout_graceful_shutdown = max(1, round(grace_s))
        self._server.ask_to_stop()
        if self._thread.is_alive():
            self._thread.join(grace_s + _FORCED_S)
        if self._thread.is_alive():
            self._server.force_exit = True
            self._thread.join(_FORCED_S)
            _log.warning("HTTP requests were cut off at the end")
        self._socket.close()

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except Exception:  # noqa: BLE001 - the thread must end in the open, whatever it was
            _log.exception("the HTTP face ended")
        finally:
            self._server.is_up.set()


class _Server(uvicorn.Server):
    """uvicorn, telling when it is up, and asleep while there is no request: by itself it looks ten times a second whether it is to stop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_up = threading.Event()
        self._asked_to_stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def ask_to_stop(self) -> None:
        """Have it stop; from any thread."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._asked_to_stop.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.is_up.set()

    async def main_loop(self) -> None:
        if not await self.on_tick(0):
            await self._asked_to_stop.wait()


def _dated(app: ASGIApp) -> ASGIApp:
    """Give every answer its date (RFC 9110 §6.6.1), which uvicorn would work out each second, asked or not."""

    async def dated(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                date = (b"date", _date(int(time.time())))
                message = {**message, "headers": [*message.get("headers", ()), date]}
            await send(message)

        await app(scope, receive, send_dated)

    return dated


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    """Return a second since 1970 as a header has it."""
    return formatdate(second, usegmt=True).encode()
