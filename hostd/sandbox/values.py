"""What the values of elements become in a script (PS3.5 §6.2), VR by VR.

| VR | in a script |
|---|---|
| DS | float |
| IS | int |
| FL FD, SL SS SV UL US UV, AT | float, int, int |
| PN | `PersonName`, a str |
| DA, TM, DT | `DateText`, `TimeText`, `DateTimeText`, each a str |
| OB OW OF OD OL OV UN | bytes |
| all other text | str, as it stands: "00123" stays "00123" |
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

# Not `int()` and `float()` alone: they also take underscores, "nan" and digits of other scripts.
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_DATE = re.compile(r"([0-9]{4})(\.?)([0-9]{2})\2([0-9]{2})", re.ASCII)
_TIME = re.compile(r"([0-9]{2})(?::?([0-9]{2})(?::?([0-9]{2})(?:\.([0-9]{1,6}))?)?)?", re.ASCII)
_DATE_TIME = re.compile(
    r"([0-9]{4})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:([0-9]{2})(?:\.([0-9]{1,6}))?)?)?)?)?)?"
    r"(?:([+-])([0-9]{2})([0-9]{2}))?",
    re.ASCII,
)


class PersonName(str):
    """A person's name (VR PN, PS3.5 §6.2.1) as it stands in the file, with its components.

    The components are those of the first group, the alphabetic one; the others are names of their own:
    `name.ideographic.family_name`. What is not there is the empty text.
    """

    __slots__ = ()

    def _component(self, number: int) -> str:
        parts = self.split("=", 1)[0].split("^")
        return parts[number].strip() if number < len(parts) else ""

    def _group(self, number: int) -> PersonName:
        groups = self.split("=")
        return PersonName(groups[number] if number < len(groups) else "")

    @property
    def family_name(self) -> str:
        """The family name."""
        return self._component(0)

    @property
    def given_name(self) -> str:
        """The given name or names."""
        return self._component(1)

    @property
    def middle_name(self) -> str:
        """The middle name."""
        return self._component(2)

    @property
    def prefix(self) -> str:
        """What stands before the name: "Dr."."""
        return self._component(3)

    @property
    def suffix(self) -> str:
        """What stands after the name: "Jr."."""
        return self._component(4)

    @property
    def alphabetic(self) -> PersonName:
        """The name in single-byte characters."""
        return self._group(0)

    @property
    def ideographic(self) -> PersonName:
        """The name in ideographs, such as kanji."""
        return self._group(1)

    @property
    def phonetic(self) -> PersonName:
        """The name as it is spoken, such as in hiragana."""
        return self._group(2)


class DateText(str):
    """A date (VR DA) as it stands in the file: "20240131"."""

    __slots__ = ()

    @property
    def date(self) -> dt.date:
        """The date. Raises `ValueError` when the text is none; the old form "2024.01.31" is one."""
        found = _DATE.fullmatch(self)
        if found is None:
            raise ValueError(f"{str(self)!r} is not a date as DICOM writes them (YYYYMMDD)")
        return dt.date(int(found[1]), int(found[3]), int(found[4]))


class TimeText(str):
    """A time of day (VR TM) as it stands in the file: "142359.123"."""

    __slots__ = ()

    @property
    def time(self) -> dt.time:
        """The time; minutes and seconds that are not there are 0, a leap second is 59. Raises `ValueError` when the text is none."""
        found = _TIME.fullmatch(self)
        if found is None:
            raise ValueError(f"{str(self)!r} is not a time as DICOM writes them (HHMMSS.FFFFFF)")
        return dt.time(int(found[1]), int(found[2] or 0), min(int(found[3] or 0), 59), _microseconds(found[4]))


class DateTimeText(str):
    """A date and time (VR DT) as it stands in the file: "20240131142359.123+0100"."""

    __slots__ = ()

    @property
    def datetime(self) -> dt.datetime:
        """The date and time; parts that are not there are the earliest. Aware only if the text has an offset. Raises `ValueError`."""
        found = _DATE_TIME.fullmatch(self)
        if found is None:
            raise ValueError(f"{str(self)!r} is not a date and time as DICOM writes them (YYYYMMDDHHMMSS.FFFFFF+ZZZZ)")
        year, month, day, hour, minute, second, fraction, sign, hours, minutes = found.groups()
        zone = None
        if sign is not None:
            offset = dt.timedelta(hours=int(hours), minutes=int(minutes))
            zone = dt.timezone(-offset if sign == "-" else offset)
        seconds = min(int(second or 0), 59)
        return dt.datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), seconds, _microseconds(fraction), zone
        )  # fmt: skip


def _microseconds(fraction: str | None) -> int:
    return int((fraction or "").ljust(6, "0"))


def _decimal(text: str, name: str) -> float | None:
    if text == "":
        return None
    if _DECIMAL.fullmatch(text.strip(" ")) is None:
        raise ValueError(f"{name} has VR DS, but {text[:64]!r} is not a number; read it with tags.text(...)")
    return float(text)


def _integer(text: str, name: str) -> int | None:
    if text == "":
        return None
    if len(text) > 64 or _INTEGER.fullmatch(text.strip(" ")) is None:
        raise ValueError(f"{name} has VR IS, but {text[:64]!r} is not a whole number; read it with tags.text(...)")
    return int(text)


_TEXT: dict[str, Callable[[str], str]] = {"PN": PersonName, "DA": DateText, "TM": TimeText, "DT": DateTimeText}


def convert(vr: str, raw: object, name: str) -> Any:
    """Return one value of an element as a script gets it; `name` is for the error.

    An empty one among several values is None under DS and IS, and the empty text otherwise.
    Raises `ValueError` for a text under DS or IS that is not a number.
    """
    if isinstance(raw, str):
        if vr == "DS":
            return _decimal(raw, name)
        if vr == "IS":
            return _integer(raw, name)
        return _TEXT.get(vr, str)(raw)
    return raw
