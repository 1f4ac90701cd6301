"""Actions, as runs of scripts leave them."""

from hostd.archive import rows
from hostd.archive import tables as t


def run_with_action(connection, *, outcome="done", at=1.0, event=1, **action):
    """Enter a run of a script, and an action that it asked for; return both."""
    run = rows.insert(
        connection, t.run, script="d.py", version="v", event=event, outcome=outcome, tags_read=[], log=[], at=at, seconds=0.1
    )  # fmt: skip
    return run, rows.insert(connection, t.action, run=run, script="d.py", event=event, position=0, **action)


def delete_that_waits(archive, delivery):
    """Have a script's delete wait for a delivery; return the action."""

    def unit(connection):
        inputs = {"instance": "ia", "content": "a", "after": "delivered"}
        _, action = run_with_action(connection, verb="delete", inputs=inputs, state="open")
        connection.execute(t.waiting_delete.insert().values(action=action, delivery=delivery))
        return action

    return archive.writer.do(unit)
