"""Reading some rows by their identifiers: statements that are made once, each for so many values, and executed as they are (`rows`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive.rows import Prepared

_SIZES = (1, 8, 64, 256)
"""For so many values there is a statement; where there are fewer, the last one stands more than once."""

Values = list[sa.BindParameter[str]]


class ByValues:
    """A query with a condition that a column has one of some values."""

    def __init__(self, make: Callable[[Values], sa.Executable]) -> None:
        """`make` gives the statement with these parameters, as in `column.in_(values)`; what it gives of one value depends on no other."""
        self._make = make
        self._prepared: dict[int, Prepared] = {}

    def rows(self, connection: Connection, values: Sequence[str], **others: Any) -> list[Any]:
        """Execute it for these different values, so many at a time; return all rows. `others` are its other parameters."""
        found: list[Any] = []
        for start in range(0, len(values), _SIZES[-1]):
            some = values[start : start + _SIZES[-1]]
            size = next(size for size in _SIZES if size >= len(some))
            given = dict(zip(_names(size), [*some, *[some[-1]] * (size - len(some))], strict=True))
            found += self._for(size).rows(connection, **given, **others)
        return found

    def _for(self, size: int) -> Prepared:
        prepared = self._prepared.get(size)
        if prepared is None:
            parameters = [sa.bindparam(name, type_=sa.Text) for name in _names(size)]
            prepared = self._prepared[size] = Prepared(self._make(parameters))
        return prepared


def document(value: Any) -> Any:
    """Return what a column of JSON holds, of what the driver gives of it: the text itself (SQLite), or what stands in it."""
    if not isinstance(value, (str, bytes)):
        return value
    try:
        return msgspec.json.decode(value)  # in a fifth of the time
    except msgspec.DecodeError:  # half a character of a damaged file
        return json.loads(value)


def _names(size: int) -> list[str]:
    return [f"value_{number}" for number in range(size)]
