"""What a script gives to `modify` and `redact`, as plain values that can travel: checked here, and again by the host."""

from __future__ import annotations

import math
from typing import Any

MAX_NAMES = 1000
"""Attributes that one change may set, remove or keep."""
MAX_REGIONS = 100
MAX_BYTES = 32 << 10
"""Bytes of what one change sets, roughly as it is stored."""
_MAX_DEPTH = 8
_MAX_COORDINATE = 0x7FFFFFFF


def values(given: object) -> dict[str, Any]:
    """Return what is to be set, by name. Raises `TypeError` and `ValueError`; no value is named in an error."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise TypeError('set must be a dict from names of attributes to values, as {"PatientID": "7"}')
    if len(given) > MAX_NAMES:
        raise ValueError(f"up to {MAX_NAMES} attributes can be set at once, not {len(given)}")
    room = _Room()
    return _items(given, "", room, 0)


def names(given: object, what: str) -> list[str]:
    """Return the names of attributes of `remove` or `keep`. Raises `TypeError` and `ValueError`."""
    if not isinstance(given, (list, tuple, set, frozenset)) or not all(isinstance(one, str) for one in given):
        raise TypeError(f'{what} must be a list of names of attributes, as ["InstitutionName"]')
    if len(given) > MAX_NAMES:
        raise ValueError(f"{what} may have up to {MAX_NAMES} names, not {len(given)}")
    return [_name(one) for one in given]


def regions(given: object) -> list[tuple[int, int, int, int]]:
    """Return the rectangles that are to be blanked. Raises `TypeError` and `ValueError`."""
    if not isinstance(given, (list, tuple)) or not all(isinstance(one, (list, tuple)) for one in given):
        raise TypeError("regions must be a list of rectangles, each (x, y, width, height) in pixels")
    if not 1 <= len(given) <= MAX_REGIONS:
        raise ValueError(f"regions must be 1 to {MAX_REGIONS} rectangles, not {len(given)}")
    return [_region(list(one)) for one in given]


def _region(one: list[object]) -> tuple[int, int, int, int]:
    whole = [number for number in one if type(number) is int and 0 <= number <= _MAX_COORDINATE]
    if len(one) != 4 or len(whole) != 4 or 0 in whole[2:]:
        raise ValueError(
            "a region is (x, y, width, height): whole numbers of pixels, counted from 0, width and height over 0"
        )
    x, y, width, height = whole
    return x, y, width, height


class _Room:
    """How much more may be set."""

    def __init__(self) -> None:
        self.left = MAX_BYTES

    def take(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise ValueError(f"what is set takes more than {MAX_BYTES >> 10} KiB; set less at once")


def _items(given: dict[Any, Any], before: str, room: _Room, depth: int) -> dict[str, Any]:
    result = {}
    for key, value in dict.items(given):
        name = _name(key)
        room.take(len(name))
        result[name] = _value(value, before + name, room, depth)
    return result


def _value(value: object, name: str, room: _Room, depth: int) -> Any:
    room.take(8)
    if depth > _MAX_DEPTH:
        raise ValueError(f"{name}: the sequences in it are nested too deep")
    if value is None:
        return None
    if isinstance(value, str):
        text = _text(value, name)
        room.take(len(text.encode()))
        return text
    if type(value) is int and abs(value) < 1 << 63:
        return value
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, (list, tuple)):
        return [_value(one, name, room, depth + 1) for one in value]
    if isinstance(value, dict):
        return _items(value, f"{name}.", room, depth + 1)
    raise TypeError(
        f"{name} is set to what no attribute can have (a {type(value).__name__}): give a text, a number, None for an empty value, a list,"
        " or for a sequence a list of dicts"
    )


def _name(given: object) -> str:
    if not isinstance(given, str) or not 0 < len(given) <= 1024:
        raise TypeError("an attribute is named by a text: its keyword, its tag, or a path")
    return _text(given, "the name of an attribute")


def _text(value: str, name: str) -> str:
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} holds half a character (a lone surrogate), which no file can have") from None
    return text
