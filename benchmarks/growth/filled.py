"""Indexes that hold much: made instances as rows, each with its event and a delivery that has ended; their files do not exist.

A million of them are made in SQL, which takes a fraction of what Python takes. The indexes are there meanwhile, as they are of a node: made
afterwards, their pages would all be full, and every row that comes would have to split some.
"""

# ruff: noqa: S608 - the SQL is put together of constants of this module

from __future__ import annotations

import json
import sqlite3
from datetime import date, timedelta
from pathlib import Path

from hostd.archive import catalogue
from hostd.archive.database import INDEX, bring_up_to_date, open_engine
from hostd.dicom.identity import Identity
from hostd.testing.made import CT_IMAGE_STORAGE, EXPLICIT, header

IN_A_SERIES, IN_A_STUDY = 100, 500
DESTINATION = "modality:archive"
_ATTRIBUTES = {
    "patient": {"PatientName": "Bench^Mark", "PatientBirthDate": "19700101", "PatientSex": "O"},
    "study": {"StudyDate": "20260101", "StudyTime": "120000", "AccessionNumber": "A4711", "StudyDescription": "Thorax"},
    "series": {"Modality": "CT", "Manufacturer": "MADE", "SeriesNumber": "3", "SeriesDescription": "axial"},
    "instance": {"InstanceNumber": "1"},
}
_ORIGIN = {"kind": "dicom", "calling_aet": "CT1", "called_aet": "HOSTD", "ip": "10.0.0.1"}
_CACHE_KB = 1 << 20


def fill(data: Path, rows: int) -> None:
    """Make the index of an archive that is not opened yet, with so many instances."""
    engine = open_engine(data, writes=True)
    bring_up_to_date(engine)
    with engine.begin() as connection:
        for number in range(0, rows, IN_A_SERIES):
            catalogue.enter(connection, _identity(number), _described(number), float(number))
    engine.dispose()
    raw = sqlite3.connect(data / INDEX, isolation_level=None)
    try:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE_KB}", "temp_store = MEMORY"):
            raw.execute(f"PRAGMA {pragma}").fetchall()
        raw.execute("BEGIN")
        _enter(raw, rows)
        raw.execute("COMMIT")
        raw.execute("PRAGMA journal_mode = WAL").fetchall()
    finally:
        raw.close()


def instance_id(number: int) -> str:
    """Return the identifier of one of the made instances."""
    return "-".join(f"{number * factor & 0xFFFFFFFF:08x}" for factor in _FACTORS) + f"-{number:08x}"


def content(number: int) -> str:
    """Return what stands for the SHA-256 of its data set."""
    return f"{number * _FACTORS[0] & 0xFFFFFFFF:064x}"


def blob(number: int) -> str:
    """Return the name of its file."""
    return f"made/{number * _FACTORS[0] & 0xFFFFFFFF:08x}/{number}"


def sop_instance_uid(number: int) -> str:
    """Return its UID."""
    return f"2.25.3.{number}"


def series_instance_uid(number: int) -> str:
    """Return the UID of its series."""
    return f"2.25.2.{number // IN_A_SERIES}"


def study_instance_uid(number: int) -> str:
    """Return the UID of its study."""
    return f"2.25.1.{number // IN_A_STUDY}"


def _identity(number: int) -> Identity:
    patient_id = f"P{number // IN_A_STUDY}"
    return Identity(patient_id, study_instance_uid(number), series_instance_uid(number), sop_instance_uid(number))


def _described(number: int) -> dict[str, dict[str, str]]:
    """Return the attributes of its levels: names, dates and modalities as various as they are."""
    of, study = _identity(number), number // IN_A_STUDY
    day = date(2000, 1, 1) + timedelta(days=study % 9000)
    return {
        "patient": _ATTRIBUTES["patient"]
        | {"PatientID": of.patient_id, "PatientName": f"{_FAMILY[study % 10]}{study}^Mark"},
        "study": _ATTRIBUTES["study"]
        | {"StudyInstanceUID": of.study_instance_uid, "StudyDate": f"{day:%Y%m%d}", "AccessionNumber": f"A{study}"},
        "series": _ATTRIBUTES["series"]
        | {"SeriesInstanceUID": of.series_instance_uid, "Modality": "CT" if study % 10 else "OT"},
    }


_FAMILY = ("Fischer", "Garcia", "Ivanov", "Jensen", "Kowalska", "Lindqvist", "Moreau", "Nakamura", "Okafor", "Rossi")
_FACTORS = (2654435761, 2246822519, 3266489917, 668265263)
"""Large and odd: multiples of them, modulo 2**32, come in no order, as identifiers do that are hashes."""


def _enter(raw: sqlite3.Connection, rows: int) -> None:
    raw.execute(
        "CREATE TEMP TABLE made (k INTEGER PRIMARY KEY, patient, study, series, patient_id, study_uid, series_uid)"
    )
    of_each = ((number // IN_A_SERIES, _identity(number)) for number in range(0, rows, IN_A_SERIES))
    raw.executemany(
        "INSERT INTO made VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            (k, of.patient, of.study, of.series, of.patient_id, of.study_instance_uid, of.series_instance_uid)
            for k, of in of_each
        ),
    )
    given = {
        "rows": rows, "attributes": json.dumps(_ATTRIBUTES), "origin": json.dumps(_ORIGIN), "to": DESTINATION,
        "header": header("2.25.3.1").encode(), "sop_class": CT_IMAGE_STORAGE, "syntax": EXPLICIT,
    }  # fmt: skip
    numbers = "WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n + 1 < :rows)"
    for table, columns in _ROWS.items():
        source = f"SELECT {', '.join(columns.values())} FROM n JOIN made ON k = n / {IN_A_SERIES}"
        raw.execute(f"{numbers} INSERT INTO {table} ({', '.join(columns)}) {source}", given)
    for level in ("patient", "study", "series"):
        raw.execute(f"INSERT INTO stable (level, id, announced) SELECT DISTINCT '{level}', {level}, 1 FROM made")


_ID = "printf('%08x-%08x-%08x-%08x-%08x', {}, n)".format(", ".join(f"n * {one} & 4294967295" for one in _FACTORS))
_CONTENT = f"printf('%064x', n * {_FACTORS[0]} & 4294967295)"
_BLOB = f"printf('made/%08x/%d', n * {_FACTORS[0]} & 4294967295, n)"
_UID, _AT, _NUMBER = "'2.25.3.' || n", "1.7e9 + n", "n + 1"
_ROWS = {
    "blob": {"name": _BLOB, "size": "526000", "sha256": _CONTENT, "transfer_syntax": ":syntax", "created_at": _AT},
    "instance": {
        "id": _ID, "patient": "patient", "study": "study", "series": "series", "patient_id": "patient_id", "accession_number": "'A4711'",
        "study_instance_uid": "study_uid", "series_instance_uid": "series_uid", "sop_instance_uid": _UID, "sop_class_uid": ":sop_class",
        "attributes": ":attributes", "blob": _BLOB, "received_sha256": _CONTENT, "origin": ":origin", "metadata": "'{}'",
        "received_at": _AT, "told": _NUMBER,
    },
    "event": {
        "number": _NUMBER, "kind": "'stored_instance'", "subject": _ID, "study": "study_uid", "blob": _BLOB, "content": _CONTENT,
        "header": ":header", "origin": ":origin", "at": _AT,
    },
    "delivery": {
        "id": _NUMBER, "instance": _ID, "sop_instance_uid": _UID, "sop_class_uid": ":sop_class", "destination": ":to",
        "content": _CONTENT, "blob": _BLOB, "priority": "10", "state": "'delivered'", "token": "1", "attempts": "1", "not_before": "0",
        "next_attempt_at": _AT, "created_at": _AT, "finished_at": _AT,
    },
    "attempt": {"delivery": _NUMBER, "number": "1", "at": _AT, "outcome": "'delivered'", "answer": "'Success'"},
    "label": {"level": "'instance'", "id": _ID, "label": "'seen'"},
}  # fmt: skip
"""Of each table, column → expression in `n` and in what `made` says of its series."""
