"""Starts worker processes: each a program of its own, or forked off one that has loaded what they need.

It imports little, so that a node's first workers start while the rest of it is still imported.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence

import structlog

from hostd.sandbox.zygote import BORN, ENDED, REQUEST, ZYGOTE

_log = structlog.get_logger(__name__)

_BORN_LIMIT_S = 60.0
"""Seconds for a zygote to load everything, and to fork a worker."""
_END_LIMIT_S = 10.0
"""Seconds for a zygote to end, or to tell that a worker has."""


class _ZygoteLostError(Exception):
    """A zygote has ended, or does not answer."""


class Launcher:
    """Starts processes of a program that calls `hostd.sandbox.zygote.settle`. For any number of threads.

    The program is run as `[*program, DESCRIPTOR, MEMORY_LIMIT_OR_ZYGOTE, *arguments]`, with that environment, one descriptor, no
    folder, no terminal, and with `own_session` a session of its own; a system may share out processors by sessions, and regard
    niceness only within one. Workers are forked off a zygote, which is started for the first of them or by
    `warm_up`; where the system has no descriptors of processes (before Linux 5.3), or no zygote lives, each is started by itself.
    """

    def __init__(
        self, program: Sequence[str], arguments: Sequence[str], environment: Mapping[str, str], *, own_session: bool
    ) -> None:
        self._program = tuple(program)
        self._own_session = own_session
        self._arguments = tuple(arguments)
        self._environment = dict(environment)
        self._lock = threading.Lock()
        # What follows is for who holds `_lock`.
        self._forks = _can_fork()
        self._zygote: _Zygote | None = None
        self._is_closed = False

    def warm_up(self) -> None:
        """Start the zygote now, which loads what workers need meanwhile. Raises `OSError` where no process can be started."""
        self._the_zygote()

    def start(self, memory_bytes: int) -> tuple[Process, socket.socket]:
        """Start a worker that may use so much memory; return it and the connection to it. Raises `OSError` where that cannot be."""
        lost = ""
        for _ in range(2):
            zygote = self._the_zygote()
            if zygote is None:
                return self.start_alone(memory_bytes)
            try:
                return zygote.fork(memory_bytes)
            except _ZygoteLostError as error:
                lost = str(error)
                self._forget(zygote)
                if not self._is_closed:
                    _log.warning("the process that workers are forked off is gone; it is started anew", reason=lost)
        with self._lock:
            self._forks = False
        _log.warning("workers are not forked off a process any more, each is started by itself", reason=lost)
        return self.start_alone(memory_bytes)

    def start_alone(self, memory_bytes: int) -> tuple[Process, socket.socket]:
        """Start a worker that is forked off nothing: where it is the only one, that is less. Otherwise as `start`."""
        return self._execute(str(memory_bytes), socket.SOCK_STREAM)

    def rest(self) -> None:
        """End the zygote, which has no workers, until the next is started."""
        with self._lock:
            zygote, self._zygote = self._zygote, None
        if zygote is not None:
            zygote.end()

    def close(self) -> None:
        """End the zygote, and with it what workers it still has. No other can be started from then on."""
        with self._lock:
            self._is_closed = True
        self.rest()

    def _the_zygote(self) -> _Zygote | None:
        """Return the zygote, started if there is none; None where there can be none."""
        with self._lock:
            if self._is_closed:
                raise OSError(errno.ESHUTDOWN, "no more workers are started")
            if self._zygote is None and self._forks:
                self._zygote = _Zygote(*self._execute(ZYGOTE, socket.SOCK_SEQPACKET))
            return self._zygote

    def _forget(self, zygote: _Zygote) -> None:
        with self._lock:
            if self._zygote is zygote:
                self._zygote = None
        zygote.end()

    def _execute(self, what: str, kind: socket.SocketKind) -> tuple[subprocess.Popen[bytes], socket.socket]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        try:
            with theirs:
                process = subprocess.Popen(
                    [*self._program, str(theirs.fileno()), what, *self._arguments],
                    env=self._environment, cwd="/", pass_fds=(theirs.fileno(),), start_new_session=self._own_session,
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
        except BaseException:
            ours.close()
            raise
        return process, ours


class Forked:
    """A worker that was forked off a zygote, with what of `subprocess.Popen` is used of one that was not.

    `kill` may be called from any thread, the others from one at a time.
    """

    def __init__(self, pid: int, process: int, lifeline: socket.socket) -> None:
        """Take the descriptor of a process, and the lifeline over which its zygote tells its exit status."""
        self.pid = pid
        self.returncode: int | None = None
        self._process = process
        self._lifeline = lifeline
        self._lock = threading.Lock()
        """Held by who signals to the descriptor, or closes it."""

    def poll(self) -> int | None:
        """Return the exit status, negative for the signal that ended it; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, at most so many seconds; otherwise as `poll`. Raises `subprocess.TimeoutExpired`.

        The status of a worker whose zygote was killed before it is `UNKNOWN`.
        """
        if self.returncode is None:
            ended = select.poll()
            ended.register(self._process, select.POLLIN)
            if not ended.poll(None if timeout is None else math.ceil(1e3 * timeout)):
                raise subprocess.TimeoutExpired(f"worker {self.pid}", timeout or 0.0)
            status = self._status()
            with self._lock:
                self.returncode = status
                os.close(self._process)
                self._lifeline.close()
        return self.returncode

    def kill(self) -> None:
        """End the process at once, if it runs."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self.returncode is None:
                signal.pidfd_send_signal(self._process, signal.SIGKILL)

    def _status(self) -> int:
        """Return what its zygote says, which has taken its status now or is about to."""
        with contextlib.suppress(TimeoutError):
            if told := self._lifeline.recv(ENDED.size):
                return int(ENDED.unpack(told)[0])
        return _of_orphan(self._process)


UNKNOWN = 255
"""The exit status of a worker whose status nobody was there to take."""
Process = subprocess.Popen[bytes] | Forked


class _Zygote:
    """The host's side of the connection to a zygote."""

    def __init__(self, process: subprocess.Popen[bytes], connection: socket.socket) -> None:
        self._process = process
        self._connection = connection
        self._connection.settimeout(_BORN_LIMIT_S)
        self._has_forked = False

    def fork(self, memory_bytes: int) -> tuple[Forked, socket.socket]:
        """Have a worker forked; return it and the connection to it. Raises `_ZygoteLostError`, and `OSError` where there is no room for one."""
        with contextlib.ExitStack() as undo:
            ours, theirs = socket.socketpair()
            undo.enter_context(ours)
            with theirs:
                lifeline, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                undo.enter_context(lifeline)
                with its_end:
                    self._ask(memory_bytes, [theirs.fileno(), its_end.fileno()])
            forked = _born(lifeline)  # its end is closed here, so that it ends with the zygote
            self._has_forked = True
            undo.pop_all()
        return forked, ours

    def end(self) -> None:
        """End it, and with it what workers it still has."""
        self._connection.close()
        if not self._has_forked:
            self._process.kill()  # it may be loading still
        try:
            self._process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, memory_bytes: int, descriptors: list[int]) -> None:
        try:
            socket.send_fds(self._connection, [REQUEST.pack(memory_bytes)], descriptors)
        except OSError as error:
            raise _ZygoteLostError(str(error)) from error


def _born(lifeline: socket.socket) -> Forked:
    """Return the worker that was asked for over its lifeline."""
    lifeline.settimeout(_BORN_LIMIT_S)
    try:
        told, descriptors, _, _ = socket.recv_fds(lifeline, BORN.size, 1)
    except OSError as error:
        raise _ZygoteLostError(str(error)) from error
    if not told:
        raise _ZygoteLostError("it has ended")
    (pid,) = BORN.unpack(told)
    if pid < 0:
        raise OSError(-pid, os.strerror(-pid))
    if not descriptors:  # the worker finds its connection closed, and leaves
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    lifeline.settimeout(_END_LIMIT_S)
    return Forked(pid, descriptors[0], lifeline)


def _of_orphan(process: int) -> int:
    """Return the exit status of what its zygote left behind: for this process to take where it is the first of a container."""
    try:
        ended = os.waitid(os.P_PIDFD, process, os.WEXITED)  # it has: this does not wait
    except ChildProcessError:
        return UNKNOWN
    assert ended is not None, "nothing else was asked for"
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def _can_fork() -> bool:
    """Tell whether this system has descriptors of processes."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True
