"""Asking the system, by a lease, who else has a file open. Only Linux has leases, and not for all of its file systems."""

from __future__ import annotations

import errno
import fcntl
import signal

_SET_LEASE: int | None = getattr(fcntl, "F_SETLEASE", None)
IS_KNOWN = _SET_LEASE is not None
"""Whether this system has leases."""


def has_alone(descriptor: int) -> bool:
    """Tell whether nobody has the file open but by what opened this descriptor; no where it cannot be told."""
    try:
        _lease(descriptor, fcntl.F_WRLCK)
    except OSError:
        return False
    return True


def is_open_for_writing(descriptor: int) -> bool:
    """Tell whether anybody can write to the file, which this descriptor only reads; no where it cannot be told."""
    try:
        _lease(descriptor, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    return False


def _lease(descriptor: int, kind: int) -> None:
    """Take a lease, and give it up again. Raises `OSError`: `EAGAIN` where others have the file open."""
    if _SET_LEASE is None:
        raise OSError(errno.ENOSYS, "this system has no leases")
    # The signal that whoever opens the file just then sets off does nothing.
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
    fcntl.fcntl(descriptor, _SET_LEASE, kind)
    fcntl.fcntl(descriptor, _SET_LEASE, fcntl.F_UNLCK)
