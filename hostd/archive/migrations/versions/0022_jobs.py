"""Jobs: what somebody asked hostd to do that takes a while, and what each is about."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"

_MOVES = sa.text("state IN ('pending', 'running', 'retry') OR wanted IS NOT NULL")


def upgrade() -> None:
    """Add the tables `job` and `job_item`."""
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "job",
        sa.Column("number", number, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("memo", sa.JSON(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("user_data", sa.JSON(none_as_null=True)),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Text()),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("progress", sa.Float(), nullable=False, server_default="0"),
        sa.Column("error_code", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("error_details", sa.Text(), nullable=False, server_default=""),
        sa.Column("error_payload", sa.JSON(none_as_null=True)),
        sa.Column("tries", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("hops", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("token", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("node", sa.Text()),
        sa.Column("due_at", sa.Float(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("started_at", sa.Float()),
        sa.Column("runtime_s", sa.Float(), nullable=False, server_default="0"),
        sa.Column("finished_at", sa.Float()),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_job")),
        sa.UniqueConstraint("id", name=op.f("uq_job_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_job_moves", "job", ["priority", "number"], sqlite_where=_MOVES, postgresql_where=_MOVES)
    op.create_index(op.f("ix_job_finished_at"), "job", ["finished_at"])
    op.create_table(
        "job_item",
        sa.Column("job", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("delivery", sa.BigInteger()),
        sa.ForeignKeyConstraint(["job"], ["job.number"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "position", name=op.f("pk_job_item")),
    )
    op.create_index(op.f("ix_job_item_delivery"), "job_item", ["delivery"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("job_item")
    op.drop_table("job")
