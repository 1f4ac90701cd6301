"""A process that has loaded what workers need, and forks one off itself whenever the host asks: a zygote.

`hostd.launcher` executes it as it would a worker, with the same environment and one descriptor. It loads, and does nothing else: what a
worker is given to do comes over a connection of that worker's own, which the zygote passes on and never reads. So nothing of a script or
a file is ever in it, and a worker sees nothing of another. A worker closes whatever the zygote has open, and enters its jail as one does
that was executed by itself.

What its workers have alike, since they are copies: addresses in memory, and the secret of `hash`, so that sets of texts have one order in
all of them. Whoever has taken over a worker learns by that what the others' memory looks like, not what is in it. What they do not have
alike: `random` and the generator that scripts are given are seeded anew after a fork, OpenSSL's and the system's are the kernel's, and
numpy's is not loaded. Names of temporary files are none: no worker can open one.

Only a process of one thread can be forked in safety, so a zygote that has more than that ends. It sleeps until it is asked, and until one
of its workers ends. When the host is gone it kills them all, which a codec in an endless loop would not notice by itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import os
import select
import signal
import socket
import struct
from dataclasses import dataclass
from typing import NoReturn

ZYGOTE = "zygote"
"""What stands in the place of the memory limit of a process that is to be one."""
REQUEST = struct.Struct(">Q")
"""What the host asks by: bytes of memory that the worker may have. Its connection and its lifeline come along."""
BORN = struct.Struct(">q")
"""What comes first over a lifeline: the worker's number, with a descriptor of its process, or the negated errno for which there is none."""
ENDED = struct.Struct(">i")
"""What comes last over a lifeline: the exit status of the worker, negative for the signal that ended it."""
_CONNECTION = 3


def settle(descriptor: int, what: str) -> tuple[int, int]:
    """Return the connection and the memory limit (bytes) of the worker that this process is from now on.

    `what` is the memory limit of a process that is a worker by itself, on that connection. Otherwise it is `ZYGOTE`, and this returns
    in each process that is forked off, not in the one that it was called in. Everything has to be loaded before.
    """
    is_zygote = what == ZYGOTE
    if is_zygote:
        gc.collect()
    gc.freeze()  # what is loaded stays: the collector would look at it again and again, and in a fork copy it by that
    gc.enable()
    if not is_zygote:
        return descriptor, int(what)
    with contextlib.suppress(AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)  # what loading took and does not need any more
    return _CONNECTION, _Zygote(socket.socket(fileno=descriptor)).serve()


@dataclass(frozen=True, slots=True)
class _Child:
    pid: int
    lifeline: socket.socket


class _Zygote:
    """The zygote's side of the connection to its host."""

    def __init__(self, host: socket.socket) -> None:
        if len(os.listdir("/proc/self/task")) != 1:  # noqa: PTH208 - fewer modules in each worker
            raise SystemExit("what was loaded has started a thread")
        self._host = host
        self._children: dict[int, _Child] = {}
        """Those that run, by a descriptor that can be read once they have ended."""
        self._news = select.poll()
        self._news.register(host, select.POLLIN)

    def serve(self) -> int:
        """Fork workers until the host is gone; return in a worker, with its memory limit."""
        while True:
            for descriptor, _ in self._news.poll():
                if descriptor in self._children:
                    self._bury(descriptor)
                elif (memory_bytes := self._answer()) is not None:
                    return memory_bytes

    def _answer(self) -> int | None:
        """Fork the worker that is asked for. Returns its memory limit in the worker, None in the zygote."""
        request, descriptors, _, _ = socket.recv_fds(self._host, REQUEST.size, 2)
        if not request:
            self._end()
        if len(descriptors) != 2:  # this process may have no more of them; the host sees the end of the lifeline
            for descriptor in descriptors:
                os.close(descriptor)
            return None
        connection, lifeline = descriptors[0], socket.socket(fileno=descriptors[1])
        try:
            pid = os.fork()
        except OSError as error:
            os.close(connection)
            with contextlib.suppress(OSError), lifeline:  # the host has given it up
                lifeline.send(BORN.pack(-(error.errno or errno.EAGAIN)))
            return None
        if pid == 0:
            self._leave_to_the_zygote(lifeline)
            os.dup2(connection, _CONNECTION)
            _close_all_beyond(_CONNECTION)
            if os.getsid(0) == os.getppid():  # a session of its own, where the zygote has one
                os.setsid()
            return int(REQUEST.unpack(request)[0])
        os.close(connection)
        self._follow(pid, lifeline)
        return None

    def _follow(self, pid: int, lifeline: socket.socket) -> None:
        process = os.pidfd_open(pid)
        self._children[process] = _Child(pid, lifeline)
        self._news.register(process, select.POLLIN)
        with contextlib.suppress(OSError):  # the host has given it up, and closed its connection
            socket.send_fds(lifeline, [BORN.pack(pid)], [process])

    def _bury(self, process: int) -> None:
        """Take the exit status of a worker that has ended, and tell it."""
        child = self._children.pop(process)
        self._news.unregister(process)
        os.close(process)
        _, status = os.waitpid(child.pid, 0)
        with contextlib.suppress(OSError):  # the host has given it up
            child.lifeline.send(ENDED.pack(os.waitstatus_to_exitcode(status)))
        child.lifeline.close()

    def _end(self) -> NoReturn:
        """Kill all workers, and leave."""
        for child in self._children.values():
            os.kill(child.pid, signal.SIGKILL)
        for process in list(self._children):
            self._bury(process)
        os._exit(0)

    def _leave_to_the_zygote(self, lifeline: socket.socket) -> None:
        """In a worker: no object here closes a number that means something else from now on."""
        for one in (self._host, lifeline, *(child.lifeline for child in self._children.values())):
            one.detach()


def _close_all_beyond(descriptor: int) -> None:
    for number in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208 - as above
        if number > descriptor:
            with contextlib.suppress(OSError):  # that of the listing is closed
                os.close(number)
