"""Plans that ask for something to be done later, and looks at what became of it."""

import sqlalchemy as sa

from hostd.archive import events, plans, scripts
from hostd.archive import tables as t
from hostd.archive.plans import Plan
from hostd.archive.tasks import PlannedTask


class Steady:
    """Waits of ten seconds for each try that failed."""

    def next_attempt(self, now, attempts, random):
        return now + 10 * attempts


def told(archive, kind="stored_instance"):
    with archive.read() as connection:
        numbers = connection.execute(sa.select(t.event.c.number).where(t.event.c.kind == kind)).scalars().all()
        return [events.get(connection, number) for number in numbers]


def ask(archive, *planned, event=None, script="a.py", uid="1.2.3.4.5"):
    """Enter a plan of `script` about an event, the newest stored instance's unless told otherwise."""
    event = event or told(archive)[-1]
    plan = Plan(
        script=script, version="v", event=event, sop_instance_uid=uid, sop_class_uid="1.2", outcome="done", actions=planned,
        tags_read=(), log=(), error=None, at=archive.clock.now(), seconds=0.0,
    )  # fmt: skip

    def enter(connection):
        scripts.meet(connection, script, 0.0, from_beginning=True)
        cursor = scripts.get_cursor(connection, script)
        plans.enter(connection, plan, cursor.token, after=cursor.low_water)

    archive.writer.do(enter)


def later(position=0, verb="greet", queue="greetings", **changes):
    return PlannedTask(position, {"x": "x"}, verb, queue, **changes)


def rows(archive, table):
    with archive.read() as connection:
        return connection.execute(sa.select(table).order_by(*table.primary_key.columns)).all()
