"""Whether a script is to be asked about an event, by what it declared: `handles = {"Modality": ["CT"]}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from hostd.archive.records import Event
from hostd.dicom.header import Header
from hostd.scripting.vocabulary import vocabulary

Handles = Mapping[str, Sequence[str]]
"""Keyword → texts. Every element must have one of its texts, '' standing for absent or empty."""


def concerns(handles: Handles | None, event: Event) -> bool:
    """Return whether the script is to be asked. Where the header cannot tell (none, a large value, a broken row), it is."""
    if not handles or not event.header:
        return True
    try:
        header = _decoded(event.header)
    except ValueError:  # msgspec's errors are ValueErrors; the run will fail on it, in the open
        return True
    keywords = vocabulary()[0]
    return all(_has(header, keywords.get(keyword), texts) for keyword, texts in handles.items())


@lru_cache(maxsize=16)
def _decoded(stored: bytes) -> Header:
    """Return a header, which is the same for all scripts that ask: not to be changed."""
    return Header.decode(stored)


def _has(header: Header, element: tuple[int, str] | None, texts: Sequence[str]) -> bool:
    if element is None:
        return True
    _, values = header.tags.get(element[0], ("", []))
    if values is None:
        return True
    return any(str(value) in texts for value in values or [""])
