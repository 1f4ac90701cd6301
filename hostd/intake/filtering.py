"""What filters may say of something that is about to happen, and how the verdicts of several add up.

Filters are scripts, which are a floor above: intake, couriers and the HTTP face are handed what asks them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

from hostd.archive.filterings import FilterRun
from hostd.archive.records import Origin
from hostd.dicom import statuses
from hostd.dicom.header import Header

Values = tuple[str | int | float, ...]


@dataclass(frozen=True, slots=True)
class Changes:
    """Elements to set (tag → values, none: to be emptied) and tags to remove, at the top level of a data set."""

    set: Mapping[int, Values] = field(default_factory=dict)
    remove: frozenset[int] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.set or self.remove)

    def then(self, later: Changes) -> Changes:
        """Return both; of one element the later change stands."""
        kept = {tag: values for tag, values in self.set.items() if tag not in later.remove}
        return Changes(kept | dict(later.set), (self.remove - later.set.keys()) | later.remove)


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one filter says. One that failed refuses; `status` is of DIMSE, or of HTTP for a request."""

    verdict: Literal["accept", "discard", "refuse"]
    run: FilterRun
    changes: Changes = Changes()
    reason: str = ""
    status: int = statuses.OUT_OF_RESOURCES


@dataclass(frozen=True, slots=True)
class Judgement:
    """What all filters together say: `script` is the one that decided, '' where all accept."""

    verdict: Literal["accept", "discard", "refuse"]
    script: str
    reason: str
    status: int
    changes: Changes
    runs: tuple[FilterRun, ...]
    has_failed: bool = False
    """The refusal is a filter's failure, not its decision."""

    def failed(self, error: str) -> Judgement:
        """Return the refusal of what cannot be changed as the filters want it."""
        runs = tuple(replace(run, outcome="failed", error=error) if run.verb == "accept" else run for run in self.runs)
        runs = tuple(replace(run, verb=None) if run.outcome == "failed" else run for run in runs)
        script = ", ".join(run.script for run in runs if run.outcome == "failed")
        return Judgement("refuse", script, error, statuses.OUT_OF_RESOURCES, Changes(), runs, has_failed=True)


def combine(opinions: Sequence[Opinion]) -> Judgement:
    """Add up what filters said, in the order in which they were asked: the first refusal wins, then the first discard."""
    runs = tuple(opinion.run for opinion in opinions)
    for verdict in ("refuse", "discard"):
        for opinion in opinions:
            if opinion.verdict == verdict:
                has_failed = opinion.run.outcome == "failed"
                return Judgement(
                    opinion.verdict, opinion.run.script, opinion.reason, opinion.status, Changes(), runs, has_failed
                )
    changes = Changes()
    for opinion in opinions:
        changes = changes.then(opinion.changes)
    return Judgement("accept", "", "", statuses.SUCCESS, changes, runs)


class ReceivedFilters(Protocol):
    """What asks the filters about an instance that has wholly arrived."""

    def received(self, header: Header, origin: Origin, file: Path) -> Judgement | None:
        """Return what they say; None where nothing filters. Nothing is raised: a filter that fails refuses."""
        ...
