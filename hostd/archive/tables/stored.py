"""What is stored: files, instances, the patients, studies and series by which they are found, and what is known of each."""

from __future__ import annotations

import sqlalchemy as sa

from hostd.archive.tables.columns import KEY, NUMBER, metadata

_UNPROTECTED = "NOT protected"
IS_UNPROTECTED = sa.text("NOT patient.protected")
"""Of patients that may be recycled; written out, as `IS_DUE`."""
IS_RELEASED = sa.text("blob.released")
"""Of files that were let go; written out, as `IS_DUE`."""

installation = sa.Table(  # what the nodes on this index share, and no listing shows
    "installation",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
)

blob = sa.Table(
    "blob",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),  # or another digest: see digests.py
    sa.Column("transfer_syntax", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="present"),  # present | missing
    sa.Column("released", sa.Boolean, nullable=False, server_default=sa.false()),  # the collector looks at it
    sa.Column("unpinned_at", sa.Float),  # since when nothing pins it
    sa.Column("recycled", sa.Boolean, nullable=False, server_default=sa.false()),  # let go to make room: no trash
    sa.Index("ix_blob_released", "released", sqlite_where=sa.text("released"), postgresql_where=sa.text("released")),
)

holding = sa.Table(  # running sums of what is stored, which the database keeps by itself (holding.py), and what was done to stay within limits
    "holding",
    metadata,
    sa.Column("what", sa.Text, primary_key=True),  # bytes | patients | recycled_patients | recycled_instances | refused
    sa.Column("value", sa.BigInteger, nullable=False),
)

instance = sa.Table(
    "instance",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("patient", sa.Text, nullable=False),
    sa.Column("study", sa.Text, nullable=False),
    sa.Column("series", sa.Text, nullable=False),
    sa.Column("patient_id", sa.Text, nullable=False),
    sa.Column("accession_number", sa.Text, nullable=False, server_default=""),  # also among the attributes
    sa.Column("study_instance_uid", sa.Text, nullable=False, index=True),
    sa.Column("series_instance_uid", sa.Text, nullable=False, index=True),
    sa.Column("sop_instance_uid", sa.Text, nullable=False, index=True),
    sa.Column("sop_class_uid", sa.Text, nullable=False),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("blob", sa.Text, sa.ForeignKey("blob.name"), nullable=False, index=True),
    sa.Column("received_sha256", sa.Text, nullable=False),
    sa.Column("origin", sa.JSON, nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("received_at", sa.Float, nullable=False, index=True),
    sa.Column("told", sa.BigInteger),  # number of the event that told its content; None while that is put off
    sa.Index(None, "patient", "told"),
    sa.Index(None, "study", "told"),
    sa.Index(None, "series", "told"),
    sa.Index(None, "series", "id"),
)

# Patients, studies and series by which they are found. A key is text as it is looked for: folded, and cut off (catalogue.py).
patient = sa.Table(
    "patient",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("patient_id_key", KEY, nullable=False),
    sa.Column("name_key", KEY, nullable=False),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),  # of the attributes
    sa.Column("last_at", sa.Float, nullable=False, server_default="0"),  # when something of it came last, to a second
    sa.Column(
        "protected", sa.Boolean, nullable=False, server_default=sa.false()
    ),  # neither recycled nor deleted by age
    sa.Index(None, "patient_id_key", "id"),
    sa.Index(None, "name_key", "id"),
    sa.Index(
        "ix_patient_recycling",
        "last_at",
        "id",
        sqlite_where=sa.text(_UNPROTECTED),
        postgresql_where=sa.text(_UNPROTECTED),
    ),
)

study = sa.Table(
    "study",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("patient", sa.Text, nullable=False),
    sa.Column("study_instance_uid", sa.Text, nullable=False),
    sa.Column("date_key", KEY, nullable=False),
    sa.Column("accession_number_key", KEY, nullable=False),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Index(None, "patient", "id"),
    sa.Index(None, "study_instance_uid", "id"),
    sa.Index(None, "date_key", "id"),
    sa.Index(None, "accession_number_key", "id"),
)

series = sa.Table(
    "series",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("patient", sa.Text, nullable=False),
    sa.Column("study", sa.Text, nullable=False),
    sa.Column("series_instance_uid", sa.Text, nullable=False),
    sa.Column("modality_key", KEY, nullable=False),
    sa.Column("attributes", sa.JSON, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Index(None, "study", "id"),
    sa.Index(None, "series_instance_uid", "id"),
    sa.Index(None, "modality_key", "study", "id"),
)

label = sa.Table(  # of an instance, a series, a study or a patient that is in the archive
    "label",
    metadata,
    sa.Column("level", sa.Text, primary_key=True),  # instance | series | study | patient
    sa.Column("id", sa.Text, primary_key=True),  # Orthanc's identifier
    sa.Column("label", sa.Text, primary_key=True),
    sa.Index(None, "level", "label", "id"),
)

attachment = (
    sa.Table(  # a file that somebody attached to an instance, a series, a study or a patient that is in the archive
        "attachment",
        metadata,
        sa.Column("level", sa.Text, primary_key=True),  # instance | series | study | patient
        sa.Column("id", sa.Text, primary_key=True),  # Orthanc's identifier
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("blob", sa.Text, sa.ForeignKey("blob.name"), nullable=False, index=True),
        sa.Column("size", sa.BigInteger, nullable=False),  # of what was attached, as `md5`; `stored_md5` is of the file
        sa.Column("md5", sa.Text, nullable=False),
        sa.Column("stored_md5", sa.Text, nullable=False),
        sa.Column("compressed", sa.Boolean, nullable=False, server_default=sa.false()),
    )
)

stable = sa.Table(  # a series, study or patient that is in the archive, its quiet time and its metadata
    "stable",
    metadata,
    sa.Column("level", sa.Text, primary_key=True),  # series | study | patient
    sa.Column("id", sa.Text, primary_key=True),  # Orthanc's identifier
    sa.Column("announced", sa.Boolean, nullable=False, server_default=sa.false()),  # its `new` event is written
    sa.Column("occurrence", sa.Integer, nullable=False, server_default="0"),  # how often it was told as stable
    sa.Column("upto", sa.BigInteger, nullable=False, server_default="-1"),  # number of the last event that did
    sa.Column("due_at", sa.Float),  # when its quiet time ends; None: nothing came since the last one
    sa.Column("metadata", sa.JSON, nullable=False, server_default="{}"),
    sa.Index(
        "ix_stable_due_at",
        "due_at",
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    ),
)

version = sa.Table(
    "version",
    metadata,
    sa.Column("id", NUMBER, primary_key=True),
    sa.Column("instance", sa.Text, sa.ForeignKey("instance.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("blob", sa.Text, sa.ForeignKey("blob.name"), nullable=False, index=True),
    sa.Column("received_sha256", sa.Text, nullable=False),
    sa.Column("origin", sa.JSON, nullable=False),
    sa.Column("received_at", sa.Float, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column(  # what a lossy product was made of, kept with it
        "is_original", sa.Boolean, nullable=False, server_default=sa.false()
    ),
    sqlite_autoincrement=True,
)

derived = sa.Table(  # what was received of an instance, and the instance that a lossy ingest made of it
    "derived",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),  # Orthanc's identifier of what was received
    sa.Column("content", sa.Text, primary_key=True),  # SHA-256 of the data set as received
    sa.Column("sop_instance_uid", sa.Text, nullable=False, index=True),  # of what was received
    sa.Column("instance", sa.Text, sa.ForeignKey("instance.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("header", sa.LargeBinary, nullable=False),  # of the product
)

ingest = sa.Table(  # acknowledged as received, with a transcode that goes on; the event comes when it has ended
    "ingest",
    metadata,
    sa.Column("id", NUMBER, primary_key=True),  # the order of arrival
    sa.Column("instance", sa.Text, nullable=False, index=True),
    sa.Column("blob", sa.Text, sa.ForeignKey("blob.name"), nullable=False, unique=True),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("options", sa.Text),  # how lossy the product may be, None: not at all
    sa.Column("keep_original", sa.Boolean, nullable=False, server_default=sa.true()),  # of a lossy product
    sa.Column("kind", sa.Text, nullable=False),  # of the event
    sa.Column("header", sa.LargeBinary, nullable=False),  # as received
    sa.Column("origin", sa.JSON, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sqlite_autoincrement=True,
)
