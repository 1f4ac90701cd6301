"""Intake: receive, make durable, enter, answer, in this order (P1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hostd.archive import instances
from hostd.archive.archive import Archive
from hostd.archive.instances import Arrival, OnConflict
from hostd.archive.records import Blob, Origin
from hostd.errors import ConflictError
from hostd.intake.reception import Complete, DataSetReception, FileReception, Received

NameSender = Callable[[Origin], str | None]
"""Tells the configured name of the modality that sent an instance, if it has one."""


class Intake:
    """Takes instances in for every face."""

    def __init__(self, archive: Archive, *, on_conflict: OnConflict, name_sender: NameSender) -> None:
        self._archive = archive
        self._on_conflict = on_conflict
        self._name_sender = name_sender

    def receive(
        self, *, sop_class_uid: str, sop_instance_uid: str, transfer_syntax: str, origin: Origin
    ) -> DataSetReception:
        """Begin to receive a data set whose identity a C-STORE request gave. Raises `StorageError`."""
        return DataSetReception(
            self._archive.blobs.create(),
            self._keep_from(origin),
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax=transfer_syntax,
            source_aet=origin.calling_aet,
        )

    def receive_file(self, *, origin: Origin) -> FileReception:
        """Begin to receive a DICOM file. Raises `StorageError`."""
        return FileReception(self._archive.blobs.create(), self._keep_from(origin))

    def _keep_from(self, origin: Origin) -> Callable[[Complete], Received]:
        return lambda complete: self._keep(complete, replace(origin, modality=self._name_sender(origin)))

    def _keep(self, complete: Complete, origin: Origin) -> Received:
        """Put file, row and event on stable storage; only then is the instance received.

        When the commit fails or its fate is unknown, the file stays for the sweep: a row may speak of it.
        """
        file = complete.file
        try:
            file.seal()
        except BaseException:
            file.abandon()
            raise
        blob = Blob(file.name, file.size, complete.file_sha256, complete.header.transfer_syntax)
        arrival = Arrival(complete.header, blob, complete.data_set_sha256, origin, self._archive.clock.now())
        try:
            outcome = self._archive.writer.do(
                lambda c: instances.take_in(c, arrival, self._on_conflict),
                blobs=[blob.name],
                topics=("event",),
                urgent=True,
            )
        finally:
            file.close()
        identity = complete.header.identity
        if outcome in {"already stored", "refused"}:
            self._archive.blobs.unlink(blob.name)
        if outcome == "refused":
            raise ConflictError(
                f'instance {identity.sop_instance_uid} is stored with other content, and on_conflict is "refuse"'
            )
        return Received(identity.instance, identity.patient, identity.study, identity.series, outcome)
