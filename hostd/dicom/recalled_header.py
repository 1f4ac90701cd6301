"""Headers that are much like the one before, as those of a series are: elements that are the same are not read again.

What comes out is what `hostd.dicom.plain_header` says of the same bytes. Several headers have the same values then: nobody may change them.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterable
from itertools import groupby
from typing import cast

from hostd.dicom import plain_header
from hostd.dicom.element_values import DEFAULT_ENCODINGS, Elements, Value
from hostd.dicom.plain_header import CHARACTER_SET, PIXEL_REPRESENTATION, Form, Found, Level, Reader, Scan, UnusualError

_DECISIVE = (CHARACTER_SET, PIXEL_REPRESENTATION)
"""Elements that say how others are to be read."""

_UNREAD: Value = ("", None)

_MOST_RUNS = 32
"""Runs above which those that stand beside each other again are joined: of headers of one series some ten elements differ, which part its
runs; but those that headers of many unlike series have parted would stay so, until it is compared element by element. Where what is new
parts the header into as many, joining gains nothing."""


class Recollection:
    """What was read last, in which form and within which limits. For one thread at a time."""

    def __init__(self) -> None:
        self.form: Form | None = None
        self.forget()

    def forget(self) -> None:
        """Have nothing in mind."""
        self.runs: list[_Run] = []
        self.encodings = DEFAULT_ENCODINGS
        self.signed = False
        self.was_large = False
        """The last one is not in mind, as it was too large, and the next is not compared either."""


class Memory(threading.local, Recollection):
    """What each thread read last."""


def read(data: bytes, form: Form, memory: Recollection) -> Found | None:
    """Do as `plain_header.read` does, and keep in mind what was read.

    A header of more than half of `max_elements` bytes is not: there elements may have been left out for want of room.
    """
    if memory.form != form:
        memory.forget()
        memory.form = form
    limit = form.max_elements // 2
    if not memory.was_large:
        try:
            walk = _Walk(Scan(data, implicit=form.implicit), memory.runs)
            if walk.end <= limit:
                if walk.is_decisive and memory.runs:
                    memory.forget()
                    walk = _Walk(walk.scan, memory.runs)
                return walk.read(memory, Reader(walk.scan, form))
        except (UnusualError, struct.error):
            return None
    memory.forget()
    found = plain_header.read(data, form)
    if found is not None:
        memory.was_large = (len(data) if found.pixels_at is None else found.pixels_at) > limit
    return found


_Known = tuple[bytes, int, Value | None]
"""An element as it stood, its tag, and its values; None for a group length, which does not travel."""


class _Run:
    """Elements that followed each other, and were all the same or all new when they were last met: they are compared at once."""

    __slots__ = ("elements", "first", "known", "last", "raw")

    def __init__(self, known: list[_Known]) -> None:
        self.known = known
        self.raw = b"".join([raw for raw, _, _ in known])
        self.elements = {tag: value for _, tag, value in known if value is not None}
        self.first, self.last = known[0][1], known[-1][1]


_Span = tuple[int, int, int]
"""The tag of an element that is to be read, where it begins and where it ends."""


class _Walk:
    """A walk along a header beside the one that is in mind, which finds what is the same and where the others are."""

    def __init__(self, scan: Scan, runs: Iterable[_Run]) -> None:
        """Walk to the pixel data, or to the end. Raises `UnusualError` or `struct.error`."""
        self.scan = scan
        self.end = 0
        """Where the pixel data begins, or the data set ends."""
        self._last = -1
        """The tag of the element before."""
        self._elements: Elements = {}
        """Those that travel, in their order; those that are to be read keep a place."""
        self._now: list[_Run | list[_Span]] = []
        self._fresh: Level = {}
        self.is_decisive = False
        """Whether what says how others are to be read is another than the one in mind."""
        scan.begin(0)
        begins_with = scan.data.startswith
        for run in runs:
            if begins_with(run.raw, self.end) and self._last < run.first:
                self._elements.update(run.elements)
                self._now.append(run)
                self.end += len(run.raw)
                self._last = run.last
            else:
                self._part(run)
        while self._step():
            pass

    def _part(self, run: _Run) -> None:
        """Walk along a run that is not all the same."""
        data = self.scan.data
        same: list[_Known] = []
        for one in run.known:
            raw, tag, value = one
            if self._last >= tag or not data.startswith(raw, self.end):
                if same:
                    self._now.append(_Run(same))
                    same = []
                while self._last < tag and not data.startswith(raw, self.end) and self._step(up_to=tag):
                    pass
                if self._last >= tag or not data.startswith(raw, self.end):
                    self.is_decisive |= tag in _DECISIVE
                    continue  # another stands in its place, or it is gone
            if value is not None:
                self._elements[tag] = value
            same.append(one)
            self.end += len(raw)
            self._last = tag
        if same:
            self._now.append(_Run(same))

    def _step(self, up_to: int = 0xFFFFFFFF) -> bool:
        """Walk over an element that is to be read, where one follows that is not above `up_to`; tell whether it did."""
        found = self.scan.element(self.end) if self.end < len(self.scan.data) else None
        if found is None or found[0] > up_to:
            return False
        tag, place, end = found
        if tag <= self._last:
            raise UnusualError
        if not self._now or isinstance(self._now[-1], _Run):
            self._now.append([])
        spans = self._now[-1]
        assert isinstance(spans, list)
        spans.append((tag, self.end, end))
        self._fresh[tag] = place
        self.is_decisive |= tag in _DECISIVE
        if tag & 0xFFFF:
            self._elements[tag] = _UNREAD
        self.end, self._last = end, tag
        return True

    def read(self, memory: Recollection, reader: Reader) -> Found:
        """Read what is not in mind, and keep all in mind. Raises `UnusualError`."""
        if not memory.runs:
            memory.encodings, memory.signed = reader.manner(self._fresh, DEFAULT_ENCODINGS)
        values = reader.values(self._fresh, memory.encodings, signed=memory.signed, depth=0)
        data = self.scan.data
        if len(self._now) > _MOST_RUNS and sum(isinstance(one, list) for one in self._now) < _MOST_RUNS // 2:
            self._now = _joined(self._now)
        memory.runs = [
            one if isinstance(one, _Run) else _Run([(data[a:b], tag, values.get(tag)) for tag, a, b in one])
            for one in self._now
        ]
        self._elements.update(values)
        return Found(self._elements, self.end if self.end < len(data) else None)


def _joined(now: Iterable[_Run | list[_Span]]) -> list[_Run | list[_Span]]:
    """Make one run of those that follow each other and were met as they were; between what is new they stay apart."""
    found: list[_Run | list[_Span]] = []
    for is_run, some in groupby(now, lambda one: isinstance(one, _Run)):
        members = list(some)
        if is_run and len(members) > 1:
            found.append(_Run([known for run in members for known in cast("_Run", run).known]))
        else:
            found += members
    return found
