"""What the text of a script in Orthanc's spelling says before it runs: callbacks, destinations, routes, and what there is not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Literal

from hostd.sandbox.frames import Finding
from hostd.sandbox.orthanc import rest
from hostd.sandbox.orthanc.callbacks import CALLBACKS, WITHOUT_COUNTERPART, defined, wrong_parameters
from hostd.sandbox.orthanc.spelling import NAMES
from hostd.sandbox.orthanc.spelling import WITHOUT_COUNTERPART as FUNCTIONS_WITHOUT
from hostd.sandbox.run import World

_SENDS = {"SendToModality": "modality", "SendToPeer": "peer"}
_TABLES = {"modalities": "modality", "peers": "peer"}
_ASKS = ("HttpGet", "HttpPost", "HttpPut")
_METHODS = {"RestApiGet": "GET", "RestApiPost": "POST", "RestApiPut": "PUT", "RestApiDelete": "DELETE"}


def findings(tree: ast.Module) -> Iterator[Finding]:
    """Return what a script's text says of Orthanc's spelling; nothing where it has none."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in CALLBACKS:
            yield Finding("handler", node.lineno, node.col_offset, node.name)
            if wrong := wrong_parameters(node):
                yield _problem(node, node.name, wrong)
        elif isinstance(node, ast.FunctionDef) and node.name in WITHOUT_COUNTERPART:
            reason = f"nothing calls {node.name}: {WITHOUT_COUNTERPART[node.name]}"
            yield Finding("unknown_handler", node.lineno, node.col_offset, node.name, reason)
    yield from _told_twice(tree)
    yield from _calls(tree)


def names(
    node: ast.Call, world: World
) -> Iterator[tuple[Literal["destination", "tool", "target", "modality"], str, ast.expr]]:
    """Return what a call of one of Orthanc's functions names of the configuration, with its place."""
    function = node.func.id if isinstance(node.func, ast.Name) else ""
    at = 1 if function in _SENDS or function == "CallSystem" else 0
    text = _known_text(node.args[at]) if len(node.args) > at else rest.UNKNOWN
    if function in _SENDS and rest.UNKNOWN not in text:
        yield "destination", _destination(_SENDS[function], text, world), node.args[at]
    elif function == "RestApiPost":
        match text.strip("/").split("/"):
            case ["modalities", name, "query" | "move"] if rest.UNKNOWN not in name:
                yield "modality", name, node.args[at]
            case [("modalities" | "peers") as table, name, "store" | "store-straight"] if rest.UNKNOWN not in name:
                yield "destination", _destination(_TABLES[table], name, world), node.args[at]
    elif function == "CallSystem" and rest.UNKNOWN not in text:
        yield "tool", text.rpartition("/")[2], node.args[at]
    elif function in _ASKS and rest.UNKNOWN not in (name := text.partition("/")[0]) and "://" not in text:
        yield "target", name, node.args[at]


def _destination(kind: str, name: str, world: World) -> str:
    qualified = f"{kind}:{name}"
    return qualified if qualified in world.load.known_destinations else name


def _told_twice(tree: ast.Module) -> Iterator[Finding]:
    """Find events that a script handles in both spellings: only one of them would be called."""
    own = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for name in defined(tree):
        first = CALLBACKS[name].handlers[0]
        if first in own and first != name:
            yield _problem(own[first], first, f"{first} and {name} are called for the same event: keep one of them")


def _calls(tree: ast.Module) -> Iterator[Finding]:
    bound = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    bound |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bound |= {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    is_spelled = bool(defined(tree))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id in bound:
            continue
        name = node.func.id
        if name in FUNCTIONS_WITHOUT:
            yield _problem(node, name, f"{name} is not offered to scripts: {FUNCTIONS_WITHOUT[name]}")
        elif name in NAMES and not is_spelled:
            where = "functions of Orthanc's are there in scripts with a callback of Orthanc's, such as OnStoredInstance"
            yield _problem(
                node, name, f"{name} is not there: {where}; what takes its place here is in docs/from-orthanc.md"
            )
        elif name in _METHODS and node.args:
            path = _known_text(node.args[0]).partition("?")[0]
            if path.startswith("/") and not rest.may_be_answered(_METHODS[name], path):
                yield _problem(node, name, rest.unanswered(_METHODS[name], path))


def _known_text(node: ast.expr) -> str:
    """Return a text as far as it stands in the script; what does not is one `UNKNOWN`."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(map(_known_text, parts))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _known_text(left) + _known_text(right)
        case _:
            return rest.UNKNOWN


def _problem(node: ast.AST, name: str, message: str) -> Finding:
    return Finding("problem", getattr(node, "lineno", 1), getattr(node, "col_offset", 0), name, message)
