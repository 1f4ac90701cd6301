"""Writes the hostd.toml that says what a configuration of Orthanc's says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import tomli_w

from hostd.config import files
from hostd.errors import ConfigurationError


def written_out(path: Path, environ: Mapping[str, str]) -> str:
    """Return the text of the TOML file; what is not taken over stands above it, as comments.

    It has hashes for the passwords of users, and the passwords of peers as they are. Raises `ConfigurationError`.
    """
    source = files.read(path.absolute(), environ)
    if not source.options:
        raise ConfigurationError(f"{path} is no configuration of Orthanc's")
    where = "".join(c if c.isprintable() else " " for c in str(path))
    lines = [
        f"# From {where}. All settings: docs/configuration.md; what became of each option: docs/orthanc.md.",
        *(f"# {note}" for note in source.notes),
    ]
    return "\n".join(lines) + "\n\n" + tomli_w.dumps(source.values)
