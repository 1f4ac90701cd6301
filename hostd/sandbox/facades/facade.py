"""What a script gets for a module: a bag of chosen names, never the module itself.

A real module leads out by its public names (`json.codecs.builtins.open`). And an object that has a module's `__name__` is
enough for CPython's `from x import y` to fetch the real submodule from `sys.modules`; so a facade has no `__name__`, no
dictionary, and answers for exactly the names that it was given.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NoReturn

WITHHELD: dict[str, dict[str, str]] = {}
"""Module → public name that scripts do not get → why."""


class Facade:
    """A read-only bag of names."""

    __slots__ = ("_names",)

    def __init__(self, names: Mapping[str, object]) -> None:
        object.__setattr__(self, "_names", dict(names))

    def __getattr__(self, name: str) -> object:
        try:
            return object.__getattribute__(self, "_names")[name]
        except KeyError:
            raise AttributeError(f"`{name}` is not offered to scripts") from None

    def __contains__(self, name: str) -> bool:
        return name in object.__getattribute__(self, "_names")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise TypeError("a module is read-only for scripts")

    def __delattr__(self, name: str) -> NoReturn:
        raise TypeError("a module is read-only for scripts")

    def __repr__(self) -> str:
        return "<module for scripts>"

    def joined(self, names: Mapping[str, object]) -> Facade:
        """Return another bag, of these names and those."""
        return Facade({**object.__getattribute__(self, "_names"), **names})


class Inert:
    """Stands for a type in annotations, which are never evaluated, and in aliases (`Rows = list[Optional[int]]`).

    It can be subscripted and joined by `|`, which gives itself. Where it stands for a class of the API, `isinstance` works.
    """

    __slots__ = ("_name", "_real")

    def __init__(self, name: str, real: type | None = None) -> None:
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_real", real)

    def __getitem__(self, _of: object) -> Inert:
        return self

    def __or__(self, _other: object) -> Inert:
        return self

    __ror__ = __or__

    def __instancecheck__(self, value: object) -> bool:
        real = object.__getattribute__(self, "_real")
        if real is None:
            raise TypeError(f"{self!r} is for annotations; isinstance cannot ask for it")
        return isinstance(value, real)

    def __call__(self, *_arguments: object, **_named: object) -> NoReturn:
        """Refuse to make an object of that type."""
        raise TypeError(f"{self!r} is for annotations; a script cannot make one")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise TypeError("a type is read-only for scripts")

    def __delattr__(self, name: str) -> NoReturn:
        raise TypeError("a type is read-only for scripts")

    def __repr__(self) -> str:
        return str(object.__getattribute__(self, "_name"))


def offer(
    module: str, source: Any, names: str, *, own: Mapping[str, object] | None = None, withheld: Mapping[str, str]
) -> Facade:
    """Return the facade of a module: `names` as its source has them, `own` in place of it, and why the rest is `withheld`.

    A name that a later Python brought is written `sumprod@3.12`, and is left out before. `withheld` gives the names by reason.
    """
    given = {name: getattr(source, name) for name in map(_of_this_python, names.split()) if name}
    WITHHELD[module] = {name: why for why, listed in withheld.items() for name in listed.split()}
    return Facade({**given, **(own or {})})


def _of_this_python(name: str) -> str:
    name, _, since = name.partition("@")
    return name if not since or sys.version_info[:2] >= tuple(map(int, since.split("."))) else ""
