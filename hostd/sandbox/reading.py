"""What a script's text says before it runs: its handlers, the keywords it names, and what it asks of `host`.

This reads, it does not judge: names that are only known when the script runs are not found. It works on the tree that the
worker has parsed, so that no stranger's text is parsed in the host.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import msgspec

from hostd.sandbox import api, filters, handles, naming
from hostd.sandbox.frames import Finding
from hostd.sandbox.orthanc import callbacks
from hostd.sandbox.orthanc import reading as orthanc
from hostd.sandbox.run import World, near

_READERS = ("get", "text", "private", "keys", "items")


def read(tree: ast.Module, world: World, file: str = "") -> list[Finding]:
    """Return what the text of a script, or with `file` of a helper module, says, in the order of its lines. The tree is not changed."""
    findings = [*naming.findings(tree, world), *_keywords(tree, world)]
    if not file:  # functions of a helper are called by scripts only, whatever they are called
        findings += [*_handlers(tree, world), *handles.problems(tree, world), *orthanc.findings(tree)]
    findings = [msgspec.structs.replace(finding, file=file) for finding in findings]
    return sorted(findings, key=lambda finding: (finding.line, finding.column))


def problems(findings: list[Finding]) -> list[Finding]:
    """Return those findings for which the script is refused."""
    return [finding for finding in findings if finding.kind == "problem"]


# -- handlers ---------------------------------------------------------------------------------------------------------


def not_allowed(name: str, world: World) -> str:
    """Say which line of the configuration would allow this script its filter."""
    line = world.config_line("may", [*world.load.may, filters.CAPABILITY])
    return f"this script may not have {name}; this line of the configuration would allow it: {line}"


def _handlers(tree: ast.Module, world: World) -> Iterator[Finding]:
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        if node.name in api.HANDLERS or node.name in filters.FILTERS:
            yield Finding("handler", node.lineno, node.col_offset, node.name)
            wrong = _wrong_parameters(node)
            if wrong:
                yield Finding("problem", node.lineno, node.col_offset, node.name, wrong)
            if node.name in filters.FILTERS and filters.CAPABILITY not in world.load.may:
                yield Finding("problem", node.lineno, node.col_offset, node.name, not_allowed(node.name, world))
            if node.name in filters.FILTERS:
                yield from _pixels(node)
        elif node.name in callbacks.CALLBACKS:
            is_filter = not filters.FILTERS.keys().isdisjoint(callbacks.CALLBACKS[node.name].handlers)
            if is_filter and filters.CAPABILITY not in world.load.may:
                yield Finding("problem", node.lineno, node.col_offset, node.name, not_allowed(node.name, world))
        elif node.name.startswith(("on_", "filter_")):
            yield Finding("unknown_handler", node.lineno, node.col_offset, node.name, _unknown(node.name))


def _unknown(name: str) -> str:
    known = filters.FILTERS if name.startswith("filter_") else api.HANDLERS
    there_are = f"; there are: {', '.join(known)}"
    return f"no event of this release calls {name}{near(name, known) or there_are}"


def _wrong_parameters(node: ast.FunctionDef) -> str:
    if node.name in filters.FILTERS:
        wanted = filters.parameters(filters.FILTERS[node.name])
    else:
        wanted = api.parameters(api.HANDLERS[node.name])
    takes = node.args
    positional = len(takes.posonlyargs) + len(takes.args)
    required = positional - len(takes.defaults)
    keyword_only = any(default is None for default in takes.kw_defaults)
    if required <= len(wanted) and (positional >= len(wanted) or takes.vararg) and not keyword_only:
        return ""
    return f"{node.name} is called with ({', '.join(wanted)}): write `def {node.name}({', '.join(wanted)}):`"


def _pixels(node: ast.FunctionDef) -> Iterator[Finding]:
    """Find where a filter wants to know of the pixels of what it is given, which would refuse whatever comes."""
    given = {argument.arg for argument in (*node.args.posonlyargs, *node.args.args)}
    for one in ast.walk(node):
        if (
            isinstance(one, ast.Attribute)
            and one.attr == "pixels"
            and isinstance(one.value, ast.Name)
            and one.value.id in given
        ):
            message = f"{filters.NO_PIXELS}; look at them in on_stored_instance"
            yield Finding("problem", one.lineno, one.col_offset, node.name, message)


# -- keywords ---------------------------------------------------------------------------------------------------------


def _keywords(tree: ast.Module, world: World) -> Iterator[Finding]:
    # `tags = instance.tags` is what people write first; a name that stands for tags anywhere is taken to do so everywhere.
    aliases = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _is_tags(node.value, frozenset())
        for target in node.targets
        if isinstance(target, ast.Name)
    } | callbacks.tables_of_tags(tree)
    for node in ast.walk(tree):
        found = _keyword(node, frozenset(aliases))
        if found is not None:
            name, line, column = found
            if name in world.load.keywords:
                yield Finding("keyword", line, column, name)
            else:
                message = f"no element has the keyword {name!r}{near(name, world.load.keywords)}"
                yield Finding("unknown_keyword", line, column, name, message)


def _keyword(node: ast.AST, aliases: frozenset[str]) -> tuple[str, int, int] | None:
    """Return the keyword that a node reads from tags, with its place."""
    literal: ast.expr | None = None
    if isinstance(node, ast.Attribute) and node.attr not in _READERS and _is_tags(node.value, aliases):
        line, end = node.end_lineno or node.lineno, node.end_col_offset or len(node.attr)
        return node.attr, line, end - len(node.attr)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "text"):
        literal = node.args[0] if node.args and _is_tags(node.func.value, aliases) else None
    elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
        literal = node.left if _is_tags(node.comparators[0], aliases) else None
    elif isinstance(node, ast.Subscript) and _is_tags(node.value, aliases):
        literal = node.slice
    if isinstance(literal, ast.Constant) and isinstance(literal.value, str):
        return literal.value, literal.lineno, literal.col_offset
    return None


def _is_tags(node: ast.expr, aliases: frozenset[str]) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "tags") or (
        isinstance(node, ast.Name) and node.id in aliases
    )
