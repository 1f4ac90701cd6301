"""What a script's text asks of `host`, read before it runs: what the configuration has not, or does not allow, and what `host` has not.

Only what stands in the text as a literal is read, and only where it is plain that `host` is meant.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Collection, Iterator
from functools import cache
from typing import Literal

from hostd.sandbox import api, filters
from hostd.sandbox.frames import Finding
from hostd.sandbox.orthanc import reading as orthanc
from hostd.sandbox.run import World, missing, near

Kind = Literal["destination", "asked", "tool", "project", "channel", "target", "modality", "syntax"]
"""What a name is of; `asked` is a destination that is only asked about."""

NAMED: dict[str, dict[str, Kind]] = {
    "forward": {"to": "destination", "syntax": "syntax"},
    "redirect": {"to": "destination"},
    "find": {"delivered_to": "asked"},
    "delivered_to": {"destination": "asked"},
    "transcode": {"to": "syntax"},
    "run_tool": {"name": "tool"},
    "anonymize": {"project": "project"},
    "notify": {"channel": "channel"},
    "http_get": {"target": "target"},
    "post": {"target": "target"},
    "put": {"target": "target"},
    "query": {"modality": "modality"},
    "retrieve": {"modality": "modality"},
}
"""Verb → the parameters that take a name of the configuration, or of a transfer syntax."""
NEEDS: dict[str, str] = {
    "run_tool": "tools", "modify": "modify", "redact": "modify", "anonymize": "anonymize", "delete": "delete",
    "store": "store", "replace": "replace", "http_get": "http", "post": "http", "put": "http",
    "query": "query", "retrieve": "retrieve",
}  # fmt: skip
"""Verb of handlers → the capability without which it is refused."""

_SELF = 1


def findings(tree: ast.Module, world: World) -> Iterator[Finding]:
    """Return what a script's text asks of `host`."""
    hosts = _names_of_host(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        for spelled, name, where in orthanc.names(node, world):
            yield _named(spelled, name, where, world)
        if not isinstance(node.func, ast.Attribute):
            continue
        verb, is_host = node.func.attr, _is_host(node.func.value, hosts)
        if is_host:
            yield from _of_call(node, verb, world)
        if is_host or verb == "forward":  # which nothing else has that scripts are given
            for parameter, kind in NAMED.get(verb, {}).items():
                for text, place in _texts(_argument(node, verb, parameter)):
                    yield _named(kind, text, place, world)


# -- names of the configuration ---------------------------------------------------------------------------------------


def _named(kind: Kind, name: str, where: ast.expr, world: World) -> Finding:
    shown = "destination" if kind == "asked" else kind
    return Finding(shown, where.lineno, where.col_offset, name, _fault(kind, name, world))


def _fault(kind: Kind, name: str, world: World) -> str:
    """Say what is wrong with a name; '' when nothing is."""
    load = world.load
    if kind == "syntax":
        return (
            ""
            if name.lower() in world.syntaxes
            else f"no transfer syntax is called {name[:64]!r}{near(name, load.syntaxes)}"
        )
    known: dict[Kind, Collection[str]] = {
        "destination": load.known_destinations, "asked": load.known_destinations, "tool": load.tools,
        "project": load.projects, "channel": load.known_channels, "target": load.targets,
        "modality": load.modalities,
    }  # fmt: skip
    if name not in known[kind]:
        return missing("destination" if kind == "asked" else kind, name, known[kind])
    if kind == "destination" and name not in load.destinations:
        line = world.config_line("destinations", [*load.destinations, name])
        return f"this script may not send to {name!r}; this line of the configuration would allow it: {line}"
    if kind == "channel" and name not in load.channels:
        line = world.config_line("channels", [*load.channels, name])
        return f"this script may not notify {name!r}; this line of the configuration would allow it: {line}"
    return ""


# -- what host has ----------------------------------------------------------------------------------------------------


def _of_call(node: ast.Call, verb: str, world: World) -> Iterator[Finding]:
    offered = _offered()
    place = node.lineno, node.col_offset
    if verb not in offered:
        yield Finding("argument", *place, verb, f"host has no {verb}{near(verb, offered)}")
        return
    takes = offered[verb]
    for keyword in node.keywords:
        if keyword.arg is not None and takes is not None and keyword.arg not in takes:
            there_are = f"; there are: {', '.join(takes)}" if takes else ""
            message = f"host.{verb} has no {keyword.arg!r}{near(keyword.arg, takes) or there_are}"
            yield Finding("argument", keyword.value.lineno, keyword.value.col_offset, keyword.arg, message)
    capability = NEEDS.get(verb)
    if capability is not None and capability not in world.load.may:
        line = world.config_line("may", [*world.load.may, capability])
        message = f"this script may not {verb}; this line of the configuration would allow it: {line}"
        yield Finding("not_allowed", *place, verb, message)


@cache
def _offered() -> dict[str, tuple[str, ...] | None]:
    """Return what `host` has, of events and of filters: verb → what it takes by name, None for anything."""
    found: dict[str, tuple[str, ...] | None] = {}
    for kind in (api.Host, filters.FilterHost):
        for verb in dir(kind):
            if verb.startswith("_"):
                continue
            member = getattr(kind, verb)
            parameters = list(inspect.signature(member).parameters.values())[_SELF:] if callable(member) else []
            is_open = not callable(member) or any(one.kind is one.VAR_KEYWORD for one in parameters)
            before = found.get(verb, ())
            takes = tuple(one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD)
            found[verb] = None if is_open or before is None else tuple(dict.fromkeys((*before, *takes)))
    return found


def _argument(node: ast.Call, verb: str, parameter: str) -> ast.expr | None:
    """Return what a call gives for a parameter, by name or by place."""
    for keyword in node.keywords:
        if keyword.arg == parameter:
            return keyword.value
    place = list(inspect.signature(getattr(api.Host, verb)).parameters).index(parameter) - _SELF
    before = node.args[: place + 1]
    return before[place] if len(before) > place and not any(isinstance(one, ast.Starred) for one in before) else None


def _texts(node: ast.expr | None) -> Iterator[tuple[str, ast.expr]]:
    """Return the texts that an argument may be, as far as they stand in the script: `"a" if x else "b"` are two."""
    match node:
        case ast.Constant(value=str(text)):
            yield text, node
        case ast.IfExp(body=body, orelse=otherwise):
            yield from (*_texts(body), *_texts(otherwise))
        case ast.BoolOp(values=values):
            for value in values:
                yield from _texts(value)


def _names_of_host(tree: ast.Module) -> frozenset[str]:
    """Return the names by which `host` is known: "host", and what handlers call their last parameter."""
    handlers = {name: api.parameters(event) for name, event in api.HANDLERS.items()}
    handlers |= {name: filters.parameters(function) for name, function in filters.FILTERS.items()}
    found = {"host"}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in handlers:
            given = [*node.args.posonlyargs, *node.args.args]
            found |= {one.arg for one in given[len(handlers[node.name]) - 1 : len(handlers[node.name])]}
    return frozenset(found)


def _is_host(node: ast.expr, hosts: frozenset[str]) -> bool:
    return (isinstance(node, ast.Name) and node.id in hosts) or (
        isinstance(node, ast.Attribute) and node.attr == "host"
    )
