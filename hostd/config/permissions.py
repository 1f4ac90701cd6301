"""Who else could write a file that hostd trusts, read a folder that is private, or take away its locks."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from hostd.errors import ConfigurationError, NodeError

NETWORK_FILE_SYSTEMS = frozenset({
    "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fhgfs", "gfs", "gfs2", "glusterfs", "gpfs",
    "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "prl_fs", "pvfs2", "smb2", "smb3", "smbfs", "vboxsf", "vmhgfs",
})  # fmt: skip
"""File systems, as Linux calls them, on which locks or shared memory do not work as SQLite's WAL needs them."""

_LOCAL_FUSE = frozenset(
    {"fuseblk", "fuse.ntfs-3g", "fuse.bindfs", "fuse.fuse-overlayfs", "fuse.mergerfs", "fuse.gocryptfs"}
)


def refuse_writable_by_others(path: Path) -> None:
    """Refuse a file or folder that another user than its owner, root or this process's user could change or replace.

    Every folder on the way is looked at, links and their targets too: who may write a folder may put another file into
    its place. A sticky folder such as /tmp is fine, for there only owners replace what is theirs.
    Raises `ConfigurationError` naming what is open and the command that closes it.
    """
    try:
        for step in _way_to(path):
            _refuse_step(path, step, step.lstat())
    except OSError as error:
        raise ConfigurationError(f"{error.filename or path} cannot be looked at: {error.strerror}") from error


def hindrance(path: Path) -> str | None:
    """Say why this user cannot look at a path, and what to do. None: it can be looked at, or there is nothing."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        return f"{path} cannot be looked at: {error.strerror}; run it as the user of the node"
    except OSError as error:
        return f"{path} cannot be looked at: {error.strerror}"
    return None


def _refuse_step(path: Path, step: Path, status: os.stat_result) -> None:
    advice = "or set node.allow_insecure_permissions = true (environment: HOSTD_NODE__ALLOW_INSECURE_PERMISSIONS)"
    whole = str(step) if step == path else f"{step}, on the way to {path},"
    if status.st_uid not in {0, os.geteuid()}:
        raise ConfigurationError(
            f"{whole} belongs to another user (uid {status.st_uid}), who could change it: "
            f"run `chown {os.geteuid()} '{step}'` {advice}"
        )
    if stat.S_ISLNK(status.st_mode):  # the mode of a link says nothing
        return
    sticky_folder = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX and step != path
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not sticky_folder:
        raise ConfigurationError(f"{whole} may be written by other users: run `chmod go-w '{step}'` {advice}")


def _way_to(path: Path) -> Iterator[Path]:
    """Give the path, all folders above it, and the same for what every link on the way points to."""
    waiting = [Path(os.path.abspath(path)), Path(os.path.realpath(path, strict=True))]  # noqa: PTH100 - the path as written, links kept
    seen: set[Path] = set()
    while waiting:
        here = waiting.pop()
        for step in (here, *here.parents):
            if step in seen:
                continue
            seen.add(step)
            yield step
            if step.is_symlink():
                waiting.append(Path(os.path.normpath(step.parent.resolve() / step.readlink())))


def private_folder(path: Path) -> None:
    """Make a folder that only its owner may enter (0700), or tighten the one that is there.

    Raises `NodeError` when it is no folder, belongs to another user, or its file system keeps no permissions.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileExistsError:
        raise NodeError(f"{path} is not a folder: choose another in node.data") from None
    except OSError as error:
        raise NodeError(f"the folder {path} cannot be used: {error.strerror}") from error
    try:
        status = os.fstat(folder)
        if status.st_uid != os.geteuid():
            raise NodeError(
                f"the folder {path} belongs to another user (uid {status.st_uid}, this process is uid {os.geteuid()}): "
                "run hostd as that user, or choose another folder in node.data"
            )
        if stat.S_IMODE(status.st_mode) & 0o077:
            os.fchmod(folder, 0o700)
            if stat.S_IMODE(os.fstat(folder).st_mode) & 0o077:
                raise NodeError(f"the folder {path} cannot be made private: its file system keeps no permissions")
    except OSError as error:
        raise NodeError(f"the folder {path} cannot be made private: {error.strerror}") from error
    finally:
        os.close(folder)


def refuse_network_file_system(path: Path, *, mountinfo: Path = Path("/proc/self/mountinfo")) -> None:
    """Refuse a folder on a file system that loses locks; the folder need not exist yet.

    Raises `NodeError`. On systems other than Linux there is nothing to read, and nothing is refused.
    """
    if sys.platform != "linux":
        return
    try:
        mounts = mountinfo.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise NodeError(f"{mountinfo} cannot be read ({error.strerror}): is /proc mounted?") from error
    mount_point, kind = _mount_of(Path(os.path.realpath(path)), mounts)
    if kind in NETWORK_FILE_SYSTEMS or (kind.startswith("fuse.") and kind not in _LOCAL_FUSE):
        raise NodeError(
            f"{path} is on a network file system ({kind}, mounted at {mount_point}), where SQLite would lose data: "
            "choose a folder on a local disk in node.data"
        )


def _mount_of(path: Path, mounts: str) -> tuple[Path, str]:
    """Return mount point and type of the file system of an absolute path; of mounts on one point the last counts."""
    found, kind = Path("/"), "unknown"
    for line in mounts.splitlines():
        fields, _, source = line.partition(" - ")
        if not source:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields.split(" ")[4]))
        if path.is_relative_to(point) and len(point.parts) >= len(found.parts):
            found, kind = point, source.split(" ")[0]
    return found, kind
