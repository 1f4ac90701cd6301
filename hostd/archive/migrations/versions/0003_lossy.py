"""Lossy results: the installation's secret, and as which instance something was sent."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add a table, and a column that earlier rows have no value for."""
    op.create_table(
        "installation",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_installation")),
    )
    op.add_column("attempt", sa.Column("sent_sop_instance_uid", sa.Text(), nullable=True))
