"""Whether the log tells each thing that is done: each association, request, instance and delivery.

It is asked before such a line is put together, which is on hot paths: making a logger takes longer than much of what it would tell.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Detail:
    """Set with the level of the log, for the whole process."""

    is_told: bool = False


DETAIL = Detail()

__all__ = ["DETAIL", "Detail"]
