"""Who is who in a project."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table of pseudonyms."""
    op.create_table(
        "pseudonym",
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("pseudonym", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("project", "patient_id", "issuer", name=op.f("pk_pseudonym")),
    )
    op.create_index("uq_pseudonym_of_project", "pseudonym", ["project", "pseudonym"], unique=True)
