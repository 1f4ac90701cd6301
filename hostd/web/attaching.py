"""Files that clients attach to patients, studies, series and instances: taken in, compressed where they ask for it, and given."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO

from fastapi import Request
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from hostd.archive import attachments, instances, levels
from hostd.archive.archive import Archive
from hostd.archive.attachments import Attachment
from hostd.archive.blobs import BlobFile
from hostd.archive.labels import Subject
from hostd.archive.limits import require as require_within
from hostd.archive.records import Blob
from hostd.config.storage import Storage
from hostd.errors import LimitReachedError
from hostd.web.errors import CORRUPTED_FILE, INEXISTENT_FILE, INEXISTENT_ITEM, REVISION, WebError, bad_request
from hostd.web.files import AT_ONCE, pieces
from hostd.web.resources import require
from hostd.web.upload import Gzip, Plain, decoder_of, gathered_body, refuse_too_large, too_large

_LENGTH = struct.Struct("<Q")
"""What stands before compressed content, as Orthanc has it: how long it is when it is not."""


class Attaching:
    """What is attached to all patients, studies, series or instances. `limits` says how much may be stored."""

    def __init__(
        self, archive: Archive, subject: Subject, limits: Callable[[], Storage], *, max_bytes: int, idle_s: float
    ) -> None:
        self._archive = archive
        self._subject = subject
        self._limits = limits
        self._max_bytes = max_bytes
        self._idle_s = idle_s

    def names(self, identifier: str) -> list[str]:
        """Return the names of what is attached to one. Raises `WebError` when it is not stored."""
        with self._archive.read() as connection:
            require(connection, self._subject, identifier)
            return attachments.names(connection, self._subject, identifier)

    def get(self, identifier: str, name: str) -> Attachment:
        """Return what is attached under a name. Raises `WebError` where nothing is."""
        with self._archive.read() as connection:
            require(connection, self._subject, identifier)
            found = attachments.get(connection, self._subject, identifier, name)
        if found is None:
            raise WebError(404, INEXISTENT_ITEM, f"no attachment is called {name[:64]!r}")
        return found

    async def receive(self, request: Request, identifier: str, name: str) -> Attachment:
        """Attach the body of a request; return once it is on stable storage. Raises `WebError`."""
        refuse_too_large(request, self._max_bytes)
        await run_in_threadpool(self.names, identifier)
        coming = await run_in_threadpool(_Coming, self._archive, self._max_bytes)
        try:
            decoder = decoder_of(request)
            async for some, _ in gathered_body(request, self._idle_s):
                await run_in_threadpool(coming.take, some, decoder)
            decoder.end()
        except BaseException as error:
            coming.file.abandon()
            if isinstance(error, ClientDisconnect):
                raise bad_request("the connection was closed before the whole file had arrived") from error
            raise
        return await run_in_threadpool(self._enter, identifier, name, coming, request.headers.get("if-match"))

    def remove(self, identifier: str, name: str, if_match: str | None) -> None:
        """Take away what is attached under a name. Raises `WebError`."""
        self.get(identifier, name)

        def unit(connection: Connection) -> None:
            self._require_unchanged(connection, identifier, name, if_match)
            attachments.remove(connection, self._subject, identifier, name)
            self._tell(connection, identifier)

        self._archive.writer.do(unit, topics=("event",), urgent=True)

    def store_as(self, identifier: str, name: str, *, compressed: bool) -> None:
        """Have the file of an attachment compressed, or not. Raises `WebError`."""
        attached = self.get(identifier, name)
        if attached.is_compressed == compressed:
            return
        coming = _Coming(self._archive, None)
        try:
            if compressed:
                coming.write(_LENGTH.pack(attached.size))
                deflater = zlib.compressobj()
                for piece in self.content(attached):
                    coming.write(deflater.compress(piece))
                coming.write(deflater.flush())
            else:
                for piece in self.content(attached):
                    coming.write(piece)
        except BaseException:
            coming.file.abandon()
            raise
        blob, stored = coming.finish()
        made = replace(stored, name=name, size=attached.size, md5=attached.md5, is_compressed=compressed)

        def unit(connection: Connection) -> bool:
            now = attachments.get(connection, self._subject, identifier, name)
            if now is None or now.blob != attached.blob:
                return False  # another one has come meanwhile, which is as it came
            self._put(connection, identifier, blob, made)
            return True

        self._commit(unit, blob)

    def open(self, attached: Attachment) -> BinaryIO:
        """Open the file of an attachment. Raises `WebError` where it is gone."""
        try:
            return self._archive.blobs.path(attached.blob).open("rb")
        except FileNotFoundError as error:
            raise WebError(500, INEXISTENT_FILE, "the file of this attachment is missing from the archive") from error

    def content(self, attached: Attachment) -> Iterator[bytes]:
        """Yield what was attached. Raises `WebError` where the file is not what was stored."""
        with self.open(attached) as file:
            yield from content_of(file, attached)

    def verify(self, attached: Attachment) -> None:
        """Raise `WebError` where the file is not what was attached, byte for byte."""
        md5 = hashlib.md5(usedforsecurity=False)
        for piece in self.content(attached):
            md5.update(piece)
        if md5.hexdigest() != attached.md5:
            raise WebError(500, CORRUPTED_FILE, "the file is not what was stored: the disk has changed it")

    def _enter(self, identifier: str, name: str, coming: _Coming, if_match: str | None) -> Attachment:
        blob, made = coming.finish()
        made = replace(made, name=name)

        def unit(connection: Connection) -> bool:
            require(connection, self._subject, identifier)
            self._require_unchanged(connection, identifier, name, if_match)
            known = attachments.names(connection, self._subject, identifier)
            if name not in known and len(known) >= attachments.MOST:
                raise bad_request(f"it has {attachments.MOST} attachments already, and no more are kept")
            self._put(connection, identifier, blob, made)
            require_within(connection, self._limits())
            self._tell(connection, identifier)
            return True

        self._commit(unit, blob)
        return made

    def _put(self, connection: Connection, identifier: str, blob: Blob, made: Attachment) -> None:
        instances.add_blob(connection, blob, self._archive.clock.now())
        attachments.put(connection, self._subject, identifier, made)

    def _commit(self, unit: Callable[[Connection], bool], blob: Blob) -> None:
        """Enter a file, or remove it where it was not entered; one of which that is not known is left to the sweep."""
        try:
            is_entered = self._archive.writer.do(unit, blobs=[blob.name], topics=("event",), urgent=True)
        except (WebError, LimitReachedError):
            self._archive.blobs.unlink(blob.name)
            raise
        if not is_entered:
            self._archive.blobs.unlink(blob.name)

    def _require_unchanged(self, connection: Connection, identifier: str, name: str, if_match: str | None) -> None:
        if if_match is None:
            return
        known = attachments.get(connection, self._subject, identifier, name)
        if known is None or if_match != etag(known.md5):
            raise WebError(409, REVISION, "it was changed meanwhile: read it again")

    def _tell(self, connection: Connection, identifier: str) -> None:
        now = self._archive.clock.now()
        if self._subject == "instance":
            levels.changed(connection, identifier, now, "attachments")
        else:
            levels.level_changed(connection, self._subject, identifier, now, "attachments")


class _Coming:
    """A file on its way in, of `max_bytes` at most; None: of any size."""

    def __init__(self, archive: Archive, max_bytes: int | None) -> None:
        self.file: BlobFile = archive.blobs.create()
        self._max_bytes = max_bytes
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)

    def take(self, some: Sequence[bytes], decoder: Plain | Gzip) -> None:
        """Take the next pieces of a body. Raises `WebError` and `StorageError`."""
        for piece in some:
            for decoded in decoder.decode(piece):
                self.write(decoded)

    def write(self, piece: bytes) -> None:
        """Take the next piece. Raises `WebError` and `StorageError`."""
        if self._max_bytes is not None and self.file.size + len(piece) > self._max_bytes:
            raise too_large(self._max_bytes)
        self._sha256.update(piece)
        self._md5.update(piece)
        self.file.write(piece)

    def finish(self) -> tuple[Blob, Attachment]:
        """Put it on stable storage; return it as a row, and as an attachment without a name. Raises `StorageError`."""
        try:
            self.file.seal()
        except BaseException:
            self.file.abandon()
            raise
        self.file.close()
        size, md5 = self.file.size, self._md5.hexdigest()
        # It is no DICOM file, and has no transfer syntax.
        blob = Blob(self.file.name, size, self._sha256.hexdigest(), "")
        return blob, Attachment("", self.file.name, size, md5, size, md5, is_compressed=False)


def content_of(file: BinaryIO, attached: Attachment) -> Iterator[bytes]:
    """Yield what was attached, of its open file. Raises `WebError` where that is not what was stored."""
    if not attached.is_compressed:
        yield from pieces(file, 0, attached.size)
        return
    file.seek(_LENGTH.size)
    inflater, left = zlib.decompressobj(), attached.size
    try:
        while left > 0 and (piece := inflater.unconsumed_tail or file.read(AT_ONCE)):
            inflated = inflater.decompress(piece, AT_ONCE)
            left -= len(inflated)
            yield inflated
    except zlib.error as error:
        raise WebError(500, CORRUPTED_FILE, "the file is not what was stored: the disk has changed it") from error
    if left:
        raise WebError(500, CORRUPTED_FILE, "the file is not what was stored: the disk has changed it")


def etag(md5: str) -> str:
    """Return the tag by which a client tells whether a value changed, in Orthanc's form; its revision is always 0."""
    return f'"0-{md5}"'
