"""What was retrieved by C-MOVE and C-GET."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UNDER_WAY = sa.text("state = 'under way'")


def upgrade() -> None:
    """Add the tables `retrieval` and `retrieved`."""
    op.create_table(
        "retrieval",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("calling_aet", sa.Text(), nullable=False),
        sa.Column("ip", sa.Text(), nullable=False),
        sa.Column("association", sa.BigInteger()),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("completed", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("warnings", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("failed", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("state", sa.Text(), nullable=False, server_default="under way"),
        sa.Column("reason", sa.Text()),
        sa.Column("ended_at", sa.Float()),
        sa.Column("node", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retrieval")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_retrieval_at"), "retrieval", ["at"])
    op.create_index("ix_retrieval_state", "retrieval", ["node"], sqlite_where=_UNDER_WAY, postgresql_where=_UNDER_WAY)
    op.create_table(
        "retrieved",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("retrieval", sa.BigInteger(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("sent_syntax", sa.Text()),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["retrieval"], ["retrieval.id"], name=op.f("fk_retrieved_retrieval_retrieval"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retrieved")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_retrieved_retrieval"), "retrieved", ["retrieval"])
    op.create_index(op.f("ix_retrieved_instance"), "retrieved", ["instance"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("retrieved")
    op.drop_table("retrieval")
