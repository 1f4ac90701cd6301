"""What happened, the scripts that are told of it, and what they asked hostd to do."""

from __future__ import annotations

import sqlalchemy as sa

from hostd.archive.tables.columns import NUMBER, metadata

event = sa.Table(
    "event",
    metadata,
    sa.Column("number", NUMBER, primary_key=True),
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
    sa.Column("id", NUMBER, primary_key=True),
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
    sa.Column("id", NUMBER, primary_key=True),
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
    sa.Column("id", NUMBER, primary_key=True),
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

waiting_delete = sa.Table(
    "waiting_delete",
    metadata,
    sa.Column("action", sa.BigInteger, sa.ForeignKey("action.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("delivery", sa.BigInteger, sa.ForeignKey("delivery.id"), primary_key=True, index=True),
)

task = sa.Table(  # what an action asks hostd to do later
    "task",
    metadata,
    sa.Column("id", NUMBER, primary_key=True),
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
