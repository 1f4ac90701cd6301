import sqlalchemy as sa

from hostd.archive import events, plans, scripts
from hostd.archive import tables as t
from hostd.archive.plans import Plan, PlannedDelete
from hostd.archive.scripts import Version
from hostd.testing.made import arrive

BOTH_DATABASES = True


def test_a_delete_at_once_needs_no_after_among_its_inputs(archive):
    """What a script left out does not stand in the row."""
    archive.writer.do(lambda c: scripts.meet(c, "a.py", 1.0, from_beginning=True))
    cursor, _ = archive.writer.do(lambda c: scripts.accept(c, "a.py", Version("h1", "pass", ()), 1.0))
    arrive(archive)
    with archive.read() as connection:
        (event,) = events.after(connection, 0, ["stored_instance"], 10)
    delete = PlannedDelete(0, {"x": event.subject}, None)
    plan = Plan("a.py", "h1", event, "1.2.3.4.5", "1.2", "done", (delete,), (), (), None, 1.0, 0.0)
    archive.writer.do(lambda c: plans.enter(c, plan, cursor.token, after=0))
    with archive.read() as connection:
        assert connection.execute(sa.select(t.instance)).all() == []
        assert connection.execute(sa.select(t.action.c.state)).scalar() == "done"
