"""A user's own helper modules (`scripts/lib/`): which of them a script imports, and what `import` gives for them.

They live under the policy of scripts, in the script's own process, from sources that the host hands over. Each script has
its own: a global of a helper is shared by the files of one script, never between scripts.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from types import CodeType
from typing import Any

import msgspec

from hostd.sandbox.facades.facade import Facade
from hostd.sandbox.namespace import Language, guarded_import
from hostd.sandbox.policy import LIBRARY, PolicyError, Problem, compile_tree, filename_of, parse

_MAX_DEPTH = 50


class _Live(Facade):
    """A helper module: its public names as they are now."""

    __slots__ = ()

    def __init__(self, names: dict[str, Any]) -> None:
        super().__init__({})
        object.__setattr__(self, "_names", names)

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):  # the guards and builtins stand in the same dictionary
            raise AttributeError(f"`{name}` is not offered to scripts")
        return super().__getattr__(name)

    def __contains__(self, name: str) -> bool:
        return not name.startswith("_") and super().__contains__(name)


class Reading(msgspec.Struct, frozen=True):
    """The helpers that a script imports, itself or by others, each parsed, those first that others need."""

    trees: dict[str, ast.Module]
    names: dict[str, frozenset[str]]
    """Helper → every name that its text binds anywhere."""


def read(tree: ast.Module, sources: Mapping[str, str]) -> Reading:
    """Parse what a script's text imports. Raises `PolicyError` with file and line for what cannot be parsed, and for a circle."""
    trees: dict[str, ast.Module] = {}
    _follow(tree, "", (), sources, trees)
    return Reading(trees, {name: frozenset(_bound(found)) for name, found in trees.items()})


def _follow(
    tree: ast.Module, file: str, above: tuple[str, ...], sources: Mapping[str, str], trees: dict[str, ast.Module]
) -> None:
    for name, node in _imported(tree):
        if name in above:
            circle = " → ".join(f"{LIBRARY}/{one}.py" for one in (*above[above.index(name) :], name))
            message = f"these import one another: {circle}; move what both need into a third file"
            raise PolicyError([Problem(node.lineno, node.col_offset, message, file)])
        if name in trees or name not in sources:
            continue  # the compiler refuses an import of what is not there, with its line
        if len(above) >= _MAX_DEPTH:
            raise PolicyError(
                [Problem(node.lineno, node.col_offset, "helper modules import one another too deeply", file)]
            )
        its_file = f"{LIBRARY}/{name}.py"
        with _In(its_file):
            found = parse(sources[name], filename_of(name))
        _follow(found, its_file, (*above, name), sources, trees)
        trees[name] = found


def _imported(tree: ast.Module) -> Iterator[tuple[str, ast.Import | ast.ImportFrom]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top, _, helper = alias.name.partition(".")
                if top == LIBRARY and helper:
                    yield helper, node
        elif isinstance(node, ast.ImportFrom) and not node.level:
            top, _, helper = (node.module or "").partition(".")
            if top == LIBRARY:
                for name in [helper] if helper else [alias.name for alias in node.names]:
                    yield name, node


def _bound(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from (alias.asname or alias.name.partition(".")[0] for alias in names)
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                yield name


class _In:
    """Names the helper's file in the problems of what is done within."""

    def __init__(self, file: str) -> None:
        self._file = file

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, PolicyError):
            raise PolicyError(
                [msgspec.structs.replace(problem, file=self._file) for problem in error.problems]
            ) from None


class Library:
    """The helpers of one script, compiled; each runs when it is first imported."""

    def __init__(self, reading: Reading) -> None:
        """Compile them; the trees are used up. Raises `PolicyError` with file and line."""
        self._codes: dict[str, CodeType] = {}
        self._loaded: dict[str, Facade] = {}
        self._extra: dict[str, object] = {}
        for name, tree in reading.trees.items():
            with _In(f"{LIBRARY}/{name}.py"):
                self._codes[name] = compile_tree(tree, filename_of(name), reading.names)

    def use(self, extra: Mapping[str, object]) -> dict[str, object]:
        """Take the further builtins that script and helpers have in common; return them with the `import` that finds helpers."""
        self._extra = {**extra, "__import__": self._import}
        return self._extra

    def _import(
        self, name: str, _globals: object = None, _locals: object = None, wanted: object = (), level: int = 0
    ) -> Facade:
        top, _, helper = name.partition(".") if type(name) is str and level == 0 else ("", "", "")
        if top != LIBRARY:
            return guarded_import(name, _globals, _locals, wanted, level)
        if helper:
            loaded = self._load(helper)
            return loaded if wanted else Facade(self._loaded)
        if isinstance(wanted, tuple):
            return Facade({one: self._load(one) for one in wanted})
        raise ImportError("this module is not offered to scripts")

    def _load(self, name: str) -> Facade:
        if name not in self._loaded:
            if name not in self._codes:
                raise ImportError(f"there is no {LIBRARY}/{name[:64]}.py")
            namespace = Language.namespace(self._extra)
            exec(self._codes[name], namespace)  # noqa: S102 - compiled under the policy, inside the jail
            self._loaded[name] = _Live(namespace)
        return self._loaded[name]
