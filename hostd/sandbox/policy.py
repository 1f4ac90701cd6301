"""The language of scripts: a subset of Python, by RestrictedPython, and the guards that its rewritten code calls.

This keeps an honest script inside its API and gives errors with line numbers. It is not the wall: that is `jail`. What
is loosened against RestrictedPython's own policy is only what people write every day and what needs no new power:
annotations (dropped, never evaluated), class fields, augmented assignment to items and attributes, and `print`.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from types import CodeType
from typing import Any

import msgspec
from RestrictedPython.transformer import ALLOWED_FUNC_NAMES, IOPERATOR_TO_STR

from hostd.sandbox.facades import MODULES, NOT_OFFERED
from hostd.sandbox.patterns import Patterns

FILENAME = "<script>"
"""The file name of compiled scripts, by which their frames are told from all others."""
LIBRARY = "lib"
"""The package of a user's own helper modules."""


def filename_of(helper: str) -> str:
    """Return the file name of a compiled helper module: `<lib/rules.py>`."""
    return f"<{LIBRARY}/{helper}.py>"


def file_of(filename: str) -> str | None:
    """Return the helper's file that a compiled file name stands for, '' for the script itself, None for all other code."""
    if filename == FILENAME:
        return ""
    return filename[1:-1] if filename.startswith(f"<{LIBRARY}/") else None


class Problem(msgspec.Struct, frozen=True):
    """Why a script does not compile; line 1-based, column 0-based. `file` is that of a helper module, '' the script's own."""

    line: int
    column: int
    message: str
    file: str = ""


class PolicyError(Exception):
    """A script does not compile, or uses what the language of scripts does not have."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"line {problem.line}: {problem.message}" for problem in problems))
        self.problems = problems


# -- compiling --------------------------------------------------------------------------------------------------------

_NOT_OFFERED: dict[str, str] = {
    "AsyncFunctionDef": "`async` is not offered to scripts; what takes time is an action, carried out after the run",
    "Await": "`await` is not offered to scripts",
    "AsyncFor": "`async` is not offered to scripts",
    "AsyncWith": "`async` is not offered to scripts",
    "TryStar": "`except*` is not offered to scripts; use `except`",
    "TemplateStr": "template strings are not offered to scripts; use an f-string",
    "Interpolation": "template strings are not offered to scripts; use an f-string",
}

METHODS = ALLOWED_FUNC_NAMES | {
    "__add__", "__bool__", "__call__", "__getitem__", "__hash__", "__iter__", "__len__", "__next__", "__repr__", "__str__", "__sub__",
}  # fmt: skip
"""Special methods that a script's class may have. Not among them: what is handed an exception, a class or the name of an attribute."""


class Policy(Patterns):
    """What the language of scripts has, node by node; a node that is not known is refused."""

    def __init__(self, helpers: Mapping[str, Collection[str]] | None = None) -> None:
        """Know the helper modules that can be imported, each with the names that it has."""
        super().__init__()
        self.problems: list[Problem] = []
        self._helpers = helpers or {}

    def error(self, node: ast.AST, info: str) -> None:
        """Record that a node is refused."""
        self.problems.append(Problem(getattr(node, "lineno", 1), getattr(node, "col_offset", 0), info))

    def not_allowed(self, node: ast.AST) -> None:
        """Record that a kind of statement is refused, in the words of the language where it has some."""
        name = type(node).__name__
        self.error(node, _NOT_OFFERED.get(name, f"{name} is not offered to scripts"))

    def check_name(self, node: ast.AST, name: str | None, allow_magic_methods: bool = False) -> None:
        """Refuse names that begin with `_`, but for the special methods that a class may have."""
        if allow_magic_methods and name in METHODS and getattr(node, "col_offset", 0) != 0:
            return
        super().check_name(node, name, allow_magic_methods)

    def visit_TemplateStr(self, node: ast.AST) -> None:  # noqa: N802 - ast names the node
        """Refuse template strings: they carry values past the guards."""
        self.not_allowed(node)

    visit_Interpolation = visit_TemplateStr  # noqa: N815 - ast names the node

    def visit_Name(self, node: ast.Name) -> Any:  # noqa: N802 - ast names the node
        """Let `print` be an ordinary builtin: the library's collectors are one a function, and easily lost."""
        if node.id in ("print", "printed") and isinstance(node.ctx, ast.Load):
            return node
        return super().visit_Name(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:  # noqa: N802 - ast names the node
        """Drop the annotation: `x: T = v` is `x = v`, and `x: T` is nothing."""
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        plain = ast.Assign(targets=[node.target], value=node.value)
        return self.visit(ast.fix_missing_locations(ast.copy_location(plain, node)))

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:  # noqa: N802 - ast names the node
        """Turn `o[k] += v` and `o.a += v` into a call of a guard, each part evaluated once."""
        if isinstance(node.target, ast.Name):
            return super().visit_AugAssign(node)
        sign = ast.Constant(IOPERATOR_TO_STR[type(node.op)])
        if isinstance(node.target, ast.Attribute):
            # The library checks an attribute's name when it visits one: show it one that holds nothing else.
            stand_in = ast.Attribute(ast.Name("x", ast.Load()), node.target.attr, ast.Store())
            self.visit(ast.fix_missing_locations(ast.copy_location(stand_in, node)))
            guard, key = "_inplaceattr_", ast.Constant(node.target.attr)
        else:
            guard, key = "_inplaceitem_", self.visit(node.target.slice)
        owner, value = self.visit(node.target.value), self.visit(node.value)
        call = ast.Expr(ast.Call(ast.Name(guard, ast.Load()), [sign, owner, key, value], []))
        return ast.fix_missing_locations(ast.copy_location(call, node))

    def visit_arg(self, node: ast.arg) -> Any:
        """Drop the annotation of a parameter."""
        node.annotation = None
        return super().visit_arg(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:  # noqa: N802 - ast names the node
        """Drop the annotation of what is returned."""
        node.returns = None
        return super().visit_FunctionDef(node)

    def visit_Global(self, node: ast.Global) -> Any:  # noqa: N802 - ast names the node
        """Check the names, which the library does not."""
        for name in node.names:
            self.check_name(node, name)
        return super().visit_Global(node)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> Any:  # noqa: N802 - ast names the node
        """Allow what `global` does, for names of the function around, which are checked alike."""
        for name in node.names:
            self.check_name(node, name)
        return self.node_contents_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> Any:
        """Refuse asynchronous comprehensions."""
        if node.is_async:
            self.error(node.target, "`async` is not offered to scripts")
        return super().visit_comprehension(node)

    def visit_Import(self, node: ast.Import) -> Any:  # noqa: N802 - ast names the node
        """Refuse at once what could not be imported when the script runs."""
        for alias in node.names:
            top, _, helper = alias.name.partition(".")
            if top != LIBRARY:
                self._check_module(node, alias.name)
            elif helper:
                self._check_helper(node, helper)
            else:
                self.error(
                    node, f"say which of your own modules: `import {LIBRARY}.{next(iter(self._helpers), 'rules')}`"
                )
        return super().visit_Import(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:  # noqa: N802 - ast names the node
        """Refuse at once what could not be imported when the script runs; `from __future__ import annotations` is nothing."""
        if node.module == "__future__" and not node.level:
            return ast.copy_location(ast.Pass(), node)
        names = [alias.name for alias in node.names if alias.name != "*"]
        top, _, helper = (node.module or "").partition(".")
        if node.level or not top:
            self.error(
                node,
                f"imports have no dots here: `from {LIBRARY}.rules import x` takes x of the file {LIBRARY}/rules.py",
            )
        elif top == LIBRARY:
            self._check_helpers(node, helper, names)
        elif self._check_module(node, node.module or ""):
            offered = MODULES[node.module or ""]
            for name in names:
                if name not in offered:
                    self.error(node, f"`{node.module}.{name}` is not offered to scripts")
        return super().visit_ImportFrom(node)

    def _check_module(self, node: ast.AST, name: str) -> bool:
        if name in MODULES:
            return True
        why = NOT_OFFERED.get(name.partition(".")[0])
        reason = f" ({why})" if why else ""
        self.error(node, f"module `{name}` is not offered to scripts{reason}; there are: {', '.join(MODULES)}")
        return False

    def _check_helpers(self, node: ast.AST, helper: str, names: Collection[str]) -> None:
        """Check `from lib import names`, or `from lib.helper import names`."""
        if not helper:
            for name in names:
                self._check_helper(node, name)
        elif self._check_helper(node, helper):
            for name in names:
                if name not in self._helpers[helper]:
                    self.error(node, f"{LIBRARY}/{helper}.py has no `{name}`")

    def _check_helper(self, node: ast.AST, name: str) -> bool:
        if name in self._helpers:
            return True
        there_are = (
            ", ".join(f"{LIBRARY}/{helper}.py" for helper in self._helpers) or "no other of your own in use here"
        )
        self.error(
            node, f"there is no {LIBRARY}/{name.replace('.', '/')}.py in the scripts folder; there is: {there_are}"
        )
        return False


def parse(source: str, filename: str = FILENAME) -> ast.Module:
    """Parse a script or a helper. Raises `PolicyError`."""
    try:
        return ast.parse(source, filename)
    except SyntaxError as error:
        column = max((error.offset or 1) - 1, 0)
        raise PolicyError([Problem(error.lineno or 1, column, f"syntax error: {error.msg}")]) from None
    except ValueError as error:
        raise PolicyError([Problem(1, 0, f"not readable as Python: {error}")]) from None
    except (RecursionError, MemoryError):
        raise PolicyError([Problem(1, 0, "an expression is nested too deeply")]) from None


def compile_tree(
    tree: ast.Module, filename: str = FILENAME, helpers: Mapping[str, Collection[str]] | None = None
) -> CodeType:
    """Compile a parsed script under the policy; the tree is used up. Raises `PolicyError` with every problem found."""
    policy = Policy(helpers)
    try:
        policy.visit(tree)
        if policy.problems:
            # A refused class body is visited once, but some checks of the library meet a node twice.
            raise PolicyError(list(dict.fromkeys(sorted(policy.problems, key=lambda p: (p.line, p.column)))))
        return compile(tree, filename, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise PolicyError([Problem(error.lineno or 1, (error.offset or 1) - 1, f"syntax error: {error.msg}")]) from None
    except ValueError as error:
        raise PolicyError([Problem(1, 0, f"cannot be compiled: {error}")]) from None
    except (RecursionError, MemoryError):
        raise PolicyError([Problem(1, 0, "an expression is nested too deeply")]) from None
