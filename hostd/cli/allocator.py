"""The C library's allocator, which gives each of a node's threads a part of memory of its own, and keeps what is free in each."""

from __future__ import annotations

import contextlib
import ctypes

_M_ARENA_MAX = -8  # malloc.h


def share_one_arena() -> None:
    """Have all threads allocate from one part: what one has freed another takes, instead of new pages.

    For before there are threads. Python's own lock lets few of them allocate at a time anyway. Other C libraries than glibc are as they are.
    """
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
