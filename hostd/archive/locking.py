"""A file that one process at a time holds, as long as it lives."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from hostd.errors import NodeError


def lock(path: Path, held: Callable[[int], str]) -> int:
    """Lock a file, which is made if need be; return its descriptor, which ends the lock when it is closed.

    `held` is given the descriptor, and says what to tell when another process has the lock. Raises `NodeError`.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NodeError(f"the folder {path.parent} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        told = held(descriptor)
        os.close(descriptor)
        raise NodeError(told) from error
    return descriptor
