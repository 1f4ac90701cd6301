"""Events that never happened, made of files to rehearse a script on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hostd.archive.levels import LEVELS, Level, LevelFacts
from hostd.archive.records import SCHEDULE, Event, Origin
from hostd.dicom.header import read_file_header
from hostd.dicom.main_tags import main_tags
from hostd.errors import ScriptError
from hostd.sandbox import api
from hostd.scripting import situations
from hostd.scripting.sources import FilesSource

KINDS = tuple(name.removeprefix("on_") for name in api.HANDLERS)
"""The events that there are, as the log calls them."""

_FIRST = 1
"""The number of a made event; each is the first of a log of its own."""


def level_of(kind: str) -> Level | None:
    """Return the level that events of a kind are about, None when it is another thing."""
    return next((level for level in LEVELS if kind.endswith(f"_{level}")), None)


def wants_files(kind: str) -> bool:
    """Tell whether events of a kind are about instances."""
    is_told = kind in situations.EXAMPLES and kind not in situations.ABOUT_AN_INSTANCE
    return bool(api.HANDLERS[f"on_{kind}"].__struct_fields__) and not is_told


def event(
    files: Sequence[Path],
    kind: str,
    now: float,
    *,
    origin: Origin | None = None,
    told: Mapping[str, Any] | None = None,
    subject: str | None = None,
) -> tuple[Event, FilesSource]:
    """Return an event of that kind about the files, which are all of its level, and what answers its questions.

    A kind that is none is the name of a function that runs by the clock; one about a script, or by the clock, is about its file.

    `origin` is where they are said to come from; `told` replaces what an example of such an event tells besides, and `subject` what it is
    about where that is no instance. Raises `ScriptError` for what such an event does not tell, `UnparsableError` for what is not a DICOM
    file, and `OSError` for a file that cannot be read.
    """
    made, source = _event(files, kind, now, origin or Origin("import"))
    facts = made.facts or {}
    if unknown := (told or {}).keys() - facts.keys():
        tells = f"it tells {', '.join(sorted(facts))}" if facts else "it tells nothing besides"
        raise ScriptError(f"on_{kind} does not tell {', '.join(sorted(unknown))}; {tells}")
    return replace(made, facts={**facts, **(told or {})} or None, subject=subject or made.subject), source


def _event(files: Sequence[Path], kind: str, now: float, origin: Origin) -> tuple[Event, FilesSource]:
    if kind not in KINDS:  # a function that runs by the clock
        facts_of_it = {"function": kind, "schedule": "", "due_at": now}
        file = files[0].name if files else ""
        return Event(_FIRST, SCHEDULE, file, None, None, None, None, now, facts=facts_of_it), FilesSource({})
    if not api.HANDLERS[f"on_{kind}"].__struct_fields__:  # about the script itself
        return Event(_FIRST, kind, files[0].name if files else "", None, None, None, None, now), FilesSource({})
    told = situations.EXAMPLES.get(kind)
    if not wants_files(kind):
        subject = situations.example_subject(kind)
        return Event(_FIRST, kind, subject, None, None, None, None, now, facts=told), FilesSource({})
    headers = [read_file_header(file) for file in files]
    found = {one.identity.instance: (file, one) for file, one in zip(files, headers, strict=True)}
    source = FilesSource(found, origin)
    header, identity = headers[-1], headers[-1].identity
    level = level_of(kind)
    if level is not None:
        facts = _facts(kind, level, files)
        return Event(_FIRST, kind, getattr(identity, level), None, None, None, None, now, facts=facts.to_json()), source
    if kind == "association_closed":
        return Event(_FIRST, kind, "1", None, None, None, None, now, facts=_association(files, now)), source
    facts_told = {"changes": ["content"]} if kind == "updated_instance" else told
    made = Event(_FIRST, kind, identity.instance, str(files[-1]), "", header.encode(), origin, now, facts=facts_told)
    return made, source


def _facts(kind: str, level: Level, files: Sequence[Path]) -> LevelFacts:
    header = read_file_header(files[-1])
    attributes = main_tags(header)
    above: tuple[Level, ...] = LEVELS[LEVELS.index(level) :]
    count = 0 if kind.startswith("deleted_") else len(files)
    is_stable = kind.startswith("stable_")
    return LevelFacts(
        level=level,
        patient_id=header.patient_id,
        study_instance_uid="" if level == "patient" else header.study_instance_uid,
        series_instance_uid=header.series_instance_uid if level == "series" else "",
        attributes={name: text for one in above for name, text in attributes[one].items()},
        count=count,
        new=count if is_stable else 0,
        occurrence=int(is_stable),
        changes=("content",) if kind.startswith("updated_") else (),
    )


def _association(files: Sequence[Path], now: float) -> dict[str, object]:
    return {
        "association": 1,
        "at": now,
        "ended_at": now,
        "calling_aet": "REHEARSAL",
        "called_aet": "HOSTD",
        "ip": "127.0.0.1",
        "port": 0,
        "ended": "released",
        "reason": "",
        "received": len(files),
        "stored": len(files),
        "failed": 0,
        "bytes": sum(file.stat().st_size for file in files),
    }
