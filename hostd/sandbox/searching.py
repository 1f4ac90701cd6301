"""The part of `host` that asks: what is stored, what was delivered, and what this script has kept for itself."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

import msgspec

from hostd.sandbox import frames as wire
from hostd.sandbox import levels
from hostd.sandbox.granted import Granted, moment, shown, text_of
from hostd.sandbox.levels import Level, Patient, Series, Study
from hostd.sandbox.run import Run
from hostd.sandbox.views import Instance

MOST = 1000
_LEVELS = ("instance", "series", "study", "patient")


class Searching(Granted):
    """What `host` has for questions about what is stored."""

    __slots__ = ()

    def find(
        self,
        level: Literal["instance", "series", "study", "patient"],
        label: str | None = None,
        stored_before: dt.datetime | float | None = None,
        origin: str | None = None,
        delivered_to: str | None = None,
        limit: int = 100,
        **keys: str,
    ) -> tuple[Instance | Series | Study | Patient, ...]:
        """Find what is stored: `host.find("study", PatientID=study.patient_id, Modality="CT")`.

        `keys` are keywords of the level and those above it with the text that they must have, '' for none. `label` is one that it has,
        `stored_before` an aware datetime or seconds since 1970 UTC, `origin` the name of a modality or the AE title of the sender, and
        `delivered_to` a destination that has had it; of a series, study or patient these three hold of each of its instances. What has
        been stored for the longest comes first, at most `limit`, up to 1000. By identifiers, labels and age the search is quick; anything
        else should only narrow one of these down.

        What is found can be read and acted upon as what the event is about, as it is stored now: `host.delete(study)`,
        `host.forward(study, to="archive")`. In rehearsal it is looked for in the archive, and in files nothing is found.

        Raises `ValueError` for a level, keyword or destination that there is not, and for a search that takes too long.
        """
        self._run.check_open()
        if not isinstance(level, str) or level not in _LEVELS:
            raise ValueError(f"level must be one of {', '.join(_LEVELS)}, not {shown(level)}")
        if type(limit) is not int or not 1 <= limit <= MOST:
            raise ValueError(f"limit must be a whole number from 1 to {MOST}, not {shown(limit)}")
        sought: dict[str, Any] = {
            "level": str.__str__(level),
            "keys": {str.__str__(name): text_of(text, name) for name, text in keys.items()},
            "label": None if label is None else text_of(label, "label"),
            "stored_before": moment(stored_before, "stored_before"),
            "origin": None if origin is None else text_of(origin, "origin"),
            "delivered_to": None if delivered_to is None else self._known_destination(delivered_to),
            "limit": limit,
        }
        number, count = self._run.ask([], "find", more=sought)
        found: list[Any] = []
        while len(found) < count:
            page = self._run.ask([number, len(found)], "found")
            if not page:
                break
            found += [self._view(one) for one in page]
        return tuple(one for one in found if one is not None)

    def delivered_to(self, x: Instance | Level, destination: str, committed: bool = False) -> bool:
        """Tell whether a destination has had an instance, or each instance of a series, study or patient, in whatever form.

        With `committed`, whether it has also committed to keep what it got (storage commitment, PS3.4 Annex J), which is asked of
        destinations with `commitment = true`. A lossy form counts, too: only `host.delete(x, after="committed")` sees to it that the
        instance itself is kept.
        """
        self._run.check_open()
        if not isinstance(x, (Instance, Level)):
            raise TypeError(f"host.delivered_to takes an instance, a series, study or patient, not {shown(x)}")
        run: Run = object.__getattribute__(x, "_run")
        if run is not self._run:
            raise RuntimeError("host.delivered_to was given something of an earlier event")
        name = self._known_destination(destination)
        (answer,) = self._run.ask([], "delivered_to", x.id, more={"destination": name, "committed": bool(committed)})
        return answer is True

    @property
    def state(self) -> dict[str, Any]:
        """What this script keeps for itself: a dict, which the script changes as any other: `host.state["last"] = study.id`.

        It holds texts, numbers, True, False, None, lists and dicts with texts as keys, up to 64 KiB as JSON. It is kept over restarts, edits
        and nodes, together with the plan of the run: what a failed run changed is lost with it. Where two runs change it at one
        time the later one is run again. Rehearsal reads it and changes nothing.
        """
        return self._run.state()

    def _view(self, one: Any) -> object:
        """Return the view of what was found; None for what was deleted between the question and its answer."""
        if one is None:
            return None
        if "level" in one:
            return levels.level(self._run, msgspec.convert(one, wire.Level), about=one["id"])
        instance = msgspec.convert(one, wire.Instance)
        return Instance(self._run, instance, of=instance.id)
