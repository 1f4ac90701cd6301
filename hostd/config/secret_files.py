"""Secrets that are not in the configuration itself: in a file of their own, or in an environment variable."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

_MAX_BYTES = 65536


def from_file(path: Path, what: str) -> str:
    """Return the text of a file that holds a secret; one newline at its end is left out.

    Raises `ValueError` saying what is wrong with the file, never what is in it.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}: write the {what} into it") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > _MAX_BYTES:
        raise ValueError(f"{path} is too large for a {what}")
    try:
        text = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    if not text:
        raise ValueError(f"{path} is empty: write the {what} into it")
    return text


def from_variable(name: str, environ: Mapping[str, str], what: str) -> str:
    """Return the value of an environment variable. Raises `ValueError` when it has none."""
    if not environ.get(name):
        raise ValueError(f"the environment variable {name} is not set: put the {what} into it")
    return environ[name]


def secret_of(
    given: SecretStr | None, file: Path | None, variable: str | None, environ: Mapping[str, str], what: str
) -> SecretStr | None:
    """Return a secret from where it is, None where it is nowhere. Raises `ValueError` as the others do."""
    if file is not None:
        return SecretStr(from_file(file, what))
    if variable is not None:
        return SecretStr(from_variable(variable, environ, what))
    return given
