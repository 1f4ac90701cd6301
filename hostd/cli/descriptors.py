"""How many files and connections a node may have open at one time."""

from __future__ import annotations

import contextlib
import resource

_MANY = 65_536


def allow_many() -> None:
    """Have as many as the system lets this user have, up to some ten thousands.

    What a process begins with, often 1024, is meant for programs that `select` among them; hundreds of callers, each with a file, need more.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY if hard == resource.RLIM_INFINITY else min(_MANY, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS says infinity, and has a limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
