"""Reads the text of Orthanc's configuration: JSON with comments, in one file or in a folder of them, with `${VARIABLES}`."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hostd.config.problems import InvalidConfigurationError, Problem
from hostd.errors import ConfigurationError

_STRING = r'"(?:[^"\\\n]|\\.)*"'
_COMMENT = r"//[^\n]*|/\*.*?\*/"
_VARIABLE = r"\$\{([^}:]*)(?::-([^}]*))?\}"
_COMMENTS = re.compile(f"{_STRING}|({_COMMENT})", re.DOTALL)
_TRAILING_COMMAS = re.compile(rf"{_STRING}|,(\s*[}}\]])")
_DEEPEST = 100
"""Objects and lists inside of each other."""
_BARE_VARIABLES = re.compile(f"{_STRING}|{_VARIABLE}")


class FromVariable(str):
    """A text of the configuration that is the value of one variable of the environment, whose name it keeps."""

    __slots__ = ("variable",)
    variable: str

    @classmethod
    def of(cls, value: str, variable: str) -> FromVariable:
        """Return that value of that variable."""
        text = cls(value)
        text.variable = variable
        return text


def files_of(path: Path) -> list[Path]:
    """Return the files that make up the configuration: the file itself, or the `*.json` of a folder, in order.

    Raises `ConfigurationError` when there are none.
    """
    if not path.is_dir():
        return [path]
    try:
        files = sorted(file for file in path.iterdir() if file.suffix.lower() == ".json" and file.is_file())
    except OSError as error:
        raise ConfigurationError(f"the folder {path} cannot be read: {error.strerror}") from error
    if not files:
        raise ConfigurationError(f"the folder {path} cannot be read as a configuration: there is no *.json in it")
    return files


def is_orthanc(path: Path, text: str = "") -> bool:
    """Tell whether a configuration is Orthanc's: a folder, a file called *.json, or one that begins as JSON does and TOML cannot."""
    return path.is_dir() or path.suffix.lower() == ".json" or text.lstrip().startswith(("{", "//", "/*"))


def merged(texts: Mapping[Path, str], environ: Mapping[str, str], twice: list[str] | None = None) -> dict[str, Any]:
    """Return what these files say together. An option that two of them give is an error, as it is for Orthanc.

    One that stands twice in one file, of which the last counts, is added to `twice`.

    Raises `InvalidConfigurationError`.
    """
    options: dict[str, Any] = {}
    given_by: dict[str, Path] = {}
    problems = []
    for file, text in texts.items():
        for option, value in parse(file, text, environ, twice).items():
            if option in given_by:
                problems.append(Problem(option, f"is in {given_by[option]} too: keep one of them", file))
            options[option] = value
            given_by[option] = file
    if problems:
        raise InvalidConfigurationError(problems)
    return options


def parse(file: Path, text: str, environ: Mapping[str, str], twice: list[str] | None = None) -> dict[str, Any]:
    """Return what one file says. Raises `InvalidConfigurationError`, with the line where it is not JSON."""
    unset: list[str] = []
    text = _COMMENTS.sub(lambda found: _blank(found[1]) if found[1] else found[0], text)
    text = _BARE_VARIABLES.sub(lambda f: f[0] if f[0].startswith('"') else _value(f, environ, unset), text)
    text = _TRAILING_COMMAS.sub(lambda found: f" {found[1]}" if found[1] else found[0], text)
    try:
        options = json.loads(text, object_pairs_hook=lambda pairs: _object(pairs, [] if twice is None else twice))
        options = _substituted(options, environ, unset)
    except json.JSONDecodeError as error:
        raise InvalidConfigurationError([Problem("", f"this is not JSON: {error.msg}", file, error.lineno)]) from None
    except (RecursionError, ValueError):  # of numbers, ValueError
        raise InvalidConfigurationError(
            [Problem("", "is nested too deeply, or has a number of thousands of digits", file)]
        ) from None
    if not isinstance(options, dict):
        raise InvalidConfigurationError([Problem("", "should be one JSON object, in braces", file)])
    if unset:
        raise InvalidConfigurationError([
            Problem("", f"names the variable {name}, which the environment does not have: set it, or write ${{{name}:-default}}", file)
            for name in dict.fromkeys(unset)
        ])  # fmt: skip
    return {str(option): value for option, value in options.items()}


def _object(pairs: list[tuple[str, Any]], twice: list[str]) -> dict[str, Any]:
    twice += [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    return dict(pairs)


def _blank(comment: str) -> str:
    """Return as many lines, so that problems are told with the line they are on."""
    return "\n" * comment.count("\n") or " "


def _value(found: re.Match[str], environ: Mapping[str, str], unset: list[str]) -> str:
    name: str = found[1]
    default: str | None = found[2]
    value = environ.get(name, default)
    if value is None:
        unset.append(name)
        return ""
    return value


def _substituted(value: Any, environ: Mapping[str, str], unset: list[str], depth: int = 0) -> Any:
    if depth > _DEEPEST:
        raise RecursionError
    match value:
        case dict():
            return {
                _text(key, environ, unset): _substituted(one, environ, unset, depth + 1) for key, one in value.items()
            }
        case list():
            return [_substituted(one, environ, unset, depth + 1) for one in value]
        case str():
            return _text(value, environ, unset)
        case _:
            return value


def _text(text: str, environ: Mapping[str, str], unset: list[str]) -> str:
    whole = re.fullmatch(_VARIABLE, text)
    if whole and whole[1] in environ:
        return FromVariable.of(environ[whole[1]], whole[1])
    return re.sub(_VARIABLE, lambda found: _value(found, environ, unset), text)
