"""Patients, studies and series have rows of their own, by which they are found."""

import hashlib
from itertools import islice
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

from hostd.dicom.matching import digits, fold

revision = "0023"
down_revision = "0022"

_KEYS = {
    "patient": ("patient_id_key", "name_key"),
    "study": ("patient", "study_instance_uid", "date_key", "accession_number_key"),
    "series": ("patient", "study", "series_instance_uid", "modality_key"),
}
_INDEXES = {
    "patient": (("patient_id_key", "id"), ("name_key", "id")),
    "study": (("patient", "id"), ("study_instance_uid", "id"), ("date_key", "id"), ("accession_number_key", "id")),
    "series": (("study", "id"), ("series_instance_uid", "id"), ("modality_key", "study", "id")),
}
_LAST_OF_EACH_SERIES = """
    SELECT patient, study, series, patient_id, study_instance_uid, series_instance_uid, attributes FROM instance
    WHERE id = (
        SELECT one.id FROM instance AS one WHERE one.series = instance.series ORDER BY one.told DESC LIMIT 1
    )
    ORDER BY received_at
"""


def upgrade() -> None:
    """Add the tables `patient`, `study` and `series`, filled in from what is there; their indexes take the place of two of `instance`."""
    for level, names in _KEYS.items():
        op.create_table(
            level,
            sa.Column("id", sa.Text(), nullable=False),
            *(sa.Column(name, _key() if name.endswith("_key") else sa.Text(), nullable=False) for name in names),
            sa.Column("attributes", sa.JSON(), nullable=False),
            sa.Column("digest", sa.Text(), nullable=False),
            sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{level}")),
        )
    op.create_index(op.f("ix_instance_series_id"), "instance", ["series", "id"])
    _fill()
    for level, indexes in _INDEXES.items():
        for columns in indexes:
            op.create_index(op.f(f"ix_{level}_{'_'.join(columns)}"), level, list(columns))
    for name in ("patient_id", "accession_number"):
        op.drop_index(op.f(f"ix_instance_{name}"), "instance")


def _key() -> sa.types.TypeEngine[str]:
    return sa.Text(collation="C") if op.get_bind().dialect.name == "postgresql" else sa.Text()


def _fill() -> None:
    connection = op.get_bind()
    tables = {
        level: sa.table(
            level, *(sa.column(name) for name in ("id", *names, "digest")), sa.column("attributes", sa.JSON)
        )
        for level, names in _KEYS.items()
    }
    last = sa.text(_LAST_OF_EACH_SERIES).columns(attributes=sa.JSON)
    found = connection.execute(last, execution_options={"yield_per": 500})
    while some := list(islice(found, 500)):
        for level, table in tables.items():
            rows = {row["id"]: row for row in (_row(level, one) for one in some)}
            connection.execute(sa.delete(table).where(table.c.id.in_(list(rows))))
            connection.execute(sa.insert(table), list(rows.values()))


def _row(level: str, one: sa.Row[Any]) -> dict[str, object]:
    attributes = one.attributes.get(level, {})
    of = {
        "patient": one.patient,
        "study": one.study,
        "study_instance_uid": one.study_instance_uid,
        "series_instance_uid": one.series_instance_uid,
        "patient_id_key": fold(one.patient_id.strip(" \0"))[:64],
        "name_key": fold(attributes.get("PatientName", "").strip(" \0"))[:64],
        "date_key": digits(attributes.get("StudyDate", ""))[:8],
        "accession_number_key": fold(attributes.get("AccessionNumber", "").strip(" \0"))[:64],
        "modality_key": fold(attributes.get("Modality", "").strip(" \0"))[:64],
    }
    digest = hashlib.blake2b(msgspec.json.encode(attributes), digest_size=12).hexdigest()
    ids = {"id": getattr(one, level), "attributes": attributes, "digest": digest}
    return {name: of[name] for name in _KEYS[level]} | ids


def downgrade() -> None:
    """Drop them."""
    for name in ("patient_id", "accession_number"):
        op.create_index(op.f(f"ix_instance_{name}"), "instance", [name], postgresql_using="hash")
    op.drop_index(op.f("ix_instance_series_id"), "instance")
    for level in reversed(_KEYS):
        op.drop_table(level)
