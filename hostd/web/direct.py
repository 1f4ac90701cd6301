"""The short way of a request to the function of its route.

FastAPI compares a path with one route after another, and works out for each request how its parameters are read: many times what the answer
itself takes. Here routes are found by the shape of a path, and functions are called with what their signatures ask for. What is not found
here, or has a parameter that is not as it should be, goes FastAPI's own way, which knows what to say; and what a route is, only FastAPI's
router says.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from fastapi import APIRouter, FastAPI, Request
from fastapi.params import Param, Path, Query
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from hostd.web.promptness import CannotTellError, TakesLongError, call_promptly, is_prompt

Included = Sequence[tuple[str, APIRouter]]
"""Routers with the prefix under which each is included, in their order."""

_Shape = tuple[str, str, int]
"""Method, the first part of a path, and how many parts it has."""


class Direct:
    """Answers what one of the routes answers, and passes on everything else."""

    def __init__(self, face: FastAPI, app: ASGIApp, *, included: Included, promptly: bool = False) -> None:
        """`app` is what everything else is passed on to, `face` what requests know as their app.

        `promptly` says that functions that are `prompt` may be called on the event loop.
        """
        self._promptly = promptly
        self._face = face
        self._app = app
        self._routes = [
            _Route.of(prefix + route.path, route)
            for prefix, router in included
            for route in router.routes
            if isinstance(route, APIRoute)
        ]
        self._most_parts = 1 + max((route.parts for route in self._routes), default=0)
        self._by_shape: dict[_Shape, list[_Route]] = {}
        for route in self._routes:
            for shape in route.shapes(self._most_parts):
                self._by_shape.setdefault(shape, []).append(route)

    @property
    def routes(self) -> list[str]:
        """The paths of the routes, in their order."""
        return [route.path for route in self._routes]

    @property
    def detours(self) -> list[str]:
        """The paths of routes that can only be called by FastAPI."""
        return [route.path for route in self._routes if route.call is None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI's
        if scope["type"] == "http" and not scope.get("root_path"):
            found = self._find(scope["method"], scope["path"])
            if found is not None and (call := found[0].call) is not None:
                request = Request(scope, receive, send)
                values = call.values(request, found[1])
                if values is not None:
                    scope["app"], scope["path_params"] = self._face, found[1]
                    response = await self._answer(call, values)
                    await response(scope, receive, send)
                    return
        await self._app(scope, receive, send)

    async def _answer(self, call: _Call, values: dict[str, Any]) -> Response:
        """Call the function of a route: where it is made for that on the event loop, else in a thread."""
        if call.is_coroutine:
            response: Response = await call.endpoint(**values)
            return response
        if call.is_prompt and self._promptly:
            try:
                response = call_promptly(call.endpoint, **values)
            except TakesLongError as error:
                self._promptly = not isinstance(error, CannotTellError)
            else:
                return response
        return await run_in_threadpool(call.endpoint, **values)

    def _find(self, method: str, path: str) -> tuple[_Route, dict[str, str]] | None:
        """Return the first route that has this path, with what stands in the places of its names."""
        parts = min(path.count("/"), self._most_parts)
        for route in self._by_shape.get((method, path[1:].partition("/")[0], parts), ()):
            if match := route.pattern.match(path):
                return route, match.groupdict()
        return None


@dataclass(frozen=True, slots=True)
class _Route:
    """A route as FastAPI has it. `call` is None where only FastAPI can call its function."""

    path: str
    methods: frozenset[str]
    pattern: re.Pattern[str]
    parts: int
    is_open: bool
    """Whether more parts than these may be in its path."""
    call: _Call | None

    @staticmethod
    def of(path: str, route: APIRoute) -> _Route:
        pattern, form, converters = compile_path(path)
        kinds = {type(one).__name__ for one in converters.values()}
        call = _Call.of(route.endpoint, converters) if kinds <= {"StringConvertor", "PathConvertor"} else None
        return _Route(path, frozenset(route.methods or ()), pattern, form.count("/"), "PathConvertor" in kinds, call)

    def shapes(self, most_parts: int) -> Iterator[_Shape]:
        first = self.path[1:].partition("/")[0]
        assert "{" not in first, "routes are told from each other by the first part of their paths"
        for method in self.methods:
            for parts in range(self.parts, (most_parts if self.is_open else self.parts) + 1):
                yield method, first, parts


@dataclass(frozen=True, slots=True)
class _Call:
    """How the function of a route is called: the name by which it takes the request, and its parameters."""

    endpoint: Callable[..., Any]
    is_coroutine: bool
    is_prompt: bool
    takes_request: str | None
    parameters: tuple[_Parameter, ...]

    @staticmethod
    def of(endpoint: Callable[..., Any], in_path: Mapping[str, Any]) -> _Call | None:
        """Return how a function is called; None where it asks for anything that only FastAPI gives, or returns no answer."""
        hints = get_type_hints(endpoint, include_extras=True)
        returned = hints.get("return")
        if not (isinstance(returned, type) and issubclass(returned, Response)):
            return None
        takes_request, parameters = None, []
        for name, parameter in inspect.signature(endpoint).parameters.items():
            if hints[name] is Request:
                takes_request = name
                continue
            known = _Parameter.of(parameter, hints[name], in_path)
            if known is None:
                return None
            parameters.append(known)
        return _Call(
            endpoint, inspect.iscoroutinefunction(endpoint), is_prompt(endpoint), takes_request, tuple(parameters)
        )

    def values(self, request: Request, in_path: Mapping[str, str]) -> dict[str, Any] | None:
        """Return what the function is called with; None where a parameter is missing, or not as it should be."""
        values: dict[str, Any] = {} if self.takes_request is None else {self.takes_request: request}
        has_query = bool(request.scope["query_string"])
        try:
            for one in self.parameters:
                given: Any = None
                if one.is_in_path:
                    given = in_path[one.alias]
                elif has_query:
                    query = request.query_params
                    given = (query.getlist(one.alias) or None) if one.is_list else query.get(one.alias)
                if given is None:
                    if one.default is inspect.Parameter.empty:
                        return None
                    values[one.name] = one.default
                else:
                    values[one.name] = given if one.reads is None else one.reads.validate_python(given)
        except ValidationError:
            return None
        return values


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A parameter of a path or a query. `alias` is its name there; `reads` is None where it is taken as it stands."""

    name: str
    alias: str
    is_in_path: bool
    is_list: bool
    default: Any
    reads: TypeAdapter[Any] | None

    @staticmethod
    def of(parameter: inspect.Parameter, hint: Any, in_path: Mapping[str, Any]) -> _Parameter | None:
        """Return how it is read; None for what is of neither path nor query, or has its default where it is declared."""
        bare, declared = hint, None
        if get_origin(hint) is Annotated:
            bare, *more = get_args(hint)
            declared = next((one for one in reversed(more) if isinstance(one, Param)), None)  # as FastAPI has it
        if declared is not None and (not isinstance(declared, (Path, Query)) or not declared.is_required()):
            return None
        alias = (declared.alias if declared is not None else None) or parameter.name
        kinds = [one for one in get_args(bare) or (bare,) if one is not type(None)]
        is_list = any(list in {one, get_origin(one)} for one in (bare, *kinds))
        is_taken = kinds == [str] and not is_list and not (declared is not None and declared.metadata)
        return _Parameter(
            parameter.name,
            alias,
            alias in in_path,
            is_list,
            parameter.default,
            None if is_taken else TypeAdapter(hint),
        )
