"""What all tables of the index have in common: where they are declared, and the types of their columns that SQLAlchemy has no name for."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# A number that grows and is never used again: AUTOINCREMENT needs SQLite's own INTEGER.
NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")

# Text in the order of its code points, which is SQLite's own: what begins alike stands together.
KEY = sa.Text(collation="C").with_variant(sa.Text(), "sqlite")
