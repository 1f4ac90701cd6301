"""From the edits that a script asked for to steps: judged by the same rules as when they are carried out, before anything is entered."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from hostd.archive.plans import PlannedEdit
from hostd.editing.modify import refuse_impossible
from hostd.errors import ScriptError
from hostd.sandbox import frames
from hostd.sandbox.edited import MAX_BYTES, MAX_NAMES, MAX_REGIONS
from hostd.transcoding.edits import Anonymize, Edit, Modify, Redact
from hostd.transcoding.transform import Transform

Projects = Callable[[str], Anonymize]
"""Turns the name of a project into a step; raises `NotFoundError`, which names those that there are."""

Asked = frames.Modify | frames.Anonymize | frames.Redact
MAX_TRANSFORM = 64 << 10
"""Bytes of a whole chain of steps, as it stands in the index with each delivery."""
_OVERHEAD = 2
"""How many times more than the worker counts may really travel: it does not count what stands around values."""
_Kind = TypeVar("_Kind", Modify, Redact)


def no_projects(name: str) -> Anonymize:
    """Refuse every project."""
    raise ScriptError(f"no project is called {name[:64]!r}: the configuration has none")


def step_of(action: Asked, before: Transform, projects: Projects) -> Edit:
    """Return the step that an action means after those that come before it. Raises `HostdError` for what cannot be carried out.

    No error names a value that a script wants to set: it may say who somebody is.
    """
    match action:
        case frames.Anonymize():
            step = projects(action.project)
            return msgspec.structs.replace(
                step, redacted=before.is_redacted, allow_burned_in=action.allow_burned_in or step.allow_burned_in
            )
        case frames.Redact():
            if not 1 <= len(action.regions) <= MAX_REGIONS:
                raise ScriptError(f"redact takes 1 to {MAX_REGIONS} regions")
            return _converted({"verb": "redact", "regions": action.regions}, Redact)
        case frames.Modify():
            return _modify(action)


def planned(action: Asked, position: int) -> PlannedEdit:
    """Return what is entered of an action: the names of what is set, and none of the values."""
    inputs: dict[str, Any] = {"x": action.x, "line": action.line}
    match action:
        case frames.Anonymize():
            verb = "anonymize"
            inputs |= {"project": action.project}
            if action.allow_burned_in:
                inputs |= {"allow_burned_in": True}
        case frames.Redact():
            verb = "redact"
            inputs |= {"regions": [list(region) for region in action.regions]}
        case frames.Modify():
            verb = "modify"
            lists = {"set": sorted(action.set), "remove": action.remove, "keep": action.keep}
            inputs |= {name: list(names) for name, names in lists.items() if names}
            inputs |= {"private": "remove"} if action.private == "remove" else {}
            inputs |= {"keep_uids": True} if action.keep_uids else {}
    return PlannedEdit(position, inputs, verb)


def refuse_too_long(transform: Transform) -> None:
    """Raise `ScriptError` for a chain of steps that is too long to be kept with each delivery."""
    size = len(transform.canonical().encode())
    if size > MAX_TRANSFORM:
        raise ScriptError(
            f"what is to be done to the instance takes {size >> 10} KiB to say, and {MAX_TRANSFORM >> 10} KiB are possible; set less"
        )


def _modify(action: frames.Modify) -> Modify:
    if max(len(action.set), len(action.remove), len(action.keep)) > MAX_NAMES:
        raise ScriptError(f"modify takes up to {MAX_NAMES} names")
    if len(msgspec.msgpack.encode(action.set)) > _OVERHEAD * MAX_BYTES:
        raise ScriptError(f"what is set takes more than {MAX_BYTES >> 10} KiB; set less at once")
    if not _is_finite(action.set):
        raise ScriptError("an attribute cannot be set to a number that is infinite or none")
    given = {
        "verb": "modify", "set": action.set, "remove": action.remove, "keep": action.keep, "private": action.private,
        "keep_uids": action.keep_uids,
    }  # fmt: skip
    step = _converted(given, Modify)
    refuse_impossible(step)
    return step


def _converted(given: dict[str, Any], kind: type[_Kind]) -> _Kind:
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:  # says what was expected and where, never what was there
        raise ScriptError(f"this is not what {given['verb']} takes: {error}") from error


def _is_finite(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
