"""What scripts keep for themselves, what runs asked, and indexes to find instances by."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the table `script_state`, `run.asked`, and indexes of `instance`."""
    op.create_table(
        "script_state",
        sa.Column("script", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("script", name=op.f("pk_script_state")),
    )
    op.add_column("run", sa.Column("asked", sa.JSON(), nullable=False, server_default="[]"))
    op.create_index(op.f("ix_instance_patient_id"), "instance", ["patient_id"], postgresql_using="hash")
    for column in ("series_instance_uid", "received_at"):
        op.create_index(op.f(f"ix_instance_{column}"), "instance", [column])
