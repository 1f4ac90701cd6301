"""Files of the archive as answers: opened, streamed, and closed whether or not the client stays to the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import BinaryIO, Protocol
from urllib.parse import quote

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hostd.archive.archive import Archive
from hostd.archive.records import Current, Instance
from hostd.dicom import syntaxes
from hostd.transcoding.contents import Value
from hostd.web.errors import INEXISTENT_FILE, WebError
from hostd.web.promptness import open_file, takes_long
from hostd.web.resources import existing
from hostd.web.responses import PiecesResponse, WholeResponse
from hostd.web.sending import PIECES
from hostd.web.spans import AT_ONCE, Piece, Span

_QUOTED = frozenset('"\\')


def opened(archive: Archive, instance: Instance | Current) -> BinaryIO:
    """Open the current file of an instance. Raises `WebError` when the instance, or its file, is gone."""
    if archive.is_shared:  # files may be far, too
        takes_long()
    try:
        return open_file(archive.blobs.place(instance.blob.name))
    except FileNotFoundError as error:
        takes_long()
        existing(archive, instance.id)  # deleted meanwhile: that is no fault
        raise WebError(500, INEXISTENT_FILE, "the file of this instance is missing from the archive") from error


def parses(instance: Instance | Current) -> None:
    """Say that a file is going to be parsed, which takes long of a large one, and of one that is to be inflated first."""
    if instance.blob.size > AT_ONCE or syntaxes.by_uid(instance.blob.transfer_syntax).is_deflated:
        takes_long()


def disposition(name: str) -> dict[str, str]:
    """Return the header that names a file for who keeps it (RFC 6266), whatever characters the name has."""
    if name.isascii() and name.isprintable() and not set(name) & _QUOTED:
        return {"Content-Disposition": f'filename="{name}"'}
    plain = "".join(char if char.isascii() and char.isprintable() and char not in _QUOTED else "_" for char in name)
    extended = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return {"Content-Disposition": f'filename="{plain}"{extended}'}


class Closable(Protocol):
    """What is open while an answer is sent: a file, or several."""

    def close(self) -> None:
        """Close it."""
        ...


class _OpenResponse(PiecesResponse):
    """What is in an open file, read as it is sent; the file is closed whether or not the client stays to the end."""

    def __init__(
        self, file: Closable, content: Iterator[Piece], *, media_type: str, headers: dict[str, str] | None = None
    ) -> None:
        self._file = file
        super().__init__(content, media_type=media_type, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if "content-length" in self.headers and PIECES in scope.get("extensions", ()):
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                await send({"type": PIECES, "pieces": self.pieces})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            else:
                await super().__call__(scope, receive, send)
        finally:
            self._file.close()


def open_response(
    file: Closable, content: Iterator[Piece], *, media_type: str, headers: dict[str, str] | None = None
) -> Response:
    """Return an answer of what is in an open file, which is closed then. Call it in a thread: what is small is read at once.

    That is, where the headers have a Content-Length of `AT_ONCE` at most: what is sent by a thread costs a change of threads.
    """
    length = int((headers or {}).get("Content-Length", AT_ONCE + 1))
    if length > AT_ONCE:
        return _OpenResponse(file, content, media_type=media_type, headers=headers)
    with closing(file):
        return WholeResponse(content, media_type=media_type, headers=headers)


def file_response(
    file: BinaryIO, *, media_type: str = "application/dicom", headers: dict[str, str] | None = None
) -> Response:
    """Return an answer of an open file, from where it stands; otherwise as `open_response`."""
    begin = file.tell()
    length = file.seek(0, 2) - begin
    own = {"Content-Length": str(length)}
    return open_response(file, iter((Span(file, begin, length),)), media_type=media_type, headers=own | (headers or {}))


def part_response(file: BinaryIO, part: Value, *, media_type: str) -> Response:
    """Return an answer of a part of an open file; otherwise as `open_response`."""
    length = {"Content-Length": str(part.length)}
    return open_response(file, iter((Span(part.file, part.at, part.length),)), media_type=media_type, headers=length)
