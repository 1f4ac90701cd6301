"""Lossy ingest: which instance was made of what was received, and how lossy what is pending may become."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add a table, and columns whose defaults say that nothing was lossy so far."""
    op.create_table(
        "derived",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("header", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["instance"], ["instance.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("source", "content", name=op.f("pk_derived")),
    )
    op.create_index(op.f("ix_derived_instance"), "derived", ["instance"])
    op.create_index(op.f("ix_derived_sop_instance_uid"), "derived", ["sop_instance_uid"])
    op.add_column("version", sa.Column("is_original", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("ingest", sa.Column("options", sa.Text(), nullable=True))
    op.add_column("ingest", sa.Column("keep_original", sa.Boolean(), server_default=sa.true(), nullable=False))
