"""Actions on what is stored already, as they travel: what is noted of it."""

from __future__ import annotations

import msgspec


class SetMetadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="set_metadata"):
    """Set one metadata of an instance, a series, a study or a patient; None removes it."""

    x: str
    key: str
    value: str | None
    line: int = 0


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="label"):
    """Give labels to an instance, a series, a study or a patient."""

    x: str
    labels: list[str]
    line: int = 0


class Unlabel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="unlabel"):
    """Take labels away."""

    x: str
    labels: list[str]
    line: int = 0


Mark = SetMetadata | Label | Unlabel
Act = Mark
