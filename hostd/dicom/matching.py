"""What the keys of a query match (PS3.4 §C.2.2.2): single values, lists, wildcards and ranges, by VR.

Text is compared in two ways. *Exactly*: case and accents count. *Folded*: neither does, on Latin letters: `Müller`, `MULLER` and `muller` are one
name; other scripts have only their case folded. Beyond the standard, wildcards and lists count for every VR, as senders use them so.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

LAST = "\U0010ffff"
"""Sorts behind whatever may follow a prefix."""

_UNSPLIT = frozenset(("LT", "ST", "UT", "UR"))
"""VRs in whose values a backslash is a character (PS3.5 §6.2)."""
_NUMBERS = frozenset(("IS", "DS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD"))
_TIMES = frozenset(("DA", "TM", "DT"))
_OFFSET = re.compile(r"[+-](0\d|1[0-4])[0-5]\d$")
"""Of a DT, which is not the hyphen of a range (PS3.5 §6.2)."""
_PRECISIONS = {"DA": 8, "TM": 12, "DT": 20}
"""Digits of a value in full."""


class _Folding(dict[int, str]):
    """Maps a character of composed text to what stands for it and its kin; one to one, but for what no text should have."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        base = unicodedata.normalize("NFD", character)[0]
        if base.isascii() and base.isalpha():
            folded = base.lower()
        elif code == 0 or 0x300 <= code <= 0x36F:  # an accent that nothing is composed with
            folded = ""
        elif 0xD800 <= code <= 0xDFFF:
            folded = "\ufffd"
        else:
            folded = character.casefold()
            folded = folded if len(folded) == 1 else character.lower()[:1]
        self[code] = folded
        return folded


_FOLDING = _Folding()


def exact(text: str) -> str:
    """Return text in the one form that it is compared in exactly."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def fold(text: str) -> str:
    """Return text without case, and without accents on Latin letters. What begins alike, folded begins alike."""
    return (
        text.lower() if text.isascii() and "\0" not in text else unicodedata.normalize("NFC", text).translate(_FOLDING)
    )


def digits(text: str) -> str:
    """Return the digits of a date or time, so that older ways to write one (`2020.01.31`, `12:30`) are as today's."""
    return text if text.isdigit() and text.isascii() else "".join(c for c in text if "0" <= c <= "9")


@dataclass(frozen=True, slots=True)
class Single:
    """One value."""

    text: str


@dataclass(frozen=True)
class Wildcard:
    """A pattern: `*` stands for any characters, `?` for one."""

    pattern: str

    @cached_property
    def prefix(self) -> str:
        """What stands before the first wildcard."""
        return re.split(r"[*?]", self.pattern, maxsplit=1)[0]

    @cached_property
    def _pieces(self) -> list[re.Pattern[str]]:
        # Pieces without `*` have nothing to go back for: however many there are, the time is that of reading the text a few times.
        return [
            re.compile("".join("." if c == "?" else re.escape(c) for c in piece), re.DOTALL)
            for piece in self.pattern.split("*")
        ]

    def matches(self, text: str) -> bool:
        """Tell whether the whole text is of that pattern."""
        first, *others = self._pieces
        if not others:
            return first.fullmatch(text) is not None
        begun = first.match(text)
        if begun is None:
            return False
        at = begun.end()
        for piece in others[:-1]:
            found = piece.search(text, at)
            if found is None:
                return False
            at = found.end()
        last = self.pattern.rpartition("*")[2]
        return len(text) - len(last) >= at and others[-1].fullmatch(text, len(text) - len(last)) is not None


@dataclass(frozen=True, slots=True)
class Range:
    """From `first` to `last`, both included, as digits; '' where it is open. A bound of fewer digits means the whole day, hour or minute."""

    first: str
    last: str


Alternative = Single | Wildcard | Range


@dataclass(frozen=True)
class Matcher:
    """What a key asks for: any of the `alternatives`. Without one it would be universal, which no matcher is needed for.

    What is stored is one value where it `is_whole`, whatever backslashes are in it.
    """

    vr: str
    alternatives: tuple[Alternative, ...]
    is_exact: bool
    is_whole: bool = False

    def matches(self, stored: str) -> bool:
        """Tell whether an attribute with that text, its values separated by backslashes, is asked for; one without a value never is."""
        if not stored:
            return False
        values = [stored] if self.is_whole or self.vr in _UNSPLIT else stored.split("\\")
        return any(check(value) for value in values for check in self._checks)

    @cached_property
    def _checks(self) -> list[Callable[[str], bool]]:
        return [self._check(one) for one in self.alternatives]

    def _check(self, wanted: Alternative) -> Callable[[str], bool]:
        form = exact if self.is_exact else fold
        match wanted:
            case Range(first, last):
                return lambda value: _within(_moment(self.vr, value), first, last, _PRECISIONS[self.vr])
            case Wildcard(text) | Single(text) if self.vr == "PN":
                has_name = _named(text)
                return lambda value: has_name(form(value.strip(" \0")))
            case Wildcard():
                return lambda value: wanted.matches(form(value.strip(" \0")))
            case Single(text) if self.vr in _TIMES and (moment := _moment(self.vr, text)):
                full = _PRECISIONS[self.vr] if self.vr != "DA" else 0
                return lambda value: _moment(self.vr, value).ljust(full, "0") == moment.ljust(full, "0")
            case Single(text) if self.vr in _NUMBERS and (number := _number(text)) is not None:
                return lambda value: _number(value) == number
            case Single(text):
                return lambda value: form(value.strip(" \0")) == text

    @cached_property
    def spans(self) -> list[tuple[str, str]] | None:
        """Between which two texts, both included, the folded value lies: a span for each alternative; None where one may be anywhere.

        Of a date or time it is the digits that lie there.
        """
        found = [self._span(one) for one in self.alternatives]
        spans = [span for span in found if span is not None]
        return spans if len(spans) == len(found) else None

    def _span(self, wanted: Alternative) -> tuple[str, str] | None:
        match wanted:
            case Range(first, last):
                return first, last.ljust(_PRECISIONS[self.vr], "9") if last else LAST
            case Wildcard():
                prefix = fold(_first_group(wanted.prefix) if self.vr == "PN" else wanted.prefix)
                return (prefix, prefix + LAST) if prefix and self.vr not in _TIMES else None
            case Single(text) if self.vr == "PN":
                name = fold(_first_group(_name(text)))
                return (name, name + LAST) if name else None
            case Single(text) if self.vr in _TIMES:
                return (digits(text), digits(text)) if self.vr == "DA" else None
            case Single(text) if self.vr in _NUMBERS:
                return None
            case Single(text):
                return fold(text), fold(text)


@dataclass(frozen=True, slots=True)
class Moments:
    """A range of dates and one of times as one range, from a time of the first day to a time of the last (PS3.4 §C.2.2.2.5)."""

    span: Range

    def holds(self, date: str, time: str) -> bool:
        """Tell whether a date, at a time, is in it; one without a time is the beginning of its day, and nothing without a date is in it."""
        day = digits(date)[:8]
        moment = day.ljust(8, "0") + digits(time) if day else ""
        return _within(moment, self.span.first, self.span.last, _PRECISIONS["DT"])


def combined(date: Matcher, time: Matcher) -> Moments | None:
    """Return two keys as one range; None where they are no ranges, or not of one form: both from, both to, or both with two ends."""
    match date.alternatives, time.alternatives:
        case (Range(first_day, last_day),), (Range(first_time, last_time),):
            forms = (bool(first_day), bool(last_day)), (bool(first_time), bool(last_time))
            if forms[0] == forms[1] and all(len(day) in (0, 8) for day in (first_day, last_day)):
                return Moments(Range(first_day + first_time, last_day + last_time))
    return None


def matcher(vr: str, text: str, *, is_exact: bool, is_whole: bool = False) -> Matcher | None:
    """Return what a key of that VR and text matches; None where it matches everything, also what has no value (universal matching).

    A list matches also the text that it is, where what is stored `is_whole`.
    """
    form = exact if is_exact else fold
    parts = [text] if vr in _UNSPLIT else text.split("\\")
    wanted: list[Alternative] = []
    for part in parts:
        plain = part.strip(" \0")
        if not plain.strip("*"):
            if plain or len(parts) == 1:
                return None
            continue  # an empty value in a list says nothing
        if "*" in plain or "?" in plain:
            wanted.append(Wildcard(re.sub(r"\*+", "*", form(plain))))
        elif vr in _TIMES and (span := _range(vr, plain)):
            wanted.append(span)
        else:
            wanted.append(Single(form(plain)))
    if is_whole and len(parts) > 1:
        wanted.append(Single(form("\\".join(part.strip(" \0") for part in parts))))
    return Matcher(vr, tuple(wanted), is_exact, is_whole) if wanted else None


def _range(vr: str, text: str) -> Range | None:
    if "-" not in text or (vr == "DT" and _OFFSET.search(text) and text.count("-") == 1):
        return None
    parts = text.split("-")
    if vr != "DT" and len(parts) == 2:
        first, last = parts
    elif vr == "DT":
        # An offset may stand on either side, and has a hyphen of its own.
        found = re.fullmatch(r"((?:[\d.]+(?:[+-]\d{4})?)?)-((?:[\d.]+(?:[+-]\d{4})?)?)", text)
        if found is None:
            return None
        first, last = (_OFFSET.sub("", one) for one in found.groups())
    else:
        return None  # a date as `2020-01-31`
    if not digits(first) and not digits(last) and text != "-":
        return None
    return Range(digits(first), digits(last))


def _moment(vr: str, text: str) -> str:
    """Return the digits of a date or time; an offset from UTC is not among them, and not reckoned with."""
    return digits(_OFFSET.sub("", text.strip()) if vr == "DT" else text)


def _within(value: str, first: str, last: str, full: int) -> bool:
    if not value:
        return False
    value = value[:full].ljust(full, "0")
    return first.ljust(full, "0") <= value and (not last or value <= last.ljust(full, "9"))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _name(text: str) -> str:
    """Return a name without the delimiters at its end, which say nothing (PS3.5 §6.2.1)."""
    return "=".join(group.rstrip("^ ") for group in text.split("=")).rstrip("=")


def _first_group(name: str) -> str:
    """Return what the first component group begins with, of the beginning of a name."""
    first, delimiter, _ = name.partition("=")
    return first.rstrip("^ ") if delimiter else first


def _named(name: str) -> Callable[[str], bool]:
    """Return what tells whether a name is as a whole of that pattern, or in each component group (PS3.5 §6.2.1) that it has; an empty one may be any."""
    whole = Wildcard(name)
    wanted = [(place, Wildcard(one)) for place, one in enumerate(_name(name).split("=")) if one.strip("*")]
    is_plain = "=" not in name and _name(name) == name

    def matches(text: str) -> bool:
        if whole.matches(text):
            return True
        if is_plain and "=" not in text and not text.endswith(("^", " ")):
            return False  # its one group is the whole
        groups = _name(text).split("=")
        return bool(wanted) and all(place < len(groups) and one.matches(groups[place]) for place, one in wanted)

    return matches
