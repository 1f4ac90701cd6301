"""Events as they travel to workers: made and encoded once, however many scripts are asked about one."""

from __future__ import annotations

from functools import lru_cache

from hostd.archive.records import Event
from hostd.sandbox import frames
from hostd.sandbox.channel import encoded
from hostd.scripting.plan import as_frames_event

_KEPT = 32
"""Events, each of up to 50 kB twice: scripts that keep up ask after the same few."""


def travelling(event: Event) -> tuple[frames.Event, bytes]:
    """Return an event as a worker gets it, and the same `encoded`."""
    return _made(_Row(event))


class _Row:
    """An event that the feed has read for all scripts, told apart by identity: to compare two would take longer than to encode one."""

    __slots__ = ("event",)

    def __init__(self, event: Event) -> None:
        self.event = event

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Row) and self.event is other.event

    def __hash__(self) -> int:
        return self.event.number


@lru_cache(maxsize=_KEPT)
def _made(row: _Row) -> tuple[frames.Event, bytes]:
    made = as_frames_event(row.event)
    return made, encoded(made)
