"""What the rewritten code of scripts calls instead of reading, writing and deriving by itself."""

from __future__ import annotations

import decimal
import operator
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

from RestrictedPython.Guards import safer_getattr_raise
from RestrictedPython.transformer import INSPECT_ATTRIBUTES

# -- reading ----------------------------------------------------------------------------------------------------------

HIDDEN = frozenset({"mro", "obj", "with_traceback", "format_map"})
"""Public names that lead out: a class's ancestors, and the object an AttributeError was about."""
_SLOTS = (GetSetDescriptorType, MemberDescriptorType)
"""What a class of the interpreter shows of the attributes that its instances have: `int.real`, `property.fget`."""
_NOTHING = object()


def is_hidden(name: str) -> bool:
    """Tell whether no object whatever shows that attribute to a script; `format` is hidden only on texts."""
    return name.startswith("_") or name in HIDDEN or name in INSPECT_ATTRIBUTES


def guarded_getattr(owner: object, name: str, *default: object) -> Any:
    """Read an attribute as `owner.name` or `getattr(owner, name[, default])` in a script."""
    if type(name) is not str:
        raise TypeError("the name of an attribute must be a text")
    if len(default) > 1:
        raise TypeError("getattr takes an object, a name and at most one default")
    if name in HIDDEN:
        raise AttributeError(f"`{name}` is not offered to scripts")
    if name == "format" and (isinstance(owner, str) or (isinstance(owner, type) and issubclass(owner, str))):
        raise AttributeError("`str.format` is not offered to scripts; use an f-string")
    try:
        found = safer_getattr_raise(owner, name)
        if isinstance(found, _SLOTS):
            raise AttributeError(f"`{type_name(owner)}` has no `{name}` of its own, only what it makes has")  # noqa: TRY004 - as for any attribute that is not there
    except AttributeError:
        if default:
            return default[0]
        raise
    return _named(found) if name == "args" and isinstance(owner, decimal.DecimalException) else found


def _named(args: tuple[object, ...]) -> tuple[object, ...]:
    """Return the arguments of an error of decimal's with its signals by name: it gives their classes, which lead on."""
    return tuple(str(one) if isinstance(one, list) else one for one in args)


def guarded_hasattr(owner: object, name: str) -> bool:
    """Tell whether a script can read that attribute."""
    return guarded_getattr(owner, name, _NOTHING) is not _NOTHING


def guarded_getitem(owner: Any, key: Any) -> Any:
    """Read an item as `owner[key]`."""
    return owner[key]


def iterate(owner: Any) -> Iterator[Any]:
    """Iterate as `for x in owner`."""
    return iter(owner)


def type_name(value: object) -> str:
    """Stand in for `type(x)`: the name of the type, since the type itself leads to others."""
    return type(value).__name__


# -- classes ----------------------------------------------------------------------------------------------------------


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


# -- writing ----------------------------------------------------------------------------------------------------------


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


def in_place_name(sign: str, old: Any, value: Any) -> Any:
    """Return what `name += value` assigns."""
    return _IN_PLACE[sign](old, value)


def in_place_item(sign: str, owner: Any, key: Any, value: Any) -> None:
    """Do `owner[key] += value`."""
    target = guarded_write(owner)
    target[key] = _IN_PLACE[sign](owner[key], value)


def in_place_attribute(sign: str, owner: Any, name: str, value: Any) -> None:
    """Do `owner.name += value`."""
    target = guarded_write(owner)
    setattr(target, name, _IN_PLACE[sign](guarded_getattr(owner, name), value))


def apply(function: Callable[..., Any], *positional: Any, **named: Any) -> Any:
    """Call as `function(*positional, **named)`."""
    return function(*positional, **named)
