"""What others ask of hostd: associations, jobs, retrievals, and what it promised them to keep."""

from __future__ import annotations

import sqlalchemy as sa

from hostd.archive.tables.columns import NUMBER, metadata

_JOB_MOVES = "state IN ('pending', 'running', 'retry') OR wanted IS NOT NULL"
JOB_MOVES = sa.text(f"({_JOB_MOVES})")
"""Of jobs that a node is to go on with; written out, so that the index of exactly this condition is used."""

job = sa.Table(  # what somebody asked hostd to do that takes a while (hostd.jobs.running)
    "job",
    metadata,
    sa.Column("number", NUMBER, primary_key=True),
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
    sa.Column("content", sa.Text),  # SHA-256 of the data set, as received, that something was made of
)

association = sa.Table(
    "association",
    metadata,
    sa.Column("id", NUMBER, primary_key=True),
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
    sa.Column("id", NUMBER, primary_key=True),
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
    sa.Column("id", NUMBER, primary_key=True),
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
    sa.Column("id", NUMBER, primary_key=True),
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
    sa.Column("id", NUMBER, primary_key=True),
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
