"""What an edit is carried out with, besides the file: what only the host knows, and no more of it than this one job needs."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Set as AbstractSet
from typing import Literal, Self

import msgspec

from hostd.transcoding.edits import Edit

Dates = Literal["shift", "keep", "remove"]


class Project(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How one project de-identifies: the options of PS3.15 §E.3, and what the project decides itself."""

    name: str
    patient_prefix: str = ""
    """Stands before each pseudonym."""
    dates: Dates = "shift"
    """`shift`: all of a patient's dates move by the same number of days; `keep`; `remove`: no date and no time stays."""
    retain_uids: bool = False
    retain_device_identity: bool = False
    retain_institution: bool = False
    retain_patient_characteristics: bool = False
    retain_safe_private: bool = False
    clean_descriptors: bool = False
    """Descriptions keep words that are known to be medical; otherwise they go."""
    clean_structured_content: bool = False
    """Content of structured reports is cleaned item by item; otherwise it goes."""
    clean_graphics: bool = False
    """Graphic annotations of presentation states are cleaned; otherwise they go. Overlays always go."""
    keep: tuple[str, ...] = ()
    """Attributes that stay as they are, whatever the profile says; by keyword, tag or private creator."""
    remove: tuple[str, ...] = ()
    """Attributes that go, whatever the profile says."""
    replace: dict[str, str] = {}
    """Attributes that get a fixed text."""
    allow_burned_in: bool = False
    """Whether images that may have text burned into their pixels are let through."""

    def fingerprint(self) -> str:
        """Return a text that differs between different rules."""
        return hmac.digest(b"hostd project", msgspec.json.encode(self, order="deterministic"), "sha256").hex()[:16]


class ChangedAlike(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which of the UIDs that an instance refers to are of what is changed with it: those of `digests`, or with `are_others` all but those.

    An instance may refer to thousands, and a digest is short.
    """

    digests: frozenset[bytes] = frozenset()
    are_others: bool = False

    @classmethod
    def of(cls, referred: AbstractSet[str], alike: AbstractSet[str]) -> Self:
        """Return it for what is referred to, by the fewer digests."""
        others = referred - alike
        are_others = len(others) < len(alike)
        return cls(frozenset(map(uid_digest, others if are_others else alike)), are_others)

    def __contains__(self, uid: str) -> bool:
        return (uid_digest(uid) in self.digests) != self.are_others


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the worker is told. `key` is derived for the purpose: from it neither the installation's nor another project's follows."""

    key: bytes
    at: str
    """When, as a DT value."""
    system: str
    """Who: Modifying System of what is recorded."""
    project: Project | None = None
    pseudonym: str = ""
    days: int = 0
    """By how many days this patient's dates move."""
    changed_alike: ChangedAlike = ChangedAlike()


class EditJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="edit"):
    """Do one edit."""

    edit: Edit
    terms: Terms


def derived_key(key: bytes, purpose: str) -> bytes:
    """Return a key for one purpose, from which the installation's does not follow."""
    return hmac.digest(key, f"hostd {purpose}".encode(), "sha256")


def uid_digest(uid: str) -> bytes:
    """Return eight bytes that stand for a UID."""
    return hashlib.sha256(uid.encode("utf-8", "surrogateescape")).digest()[:8]
