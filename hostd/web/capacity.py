"""How many requests are worked on at one time: what is more is told to come again, so that memory is bounded whoever calls."""

from __future__ import annotations

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from hostd.web.errors import NOT_ENOUGH_MEMORY, Problem

_log = structlog.get_logger(__name__)

_TOO_MANY = Problem(
    503, NOT_ENOUGH_MEMORY, "too many requests at one time (http.max_requests): ask again", {"Retry-After": "1"}
)


class Capacity:
    """Passes on so many requests at one time; others are refused before anything is done for them."""

    def __init__(self, app: ASGIApp, *, requests: int) -> None:
        self._app = app
        self._most = requests
        self._under_way = 0
        self._has_told = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI's
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._under_way >= self._most:
            if not self._has_told:  # once until it is better: the log is not to be filled by whoever calls too often
                self._has_told = True
                _log.warning("requests are refused: too many at one time", max_requests=self._most)
            request = Request(scope)
            await _TOO_MANY.response(request.method, request.url.path)(scope, receive, send)
            return
        self._under_way += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way -= 1
            self._has_told = self._has_told and self._under_way > self._most // 2
