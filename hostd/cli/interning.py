"""Python 3.12 lets go of no interned string, and its `pathlib` interns each part of each path (python/cpython issues 113993 and 121780).

A node has a new path for each file that it stores: 80 bytes that would stay for ever. Neither Python 3.11 nor 3.13 keeps them.
"""

from __future__ import annotations

import pathlib
import sys
from types import ModuleType
from typing import Any


class _Sys(ModuleType):
    """The module `sys`, but that it interns nothing."""

    intern = staticmethod(str)

    def __getattr__(self, name: str) -> Any:
        return getattr(sys, name)


def keep_no_paths() -> None:
    """Have `pathlib` keep nothing of the paths that are gone, in this process."""
    if sys.version_info[:2] == (3, 12):
        vars(pathlib)["sys"] = _Sys("sys")
