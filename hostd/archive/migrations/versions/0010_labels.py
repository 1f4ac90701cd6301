"""Labels and metadata of all levels; whose doing an event is."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the table `label`, which takes over from `instance.labels`, `stable.metadata` and `event.by`."""
    label = op.create_table(
        "label",
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("level", "id", "label", name=op.f("pk_label")),
    )
    op.create_index(op.f("ix_label_level_label_id"), "label", ["level", "label", "id"])
    for row in op.get_bind().execute(sa.text("SELECT id, labels FROM instance")).all():
        labels = json.loads(row.labels) if isinstance(row.labels, str) else row.labels
        op.bulk_insert(label, [{"level": "instance", "id": row.id, "label": one} for one in labels])
    op.drop_column("instance", "labels")
    op.add_column("stable", sa.Column("metadata", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("event", sa.Column("by", sa.Text()))
