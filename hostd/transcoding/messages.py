"""What the host and a codec worker say to each other, in the frames of `hostd.sandbox.frames.Channel`.

The descriptors of a job follow its frame as SCM_RIGHTS over the same socket, with one byte: source, then result if there is one.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from hostd.transcoding.options import EncodeOptions
from hostd.transcoding.receipt import Facts

MAX_MESSAGE = 1 << 16
"""Bytes of one frame, in both directions."""


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="job"):
    """Transcode to `target` (UID), or work out the pixel hash when there is none."""

    target: str | None
    options: EncodeOptions | None = None
    verify: bool = True
    """Decode the result again, and compare it with its source."""


class Ready(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ready"):
    """The worker is in its jail; which layers are in force."""

    layers: dict[str, int]


class Made(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="made"):
    """The result is written."""

    facts: Facts


class Hash(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="hash"):
    """The pixel hash."""

    value: str


class Failed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="failed"):
    """There is no result. `number` is the errno of kind `system`."""

    kind: Literal["cannot", "wrong", "memory", "system", "defect"]
    message: str
    number: int = 0


FromWorker = Ready | Made | Hash | Failed
