"""What the text of a script in Orthanc's spelling says before it runs: callbacks, destinations, routes, and what there is not."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from hostd.sandbox.frames import Finding
from hostd.sandbox.orthanc import rest
from hostd.sandbox.orthanc.callbacks import CALLBACKS, WITHOUT_COUNTERPART, defined, wrong_parameters
from hostd.sandbox.orthanc.spelling import NAMES
from hostd.sandbox.orthanc.spelling import WITHOUT_COUNTERPART as FUNCTIONS_WITHOUT

_SENDS = ("SendToModality", "SendToPeer")
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


def destinations(node: ast.Call) -> list[ast.expr]:
    """Return what a call of Orthanc's sending functions names as destination."""
    return node.args[1:2] if isinstance(node.func, ast.Name) and node.func.id in _SENDS else []


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
