"""Python's cyclic collector, which looks again and again at what stays: imports do without it, and a node does with little of it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without_collecting() -> Iterator[None]:
    """Leave the collector out meanwhile, a fifth of the time of imports; what was made is not looked at later either."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def import_libraries() -> None:
    """Import what every command needs, without what these libraries take along only where it is installed and hostd never has them use.

    pydicom downloads examples by requests, and structlog shows errors by rich: together a tenth of the time of all imports.
    """
    modules: dict[str, Any] = sys.modules
    absent = [name for name in ("requests", "rich") if name not in modules]
    modules.update(dict.fromkeys(absent))
    try:
        import pydicom  # noqa: F401, PLC0415
        import structlog  # noqa: F401, PLC0415
    finally:
        for name in absent:
            del modules[name]


_NEW_OBJECTS = 10_000
"""Containers after which the collector looks at the young ones: some ten headers."""


def collect_seldom() -> None:
    """Have the collector look at what is new less often than a small program needs."""
    gc.set_threshold(_NEW_OBJECTS, 10, 10)


def keep_what_is_there() -> None:
    """Leave what was made until now out of what the collector looks at: what a node made while it started stays as long as the node."""
    gc.collect()
    gc.freeze()
