"""Functions of scripts that run by the clock."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the table `schedule`."""
    op.create_table(
        "schedule",
        sa.Column("script", sa.Text(), nullable=False),
        sa.Column("function", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("every_s", sa.Float()),
        sa.Column("cron", sa.Text()),
        sa.Column("due_at", sa.Float(), nullable=False),
        sa.Column("told_at", sa.Float()),
        sa.Column("event", sa.BigInteger()),
        sa.ForeignKeyConstraint(["script"], ["script.name"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("script", "function", "words", name=op.f("pk_schedule")),
    )
    op.create_index(op.f("ix_schedule_due_at"), "schedule", ["due_at"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("schedule")
