"""Of which content of an instance a job made something."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    """Add the column `content` to `job_item`."""
    op.add_column("job_item", sa.Column("content", sa.Text()))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("job_item", "content")
