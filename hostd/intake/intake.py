"""Intake: receive, make durable, transcode, enter, answer, in this order (P1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from hostd.archive import derived, filterings, ingests, lossy_ingests, receiving
from hostd.archive.archive import Archive
from hostd.archive.blobs import BlobFile
from hostd.archive.filterings import Filtering, Kind
from hostd.archive.ingests import Ended, Made
from hostd.archive.limits import Allowance
from hostd.archive.receiving import Arrival, OnConflict, Outcome
from hostd.archive.records import Blob, Origin
from hostd.archive.writer import Write
from hostd.config.storage import Storage
from hostd.detail import DETAIL
from hostd.dicom.header import Header
from hostd.dicom.recalled_header import Memory
from hostd.errors import (
    ConflictError,
    FilterRefusedError,
    LimitReachedError,
    NoRoomError,
    StorageError,
    TranscodeError,
    UnparsableError,
)
from hostd.intake.changes import rewrite
from hostd.intake.filtering import Judgement, ReceivedFilters
from hostd.intake.ingest import Aim, Policy, decide
from hostd.intake.ingest_workers import IngestWorkers, Job
from hostd.intake.reception import Complete, DataSetReception, FileReception, Manner, Received
from hostd.locks import KeyedLocks

_log = structlog.get_logger(__name__)

T = TypeVar("T")

_MODALITY = 0x00080060
_PIECE = 1 << 20

AS_RECEIVED = Policy()
"""Nothing is transcoded on ingest."""

NameSender = Callable[[Origin], str | None]
"""Tells the configured name of the modality that sent an instance, if it has one."""


QuietOf = Callable[[str], float]
"""Tells the quiet time, in seconds, of what has that value of Modality (0008,0060)."""


class Intake:
    """Takes instances in for every face.

    What `filters` say of an instance that has wholly arrived is done first, before it is stored or acknowledged. With `workers`, what `policy` says is transcoded: before the acknowledgement where that takes at most `ack_budget_s` seconds, 0 being
    never, otherwise afterwards. While there is no room (`has_room`) nothing is taken in, and what is stored stays within its `allowance`.
    """

    def __init__(
        self,
        archive: Archive,
        *,
        on_conflict: OnConflict,
        name_sender: NameSender,
        policy: Policy = AS_RECEIVED,
        workers: IngestWorkers | None = None,
        ack_budget_s: float = 5.0,
        filters: ReceivedFilters | None = None,
        quiet_of: QuietOf = lambda _modality: 60.0,
        has_room: Callable[[], bool] = lambda: True,
        allowance: Allowance | None = None,
    ) -> None:
        self._archive = archive
        self._on_conflict = on_conflict
        self._name_sender = name_sender
        self._policy = policy
        self._workers = workers
        self._ack_budget_s = ack_budget_s
        self._filters = filters
        self._quiet_of = quiet_of
        self._has_room = has_room
        self._allowance = allowance or Allowance(archive, Storage)
        self._locks = KeyedLocks()
        self._manner = Manner(
            Memory(),
            hashes_whole=bool(policy.targets),  # receipts tell of whole files
            # Where most of what comes is soon replaced by what is made of it, the disk need not begin with it.
            hastens=workers is None or not policy.targets or ack_budget_s <= 0,
        )

    def receive(
        self, *, sop_class_uid: str, sop_instance_uid: str, transfer_syntax: str, origin: Origin
    ) -> DataSetReception:
        """Begin to receive a data set whose identity a C-STORE request gave. Raises `StorageError`."""
        self._require_room()
        return DataSetReception(
            self._archive.blobs.create(),
            self._keep_from(origin),
            self._manner,
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax=transfer_syntax,
            source_aet=origin.calling_aet,
        )

    def receive_file(self, *, origin: Origin, look: Callable[[Header], None] | None = None) -> FileReception:
        """Begin to receive a DICOM file. Raises `StorageError`.

        `look` sees the header of a whole file before it is stored, and raises a `ReceptionError` for one that is not to be.
        """
        self._require_room()
        keep = self._keep_from(origin)
        if look is None:
            return self._file_reception(keep)

        def looked_at(complete: Complete) -> Received:
            try:
                look(complete.header)
            except BaseException:
                complete.file.abandon()
                raise
            return keep(complete)

        return self._file_reception(looked_at)

    def _file_reception(self, keep: Callable[[Complete], Received]) -> FileReception:
        return FileReception(self._archive.blobs.create(), keep, self._manner)

    def _require_room(self) -> None:
        if not self._has_room():
            raise NoRoomError("the disk is nearly full; nothing more is taken in until there is room")

    def produced(self, file: Path, origin: Origin) -> Arrival:
        """Copy what a script made into a file of the archive's own, safely, and return what `enter_produced` takes `within_limits`.

        Filters and transcoding on ingest are for what is received. Raises `StorageError`, or `UnparsableError` for what is no DICOM file.
        """
        taken: list[Complete] = []

        def take(complete: Complete) -> Received:
            taken.append(complete)
            identity = complete.header.identity
            return Received(identity.instance, identity.patient, identity.study, identity.series, "stored")

        reception = self._file_reception(take)
        try:
            with file.open("rb") as opened:
                while piece := opened.read(_PIECE):
                    reception.write(piece)
            reception.finish()
            taken[0].file.seal()
            arrival = self._arrival(taken[0], origin)
        except BaseException:
            reception.abandon()
            raise
        taken[0].file.close()
        return arrival

    def within_limits(self, arrivals: Sequence[Arrival]) -> Write:
        """Return what does the transaction that enters what was produced, and makes room for it. It raises `LimitReachedError`: then nothing was entered."""
        size, patient = sum(one.blob.size for one in arrivals), arrivals[0].header.identity.patient
        return partial(self._allowance.enter, size=size, patient=patient, urgent=False)

    def enter_produced(
        self, connection: Connection, arrival: Arrival, *, in_place: bool = False
    ) -> tuple[Outcome, str]:
        """Enter what was made, in the caller's transaction; return what became of it, and Orthanc's identifier of the instance.

        What was made of an instance to stand `in_place` of it is its current content from now on, whatever is done with conflicts.
        """
        outcome = receiving.take_in(connection, arrival, "newest" if in_place else self._on_conflict)
        return outcome, _identifier(connection, arrival, outcome)

    def _arrival(self, complete: Complete, origin: Origin, filtering: Filtering | None = None) -> Arrival:
        """Return the arrival of an instance. Its file stays open, and need not be on stable storage yet."""
        file, header = complete.file, complete.header
        return Arrival(
            header,
            Blob(file.name, file.size, complete.digest, header.transfer_syntax),
            complete.data_set_sha256,
            origin,
            self._archive.clock.now(),
            filtering=filtering,
            quiet_s=self._quiet_of(header.text(_MODALITY)),
            is_there=self._archive.blobs.holds,
        )

    def _keep_from(self, origin: Origin) -> Callable[[Complete], Received]:
        return lambda complete: self._keep(complete, replace(origin, modality=self._name_sender(origin)))

    def _keep(self, complete: Complete, origin: Origin) -> Received:
        """Put file, row and event on stable storage; only then is the instance received.

        When the commit fails or its fate is unknown, the files stay for the sweep: a row may speak of them.
        """
        judgement = self._judge(complete, origin)
        filtering = None
        if judgement is not None:
            received, (complete, judgement) = complete, self._changed(complete, judgement)
            kind: dict[str, Kind] = {"accept": "filtered_instance", "discard": "discarded_instance"}
            filtering = self._filtering(received, origin, judgement, kind.get(judgement.verdict, "refused_instance"))
            if judgement.verdict != "accept":
                return self._turned_away(received, judgement, filtering)
        try:
            arrival = self._arrival(complete, origin, filtering)
        except BaseException:
            complete.file.abandon()
            raise
        try:
            outcome, instance = self._enter(arrival, complete.file)
        except LimitReachedError:  # nothing was entered
            self._archive.blobs.unlink(arrival.blob.name)
            raise
        finally:
            complete.file.close()
        identity = complete.header.identity
        if DETAIL.is_told:
            _log.debug(
                "an instance came", sop_instance_uid=identity.sop_instance_uid, instance=instance, outcome=outcome, bytes=arrival.blob.size,
                transfer_syntax=arrival.blob.transfer_syntax, kind=origin.kind, ip=origin.ip, association=origin.association,
            )  # fmt: skip
        if outcome == "refused":
            raise ConflictError(
                f'instance {identity.sop_instance_uid} is stored with other content, and on_conflict is "refuse"'
            )
        return Received(instance, identity.patient, identity.study, identity.series, outcome)

    # -- filters

    def _judge(self, complete: Complete, origin: Origin) -> Judgement | None:
        if self._filters is None:
            return None
        try:
            return self._filters.received(complete.header, origin, complete.file.path)
        except BaseException:
            complete.file.abandon()
            raise

    def _changed(self, complete: Complete, judgement: Judgement) -> tuple[Complete, Judgement]:
        """Return the instance as filters want it, in a file of its own; where that cannot be, it is refused."""
        if not judgement.changes:
            return complete, judgement
        result = None
        try:
            result = self._archive.blobs.create()
            rewritten = rewrite(complete, judgement.changes, result, self._archive.clock.now())
        except BaseException as error:
            if result is not None:
                result.abandon()
            if isinstance(error, (ValueError, TranscodeError, UnparsableError)):
                return complete, judgement.failed(f"what filters want changed cannot be written: {error}")
            complete.file.abandon()
            raise
        (result if rewritten is None else complete.file).abandon()
        return (complete if rewritten is None else rewritten), judgement

    def _filtering(self, received: Complete, origin: Origin, judgement: Judgement, kind: Kind) -> Filtering:
        return Filtering(
            kind, received.header.encode(), received.data_set_sha256, origin, self._archive.clock.now(), judgement.runs
        )

    def _turned_away(self, received: Complete, judgement: Judgement, filtering: Filtering) -> Received:
        """Keep nothing of an instance. A discard is answered with success once its row is committed (P1)."""
        received.file.abandon()
        identity = received.header.identity
        _log.warning(
            "a filter failed, so an instance was refused" if judgement.has_failed
            else "an instance was discarded by a filter" if judgement.verdict == "discard"
            else "an instance was refused by a filter",
            script=judgement.script, sop_instance_uid=identity.sop_instance_uid, reason=judgement.reason,
        )  # fmt: skip
        if judgement.verdict == "discard":
            self._note(filtering, identity.instance)
            return Received(identity.instance, identity.patient, identity.study, identity.series, "filtered out")
        if judgement.has_failed:
            try:
                self._note(filtering, identity.instance)
            except StorageError as error:  # the refusal stands, and its reason is in the log
                _log.error("a filter's failure could not be entered", reason=str(error))
        # What failed inside of a script is for its owner, not for the sender.
        reason = "it failed; the log of hostd says how" if judgement.has_failed else judgement.reason
        raise FilterRefusedError(f"filter {judgement.script}: {reason}", judgement.status)

    def _note(self, filtering: Filtering, instance: str) -> None:
        self._archive.writer.do(lambda c: filterings.enter(c, filtering, instance), urgent=True)

    # -- what is kept

    def _enter(self, arrival: Arrival, file: BlobFile) -> tuple[Outcome, str]:
        """Return what became of it, and Orthanc's identifier of the instance that it is, or is a repeat of."""
        aim = decide(arrival.header, arrival.origin, self._policy).aim
        if aim is None or self._workers is None:
            _seal(file)
            return self._as_received(arrival)
        if aim.options is not None:
            arrival = replace(arrival, options=aim.options.canonical(), keep_original=aim.keep_original)
        # Of two that bring the same at one time, the second is a repeat of the first, and need not be transcoded.
        with self._locks.holding((arrival.header.identity.instance, arrival.content)):
            return self._ingest(arrival, aim, self._workers, file)

    def _as_received(self, arrival: Arrival) -> tuple[Outcome, str]:
        def unit(connection: Connection) -> tuple[Outcome, str]:
            outcome = receiving.take_in(connection, arrival, self._on_conflict)
            return outcome, _identifier(connection, arrival, outcome)

        outcome, instance = self._commit(unit, arrival, arrival.blob.name)
        if outcome not in receiving.KEPT:
            self._archive.blobs.unlink(arrival.blob.name)
        return outcome, instance

    def _ingest(self, arrival: Arrival, aim: Aim, workers: IngestWorkers, file: BlobFile) -> tuple[Outcome, str]:
        """Transcode before the acknowledgement where that can be done in time, otherwise afterwards."""
        identity = arrival.header.identity.instance
        on_conflict = self._on_conflict if aim.options is None else lossy_ingests.beside(self._on_conflict)
        with self._archive.read() as connection:
            foreseen = receiving.foresee(connection, identity, arrival.content, on_conflict, arrival.is_there)
        job = None
        if foreseen in receiving.KEPT and self._ack_budget_s > 0:
            job = workers.submit(arrival.blob, arrival.content, aim, arrival.header)
        ended = job.wait(self._ack_budget_s) if job is not None else None
        if job is None or ended is None:
            return self._put_off(arrival, aim, workers, job, file)
        return self._take_in_ended(arrival, workers, job, ended, file)

    def _take_in_ended(
        self, arrival: Arrival, workers: IngestWorkers, job: Job, ended: Ended, file: BlobFile
    ) -> tuple[Outcome, str]:
        """Enter what was made in time. The file that was received gets to stable storage only where a row will name it."""
        files = [ended.product.name] if isinstance(ended, Made) else []
        if not files or job.aim.options is not None:
            files.append(arrival.blob.name)

        def unit(connection: Connection) -> tuple[Outcome, str, frozenset[str]]:
            outcome = ingests.take_in_ended(connection, arrival, self._on_conflict, ended, job.aim.transform)
            return outcome, _identifier(connection, arrival, outcome), ingests.wanted(connection, files)

        try:
            if file.name in files:
                _seal(file)
            outcome, instance, wanted = self._commit(unit, arrival, *files)
        except LimitReachedError:  # nothing was entered
            for name in {*files} - {arrival.blob.name}:
                self._archive.blobs.unlink(name)
            raise
        finally:
            workers.entered(job)
        for name in {*files, arrival.blob.name} - wanted:
            self._archive.blobs.unlink(name)
        return outcome, instance

    def _put_off(
        self, arrival: Arrival, aim: Aim, workers: IngestWorkers, job: Job | None, file: BlobFile
    ) -> tuple[Outcome, str]:
        """Take the instance in as received; what runs for it goes on, and ends the row."""

        def unit(connection: Connection) -> tuple[Outcome, int | None, str]:
            outcome, number = ingests.take_in_pending(connection, arrival, self._on_conflict, aim.target.uid)
            return outcome, number, _identifier(connection, arrival, outcome)

        try:
            _seal(file)
            outcome, number, instance = self._commit(unit, arrival, arrival.blob.name)
        except BaseException:
            if job is not None:
                workers.withdraw(job)
            raise
        if number is not None:
            workers.adopt(number, job)
            return outcome, instance
        if job is not None:
            workers.withdraw(job)
        self._archive.blobs.unlink(arrival.blob.name)
        return outcome, instance

    def _commit(self, unit: Callable[[Connection], T], arrival: Arrival, *files: str) -> T:
        return self._allowance.enter(unit, size=arrival.blob.size, patient=arrival.header.identity.patient, blobs=files)


def _seal(file: BlobFile) -> None:
    """Put the file of an instance on stable storage; one that cannot be is given up. Raises `StorageError`."""
    try:
        file.seal()
    except BaseException:
        file.abandon()
        raise


def _identifier(connection: Connection, arrival: Arrival, outcome: Outcome) -> str:
    """Return Orthanc's identifier of the instance that an arrival became, or is a repeat of."""
    identity = arrival.header.identity.instance
    if arrival.options is None and outcome != "already stored":
        return identity
    made = derived.find(connection, identity, arrival.content)
    return made.header.identity.instance if made is not None else identity
