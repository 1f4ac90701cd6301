"""How much is stored is kept as running sums; patients have the time of what came last, and may be protected."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"

_ADD = (
    "INSERT INTO holding (what, value) VALUES ('{what}', {value})"
    " ON CONFLICT (what) DO UPDATE SET value = holding.value + excluded.value"
)
_WATCHED = (
    ("blob_kept", "AFTER INSERT ON blob", "NOT new.released", "bytes", "new.size"),
    ("blob_let_go", "AFTER UPDATE OF released ON blob", "new.released AND NOT old.released", "bytes", "-old.size"),
    ("blob_kept_again", "AFTER UPDATE OF released ON blob", "old.released AND NOT new.released", "bytes", "new.size"),
    ("blob_lost", "AFTER DELETE ON blob", "NOT old.released", "bytes", "-old.size"),
    ("patient_begun", "AFTER INSERT ON patient", "true", "patients", "1"),
    ("patient_gone", "AFTER DELETE ON patient", "true", "patients", "-1"),
)


def upgrade() -> None:
    """Add the table `holding`, filled in from what is there, its triggers, and the columns by which patients are recycled."""
    false = sa.false()
    op.add_column("blob", sa.Column("recycled", sa.Boolean(), nullable=False, server_default=false))
    op.add_column("patient", sa.Column("last_at", sa.Float(), nullable=False, server_default="0"))
    op.add_column("patient", sa.Column("protected", sa.Boolean(), nullable=False, server_default=false))
    op.execute(
        "UPDATE patient SET last_at ="
        " (SELECT coalesce(max(received_at), 0) FROM instance WHERE instance.patient = patient.id)"
    )
    op.create_index(
        "ix_patient_recycling",
        "patient",
        ["last_at", "id"],
        sqlite_where=sa.text("NOT protected"),
        postgresql_where=sa.text("NOT protected"),
    )
    op.create_table(
        "holding",
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("what", name=op.f("pk_holding")),
    )
    op.execute("INSERT INTO holding SELECT 'bytes', coalesce(sum(size), 0) FROM blob WHERE NOT released")
    op.execute("INSERT INTO holding SELECT 'patients', count(*) FROM patient")
    for name, when, condition, what, value in _WATCHED:
        add = _ADD.format(what=what, value=value)
        if op.get_bind().dialect.name == "sqlite":
            op.execute(f"CREATE TRIGGER hold_{name} {when} FOR EACH ROW WHEN {condition} BEGIN {add}; END")
            continue
        op.execute(
            f"CREATE FUNCTION hold_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {add}; RETURN NULL; END $$"
        )
        op.execute(f"CREATE TRIGGER hold_{name} {when} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION hold_{name}()")


def downgrade() -> None:
    """Drop them."""
    for name, when, *_ in _WATCHED:
        if op.get_bind().dialect.name == "sqlite":
            op.execute(f"DROP TRIGGER hold_{name}")
        else:
            op.execute(f"DROP TRIGGER hold_{name} ON {when.split()[-1]}")
            op.execute(f"DROP FUNCTION hold_{name}()")
    op.drop_table("holding")
    op.drop_index("ix_patient_recycling", "patient")
    op.drop_column("patient", "protected")
    op.drop_column("patient", "last_at")
    op.drop_column("blob", "recycled")
