"""Modalities and peers that are put by HTTP, and deliveries that are to be sent in another manner than their destination's."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    """Add the table `remote` and the column `manner` of a delivery."""
    op.create_table(
        "remote",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("given", sa.JSON(), nullable=False),
        sa.Column("put_at", sa.Float(), nullable=False),
        sa.Column("put_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_remote")),
    )
    op.add_column("job_item", sa.Column("is_own", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("delivery", sa.Column("manner", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("delivery", "manner")
    op.drop_column("job_item", "is_own")
    op.drop_table("remote")
