"""The modules that scripts may import: bags of chosen names, never the modules themselves.

A real module leads out by its public names (`json.codecs.builtins.open`). And an object that has a module's `__name__` is
enough for CPython's `from x import y` to fetch the real submodule from `sys.modules`; so a facade has no `__name__`, no
dictionary, and answers for exactly the names that it was given. Whatever these names import lazily is called once here,
because nothing can be opened after the jail has closed.
"""

from __future__ import annotations

import _strptime  # type: ignore[import-not-found]  # has no stub; imported by datetime.strptime, from C, when it is first called
import base64
import collections
import datetime as dt
import hashlib
import heapq  # imported by Counter.most_common when it is first called
import itertools
import json
import math
import random
import re
import statistics
import string
import time
import unicodedata  # imported by the compiler at the first identifier beyond ASCII
import uuid
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NoReturn


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


def _pick(module: ModuleType | object, names: str) -> Facade:
    return Facade({name: getattr(module, name) for name in names.split()})


# -- json: the hooks and classes of the real functions take code that is called with the encoder's own objects ----------


def _dumps(
    value: Any,
    *,
    indent: int | None = None,
    sort_keys: bool = False,
    ensure_ascii: bool = True,
    default: Callable[[Any], Any] | None = None,
) -> str:
    return json.dumps(value, indent=indent, sort_keys=sort_keys, ensure_ascii=ensure_ascii, default=default)


def _loads(text: str | bytes) -> Any:
    return json.loads(text)


# -- hashlib: by function, without the constructors' switches ----------------------------------------------------------


def _hash(name: str) -> Callable[[bytes], Any]:
    constructor = getattr(hashlib, name)
    constructor(b"").hexdigest()  # OpenSSL loads its providers at the first use

    def make(content: bytes = b"") -> Any:
        return constructor(content, usedforsecurity=False)

    return make


# -- uuid: the real objects carry an enumeration, whose members lead to their class -------------------------------------


def _uuid4() -> str:
    return str(uuid.uuid4())


def _uuid5(namespace: str, name: str) -> str:
    return str(uuid.uuid5(uuid.UUID(namespace), name))


_RANDOM = random.Random()  # noqa: S311 - for sampling and jitter; a script keeps no secrets

MODULES: dict[str, Facade] = {
    "base64": _pick(
        base64, "b64encode b64decode standard_b64encode standard_b64decode urlsafe_b64encode urlsafe_b64decode b32encode b32decode b16encode b16decode"
    ),
    "collections": _pick(collections, "Counter OrderedDict defaultdict deque"),
    "datetime": Facade({
        "date": dt.date, "time": dt.time, "datetime": dt.datetime, "timedelta": dt.timedelta,
        "timezone": dt.timezone, "UTC": dt.UTC, "MINYEAR": dt.MINYEAR, "MAXYEAR": dt.MAXYEAR,
    }),
    "hashlib": Facade({name: _hash(name) for name in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "sha3_512", "blake2b")}),
    "itertools": _pick(
        itertools, "accumulate chain combinations combinations_with_replacement compress count cycle dropwhile filterfalse "
        "groupby islice pairwise permutations product repeat starmap takewhile tee zip_longest",
    ),
    "json": Facade({"dumps": _dumps, "loads": _loads, "JSONDecodeError": json.JSONDecodeError}),
    "math": _pick(
        math, "acos acosh asin asinh atan atan2 atanh cbrt ceil comb copysign cos cosh degrees dist e erf erfc exp exp2 expm1 "
        "fabs factorial floor fmod frexp fsum gamma gcd hypot inf isclose isfinite isinf isnan isqrt lcm ldexp lgamma log log10 "
        "log1p log2 modf nan nextafter perm pi pow prod radians remainder sin sinh sqrt tan tanh tau trunc ulp",
    ),
    "random": _pick(_RANDOM, "betavariate choice choices expovariate gauss randint random randrange sample shuffle triangular uniform"),
    # Flags are given as integers: the real ones are members of an enumeration, which lead to its class.
    "re": Facade({
        **{name: getattr(re, name) for name in ("compile", "match", "search", "fullmatch", "sub", "subn", "split", "findall", "finditer", "escape", "error")},
        **{name: int(getattr(re, name)) for name in ("I", "IGNORECASE", "M", "MULTILINE", "S", "DOTALL", "X", "VERBOSE", "A", "ASCII", "U", "UNICODE")},
    }),
    "statistics": _pick(
        statistics, "fmean geometric_mean harmonic_mean mean median median_grouped median_high median_low mode multimode pstdev "
        "pvariance quantiles stdev variance StatisticsError",
    ),
    "string": _pick(string, "ascii_letters ascii_lowercase ascii_uppercase digits hexdigits octdigits printable punctuation whitespace"),
    "time": _pick(time, "time time_ns monotonic perf_counter gmtime localtime mktime strftime"),  # no sleep: a run waits for nothing
    "uuid": Facade({"uuid4": _uuid4, "uuid5": _uuid5, **{name: str(getattr(uuid, name)) for name in ("NAMESPACE_DNS", "NAMESPACE_OID", "NAMESPACE_URL", "NAMESPACE_X500")}}),
}  # fmt: skip
"""What `import` gives a script, by module name."""


def preload() -> None:
    """Use everything once that opens a file at its first use: the time zone, the codecs, the pattern compiler."""
    time.localtime()
    dt.datetime.strptime("20000101", "%Y%m%d").astimezone().strftime("%c")
    for codec in (
        "ascii",
        "latin-1",
        "utf-16",
        "utf-32",
        "utf-8-sig",
        "cp1252",
        "unicode_escape",
        "raw_unicode_escape",
    ):
        "".encode(codec)
    for first_use in (_strptime.TimeRE, heapq.nlargest, unicodedata.normalize):
        assert callable(first_use)
    collections.Counter("aab").most_common(1)
    statistics.quantiles([1.0, 2.0, 3.0])
    re.compile(r"(?i)\w+").sub("", "a")
    json.dumps(json.loads("[1]"), indent=1)
    uuid.uuid4()
