"""The part of `host` that notes something of what is stored: metadata and labels."""

from __future__ import annotations

import re

from hostd.sandbox import acts
from hostd.sandbox.granted import Granted, line, shown, text_of
from hostd.sandbox.levels import Level
from hostd.sandbox.run import Run
from hostd.sandbox.views import Handle, Instance

MAX_VALUE = 4000
"""Characters of one metadata."""
MAX_AT_ONCE = 20
"""Labels that one action gives or takes."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
"""What metadata and labels are called."""
KEPT_BY_HOSTD = frozenset({"ModifiedFrom", "AnonymizedFrom", "IngestTranscodingFailed"})
"""Metadata that hostd itself keeps, and no script sets."""


class Marking(Granted):
    """What `host` has for metadata and labels."""

    __slots__ = ()

    def set_metadata(self, x: Instance | Level, key: str, value: str | None) -> None:
        """Set a metadata of an instance, or of a series, study or patient itself; None removes it.

        `key` has up to 64 letters, digits, "_", "." and "-", `value` is a text of up to 4000 characters; up to 100 keys each. It is kept
        as long as what it is about is stored, and shown by `hostd explain`. `on_updated_instance`, `on_updated_series` and so on tell
        all other scripts of a change; a script is not told of its own.

        Raises `TypeError` and `ValueError` for what can be no metadata, and for one that hostd itself keeps.
        """
        subject = self._subject(x, "set_metadata")
        name = _name(key, "the key of a metadata")
        if name in KEPT_BY_HOSTD:
            raise ValueError(f"{name} is kept by hostd itself; choose another key")
        text = None if value is None else text_of(value, "a metadata")
        if text is not None and len(text) > MAX_VALUE:
            raise ValueError(f"a metadata has up to {MAX_VALUE} characters, and this one {len(text)}")
        self._run.add(acts.SetMetadata(subject, name, text, line()))

    def label(self, x: Instance | Level, *labels: str) -> None:
        """Give labels to an instance, or to a series, study or patient itself: `host.label(study, "TRIAL7")`.

        A label has up to 64 letters, digits, "_", "." and "-". Otherwise as `set_metadata`. Labels that it has already change nothing.
        """
        self._run.add(acts.Label(self._subject(x, "label"), _labels(labels), line()))

    def unlabel(self, x: Instance | Level, *labels: str) -> None:
        """Take labels away; those that it does not have change nothing."""
        self._run.add(acts.Unlabel(self._subject(x, "unlabel"), _labels(labels), line()))

    def _subject(self, x: object, verb: str) -> str:
        """Return the identifier of something stored that this run was given."""
        self._run.check_open()
        if not isinstance(x, (Instance, Level)):
            hint = "; a product has none until it is stored" if isinstance(x, Handle) else ""
            raise TypeError(f"host.{verb} takes an instance, a series, study or patient, not {shown(x)}{hint}")
        run: Run = object.__getattribute__(x, "_run")
        if run is not self._run:
            raise RuntimeError(f"host.{verb} was given something of an earlier event")
        return x.id


def _name(value: object, what: str) -> str:
    text = text_of(value, what)
    if NAME.fullmatch(text) is None:
        raise ValueError(
            f'{what} has 1 to 64 letters, digits, "_", "." and "-", and begins with a letter or digit, not {shown(text)}'
        )
    return text


def _labels(labels: tuple[object, ...]) -> list[str]:
    if not 1 <= len(labels) <= MAX_AT_ONCE:
        raise ValueError(f"name 1 to {MAX_AT_ONCE} labels, not {len(labels)}")
    return [_name(one, "a label") for one in labels]
