"""The configuration that commands rehearse scripts with."""

from __future__ import annotations

from pathlib import Path

from hostd.cli.config import chosen
from hostd.cli.looking import with_what_was_put
from hostd.config.hashing import unhashed
from hostd.config.settings import load
from hostd.scripting.configured import Configuration


def configured(config: Path | None) -> Configuration:
    """Return the configuration that is meant. Raises `ConfigurationError`."""
    file = chosen(config)
    return Configuration(with_what_was_put(load(file, hashed=unhashed)), file)


__all__ = ["Configuration", "configured"]
