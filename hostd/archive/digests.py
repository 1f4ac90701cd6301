"""Digests of stored files, by which a file is known to be what was stored.

That of what is received or imported is the SHA-256 of the data set, by which repeats are known, then the length and the SHA-256 of what stands
before it: so each byte is hashed once. Every other one is the SHA-256 of the whole file.
"""

from __future__ import annotations

import hashlib
from typing import BinaryIO

_BETWEEN = "/"
_PIECE = 1 << 18


def of_parts(head: bytes, data_set_sha256: str) -> str:
    """Return the digest of a file that is `head`, and a data set of which the SHA-256 is known."""
    return _BETWEEN.join((data_set_sha256, str(len(head)), hashlib.sha256(head).hexdigest()))


class Digest:
    """The digest of a file that is read from its beginning, of the same kind as another one."""

    def __init__(self, like: str) -> None:
        self._head_length = _head_length(like)
        self._left = self._head_length or 0
        self._head = b""
        self._rest = hashlib.sha256()

    def update(self, piece: bytes) -> None:
        """Take the next bytes of the file."""
        if self._left:
            self._head += piece[: self._left]
            piece, self._left = piece[self._left :], max(0, self._left - len(piece))
        self._rest.update(piece)

    def text(self) -> str:
        """Return the digest of what was read."""
        rest = self._rest.hexdigest()
        return rest if self._head_length is None else of_parts(self._head, rest)


def of_file(file: BinaryIO, like: str) -> str:
    """Return the digest of a file, of the same kind as another one. Raises `OSError`."""
    file.seek(0)
    digest = Digest(like)
    while piece := file.read(_PIECE):
        digest.update(piece)
    return digest.text()


def _head_length(digest: str) -> int | None:
    """Return the length of what stands before the data set, None where the file was hashed as a whole."""
    parts = digest.split(_BETWEEN)
    return int(parts[1]) if len(parts) > 1 else None
