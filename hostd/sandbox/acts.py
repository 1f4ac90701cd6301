"""Actions on what is stored already, on what is to be stored, and on deliveries, as they travel."""

from __future__ import annotations

from typing import Literal

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


DealVerb = Literal["retry", "hold", "redirect", "discard"]


class Deal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="deal"):
    """Deal with the delivery of that number, or, without one, with all that wait for the event's destination; `to` is where to instead."""

    verb: DealVerb
    delivery: int | None
    to: str = ""
    line: int = 0


class DeclareStable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="declare_stable"):
    """End the quiet time of a series, study or patient."""

    x: str
    line: int = 0


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="request"):
    """Tell another system something by HTTP. `json` is the text that is sent."""

    verb: Literal["post", "put"]
    target: str
    path: str
    json: str
    line: int = 0


class Retrieve(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="retrieve"):
    """Have a modality send what it has of a study, a series or an instance here; '' for what is not named."""

    modality: str
    study: str
    series: str = ""
    instance: str = ""
    line: int = 0


Mark = SetMetadata | Label | Unlabel
Keep = Store | Replace
Act = Mark | Keep | Deal | DeclareStable
