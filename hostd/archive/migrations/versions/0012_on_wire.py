"""Which claimed deliveries may be on their way, and indexes to claim by however many wait."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_DUE = sa.text("state IN ('preparing', 'waiting')")


def upgrade() -> None:
    """Add the column, and doubt what an earlier release had claimed; add the indexes."""
    op.add_column("delivery", sa.Column("on_wire", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute("UPDATE delivery SET on_wire = true WHERE state = 'sending'")
    op.create_index(
        "ix_delivery_due", "delivery", ["destination", "next_attempt_at"], sqlite_where=_DUE, postgresql_where=_DUE
    )
    op.create_index(
        "ix_delivery_order",
        "delivery",
        ["destination", "priority", "id", "next_attempt_at"],
        sqlite_where=_DUE,
        postgresql_where=_DUE,
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_delivery_order", "delivery")
    op.drop_index("ix_delivery_due", "delivery")
    op.drop_column("delivery", "on_wire")
