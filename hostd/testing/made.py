"""Made instances: small, valid, and whatever a test wants them to be."""

from __future__ import annotations

import hashlib

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import receiving
from hostd.archive import tables as t
from hostd.archive.archive import Archive
from hostd.archive.receiving import Arrival, OnConflict, Outcome
from hostd.archive.records import Blob, Instance, Origin
from hostd.dicom.element_values import Elements
from hostd.dicom.header import Header

STUDY, SERIES = "1.2.3", "1.2.3.4"
CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"


def header(
    sop_instance_uid: str = "1.2.3.4.5", *, patient_id: str = "P1", study: str = STUDY, series: str = SERIES
) -> Header:
    """Return the header of a made CT image without tags worth mentioning. `study` and `series` are UIDs."""
    return Header(
        patient_id=patient_id,
        study_instance_uid=study,
        series_instance_uid=series,
        sop_instance_uid=sop_instance_uid,
        sop_class_uid=CT_IMAGE_STORAGE,
        transfer_syntax=EXPLICIT,
        has_pixels=True,
        frames=1,
        size=4,
        tags={0x00080060: ("CS", ["CT"]), 0x00080018: ("UI", [sop_instance_uid]), 0x00100020: ("LO", [patient_id])},
    )


def arrival(
    archive: Archive,
    sop_instance_uid: str = "1.2.3.4.5",
    *,
    content: bytes = b"data",
    origin: Origin | None = None,
    patient_id: str = "P1",
    study: str = STUDY,
    series: str = SERIES,
    quiet_s: float = 60.0,
    silent: bool = False,
) -> Arrival:
    """Return a made instance whose data set is `content`, in a file of the archive, to be entered."""
    file = archive.blobs.create()
    file.write(content)
    file.seal()
    file.close()
    digest = hashlib.sha256(content).hexdigest()
    return Arrival(
        header(sop_instance_uid, patient_id=patient_id, study=study, series=series),
        Blob(file.name, len(content), digest, EXPLICIT),
        digest,
        origin or Origin("dicom", calling_aet="CT1"),
        archive.clock.now(),
        quiet_s=quiet_s,
        silent=silent,
    )


def arrive(
    archive: Archive,
    sop_instance_uid: str = "1.2.3.4.5",
    *,
    content: bytes = b"data",
    origin: Origin | None = None,
    on_conflict: OnConflict = "newest",
    study: str = STUDY,
    series: str = SERIES,
    quiet_s: float = 60.0,
    silent: bool = False,
) -> Outcome:
    """Enter a made instance whose data set is `content`, as intake would."""
    one = arrival(
        archive, sop_instance_uid, content=content, origin=origin, study=study, series=series, quiet_s=quiet_s, silent=silent
    )  # fmt: skip
    outcome = archive.writer.do(
        lambda c: receiving.take_in(c, one, on_conflict), blobs=[one.blob.name], topics=("event",)
    )
    if outcome in {"already stored", "refused"}:
        archive.blobs.unlink(one.blob.name)
    return outcome


def offer(archive: Archive, numbers: range, *, modality: str = "CT", large: int | None = None) -> None:
    """Enter made instances in one transaction, as rows alone: their files do not exist. Of series 1, instances of these numbers.

    Each has its number as Instance Number; `large` is the tag of an element whose value is too large to travel with the event.
    """
    arrivals = []
    for number in numbers:
        uid = f"{SERIES}.{number}"
        own = {0x00080060: ("CS", [modality]), 0x00200013: ("IS", [str(number)])}
        made = header(uid)
        tags: Elements = made.tags | own | ({large: ("LT", None)} if large is not None else {})
        digest = hashlib.sha256(uid.encode()).hexdigest()
        blob = Blob(f"made/{number}", 4, digest, EXPLICIT)
        origin = Origin("dicom", calling_aet="CT1")
        arrivals.append(
            Arrival(msgspec.structs.replace(made, tags=tags), blob, digest, origin, archive.clock.now(), quiet_s=1e6)
        )

    def enter(connection: Connection) -> None:
        for arrival in arrivals:
            receiving.take_in(connection, arrival, "newest")

    archive.writer.do(enter, topics=("event",))


def promise(connection: Connection, one: Instance) -> None:
    """Have storage commitment of an instance promised to the modality `pacs`."""
    connection.execute(
        sa.insert(t.promise).values(
            instance=one.id, sop_instance_uid=one.sop_instance_uid, content=one.received_sha256, modality="pacs",
            transaction_uid="1.9", at=0.0,
        )
    )  # fmt: skip
