"""What a running script may ask its host: an element that did not travel with the event, what pixels come to, and the instances of a level."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from hostd.dicom.header import element_value
from hostd.dicom.part10 import data_set_offset
from hostd.errors import HostdError
from hostd.sandbox import frames
from hostd.sandbox.filters import NO_PIXELS
from hostd.scripting.sources import Source

_DEEPEST = 33
"""Numbers in a path: sixteen sequences, an item of each, and the element."""
_PIXEL_GROUP = 0x7FE0


class Further(Protocol):
    """What answers questions beyond those about the event: `hostd.scripting.asking`."""

    def about(self, found: str) -> Source:
        """Return what answers questions about a level that was found. Raises `LookupError`."""
        ...

    def answer(self, question: frames.Question) -> list[Any]:
        """Return the answer. Raises `HostdError`, `LookupError` or `OSError` with the reason why there is none."""
        ...

    def measure(self, file: Path, of: str) -> frames.PixelFacts:
        """Return what the pixels of a file come to, that of the instance `of`. Raises `HostdError` or `OSError` with the reason why it is not known."""
        ...


_OF_THE_EVENT = frozenset(("value", "members", "first", "origins", "marks"))


def answer_from(source: Source, question: frames.Question, further: Further | None = None) -> frames.Answer:
    """Answer any question of a run; without `further`, as for a filter, those about what it is given. Whatever the worker asks for, nothing is raised."""
    try:
        if further is None:
            return _to_filter(source, question)
        if question.verb not in _OF_THE_EVENT and question.verb != "pixels":
            return _beyond(further, question)
        if question.about:
            source = further.about(question.about)
        if question.verb == "pixels":
            return _measured(further, question, source.file(question.of))
        return _of_the_event(source, question)
    except LookupError as error:
        return frames.Answer(question.id, error=str(error))
    except (OSError, HostdError) as error:
        return frames.Answer(question.id, error=f"a file of the archive cannot be read: {error}")


def _to_filter(source: Source, question: frames.Question) -> frames.Answer:
    if question.about or question.verb not in _OF_THE_EVENT:
        reason = NO_PIXELS if question.verb == "pixels" else "that is not answered here"
        return frames.Answer(question.id, error=reason)
    return _of_the_event(source, question)


def _beyond(further: Further, question: frames.Question) -> frames.Answer:
    try:
        return frames.Answer(question.id, further.answer(question))
    except (OSError, HostdError) as error:
        return frames.Answer(question.id, error=str(error))


def _measured(further: Further, question: frames.Question, file: Path) -> frames.Answer:
    try:
        return frames.Answer(question.id, [further.measure(file, question.of)])
    except (OSError, HostdError) as error:
        return frames.Answer(question.id, error=f"the pixels cannot be read: {error}")


def _of_the_event(source: Source, question: frames.Question) -> frames.Answer:
    found: list[Any] = []
    match question.verb:
        case "value":
            return answer(question, source.file(question.of))
        case "members":
            return _members(source, question)
        case "first":
            first = source.first()
            found = [] if first is None else [first]
        case "origins":
            found = list(source.origins())
        case "marks":
            noted = source.marks(question.of)
            found = [noted.metadata, noted.labels]
    return frames.Answer(question.id, found)


def _members(source: Source, question: frames.Question) -> frames.Answer:
    if len(question.path) != 2 or any(not -1 <= number < 1 << 62 for number in question.path):
        return frames.Answer(question.id, error="that is no place among the instances")
    new_only, place = question.path
    return frames.Answer(question.id, source.page(new_only=bool(new_only), after=(place, question.of)))


def answer(question: frames.Question, file: Path) -> frames.Answer:
    """Answer a question from a DICOM file. Whatever the worker asks for, nothing is raised, and pixel data is not given."""
    path = question.path
    if question.verb == "pixels":
        return frames.Answer(question.id, error=NO_PIXELS)
    if len(path) % 2 == 0 or len(path) > _DEEPEST or any(not 0 <= number <= 0xFFFFFFFF for number in path):
        return frames.Answer(question.id, error="that is not the path of an element")
    if path[-1] >> 16 == _PIXEL_GROUP:
        return frames.Answer(question.id, error="pixel data is not given to scripts")
    try:
        with file.open("rb") as opened:
            start = data_set_offset(opened)
            value = element_value(
                opened,
                offset=start.offset,
                transfer_syntax=start.transfer_syntax_uid,
                path=path,
                limit=frames.MAX_VALUE,
            )
    except (OSError, HostdError) as error:
        return frames.Answer(question.id, error=f"the file cannot be read: {error}")
    if value is None:
        reason = f"the value is larger than {frames.MAX_VALUE >> 20} MiB, which is the most that a script may read"
        return frames.Answer(question.id, error=reason, too_large=True)
    return frames.Answer(question.id, value)
