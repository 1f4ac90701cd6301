"""What is to be done to a file before it is sent: steps, as values and as the text that stands in the index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import msgspec

from hostd.dicom.identity import is_uid
from hostd.errors import CannotTranscodeError
from hostd.transcoding import edits
from hostd.transcoding.edits import Anonymize, Edit, Modify, Redact
from hostd.transcoding.options import EncodeOptions


class Transcode(
    msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="verb", tag="transcode"
):
    """Bring an image to the transfer syntax `to` (a UID): without loss, or as lossy as `quality`, `ratio` or `near` says.

    `or_original`: where it cannot be done without loss the image stays in its own syntax, and a receipt says why (P7). It means
    nothing for a lossy one: what was to lose information is never sent without having lost it.
    """

    to: str
    or_original: bool = True
    quality: int | None = None
    ratio: float | None = None
    near: int | None = None

    @property
    def options(self) -> EncodeOptions | None:
        """How lossy the result may be; None: not at all."""
        if self.quality is None and self.ratio is None and self.near is None:
            return None
        return EncodeOptions(self.quality, self.ratio, self.near)

    @property
    def may_stay(self) -> bool:
        """Whether the image may stay as it is where this cannot be done."""
        return self.or_original and self.options is None


class RunTool(
    msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="verb", tag="run_tool"
):
    """Give the instance to the tool of that name in the configuration, with a script's arguments. It never falls back (P7).

    `makes` is the UID of the transfer syntax in which the result is expected, None: that of what it is made of. What it really is
    in, and whose SOP Instance UID it has, is known once it is made.
    """

    name: str
    args: tuple[str, ...] = ()
    makes: str | None = None


Step = Transcode | RunTool | Modify | Anonymize | Redact
"""What a transform consists of."""

_steps = msgspec.json.Decoder(Step)


class _Verb(msgspec.Struct, frozen=True):
    """What of a step may be told to anybody."""

    verb: str = "?"


_verbs = msgspec.json.Decoder(_Verb)
_TOLD = frozenset(("transcode", "run_tool"))
"""Verbs whose steps hold no value of any attribute."""


@dataclass(frozen=True, slots=True)
class Transform:
    """Steps, each done to what the one before it made; none: the file as it is."""

    steps: tuple[Step, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps)

    @classmethod
    def into(cls, syntax: str, *, or_original: bool = True) -> Self:
        """Return the transform that brings an image to the transfer syntax of that UID, without loss."""
        return cls((Transcode(syntax, or_original),))

    def then(self, step: Step) -> Transform:
        """Return this transform with one step more. A change of syntax without loss is dropped where another change of syntax follows."""
        before = self.steps
        last = before[-1] if before else None
        if isinstance(last, Transcode) and isinstance(step, Transcode) and last.options is None:
            before = before[:-1]
            # P7: what was made from something that must not be sent unchanged must not be sent unchanged either.
            step = msgspec.structs.replace(step, or_original=step.or_original and last.or_original)
        if isinstance(step, Transcode) and step.options is not None:
            step = msgspec.structs.replace(step, or_original=True)  # it means nothing there: one text for one thing
        return Transform((*before, step))

    @property
    def is_lossless(self) -> bool:
        """Whether all of the instance is kept: at most its transfer syntax changes, without loss."""
        return all(isinstance(step, Transcode) and step.options is None for step in self.steps)

    @property
    def required(self) -> Transform:
        """The steps without which nothing may be sent: all but a last one that may be left out."""
        return Transform(self.steps[:-1]) if self.steps and _may_be_left_out(self.steps[-1]) else self

    @property
    def is_strict(self) -> bool:
        """Whether the result must be sent in the transfer syntax that the last step gives, or not at all."""
        last = self.steps[-1] if self.steps else None
        return isinstance(last, Transcode) and last.options is None and not last.or_original

    @property
    def is_foretold(self) -> bool:
        """Whether the transfer syntax of the result is what the last step is expected to give, so that another one is nobody's choice."""
        return bool(self.steps) and isinstance(self.steps[-1], RunTool | Redact)

    @property
    def until_anonymized(self) -> Transform:
        """The steps up to the last that de-identifies, itself included; none where none does."""
        last = max((count for count, step in enumerate(self.steps, 1) if isinstance(step, Anonymize)), default=0)
        return Transform(self.steps[:last])

    @property
    def is_redacted(self) -> bool:
        """Whether regions are blanked on the way."""
        return any(isinstance(step, Redact) for step in self.steps)

    def syntax_of(self, own: str) -> str:
        """Return the UID of the transfer syntax of what this makes of a file in the syntax `own`, as far as the steps tell."""
        for step in self.steps:
            own = edits.redacted_syntax(own) if isinstance(step, Redact) else _makes(step) or own
        return own

    def canonical(self) -> str:
        """Return the one text for this transform, a line a step: equal transforms have equal texts, so the index can compare them.

        The text of the first steps of a transform is the beginning of its own.
        """
        return "\n".join(msgspec.json.encode(step, order="deterministic").decode() for step in self.steps)

    @classmethod
    def parse(cls, text: str) -> Transform:
        """Return the transform of that text; '' is nothing to do.

        Raises `CannotTranscodeError` when the text is no transform that this release knows.
        """
        try:
            steps = tuple(_steps.decode(line) for line in text.split("\n")) if text else ()
        except msgspec.DecodeError as error:
            raise _unknown(text) from error
        if not all(is_uid(made) for step in steps if (made := _makes(step)) is not None):
            raise _unknown(text)
        return cls(steps)


def told(text: str) -> str:
    """Return the text of a transform as it may be shown: but for transcodes and tools only the verb, since what a script sets may say who somebody is."""
    return "\n".join(map(_told, text.split("\n"))) if text else ""


def _told(line: str) -> str:
    try:
        found = _verbs.decode(line)
    except msgspec.DecodeError:
        found = _Verb()
    return line if found.verb in _TOLD else msgspec.json.encode(found).decode()


def _makes(step: Step) -> str | None:
    if isinstance(step, Edit):
        return None  # the file's own, unless pixels are blanked
    return step.to if isinstance(step, Transcode) else step.makes


def _may_be_left_out(step: Step) -> bool:
    return isinstance(step, Transcode) and step.may_stay


def _unknown(text: str) -> CannotTranscodeError:
    return CannotTranscodeError(f"this release does not know what to do with the transform {told(text)[:200]!r}")
