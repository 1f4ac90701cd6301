"""What order of calls is safe, decided over a recording: who recorded it, and how, does not matter."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

FULL = 2
"""PRAGMA synchronous = FULL."""


@dataclass(frozen=True)
class Synced:
    """An fsync or fdatasync of this file or folder has returned 0."""

    path: str


@dataclass(frozen=True)
class Committed:
    """A transaction was committed that entered these files, with SQLite's `synchronous` at this level."""

    blobs: frozenset[str]
    synchronous: int


@dataclass(frozen=True)
class Logged:
    """The row of this file was written to the write-ahead log, which need not be synced."""

    blob: str


@dataclass(frozen=True)
class Answered:
    """The first byte of an answer is about to be sent."""

    face: Literal["DIMSE", "HTTP"]
    success: bool


Call = Synced | Committed | Logged | Answered


def problems(calls: Sequence[Call], blob: str) -> list[str]:
    """Return what was missing, or came too late, when success was first answered for the file of that name."""
    end = next((index for index, call in enumerate(calls) if isinstance(call, Answered) and call.success), None)
    if end is None:
        return ["success was never answered"]
    folder = str(PurePath(blob).parent)
    found = []

    def step(what, start, matches):
        for index in range(start, end):
            if matches(calls[index]):
                return index + 1
        found.append(what)
        return start

    after = step("fsync of the file", 0, lambda c: isinstance(c, Synced) and c.path.endswith("/" + blob))
    after = step("fsync of the directory", after, lambda c: isinstance(c, Synced) and c.path.endswith("/" + folder))
    if any(isinstance(call, Logged) for call in calls):
        after = step("the row in the write-ahead log", after, lambda c: c == Logged(blob))
        step("fsync of the write-ahead log", after, lambda c: isinstance(c, Synced) and c.path.endswith(".db-wal"))
    else:
        step("commit", after, lambda c: isinstance(c, Committed) and blob in c.blobs and c.synchronous == FULL)
    return found
