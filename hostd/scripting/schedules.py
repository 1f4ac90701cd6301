"""What a worker says of a script's schedules, as the host believes it."""

from __future__ import annotations

from collections.abc import Sequence

from hostd.errors import ScriptError
from hostd.jobs.timetable import check_cron
from hostd.sandbox import frames
from hostd.sandbox.schedules import LONGEST_S, MAX_CRON, MAX_SCHEDULES, SHORTEST_S


def are_possible(schedules: Sequence[frames.Schedule]) -> bool:
    """Tell whether the decorators of the API could have made these."""
    return len(schedules) <= MAX_SCHEDULES and all(map(_is_possible, schedules))


def _is_possible(one: frames.Schedule) -> bool:
    name = one.function
    if not name.isidentifier() or len(name) > 1000 or name.startswith(("on_", "filter_")):
        return False
    if one.cron is None:
        return one.every_s is not None and SHORTEST_S <= one.every_s <= LONGEST_S
    return one.every_s is None and 0 < len(one.cron) <= MAX_CRON


def bad_times(schedules: Sequence[frames.Schedule]) -> list[frames.Finding]:
    """Return what is wrong with cron expressions; it is the host that knows what they mean."""
    found = []
    for one in schedules:
        try:
            if one.cron is not None:
                check_cron(one.cron)
        except ScriptError as error:
            found.append(frames.Finding("problem", one.line, 0, one.function, str(error), one.file))
    return found
