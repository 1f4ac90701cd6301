"""What of a script that runs will not work."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Add the column `warning` of a script."""
    op.add_column("script", sa.Column("warning", sa.Text()))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("script", "warning")
