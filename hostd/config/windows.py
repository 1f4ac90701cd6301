"""Time windows as they are written: `19:00-06:00`, `Mon-Fri 19:00-06:00`, `Sat,Sun 00:00-24:00`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TEXT = re.compile(r"(?:(?P<days>[A-Za-z, -]+?)\s+)?(?P<start>\d{1,2}:\d\d)\s*-\s*(?P<end>\d{1,2}:\d\d)")


@dataclass(frozen=True, slots=True)
class Window:
    """A span of a day: minutes since midnight, and the days of the week (Monday is 0) on which it begins.

    One that ends at or before its beginning ends on the next day.
    """

    start_min: int
    end_min: int
    days: frozenset[int]


def parse(text: str) -> Window:
    """Return the window that a text means. Raises `ValueError`."""
    found = _TEXT.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no time window: write it as 19:00-06:00 or Mon-Fri 19:00-06:00")
    return Window(_minutes(found["start"]), _minutes(found["end"]), _days(found["days"]))


def _minutes(text: str) -> int:
    hours, minutes = map(int, text.split(":"))
    if minutes > 59 or hours * 60 + minutes > 1440:
        raise ValueError(f"{text} is no time of a day")
    return hours * 60 + minutes


def _days(text: str | None) -> frozenset[int]:
    if text is None:
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.split(","):
        first, _, last = (name.strip().lower()[:3] for name in part.partition("-"))
        last = last or first
        if first not in _DAYS or last not in _DAYS:
            raise ValueError(f"{part.strip()!r} names no days: write Mon, Tue, Wed, Thu, Fri, Sat, Sun or Mon-Fri")
        count = (_DAYS.index(last) - _DAYS.index(first)) % 7 + 1
        days |= {(_DAYS.index(first) + offset) % 7 for offset in range(count)}
    return frozenset(days)


def _parsed(value: Any) -> Any:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str | Window) for text in texts):
        raise ValueError("should be a text such as 19:00-06:00, or a list of such texts")
    return tuple(text if isinstance(text, Window) else parse(text) for text in texts)


Windows = Annotated[tuple[Window, ...], BeforeValidator(_parsed)]
"""One or more time windows."""
