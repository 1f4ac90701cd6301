"""The modules that scripts may import, each a bag of chosen names (`facade.Facade`).

The lists are exhaustive: every public name of a module is offered, or withheld for a reason, and a test compares them with the
module of the Python that runs. Whatever the offered names import lazily is called once here, because nothing can be opened
after the jail has closed.
"""

from __future__ import annotations

import _strptime  # type: ignore[import-not-found]  # has no stub; imported by datetime.strptime, from C, when it is first called
import collections
import datetime as dt
import heapq
import json
import re
import statistics
import time
import unicodedata  # imported by the compiler at the first identifier beyond ASCII
import uuid

from hostd.sandbox import api, schedules
from hostd.sandbox.facades import numbers, text, tools
from hostd.sandbox.facades.facade import WITHHELD, Facade, Inert

_API = Facade({
    **{one.__name__: Inert(one.__name__, one) for one in api.TYPES},
    **{one.__name__: one for one in api.VALUES},
    **api.SCRIPT_EXCEPTIONS,
    **schedules.DECORATORS,
})  # fmt: skip

MODULES: dict[str, Facade] = dict(
    sorted((numbers.MODULES | text.MODULES | tools.MODULES | {"hostd.api": _API}).items())
)
"""What `import` gives a script, by module name."""

NOT_OFFERED = {
    "asyncio": "a run waits for nothing; what takes time is an action",
    "dataclasses": "it makes code from text; write __init__, or use a dict",
    "enum": "its members lead to their class; use constants",
    "os": "a script reaches no file and no process",
    "pathlib": "a script reaches no file",
    "pydicom": "the host reads files; see instance.tags",
    "requests": "a script reaches no network",
    "socket": "a script reaches no network",
    "subprocess": "a script starts no process",
    "sys": "it leads to everything",
    "threading": "one run goes on at a time",
}
"""Modules that people look for, and why they are not there."""


def preload() -> None:
    """Use everything once that opens a file at its first use: the time zone, the codecs, the pattern compiler."""
    time.localtime()
    dt.datetime.strptime("20000101", "%Y%m%d").astimezone().strftime("%c")
    time.strptime("2000", "%Y")
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
    statistics.NormalDist(0, 1).inv_cdf(0.5)
    statistics.stdev([1, 2])
    re.compile(r"(?i)\w+").sub("", "a")
    json.dumps(json.loads("[1]"), indent=1)
    uuid.uuid4()
    uuid.uuid5(uuid.NAMESPACE_OID, "")
    uuid.uuid3(uuid.NAMESPACE_OID, "")


__all__ = ["MODULES", "NOT_OFFERED", "WITHHELD", "Facade", "preload"]
