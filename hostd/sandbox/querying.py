"""The part of `host` that asks other archives what they have, and has them send it."""

from __future__ import annotations

import re
from typing import Any, Literal

from hostd.sandbox import acts
from hostd.sandbox.granted import Granted, line, shown, text_of
from hostd.sandbox.run import missing
from hostd.sandbox.tags import Tags

MAX_QUERIES = 20
"""Questions to other archives in one run."""
MOST = 1000
MAX_KEY = 1024
"""Characters of the text of a key."""
_LEVELS = ("patient", "study", "series", "instance")
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID = 64


def is_uid(text: str) -> bool:
    """Tell whether a text may stand for one UID (PS3.5 §9.1): none with wildcards, and no list."""
    return len(text) <= _LONGEST_UID and _UID.fullmatch(text) is not None


class Querying(Granted):
    """What `host` has for other archives."""

    __slots__ = ()

    def query(
        self,
        modality: str,
        level: Literal["patient", "study", "series", "instance"],
        limit: int = 100,
        **keys: str,
    ) -> tuple[Tags, ...]:
        r"""Ask another archive what it has (C-FIND), and wait for its answer: `host.query("pacs", "study", PatientID=study.patient_id)`.

        `modality` is the NAME of `[modalities.NAME]`. `keys` are keywords with the text that they must have, in the standard's manner:
        "CT" for one value, "CT\\MR" for any of several, "20240101-20241231" for a range, "DOE*" for what begins so, '' for any, which asks for
        the value. What names a match, and what archives commonly say of that level, is asked for besides. Each match is read as
        `instance.tags` are: `match.StudyInstanceUID`, `match.get("StudyDate", "")`; what the archive does not say is None. At most `limit` of
        them are given, up to 1000, in the archive's order.

        Needs the capability "query". The wait has a limit of its own (`query_timeout_s` of the modality) and does not count against the
        script's. Up to 20 in one run. The answer is recorded with the run: when the event is replayed the same question has the same
        answer, and no rehearsal asks anybody outside.

        Raises `ValueError` for an unknown modality, level or keyword, or when there is no answer, or one of more than 256 KiB, and
        `NotAllowed` without the capability.
        """
        self._run.check_open()
        self._need("query")
        name = self._modality(modality)
        if not isinstance(level, str) or level not in _LEVELS:
            raise ValueError(f"level must be one of {', '.join(_LEVELS)}, not {shown(level)}")
        if type(limit) is not int or not 1 <= limit <= MOST:
            raise ValueError(f"limit must be a whole number from 1 to {MOST}, not {shown(limit)}")
        asked = {}
        for keyword, value in keys.items():
            self._run.world.tag(keyword)
            asked[str.__str__(keyword)] = text_of(value, keyword)
            if len(asked[keyword]) > MAX_KEY:
                raise ValueError(f"the text of a key has up to {MAX_KEY} characters")
        more: dict[str, Any] = {"modality": name, "level": str.__str__(level), "keys": asked, "limit": limit}
        return tuple(Tags(self._run, match) for match in self._run.ask([], "query", more=more))

    def retrieve(self, modality: str, study: str, series: str | None = None, instance: str | None = None) -> None:
        """Have another archive send a study here, or one series or instance of it, all named by their UIDs.

        `modality` is the NAME of `[modalities.NAME]`, which says how: by C-MOVE (it must know hostd's AE title, and where that listens), or
        by C-GET (`retrieve_by = "get"`). Needs the capability "retrieve". It is done after the run, and tried again, with growing waits, while
        the archive cannot be reached or something of it did not come. What comes is stored as anything that arrives, with its own events; what is
        here already is a repeat. Who asks for what is being retrieved already gets the end of that, and nothing is sent twice.
        `on_action_done` tells how it ended: `action.result` has how many instances were "completed" and "failed", and the "status".

        Raises `ValueError` for an unknown modality or what is no UID, and `NotAllowed` without the capability.
        """
        self._run.check_open()
        self._need("retrieve")
        name = self._modality(modality)
        uids = []
        for what, uid in (("study", study), ("series", series), ("instance", instance)):
            text = "" if uid is None and what != "study" else text_of(uid, what)
            if not is_uid(text) and not (uid is None and what != "study"):
                raise ValueError(f"{what} is named by its UID, not by {shown(text)}")
            uids.append(text)
        if uids[2] and not uids[1]:
            raise ValueError("an instance is retrieved by the UIDs of its study and series, too")
        self._run.add(acts.Retrieve(name, uids[0], uids[1], uids[2], line()))

    def _modality(self, name: object) -> str:
        if not isinstance(name, str):
            raise TypeError(f"a modality is named by a text, not {shown(name)}")
        text, known = str.__str__(name), self._run.world.load.modalities
        if text not in known:
            raise ValueError(missing("modality", text, known))
        return text


__all__ = ["MAX_QUERIES", "Querying", "is_uid"]
