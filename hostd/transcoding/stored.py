"""Files of the archive as products are made of them, and what they become."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hostd.archive.records import Delivery


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of the archive, and what is known of it: its instance, and the SHA-256 of the data set as it was received."""

    blob: str
    sop_instance_uid: str
    content: str

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """Return the file that a delivery is of."""
        return cls(delivery.blob, delivery.sop_instance_uid, delivery.content)


@dataclass(frozen=True, slots=True)
class Product:
    """A file that can be sent.

    `transfer_syntax` is a UID. `sop_instance_uid` is that of the source, unless a step made another instance. With `kept_original` it is
    the source although something else was asked for; `reason` says why.
    """

    path: Path
    transfer_syntax: str
    blob: str
    sop_instance_uid: str
    kept_original: bool = False
    reason: str = ""
