"""An established association: messages made of PDVs (PS3.8 Annex E), the same for acceptor and requestor."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hostd.dimse import commands
from hostd.dimse.commands import CommandSet
from hostd.dimse.errors import (
    INVALID_PARAMETER_VALUE,
    SERVICE_USER,
    UNEXPECTED_PDU,
    AbortedError,
    ProtocolError,
)
from hostd.dimse.pdu import RELEASE_RP, Connection, PduType, name

MAX_PDU = 131072
"""Bytes. What hostd announces as its maximum length, and the most it sends where the peer names no limit."""

_PDV_HEADER = 6
_COMMAND = 0x01
_LAST = 0x02
_BATCH = 256 << 10


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context. On an association that hostd accepted, `peer_serves`: the peer is SCP of it; `peer_uses`: it is SCU.

    `extended` is what was agreed on of its SOP class (PS3.7 §D.3.3.5), b"" where nothing was.
    """

    id: int
    abstract_syntax: str
    transfer_syntax: str
    peer_serves: bool = False
    peer_uses: bool = True
    extended: bytes = b""


@dataclass(frozen=True, slots=True)
class Message:
    """A command set that arrived, and the presentation context that it came on."""

    context: Context
    command: CommandSet


class Association:
    """Messages on an established association.

    `peer_max_pdu` is the peer's Maximum Length Received (PS3.8 §D.1), 0 for no limit. After `receive` gave a message with a data
    set, the data set is read to its end with `data_set` (or `drain`) before anything else is received.
    """

    def __init__(self, connection: Connection, contexts: Mapping[int, Context], *, peer_max_pdu: int) -> None:
        self.connection = connection
        self.contexts = dict(contexts)
        self.bytes_received = 0
        """Bytes of data sets."""
        limit = min(peer_max_pdu, MAX_PDU) if peer_max_pdu else MAX_PDU
        # Fragments are of even length, which some receivers insist on; no limit is so small that two bytes do not fit.
        self._payload = max(2, (limit - _PDV_HEADER) & ~1)
        self._pdu_left = 0
        self._pdv_left = 0
        self._is_last_pdv = False
        """Of the data set: how much of its PDV is not read yet, and whether that is its last."""
        self._open_data_set: Context | None = None
        self._blocks: tuple[bytearray, bytearray] | None = None

    # -- receiving ----------------------------------------------------------------------------------------------------

    def receive(self) -> Message | None:
        """Return the next message's command set, or None when the peer asks for release.

        Raises `AbortedError`, `ProtocolError`, or what reading raises.
        """
        assert self._open_data_set is None, "the data set of the message before was not read"
        encoded = bytearray()
        context: Context | None = None
        while True:
            fragment = self._next_pdv(may_release=context is None)
            if fragment is None:
                return None
            on, control, length = fragment
            if not control & _COMMAND:
                raise _misplaced("a data set fragment arrived where a command was due")
            if context is not None and on != context:
                raise _misplaced("a command set goes on in another presentation context")
            context = on
            if len(encoded) + length > commands.LIMIT:
                raise _misplaced(f"a command set is longer than {commands.LIMIT} bytes")
            for piece in self._payload_pieces(length):
                encoded += piece
            if control & _LAST:
                break
        command = commands.decode(encoded)
        self._open_data_set = context if command.has_data_set else None
        self._pdv_left, self._is_last_pdv = 0, False
        return Message(context, command)

    def data_set(self) -> Iterator[memoryview]:
        """Read the data set of the message just received, piece by piece; a piece is good until the next is asked for.

        Whoever stops in its middle, and asks again, goes on where it was.
        """
        while self._open_data_set is not None:
            for piece in self._payload_pieces(self._pdv_left):
                self._pdv_left -= len(piece)
                self.bytes_received += len(piece)
                yield piece
            if self._is_last_pdv:
                break
            fragment = self._next_pdv(may_release=False)
            assert fragment is not None
            on, control, length = fragment
            if control & _COMMAND:
                raise _misplaced("a command arrived in the middle of a data set")
            if on != self._open_data_set:
                raise _misplaced("a data set goes on in another presentation context")
            self._pdv_left, self._is_last_pdv = length, bool(control & _LAST)
        self._open_data_set = None

    def hand_over(self, take: Callable[[Sequence[memoryview]], None]) -> None:
        """Read the data set, and have `take` called with what there is of it at a time; the pieces are good only during the call.

        What `take` raises ends it; what is left of the data set can be drained then.
        """
        gathered: list[memoryview] = []

        def flush() -> None:
            if gathered:
                pieces = gathered.copy()
                gathered.clear()
                take(pieces)

        self.connection.before_fill = flush
        try:
            for piece in self.data_set():
                gathered.append(piece)  # noqa: PERF402 - they are taken in between
        finally:
            self.connection.before_fill = None
        flush()

    def drain(self) -> None:
        """Read what is left of the data set and throw it away."""
        for _ in self.data_set():
            pass

    def _payload_pieces(self, count: int) -> Iterator[memoryview]:
        for piece in self.connection.pieces(count):
            self._pdu_left -= len(piece)
            yield piece

    def _next_pdv(self, *, may_release: bool) -> tuple[Context, int, int] | None:
        """Read the next PDV's header: its context, message control header (PS3.8 §E.2) and length; None for A-RELEASE-RQ."""
        while not self._pdu_left:
            self.connection.limit_pdu()
            pdu_type, length = self.connection.header()
            if pdu_type == PduType.A_RELEASE_RQ and may_release:
                self.connection.take(length)
                return None
            if pdu_type != PduType.P_DATA_TF:
                self._refuse(pdu_type, length)
            self._pdu_left = length
        if self._pdu_left < _PDV_HEADER:
            raise ProtocolError("a P-DATA-TF PDU ends in the middle of a PDV's header", reason=INVALID_PARAMETER_VALUE)
        length, context_id, control = struct.unpack(">IBB", self.connection.take(_PDV_HEADER))
        length -= 2
        self._pdu_left -= _PDV_HEADER
        if not 0 <= length <= self._pdu_left:
            raise ProtocolError("a PDV claims a length that its PDU does not have", reason=INVALID_PARAMETER_VALUE)
        context = self.contexts.get(context_id)
        if context is None:
            raise ProtocolError(
                f"a PDV came on presentation context {context_id}, which was not accepted",
                reason=INVALID_PARAMETER_VALUE,
            )
        return context, control, length

    def _refuse(self, pdu_type: PduType, length: int) -> None:
        if pdu_type == PduType.A_ABORT:
            raise read_abort(self.connection, length)
        raise ProtocolError(f"an {name(pdu_type)} PDU arrived where it is not allowed", reason=UNEXPECTED_PDU)

    # -- sending ------------------------------------------------------------------------------------------------------

    def send_command(self, context_id: int, encoded: bytes) -> None:
        """Send a command set, in fragments where the peer's maximum length demands it."""
        self.connection.send(self._small(context_id, _COMMAND, encoded))

    def send_message(self, context_id: int, command: bytes, data_set: bytes | None) -> None:
        """Send a command set with a small data set, in one write: a C-FIND has many."""
        pdus = self._small(context_id, _COMMAND, command)
        if data_set is not None:
            pdus += self._small(context_id, 0, data_set)
        self.connection.send(pdus)

    def _small(self, context_id: int, kind: int, encoded: bytes) -> bytes:
        pdus = bytearray()
        for start in range(0, max(len(encoded), 1), self._payload):
            fragment = encoded[start : start + self._payload]
            last = _LAST if start + len(fragment) == len(encoded) else 0
            pdus += _p_data_header(context_id, kind | last, len(fragment)) + fragment
        return bytes(pdus)

    def send_data_set(
        self, context_id: int, readinto: Callable[[memoryview], int], *, command: bytes | None = None
    ) -> None:
        """Send a data set as `readinto` gives it (0 at its end), in fragments of the peer's maximum length, after the command set that it is of.

        Several PDUs go in one write. A data set of odd length gets the trailing NUL that PS3.5 §A.5 prescribes for deflated ones;
        others of odd length are malformed, and receivers refuse a fragment of odd length.
        """
        block = self._payload * max(1, _BATCH // self._payload)
        # Made once an association: to make them takes longer than to fill them with a small image.
        current, ahead = self._blocks = self._blocks or (bytearray(block), bytearray(block))
        before = self._small(context_id, _COMMAND, command) if command is not None else b""
        count = _fill(readinto, current)
        while True:
            # Whether a fragment is the last is known only when nothing more can be read.
            following = _fill(readinto, ahead) if count == block else 0
            if count % 2:
                current[count] = 0
                count += 1
            fragments = self._fragments(context_id, memoryview(current)[:count], last=not following)
            self.connection.send(b"".join((before, *fragments)))
            before = b""
            if not following:
                return
            current, ahead, count = ahead, current, following

    def _fragments(self, context_id: int, block: memoryview, *, last: bool) -> Iterator[bytes | memoryview]:
        for start in range(0, max(len(block), 1), self._payload):
            fragment = block[start : start + self._payload]
            is_last = last and start + self._payload >= len(block)
            yield _p_data_header(context_id, _LAST if is_last else 0, len(fragment))
            yield fragment

    # -- ending -------------------------------------------------------------------------------------------------------

    def confirm_release(self) -> None:
        """Answer the peer's A-RELEASE-RQ."""
        self.connection.send(RELEASE_RP)


def read_abort(connection: Connection, length: int) -> AbortedError:
    """Read the rest of an A-ABORT and return it as the error that it is. A shorter one than the standard's is let pass."""
    body = connection.take(min(length, 4)).ljust(4, b"\0")
    return AbortedError(source=body[2], reason=body[3])


def _misplaced(message: str) -> ProtocolError:
    """Return a violation of DIMSE, not of the upper layer: its A-ABORT is the service-user's (PS3.8 §9.3.8)."""
    return ProtocolError(message, source=SERVICE_USER, reason=0)


def _p_data_header(context_id: int, control: int, length: int) -> bytes:
    """Return the header of a P-DATA-TF with one PDV (PS3.8 §9.3.5)."""
    return struct.pack(">BxIIBB", PduType.P_DATA_TF, length + _PDV_HEADER, length + 2, context_id, control)


def _fill(readinto: Callable[[memoryview], int], buffer: bytearray) -> int:
    view = memoryview(buffer)
    filled = 0
    while filled < len(view) and (count := readinto(view[filled:])):
        filled += count
    return filled
