"""Files that are attached to patients, studies, series and instances."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    """Add the table `attachment`."""
    op.create_table(
        "attachment",
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("blob", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("md5", sa.Text(), nullable=False),
        sa.Column("stored_md5", sa.Text(), nullable=False),
        sa.Column("compressed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(["blob"], ["blob.name"], name=op.f("fk_attachment_blob_blob")),
        sa.PrimaryKeyConstraint("level", "id", "name", name=op.f("pk_attachment")),
    )
    op.create_index(op.f("ix_attachment_blob"), "attachment", ["blob"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("attachment")
