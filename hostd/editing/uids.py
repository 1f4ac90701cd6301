"""New UIDs: a function of the old one, of a key, and of what is done. So they are the same for whoever asks, whenever, on any node."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from hostd.transcoding import elements as el

WELL_KNOWN = "1.2.840.10008."
"""The root of the UIDs that the standard itself defines; they identify nobody, and other systems know them by heart."""
MapUid = Callable[[str], str]


def new_uid(key: bytes, scope: str, old: str) -> str:
    """Return the UID that replaces `old` within `scope` (PS3.5 §B.2). Without the key nobody can tell one from the other."""
    digest = hmac.digest(key, f"{scope}\0{old}".encode("utf-8", "surrogateescape"), "sha256")
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def mapped(element: el.Element, change: MapUid) -> el.Element:
    """Return a UI element with each of its values changed; empty ones and those of the standard stay."""
    text = element.value.decode("latin-1")
    values = [value.strip(" \0") for value in text.split("\\")]
    new = [value if not value or value.startswith(WELL_KNOWN) else change(value) for value in values]
    if new == values:
        return element
    return el.with_text({}, element.tag, b"UI", "\\".join(new))[element.tag]
