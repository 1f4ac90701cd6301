"""Actions that wait, as scripts leave them."""

from hostd.archive import rows
from hostd.archive import tables as t


def delete_that_waits(archive, delivery):
    """Have a script's delete wait for a delivery; return the action."""

    def unit(connection):
        run = rows.insert(
            connection,
            t.run,
            script="d.py",
            version="v",
            event=1,
            outcome="done",
            tags_read=[],
            log=[],
            at=1.0,
            seconds=0.1,
        )
        action = rows.insert(
            connection, t.action, run=run, script="d.py", event=1, position=0, verb="delete",
            inputs={"instance": "ia", "content": "a", "after": "delivered"}, state="open",
        )  # fmt: skip
        connection.execute(t.waiting_delete.insert().values(action=action, delivery=delivery))
        return action

    return archive.writer.do(unit)
