"""The time zones that a script names, read for it: in its jail no file can be opened."""

from __future__ import annotations

import contextlib
import re
import zoneinfo
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

_QUOTED = re.compile(r"""["']([A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+){0,2})["']""")
_MOST = 50
_MAGIC = b"TZif"


def zones_for(texts: Iterable[str], config: object) -> dict[str, bytes]:
    """Return the IANA zones that stand in quotes in a text that speaks of `zoneinfo`, or in the configuration: name → TZif (RFC 8536)."""
    speaking = [text for text in texts if "zoneinfo" in text]
    if not speaking:
        return {}
    names = dict.fromkeys([name for text in speaking for name in _QUOTED.findall(text)])
    names |= dict.fromkeys(name for name in _strings(config) if _QUOTED.fullmatch(f'"{name}"'))
    found = {name: content for name in names if (content := _content(name)) is not None}
    return dict(list(found.items())[:_MOST])


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _strings(list(value.values()))
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


@cache
def _content(name: str) -> bytes | None:
    """Return the file of a zone: of the system, or of the package tzdata. A name has letters, digits and slashes only."""
    candidates: list[Any] = [Path(folder, name) for folder in zoneinfo.TZPATH]
    with contextlib.suppress(ModuleNotFoundError):  # only systems without zones of their own need the package
        candidates.append(resources.files("tzdata").joinpath("zoneinfo", *name.split("/")))
    for file in candidates:
        if file.is_file():
            content: bytes = file.read_bytes()
            if content.startswith(_MAGIC):
                return content
    return None
