"""The helper modules of a script's versions, and how many events its `handles` let pass."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns; what is there has no helpers, and skipped nothing."""
    op.add_column("script_version", sa.Column("helpers", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("cursor", sa.Column("skipped", sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Drop the columns."""
    op.drop_column("cursor", "skipped")
    op.drop_column("script_version", "helpers")
