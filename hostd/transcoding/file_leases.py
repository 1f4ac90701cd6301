"""Asking the system, by a lease, who else has a file open. Only Linux has leases, and not for all of its file systems.

A network's file system (NFS, SMB) refuses a lease in the same words whenever its server has granted nothing: there nothing can be told.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from pathlib import Path

_SET_LEASE: int | None = getattr(fcntl, "F_SETLEASE", None)
IS_KNOWN = _SET_LEASE is not None
"""Whether this system has leases."""
_LOCAL = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs"})
"""File systems of which the kernel itself knows who has a file open."""
_MOUNTS = Path("/proc/self/mountinfo")


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
        return error.errno == errno.EAGAIN and is_local(descriptor)
    return False


def is_local(descriptor: int) -> bool:
    """Tell whether a file is of a file system of which the kernel itself knows who has it open; no where that is not known."""
    device = os.fstat(descriptor).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = _MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return False
    # Its number, with others before a hyphen; its type is the first word after it (proc_pid_mountinfo(5)).
    for line in mounts:
        mount, _, kind = line.partition(" - ")
        if mount.split()[2:3] == [number]:
            return kind.partition(" ")[0] in _LOCAL
    return False


def _lease(descriptor: int, kind: int) -> None:
    """Take a lease, and give it up again. Raises `OSError`: `EAGAIN` where others have the file open."""
    if _SET_LEASE is None:
        raise OSError(errno.ENOSYS, "this system has no leases")
    # The signal that whoever opens the file just then sets off does nothing.
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
    fcntl.fcntl(descriptor, _SET_LEASE, kind)
    fcntl.fcntl(descriptor, _SET_LEASE, fcntl.F_UNLCK)
