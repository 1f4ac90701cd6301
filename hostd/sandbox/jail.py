"""The wall around a worker process: what it needs is open already, and nothing more can be opened.

Four layers, each by the kernel, none in need of root or of a third-party library: resource limits, no_new_privs, Landlock
(no file, no TCP, no signal to others) and a seccomp list of the system calls that Python needs once everything is imported.
Seccomp is the finest; Landlock stands where an architecture has no table here. Script workers and codec workers both enter
by `enter`, after their last import and before they read the first byte that a stranger wrote. A program that is no worker of
ours cannot do with so little: `confine` is the wider wall around an external tool.

PR_SET_PDEATHSIG is not used: it fires when the *thread* that started the worker ends. A worker leaves when its connection ends.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

LAYERS = ("rlimits", "no_new_privs", "landlock", "seccomp")
"""The layers of the jail, as `enter` reports them."""

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38

_CALLS: dict[str, tuple[int | None, int | None]] = {
    # name: (x86_64, aarch64); None where the architecture has no such call
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "fstat": (5, 80), "poll": (7, None), "lseek": (8, 62),
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "brk": (12, 214), "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "pread64": (17, 67), "pwrite64": (18, 68), "readv": (19, 65),
    "writev": (20, 66), "select": (23, None), "sched_yield": (24, 124), "mremap": (25, 216), "madvise": (28, 233),
    "dup": (32, 23), "nanosleep": (35, 101), "getpid": (39, 172), "sendto": (44, 206), "recvfrom": (45, 207),
    "sendmsg": (46, 211), "recvmsg": (47, 212), "shutdown": (48, 210), "clone": (56, 220), "exit": (60, 93),
    "fcntl": (72, 25), "fsync": (74, 82), "fdatasync": (75, 83), "ftruncate": (77, 46), "getrusage": (98, 165),
    "sysinfo": (99, 179), "sigaltstack": (131, 132), "gettid": (186, 178), "futex": (202, 98),
    "sched_setaffinity": (203, 122), "sched_getaffinity": (204, 123), "restart_syscall": (219, 128),
    "fadvise64": (221, 223), "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115),
    "exit_group": (231, 94), "ppoll": (271, 73), "set_robust_list": (273, 99), "fallocate": (285, 47),
    "getcpu": (309, 168), "getrandom": (318, 278), "memfd_create": (319, 279), "membarrier": (324, 283), "rseq": (334, 293),
    "clone3": (435, 435),
}  # fmt: skip
"""Every call that a worker may be given. Absent on purpose: what opens, names, executes, connects or signals."""

_ALWAYS = frozenset({
    "read", "write", "close", "fstat", "poll", "lseek", "mmap", "mprotect", "munmap", "brk", "rt_sigaction",
    "rt_sigprocmask", "rt_sigreturn", "pread64", "readv", "writev", "select", "sched_yield", "mremap", "madvise",
    "nanosleep", "getpid", "sendto", "recvfrom", "exit", "getrusage", "sigaltstack", "gettid", "futex",
    "restart_syscall", "clock_gettime", "clock_nanosleep", "exit_group", "ppoll", "getrandom", "rseq",
})  # fmt: skip
"""What CPython needs to compute and to speak over a socket that is open already."""

_ARCHITECTURES = {
    # machine: (column of _CALLS, AUDIT_ARCH of linux/audit.h, number of seccomp(2))
    "x86_64": (0, 0xC000003E, 317),
    "aarch64": (1, 0xC00000B7, 277),
}
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446  # the same numbers on every architecture

_NETWORK_CALLS = {"socket": (41, 198), "connect": (42, 203), "bind": (49, 200)}
_ESCAPING_CALLS = {
    # Out of the group of processes that is ended as a whole.
    "setpgid": (109, 154), "setsid": (112, 157),
    # Into other processes, or into the kernel by ways that no program needs which converts a file.
    "ptrace": (101, 117), "mount": (165, 40), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "unshare": (272, 97), "perf_event_open": (298, 241), "setns": (308, 268), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "bpf": (321, 280), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
}  # fmt: skip
"""What a confined program may not call: name → numbers, as in `_CALLS`."""

READ, WRITE = "read", "write"
"""What `confine` may allow beneath a path: to read and execute; to do everything with files."""
_LANDLOCK_READ = 0b1101  # execute, read files, read folders
_LANDLOCK_OF_FILES = 0b111 | 1 << 14 | 1 << 15  # execute, write, read, truncate, ioctl: all that one file can have

_CLONE_THREAD = 0x00010000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_KILL, _ALLOW, _ERRNO = 0x80000000, 0x7FFF0000, 0x00050000
_DATA_NUMBER, _DATA_ARCH, _DATA_ARGUMENT_0 = 0, 4, 16  # offsets in struct seccomp_data
_X32 = 0x40000000


def enter(
    *,
    memory_bytes: int,
    cpu_seconds: int | None = None,
    open_files: int,
    file_bytes: int,
    extra_calls: Collection[str] = (),
) -> dict[str, int]:
    """Close the jail around this process, for good, and return the layers in force.

    The result has `rlimits`, `no_new_privs`, `landlock` (its ABI) and `seccomp`; 0 says that the kernel does not have the
    layer, and whoever reads it decides whether to go on. `cpu_seconds` counts over the whole life of the process;
    `file_bytes` is the largest size a file may be written to; `open_files` bounds descriptor numbers.

    `extra_calls` names system calls beyond those that every worker has, for example "recvmsg" for descriptors that are
    passed in, or "ftruncate". With "clone" only threads can be made, never processes, and clone3, whose arguments no
    filter can read, answers "no such call", so that the C library falls back to clone.

    Raises `ValueError` for a call that is not in the table.
    """
    unknown = sorted(set(extra_calls) - _CALLS.keys())
    if unknown:
        raise ValueError(f"no system call in the jail's table is called {', '.join(unknown)}")
    _limit(memory_bytes=memory_bytes, cpu_seconds=cpu_seconds, open_files=open_files, file_bytes=file_bytes)
    layers = dict.fromkeys(LAYERS, 0) | {"rlimits": 1}
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # no other process of this user reads the worker's memory
        layers["no_new_privs"] = int(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
        layers["landlock"] = _landlock(libc)
        layers["seccomp"] = int(_seccomp(libc, _filter_of(_ALWAYS | set(extra_calls))))
    return layers


def confine(
    *,
    memory_bytes: int,
    cpu_seconds: int,
    open_files: int,
    file_bytes: int,
    processes: int,
    paths: Mapping[Path, str],
    network: bool,
) -> dict[str, int]:
    """Put up the wall around an external program, which this process is about to become, and return the layers in force.

    Unlike in the jail of `enter` it may open files and start processes: beneath `paths`, each with `READ` or `WRITE`, and nothing
    elsewhere; a path that does not exist is passed over. Its processes cannot leave their process group. Without `network` it has
    no sockets. `processes` is how many more processes and threads its user may have than now; root is not held by that.
    The result is as that of `enter`.
    """
    _limit(memory_bytes=memory_bytes, cpu_seconds=cpu_seconds, open_files=open_files, file_bytes=file_bytes)
    layers = {"rlimits": 1, "no_new_privs": 0, "landlock": 0, "seccomp": 0}
    if sys.platform == "linux":
        _lower(resource.RLIMIT_NPROC, _tasks_of_this_user() + processes)
        libc = ctypes.CDLL(None, use_errno=True)
        layers["no_new_privs"] = int(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
        layers["landlock"] = _landlock(libc, paths, network=network)
        refused = _ESCAPING_CALLS if network else _ESCAPING_CALLS | _NETWORK_CALLS
        layers["seccomp"] = int(_seccomp(libc, _refusal_of(refused)))
    return layers


def _tasks_of_this_user() -> int:
    """Count the processes and threads of this user, as the kernel does for RLIMIT_NPROC."""
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid == os.getuid():
                count += sum(1 for _ in (process / "task").iterdir())
        except OSError:  # it has ended meanwhile
            continue
    return count


# -- limits -----------------------------------------------------------------------------------------------------------


def _limit(*, memory_bytes: int, cpu_seconds: int | None, open_files: int, file_bytes: int) -> None:
    """Set resource limits, never above a hard limit that stands already."""
    # Not RLIMIT_NPROC: it counts all processes of the user, so it would depend on what else runs.
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, file_bytes)
    _lower(resource.RLIMIT_NOFILE, open_files)
    if sys.platform == "linux":  # macOS does not enforce it, and some of its versions refuse to set it
        _lower(resource.RLIMIT_AS, memory_bytes)
    if cpu_seconds is not None:
        _lower(resource.RLIMIT_CPU, cpu_seconds)


def _lower(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


# -- Landlock ---------------------------------------------------------------------------------------------------------


def _landlock(libc: ctypes.CDLL, paths: Mapping[Path, str] | None = None, *, network: bool = False) -> int:
    """Take every right that this kernel's Landlock knows of, and grant those of `paths`. Returns the ABI, 0 where there is none."""
    abi = int(libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))
    if abi < 1:
        return 0
    files = (1 << 13) - 1
    for since, right in ((2, 1 << 13), (3, 1 << 14), (5, 1 << 15)):  # refer, truncate, ioctl on devices
        if abi >= since:
            files |= right
    tcp = 0b11 if abi >= 4 and not network else 0  # bind and connect of TCP
    scope = 0b11 if abi >= 6 else 0  # abstract UNIX sockets and signals, towards processes outside
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    rights = struct.pack("=QQQ", files, tcp, scope)[:size]
    ruleset = int(libc.syscall(_LANDLOCK_CREATE, rights, ctypes.c_size_t(size), ctypes.c_uint32(0)))
    if ruleset < 0:
        return 0
    try:
        for path, what in (paths or {}).items():
            _allow(libc, ruleset, path, files & (_LANDLOCK_READ if what == READ else files))
        return abi if libc.syscall(_LANDLOCK_RESTRICT, ruleset, ctypes.c_uint32(0)) == 0 else 0
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    """Grant rights beneath a path, or on it where it is no folder. Raises `OSError` when the kernel does not take it."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not path.is_dir():
            rights &= _LANDLOCK_OF_FILES
        rule = struct.pack("=Qi", rights, descriptor)
        if libc.syscall(_LANDLOCK_ADD, ruleset, ctypes.c_uint(1), rule, ctypes.c_uint32(0)) != 0:
            raise OSError(ctypes.get_errno(), f"the kernel does not let {path} be opened to the tool")
    finally:
        os.close(descriptor)


# -- seccomp ----------------------------------------------------------------------------------------------------------


_Instruction = tuple[int, int, int, int]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def _seccomp(libc: ctypes.CDLL, code: bytes | None) -> bool:
    """Put a filter on every thread; a foreign ABI is killed by it. False without a filter or a kernel that takes it."""
    known = _ARCHITECTURES.get(platform.machine())
    if known is None or code is None:
        return False
    held = ctypes.create_string_buffer(code)
    program = _Program(len(code) // 8, ctypes.addressof(held))
    set_filter, all_threads = ctypes.c_uint(1), ctypes.c_uint(1)
    return bool(libc.syscall(known[2], set_filter, all_threads, ctypes.byref(program)) == 0)


def _filter_of(calls: Collection[str]) -> bytes | None:
    """Return the filter that allows these calls and no others, which fail with EPERM; None where there is no table."""
    known = _ARCHITECTURES.get(platform.machine())
    return _filter(calls, known[0], known[1]) if known else None


def _refusal_of(calls: Mapping[str, tuple[int, int]]) -> bytes | None:
    """Return the filter that allows all calls but these, which fail with EPERM; None where there is no table."""
    known = _ARCHITECTURES.get(platform.machine())
    if known is None:
        return None
    column, audit, _ = known
    program = _opening(audit)
    for numbers in calls.values():
        program += [(_EQUAL, 0, 1, numbers[column]), (_RETURN, 0, 0, _ERRNO | errno.EPERM)]
    return _assembled([*program, (_RETURN, 0, 0, _ALLOW)])


def _filter(calls: Collection[str], column: int, audit: int) -> bytes:
    """Assemble the filter program (linux/filter.h): a jump names how many instructions to skip if true, if false."""
    clone, clone3 = _CALLS["clone"][column], _CALLS["clone3"][column]
    threads = "clone" in calls
    plain = sorted(n for name in calls if name not in ("clone", "clone3") and (n := _CALLS[name][column]) is not None)
    program = _opening(audit)
    for number in plain:
        program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    if threads:
        assert clone is not None
        assert clone3 is not None
        program += [
            (_EQUAL, 0, 1, clone3),
            (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
            (_EQUAL, 0, 3, clone),
            (_LOAD, 0, 0, _DATA_ARGUMENT_0),
            (_ANY_BIT, 0, 1, _CLONE_THREAD),
            (_RETURN, 0, 0, _ALLOW),
        ]
    program.append((_RETURN, 0, 0, _ERRNO | errno.EPERM))
    return _assembled(program)


def _opening(audit: int) -> list[_Instruction]:
    """Return the instructions that kill a foreign ABI and load the number of the call."""
    return [
        (_LOAD, 0, 0, _DATA_ARCH),
        (_EQUAL, 1, 0, audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _DATA_NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]


def _assembled(program: list[_Instruction]) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
