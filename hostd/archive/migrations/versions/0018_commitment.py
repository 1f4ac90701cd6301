"""Storage commitment."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

_UNCOMMITTED = sa.text("commitment IN ('wanted', 'asked')")


def upgrade() -> None:
    """Add the table `commitment` and what a delivery says of it."""
    op.create_table(
        "commitment",
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.Float(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False, server_default="asked"),
        sa.Column("reported_at", sa.Float()),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_commitment")),
    )
    op.add_column("delivery", sa.Column("commitment", sa.Text()))
    op.add_column("delivery", sa.Column("commitment_uid", sa.Text()))
    op.add_column("delivery", sa.Column("commitment_asked_at", sa.Float()))
    op.add_column("delivery", sa.Column("is_original", sa.Boolean()))
    op.create_index(op.f("ix_delivery_commitment_uid"), "delivery", ["commitment_uid"])
    op.create_index(
        "ix_delivery_uncommitted",
        "delivery",
        ["destination", "commitment", "commitment_asked_at"],
        sqlite_where=_UNCOMMITTED,
        postgresql_where=_UNCOMMITTED,
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_delivery_uncommitted", "delivery")
    op.drop_index(op.f("ix_delivery_commitment_uid"), "delivery")
    for column in ("is_original", "commitment_asked_at", "commitment_uid", "commitment"):
        op.drop_column("delivery", column)
    op.drop_table("commitment")
