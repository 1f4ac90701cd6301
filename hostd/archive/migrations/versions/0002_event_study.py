"""Events know the study that they are about, so that its history is found without reading every header."""

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


class _Header(msgspec.Struct):
    study_instance_uid: str


def upgrade() -> None:
    """Add `event.study`, filled in from the headers that are there."""
    op.add_column("event", sa.Column("study", sa.Text()))
    op.create_index("ix_event_study", "event", ["study"])
    event = sa.table("event", sa.column("number"), sa.column("header"), sa.column("study"))
    connection = op.get_bind()
    decoder = msgspec.msgpack.Decoder(_Header)
    after = 0
    while rows := connection.execute(
        sa.select(event.c.number, event.c.header)
        .where(event.c.number > after, event.c.header.is_not(None))
        .order_by(event.c.number)
        .limit(1000)
    ).all():
        connection.execute(
            sa.update(event).where(event.c.number == sa.bindparam("at")).values(study=sa.bindparam("uid")),
            [{"at": row.number, "uid": decoder.decode(row.header).study_instance_uid} for row in rows],
        )
        after = rows[-1].number
