"""The files that settings come from: TOML, or the JSON of an Orthanc."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hostd.config.hashing import Hashed, hash_once
from hostd.config.orthanc import reading
from hostd.config.orthanc.converting import from_orthanc
from hostd.config.orthanc.draft import Note
from hostd.config.permissions import hindrance
from hostd.config.problems import InvalidConfigurationError, Loc, Problem, dotted
from hostd.errors import ConfigurationError

_SETTINGS_OF_ONE_WORD = frozenset({"username"})
"""Those that messages name. Other words, as "port", are also what they are about."""


@dataclass(frozen=True, slots=True)
class Source:
    """What the files say, in hostd's tables. `text` is that of a TOML file; relative paths are relative to `folder`."""

    values: dict[str, Any]
    folder: Path
    files: tuple[Path, ...] = ()
    """The files, and the folder that they are looked for in."""
    text: str = ""
    notes: tuple[Note, ...] = ()
    options: Mapping[Loc, str] = field(default_factory=dict)
    """Which option of Orthanc's gave which setting."""
    problems: tuple[Problem, ...] = ()
    """What is wrong with options of Orthanc's."""

    def in_its_words(self, problem: Problem) -> Problem:
        """Return a problem with the options that gave the settings it is about."""
        if problem.variable is not None or not self.options:
            return problem
        keys = {dotted(loc): option for loc, option in self.options.items()}
        within = [key for key in keys if re.match(rf"{re.escape(key)}(?![^.\[])", problem.key)]
        nearest = max(within, key=len, default="")
        message = re.sub(
            r"(?<![\w/.])[a-z_]+(?![\w/.])", lambda word: _beside(keys, problem.key, word[0]), problem.message
        )
        option = f"{keys[nearest]}{problem.key.removeprefix(nearest)} ({problem.key})" if nearest else problem.key
        return replace(problem, key=option, message=self.said(message))

    def said(self, text: str) -> str:
        """Return a text that names settings, as `http.port`, with the options that gave them."""
        if not self.options:
            return text
        for ours, theirs in _ORTHANCS.items():
            text = text.replace(ours, theirs)
        keys = {dotted(loc): option for loc, option in self.options.items()}
        return re.sub(r"(?<![\w/.])[a-z]+\.[a-z_]+(?![\w/.])", lambda key: keys.get(key[0], key[0]), text)


_ORTHANCS = {'[http] host = "0.0.0.0"': "RemoteAccessAllowed = true", "with [users]": "with RegisteredUsers"}
"""What the sentences of a node say to do, and what does it in Orthanc's configuration."""


def _beside(keys: Mapping[str, str], key: str, word: str) -> str:
    """Return the option for a word that is a setting of the table that a problem is of, or in; other words as they are."""
    if "_" not in word and word not in _SETTINGS_OF_ONE_WORD:
        return word
    table = key.rpartition(".")[0]
    return keys.get(f"{key}.{word}") or keys.get(f"{table}.{word}") or word


def read(path: Path | None, environ: Mapping[str, str], hashed: Hashed = hash_once) -> Source:
    """Return what that configuration says. `hashed` gives the hashes of Orthanc's users' passwords. Raises `ConfigurationError`."""
    if path is None:
        return Source({}, Path.cwd())
    if fault := hindrance(path):
        raise ConfigurationError(fault)
    text = "" if path.is_dir() else _text_of(path)
    if reading.is_orthanc(path, text):
        return _orthanc(path, environ, hashed)
    return Source(_toml(path, text), path.parent, (path,), text)


def _orthanc(path: Path, environ: Mapping[str, str], hashed: Hashed) -> Source:
    files = reading.files_of(path)
    twice: list[str] = []
    given = reading.merged({file: _text_of(file) for file in files}, environ, twice)
    folder = path if path.is_dir() else path.parent
    converted = from_orthanc(given, base=folder, hashed=hashed)
    notes = [
        *converted.notes,
        *(Note(name, "stands twice in one object; the last one counts") for name in dict.fromkeys(twice)),
    ]
    watched = dict.fromkeys((path, *files))
    return Source(
        converted.values, folder, tuple(watched), notes=tuple(notes), options=converted.options,
        problems=tuple(replace(problem, file=path) for problem in converted.problems),
    )  # fmt: skip


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigurationError(f"there is no configuration file {path}") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8") from None
    except OSError as error:
        raise ConfigurationError(f"the configuration file {path} cannot be read: {error.strerror}") from error


def _toml(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        number = int(line[1]) if line else None
        raise InvalidConfigurationError([Problem("", f"this is not TOML: {error}", path, number)]) from None
