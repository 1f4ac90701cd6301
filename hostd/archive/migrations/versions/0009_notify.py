"""What is amiss, and notifications."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the tables `condition` and `notification`."""
    op.create_table(
        "condition",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("is_amiss", sa.Boolean(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_condition")),
    )
    op.create_table(
        "notification",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("action", sa.BigInteger()),
        sa.Column("script", sa.Text()),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("more", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("next_attempt_at", sa.Float(), nullable=False),
        sa.Column("last_error", sa.Text()),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("finished_at", sa.Float()),
        sa.ForeignKeyConstraint(["action"], ["action.id"]),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_notification_action"), "notification", ["action"])
    op.create_index("ix_notification_due", "notification", ["channel", "state", "next_attempt_at"])
    op.create_index("ix_notification_key", "notification", ["channel", "key", "created_at"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("notification")
    op.drop_table("condition")
