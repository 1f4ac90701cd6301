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
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from hostd.archive import attachments, instances, levels
from hostd.archive.archive import Archive
from hostd.archive.attachments import Attachment
from hostd.archive.blobs import BlobFile
from hostd.archive.labels import Subject
from hostd.archive.limits import require as require_within
from hostd.archive.records import Blob
from hostd.config.sections import Http
from hostd.config.storage import Storage
from hostd.errors import LimitReachedError
from hostd.web.errors import CORRUPTED_FILE, INEXISTENT_FILE, INEXISTENT_ITEM, UNKNOWN_RESOURCE, WebError, bad_request
from hostd.web.naming import as_number, called, kept_as
from hostd.web.resources import require
from hostd.web.revisions import require_given, require_meant, require_readable
from hostd.web.spans import AT_ONCE, Span
from hostd.web.upload import Gzip, Plain, decoder_of, gathered_body, refuse_too_large, too_large

_OCTETS = "application/octet-stream"
_LENGTH = struct.Struct("<Q")
"""What stands before compressed content, as Orthanc has it: how long it is when it is not."""


class Attaching:
    """What is attached to all patients, studies, series or instances. `limits` says how much may be stored, `http` what it is called."""

    def __init__(
        self,
        archive: Archive,
        subject: Subject,
        limits: Callable[[], Storage],
        http: Callable[[], Http],
        *,
        max_bytes: int,
        idle_s: float,
    ) -> None:
        self._archive = archive
        self._subject = subject
        self._limits = limits
        self._http = http
        self._max_bytes = max_bytes
        self._idle_s = idle_s

    def names(self, identifier: str) -> list[str]:
        """Return the names of what is attached to one. Raises `WebError` when it is not stored."""
        with self._archive.read() as connection:
            require(connection, self._subject, identifier)
            found = attachments.names(connection, self._subject, identifier)
        return sorted({called(name, self._http().attachment_numbers) for name in found})

    def number(self, name: str) -> int:
        """Return the number that clients have for a name, 0 where they have none."""
        numbers = self._http().attachment_numbers
        return numbers.get(called(name, numbers), as_number(name) or 0)

    def media_type(self, name: str) -> str:
        """Return the media type that an attachment of that name is given with."""
        http = self._http()
        return http.attachment_types.get(called(name, http.attachment_numbers), _OCTETS)

    def get(self, identifier: str, name: str) -> Attachment:
        """Return what is attached under a name. Raises `WebError` where nothing is."""
        with self._archive.read() as connection:
            require(connection, self._subject, identifier)
            name = self._kept_as(connection, identifier, name)
            found = attachments.get(connection, self._subject, identifier, name)
        if found is None:
            is_known = as_number(name) is not None or name in self._http().attachment_numbers
            orthanc_status = UNKNOWN_RESOURCE if is_known else INEXISTENT_ITEM
            raise WebError(404, orthanc_status, f"no attachment is called {name[:64]!r}")
        return found

    async def receive(self, request: Request, identifier: str, name: str) -> Attachment:
        """Attach the body of a request; return once it is on stable storage. Raises `WebError`."""
        refuse_too_large(request, self._max_bytes)
        require_readable(request.headers)
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
        return await run_in_threadpool(self._enter, identifier, name, coming, request.headers)

    def remove(self, identifier: str, name: str, headers: Headers) -> None:
        """Take away what is attached under a name. Raises `WebError`."""
        if self._http().check_revisions:
            require_given(headers)
        self.get(identifier, name)

        def unit(connection: Connection) -> None:
            kept = self._kept_as(connection, identifier, name)
            self._require_meant(connection, identifier, kept, headers)
            attachments.remove(connection, self._subject, identifier, kept)
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
        made = replace(stored, name=attached.name, size=attached.size, md5=attached.md5, is_compressed=compressed)

        def unit(connection: Connection) -> bool:
            now = attachments.get(connection, self._subject, identifier, attached.name)
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

    def _enter(self, identifier: str, name: str, coming: _Coming, headers: Headers) -> Attachment:
        blob, made = coming.finish()

        def unit(connection: Connection) -> bool:
            require(connection, self._subject, identifier)
            kept = self._kept_as(connection, identifier, name)
            self._require_meant(connection, identifier, kept, headers)
            known = attachments.names(connection, self._subject, identifier)
            if kept not in known and len(known) >= attachments.MOST:
                raise bad_request(f"it has {attachments.MOST} attachments already, and no more are kept")
            self._put(connection, identifier, blob, replace(made, name=kept))
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

    def _kept_as(self, connection: Connection, identifier: str, name: str) -> str:
        known = attachments.names(connection, self._subject, identifier)
        return kept_as(name, known, self._http().attachment_numbers)

    def _require_meant(self, connection: Connection, identifier: str, name: str, headers: Headers) -> None:
        known = attachments.get(connection, self._subject, identifier, name)
        require_meant(headers, known.md5 if known else None, is_needed=self._http().check_revisions)

    def _tell(self, connection: Connection, identifier: str) -> None:
        now = self._archive.clock.now()
        if self._subject == "instance":
            levels.changed(connection, identifier, now, "attachments")
        else:
            levels.level_changed(connection, self._subject, identifier, now, "attachments")


class _Coming:
    """A file on its way in, of `max_bytes` at most; None: of any size."""

    def __init__(self, archive: Archive, max_bytes: int | None) -> None:
        self.file: BlobFile = archive.blobs.create_attached()
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
    try:
        yield from _inflated(file, attached.size) if attached.is_compressed else Span(file, 0, attached.size).pieces()
    except (EOFError, zlib.error) as error:
        raise WebError(500, CORRUPTED_FILE, "the file is not what was stored: the disk has changed it") from error


def _inflated(file: BinaryIO, length: int) -> Iterator[bytes]:
    """Yield so many bytes of compressed content. Raises `EOFError` where there are fewer, and `zlib.error`."""
    file.seek(_LENGTH.size)
    inflater, left = zlib.decompressobj(), length
    while left > 0 and (piece := inflater.unconsumed_tail or file.read(AT_ONCE)):
        inflated = inflater.decompress(piece, AT_ONCE)
        left -= len(inflated)
        yield inflated
    if left:
        raise EOFError("the file has another length")
