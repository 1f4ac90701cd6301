"""Retrieval (PS3.4 §C.4.2, §C.4.3): sending what a C-MOVE or C-GET asks for, one sub-operation after another, counted and recorded.

A sub-operation is no delivery: who asked waits for the counts and decides what is to become of what failed, so nothing is tried again behind its
back. Each is recorded with the answer to it all the same (`archive.retrievals`), before the final response goes out (P3).
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog
from sqlalchemy import Connection

from hostd.archive import retrievals
from hostd.archive.archive import Archive
from hostd.archive.deliveries import PRIORITIES
from hostd.archive.records import Delivery
from hostd.archive.retrievals import Found, Kind, Sent, State
from hostd.delivery import faults
from hostd.delivery.destinations import Answer, Outgoing, Products
from hostd.delivery.lane import AskFilters
from hostd.dicom import retrieve, statuses
from hostd.dicom.identifiers import IdentifierError
from hostd.dicom.retrieve import Wanted
from hostd.dimse.commands import SubOperations
from hostd.errors import DestinationFault, InstanceFault, StorageError, UnparsableError
from hostd.scp.ahead import Ahead, MakesAhead, Upcoming
from hostd.scp.services import Cancelled, Exchange, Refusal, Response
from hostd.transcoding.stored import Product, Stored
from hostd.transcoding.transform import Transform

_LOG = structlog.get_logger(__name__)

_AT_ONCE = 100
"""Instances that are looked up, and at most recorded, at one time."""
_PENDING_S = 0.1
"""Seconds between two pending responses, at least: who asks for a thousand small images reads no thousand of them."""
_RECORD_S = 2.0
"""Seconds after which what was sent is recorded."""
_AS_STORED = Transform(())


class Way(Protocol):
    """How instances get to where they are wanted."""

    @property
    def destination(self) -> str:
        """Who gets them: `modality:x`, or `caller:AET`."""
        ...

    def open(self, representatives: Sequence[Outgoing]) -> AbstractContextManager[object]:
        """Make ready for these, one of each kind. Raises `DestinationFault`."""
        ...

    def foresee(self, outgoing: Outgoing) -> Transform | None:
        """Return what would have to be made of an instance to send it; None where it can go as it is, or that cannot be told."""
        ...

    def send(self, outgoing: Outgoing) -> Answer:
        """Send one. Raises `InstanceFault` where nothing was sent, `DestinationFault` when nothing more can be, `DimseError` when who asked is gone."""
        ...


@dataclass(slots=True)
class _Progress:
    """How far a retrieval has come."""

    count: int
    completed: int = 0
    warning: int = 0
    failed: list[str] = field(default_factory=list)
    """SOP Instance UIDs."""

    @property
    def remaining(self) -> int:
        return self.count - self.completed - self.warning - len(self.failed)

    def add(self, sent: Sent) -> None:
        if sent.outcome == "failed":
            self.failed.append(sent.sop_instance_uid)
        elif sent.outcome == "warning":
            self.warning += 1
        else:
            self.completed += 1

    def counted(self, *, with_remaining: bool) -> SubOperations:
        return SubOperations(
            completed=self.completed,
            failed=len(self.failed),
            warning=self.warning,
            remaining=self.remaining if with_remaining else None,
        )


class Retriever:
    """Carries out what was asked for, over the way that it is given; `makers` as of `Ahead`."""

    def __init__(self, archive: Archive, products: MakesAhead, ask_filters: AskFilters, *, makers: int) -> None:
        self._makers = makers
        self._archive = archive
        self._products = products
        self._ask_filters = ask_filters

    def carry_out(self, exchange: Exchange, kind: Kind, way: Way) -> Generator[Response]:
        """Send all that is meant; yield a pending response after each sub-operation, and the final one. Raises `Refusal`."""
        wanted = _wanted(exchange)
        with self._archive.read() as connection:
            ids = retrievals.matching(connection, wanted)
            kinds = retrievals.kinds(connection, ids)
            representatives = retrievals.current(connection, list(kinds.values()))
        progress = _Progress(len(ids))
        record = _Record(self._archive, self._begin(exchange, kind, way, wanted, len(ids)))
        ended: State = "broken"
        reason: str | None = "the association on which it was asked for ended"
        try:
            try:
                if ids:
                    with way.open([self._outgoing(way, one) for one in representatives.values()]):
                        yield from self._send_all(exchange, way, ids, progress, record)
                ended, reason = "done", None
            except DestinationFault as fault:
                ended, reason = "failed", str(fault)
                self._fail_rest(ids, progress, record, reason)
            except Cancelled:
                ended, reason = "cancelled", "by who asked"
            final = _final(exchange, progress, ended, reason)
        finally:
            record.end(ended, reason)
        if final.status != statuses.SUCCESS:
            _LOG.warning(
                "not all that was asked for was sent",
                retrieval=record.number, to=way.destination, status=statuses.describe_of_query(final.status), reason=reason,
                completed=progress.completed, failed=len(progress.failed), warnings=progress.warning, remaining=progress.remaining,
            )  # fmt: skip
        yield final

    def _begin(self, exchange: Exchange, kind: Kind, way: Way, wanted: Wanted, count: int) -> Future[int]:
        origin, now = exchange.origin, self._archive.clock.now()
        return self._archive.writer.submit(
            lambda c: retrievals.begin(
                c,
                kind=kind,
                at=now,
                calling_aet=origin.calling_aet or "",
                ip=origin.ip or "",
                association=origin.association,
                destination=way.destination,
                wanted=wanted,
                count=count,
                node=self._archive.node,
            ),
            urgent=True,
        )

    def _send_all(
        self, exchange: Exchange, way: Way, ids: Sequence[str], progress: _Progress, record: _Record
    ) -> Generator[Response]:
        told_at = -_PENDING_S
        with Ahead(self._looked_up(way, ids), way.foresee, self._products, self._makers) as ahead:
            for one in ahead:
                exchange.heed()
                sent = self._send(way, one.outgoing) if one.outgoing is not None else self._gone(one.instance)
                record.add(sent)
                progress.add(sent)
                if progress.remaining and time.monotonic() >= told_at + _PENDING_S:
                    yield Response(statuses.PENDING, sub_operations=progress.counted(with_remaining=True))
                    told_at = time.monotonic()

    def _looked_up(self, way: Way, ids: Sequence[str]) -> Iterator[Upcoming]:
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            with self._archive.read() as connection:
                there = retrievals.current(connection, some)
            for one in some:
                found = there.get(one)
                yield Upcoming(one, self._outgoing(way, found), found.size) if found else Upcoming(one, None, 0)

    def _gone(self, instance: str) -> Sent:
        return Sent(instance, "", "failed", "it was deleted before its turn came", self._archive.clock.now())

    def _send(self, way: Way, outgoing: Outgoing) -> Sent:
        delivery = outgoing.delivery
        try:
            answer = self._answer(way, outgoing)
        except (InstanceFault, UnparsableError) as fault:
            answer = Answer("instance", str(fault))
        except (OSError, StorageError) as error:
            _LOG.exception("an instance could not be sent", sop_instance_uid=delivery.sop_instance_uid)
            answer = Answer("later", f"hostd could not do its part: {error}")
        outcome: dict[str, str] = {"delivered": "delivered", "warning": "warning", "present": "warning"}
        text = f"{answer.text}; it may have arrived all the same" if answer.lost else answer.text
        return Sent(
            delivery.instance,
            delivery.sop_instance_uid,
            outcome.get(answer.verdict, "failed"),  # type: ignore[arg-type]  # the values above are the literals
            text,
            self._archive.clock.now(),
            answer.status,
            answer.sent_syntax,
        )

    def _answer(self, way: Way, outgoing: Outgoing) -> Answer:
        kept_back = faults.of_filters(self._ask_filters(outgoing.delivery))
        if kept_back is not None:
            return Answer(*kept_back)
        try:
            return way.send(outgoing)
        except FileNotFoundError:
            # What was made of it was thrown away meanwhile, since nothing waits for it: it is made again.
            return way.send(replace(outgoing, products=self._products))

    def _outgoing(self, way: Way, found: Found) -> Outgoing:
        now = self._archive.clock.now()
        unrecorded = Delivery(
            id=0, instance=found.instance, sop_instance_uid=found.sop_instance_uid, sop_class_uid=found.sop_class_uid,
            destination=way.destination, content=found.content, blob=found.blob, transform="",
            priority=PRIORITIES["normal"], state="sending", attempts=0, not_before=now, next_attempt_at=now,
            last_error=None, possible_doubles=0, created_at=now, finished_at=None, script=None,
        )  # fmt: skip
        return Outgoing(unrecorded, found.transfer_syntax, _AS_STORED, _Obtained(self._products))

    def _fail_rest(self, ids: Sequence[str], progress: _Progress, record: _Record, reason: str) -> None:
        """Record of what was not sent that it was not, and why."""
        rest = ids[progress.count - progress.remaining :]
        for start in range(0, len(rest), _AT_ONCE):
            some = rest[start : start + _AT_ONCE]
            with self._archive.read() as connection:
                there = retrievals.current(connection, some)
            for instance in some:
                uid = there[instance].sop_instance_uid if instance in there else ""
                sent = Sent(instance, uid, "failed", reason, self._archive.clock.now())
                record.add(sent)
                progress.add(sent)


class _Obtained:
    """Products of one instance, each of which is looked for once: ahead of its turn, or as it is sent."""

    def __init__(self, products: Products) -> None:
        self._products = products
        self._known: dict[Transform | None, Product] = {}

    def obtain(self, delivery: Delivery, transform: Transform | None = None) -> Product:
        """Do as `Products.obtain` does."""
        product = self._known.get(transform)
        if product is None:
            product = self._known[transform] = self._products.obtain(delivery, transform)
        return product

    def source(self, stored: Stored) -> Product:
        """Do as `Products.source` does."""
        return self._products.source(stored)


class _Record:
    """Writes down what became of each instance, some at a time."""

    def __init__(self, archive: Archive, begun: Future[int]) -> None:
        self._begun = begun
        self._archive = archive
        self._waiting: list[Sent] = []
        self._writing: Future[None] | None = None
        self._written_at = time.monotonic()

    @property
    def number(self) -> int:
        """The number of its row, once that is committed."""
        return self._begun.result()

    def add(self, sent: Sent) -> None:
        """Take what became of one instance."""
        self._waiting.append(sent)
        if len(self._waiting) >= _AT_ONCE or time.monotonic() - self._written_at > _RECORD_S:
            self._write()

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        number = self.number
        if self._writing is not None:
            self._writing.result()
        self._writing = self._archive.writer.submit(lambda c: retrievals.note(c, number, waiting))
        self._written_at = time.monotonic()

    def end(self, state: State, reason: str | None) -> None:
        """Write down the rest, and how it ended; on stable storage when this returns."""
        now, waiting, number = self._archive.clock.now(), self._waiting, self.number

        def unit(connection: Connection) -> None:
            retrievals.note(connection, number, waiting)
            retrievals.end(connection, number, state, reason, now)

        if self._writing is not None:
            self._writing.result()
        self._archive.writer.do(unit, urgent=True)


def _wanted(exchange: Exchange) -> Wanted:
    try:
        return retrieve.decode(exchange.data_set, exchange.context.transfer_syntax, exchange.context.abstract_syntax)
    except IdentifierError as error:
        raise Refusal(statuses.DATA_SET_DOES_NOT_MATCH, str(error)) from error
    except UnparsableError as error:
        raise Refusal(statuses.CANNOT_UNDERSTAND, str(error)) from error


def _final(exchange: Exchange, progress: _Progress, ended: State, reason: str | None) -> Response:
    """Return the final response (PS3.4 §C.4.2.1.5): warning when something failed, failure when all did."""
    failed = [uid for uid in progress.failed if uid]
    if ended == "cancelled":
        status = statuses.CANCELLED
    elif progress.failed and len(progress.failed) == progress.count:
        status = statuses.UNABLE_TO_PERFORM_SUB_OPERATIONS
    elif progress.failed or progress.warning:
        status = statuses.SUB_OPERATIONS_COMPLETE_WITH_FAILURES
    else:
        status = statuses.SUCCESS
    return Response(
        status,
        retrieve.encode_failed(failed, exchange.context.transfer_syntax) if failed else None,
        reason if ended == "failed" and reason else "",
        progress.counted(with_remaining=ended == "cancelled"),
    )
