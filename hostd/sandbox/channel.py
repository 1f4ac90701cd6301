"""How messages travel between two processes: as length-prefixed msgpack over a socket pair.

Never pickle: what comes back from a process that ran a stranger's script, or read a stranger's file, is data, and is treated as hostile data.
"""

from __future__ import annotations

import errno
import math
import select
import socket
import struct
import time
from typing import Any

import msgspec

_LENGTH = 4
_CHUNK = 1 << 16
_ENCODER = msgspec.msgpack.Encoder()


class FrameError(Exception):
    """The other side sent something that is not a frame of this protocol."""


def encoded(message: Any) -> bytes:
    """Return a message as it travels in a frame."""
    return _ENCODER.encode(message)


class Channel:
    """Frames over one end of a socket pair: four bytes of length, big-endian, then msgpack. For one thread at a time.

    The socket stays a blocking one: to set a time limit on it and to read length and body apart would take three times the system calls.
    One that `reads_ahead` cannot be sent descriptors beside its frames.
    """

    def __init__(self, sock: socket.socket, receives: Any, *, max_receive: int, reads_ahead: bool = True) -> None:
        self._socket = sock
        self._decoder = msgspec.msgpack.Decoder(receives)
        self._max_receive = max_receive
        self._received = bytearray()
        self._chunk = _CHUNK if reads_ahead else 0
        self._limit_s: float | None = None
        sock.settimeout(None)

    def send(self, message: Any) -> None:
        """Send one frame. Raises `OSError` when the other side is gone, `TimeoutError` when it has not read it all by the time limit."""
        self.send_encoded(encoded(message))

    def send_encoded(self, body: bytes) -> None:
        """Send one frame that is `encoded` already; raises as `send`."""
        frame = struct.pack(">I", len(body)) + body
        if self._limit_s is None:
            self._socket.sendall(frame)
            return
        left, until = memoryview(frame), time.monotonic() + self._limit_s
        while left:
            try:
                left = left[self._socket.send(left, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                self._await(select.POLLOUT, until)

    def send_descriptors(self, descriptors: list[int]) -> None:
        """Send open descriptors with one byte of their own, for `socket.recv_fds` after the frame before them; raises as `send`."""
        until = math.inf if self._limit_s is None else time.monotonic() + self._limit_s
        while True:
            try:
                socket.send_fds(self._socket, [b"F"], descriptors, socket.MSG_DONTWAIT)
                return
            except BlockingIOError:
                self._await(select.POLLOUT, until)

    def receive(self, *, deadline: float | None = None) -> Any:
        """Return the next frame; with a deadline (seconds of `time.monotonic`) by then, however slowly it trickles in.

        Raises `EOFError` at the end, `TimeoutError` by the deadline or the time limit, `FrameError` otherwise.
        """
        self._read(_LENGTH, deadline)
        length = int.from_bytes(self._received[:_LENGTH])
        if length > self._max_receive:
            raise FrameError(f"a frame of {length} bytes is over the limit of {self._max_receive}")
        end = _LENGTH + length
        self._read(end, deadline)
        body = bytes(self._received[_LENGTH:end])
        del self._received[:end]
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise FrameError(f"not a frame of this protocol: {error}") from error

    def _read(self, count: int, deadline: float | None) -> None:
        """Read until so many bytes are there; more may come with them."""
        while (missing := count - len(self._received)) > 0:
            until = deadline
            if until is None and self._limit_s is not None:
                until = time.monotonic() + self._limit_s
            if until is not None:
                self._await(select.POLLIN, until)
            chunk = self._socket.recv(min(max(missing, self._chunk), 1 << 20))
            if not chunk:
                raise EOFError("the other side closed the connection")
            self._received += chunk

    def _await(self, event: int, until: float) -> None:
        """Wait until something can be read or written, or the connection is gone. Raises `TimeoutError`."""
        descriptor = self._socket.fileno()
        if descriptor < 0:
            raise OSError(errno.EBADF, "the connection was closed")
        ready = select.poll()
        ready.register(descriptor, event)
        left = until - time.monotonic()
        if left <= 0 or not ready.poll(None if left == math.inf else math.ceil(1e3 * left)):
            raise TimeoutError("the frame was not complete in time")

    def settimeout(self, seconds: float | None) -> None:
        """Limit how long one read or write may block."""
        self._limit_s = seconds

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
