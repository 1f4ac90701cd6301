"""What receiving costs when the index holds much already: the same instances into an index of few and into one of many made rows."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import catalogue, instances
from hostd.archive import tables as t
from hostd.archive.archive import Archive
from hostd.archive.records import Origin
from hostd.clock import SystemClock
from hostd.dicom.part10 import data_set_offset
from hostd.intake.intake import Intake
from hostd.testing.made import header

_CHUNK = 10_000
_IN_A_SERIES = 100
_IN_A_STUDY = 500
_TURN = 20
_FAMILY = ("Fischer", "Garcia", "Ivanov", "Jensen", "Kowalska", "Lindqvist", "Moreau", "Nakamura", "Okafor", "Rossi")
_GIVEN = ("Anna", "Boris", "Carla", "David", "Elena", "Farid", "Greta")


@dataclass(frozen=True, slots=True)
class Grown:
    """Rows that were there, and what each instance then cost: milliseconds of processor time, and on the wall."""

    rows: int
    cpu_ms: float
    wall_ms: float


class Index:
    """An archive with so many made instances as rows; their files do not exist."""

    def __init__(self, folder: Path, rows: int) -> None:
        folder.mkdir(mode=0o700)
        self.rows = rows
        self.archive = Archive(folder, "benchmark", SystemClock())
        self.intake = Intake(self.archive, on_conflict="newest", name_sender=lambda _origin: None)
        for begin in range(0, rows, _CHUNK):
            numbers = range(begin, min(begin + _CHUNK, rows))
            self.archive.writer.do(lambda c, numbers=numbers: _fill(c, numbers))  # type: ignore[misc]  # keeps the loop's value

    def receive(self, file: Path) -> None:
        """Take a file's data set as C-STORE brings it."""
        with file.open("rb") as opened:
            start = data_set_offset(opened)
            data_set = opened.read()
        origin = Origin("dicom", calling_aet="BENCHMARK", called_aet="HOSTD", ip="127.0.0.1")
        reception = self.intake.receive(
            sop_class_uid=start.meta[0x00020002], sop_instance_uid=start.meta[0x00020003],
            transfer_syntax=start.transfer_syntax_uid, origin=origin,
        )  # fmt: skip
        reception.write(data_set)
        reception.finish()

    def count(self) -> int:
        """Return how many instances the index holds."""
        with self.archive.read() as connection:
            return instances.count(connection)


def measured(folder: Path, files: Sequence[Path], sizes: Sequence[int], say: Callable[[str], None]) -> list[Grown]:
    """Receive the files into an index of each size, in turns of a few. Raises `RuntimeError` when one is not there afterwards."""
    opened: list[Index] = []
    try:
        for rows in sizes:
            opened.append(Index(folder / f"{rows}", rows))
            say(f"an index of {rows} made instances is there")
        cpu, wall = dict.fromkeys(sizes, 0.0), dict.fromkeys(sizes, 0.0)
        turns = [files[begin : begin + _TURN] for begin in range(0, len(files), _TURN)]
        for number, turn in enumerate(turns):
            for index in opened if number % 2 else opened[::-1]:
                used, began = time.process_time(), time.monotonic()
                for file in turn:
                    index.receive(file)
                if number:  # the first turn fills caches
                    cpu[index.rows] += time.process_time() - used
                    wall[index.rows] += time.monotonic() - began
        for index in opened:
            if index.count() != index.rows + len(files):
                raise RuntimeError(f"the index of {index.rows} instances does not hold all that was received")
    finally:
        for index in opened:
            index.archive.close()
    count = len(files) - len(turns[0])
    return [Grown(rows, 1000 * cpu[rows] / count, 1000 * wall[rows] / count) for rows in sizes]


def _fill(connection: Connection, numbers: range) -> None:
    """Enter instances in the way that they stand in an index that was used for long: the identifiers in no order."""
    blobs, rows, events = [], [], []
    stable: dict[tuple[str, str], dict[str, object]] = {}
    levels: dict[str, dict[str, dict[str, object]]] = {level: {} for level in catalogue.TABLES}
    for number in numbers:
        study, series = f"2.25.1.{number // _IN_A_STUDY}", f"2.25.2.{number // _IN_A_SERIES}"
        patient_id, uid = f"P{number // _IN_A_STUDY}", f"2.25.3.{number}"
        made = header(uid, patient_id=patient_id, study=study, series=series)
        of, digest = made.identity, hashlib.sha256(uid.encode()).hexdigest()
        name = f"made/{digest[:2]}/{digest[:32]}"
        origin = {"kind": "dicom", "calling_aet": "CT1", "called_aet": "HOSTD", "ip": "10.0.0.1"}
        at = 1.7e9 + number
        attributes = _attributes(number, patient_id)
        blobs.append({"name": name, "size": 526_000, "sha256": digest, "transfer_syntax": made.transfer_syntax, "created_at": at})  # fmt: skip
        rows.append({
            "id": of.instance, "patient": of.patient, "study": of.study, "series": of.series, "patient_id": patient_id,
            "study_instance_uid": study, "series_instance_uid": series, "sop_instance_uid": uid,
            "sop_class_uid": made.sop_class_uid, "attributes": attributes, "blob": name, "received_sha256": digest,
            "origin": origin, "metadata": {}, "received_at": at, "told": number + 1,
        })  # fmt: skip
        events.append({
            "number": number + 1, "kind": "stored_instance", "subject": of.instance, "study": study, "blob": name,
            "content": digest, "header": made.encode(), "origin": origin, "at": at,
        })  # fmt: skip
        for level, identifier in (("patient", of.patient), ("study", of.study), ("series", of.series)):
            stable[level, identifier] = {"level": level, "id": identifier, "announced": True}
            levels[level][identifier] = catalogue.row(of, level, attributes[level])
    connection.execute(sa.insert(t.blob), blobs)
    connection.execute(sa.insert(t.instance), rows)
    connection.execute(sa.insert(t.event), events)
    known = sa.text("INSERT INTO stable (level, id, announced) VALUES (:level, :id, :announced) ON CONFLICT DO NOTHING")
    connection.execute(known, list(stable.values()))
    for level, found in levels.items():
        table = catalogue.TABLES[level]
        connection.execute(sa.delete(table).where(table.c.id.in_(list(found))))
        connection.execute(sa.insert(table), list(found.values()))


def _attributes(number: int, patient_id: str) -> dict[str, dict[str, str]]:
    """Return the attributes of an instance: names, dates and modalities as various as they are."""
    study, series = divmod(number, _IN_A_STUDY)
    day = date(2000, 1, 1) + timedelta(days=study % 9000)
    return {
        "patient": {
            "PatientName": f"{_FAMILY[study % len(_FAMILY)]}{study}^{_GIVEN[study % len(_GIVEN)]}",
            "PatientID": patient_id, "PatientBirthDate": "19700101", "PatientSex": "O",
        },
        "study": {
            "StudyDate": f"{day:%Y%m%d}", "StudyTime": "120000", "AccessionNumber": f"A{study}",
            "StudyDescription": "Thorax", "StudyInstanceUID": f"2.25.1.{study}",
        },
        "series": {
            "Modality": "CT" if study % 10 else "OT", "Manufacturer": "MADE",
            "SeriesNumber": str(series // _IN_A_SERIES), "SeriesDescription": "axial",
            "SeriesInstanceUID": f"2.25.2.{number // _IN_A_SERIES}",
        },
        "instance": {"InstanceNumber": str(number % _IN_A_SERIES), "SOPInstanceUID": f"2.25.3.{number}"},
    }  # fmt: skip
