"""Actions on what is stored already, and on what is to be stored, as they travel."""

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


class Store(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="store"):
    """Take a product into the archive."""

    x: int
    line: int = 0


class Replace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="replace"):
    """Exchange the file of an instance, or of each member of a level, for a product of it."""

    x: str
    product: int
    line: int = 0


Mark = SetMetadata | Label | Unlabel
Keep = Store | Replace
Act = Mark | Keep
