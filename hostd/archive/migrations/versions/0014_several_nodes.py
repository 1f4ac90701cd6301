"""Several nodes on one index: to which an association came, and indexes of PostgreSQL over the hash of a transform."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

_OPEN = "state IN ('preparing', 'waiting', 'sending', 'held')"


def upgrade() -> None:
    """Add a column; on PostgreSQL, exchange the indexes that a long transform does not fit into."""
    op.add_column("association", sa.Column("node", sa.Text(), nullable=False, server_default=""))
    if op.get_context().dialect.name == "postgresql":
        op.drop_index("uq_delivery_open", "delivery")
        op.create_index(
            "uq_delivery_open_of",
            "delivery",
            ["destination", "content", sa.text("md5(transform)")],
            unique=True,
            postgresql_where=sa.text(_OPEN),
        )
        op.drop_constraint("uq_receipt_source_transform", "receipt")
        op.create_index("uq_receipt_of", "receipt", ["source", sa.text("md5(transform)")], unique=True)


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("association", "node")
