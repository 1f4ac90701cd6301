"""What peers accept, which delivery was asked for instead of which, and an index to find by accession number."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Add the table `accepted`, the index on `delivery.alternate_of`, and `instance.accession_number`."""
    op.create_table(
        "accepted",
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("sop_class_uid", sa.Text(), nullable=False),
        sa.Column("accepted", sa.JSON(), nullable=False),
        sa.Column("refused", sa.JSON(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("destination", "sop_class_uid", name=op.f("pk_accepted")),
    )
    stands_in = sa.text("alternate_of IS NOT NULL")
    op.create_index(
        "ix_delivery_alternate_of",
        "delivery",
        ["alternate_of"],
        sqlite_where=stands_in,
        postgresql_where=stands_in,
    )
    op.add_column("instance", sa.Column("accession_number", sa.Text(), nullable=False, server_default=""))
    instance = sa.table("instance", sa.column("accession_number", sa.Text), sa.column("attributes", sa.JSON))
    number = instance.c.attributes["study"]["AccessionNumber"].as_string()
    op.execute(sa.update(instance).values(accession_number=sa.func.coalesce(number, "")))
    op.create_index(op.f("ix_instance_accession_number"), "instance", ["accession_number"], postgresql_using="hash")


def downgrade() -> None:
    """Drop them."""
    op.drop_index(op.f("ix_instance_accession_number"), "instance")
    op.drop_column("instance", "accession_number")
    op.drop_index("ix_delivery_alternate_of", "delivery")
    op.drop_table("accepted")
