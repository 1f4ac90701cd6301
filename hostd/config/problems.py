"""What is wrong with a configuration, in words: where it stands, what it is, and what to do."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from hostd.errors import ConfigurationError

Loc = tuple[str | int, ...]
"""Where a setting is: ("http", "port")."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_KEY = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER_LINE = re.compile(rf"\s*(\[{{1,2}})\s*({_KEY})\s*\]")
_KEY_LINE = re.compile(rf"\s*({_KEY})\s*=")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `line` is 1-based; `variable` is the environment variable that brought it, if one did."""

    key: str
    message: str
    file: Path | None = None
    line: int | None = None
    variable: str | None = None

    def __str__(self) -> str:
        if self.variable:
            where = f"environment variable {self.variable}: "
        elif self.file:
            where = f"{self.file}, line {self.line}: " if self.line else f"{self.file}: "
        else:
            where = ""
        return f"{where}{self.key + ': ' if self.key else ''}{self.message}"


class InvalidConfigurationError(ConfigurationError):
    """The configuration has problems; all of them are listed, one a line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def dotted(loc: Loc) -> str:
    """Return the key as one writes it: `scripts."compress.py".may`."""
    key = ""
    for part in loc:
        if isinstance(part, int):
            key += f"[{part}]"
        else:
            key += ("." if key else "") + (part if _BARE_KEY.fullmatch(part) else f'"{part}"')
    return key


def line_of(text: str, loc: Loc) -> int | None:
    """Return the line (1-based) of the key, or of the nearest table around it, by a simple scan of the TOML text."""
    best, found = 0, None
    table: Loc = ()
    entries: Counter[Loc] = Counter()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER_LINE.match(line):
            here = table = _path_of(header[2])
            if header[1] == "[[":  # one of a list of tables
                table = here = (*here, entries[here])
                entries[here[:-1]] += 1
        elif key := _KEY_LINE.match(line):
            here = table + _path_of(key[1])
        else:
            continue
        common = 0
        for mine, wanted in zip(here, loc, strict=False):
            if mine != wanted:
                break
            common += 1
        if common > best:
            best, found = common, number
    return found


def _path_of(key: str) -> Loc:
    try:
        value: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:  # a line inside a longer text that only looks like a key
        return ()
    path: list[str] = []
    while isinstance(value, dict):
        ((part, value),) = value.items()
        path.append(part)
    return tuple(path)


def model_at(root: type[BaseModel], loc: Loc) -> type[BaseModel] | None:
    """Return the model of the table at that place, or None when what is there is not a table of settings."""
    here: Any = root
    for part in loc:
        if isinstance(here, type) and issubclass(here, BaseModel):
            field = here.model_fields.get(str(part))
            here = field.annotation if field else None
        else:
            entry = {dict: -1, tuple: 0}.get(getattr(here, "__origin__", None))  # type: ignore[arg-type]  # None is no key
            here = None if entry is None else get_args(here)[entry]
    return here if isinstance(here, type) and issubclass(here, BaseModel) else None


def problems_of(
    error: ValidationError, root: type[BaseModel], *, file: Path | None, text: str, variables: Mapping[Loc, str]
) -> list[Problem]:
    """Put a validation error into words. The values that were given are never repeated: one may be a secret."""
    found = []
    for detail in error.errors(include_url=False, include_input=False, include_context=False):
        loc = tuple(part for part in detail["loc"] if part != "[key]")
        message = _message(root, loc, detail["type"], detail["msg"])
        found.append(place(loc, message, file=file, text=text, variables=variables))
    return found


def place(loc: Loc, message: str, *, file: Path | None, text: str, variables: Mapping[Loc, str]) -> Problem:
    """Say where that setting was given: by which environment variable, or on which line of the file."""
    prefixes = [loc[:size] for size in range(len(loc), 0, -1)]
    variable = next((variables[prefix] for prefix in prefixes if prefix in variables), None)
    line = None if variable or not file else line_of(text, loc)
    if variable is None and line is None:  # a table that only the environment names
        variable = next((name for given, name in variables.items() if given[: len(loc) - 1] == loc[:-1] != ()), None)
    return Problem(dotted(loc), message, file=None if variable else file, line=line, variable=variable)


def _message(root: type[BaseModel], loc: Loc, kind: str, text: str) -> str:
    match kind:
        case "extra_forbidden":
            return unknown_key(root, loc)
        case "missing":
            return "is missing: add it"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"should be a table, written [{dotted(loc)}]"
        case "tuple_type" if model_at(root, (*loc, 0)) is not None:
            return f"should be a list of tables, each written [[{dotted(loc)}]]"
        case _:
            text = text.removeprefix("Value error, ").replace("Input should", "should")
            return text[:1].lower() + text[1:] if text.startswith(("Value ", "List ", "Tuple ")) else text


def unknown_key(root: type[BaseModel], loc: Loc) -> str:
    """Say that there is no such setting, name the nearest, and say what to do."""
    *table, key = loc
    model = model_at(root, tuple(table))
    if model is None:
        return "there is no such setting: remove it"
    names = list(model.model_fields)
    near = [  # the right key in the wrong table
        dotted((section, str(key)))
        for section in root.model_fields
        if (other := model_at(root, (section,))) and str(key) in other.model_fields
    ]
    if table or not near:
        close = get_close_matches(str(key), names, n=2, cutoff=0.6)
        near = [dotted((*table, name)) for name in close] or near
    if near:
        return f"there is no such setting: did you mean {' or '.join(near)}? Otherwise remove it"
    where = f"[{dotted(tuple(table))}] has" if table else "there are the tables"
    return f"there is no such setting: remove it ({where} {', '.join(names)})"
