"""What hostd has promised to keep, by storage commitment."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_KEPT = sa.text("broken_at IS NULL")
_UNREPORTED = sa.text("state IN ('asked', 'judged')")


def upgrade() -> None:
    """Add the tables `promise` and `promise_request`."""
    op.create_table(
        "promise",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("modality", sa.Text(), nullable=False),
        sa.Column("transaction_uid", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("broken_at", sa.Float()),
        sa.Column("broken_by", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promise")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_promise_instance", "promise", ["instance"], sqlite_where=_KEPT, postgresql_where=_KEPT)
    op.create_table(
        "promise_request",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("transaction_uid", sa.Text(), nullable=False),
        sa.Column("modality", sa.Text(), nullable=False),
        sa.Column("called_aet", sa.Text(), nullable=False),
        sa.Column("association", sa.BigInteger()),
        sa.Column("asked_at", sa.Float(), nullable=False),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False, server_default="asked"),
        sa.Column("failed", sa.JSON()),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("next_at", sa.Float(), nullable=False),
        sa.Column("last_error", sa.Text()),
        sa.Column("ended_at", sa.Float()),
        sa.Column("node", sa.Text()),
        sa.Column("claimed_until", sa.Float(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promise_request")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_promise_request_asked_at"), "promise_request", ["asked_at"])
    op.create_index(
        "ix_promise_request_next_at",
        "promise_request",
        ["next_at"],
        sqlite_where=_UNREPORTED,
        postgresql_where=_UNREPORTED,
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("promise_request")
    op.drop_table("promise")
