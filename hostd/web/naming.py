"""What is noted and attached, by name or by number: `UserMetadata` and `UserContentType` of Orthanc's configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

LAST = 65535
"""The greatest number that metadata and attachments have."""


def as_number(name: str) -> int | None:
    """Return the number that a name is, None where it is none."""
    return int(name) if name.isascii() and name.isdigit() and len(name) <= len(str(LAST)) + 1 else None


def called(name: str, numbers: Mapping[str, int]) -> str:
    """Return what is told in the place of a number that has a name, or of a name."""
    number = as_number(name)
    if number is None:
        return name
    return next((known for known, one in numbers.items() if one == number), str(number))


def kept_as(name: str, kept: Iterable[str], numbers: Mapping[str, int]) -> str:
    """Return the name under which one is kept, or else would be: it may have come before its number had a name."""
    meant = called(name, numbers)
    return {called(one, numbers): one for one in kept}.get(meant, meant)
