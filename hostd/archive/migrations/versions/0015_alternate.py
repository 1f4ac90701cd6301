"""Which delivery stands in for one that failed."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add the column."""
    op.add_column("delivery", sa.Column("alternate_of", sa.BigInteger()))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("delivery", "alternate_of")
