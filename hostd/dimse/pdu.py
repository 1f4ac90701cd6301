"""PDUs on a socket (PS3.8 §9.3): read in large pieces, within limits of length and time.

Bytes are received into one buffer, and what the peer sent as data is handed on as views of that buffer: a data set is copied
once, from the kernel. A view is good until the next read.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable, Iterator
from enum import IntEnum

from hostd.dimse.errors import (
    REASON_NOT_SPECIFIED,
    SERVICE_USER,
    UNRECOGNIZED_PDU,
    BrokenError,
    InterruptedAssociationError,
    ProtocolError,
    TimedOutError,
)

CONTROL_LIMIT = 1 << 20
"""Bytes. The largest A-ASSOCIATE PDU: 128 contexts of 64 transfer syntaxes each are half of it."""
DATA_LIMIT = 16 << 20
"""Bytes. A P-DATA-TF may be longer than was agreed, since some modalities count wrongly and it is never held in memory; one
that claims more than this is garbage."""

_BUFFER = 256 << 10
_HEADER = struct.Struct(">BxI")
_ABORT_GRACE_S = 1.0
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
"""Linux has it."""
_HAS_KERNEL_TIMEOUTS = sys.platform == "linux"
_SHORTEST_S = 0.001


class PduType(IntEnum):
    """The seven PDUs (PS3.8 §9.3.1)."""

    A_ASSOCIATE_RQ = 1
    A_ASSOCIATE_AC = 2
    A_ASSOCIATE_RJ = 3
    P_DATA_TF = 4
    A_RELEASE_RQ = 5
    A_RELEASE_RP = 6
    A_ABORT = 7


def name(pdu_type: int) -> str:
    """Return the PDU's name as the standard writes it."""
    return PduType(pdu_type).name.replace("_", "-")


RELEASE_RQ = struct.pack(">BxI4x", PduType.A_RELEASE_RQ, 4)
RELEASE_RP = struct.pack(">BxI4x", PduType.A_RELEASE_RP, 4)


def abort_pdu(source: int, reason: int) -> bytes:
    """Return an A-ABORT (PS3.8 §9.3.8)."""
    return struct.pack(">BxIxxBB", PduType.A_ABORT, 4, source, reason)


def reject_pdu(result: int, source: int, reason: int) -> bytes:
    """Return an A-ASSOCIATE-RJ (PS3.8 §9.3.4)."""
    return struct.pack(">BxIxBBB", PduType.A_ASSOCIATE_RJ, 4, result, source, reason)


class Connection:
    """A transport connection that PDUs come and go on.

    `timeout_s`: seconds without a byte in either direction after which `TimedOutError` is raised. One thread uses a connection;
    only `interrupt` may be called by another.
    """

    def __init__(self, sock: socket.socket, *, timeout_s: float) -> None:
        self._socket = sock
        self._timeout_s = timeout_s
        self._current_timeout_s = 0.0
        self._patience_s: float | None = None
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0
        self._interrupted = False
        self.before_fill: Callable[[], None] | None = None
        """Called before the buffer is filled anew, while all pieces that were handed on are still good; it may raise."""
        self._use_timeout(timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def timeout_s(self) -> float:
        """Seconds of silence after which `TimedOutError` is raised."""
        return self._timeout_s

    @property
    def has_unread(self) -> bool:
        """Whether bytes wait that have been received already, here or in the TLS layer."""
        return self._end > self._start or (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending() > 0)

    def fileno(self) -> int:
        """Return the socket's file descriptor, to wait on."""
        return self._socket.fileno()

    def limit(self, seconds: float | None) -> None:
        """Wait for the peer no longer than so many seconds in all, until the next call; None: only each silence counts.

        What hostd does between two reads, such as waiting for its disk, is not held against the peer.
        """
        self._patience_s = seconds

    def limit_pdu(self) -> None:
        """Demand that the PDU now being read ends in reasonable time, so that a trickle of bytes cannot hold a thread."""
        self.limit(2 * self._timeout_s)

    # -- reading ------------------------------------------------------------------------------------------------------

    def header(self) -> tuple[PduType, int]:
        """Read a PDU's header; return its type and the length of what follows.

        Raises `ProtocolError` for a type or a length that no PDU has, `BrokenError` at the end of the connection.
        """
        self._need(6)
        pdu_type, length = _HEADER.unpack_from(self._buffer, self._start)
        if not PduType.A_ASSOCIATE_RQ <= pdu_type <= PduType.A_ABORT:
            received = bytes(self._view[self._start : self._start + 6])
            raise ProtocolError(f"what arrived is not a DICOM PDU (it begins {received!r})", reason=UNRECOGNIZED_PDU)
        self._start += 6
        limit = DATA_LIMIT if pdu_type == PduType.P_DATA_TF else CONTROL_LIMIT
        if length > limit:
            raise ProtocolError(
                f"an {name(pdu_type)} PDU claims {length} bytes, more than the {limit} that are accepted"
            )
        return PduType(pdu_type), length

    def take(self, count: int) -> bytes:
        """Read exactly so many bytes."""
        if count <= 12:
            self._need(count)
            taken = bytes(self._view[self._start : self._start + count])
            self._start += count
            return taken
        return b"".join(bytes(piece) for piece in self.pieces(count))

    def pieces(self, count: int) -> Iterator[memoryview]:
        """Read exactly so many bytes, as they come. A piece is good until the next is asked for."""
        while count:
            if self._start == self._end:
                self._fill()
            stop = min(self._start + count, self._end)
            piece = self._view[self._start : stop]
            self._start = stop
            count -= len(piece)
            yield piece

    def _need(self, count: int) -> None:
        while self._end - self._start < count:
            self._fill()

    def _fill(self) -> None:
        if self.before_fill is not None:
            self.before_fill()
        unread = self._end - self._start
        if self._start:
            # No more than part of a header is ever left over here.
            self._buffer[:unread] = self._buffer[self._start : self._end]
            self._start, self._end = 0, unread
        self._use_timeout(self._timeout_s if self._patience_s is None else min(self._timeout_s, self._patience_s))
        began = time.monotonic()
        try:
            self._acknowledge()
            received = self._socket.recv_into(self._view[self._end :])
        except (TimeoutError, BlockingIOError) as error:
            raise TimedOutError("the peer was silent or too slow for longer than is waited") from error
        except OSError as error:
            raise BrokenError(f"the connection broke: {error.strerror or error}") from error
        if self._interrupted:
            raise InterruptedAssociationError("hostd is stopping and cut the association off")
        if not received:
            raise BrokenError("the peer closed the connection without releasing the association")
        self._end += received
        if self._patience_s is not None:
            self._patience_s -= time.monotonic() - began
            if self._patience_s <= 0:
                raise TimedOutError("the peer was too slow to finish what it had begun")

    def _acknowledge(self) -> None:
        """Have TCP acknowledge at once what has come, so that the peer sends on.

        DCMTK and others write a PDU's header and its body apart, and the network stack of the peer (Nagle) keeps the body back until the
        header is acknowledged, which ours would delay by 40 ms: with every answer to a C-STORE. The option does not last.
        """
        if _QUICKACK is not None:
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def _use_timeout(self, timeout_s: float) -> None:
        """Have reads and writes wait so long: by the kernel where it can, since for Python's own timeout it is asked before each of them."""
        if timeout_s == self._current_timeout_s:
            return
        if _HAS_KERNEL_TIMEOUTS and not isinstance(self._socket, ssl.SSLSocket):
            self._socket.settimeout(None)
            seconds, fraction = divmod(max(timeout_s, _SHORTEST_S), 1)  # none at all would be for ever
            timeval = struct.pack("@ll", int(seconds), int(fraction * 1e6))
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                self._socket.setsockopt(socket.SOL_SOCKET, option, timeval)
        else:
            self._socket.settimeout(timeout_s)
        self._current_timeout_s = timeout_s

    # -- writing and ending -------------------------------------------------------------------------------------------

    def send(self, pdus: bytes | memoryview) -> None:
        """Send whole PDUs. Raises `TimedOutError` when the peer does not take them, `BrokenError` when it is gone."""
        self._use_timeout(self._timeout_s)
        ends = time.monotonic() + self._timeout_s
        left = memoryview(pdus)
        try:
            while True:
                left = left[self._socket.send(left) :]
                if not left:
                    return
                if time.monotonic() > ends:  # the kernel's timeout is of one call, which may send a part
                    raise TimeoutError
        except (TimeoutError, BlockingIOError) as error:
            raise TimedOutError("the peer did not take what was sent to it in time") from error
        except OSError as error:
            raise BrokenError(f"the connection broke while sending: {error.strerror or error}") from error

    def abort(self, source: int = SERVICE_USER, reason: int = REASON_NOT_SPECIFIED) -> None:
        """Send A-ABORT, if the peer still takes it. An abort is not answered, so it is not known whether it arrived."""
        # A peer that is gone already cannot be told.
        with contextlib.suppress(OSError):
            self._use_timeout(_ABORT_GRACE_S)
            self._socket.sendall(abort_pdu(source, reason))

    def finish(self, wait_s: float) -> None:
        """Wait for the peer to close (PS3.8 §9.2.3, Sta13), then close. What still arrives is thrown away.

        Closing at once would let the network drop our last PDU when the peer's data are still unread.
        """
        end = time.monotonic() + wait_s
        # The association has ended whatever happens here.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            while not self._interrupted and (remaining := end - time.monotonic()) > 0:
                self._socket.settimeout(remaining)
                if not self._socket.recv_into(self._buffer):
                    break
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def interrupt(self) -> None:
        """Make a read or write that blocks in another thread end with `InterruptedAssociationError`."""
        self._interrupted = True
        # It may have been closed in this moment.
        with contextlib.suppress(OSError):
            # Not that of an SSLSocket, which would take the TLS layer away from the other thread.
            socket.socket.shutdown(self._socket, socket.SHUT_RD)
