"""Lossy results: the installation's secret, whose instances they are, and what was sent."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add two tables, and columns that earlier rows have no value for."""
    op.create_table(
        "installation",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_installation")),
    )
    op.create_table(
        "derived",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("header", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["instance"], ["instance.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("source", "content", name=op.f("pk_derived")),
    )
    op.create_index(op.f("ix_derived_instance"), "derived", ["instance"], unique=False)
    op.add_column("attempt", sa.Column("sent_sop_instance_uid", sa.Text(), nullable=True))
    op.add_column("ingest", sa.Column("options", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("ingest", sa.Column("keep_original", sa.Boolean(), server_default=sa.true(), nullable=False))
