"""What `hostd --help` says of the commands, read from their text: to import them all takes a second."""

from __future__ import annotations

import ast
from pathlib import Path


def help_of(module: str, attribute: str) -> str:
    """Return the help of a command of this package: the docstring of its function, or what its `typer.Typer` is given.

    Raises `LookupError` where the module has neither.
    """
    tree = ast.parse((Path(__file__).parent / f"{module}.py").read_text(encoding="utf-8"))
    for node in reversed(tree.body):  # what a name means last
        if isinstance(node, ast.FunctionDef) and node.name == attribute:
            return ast.get_docstring(node) or ""
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and _names(node.targets[0], attribute):
            return next(str(ast.literal_eval(one.value)) for one in node.value.keywords if one.arg == "help")
        if isinstance(node, ast.ImportFrom) and attribute in (one.name for one in node.names):
            return help_of(str(node.module).removeprefix(f"{__package__}."), attribute)
    raise LookupError(f"{module}.py has no command {attribute}")


def _names(target: ast.expr, name: str) -> bool:
    return isinstance(target, ast.Name) and target.id == name
