"""What becomes of Orthanc's options, while it is put together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hostd.config.orthanc.options import remark_on
from hostd.config.problems import Loc, Problem


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
    """Which option gives which setting, also where it says nothing."""
    problems: tuple[Problem, ...] = ()
    """What is wrong with the options themselves."""


@dataclass(slots=True)
class Draft:
    """Takes options of `given`, and puts settings. Relative paths are relative to `base`; `within` is what the names of options begin with."""

    given: Mapping[str, Any]
    base: Path
    values: dict[str, Any] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    options: dict[Loc, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    within: str = ""

    def inside(self, given: Mapping[str, Any], option: str) -> Draft:
        """Return what takes the options of an object, which is that option, and tells its problems here."""
        return Draft(given, self.base, problems=self.problems, within=f"{self.within}{option}.")

    def begin(self, loc: tuple[str, ...], option: str) -> None:
        """Have a table of settings, even if nothing is put into it, for what an option names."""
        table = self.values
        for part in loc:
            table = table.setdefault(part, {})
        self.options[loc] = option

    def put(self, loc: tuple[str, ...], value: Any, option: str) -> None:
        """Set a setting to what an option says; nothing where it says nothing."""
        if value is None:
            self.options.setdefault(loc, option)
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
        self.problems.append(Problem(f"{self.within}{option}", text))

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
            number = float("" if isinstance(value, bool) else value)
        except (TypeError, ValueError, OverflowError):
            self.problem(option, "should be a number")
            return None
        if number == 0:
            return None
        return int(number) if number.is_integer() else number

    def seconds(self, option: str, *loc: str) -> None:
        """Set a time-out to what an option says; 0, which is for ever there, leaves the default."""
        before = len(self.problems)
        value = self.number(option)
        if value is None and self.given.get(option) is not None and len(self.problems) == before:
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

    def path(self, option: str, default: str | None = None) -> str | None:
        """Return an option that is a path, absolute; None for none."""
        value = self.given.get(option)
        if value is not None and not isinstance(value, str):
            self.problem(option, "should be a path, as text")
            return None
        value = value or default
        if not value:
            return None
        if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
            self.problem(option, "has a character that is in no path")
            return None
        return os.path.abspath(self.base / value)  # noqa: PTH100 - a symbolic link is kept as written

    def remarks(self) -> None:
        """Note what hostd does not have, or does not know."""
        said = {note.option.partition(" ")[0] for note in self.notes}
        for option, value in self.given.items():
            if option not in said and (text := remark_on(option, value)):
                self.note(option, text)

    def converted(self) -> Converted:
        """Return what it came to."""
        return Converted(self.values, tuple(self.notes), self.options, tuple(dict.fromkeys(self.problems)))
