"""Texts of scripts that several nodes share."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Add the tables `script_text` and `script_file`."""
    op.create_table(
        "script_text",
        sa.Column("script", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("helpers", sa.JSON(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("script", name=op.f("pk_script_text")),
    )
    op.create_table(
        "script_file",
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("script", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("over", sa.Text()),
        sa.PrimaryKeyConstraint("node", "script", name=op.f("pk_script_file")),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("script_file")
    op.drop_table("script_text")
