"""Asking for deliveries from outside of a node: of files that are not in the archive, or of what is; and following what becomes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import deliveries, instances
from hostd.archive import tables as t
from hostd.archive.blobs import SENDING, FolderBlobs
from hostd.archive.records import Blob
from hostd.config.place import Place
from hostd.dicom.header import Header, read_header
from hostd.dicom.part10 import data_set_offset
from hostd.intake.copying import copy

FINAL = ("delivered", "warning", "present", "failed", "discarded")

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Prepared:
    """A file that is safe in the archive's folder, and that no row names yet."""

    blob: Blob
    header: Header
    content: str


@dataclass(slots=True)
class Outlook:
    """How a number of deliveries stand: counts by state, why some failed, and what was last said of those that wait."""

    states: Counter[str] = field(default_factory=Counter)
    failed: dict[int, str] = field(default_factory=dict)
    waiting_why: str | None = None

    @property
    def ended(self) -> int:
        """How many have ended."""
        return sum(self.states[state] for state in FINAL)


def prepare(place: Place, file: Path) -> Prepared:
    """Copy a DICOM file into the archive's folder, on stable storage. Raises `UnparsableError`, `StorageError` and `OSError`."""
    blobs = FolderBlobs(place.blobs, SENDING)
    with file.open("rb") as source:
        start = data_set_offset(source)
        size = file.stat().st_size
        header = read_header(source, offset=start.offset, transfer_syntax=start.transfer_syntax_uid, size=size)
        written = blobs.create()
        try:
            blob, content = copy(source, written, header, offset=start.offset)
            blobs.sync_directories([written.name])
        except BaseException:
            written.abandon()
            raise
        written.close()
    return Prepared(blob, header, content)


def ask_for_file(
    connection: Connection, prepared: Prepared, destination: str, priority: int, now: float
) -> tuple[int, bool]:
    """Ask for a delivery of a file; return its number, and whether it is new. The file goes when nothing needs it any more."""
    header = prepared.header
    number, is_new = deliveries.ask(
        connection,
        instance=header.identity.instance,
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        destination=destination,
        content=prepared.content,
        blob=prepared.blob.name,
        priority=priority,
        now=now,
    )
    if is_new:
        instances.add_blob(connection, prepared.blob, now)
        connection.execute(sa.update(t.blob).where(t.blob.c.name == prepared.blob.name).values(released=True))
    return number, is_new


def ask_for_study(connection: Connection, study: str, destination: str, priority: int, now: float) -> list[int]:
    """Ask for deliveries of all instances of a study (Study Instance UID) of the archive; return their numbers."""
    found = connection.execute(sa.select(t.instance).where(t.instance.c.study_instance_uid == study)).all()
    return [
        deliveries.ask(
            connection,
            instance=row.id,
            sop_instance_uid=row.sop_instance_uid,
            sop_class_uid=row.sop_class_uid,
            destination=destination,
            content=row.received_sha256,
            blob=row.blob,
            priority=priority,
            now=now,
        )[0]
        for row in found
    ]


def outlook(connection: Connection, numbers: Sequence[int]) -> Outlook:
    """Return how these deliveries stand."""
    found = Outlook()
    columns = t.delivery.c.id, t.delivery.c.state, t.delivery.c.last_error
    for at in range(0, len(numbers), _AT_ONCE):
        some = numbers[at : at + _AT_ONCE]
        for row in connection.execute(sa.select(*columns).where(t.delivery.c.id.in_(some))):
            found.states[row.state] += 1
            if row.state in {"failed", "discarded"}:
                found.failed[row.id] = row.last_error or ""
            elif row.state not in FINAL and row.last_error:
                found.waiting_why = row.last_error
    return found
