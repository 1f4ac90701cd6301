"""Bodies of several parts (RFC 2046 §5.1, RFC 2387), written and read as a stream: no part is ever in memory."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hostd.dicom.element_values import Elements
from hostd.dicom.json_model import BulkUri, to_xml
from hostd.dicom.media_types import DICOM_XML
from hostd.errors import HostdError
from hostd.web.accepting import media_type_of
from hostd.web.spans import Piece

_MAX_HEADER = 8 << 10
_MAX_PREAMBLE = 64 << 10
MAX_BOUNDARY = 200
"""Characters that a boundary may have: RFC 2046 §5.1.1 allows 70, and Orthanc's plug-in writes 73."""


class MultipartError(HostdError):
    """A body is not made of parts as it should be; the message says where."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part to be written: its media type, its pieces, its length where it is known, and where else it can be had."""

    media_type: str
    pieces: Iterable[Piece]
    length: int
    location: str = ""

    @property
    def head(self) -> bytes:
        """The lines before it."""
        lines = [f"Content-Type: {self.media_type}", f"Content-Length: {self.length}"]
        lines += [f"Content-Location: {self.location}"] if self.location else []
        return "\r\n".join((*lines, "", "")).encode("latin-1", "replace")


def multipart_type(media_type: str, boundary: str) -> str:
    """Return the media type of a body whose parts are of that one."""
    return f'multipart/related; type="{media_type}"; boundary={boundary}'


def xml_part(elements: Elements, bulk_uri: BulkUri) -> Part:
    """Return elements as a document of the Native DICOM Model (PS3.19 §A.1), which is a part."""
    document = to_xml(elements, bulk_uri).encode()
    return Part(DICOM_XML, (document,), len(document))


def new_boundary() -> str:
    """Return a boundary that nobody can guess, so that no file holds it."""
    return secrets.token_hex(16)


def written(parts: Iterable[Part], boundary: str) -> Iterator[Piece]:
    """Yield a body of these parts, at least one."""
    before = f"--{boundary}\r\n".encode()
    for part in parts:
        yield before + part.head
        yield from part.pieces
        before = f"\r\n--{boundary}\r\n".encode()
    yield f"\r\n--{boundary}--\r\n".encode()


def length_of(parts: Iterable[Part], boundary: str) -> int:
    """Return how many bytes `written` yields of parts whose pieces have the lengths that they say."""
    own = len(f"\r\n--{boundary}\r\n")
    return sum(own + len(part.head) + part.length for part in parts) - 2 + len(f"\r\n--{boundary}--\r\n")


def boundary_of(content_type: str) -> tuple[str, dict[str, str], str]:
    """Return media type (in lower case), parameters and boundary of a Content-Type. Raises `MultipartError` for a multipart without one."""
    media_type, known = media_type_of(content_type)
    boundary = known.get("boundary", "")
    if media_type.startswith("multipart/") and not 0 < len(boundary) <= MAX_BOUNDARY:
        raise MultipartError(f"a multipart body needs a boundary of 1 to {MAX_BOUNDARY} characters in its Content-Type")
    return media_type, known, boundary


@dataclass(frozen=True, slots=True)
class Begin:
    """A part begins; `headers` by name in lower case."""

    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Data:
    """More of the part."""

    piece: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The part is whole."""


class Reader:
    """Takes a body apart, in whatever pieces it comes."""

    def __init__(self, boundary: str) -> None:
        self._delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
        self._buffer = bytearray(b"\r\n")  # the first delimiter may stand at the very beginning
        self._state = "preamble"
        self._passed = 0

    @property
    def is_done(self) -> bool:
        """Whether the last part has ended."""
        return self._state == "epilogue"

    def feed(self, piece: bytes) -> Iterator[Begin | Data | End]:
        """Yield what the next piece of the body brings. Raises `MultipartError`."""
        self._buffer += piece
        while True:
            before = (self._state, len(self._buffer))
            match self._state:
                case "preamble":
                    self._skip_preamble()
                case "delimiter":
                    self._after_delimiter()
                case "header":
                    yield from self._header()
                case "data":
                    yield from self._data()
                case _:
                    self._buffer.clear()
            if (self._state, len(self._buffer)) == before:
                return

    def end(self) -> None:
        """Raise `MultipartError` when the body ended before its last part did."""
        if not self.is_done:
            raise MultipartError("the body ends before its closing boundary")

    def _skip_preamble(self) -> None:
        at = self._buffer.find(self._delimiter)
        if at >= 0:
            del self._buffer[: at + len(self._delimiter)]
            self._state = "delimiter"
            return
        passed = max(0, len(self._buffer) - len(self._delimiter) + 1)
        self._passed += passed
        del self._buffer[:passed]
        if self._passed > _MAX_PREAMBLE:
            raise MultipartError("no part begins where the body does: is the boundary right?")

    def _after_delimiter(self) -> None:
        """Look at what follows a delimiter: `--` after the last part, else padding and the end of the line."""
        if self._buffer[:2] == b"--":
            self._state = "epilogue"
            return
        end = self._buffer.find(b"\r\n")
        if end >= 0:
            if self._buffer[:end].strip(b" \t"):
                raise MultipartError("there is something else on the line of a boundary")
            del self._buffer[: end + 2]
            self._state = "header"
        elif len(self._buffer) > _MAX_HEADER:
            raise MultipartError("the line of a boundary has no end")

    def _header(self) -> Iterator[Begin]:
        if self._buffer[:2] == b"\r\n":
            end, length = 0, 2
        else:
            end, length = self._buffer.find(b"\r\n\r\n"), 4
        if end > _MAX_HEADER or (end < 0 and len(self._buffer) > _MAX_HEADER):
            raise MultipartError(f"the header of a part has more than {_MAX_HEADER} bytes")
        if end < 0:
            return
        lines = bytes(self._buffer[:end]).decode("latin-1").replace("\r\n ", " ").replace("\r\n\t", " ").split("\r\n")
        del self._buffer[: end + length]
        self._state = "data"
        named = (line.partition(":") for line in lines if line)
        yield Begin({name.strip().lower(): value.strip() for name, _, value in named})

    def _data(self) -> Iterator[Data | End]:
        at = self._buffer.find(self._delimiter)
        stop = at if at >= 0 else len(self._buffer) - len(self._delimiter) + 1
        if stop > 0:
            piece = bytes(self._buffer[:stop])
            del self._buffer[:stop]
            yield Data(piece)
        if at >= 0:
            del self._buffer[: len(self._delimiter)]
            self._state = "delimiter"
            yield End()
