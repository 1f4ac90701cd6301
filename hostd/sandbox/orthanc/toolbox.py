"""The functions of Orthanc's Lua that act on nothing: JSON, and tables in the log."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hostd.sandbox.granted import shown
from hostd.sandbox.orthanc.tables import SimplifiedTags, Table, plain

_MOST_LINES = 1000


def parse_json(text: object) -> Any:
    """Return what a JSON text says, as dicts and lists. None stays None, as the answer that there was not."""
    if text is None:
        return None
    if not isinstance(text, str):
        raise TypeError(f"ParseJson reads a text, not {shown(text)}")
    return json.loads(text)


def dump_json(value: object, keep_strings: bool = True) -> str:  # noqa: ARG001 - Lua's second argument
    """Return a value as JSON. Texts stay texts, whatever `keepStrings` says: "00123" is no number."""
    return json.dumps(plain(value))


def lines_of(value: object, limit: int = _MOST_LINES, indent: str = "") -> Iterator[str]:
    """Give the lines in which a value is printed, those within tables further in; at most `limit`."""
    for number, text in enumerate(_lines(value, indent if isinstance(indent, str) else "")):
        if number >= limit:
            yield "…"
            return
        yield text


def _lines(value: object, indent: str) -> Iterator[str]:
    if isinstance(value, (dict, Table, SimplifiedTags)):
        pairs = [(str(name), one) for name, one in value.items()]
    elif isinstance(value, (list, tuple)):
        pairs = [(f"[{place}]", one) for place, one in enumerate(value, start=1)]
    else:
        yield f"{indent}{value}"
        return
    for name, one in pairs:
        if isinstance(one, (dict, Table, SimplifiedTags, list, tuple)):
            yield f"{indent}{name}:"
            yield from _lines(one, f"{indent}    ")
        else:
            yield f"{indent}{name}: {one}"
