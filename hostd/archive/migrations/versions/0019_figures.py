"""Figures of what was delivered, which outlast the rows that they were counted from."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Add the tables `figure` and `reckoned`."""
    op.create_table(
        "figure",
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("destination", "outcome", "day", name=op.f("pk_figure")),
    )
    op.create_table(
        "reckoned",
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("upto", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("what", name=op.f("pk_reckoned")),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("reckoned")
    op.drop_table("figure")
