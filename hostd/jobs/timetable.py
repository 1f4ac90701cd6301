"""When a schedule is due: every so often, or by a cron expression in a time zone.

Cron expressions are cronsim's, which does as Debian's cron where clocks change.
"""

from __future__ import annotations

import datetime as dt
import math
import os
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from hostd.archive.schedules import Timing
from hostd.errors import ScriptError

_FIELDS = 5
_LOCALTIME = Path("/etc/localtime")


class Timetable:
    """Works out times in one time zone."""

    def __init__(self, zone: dt.tzinfo = dt.UTC) -> None:
        self.zone = zone

    def next_after(self, timing: Timing, after: float) -> float | None:
        """Return the first time after `after` (seconds since 1970 UTC); None when there is none within 50 years.

        Raises `ScriptError` for a cron expression that is none.
        """
        if timing.cron is None:
            assert timing.every_s is not None
            return after + timing.every_s
        for moment in _matches(timing.cron, dt.datetime.fromtimestamp(after, self.zone)):
            if moment.timestamp() > after:  # in the hour that comes twice, the first is before now
                return moment.timestamp()
        return None

    def next_due(self, timing: Timing, due_at: float, now: float) -> float | None:
        """Return when what was due at `due_at` is due again after `now`: those in between are left out, the distance is kept."""
        if timing.every_s is None:
            return self.next_after(timing, now)
        missed = max(math.floor((now - due_at) / timing.every_s), 0)
        return due_at + (missed + 1) * timing.every_s


def check_cron(expression: str) -> None:
    """Raise `ScriptError`, with what is wrong, for a cron expression that is none or whose time never comes."""
    if Timetable().next_after(Timing(None, expression), 0.0) is None:
        raise ScriptError(f"the time of {expression!r} never comes")


def local_zone() -> dt.tzinfo:
    """Return the time zone of this machine: that of the variable TZ, else that of /etc/localtime, else UTC."""
    named = os.environ.get("TZ", "").removeprefix(":")
    try:
        if named:
            return ZoneInfo(named)
        with _LOCALTIME.open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError, ZoneInfoNotFoundError):
        return dt.UTC


def _matches(expression: str, after: dt.datetime) -> CronSim:
    try:
        found = CronSim(expression, after)
    except (CronSimError, ValueError, AssertionError) as error:
        raise ScriptError(f"{expression!r} is no cron expression: {str(error) or 'it makes no sense'}") from error
    if len(expression.split()) != _FIELDS:
        raise ScriptError(f"{expression!r} is no cron expression: it has {len(expression.split())} fields, not five")
    return found
