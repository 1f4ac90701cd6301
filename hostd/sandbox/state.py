"""What a script may keep for itself: plain values, so many bytes of them as JSON."""

from __future__ import annotations

import math
from typing import Any

import msgspec

MAX_BYTES = 64 << 10
"""Bytes of a script's state, as JSON."""
_MAX_DEPTH = 8


def encoded(value: object) -> bytes:
    """Return the one text of a state, by which two are compared."""
    return msgspec.json.encode(value, order="deterministic")


def plain(value: object) -> dict[str, Any]:
    """Return a copy of a state. Raises `TypeError` and `ValueError` for what cannot be kept."""
    if not isinstance(value, dict):
        raise TypeError("the state is a dict")
    copy: dict[str, Any] = _plain(value, "state", 0)
    size = len(encoded(copy))
    if size > MAX_BYTES:
        raise ValueError(f"host.state takes {size} bytes, and {MAX_BYTES >> 10} KiB can be kept: keep less")
    return copy


def _plain(value: object, name: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise ValueError(f"{name} is nested too deep to be kept")
    if value is None or type(value) is bool:
        return value
    if isinstance(value, str):
        return _text(value, name)
    if type(value) is int and abs(value) < 1 << 63:
        return value
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(one, name, depth + 1) for one in value]
    if isinstance(value, dict):
        return {
            _key(key, name): _plain(one, f"{name}[{_key(key, name)!r}]"[:200], depth + 1)
            for key, one in dict.items(value)
        }
    raise TypeError(
        f"{name} is a {type(value).__name__}, which cannot be kept: keep texts, numbers, lists and dicts of them"
    )


def _key(key: object, name: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{name} has a key that is no text, which cannot be kept")
    return _text(key, name)


def _text(value: str, name: str) -> str:
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} holds half a character (a lone surrogate), which cannot be kept") from None
    return text
