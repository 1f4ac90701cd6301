"""The language of scripts: a subset of Python, by RestrictedPython, and the guards that its rewritten code calls.

This keeps an honest script inside its API and gives errors with line numbers. It is not the wall: that is `jail`. What
is loosened against RestrictedPython's own policy is only what people write every day and what needs no new power:
annotations (dropped, never evaluated), class fields, augmented assignment to items and attributes, and `print`.
"""

from __future__ import annotations

import ast
import builtins
import operator
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any, ClassVar

from RestrictedPython import RestrictingNodeTransformer
from RestrictedPython.Guards import (
    guarded_iter_unpack_sequence,
    guarded_unpack_sequence,
    safe_builtins,
    safer_getattr_raise,
)
from RestrictedPython.transformer import IOPERATOR_TO_STR

from hostd.sandbox.facades import MODULES, Facade

FILENAME = "<script>"
"""The file name of compiled scripts, by which their frames are told from all others."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a script does not compile; line 1-based, column 0-based."""

    line: int
    column: int
    message: str


class PolicyError(Exception):
    """A script does not compile, or uses what the language of scripts does not have."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"line {problem.line}: {problem.message}" for problem in problems))
        self.problems = problems


# -- compiling --------------------------------------------------------------------------------------------------------

_NOT_OFFERED: dict[str, str] = {
    "Match": "`match` is not offered to scripts; use if and elif",
    "Nonlocal": "`nonlocal` is not offered to scripts; use `global`, or keep the value in a dict",
    "AsyncFunctionDef": "`async` is not offered to scripts; what takes time is an action, carried out after the run",
    "Await": "`await` is not offered to scripts",
    "AsyncFor": "`async` is not offered to scripts",
    "AsyncWith": "`async` is not offered to scripts",
    "TryStar": "`except*` is not offered to scripts; use `except`",
    "TemplateStr": "template strings are not offered to scripts; use an f-string",
    "Interpolation": "template strings are not offered to scripts; use an f-string",
}


class Policy(RestrictingNodeTransformer):  # type: ignore[misc]  # the library ships no types
    """What the language of scripts has, node by node; a node that is not known is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.problems: list[Problem] = []

    def error(self, node: ast.AST, info: str) -> None:
        """Record that a node is refused."""
        self.problems.append(Problem(getattr(node, "lineno", 1), getattr(node, "col_offset", 0), info))

    def not_allowed(self, node: ast.AST) -> None:
        """Record that a kind of statement is refused, in the words of the language where it has some."""
        name = type(node).__name__
        self.error(node, _NOT_OFFERED.get(name, f"{name} is not offered to scripts"))

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

    def visit_comprehension(self, node: ast.comprehension) -> Any:
        """Refuse asynchronous comprehensions."""
        if node.is_async:
            self.error(node.target, "`async` is not offered to scripts")
        return super().visit_comprehension(node)

    def visit_Import(self, node: ast.Import) -> Any:  # noqa: N802 - ast names the node
        """Refuse at once what could not be imported when the script runs."""
        for alias in node.names:
            self._check_module(node, alias.name)
        return super().visit_Import(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:  # noqa: N802 - ast names the node
        """Refuse at once what could not be imported when the script runs; `from __future__ import annotations` is nothing."""
        if node.module == "__future__" and not node.level:
            return ast.copy_location(ast.Pass(), node)
        if node.level or node.module is None:
            self.error(node, "scripts cannot import from one another")
        elif self._check_module(node, node.module):
            offered = MODULES[node.module]
            for alias in node.names:
                if alias.name != "*" and alias.name not in offered:
                    self.error(node, f"`{node.module}.{alias.name}` is not offered to scripts")
        return super().visit_ImportFrom(node)

    def _check_module(self, node: ast.AST, name: str) -> bool:
        if name in MODULES:
            return True
        self.error(node, f"module `{name}` is not offered to scripts; there are: {', '.join(sorted(MODULES))}")
        return False


def parse(source: str) -> ast.Module:
    """Parse a script. Raises `PolicyError`."""
    try:
        return ast.parse(source, FILENAME)
    except SyntaxError as error:
        column = max((error.offset or 1) - 1, 0)
        raise PolicyError([Problem(error.lineno or 1, column, f"syntax error: {error.msg}")]) from None
    except ValueError as error:
        raise PolicyError([Problem(1, 0, f"not readable as Python: {error}")]) from None
    except (RecursionError, MemoryError):
        raise PolicyError([Problem(1, 0, "an expression is nested too deeply")]) from None


def compile_tree(tree: ast.Module) -> CodeType:
    """Compile a parsed script under the policy; the tree is used up. Raises `PolicyError` with every problem found."""
    policy = Policy()
    try:
        policy.visit(tree)
        if policy.problems:
            # A refused class body is visited once, but some checks of the library meet a node twice.
            raise PolicyError(list(dict.fromkeys(sorted(policy.problems, key=lambda p: (p.line, p.column)))))
        return compile(tree, FILENAME, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise PolicyError([Problem(error.lineno or 1, (error.offset or 1) - 1, f"syntax error: {error.msg}")]) from None
    except ValueError as error:
        raise PolicyError([Problem(1, 0, f"cannot be compiled: {error}")]) from None
    except (RecursionError, MemoryError):
        raise PolicyError([Problem(1, 0, "an expression is nested too deeply")]) from None


# -- reading ----------------------------------------------------------------------------------------------------------

_HIDDEN = frozenset({"mro", "obj", "with_traceback", "format_map"})
"""Public names that lead out: a class's ancestors, and the object an AttributeError was about."""
_NOTHING = object()


def guarded_getattr(owner: object, name: str, *default: object) -> Any:
    """Read an attribute as `owner.name` or `getattr(owner, name[, default])` in a script."""
    if type(name) is not str:
        raise TypeError("the name of an attribute must be a text")
    if len(default) > 1:
        raise TypeError("getattr takes an object, a name and at most one default")
    if name in _HIDDEN:
        raise AttributeError(f"`{name}` is not offered to scripts")
    if name == "format" and (isinstance(owner, str) or (isinstance(owner, type) and issubclass(owner, str))):
        raise AttributeError("`str.format` is not offered to scripts; use an f-string")
    try:
        return safer_getattr_raise(owner, name)
    except AttributeError:
        if default:
            return default[0]
        raise


def guarded_hasattr(owner: object, name: str) -> bool:
    """Tell whether a script can read that attribute."""
    return guarded_getattr(owner, name, _NOTHING) is not _NOTHING


def _getitem(owner: Any, key: Any) -> Any:
    return owner[key]


def type_name(value: object) -> str:
    """Stand in for `type(x)`: the name of the type, since the type itself leads to others."""
    return type(value).__name__


def guarded_import(
    name: str, _globals: object = None, _locals: object = None, _from: object = (), level: int = 0
) -> Facade:
    """Import a facade. Never a real module."""
    if type(name) is str and level == 0:
        # `datetime.strptime` imports this from C, through the script's builtins; a script cannot write the name.
        if name == "_strptime":
            return _EMPTY
        if name in MODULES:
            return MODULES[name]
    raise ImportError("this module is not offered to scripts")


_EMPTY = Facade({})


# -- writing ----------------------------------------------------------------------------------------------------------


class ScriptType(type):
    """The class of every class that a script makes: only these and their instances have attributes to write to."""

    def __repr__(cls) -> str:
        return f"<class {cls.__name__}>"


_BASES = frozenset({Exception, ValueError, RuntimeError, TypeError, KeyError, LookupError, ArithmeticError})


def make_class(name: str, bases: tuple[Any, ...], namespace: dict[str, Any]) -> ScriptType:
    """Make a script's class, derived from nothing, from its own classes or from a few exceptions."""
    for base in bases:
        if not isinstance(base, ScriptType) and not any(base is allowed for allowed in _BASES):
            raise TypeError(f"a script's class cannot derive from {base!r}")
    return ScriptType(name, bases, namespace)


class _ReadOnly:
    """Stands in for what a script may not write to."""

    __slots__ = ("_kind",)

    def __init__(self, kind: str) -> None:
        object.__setattr__(self, "_kind", kind)

    def _refuse(self) -> TypeError:
        return TypeError(f"{object.__getattribute__(self, '_kind')} is read-only for scripts")

    def __setattr__(self, name: str, value: object) -> None:
        raise self._refuse()

    def __delattr__(self, name: str) -> None:
        raise self._refuse()

    def __setitem__(self, key: object, value: object) -> None:
        raise self._refuse()

    def __delitem__(self, key: object) -> None:
        raise self._refuse()


_WRITABLE = frozenset({dict, list, set, OrderedDict, defaultdict, Counter, deque})


def guarded_write(owner: Any) -> Any:
    """Return what an assignment to an item or attribute goes to: the object itself, or something that refuses."""
    kind = type(owner)
    if kind in _WRITABLE or kind is ScriptType or isinstance(kind, ScriptType):
        return owner
    return _ReadOnly(kind.__name__)


_IN_PLACE: dict[str, Callable[[Any, Any], Any]] = {
    "+=": operator.iadd, "-=": operator.isub, "*=": operator.imul, "/=": operator.itruediv, "%=": operator.imod,
    "**=": operator.ipow, "<<=": operator.ilshift, ">>=": operator.irshift, "|=": operator.ior, "^=": operator.ixor,
    "&=": operator.iand, "//=": operator.ifloordiv, "@=": operator.imatmul,
}  # fmt: skip


def _in_place_name(sign: str, old: Any, value: Any) -> Any:
    return _IN_PLACE[sign](old, value)


def _in_place_item(sign: str, owner: Any, key: Any, value: Any) -> None:
    target = guarded_write(owner)
    target[key] = _IN_PLACE[sign](owner[key], value)


def _in_place_attribute(sign: str, owner: Any, name: str, value: Any) -> None:
    target = guarded_write(owner)
    setattr(target, name, _IN_PLACE[sign](guarded_getattr(owner, name), value))


def _apply(function: Callable[..., Any], *positional: Any, **named: Any) -> Any:
    return function(*positional, **named)


# -- what a script starts with ----------------------------------------------------------------------------------------


class Language:
    """The names that a script finds."""

    LEFT_OUT: ClassVar = frozenset({
        # These write without asking, tell addresses, or catch what must end a run.
        "setattr", "delattr", "id", "_getattr_", "BaseException", "SystemExit", "KeyboardInterrupt", "GeneratorExit",
        "SystemError", "MemoryError",
    })  # fmt: skip
    ADDED: ClassVar = (
        "all any bytes dict enumerate filter frozenset iter list map max min next reversed set sorted sum tuple zip"
    )

    @classmethod
    def builtins(cls) -> dict[str, Any]:
        """Return a fresh dictionary of the builtins of a script."""
        names = {name: value for name, value in safe_builtins.items() if name not in cls.LEFT_OUT}
        names |= {name: getattr(builtins, name) for name in cls.ADDED.split()}
        return names | {
            "getattr": guarded_getattr,
            "hasattr": guarded_hasattr,
            "type": type_name,
            "__import__": guarded_import,
        }

    @classmethod
    def namespace(cls, extra: Mapping[str, object]) -> dict[str, Any]:
        """Return the globals that a script runs in; `extra` are further builtins (print, the API's exceptions)."""
        return {
            "__builtins__": cls.builtins() | dict(extra),
            "__name__": "script",
            "__metaclass__": make_class,
            "_getattr_": guarded_getattr,
            "_getitem_": _getitem,
            "_getiter_": _iterate,
            "_write_": guarded_write,
            "_unpack_sequence_": guarded_unpack_sequence,
            "_iter_unpack_sequence_": guarded_iter_unpack_sequence,
            "_inplacevar_": _in_place_name,
            "_inplaceitem_": _in_place_item,
            "_inplaceattr_": _in_place_attribute,
            "_apply_": _apply,
        }


def _iterate(owner: Any) -> Iterator[Any]:
    return iter(owner)
