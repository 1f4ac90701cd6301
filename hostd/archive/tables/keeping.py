"""What the nodes on an index keep among themselves: leases, what is amiss, whom they tell of it, and who is who in a project."""

from __future__ import annotations

import sqlalchemy as sa

from hostd.archive.tables.columns import NUMBER, metadata

lease = sa.Table(
    "lease",
    metadata,
    sa.Column("what", sa.Text, primary_key=True),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("until", sa.Float, nullable=False),
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
    sa.Column("id", NUMBER, primary_key=True),
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
