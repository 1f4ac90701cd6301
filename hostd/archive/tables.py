"""The tables of the index (DESIGN.md §4), for SQLite and PostgreSQL; the package's docstring says how to write for both.

Times are seconds since 1970 UTC. JSON columns hold small values that no query searches by.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# A number that grows and is never used again: AUTOINCREMENT needs SQLite's own INTEGER.
_Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")

# Text in the order of its code points, which is SQLite's own: what begins alike stands together.
_Key = sa.Text(collation="C").with_variant(sa.Text(), "sqlite")

OPEN_STATES = ("preparing", "waiting", "sending", "held")
"""States of a delivery that still wants to be sent; `failed` is final until someone retries it, but pins its file."""

_OPEN = "state IN ('preparing', 'waiting', 'sending', 'held')"
_DUE = "state IN ('preparing', 'waiting')"
_UNCOMMITTED = "commitment IN ('wanted', 'asked')"
_UNPROTECTED = "NOT protected"
IS_UNPROTECTED = sa.text("NOT patient.protected")
"""Of patients that may be recycled; written out, as `IS_DUE`."""
IS_RELEASED = sa.text("blob.released")
"""Of files that were let go; written out, as `IS_DUE`."""
IS_OPEN = sa.text(f"delivery.{_OPEN}")
"""Of deliveries that still want to be sent; written out, as `IS_DUE`."""
IS_UNCOMMITTED = sa.text(f"delivery.{_UNCOMMITTED}")
"""Of deliveries whose peer has not reported that it is committed to them."""
IS_DUE = sa.text(f"delivery.{_DUE}")
"""Of deliveries that wait for their next attempt; written out, so that the indexes of exactly this condition are used."""

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
    sa.Column("patient_id_key", _Key, nullable=False),
    sa.Column("name_key", _Key, nullable=False),
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
    sa.Column("date_key", _Key, nullable=False),
    sa.Column("accession_number_key", _Key, nullable=False),
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
    sa.Column("modality_key", _Key, nullable=False),
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
    sa.Column("id", _Number, primary_key=True),
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
    sa.Column("id", _Number, primary_key=True),  # the order of arrival
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

event = sa.Table(
    "event",
    metadata,
    sa.Column("number", _Number, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False, index=True),
    sa.Column("study", sa.Text, index=True),  # Study Instance UID
    sa.Column("blob", sa.Text, index=True),  # no foreign key: an event outlives the file it speaks of
    sa.Column("content", sa.Text),
    sa.Column("header", sa.LargeBinary),
    sa.Column("origin", sa.JSON),
    sa.Column("receipt", sa.JSON(none_as_null=True)),  # how the ingest of its instance ended
    sa.Column(
        "facts", sa.JSON(none_as_null=True)
    ),  # beyond an instance: see levels.py, associations.py, occurrences.py
    sa.Column("at", sa.Float, nullable=False, index=True),
    sa.Column("only_for", sa.Text),  # the one script that is to have it; None: all
    sa.Column("repeats", sa.BigInteger, index=True),  # the event of the past that this one is again
    sa.Column("by", sa.Text),  # the script whose doing it tells, which is not told of it
    sqlite_autoincrement=True,  # numbers of deleted events are never given again
)

script = sa.Table(
    "script",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.Text),  # the one that runs, or ran last
    sa.Column("state", sa.Text, nullable=False),  # running | broken | absent | expected | disabled | parked
    sa.Column("error", sa.Text),  # why the newest edit was not taken
    sa.Column("first_seen", sa.Float, nullable=False),
    sa.Column("absent_since", sa.Float),
    sa.Column("pinned", sa.Text),  # the version that someone wants to run ...
    sa.Column("pinned_over", sa.Text),  # ... instead of this text of its file
    sa.Column("approved", sa.Text),  # the text of its file that was deployed by hand
    sa.Column("waiting", sa.Text),  # the text of its file that is not taken yet
    sa.Column("disabled", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("parked", sa.Text),  # the version that the node gave up
    sa.Column("parked_why", sa.Text),
    sa.Column("warning", sa.Text),  # what of the version that runs will not work
)

script_version = sa.Table(
    "script_version",
    metadata,
    sa.Column("script", sa.Text, sa.ForeignKey("script.name", ondelete="CASCADE"), primary_key=True),
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("helpers", sa.JSON, nullable=False, server_default="{}"),  # the user's own modules: name → source
    sa.Column("handlers", sa.JSON, nullable=False),
    sa.Column("accepted_at", sa.Float, nullable=False),
)

script_text = sa.Table(  # what was uploaded last, where nodes share an index
    "script_text",
    metadata,
    sa.Column("script", sa.Text, primary_key=True),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("helpers", sa.JSON, nullable=False),
    sa.Column("node", sa.Text, nullable=False),  # in whose folder it was
    sa.Column("at", sa.Float, nullable=False),
)

script_file = sa.Table(  # what a node has dealt with of its own folder
    "script_file",
    metadata,
    sa.Column("node", sa.Text, primary_key=True),
    sa.Column("script", sa.Text, primary_key=True),
    sa.Column("hash", sa.Text, nullable=False),  # '': its file is gone
    sa.Column("over", sa.Text),  # the text that was uploaded when this one was refused; None: it was not refused
)

script_period = sa.Table(  # when which version ran
    "script_period",
    metadata,
    sa.Column("id", _Number, primary_key=True),
    sa.Column("script", sa.Text, sa.ForeignKey("script.name", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("since", sa.Float, nullable=False),
    sa.Column("until", sa.Float),  # None while it runs
    sqlite_autoincrement=True,
)

schedule = sa.Table(  # a function of a script that runs by the clock
    "schedule",
    metadata,
    sa.Column("script", sa.Text, sa.ForeignKey("script.name", ondelete="CASCADE"), primary_key=True),
    sa.Column("function", sa.Text, primary_key=True),
    sa.Column("words", sa.Text, primary_key=True),  # when: "every 600 s" | "at 0 2 * * *"
    sa.Column("every_s", sa.Float),
    sa.Column("cron", sa.Text),
    sa.Column("due_at", sa.Float, nullable=False, index=True),  # 1e11: never again
    sa.Column("told_at", sa.Float),
    sa.Column("event", sa.BigInteger),  # the last one that it raised
)

script_state = sa.Table(  # what a script keeps for itself
    "script_state",
    metadata,
    sa.Column("script", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("value", sa.JSON, nullable=False),
)

usage = sa.Table(  # what a script did, by the hour, for its quotas
    "usage",
    metadata,
    sa.Column("script", sa.Text, primary_key=True),
    sa.Column("hour", sa.BigInteger, primary_key=True),  # since 1970 UTC
    sa.Column("actions", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
)

cursor = sa.Table(
    "cursor",
    metadata,
    sa.Column("script", sa.Text, sa.ForeignKey("script.name", ondelete="CASCADE"), primary_key=True),
    sa.Column("low_water", sa.BigInteger, nullable=False),
    sa.Column("finished", sa.JSON, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column(
        "skipped", sa.BigInteger, nullable=False, server_default="0"
    ),  # passed unasked, by the script's `handles`
    sa.Column("parked_in_a_row", sa.Integer, nullable=False, server_default="0"),  # events
)

run = sa.Table(
    "run",
    metadata,
    sa.Column("id", _Number, primary_key=True),
    sa.Column("script", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("event", sa.BigInteger, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),  # done | failed | parked
    sa.Column("tags_read", sa.JSON, nullable=False),
    sa.Column("log", sa.JSON, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("repeated_as", sa.BigInteger),  # the event that gives the script what was parked again
    sa.Column("asked", sa.JSON, nullable=False, server_default="[]"),  # what it asked beyond its event, and the answers
    sa.Index("ix_run_script_event", "script", "event"),
    sa.Index(
        "ix_run_parked", "script", "event",
        sqlite_where=sa.text("outcome = 'parked'"), postgresql_where=sa.text("outcome = 'parked'"),
    ),
    sqlite_autoincrement=True,
)  # fmt: skip

action = sa.Table(
    "action",
    metadata,
    sa.Column("id", _Number, primary_key=True),
    sa.Column("run", sa.BigInteger, sa.ForeignKey("run.id"), nullable=False, index=True),
    sa.Column("script", sa.Text, nullable=False),
    sa.Column("event", sa.BigInteger, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("verb", sa.Text, nullable=False),
    sa.Column("inputs", sa.JSON, nullable=False),
    sa.Column("state", sa.Text, nullable=False),  # open | deleting | done | failed | held | skipped
    sa.Column("result", sa.JSON),
    sa.UniqueConstraint("script", "event", "position"),  # entered exactly once
    sa.Index(
        "ix_action_deleting",
        "id",
        sqlite_where=sa.text("state = 'deleting'"),
        postgresql_where=sa.text("state = 'deleting'"),
    ),
    sqlite_autoincrement=True,
)

delivery = sa.Table(
    "delivery",
    metadata,
    sa.Column("id", _Number, primary_key=True),
    sa.Column("action", sa.BigInteger, sa.ForeignKey("action.id"), index=True),
    sa.Column("alternate_of", sa.BigInteger),  # the delivery that failed, for which this one stands in
    sa.Column("script", sa.Text),
    sa.Column("instance", sa.Text, nullable=False, index=True),
    sa.Column("sop_instance_uid", sa.Text, nullable=False),
    sa.Column("sop_class_uid", sa.Text, nullable=False),
    sa.Column("destination", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),  # SHA-256 of the data set as received
    sa.Column("blob", sa.Text, nullable=False, index=True),
    sa.Column("transform", sa.Text, nullable=False, server_default=""),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),  # preparing waiting sending held | delivered warning present failed discarded
    sa.Column("token", sa.BigInteger),
    sa.Column("on_wire", sa.Boolean, nullable=False, server_default=sa.false()),  # may be sent already, while `sending`
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("not_before", sa.Float, nullable=False),
    sa.Column("next_attempt_at", sa.Float, nullable=False),
    sa.Column("last_error", sa.Text),
    sa.Column("possible_doubles", sa.Integer, nullable=False, server_default="0"),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("finished_at", sa.Float),
    sa.Column("commitment", sa.Text),  # wanted | asked | committed | refused
    sa.Column("commitment_uid", sa.Text, index=True),  # of the transaction with which it was asked last
    sa.Column("commitment_asked_at", sa.Float),
    sa.Column("is_original", sa.Boolean),  # sent as the same instance, and without loss
    sa.Column("manner", sa.Text, nullable=False, server_default=""),  # hostd.archive.manners
    sa.Index(
        "ix_delivery_uncommitted", "destination", "commitment", "commitment_asked_at",
        sqlite_where=sa.text(_UNCOMMITTED), postgresql_where=sa.text(_UNCOMMITTED),
    ),
    sa.Index(
        "uq_delivery_open", "destination", "content", "transform", unique=True, sqlite_where=sa.text(_OPEN)
    ).ddl_if(dialect="sqlite"),
    sa.Index("ix_delivery_claim", "destination", "state", "priority", "id"),
    sa.Index(
        "ix_delivery_due", "destination", "next_attempt_at",
        sqlite_where=sa.text(_DUE), postgresql_where=sa.text(_DUE),
    ),
    sa.Index(
        "ix_delivery_order", "destination", "priority", "id", "next_attempt_at",
        sqlite_where=sa.text(_DUE), postgresql_where=sa.text(_DUE),
    ),
    sa.Index("ix_delivery_state", "state", "id"),
    sa.Index(
        "ix_delivery_alternate_of", "alternate_of",
        sqlite_where=sa.text("alternate_of IS NOT NULL"), postgresql_where=sa.text("alternate_of IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)  # fmt: skip

# A transform may be longer than an entry of PostgreSQL's indexes, so that there its hash stands for it.
sa.Index(
    "uq_delivery_open_of", delivery.c.destination, delivery.c.content, sa.func.md5(delivery.c.transform),
    unique=True, postgresql_where=sa.text(_OPEN),
).ddl_if(dialect="postgresql")  # fmt: skip

commitment = sa.Table(  # a request for storage commitment
    "commitment",
    metadata,
    sa.Column("uid", sa.Text, primary_key=True),
    sa.Column("destination", sa.Text, nullable=False),
    sa.Column("asked_at", sa.Float, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="asked"),  # asked | reported | withdrawn
    sa.Column("reported_at", sa.Float),
)

accepted = sa.Table(  # what a destination said last of the transfer syntaxes that it was proposed, UIDs
    "accepted",
    metadata,
    sa.Column("destination", sa.Text, primary_key=True),
    sa.Column("sop_class_uid", sa.Text, primary_key=True),
    sa.Column("accepted", sa.JSON, nullable=False),
    sa.Column("refused", sa.JSON, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)

waiting_delete = sa.Table(
    "waiting_delete",
    metadata,
    sa.Column("action", sa.BigInteger, sa.ForeignKey("action.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("delivery", sa.BigInteger, sa.ForeignKey("delivery.id"), primary_key=True, index=True),
)

task = sa.Table(  # what an action asks hostd to do later
    "task",
    metadata,
    sa.Column("id", _Number, primary_key=True),
    sa.Column("action", sa.BigInteger, sa.ForeignKey("action.id"), nullable=False, index=True),
    sa.Column("script", sa.Text, nullable=False),
    sa.Column("verb", sa.Text, nullable=False),
    sa.Column("queue", sa.Text, nullable=False),  # who carries it out
    sa.Column("instance", sa.Text, index=True),  # None: it is about none
    sa.Column("sop_instance_uid", sa.Text),
    sa.Column("content", sa.Text),
    sa.Column("blob", sa.Text, index=True),
    sa.Column("transform", sa.Text, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),  # the queue's own
    sa.Column("hops", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),  # waiting | running | done | failed
    sa.Column("token", sa.BigInteger),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_attempt_at", sa.Float, nullable=False),
    sa.Column("last_error", sa.Text),
    sa.Column("result", sa.JSON(none_as_null=True)),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("finished_at", sa.Float),
    sa.Index("ix_task_due", "queue", "state", "next_attempt_at"),
    sqlite_autoincrement=True,
)

remote = sa.Table(  # modalities and peers that were put by HTTP; what the configuration names wins
    "remote",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),  # modality | peer
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("given", sa.JSON, nullable=False),  # in Orthanc's form, with its password
    sa.Column("put_at", sa.Float, nullable=False),
    sa.Column("put_by", sa.Text, nullable=False),
)

_JOB_MOVES = "state IN ('pending', 'running', 'retry') OR wanted IS NOT NULL"
JOB_MOVES = sa.text(f"({_JOB_MOVES})")
"""Of jobs that a node is to go on with; written out, so that the index of exactly this condition is used."""

job = sa.Table(  # what somebody asked hostd to do that takes a while (hostd.jobs.running)
    "job",
    metadata,
    sa.Column("number", _Number, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),  # a UUID, as Orthanc's
    sa.Column("type", sa.Text, nullable=False),  # who carries it out: DicomModalityStore, Archive, …
    sa.Column("asked", sa.JSON, nullable=False),  # what was asked for: the kind's own, shown to nobody
    sa.Column("memo", sa.JSON, nullable=False),  # how far it has come: the kind's own, shown to nobody
    sa.Column("content", sa.JSON, nullable=False),  # what is shown of it
    sa.Column("user_data", sa.JSON(none_as_null=True)),
    sa.Column("state", sa.Text, nullable=False),  # pending | running | retry | paused | success | failure
    sa.Column("wanted", sa.Text),  # pause | cancel: what was asked for while it was being worked on
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("progress", sa.Float, nullable=False, server_default="0"),  # 0 to 1
    sa.Column("error_code", sa.Integer, nullable=False, server_default="0"),  # Orthanc's number, 0: none
    sa.Column("error_details", sa.Text, nullable=False, server_default=""),
    sa.Column("error_payload", sa.JSON(none_as_null=True)),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),  # failed ones of the step that is next
    sa.Column("hops", sa.Integer, nullable=False, server_default="0"),  # acts of scripts that led to it
    sa.Column("token", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("node", sa.Text),  # that worked on it last, and has its output
    sa.Column("due_at", sa.Float, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("started_at", sa.Float),  # since when it runs; None while it does not
    sa.Column("runtime_s", sa.Float, nullable=False, server_default="0"),  # before that
    sa.Column("finished_at", sa.Float, index=True),
    sa.Index(
        "ix_job_moves", "priority", "number",
        sqlite_where=sa.text(_JOB_MOVES), postgresql_where=sa.text(_JOB_MOVES),
    ),
    sqlite_autoincrement=True,
)  # fmt: skip

job_item = sa.Table(  # what a job is about, in order: there may be thousands
    "job_item",
    metadata,
    sa.Column("job", sa.BigInteger, sa.ForeignKey("job.number", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("instance", sa.Text, nullable=False),  # Orthanc's identifier
    sa.Column("delivery", sa.BigInteger, index=True),  # that was asked for it
    sa.Column("is_own", sa.Boolean, nullable=False, server_default=sa.false()),  # and was not there already
)

attempt = sa.Table(
    "attempt",
    metadata,
    sa.Column("id", _Number, primary_key=True),
    sa.Column("delivery", sa.BigInteger, sa.ForeignKey("delivery.id"), nullable=False, index=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("seconds", sa.Float),
    sa.Column("sent_syntax", sa.Text),
    sa.Column(
        "sent_sop_instance_uid", sa.Text
    ),  # None before the first release that noted it, or when nothing was sent
    sqlite_autoincrement=True,
)

receipt = sa.Table(
    "receipt",
    metadata,
    sa.Column("id", _Number, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),  # blob
    sa.Column("transform", sa.Text, nullable=False),
    sa.Column("result", sa.Text, index=True),  # blob, None when the original was kept or the product was let go
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("facts", sa.JSON, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.UniqueConstraint("source", "transform").ddl_if(dialect="sqlite"),
    sqlite_autoincrement=True,
)
sa.Index("uq_receipt_of", receipt.c.source, sa.func.md5(receipt.c.transform), unique=True).ddl_if(dialect="postgresql")

lease = sa.Table(
    "lease",
    metadata,
    sa.Column("what", sa.Text, primary_key=True),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("until", sa.Float, nullable=False),
)

association = sa.Table(
    "association",
    metadata,
    sa.Column("id", _Number, primary_key=True),
    sa.Column("at", sa.Float, nullable=False, index=True),
    sa.Column("calling_aet", sa.Text, nullable=False),
    sa.Column("called_aet", sa.Text, nullable=False),
    sa.Column("ip", sa.Text, nullable=False),
    sa.Column("port", sa.Integer, nullable=False),
    sa.Column("facts", sa.JSON, nullable=False),
    sa.Column("ended", sa.Text),  # None while it lasts
    sa.Column("reason", sa.Text),
    sa.Column("ended_at", sa.Float),
    sa.Column("received", sa.Integer, nullable=False, server_default="0"),
    sa.Column("stored", sa.Integer, nullable=False, server_default="0"),
    sa.Column("failed", sa.Integer, nullable=False, server_default="0"),
    sa.Column("bytes", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("node", sa.Text, nullable=False, server_default=""),  # that it came to
    sqlite_autoincrement=True,
)

_UNDER_WAY = "state = 'under way'"

retrieval = sa.Table(  # a C-MOVE or C-GET that hostd carried out
    "retrieval",
    metadata,
    sa.Column("id", _Number, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),  # move | get
    sa.Column("at", sa.Float, nullable=False, index=True),
    sa.Column("calling_aet", sa.Text, nullable=False),
    sa.Column("ip", sa.Text, nullable=False),
    sa.Column("association", sa.BigInteger),  # that it was asked on
    sa.Column("destination", sa.Text, nullable=False),  # modality:x, or caller:AET
    sa.Column("asked", sa.JSON, nullable=False),  # level and keys
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("completed", sa.Integer, nullable=False, server_default="0"),
    sa.Column("warnings", sa.Integer, nullable=False, server_default="0"),
    sa.Column("failed", sa.Integer, nullable=False, server_default="0"),
    sa.Column("state", sa.Text, nullable=False, server_default="under way"),  # done | cancelled | failed | broken
    sa.Column("reason", sa.Text),
    sa.Column("ended_at", sa.Float),
    sa.Column("node", sa.Text, nullable=False),  # that carried it out
    sa.Index("ix_retrieval_state", "node", sqlite_where=sa.text(_UNDER_WAY), postgresql_where=sa.text(_UNDER_WAY)),
    sqlite_autoincrement=True,
)

retrieved = sa.Table(  # one sub-operation of it: an instance, and what the other side said
    "retrieved",
    metadata,
    sa.Column("id", _Number, primary_key=True),
    sa.Column(
        "retrieval", sa.BigInteger, sa.ForeignKey("retrieval.id", ondelete="CASCADE"), nullable=False, index=True
    ),
    sa.Column("instance", sa.Text, nullable=False, index=True),
    sa.Column("sop_instance_uid", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),  # delivered | warning | failed
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("sent_syntax", sa.Text),
    sa.Column("at", sa.Float, nullable=False),
    sqlite_autoincrement=True,
)

_KEPT = "broken_at IS NULL"
_UNREPORTED = "state IN ('asked', 'judged')"

promise = sa.Table(  # what hostd has promised another system to keep, by storage commitment
    "promise",
    metadata,
    sa.Column("id", _Number, primary_key=True),
    sa.Column("instance", sa.Text, nullable=False),  # Orthanc's identifier
    sa.Column("sop_instance_uid", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),  # SHA-256 of the data set as received
    sa.Column("modality", sa.Text, nullable=False),  # to whom
    sa.Column("transaction_uid", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("broken_at", sa.Float),  # when it was deleted all the same
    sa.Column("broken_by", sa.Text),
    sa.Index("ix_promise_instance", "instance", sqlite_where=sa.text(_KEPT), postgresql_where=sa.text(_KEPT)),
    sqlite_autoincrement=True,
)

promise_request = sa.Table(  # a request for storage commitment, and what became of it
    "promise_request",
    metadata,
    sa.Column("id", _Number, primary_key=True),
    sa.Column("transaction_uid", sa.Text, nullable=False),
    sa.Column("modality", sa.Text, nullable=False),
    sa.Column("called_aet", sa.Text, nullable=False),
    sa.Column("association", sa.BigInteger),
    sa.Column("asked_at", sa.Float, nullable=False, index=True),
    sa.Column("asked", sa.JSON, nullable=False),  # [SOP class, SOP instance] of each reference
    sa.Column("state", sa.Text, nullable=False, server_default="asked"),  # asked | judged | reported | failed
    sa.Column("failed", sa.JSON),  # SOP instance → failure reason, once it was judged
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_at", sa.Float, nullable=False),
    sa.Column("last_error", sa.Text),
    sa.Column("ended_at", sa.Float),
    sa.Column("node", sa.Text),  # that works on it, until
    sa.Column("claimed_until", sa.Float, nullable=False, server_default="0"),
    sa.Index(
        "ix_promise_request_next_at",
        "next_at",
        sqlite_where=sa.text(_UNREPORTED),
        postgresql_where=sa.text(_UNREPORTED),
    ),
    sqlite_autoincrement=True,
)

inquiry = sa.Table(  # a request for storage commitment that somebody had hostd make by HTTP
    "inquiry",
    metadata,
    sa.Column("uid", sa.Text, primary_key=True),  # of the transaction
    sa.Column("modality", sa.Text, nullable=False),
    sa.Column("remote_aet", sa.Text, nullable=False),
    sa.Column("asked_at", sa.Float, nullable=False, index=True),
    sa.Column(
        "asked", sa.JSON, nullable=False
    ),  # [SOP class, SOP instance UID, instance or null, SHA-256 of its data set or null]
    sa.Column("committed", sa.JSON(none_as_null=True)),  # SOP instance UIDs; NULL until it was reported
    sa.Column("failed", sa.JSON(none_as_null=True)),  # SOP instance UID → failure reason
)

pseudonym = sa.Table(  # who is who in a project; the only way back from what was de-identified
    "pseudonym",
    metadata,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("patient_id", sa.Text, primary_key=True),
    sa.Column("issuer", sa.Text, primary_key=True),
    sa.Column("pseudonym", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Index("uq_pseudonym_of_project", "project", "pseudonym", unique=True),
)

condition = sa.Table(  # what is amiss, or was: told once when it begins and once when it ends, over restarts
    "condition",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),  # destination:modality:archive | disk | source:ct1
    sa.Column("is_amiss", sa.Boolean, nullable=False),
    sa.Column("since", sa.Float, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)

notification = sa.Table(
    "notification",
    metadata,
    sa.Column("id", _Number, primary_key=True),
    sa.Column("action", sa.BigInteger, sa.ForeignKey("action.id"), index=True),  # None: hostd's own
    sa.Column("script", sa.Text),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),  # what limits apply to
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),  # only for channels with phi = true
    sa.Column("more", sa.Integer, nullable=False, server_default="0"),  # how many of this key were held back since
    sa.Column("state", sa.Text, nullable=False),  # waiting | sent | failed
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("next_attempt_at", sa.Float, nullable=False),
    sa.Column("last_error", sa.Text),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("finished_at", sa.Float),
    sa.Index("ix_notification_due", "channel", "state", "next_attempt_at"),
    sa.Index("ix_notification_key", "channel", "key", "created_at"),
    sqlite_autoincrement=True,
)

figure = sa.Table(  # what was sent, by the day; kept when attempts are purged
    "figure",
    metadata,
    sa.Column("destination", sa.Text, primary_key=True),
    sa.Column("outcome", sa.Text, primary_key=True),
    sa.Column("day", sa.BigInteger, primary_key=True, autoincrement=False),  # since 1970 UTC
    sa.Column("attempts", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
)

reckoned = sa.Table(  # up to which row something has been counted
    "reckoned",
    metadata,
    sa.Column("what", sa.Text, primary_key=True),
    sa.Column("upto", sa.BigInteger, nullable=False),
)
