"""Deflated data sets (PS3.5 §A.5) as files: read with seeking, and written, without ever holding one whole in memory."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from hostd.errors import CannotTranscodeError

_CHUNK = 1 << 18
_CHECKPOINT = 32 << 20
"""Inflated bytes between two states of the inflater that are kept, of some 40 kB each, for seeking backwards."""


def inflated(file: BinaryIO, offset: int) -> BinaryIO:
    """Return the data set that begins deflated at `offset`, to be read and sought from position 0.

    Reading raises `CannotTranscodeError` where the stream is damaged or cut off.
    """
    return cast("BinaryIO", _Inflated(file, offset))


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    at: int
    """Inflated bytes before it."""
    input_at: int
    state: Any
    """zlib has no public name for the type."""


class _Inflated:
    def __init__(self, file: BinaryIO, offset: int) -> None:
        self._file = file
        self._checkpoints = [_Checkpoint(0, offset, zlib.decompressobj(-zlib.MAX_WBITS))]
        self._position = 0
        self._restore(self._checkpoints[0])

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 1:
            offset += self._position
        elif whence == 2:
            while self._advance():
                pass
            offset += self._chunk_at + len(self._chunk)
        self._position = offset
        return offset

    def read(self, count: int = -1) -> bytes:
        if self._position < self._chunk_at:
            self._restore(max((c for c in self._checkpoints if c.at <= self._position), key=lambda c: c.at))
        parts = []
        while count:
            begin = self._position - self._chunk_at
            if begin >= len(self._chunk):
                if not self._advance():
                    break
                continue
            part = self._chunk[begin : begin + count] if count > 0 else self._chunk[begin:]
            parts.append(part)
            self._position += len(part)
            count -= len(part) if count > 0 else 0
        return b"".join(parts)

    def _restore(self, checkpoint: _Checkpoint) -> None:
        self._state = checkpoint.state.copy()
        self._input, self._input_at = b"", checkpoint.input_at
        self._chunk, self._chunk_at = b"", checkpoint.at

    def _advance(self) -> bool:
        """Inflate the next chunk; tell whether there was one."""
        self._chunk_at += len(self._chunk)
        self._chunk = b""
        if self._chunk_at >= self._checkpoints[-1].at + _CHECKPOINT:
            at = self._input_at - len(self._input)
            self._checkpoints.append(_Checkpoint(self._chunk_at, at, self._state.copy()))
        while not self._state.eof and not self._chunk:
            if not self._input:
                self._file.seek(self._input_at)
                self._input = self._file.read(_CHUNK)
                self._input_at += len(self._input)
                if not self._input:
                    raise CannotTranscodeError("the deflated data set is cut off")
            try:
                self._chunk = self._state.decompress(self._input, _CHUNK)
            except zlib.error as error:
                raise CannotTranscodeError(f"the deflated data set is damaged: {error}") from error
            self._input = self._state.unconsumed_tail
        return bool(self._chunk)


class DeflatingFile:
    """Writes a deflated data set where `file` stands; only `write` and `close` are there."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._begin = file.tell()
        self._deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)

    def write(self, content: bytes | memoryview) -> int:
        """Deflate and write."""
        self._file.write(self._deflater.compress(content))
        return len(content)

    def close(self) -> None:
        """End the stream and pad it to an even length (PS3.5 §A.5); the file stays open."""
        self._file.write(self._deflater.flush())
        self._file.write(bytes((self._file.tell() - self._begin) % 2))
