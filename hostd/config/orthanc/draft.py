"""What becomes of Orthanc's options, while it is put together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hostd.config.orthanc.options import remark_on
from hostd.config.problems import InvalidConfigurationError, Loc, Problem


@dataclass(frozen=True, slots=True)
class Note:
    """What is said of one option: that it is not taken over, or what was decided with it."""

    option: str
    text: str

    def __str__(self) -> str:
        # What stands in a file must not steer a terminal.
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in f"{self.option}: {self.text}")


@dataclass(frozen=True, slots=True)
class Converted:
    """hostd's tables, as a TOML file would give them; what to say of options; and which option gave which setting."""

    values: dict[str, Any]
    notes: tuple[Note, ...]
    options: Mapping[Loc, str]


@dataclass(slots=True)
class Draft:
    """Takes options of `given`, and puts settings. Relative paths are relative to `base`."""

    given: Mapping[str, Any]
    base: Path
    values: dict[str, Any] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    options: dict[Loc, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def put(self, loc: tuple[str, ...], value: Any, option: str) -> None:
        """Set a setting to what an option says; nothing where it says nothing."""
        if value is None:
            return
        table = self.values
        for part in loc[:-1]:
            table = table.setdefault(part, {})
        table[loc[-1]] = value
        self.options[loc] = option

    def move(self, option: str, *loc: str) -> None:
        """Set a setting to what an option says, as it is."""
        self.put(loc, self.given.get(option), option)

    def note(self, option: str, text: str) -> None:
        """Have something said of an option."""
        self.notes.append(Note(option, text))

    def problem(self, option: str, text: str) -> None:
        """Have an option refused."""
        self.problems.append(Problem(option, text))

    def flag(self, option: str, *, default: bool) -> bool:
        """Return an option that is true or false."""
        value = self.given.get(option)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.problem(option, "should be true or false")
            return default
        return value

    def number(self, option: str) -> float | None:
        """Return an option that is a number, None for 0 and where it is absent."""
        value = self.given.get(option)
        if value is None:
            return None
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            self.problem(option, "should be a number")
            return None
        if isinstance(value, bool) or number == 0:
            return None
        return int(number) if number.is_integer() else number

    def seconds(self, option: str, *loc: str) -> None:
        """Set a time-out to what an option says; 0, which is for ever there, leaves the default."""
        value = self.number(option)
        if value is None and self.given.get(option) is not None:
            self.note(option, f"0, for ever, is not to be had; {'.'.join(loc)} has its default")
        self.put(loc, value, option)

    def table(self, option: str) -> Mapping[str, Any]:
        """Return an option that is an object."""
        value = self.given.get(option)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.problem(option, "should be an object, in braces")
            return {}
        return value

    def path(self, value: Any) -> str | None:
        """Return a path of the configuration, absolute; None for none."""
        if not isinstance(value, str) or not value:
            return None
        return os.path.abspath(self.base / value)  # noqa: PTH100 - a symbolic link is kept as written

    def remarks(self) -> None:
        """Note what hostd does not have, or does not know."""
        said = {note.option.partition(" ")[0] for note in self.notes}
        for option, value in self.given.items():
            if option not in said and (text := remark_on(option, value)):
                self.note(option, text)

    def converted(self) -> Converted:
        """Return what it came to. Raises `InvalidConfigurationError`."""
        if self.problems:
            raise InvalidConfigurationError([*dict.fromkeys(self.problems)])
        return Converted(self.values, tuple(self.notes), self.options)
