"""Series, studies and patients have events of their own, and a quiet time."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_LEVELS = ("patient", "study", "series")
_INSTANCES_TOLD = """
    UPDATE instance SET told = coalesce((
        SELECT min(number) FROM event
        WHERE event.blob = instance.blob AND kind IN ('stored_instance', 'conflicting_instance', 'received_again')
    ), 0)
    WHERE NOT EXISTS (SELECT 1 FROM ingest WHERE ingest.blob = instance.blob)
"""
_KNOWN_LEVELS = (
    "INSERT INTO stable (level, id, announced) SELECT DISTINCT 'patient', patient, true FROM instance",
    "INSERT INTO stable (level, id, announced) SELECT DISTINCT 'study', study, true FROM instance",
    "INSERT INTO stable (level, id, announced) SELECT DISTINCT 'series', series, true FROM instance",
)


def upgrade() -> None:
    """Add `event.facts`, `instance.told` and the table `stable`, filled in from what is there. What was there is not told as new."""
    op.add_column("event", sa.Column("facts", sa.JSON()))
    op.add_column("instance", sa.Column("told", sa.BigInteger()))
    op.execute(_INSTANCES_TOLD)
    for level in _LEVELS:
        op.drop_index(f"ix_instance_{level}", "instance")
        op.create_index(f"ix_instance_{level}_told", "instance", [level, "told"])
    op.create_table(
        "stable",
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("announced", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("occurrence", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("upto", sa.BigInteger(), nullable=False, server_default="-1"),
        sa.Column("due_at", sa.Float()),
        sa.PrimaryKeyConstraint("level", "id", name=op.f("pk_stable")),
    )
    op.create_index(
        "ix_stable_due_at",
        "stable",
        ["due_at"],
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    deleting = sa.text("state = 'deleting'")
    op.create_index("ix_action_deleting", "action", ["id"], sqlite_where=deleting, postgresql_where=deleting)
    for statement in _KNOWN_LEVELS:
        op.execute(statement)
