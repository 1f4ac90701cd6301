"""When which version of a script ran, what people decided about scripts, what is run again, and what scripts used up."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_SCRIPT = ("pinned", "pinned_over", "approved", "waiting", "parked", "parked_why")


def upgrade() -> None:
    """Add tables and columns; the periods of versions that ran are made from when each was accepted."""
    for name in _SCRIPT:
        op.add_column("script", sa.Column(name, sa.Text()))
    op.add_column("script", sa.Column("disabled", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("cursor", sa.Column("parked_in_a_row", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("event", sa.Column("only_for", sa.Text()))
    op.add_column("event", sa.Column("repeats", sa.BigInteger()))
    op.create_index("ix_event_repeats", "event", ["repeats"])
    op.add_column("run", sa.Column("repeated_as", sa.BigInteger()))
    is_parked = sa.text("outcome = 'parked'")
    op.create_index("ix_run_parked", "run", ["script", "event"], sqlite_where=is_parked, postgresql_where=is_parked)
    op.create_table(
        "usage",
        sa.Column("script", sa.Text(), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("actions", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("script", "hour", name=op.f("pk_usage")),
    )
    _make_periods()


def _make_periods() -> None:
    op.create_table(
        "script_period",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("script", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("until", sa.Float()),
        sa.ForeignKeyConstraint(["script"], ["script.name"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_script_period")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_script_period_script", "script_period", ["script"])
    # The one that runs has no end; that of one that ended without a next is when its file was missed first.
    op.execute(
        """
        INSERT INTO script_period (script, version, since, until)
        SELECT v.script, v.hash, v.accepted_at,
               COALESCE(LEAD(v.accepted_at) OVER (PARTITION BY v.script ORDER BY v.accepted_at, v.hash),
                        CASE WHEN s.state = 'running' THEN NULL ELSE COALESCE(s.absent_since, v.accepted_at) END)
        FROM script_version v JOIN script s ON s.name = v.script
        ORDER BY v.accepted_at, v.hash
        """
    )


def downgrade() -> None:
    """Drop what was added."""
    op.drop_table("script_period")
    op.drop_table("usage")
    op.drop_index("ix_run_parked", "run")
    op.drop_column("run", "repeated_as")
    op.drop_index("ix_event_repeats", "event")
    op.drop_column("event", "repeats")
    op.drop_column("event", "only_for")
    op.drop_column("cursor", "parked_in_a_row")
    for name in ("disabled", *reversed(_SCRIPT)):
        op.drop_column("script", name)
