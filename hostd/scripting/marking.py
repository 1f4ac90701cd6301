"""From the metadata and labels that a script asked for to what is entered, judged again: the host trusts nothing that a worker sends."""

from __future__ import annotations

from hostd.archive.fanout import Many
from hostd.archive.marks import PlannedMark, Verb
from hostd.errors import ScriptError
from hostd.sandbox import acts
from hostd.sandbox.marking import KEPT_BY_HOSTD, MAX_AT_ONCE, MAX_VALUE, NAME


def planned(position: int, action: acts.Mark, of: Many | None, skip: str | None) -> PlannedMark:
    """Return what is entered of an action about `of`, or, with `skip`, why nothing is done. Raises `ScriptError`."""
    inputs = {"x": action.x, "line": action.line}
    if isinstance(action, acts.SetMetadata):
        is_fine = NAME.fullmatch(action.key) is not None and action.key not in KEPT_BY_HOSTD
        if not is_fine or len(action.value or "") > MAX_VALUE:
            raise ScriptError("that is no metadata that a script may set")
        inputs |= {"key": action.key, "value": action.value}
        return PlannedMark(position, inputs, "set_metadata", of, action.key, action.value, skip=skip)
    if not 1 <= len(action.labels) <= MAX_AT_ONCE or not all(map(NAME.fullmatch, action.labels)):
        raise ScriptError("those are no labels")
    inputs |= {"labels": action.labels}
    verb: Verb = "label" if isinstance(action, acts.Label) else "unlabel"
    return PlannedMark(position, inputs, verb, of, labels=tuple(action.labels), skip=skip)


def sentence(mark: PlannedMark, what: str) -> str:
    """Say in words what is noted of what; the value of a metadata is not named, for it may say who somebody is."""
    if mark.skip is not None:
        return f"{mark.verb.replace('_', ' ')} of{what}: nothing is changed, {mark.skip}"
    if mark.verb == "set_metadata":
        return f"{'remove' if mark.value is None else 'set'} the metadata {mark.key} of{what}"
    names = ", ".join(mark.labels)
    return f"label{what} {names}" if mark.verb == "label" else f"take from{what} the label {names}"
