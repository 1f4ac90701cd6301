"""Time windows: when a destination may be sent to, in the local time of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

from hostd.config.windows import Window

_DAYS_AHEAD = 9
"""A window of one day a week that has just closed, or that a change of the clock swallows, is at most so many days away."""


def opens_in_s(windows: Sequence[Window], now: float) -> float:
    """Return for how many seconds none of the windows opens: 0 while one is open, and without any.

    `now` is seconds since 1970 UTC. A window belongs to the day on which it begins, also where it ends after midnight.
    """
    if not windows:
        return 0.0
    today = datetime.fromtimestamp(now, UTC).astimezone().date()
    starts = []
    for ahead in range(-1, _DAYS_AHEAD):
        day = today + timedelta(days=ahead)
        for window in windows:
            if day.weekday() not in window.days:
                continue
            start, end = _span(window, day)
            if start <= now < end:
                return 0.0
            if start > now:
                starts.append(start)
    return min(starts) - now


def _span(window: Window, day: date) -> tuple[float, float]:
    """Return beginning and end of a window of that day, in seconds since 1970 UTC."""
    return _at(day, window.start_min), _at(day, window.end_min + (1440 if window.end_min <= window.start_min else 0))


def _at(day: date, minutes: int) -> float:
    day += timedelta(days=minutes // 1440)
    at = time(minutes % 1440 // 60, minutes % 60)
    return datetime.combine(day, at).astimezone().timestamp()
