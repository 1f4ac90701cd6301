"""What housekeeping looks at: the room on the disk, and whether those send who are expected to."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from hostd.archive import occurrences
from hostd.archive.archive import Archive

_log = structlog.get_logger(__name__)

_RECOVERED = 1.25
"""How many times the limit must be free for the disk to have recovered: a disk at the limit does not flicker."""


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def disk(archive: Archive, min_free_mb: int, free_bytes: Callable[[Path], int] = _free) -> None:
    """Tell when there is less room than that for the files (MiB; 0: never), and when there is again."""
    free_mb = free_bytes(archive.place.blobs) >> 20
    now = archive.clock.now()
    if free_mb < min_free_mb:
        if archive.writer.do(lambda c: occurrences.disk_low(c, free_mb, min_free_mb, now), topics=occurrences.TOPICS):
            _log.warning("the disk of the data folder is nearly full", free_mb=free_mb, min_free_mb=min_free_mb)
    elif free_mb >= min_free_mb * _RECOVERED and archive.writer.do(
        lambda c: occurrences.disk_recovered(c, free_mb, min_free_mb, now), topics=occurrences.TOPICS
    ):
        _log.info("there is room on the disk of the data folder again", free_mb=free_mb)


def sources(archive: Archive, silent_after_s: Mapping[str, float], modalities: Mapping[str, tuple[str, str]]) -> None:
    """Tell each of these modalities that has sent nothing for its time in seconds; `modalities` has AE title and host of all by name.

    A modality is known by its AE title, and by its address besides where several share the title.
    """
    titles = [aet for aet, _ in modalities.values()]
    now = archive.clock.now()
    for name, seconds in silent_after_s.items():
        aet, host = modalities[name]
        ip = host if titles.count(aet) > 1 else None
        if _watch(archive, name, aet, ip, seconds, now):
            _log.warning("a modality has sent nothing for long", modality=name, aet=aet)


def _watch(archive: Archive, name: str, aet: str, ip: str | None, seconds: float, now: float) -> bool:
    with archive.read() as connection:
        heard = occurrences.source_heard_at(connection, aet, ip)
    return archive.writer.do(
        lambda c: occurrences.watch_source(c, name, heard, seconds, now), topics=occurrences.TOPICS
    )
