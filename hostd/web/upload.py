"""Taking in a request's body: in pieces, decompressed, and never more than is allowed."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Protocol

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from hostd.archive.records import Origin
from hostd.dicom.header import Header
from hostd.intake.reception import Received
from hostd.web.errors import BAD_REQUEST, TIMEOUT, WebError, bad_request
from hostd.web.guard import client_ip
from hostd.web.zips import HEAD, ZipReception, is_zip

_PIECE = 1 << 20
_GATHERED = 1 << 19
"""Bytes of a body that are gathered before they are written; each upload under way has them in memory."""
_GZIP = 16 + zlib.MAX_WBITS
_MOST_DIGITS = 18
"""Of the length of a body; one with more is too large, or none."""


class Reception(Protocol):
    """An instance on its way in (`hostd.intake.reception.FileReception`)."""

    def write(self, piece: bytes | memoryview) -> None:
        """Take the next piece of the file."""
        ...

    def finish(self) -> Received:
        """Return once the instance is on stable storage."""
        ...

    def abandon(self) -> None:
        """Give up: nothing of the instance stays."""
        ...


class FileIntake(Protocol):
    """The one door (`hostd.intake.intake.Intake`), as this face uses it."""

    def receive_file(self, *, origin: Origin, look: Callable[[Header], None] | None = None) -> Reception:
        """Begin to receive a DICOM file (PS3.10 §7). `look` sees its header before it is stored, and raises for one that is not to be."""
        ...


async def receive_upload(
    request: Request, intake: FileIntake, *, folder: Path, max_bytes: int, idle_s: float
) -> Received | list[Received]:
    """Pass the body of a request to the intake; return once the instance is safe (P1), or all that are in a ZIP, which lies in `folder` meanwhile.

    The Content-Type is not looked at: an Orthanc peer calls a DICOM file a form. Raises `WebError` for a body that is too large, damaged
    on its way, or silent for `idle_s` seconds, and what the intake raises.
    """
    refuse_too_large(request, max_bytes)
    origin = Origin(kind="http", ip=client_ip(request), username=request.state.username)
    upload = _Upload(partial(intake.receive_file, origin=origin), decoder_of(request), folder, max_bytes)
    rest: list[bytes] = []
    try:
        async for pieces, is_last in gathered_body(request, idle_s):
            if is_last:
                rest = pieces
            else:
                await run_in_threadpool(upload.take, pieces)
    except BaseException as error:
        upload.abandon()
        if isinstance(error, ClientDisconnect):
            raise bad_request("the connection was closed before the whole file had arrived") from error
        raise
    return await run_in_threadpool(upload.finish, rest)


async def spool(request: Request, into: IO[bytes], *, max_bytes: int, idle_s: float) -> None:
    """Write the body of a request into a file. Raises as `receive_upload` does."""
    refuse_too_large(request, max_bytes)
    decoder, taken = decoder_of(request), 0
    try:
        async for piece in body_pieces(request, idle_s):
            for decoded in decoder.decode(piece):
                taken += len(decoded)
                if taken > max_bytes:
                    raise too_large(max_bytes)
                await run_in_threadpool(into.write, decoded)
    except ClientDisconnect as error:
        raise bad_request("the connection was closed before the whole file had arrived") from error
    decoder.end()
    await run_in_threadpool(into.flush)


def refuse_too_large(request: Request, max_bytes: int) -> None:
    """Raise `WebError` for a body that says of itself that it is larger than that."""
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > _MOST_DIGITS or int(length) > max_bytes):
        raise too_large(max_bytes)


def too_large(max_bytes: int) -> WebError:
    """Return the error of a body that is larger than that."""
    return WebError(413, BAD_REQUEST, f"the upload is larger than {max_bytes} bytes (http.max_upload_mb)")


async def body_pieces(request: Request, idle_s: float) -> AsyncIterator[bytes]:
    """Yield the body in pieces of about half a mebibyte. Raises as `gathered_body` does."""
    async for pieces, _ in gathered_body(request, idle_s):
        if pieces:
            yield b"".join(pieces)


async def gathered_body(request: Request, idle_s: float) -> AsyncIterator[tuple[list[bytes], bool]]:
    """Yield the body in pieces as they come, about half a mebibyte of them at a time, and whether these are the last: the last may be none.

    Raises `WebError` where nothing comes for `idle_s` seconds, and `ClientDisconnect`.
    """
    gathered: list[bytes] = []
    length = 0
    while True:
        try:
            async with asyncio.timeout(idle_s):
                message = await request.receive()
        except TimeoutError as error:
            raise WebError(408, TIMEOUT, f"nothing more came for {idle_s:g} seconds") from error
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        if piece := message.get("body"):
            gathered.append(piece)
            length += len(piece)
        if not message.get("more_body", False):
            yield gathered, True
            return
        if length >= _GATHERED:
            yield gathered, False
            gathered, length = [], 0


class _Upload:
    """One upload. Its methods are called in threads, one at a time: each change of threads costs as much as to write a small file."""

    def __init__(self, receive: Callable[[], Reception], decoder: Plain | Gzip, folder: Path, max_bytes: int) -> None:
        self._receive = receive
        self._folder = folder
        self._decoder = decoder
        self._max_bytes = max_bytes
        self._taken = 0
        self._reception: _FileOrZip | None = None

    def take(self, pieces: Sequence[bytes]) -> None:
        """Take the next pieces. Raises `WebError`, and what the intake raises."""
        if self._reception is None:
            self._reception = _FileOrZip(
                self._receive(), lambda: ZipReception(self._folder, self._receive, self._max_bytes)
            )
        for piece in pieces:
            for decoded in self._decoder.decode(piece):
                self._taken += len(decoded)
                if self._taken > self._max_bytes:
                    raise too_large(self._max_bytes)
                self._reception.write(decoded)

    def finish(self, pieces: Sequence[bytes]) -> Received | list[Received]:
        """Take the last pieces; return once it is on stable storage. Raises as `take` does."""
        try:
            self.take(pieces)
            self._decoder.end()
        except BaseException:
            self.abandon()
            raise
        assert self._reception is not None
        # From here on a row may speak of the file, so that only the intake may remove it.
        return self._reception.finish()

    def abandon(self) -> None:
        """Give up: nothing stays of what has come."""
        if self._reception is not None:
            self._reception.abandon()


def decoder_of(request: Request) -> Plain | Gzip:
    """Return what undoes the Content-Encoding of a request. Raises `WebError` for one that is not understood."""
    encodings = [name.strip().lower() for name in request.headers.get("content-encoding", "").split(",")]
    match [name for name in encodings if name not in {"", "identity"}]:
        case []:
            return Plain()
        case ["gzip" | "x-gzip"]:
            return Gzip()
        case _:
            raise bad_request("this Content-Encoding is not understood: send the file as it is, or with gzip")


class _FileOrZip:
    """What comes, as soon as its beginning tells what it is: until then it is taken for a DICOM file."""

    def __init__(self, file: Reception, begin_zip: Callable[[], ZipReception]) -> None:
        self._reception: Reception | ZipReception = file
        self._begin_zip = begin_zip
        self._head: bytes | None = b""

    def write(self, piece: bytes | memoryview) -> None:
        if self._head is not None:
            piece = self._head + piece
            self._head = piece if len(piece) < HEAD else None
            if self._head is not None:
                return
            self._choose(piece)
        self._reception.write(piece)

    def finish(self) -> Received | list[Received]:
        if self._head:
            self._choose(self._head)
            self._reception.write(self._head)
        return self._reception.finish()

    def abandon(self) -> None:
        self._reception.abandon()

    def _choose(self, head: bytes) -> None:
        if is_zip(head):
            self._reception.abandon()
            self._reception = self._begin_zip()


class Plain:
    """A body that is the file itself."""

    def decode(self, piece: bytes) -> Iterator[bytes]:
        """Yield the piece."""
        yield piece

    def end(self) -> None:
        """Do nothing: it may end anywhere."""


class Gzip:
    """A body in gzip (RFC 1952), of one or more members; inflated in pieces, however much is packed into it."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._has_begun = False

    def decode(self, piece: bytes) -> Iterator[bytes]:
        """Yield what a piece holds. Raises `WebError` for a damaged one."""
        while piece:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP)
            self._has_begun = True
            try:
                inflated = self._member.decompress(piece, _PIECE)
                yield inflated
                while not self._member.eof and (self._member.unconsumed_tail or len(inflated) == _PIECE):
                    inflated = self._member.decompress(self._member.unconsumed_tail, _PIECE)
                    yield inflated
            except zlib.error as error:
                raise bad_request(f"the gzip body is damaged: {error}") from error
            piece = self._member.unused_data

    def end(self) -> None:
        """Refuse a body that ends in the middle; an empty one is left to the intake, which knows it for no DICOM file."""
        if not self._has_begun:
            return
        if not self._member.eof:
            raise bad_request("the gzip body is damaged: it ends too early")
