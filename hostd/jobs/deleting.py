"""Goes on with deletes of whole series, studies and patients, a few instances at a time, so that the writer stays free."""

from __future__ import annotations

import threading

import structlog

from hostd.archive import deletes
from hostd.archive.archive import Archive

_log = structlog.get_logger(__name__)

_TOPIC = "event"
"""Is rung when a delete begins, since that tells of what is deleted first."""
_LONGEST_S = 30.0
_SHORTEST_S = 1.0
"""Seconds between two looks, however often it is rung: most events begin no delete."""


class Deleting:
    """Looks for what is being deleted, in a thread of its own. What is left is known by rows, so a restart goes on with it."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="deleting", daemon=True)

    def start(self) -> None:
        """Begin with what an earlier node left."""
        self._thread.start()

    def stop(self) -> None:
        """End after the unit that is going on."""
        self._stopping.set()
        self._archive.bulletin.ring(_TOPIC)
        self._thread.join()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            seen = self._archive.bulletin.seen(_TOPIC)
            try:
                go_on(self._archive, self._stopping)
            except Exception:  # noqa: BLE001 - a thread that must not end; the next look goes on
                _log.exception("a delete could not go on; hostd tries again")
            else:
                rung = self._archive.bulletin.wait(_TOPIC, seen, _LONGEST_S)
                if rung == seen:
                    continue
            self._stopping.wait(_SHORTEST_S)


def go_on(archive: Archive, stopping: threading.Event | None = None) -> int:
    """Go on until nothing is left to be deleted; return in how many units."""
    units = 0
    while not (stopping is not None and stopping.is_set()) and _is_left(archive):
        archive.writer.do(lambda c: deletes.go_on(c, archive.clock.now()), topics=("event",))
        units += 1
    return units


def _is_left(archive: Archive) -> bool:
    with archive.read() as connection:
        return deletes.is_left(connection)
