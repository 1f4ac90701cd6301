"""The receipt: the proof of a transcode, without which nothing is replaced (P4 of the design)."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

NOT_VERIFIED = "not verified, as asked"
"""What `verified_by` says of a result that was not to be verified."""


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the worker that made a result knows of it."""

    pixel_hash_before: str
    """As `hostd.transcoding.pixels` defines it; `raw:` and the SHA-256 of the bytes for pixel data that is not described
    there, or was copied untouched; empty when there is no pixel data."""
    pixel_hash_after: str
    """Worked out from what was written, never from what was meant to be written; empty when it was not verified."""
    codec: str
    """The library that encoded, or else decoded; `none` when bytes were copied."""
    codec_version: str
    verified_by: str
    """How the result was proven, in words; of a lossy result how far it is from its source."""
    note: str = ""
    """What else should be known, such as bytes that were left out; empty when there is nothing."""


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of one transcode."""

    outcome: Literal["made", "kept original"]
    reason: str
    """Why the original was kept; empty when a result was made."""
    source_sha256: str
    """Of the whole file."""
    result_sha256: str
    source_syntax: str
    """UID."""
    result_syntax: str
    pixel_hash_before: str = ""
    pixel_hash_after: str = ""
    codec: str = ""
    codec_version: str = ""
    verified_by: str = ""
    bytes_before: int = 0
    """Size of the source file."""
    bytes_after: int = 0
    sop_instance_uid: str = ""
    """Of a lossy result, which is an instance of its own; empty where the result is the same instance as the source."""
    milliseconds: int = 0
    """Wall-clock time, waiting for a free worker not counted."""
    note: str = ""
    """As in `Facts`."""

    @property
    def ratio(self) -> float:
        """Size of the source file divided by the size of the result file, heads included; 1.0 when the original was kept."""
        return self.bytes_before / self.bytes_after if self.bytes_after else 1.0

    @classmethod
    def kept_original(cls, *, reason: str, sha256: str, syntax: str, size: int) -> Receipt:
        """Return the receipt of a transcode that gave no result; source and result are the same file."""
        return cls(
            outcome="kept original", reason=reason, source_sha256=sha256, result_sha256=sha256,
            source_syntax=syntax, result_syntax=syntax, bytes_before=size, bytes_after=size,
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return the receipt as plain values, `ratio` among them, for an index or for JSON."""
        return {**msgspec.structs.asdict(self), "ratio": round(self.ratio, 4)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Receipt:
        """Return the receipt that `to_dict` gave. Raises `msgspec.ValidationError` when it is none."""
        return msgspec.convert({name: value for name, value in values.items() if name != "ratio"}, cls)
