"""Requests for storage commitment that are made by HTTP, and what was reported."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    """Add the table `inquiry`."""
    op.create_table(
        "inquiry",
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("modality", sa.Text(), nullable=False),
        sa.Column("remote_aet", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.Float(), nullable=False),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("committed", sa.JSON()),
        sa.Column("failed", sa.JSON()),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_inquiry")),
    )
    op.create_index(op.f("ix_inquiry_asked_at"), "inquiry", ["asked_at"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("inquiry")
