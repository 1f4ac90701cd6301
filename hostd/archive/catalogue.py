"""Patients, studies and series as rows of their own, by which they are found: a row as long as there is an instance.

Each has the attributes of its level as the instance has them that came last of those that are there, a patient the time of what came last, too. The columns with keys hold text as it is looked for,
folded (`matching.fold`) and cut to `KEY_LENGTH` characters: what they find is a candidate, and its attributes decide.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Row

from hostd.archive import rows
from hostd.archive import tables as t
from hostd.dicom.identity import Identity
from hostd.dicom.matching import digits, fold

KEY_LENGTH = 64
SAME_TIME_S = 1.0
"""Seconds within which a patient's time is not brought up to date, so that a study does not write it with each of its instances."""
TABLES = {"patient": t.patient, "study": t.study, "series": t.series}


def key(text: str) -> str:
    """Return text as it stands in a column of keys."""
    return fold(text.strip(" \0"))[:KEY_LENGTH]


def has_patient_id(text: str) -> ColumnElement[bool]:
    """Return the condition on `instance` that its patient ID is this, for which an index is walked."""
    alike = sa.select(t.patient.c.id).where(t.patient.c.patient_id_key == key(text))
    return sa.and_(t.instance.c.patient.in_(alike), t.instance.c.patient_id == text)


def has_accession_number(text: str) -> ColumnElement[bool]:
    """Return the condition on `instance` that its accession number is this, for which an index is walked."""
    alike = sa.select(t.study.c.id).where(t.study.c.accession_number_key == key(text))
    return sa.and_(t.instance.c.study.in_(alike), t.instance.c.accession_number == text)


def enter(connection: Connection, identity: Identity, attributes: dict[str, dict[str, str]], at: float) -> None:
    """Note that an instance came with these attributes by level. Call it in the transaction that enters the instance."""
    ids = {"patient": identity.patient, "study": identity.study, "series": identity.series}
    known = {level: (digest, last_at) for level, digest, last_at in _KNOWN.rows(connection, **ids)}
    for level, table in TABLES.items():
        digest = _digest(attributes[level])
        if level in known and known[level][0] == digest:
            if level == "patient" and at - known[level][1] >= SAME_TIME_S:
                _CAME.change(connection, patient=ids[level], at=at)
            continue
        values = row(identity, level, attributes[level]) | ({"last_at": at} if level == "patient" else {})
        if level in known:
            connection.execute(sa.update(table).where(table.c.id == ids[level]).values(values))
        else:
            connection.execute(sa.insert(table).values(values))


def renew(connection: Connection, level: str, identifier: str) -> None:
    """Give a patient, study or series the attributes of the instance of it that came last, as that has them now."""
    one = _newest(connection, level, identifier)
    assert one is not None
    _describe(connection, level, identifier, one)


def lose(connection: Connection, level: str, identifier: str, attributes: dict[str, dict[str, str]]) -> bool:
    """Note that an instance with these attributes is gone; return whether another is left, as which the level is described then."""
    one = _newest(connection, level, identifier)
    if one is None:
        connection.execute(sa.delete(TABLES[level]).where(TABLES[level].c.id == identifier))
        return False
    if one.attributes[level] != attributes[level]:
        _describe(connection, level, identifier, one)
    return True


def _newest(connection: Connection, level: str, identifier: str) -> Row[Any] | None:
    """Return the instance of a level that was told last, or any, where none was yet."""
    own = t.instance.c
    mine = sa.select(t.instance).where(own[level] == identifier).limit(1)
    told = connection.execute(mine.where(own.told.is_not(None)).order_by(own.told.desc())).first()
    return told or connection.execute(mine).first()


def _describe(connection: Connection, level: str, identifier: str, one: Row[Any]) -> None:
    table = TABLES[level]
    identity = Identity(one.patient_id, one.study_instance_uid, one.series_instance_uid, one.sop_instance_uid)
    values = row(identity, level, one.attributes[level])
    connection.execute(sa.update(table).where(table.c.id == identifier).values(values))


def row(identity: Identity, level: str, attributes: dict[str, str]) -> dict[str, Any]:
    """Return the row of a level."""
    match level:
        case "patient":
            own = {
                "patient_id_key": key(identity.patient_id),
                "name_key": key(attributes.get("PatientName", "")),
            }
        case "study":
            own = {
                "patient": identity.patient,
                "study_instance_uid": identity.study_instance_uid,
                "date_key": digits(attributes.get("StudyDate", ""))[:8],
                "accession_number_key": key(attributes.get("AccessionNumber", "")),
            }
        case _:
            own = {
                "patient": identity.patient,
                "study": identity.study,
                "series_instance_uid": identity.series_instance_uid,
                "modality_key": key(attributes.get("Modality", "")),
            }
    ids = {"patient": identity.patient, "study": identity.study, "series": identity.series}
    return own | {"id": ids[level], "attributes": attributes, "digest": _digest(attributes)}


def _digest(attributes: dict[str, str]) -> str:
    return hashlib.blake2b(msgspec.json.encode(attributes), digest_size=12).hexdigest()


# Made once: they are executed for each instance that comes.
_KNOWN = rows.Prepared(
    sa.union_all(
        *(
            sa.select(
                sa.literal_column(f"'{level}'").label("level"),
                table.c.digest,
                t.patient.c.last_at if level == "patient" else sa.literal_column("0.0"),
            ).where(table.c.id == sa.bindparam(level))
            for level, table in TABLES.items()
        )
    )
)
_CAME = rows.Prepared(
    sa.update(t.patient).where(t.patient.c.id == sa.bindparam("patient")).values(last_at=sa.bindparam("at"))
)
