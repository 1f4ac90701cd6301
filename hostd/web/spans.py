"""Parts of open files in the bodies of answers: sent by the system itself where it can do that, else read."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from hostd.web.promptness import reads_promptly, takes_long

AT_ONCE = 1 << 20
"""Bytes that are read, or sent by the system, at one time."""


@dataclass(frozen=True, slots=True)
class Span:
    """The `length` bytes of an open file from `at` on. The file stays open until the next piece of the body is asked for."""

    file: BinaryIO
    at: int
    length: int

    def pieces(self) -> Iterator[bytes]:
        """Yield them. Raises `EOFError` when the file ends in them."""
        left = self.length
        while left > 0:
            if not reads_promptly(self.file):
                takes_long()
            self.file.seek(self.at + self.length - left)
            # No more is asked for than there is: room for more, which is given back, costs more than reading does.
            piece = self.file.read(min(AT_ONCE, left))
            if not piece:
                raise EOFError("the file ends inside of a value")
            left -= len(piece)
            yield piece

    def sent_to(self, connection: socket.socket) -> int:
        """Have the system send as much as is taken at once; return how many bytes. Raises `BlockingIOError` when nothing is.

        0 where it does not: the file is none of the system's or ends here, a disk is broken, the client has gone. Who reads and sends is told which.
        """
        descriptor = self._descriptor()
        if descriptor is None:
            return 0
        try:
            return os.sendfile(connection.fileno(), descriptor, self.at, min(AT_ONCE, self.length))
        except BlockingIOError:
            raise
        except OSError:
            return 0

    def _descriptor(self) -> int | None:
        """Return the system's number of the file; None where it is only made as it is read, as of what is stored deflated."""
        try:
            return self.file.fileno()
        except (AttributeError, OSError):
            return None

    def after(self, sent: int) -> Span:
        """Return what is left when so many bytes were sent."""
        return Span(self.file, self.at + sent, self.length - sent)


Piece = bytes | Span
"""What the body of an answer is made of."""


def in_bytes(pieces: Iterable[Piece]) -> Iterator[bytes]:
    """Yield the pieces with all parts of files read."""
    for piece in pieces:
        if isinstance(piece, Span):
            yield from piece.pieces()
        else:
            yield piece
