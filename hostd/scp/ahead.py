"""Making what a retrieval will send before its turn comes: transcoding goes on while the line is used, in as many codec processes as may work.

Small instances are made several in one job: of a CT image from RLE, to tell a codec process and to hear of it costs as much as to decode it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Protocol, Self

import structlog

from hostd.archive.records import Delivery
from hostd.delivery.destinations import Outgoing, Products
from hostd.errors import InstanceFault
from hostd.transcoding.messages import MOST_AT_ONCE
from hostd.transcoding.transform import Transform

_LOG = structlog.get_logger(__name__)

_MOST_MAKERS = 3
_GROUP_BYTES = 4 << 20
"""What is made in one job is stored in so many bytes at most, or is one instance."""
_AHEAD = 3 * MOST_AT_ONCE
"""Instances that are looked at ahead of their turn, until no other group is begun: one in the making for each of two codec processes, and one that was made."""
_AHEAD_BYTES = 32 << 20
"""Bytes that their files have, likewise."""
_LEAST_AHEAD = 8
"""Instances that are looked at ahead however large they are."""


@dataclass(frozen=True, slots=True)
class Upcoming:
    """An instance whose turn comes: what is to be sent of it, None where it is there no more, and the size of its file in bytes."""

    instance: str
    outgoing: Outgoing | None
    size: int


class MakesAhead(Products, Protocol):
    """What makes products: `hostd.transcoding.passing.Passing`."""

    def obtain_ahead(self, asked: Sequence[tuple[Delivery, Transform]]) -> None:
        """Make what will be asked for, as much as can be in one job. Raises nothing of the instances'."""
        ...


class Ahead:
    """Gives what is `upcoming` in its order, each when what was foreseen has been made of it.

    `foresee` tells what that is, None where an instance can go as it is. Up to `makers` jobs go on at one time, and no more than three.
    """

    def __init__(
        self,
        upcoming: Iterator[Upcoming],
        foresee: Callable[[Outgoing], Transform | None],
        products: MakesAhead,
        makers: int,
    ) -> None:
        self._upcoming = upcoming
        self._foresee = foresee
        self._products = products
        self._makers = min(makers, _MOST_MAKERS)
        self._executor: ThreadPoolExecutor | None = None
        self._was_left = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._was_left = True
        if self._executor is not None:
            # Who has cancelled does not wait for what is being made: it ends by itself, and by its time limit.
            self._executor.shutdown(wait=False, cancel_futures=True)

    def __iter__(self) -> Iterator[Upcoming]:
        """Yield each as its turn comes."""
        begun: deque[tuple[Upcoming, Event | None]] = deque()
        size = 0
        for group in self._groups():
            begun.extend(zip(group, self._begin(group), strict=True))
            size += sum(one.size for one in group)
            while len(begun) >= _AHEAD or (len(begun) >= _LEAST_AHEAD and size > _AHEAD_BYTES):
                one = _waited(*begun.popleft())
                size -= one.size
                yield one
        while begun:
            yield _waited(*begun.popleft())

    def _groups(self) -> Iterator[list[Upcoming]]:
        """Yield those that are made together: few at first, so that whoever asked soon gets something."""
        group: list[Upcoming] = []
        begun = 0
        for one in self._upcoming:
            if group and (
                len(group) >= min(1 + begun // 2, MOST_AT_ONCE)
                or sum(each.size for each in group) + one.size > _GROUP_BYTES
            ):
                yield group
                begun += len(group)
                group = []
            group.append(one)
        if group:
            yield group

    def _begin(self, group: list[Upcoming]) -> list[Event | None]:
        """Have a group made; return for each what tells that it was, None where nothing is to be made."""
        begun: list[Event | None] = []
        works: list[_Work] = []
        for one in group:
            transform = self._foresee(one.outgoing) if one.outgoing is not None else None
            if one.outgoing is None or transform is None:
                begun.append(None)
                continue
            works.append(_Work(one.outgoing, transform, Event()))
            begun.append(works[-1].is_done)
        if works:
            self._executor = self._executor or ThreadPoolExecutor(self._makers, "retrieval")
            self._executor.submit(self._make, works)
        return begun

    def _make(self, works: list[_Work]) -> None:
        try:
            if len(works) > 1:
                with _told_of(works[0]):
                    self._products.obtain_ahead([(work.outgoing.delivery, work.transform) for work in works])
            for work in works:
                if self._was_left:
                    return
                with _told_of(work):
                    work.outgoing.products.obtain(work.outgoing.delivery, work.transform)
                work.is_done.set()
        finally:  # whatever happens, nobody waits for ever
            for work in works:
                work.is_done.set()


@dataclass(frozen=True, slots=True)
class _Work:
    outgoing: Outgoing
    transform: Transform
    is_done: Event


@contextmanager
def _told_of(work: _Work) -> Iterator[None]:
    """Log what goes wrong as something is made: where it matters it shows when the instance is sent."""
    try:
        yield
    except InstanceFault:
        pass
    except Exception as error:  # noqa: BLE001 - whatever it is, others wait for what comes after
        _LOG.warning(
            "what is to be sent could not be made ahead", instance=work.outgoing.delivery.instance, reason=str(error)
        )


def _waited(one: Upcoming, is_done: Event | None) -> Upcoming:
    if is_done is not None:
        is_done.wait()
    return one
