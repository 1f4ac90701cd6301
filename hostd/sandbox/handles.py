"""`handles = {"Modality": ["CT"]}`: what a script declares of the instances that it is to be asked about.

The declaration is read from the script's text, so that the host can pass an event by without running the script.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from hostd.sandbox.frames import Finding
from hostd.sandbox.run import World, near

_NAME = "handles"
_TEXTS = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
)
_FORM = 'write it as a literal: handles = {"Modality": ["CT", "MR"]}'


def declared(tree: ast.Module) -> dict[str, list[str]] | None:
    """Return what a script declares by `handles = {"Modality": ["CT"]}`: keyword → values. None without, or if it is not well-formed."""
    value = _declaration(tree)
    found: dict[str, list[str]] = {}
    if not isinstance(value, ast.Dict):
        return None
    for key, wanted in zip(value.keys, value.values, strict=True):
        values = _texts(wanted)
        if not isinstance(key, ast.Constant) or not isinstance(key.value, str) or values is None:
            return None
        found[key.value] = values
    return found


def problems(tree: ast.Module, world: World) -> Iterator[Finding]:
    """Find fault with a declaration: the host reads it without running the script."""
    targets = _targets(tree)
    for node in ast.walk(tree):
        is_set = isinstance(node, ast.Name) and node.id == _NAME and isinstance(node.ctx, ast.Store)
        if is_set and node not in targets:
            yield _problem(
                node, f"`{_NAME}` is read before the script runs, so it is set once, at the top level; {_FORM}"
            )
    value = _declaration(tree)
    if value is None:
        return
    found = declared(tree)
    if found is None:
        yield _problem(value, f"`{_NAME}` is read before the script runs; {_FORM}")
    for keyword, values in (found or {}).items():
        message = _fault(keyword, values, world)
        if message:
            yield _problem(value, message)


def _problem(node: ast.AST, message: str) -> Finding:
    return Finding("problem", getattr(node, "lineno", 1), getattr(node, "col_offset", 0), _NAME, message)


def _fault(keyword: str, values: list[str], world: World) -> str:
    known = world.load.keywords.get(keyword)
    if known is None:
        return f"no element has the keyword {keyword[:64]!r}{near(keyword, world.load.keywords)}"
    if known[1] not in _TEXTS:
        return f"{keyword} has VR {known[1]}, which is not compared with texts"
    return "" if values else f"no value of {keyword} would do; name at least one"


def _targets(tree: ast.Module) -> list[ast.expr]:
    """Return the one target that a declaration has, in a list; several statements at the top level are none."""
    found: list[ast.expr] = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            found += [target for target in node.targets if isinstance(target, ast.Name) and target.id == _NAME]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == _NAME:
            found.append(node.target)
    return found[:1]


def _declaration(tree: ast.Module) -> ast.expr | None:
    targets = _targets(tree)
    for node in tree.body:
        if isinstance(node, ast.Assign) and targets and node.targets[0] is targets[0]:
            return node.value
        if isinstance(node, ast.AnnAssign) and targets and node.target is targets[0]:
            return node.value
    return None


def _texts(node: ast.expr) -> list[str] | None:
    """Return the texts of a literal: one, or a list or tuple of them."""
    items = node.elts if isinstance(node, (ast.List, ast.Tuple, ast.Set)) else [node]
    found = [item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    return found if len(found) == len(items) else None
