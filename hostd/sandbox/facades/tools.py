"""Facades of the modules that work on functions and containers, and of those that only type checkers need."""

from __future__ import annotations

import bisect
import collections
import collections.abc
import copy
import functools
import heapq
import itertools
import operator
import typing
from collections.abc import Callable
from typing import Any

from hostd.sandbox.facades.facade import Facade, Inert, offer
from hostd.sandbox.guards import ScriptType, guarded_getattr

_ITS_OWN = "imported by the module for its own use"
_CHECKERS = "for type checkers and their libraries"
_WRITES = "writes to its argument past the guards; use the statement"

# -- functools: what writes to the functions it is given does so to the library's own, too ------------------------------


def _lru_cache(maxsize: Any = 128, typed: bool = False) -> Any:
    if callable(maxsize):  # @lru_cache without parentheses
        return _cached(maxsize, 128, typed=False)
    return lambda function: _cached(function, maxsize, typed=typed)


def _cache(function: Callable[..., Any]) -> Callable[..., Any]:
    return _cached(function, None, typed=False)


def _cached(function: Callable[..., Any], maxsize: int | None, *, typed: bool) -> Callable[..., Any]:
    remembered = functools.lru_cache(maxsize, typed)(function)

    def call(*positional: Any, **named: Any) -> Any:
        return remembered(*positional, **named)

    return call


def _wraps(_wrapped: object, *_assigned: object, **_named: object) -> Callable[[Any], Any]:
    return lambda wrapper: wrapper


def _total_ordering(made: Any) -> Any:
    if not isinstance(made, ScriptType):
        raise TypeError("total_ordering takes a class that the script has made")
    return functools.total_ordering(made)


# -- operator: what reads attributes does so by the guard ---------------------------------------------------------------


def _attrgetter(*names: str) -> Callable[[Any], Any]:
    paths = [str.split(name, ".") for name in names]
    if not paths:
        raise TypeError("attrgetter takes at least one name")

    def read(owner: Any) -> Any:
        found = tuple(functools.reduce(guarded_getattr, path, owner) for path in paths)
        return found[0] if len(found) == 1 else found

    return read


def _methodcaller(name: str, /, *positional: Any, **named: Any) -> Callable[[Any], Any]:
    return lambda owner: guarded_getattr(owner, name)(*positional, **named)


# -- copy: of plain containers, since the real one makes anything anew that it is given ---------------------------------

_CONTAINERS: tuple[type, ...] = (
    list, dict, set, frozenset, tuple, collections.deque, collections.OrderedDict, collections.Counter, collections.defaultdict,
)  # fmt: skip


def _copy(value: Any) -> Any:
    if type(value) in _CONTAINERS:
        return value if isinstance(value, (tuple, frozenset)) else value.copy()
    return _itself(value)


def _deepcopy(value: Any) -> Any:
    if isinstance(value, dict) and type(value) in _CONTAINERS:
        made = value.copy()
        made.update({key: _deepcopy(item) for key, item in value.items()})
        return made
    if type(value) in _CONTAINERS and type(value) is not collections.deque:
        return type(value)(_deepcopy(item) for item in value)
    if type(value) is collections.deque:
        return collections.deque((_deepcopy(item) for item in value), value.maxlen)
    return _itself(value)


def _itself(value: Any) -> Any:
    if isinstance(type(value), ScriptType):
        raise TypeError(f"a {type(value).__name__} cannot be copied here: copy takes lists, dicts, sets and the like")
    return value


# -- typing -------------------------------------------------------------------------------------------------------------

_TYPES = (
    "AbstractSet Annotated Any AnyStr Callable ChainMap ClassVar Collection Concatenate Container Counter DefaultDict Deque Dict Final FrozenSet "
    "Generator Hashable ItemsView Iterable Iterator KeysView List Literal LiteralString Mapping MappingView MutableMapping MutableSequence MutableSet "
    "Never NoReturn NotRequired Optional OrderedDict Required Reversible Self Sequence Set Sized SupportsAbs SupportsFloat SupportsIndex SupportsInt "
    "SupportsRound Text Tuple Type TypeAlias TypeGuard Union Unpack ValuesView"
)
_ABSTRACT = (
    "Callable Collection Container Generator Hashable ItemsView Iterable Iterator KeysView Mapping MappingView MutableMapping MutableSequence "
    "MutableSet Reversible Sequence Set Sized ValuesView"
)


def _same(thing: Any) -> Any:
    return thing


def _cast(_kind: object, value: Any) -> Any:
    return value


def _new_type(_name: str, kind: Any) -> Any:
    return kind


def _type_variable(name: str, *_constraints: object, **_named: object) -> Inert:
    return Inert(str(name)[:64])


_IN_PLACE = "iadd iand iconcat ifloordiv ilshift imatmul imod imul ior ipow irshift isub itruediv ixor"

MODULES: dict[str, Facade] = {
    "bisect": offer("bisect", bisect, "bisect bisect_left bisect_right insort insort_left insort_right", withheld={}),
    "collections": offer(
        "collections", collections, "Counter OrderedDict defaultdict deque",
        withheld={
            "makes a class by text; use a class, a tuple or a dict": "namedtuple",
            "its class can be told, for the whole process, of others; join dicts by |": "ChainMap",
            "a base class, and scripts derive from none": "UserDict UserList UserString",
        },
    ),
    "collections.abc": offer(
        "collections.abc", collections.abc, "",
        # The real ones can be told, for the whole process, that a class is one of them.
        own={name: Inert(name, getattr(collections.abc, name)) for name in _ABSTRACT.split()},
        withheld={
            "asynchronous": "AsyncGenerator AsyncIterable AsyncIterator Awaitable Coroutine coroutine async_generator", _CHECKERS: "Buffer ByteString",
            _ITS_OWN: "ABCMeta EllipsisType FunctionType GenericAlias abstractmethod bytearray_iterator bytes_iterator dict_itemiterator dict_items "
            "dict_keyiterator dict_keys dict_valueiterator dict_values framelocalsproxy generator list_iterator list_reverseiterator longrange_iterator "
            "mappingproxy range_iterator set_iterator str_iterator tuple_iterator zip_iterator",
        },
    ),
    "copy": offer(
        "copy", copy, "Error", own={"copy": _copy, "deepcopy": _deepcopy},
        withheld={"calls methods that scripts cannot have": "replace", _ITS_OWN: "dispatch_table error"},
    ),
    "functools": offer(
        "functools", functools, "cmp_to_key partial reduce",
        own={"cache": _cache, "lru_cache": _lru_cache, "total_ordering": _total_ordering, "wraps": _wraps},
        withheld={
            "writes to the functions or classes it is given": "cached_property update_wrapper",
            "decides by classes, which scripts do not get": "partialmethod singledispatch singledispatchmethod",
            _ITS_OWN: "GenericAlias RLock WRAPPER_ASSIGNMENTS WRAPPER_UPDATES get_cache_token namedtuple recursive_repr",
        },
    ),
    "heapq": offer("heapq", heapq, "heapify heappop heappush heappushpop heapreplace merge nlargest nsmallest", withheld={}),
    "itertools": offer(
        "itertools", itertools,
        "accumulate batched@3.12 chain combinations combinations_with_replacement compress count cycle dropwhile filterfalse groupby islice pairwise "
        "permutations product repeat starmap takewhile tee zip_longest",
        withheld={},
    ),
    "operator": offer(
        "operator", operator,
        "abs add and_ call concat contains countOf eq floordiv ge getitem gt index indexOf inv invert is_ is_not itemgetter le length_hint lshift lt "
        "matmul mod mul ne neg not_ or_ pos pow rshift sub truediv truth xor",
        own={"attrgetter": _attrgetter, "methodcaller": _methodcaller},
        withheld={_WRITES: f"delitem setitem {_IN_PLACE}"},
    ),
    "typing": offer(
        "typing", typing, "",
        own={
            **{name: Inert(name) for name in _TYPES.split()}, "TYPE_CHECKING": False, "cast": _cast, "final": _same, "override": _same,
            "no_type_check": _same, "NewType": _new_type, "TypeVar": _type_variable,
        },
        withheld={
            "makes a class, and scripts derive from none of these": "Generic NamedTuple Protocol TypedDict",
            "asynchronous, or of files": "AsyncContextManager AsyncGenerator AsyncIterable AsyncIterator Awaitable BinaryIO ContextManager Coroutine IO TextIO",
            _CHECKERS: "ABCMeta ByteString CT_co EXCLUDED_ATTRIBUTES ForwardRef GenericAlias KT Match MethodDescriptorType MethodWrapperType "
            "NamedTupleMeta NoDefault ParamSpec ParamSpecArgs ParamSpecKwargs Pattern ReadOnly SupportsBytes SupportsComplex T T_co T_contra "
            "TypeAliasType TypeIs TypeVarTuple VT VT_co V_co WrapperDescriptorType abstractmethod assert_never assert_type clear_overloads "
            "dataclass_transform defaultdict get_args get_origin get_overloads get_protocol_members get_type_hints io is_protocol is_typeddict "
            "no_type_check_decorator overload re reveal_type runtime_checkable",
        },
    ),
}  # fmt: skip
