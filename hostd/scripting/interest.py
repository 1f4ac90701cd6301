"""Whether a script is to be asked about an event, by what it declared: `handles = {"Modality": ["CT"]}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from hostd.archive.records import Event
from hostd.dicom.header import Outline
from hostd.scripting.vocabulary import vocabulary

Handles = Mapping[str, Sequence[str]]
"""Keyword → texts. Every element must have one of its texts, '' standing for absent or empty."""


def concerns(handles: Handles | None, event: Event) -> bool:
    """Return whether the script is to be asked. Where the header cannot tell (none, a large value, a broken row), it is."""
    if not handles or not event.header:
        return True
    keywords = vocabulary()[0]
    try:
        elements = _elements(event.header)
        return all(_has(elements, keywords.get(keyword), texts) for keyword, texts in handles.items())
    except ValueError:  # msgspec's errors are ValueErrors; the run will fail on it, in the open
        return True


@lru_cache(maxsize=16)
def _elements(stored: bytes) -> dict[int, msgspec.Raw]:
    """Return the elements of a header, each as it is stored; they are the same for all scripts that ask: not to be changed."""
    return _ELEMENTS.decode(Outline.decode(stored).tags)


def _has(elements: Mapping[int, msgspec.Raw], element: tuple[int, str] | None, texts: Sequence[str]) -> bool:
    if element is None:
        return True
    stored = elements.get(element[0])
    _, values = ("", []) if stored is None else _ELEMENT.decode(stored)
    if values is None:
        return True
    return any(str(value) in texts for value in values or [""])


_ELEMENTS = msgspec.msgpack.Decoder(dict[int, msgspec.Raw])
_ELEMENT = msgspec.msgpack.Decoder(tuple[str, list[Any] | None])
