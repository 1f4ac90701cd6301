"""Storage commitment (PS3.4 Annex J): hostd promises to keep what is stored and verified, and reports that to who asked.

The request is answered once it is on record. What it names is then verified, file by file, and what is good is promised; the report goes to the
modality's configured address on an association of its own, again and again until it is taken.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from typing import Protocol

import structlog

from hostd.archive import digests, promises
from hostd.archive.archive import Archive
from hostd.archive.promises import TOPIC, Candidate, Request
from hostd.archive.turning import Turning
from hostd.delivery.retry import Waits
from hostd.dicom import commitment, data_sets, statuses
from hostd.dicom.commitment import PUSH_MODEL, Reference
from hostd.dimse import commands
from hostd.errors import DestinationFault, UnparsableError
from hostd.scp.access import Act
from hostd.scp.services import Exchange, Refusal, Response

_LOG = structlog.get_logger(__name__)

_MOST_REFERENCES = 20_000
_CLAIM_S = 600.0
"""Seconds for which a node has a request to itself."""
_INGEST_WAIT_S = 2.0
"""Seconds until an instance whose ingest goes on is looked at again."""
_GIVEN_UP_S = 7 * 86_400.0
"""Seconds after which a report that nobody takes is given up. The promises stand."""
_LOOK_S = 60.0
_PIECE = 1 << 20


class CommitmentService:
    """Answers the requests.

    `caller_of` names the modality that asks: to whom else should the report go? `title_of` gives that of the node's AE titles which was
    called, '' for another: the report comes from there.
    """

    act: Act = "commit"
    command = commands.N_ACTION_RQ
    sop_classes = (PUSH_MODEL,)
    syntaxes = data_sets.SYNTAXES

    def __init__(
        self, archive: Archive, caller_of: Callable[[str, str], str | None], title_of: Callable[[str], str]
    ) -> None:
        self._archive = archive
        self._caller_of = caller_of
        self._title_of = title_of

    def answer(self, exchange: Exchange) -> Generator[Response]:
        """Put the request on record, and say that it is. Raises `Refusal`."""
        command, origin = exchange.command, exchange.origin
        if command.text(commands.REQUESTED_SOP_INSTANCE_UID) != commitment.INSTANCE:
            raise Refusal(
                statuses.NO_SUCH_SOP_INSTANCE, "the request is not to the Storage Commitment Push Model's instance"
            )
        if command.number(commands.ACTION_TYPE_ID) != commitment.REQUEST:
            raise Refusal(statuses.NO_SUCH_ACTION, "the only action is 1, Request Storage Commitment")
        try:
            uid, references = commitment.decode_request(exchange.data_set, exchange.context.transfer_syntax)
        except UnparsableError as error:
            raise Refusal(statuses.INVALID_ARGUMENT_VALUE, str(error)) from error
        if not references:
            raise Refusal(statuses.INVALID_ARGUMENT_VALUE, "the request names no instance")
        if len(references) > _MOST_REFERENCES:
            raise Refusal(statuses.RESOURCE_LIMITATION, f"ask for {_MOST_REFERENCES} instances at one time, not more")
        modality = self._caller_of(origin.calling_aet or "", origin.ip or "")
        if modality is None:
            raise Refusal(statuses.NOT_AUTHORIZED, f"{origin.calling_aet} is no configured modality")
        title, now = self._title_of(origin.called_aet or ""), self._archive.clock.now()
        self._archive.writer.do(
            lambda c: promises.ask(c, uid, modality, title, origin.association, references, now),
            topics=(TOPIC,),
            urgent=True,
        )
        yield Response(statuses.SUCCESS)


class Reporting(Protocol):
    """Where a report goes."""

    def report_commitment(
        self, transaction: str, committed: list[Reference], failed: list[tuple[Reference, int]], calling_aet: str | None
    ) -> int:
        """Report; return the status of the answer. Raises `DestinationFault`."""
        ...


class Promiser(Turning):
    """Judges and reports, in a thread of its own, until it is stopped. `modality_of` gives a modality of the configuration by its name."""

    def __init__(self, archive: Archive, modality_of: Callable[[str], Reporting | None], policy: Waits) -> None:
        super().__init__(archive.bulletin, TOPIC, "storage commitment")
        self._archive = archive
        self._modality_of = modality_of
        self._policy = policy

    def failed(self) -> float:
        """Log it; the request is on record."""
        _LOG.exception("storage commitment failed; it goes on after a pause")
        return self._policy.first_s

    def turn(self) -> float:
        """Work on one request that is due; return for how many seconds there is nothing to do."""
        archive = self._archive
        now = archive.clock.now()
        with archive.read() as connection:
            due = promises.next_at(connection)
        if due is None or due > now:
            return _LOOK_S if due is None else min(due - now, _LOOK_S)
        request = archive.writer.do(lambda c: promises.claim(c, archive.node, now, now + _CLAIM_S))
        if request is None:
            return min(self._policy.first_s, _LOOK_S)  # another node works on it
        failed = request.failed
        if failed is None:
            failed = self._judge(request)
            if failed is None:
                return 0
        self._report(request, failed)
        return 0

    # -- judging

    def _judge(self, request: Request) -> dict[str, int] | None:
        """Verify what is asked for, and promise what is good; return what failed, None when it is too early to tell."""
        archive, now = self._archive, self._archive.clock.now()
        with archive.read() as connection:
            stored = promises.candidates(connection, [one.sop_instance_uid for one in request.references])
        if any(one.is_pending for found in stored.values() for one in found):
            why = "the ingest of an instance has not ended"
            archive.writer.do(lambda c: promises.postpone(c, request.id, now + _INGEST_WAIT_S, why, is_attempt=False))
            return None
        good: list[Candidate] = []
        failed: dict[str, int] = {}
        for reference in request.references:
            found = stored.get(reference.sop_instance_uid, [])
            matching = [one for one in found if one.sop_class_uid == reference.sop_class_uid]
            verified = [one for one in matching if self._is_whole(one)]
            if verified:
                good += verified
            elif matching:
                failed[reference.sop_instance_uid] = statuses.PROCESSING_FAILURE
            else:
                reason = statuses.CLASS_INSTANCE_CONFLICT if found else statuses.NO_SUCH_SOP_INSTANCE
                failed[reference.sop_instance_uid] = reason
        judged = archive.writer.do(
            lambda c: promises.judge(c, request, good, failed, statuses.NO_SUCH_SOP_INSTANCE, now), urgent=True
        )
        if judged:
            _LOG.warning(
                "not all can be promised that storage commitment was asked for",
                modality=request.modality, transaction=request.transaction_uid, failed=len(judged), of=len(request.references),
            )  # fmt: skip
        return judged

    def _is_whole(self, candidate: Candidate) -> bool:
        """Tell whether the file of an instance is there, bit by bit as it was stored."""
        try:
            with self._archive.blobs.path(candidate.blob).open("rb") as file:
                digest = digests.of_file(file, candidate.sha256)
        except OSError as error:
            _LOG.error("a file cannot be read, so it is not promised", blob=candidate.blob, reason=error.strerror)
            return False
        if digest != candidate.sha256:
            _LOG.error("a file is not as it was stored, so it is not promised", blob=candidate.blob)
            return False
        return True

    # -- reporting

    def _report(self, request: Request, failed: dict[str, int]) -> None:
        archive = self._archive
        modality = self._modality_of(request.modality)
        try:
            if modality is None:
                raise DestinationFault(f"{request.modality} is no modality of the configuration any more")
            committed = [one for one in request.references if one.sop_instance_uid not in failed]
            status = modality.report_commitment(
                request.transaction_uid,
                committed,
                [(one, failed[one.sop_instance_uid]) for one in request.references if one.sop_instance_uid in failed],
                request.called_aet or None,
            )
        except DestinationFault as fault:
            self._later(request, str(fault))
            return
        now = archive.clock.now()
        is_taken = statuses.category(status) in {"success", "warning"}
        answer = None if is_taken else f"the report was answered {statuses.describe(status)}"
        archive.writer.do(lambda c: promises.end(c, request.id, reported=is_taken, error=answer, now=now))
        if answer:
            _LOG.warning("a report of storage commitment was not taken", modality=request.modality, reason=answer)

    def _later(self, request: Request, error: str) -> None:
        now = self._archive.clock.now()
        if now - request.asked_at > _GIVEN_UP_S:
            _LOG.error("a report of storage commitment is given up", modality=request.modality, reason=error)
            self._archive.writer.do(lambda c: promises.end(c, request.id, reported=False, error=error, now=now))
            return
        _LOG.warning(
            "storage commitment could not be reported; it is tried again", modality=request.modality, reason=error
        )
        # A moment later at least: full jitter may be no wait at all.
        wait_s = self._policy.longest_wait(request.attempts + 1) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        self._archive.writer.do(lambda c: promises.postpone(c, request.id, now + wait_s, error, is_attempt=True))
