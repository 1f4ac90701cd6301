"""`on_start` and `on_stop`: whether a version of a script is still to have them."""

from __future__ import annotations

from hostd.archive import events, scripts
from hostd.archive.archive import Archive
from hostd.archive.records import Event
from hostd.archive.scripts import KnownScript, Version


def due_start(archive: Archive, script: str, version: Version) -> Event | None:
    """Return the `start` event that this version has not had yet; None when it has, or has no handler for it."""
    if "on_start" not in version.handlers:
        return None
    with archive.read() as connection:
        known = scripts.find(connection, script)
        event = events.last_own(connection, "start", script, version.hash)
    assert known is not None, "it was accepted"
    return None if event is None or known.cursor.has_passed(event.number) else event


def due_stop(archive: Archive, known: KnownScript) -> Event | None:
    """Return the `stop` event of the version that ends, written now where it was not before; None when it has had it."""
    assert known.version is not None, "only what was accepted runs"
    with archive.read() as connection:
        begun = events.last_own(connection, "start", known.name, known.version)
        stop = events.last_own(connection, "stop", known.name, known.version)
    if stop is not None and (begun is None or stop.number > begun.number):  # hostd ended between on_stop and the next
        return None if known.cursor.has_passed(stop.number) else stop
    return _announce_stop(archive, known.name, known.version)


def _announce_stop(archive: Archive, script: str, version: str) -> Event:
    now = archive.clock.now()
    number = archive.writer.do(lambda c: events.append(c, "stop", script, now, content=version))
    with archive.read() as connection:
        event = events.get(connection, number)
    assert event is not None, "it was written just now"
    return event
