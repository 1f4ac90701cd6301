"""What a client wants to have (RFC 9110 §12.5.1): media types with their parameters, by preference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import unquote
from functools import lru_cache

from fastapi import Request


@dataclass(frozen=True, slots=True)
class Range:
    """One media range of an Accept header; names in lower case, parameters without `q`."""

    media_type: str
    quality: float
    parameters: dict[str, str] = field(default_factory=dict)

    def covers(self, media_type: str) -> bool:
        """Tell whether a media type (without parameters) is in the range."""
        kind, _, _ = media_type.partition("/")
        return self.media_type in {"*/*", media_type, f"{kind}/*"}


@lru_cache(maxsize=256)
def ranges(header: str | None) -> tuple[Range, ...]:
    """Return what an Accept header asks for, what is wanted most first; what cannot be read is left out. None and '' want anything."""
    if not header or not header.strip():
        return (Range("*/*", 1.0),)
    found = [one for one in map(_range, _split(header, ",")) if one is not None and one.quality > 0]
    return tuple(sorted(found, key=lambda one: -one.quality))


def accepted(request: Request, offered: Sequence[str]) -> str | None:
    """Return which of the media types a request would have most, the first offered one of equals; None when it wants none of them."""
    return preferred(request.headers.get("accept"), offered)


def preferred(header: str | None, offered: Sequence[str]) -> str | None:
    """Return which of the media types an Accept header prefers; None when it wants none of them."""
    for one in ranges(header):
        for media_type in offered:
            if one.covers(media_type):
                return media_type
    return None


def media_type_of(text: str) -> tuple[str, dict[str, str]]:
    """Return a media type (in lower case) and its parameters (RFC 9110 §8.3.1), their names in lower case.

    HTTP has no names of parameters that say how these are encoded (`boundary*`, RFC 2231): they are names as others.
    """
    name, *parameters = _split(text, ";") or [""]
    pairs = (one.partition("=") for one in parameters)
    return name.strip().lower(), {key.strip().lower(): unquote(value.strip()) for key, _, value in pairs}


def _split(text: str, separator: str) -> list[str]:
    """Split where the separator is not inside of quotes."""
    parts, current, is_quoted, is_escaped = [], "", False, False
    for char in text:
        if char == '"' and not is_escaped:
            is_quoted = not is_quoted
        is_escaped = is_quoted and char == "\\" and not is_escaped
        if char == separator and not is_quoted:
            parts.append(current)
            current = ""
        else:
            current += char
    return [part for part in (*parts, current) if part.strip()]


def _range(text: str) -> Range | None:
    media_type, known = media_type_of(text)
    if media_type == "*":
        media_type = "*/*"
    if media_type.count("/") != 1:
        return None
    try:
        quality = float(known.pop("q", "1"))
    except ValueError:
        return None
    return Range(media_type, quality, known)
