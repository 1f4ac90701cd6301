"""Who may ask for what: users, roles, and what a browser may be tricked into (docs/http.md "Who may do what")."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Protocol
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hostd.config.loopback import is_loopback
from hostd.config.passwords import check_password, recall_password
from hostd.config.sections import User
from hostd.detail import DETAIL
from hostd.intake.filtering import Judgement
from hostd.web.errors import FORBIDDEN, UNAUTHORIZED, Problem
from hostd.web.roles import needed_role, suffices

_log = structlog.get_logger(__name__)

Users = Callable[[], Mapping[str, User]]
"""Gives the users of the configuration as it is now."""

_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie"})


class RequestFilters(Protocol):
    """What asks the filters about a request (`hostd.scripting.filters.Filters`)."""

    def has_request_filters(self) -> bool:
        """Tell at once whether requests are filtered."""
        ...

    def request(
        self, *, method: str, uri: str, ip: str | None, username: str | None, headers: Mapping[str, str]
    ) -> Judgement | None:
        """Return what they say, which may take a while. A filter that fails refuses."""
        ...


_CHANGES_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})

_CHALLENGE = Problem(
    401, UNAUTHORIZED, "sign in with Basic authentication", {"WWW-Authenticate": 'Basic realm="Orthanc Secure Area"'}
)


class Guard:
    """Refuses requests before any route sees them; one that passes has `scope["state"]` with `username`, None without users, and `role`.

    Without users everything is allowed, but only to this machine: both the client's address and the name by which it calls the
    host must be of loopback, or one of `hosts`. The name matters because a foreign page can make its own name point here
    (DNS rebinding) and would then count as the same site.

    What `filters` say comes last. They are not asked about a user of the role "admin" on this machine, who may have to mend one.
    """

    def __init__(
        self, app: ASGIApp, *, users: Users, hosts: Collection[str], filters: RequestFilters | None = None
    ) -> None:
        self._app = app
        self._filters = filters
        self._users = users
        self._hosts = frozenset(host.lower() for host in hosts)
        # Checks of guessed passwords wait for each other, not for the threads that uploads use.
        self._checks = anyio.CapacityLimiter(4)
        self._filterings = anyio.CapacityLimiter(16)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI's
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if DETAIL.is_told:
            await self._told(scope, receive, send)
        else:
            await self._guarded(scope, receive, send)

    async def _told(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, status = time.monotonic(), 0

        async def noting(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._guarded(scope, receive, noting)
        finally:
            request = Request(scope)
            _log.debug(
                "a request was answered", method=request.method, path=request.url.path, ip=client_ip(request), status=status,
                username=getattr(request.state, "username", None), ms=round((time.monotonic() - began) * 1000),
            )  # fmt: skip

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        problem = _cross_site(request)
        if problem is None:
            users = self._users()
            problem = await self._sign_in(request, users) if users else self._local_only(request)
            problem = problem or await self._filtered(request, users)
        if problem is not None:
            _log.warning(
                "request refused", method=request.method, path=request.url.path, ip=client_ip(request),
                status=problem.status, reason=problem.details,
            )  # fmt: skip
            await problem.response(request.method, request.url.path)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _local_only(self, request: Request) -> Problem | None:
        request.state.username, request.state.role = None, "admin"
        ip = client_ip(request)
        if ip is None or not is_loopback(ip):
            return Problem(403, FORBIDDEN, "without users only this machine may ask: configure [users.NAME]")
        host = _hostname(request.headers.get("host", ""))
        if not host or not (is_loopback(host) or host in self._hosts):
            return Problem(
                403, FORBIDDEN, "without users this host answers only to localhost and the configured http.host"
            )
        return None

    async def _sign_in(self, request: Request, users: Mapping[str, User]) -> Problem | None:
        credentials = _basic(request.headers.get("authorization", ""))
        if credentials is None:
            return _CHALLENGE
        name, password = credentials
        user = recall_password(users, name, password)
        if user is None:
            user = await anyio.to_thread.run_sync(check_password, users, name, password, limiter=self._checks)
        if user is None:
            return _CHALLENGE
        needed = needed_role(request.method, request.scope["path"])
        if not suffices(user.role, needed):
            return Problem(403, FORBIDDEN, f"this needs the role {needed!r}; this user has {user.role!r}")
        request.state.username, request.state.role = name, user.role
        return None

    async def _filtered(self, request: Request, users: Mapping[str, User]) -> Problem | None:
        filters = self._filters
        if filters is None or not filters.has_request_filters() or _is_local_admin(request, users):
            return None
        query = request.url.query
        headers: dict[str, str] = {}
        for name, value in request.headers.items():
            if name not in _SECRET_HEADERS:
                headers[name] = f"{headers[name]}, {value}" if name in headers else value
        judgement = await anyio.to_thread.run_sync(
            lambda: filters.request(
                method=request.method,
                uri=request.url.path + (f"?{query}" if query else ""),
                ip=client_ip(request),
                username=request.state.username,
                headers=headers,
            ),
            limiter=self._filterings,
        )
        if judgement is None or judgement.verdict == "accept":
            return None
        if judgement.has_failed:  # what failed inside of a script is for its owner
            return Problem(503, FORBIDDEN, f"filter {judgement.script} failed; the log of hostd says how")
        return Problem(judgement.status, FORBIDDEN, f"filter {judgement.script}: {judgement.reason}")


def _is_local_admin(request: Request, users: Mapping[str, User]) -> bool:
    user = users.get(request.state.username or "")
    ip = client_ip(request)
    return user is not None and user.role == "admin" and ip is not None and is_loopback(ip)


def client_ip(request: Request) -> str | None:
    """Return the address that the request came from."""
    return request.client.host if request.client else None


def _cross_site(request: Request) -> Problem | None:
    """Refuse a change that a page of another site asks for: the browser would add the user's credentials."""
    if request.method in _CHANGES_NOTHING:
        return None
    fetch_site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if fetch_site not in {None, "same-origin", "none"}:
        return Problem(403, FORBIDDEN, "another site may not change anything here (Sec-Fetch-Site)")
    if origin is not None and not _is_same(origin, request.headers.get("host", "")):
        return Problem(403, FORBIDDEN, "another site may not change anything here (Origin)")
    return None


def _is_same(origin: str, host: str) -> bool:
    """Compare host and port; the scheme may differ, for a proxy may have ended TLS."""
    try:
        parts = urlsplit(origin)
        mine = urlsplit(f"//{host}")
        implied = {"http": 80, "https": 443}.get(parts.scheme)
        if implied is None or not parts.hostname or parts.hostname != mine.hostname:
            return False
        return (parts.port or implied) == (mine.port or implied)
    except ValueError:
        return False


@lru_cache(maxsize=1024)
def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _basic(header: str) -> tuple[str, str] | None:
    """Return name and password of an Authorization header (RFC 7617), None when it holds none."""
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(token.strip(), validate=True).decode()
    except ValueError:
        return None
    name, colon, password = text.partition(":")
    return (name, password) if colon else None
