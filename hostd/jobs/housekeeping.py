"""Removes what nothing needs any more, now and then: files in the trash, old rows, instances that `[retention]` gives an age."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import structlog

from hostd.archive import notices, removal, retention, scripts, turns
from hostd.archive.archive import Archive
from hostd.config.settings import Settings
from hostd.jobs.running import Runner

_log = structlog.get_logger(__name__)

_DAY_S = 86_400.0
_FIRST_S = 5.0
"""Seconds after the start of the node at which it is done first."""
_EVERY_S = 60.0
_RECYCLED_S = 5.0
"""Seconds after which files are looked at again that were let go to make room."""
_PURGE_S = 3600.0
"""Seconds between two looks at all that is finished or has an age, by whichever node and over restarts."""
_AT_ONCE = 500


class Housekeeping:
    """Keeps house in a thread of its own. `settings` gives those that hold now; `look_around` is called with each round."""

    def __init__(
        self, archive: Archive, settings: Callable[[], Settings], look_around: Callable[[], None], runner: Runner
    ) -> None:
        self._runner = runner
        self._archive = archive
        self._settings = settings
        self._look_around = look_around
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin, soon."""
        self._thread.start()

    def stop(self) -> None:
        """End after the round that is going on."""
        self._stopping.set()
        self._thread.join()

    def _serve(self) -> None:
        due_at = time.monotonic() + min(_FIRST_S, _EVERY_S)
        while not self._stopping.wait(max(0.0, min(due_at - time.monotonic(), _RECYCLED_S))):
            try:
                if time.monotonic() >= due_at:
                    due_at = time.monotonic() + _EVERY_S
                    self.round()
                elif self._has_recycled():
                    self._collect()
            except Exception:  # noqa: BLE001 - a thread that must not end; the next round tries again
                _log.exception("housekeeping failed")

    def _has_recycled(self) -> bool:
        with self._archive.read() as connection:
            return removal.has_recycled(connection)

    def _collect(self) -> None:
        self._archive.collect(trash_seconds=self._settings().node.trash_days * _DAY_S)

    def round(self) -> None:
        """Do what is due by the archive's clock."""
        archive, node = self._archive, self._settings().node
        self._collect()
        archive.purge(events_seconds=node.events_days * _DAY_S, associations_seconds=node.associations_days * _DAY_S)
        archive.reckon()
        if archive.writer.do(lambda c: turns.take(c, "purge", _PURGE_S, archive.clock.now())):
            archive.forget_finished(seconds=node.finished_days * _DAY_S)
            self._expire()
        self._forget_notices()
        self._forget_scripts()
        self._runner.forget(ended_before=archive.clock.now() - self._settings().jobs.keep_days * _DAY_S)
        self._look_around()

    def _expire(self) -> None:
        """Delete what is stored for longer than `[retention]` says."""
        for name, kept in self._settings().retention.items():
            now, gone = self._archive.clock.now(), 0
            unit = partial(
                retention.expire, before=now - kept.keep_days * _DAY_S, now=now, source=kept.source, label=kept.label
            )
            while count := self._archive.writer.do(unit, topics=("event",)):
                gone += count
            if gone:
                _log.info("instances were deleted by age", retention=name, count=gone)

    def _forget_notices(self) -> None:
        before = self._archive.clock.now() - self._settings().node.notifications_days * _DAY_S
        while self._archive.writer.do(lambda c: notices.purge(c, older_than=before, limit=_AT_ONCE)):
            pass

    def _forget_scripts(self) -> None:
        absent_before = self._archive.clock.now() - self._settings().scripting.forget_after_days * _DAY_S
        for name in self._archive.writer.do(lambda c: scripts.forget_absent(c, absent_before=absent_before)):
            _log.info("script forgotten: its file was gone for too long", script=name)
