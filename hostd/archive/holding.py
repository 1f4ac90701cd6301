"""How much the archive holds, as running sums that the database keeps by itself: to read them costs the same however much there is.

`bytes` are those of all files that are kept, current ones and versions; what was let go and waits for its removal is not among them.
Triggers keep the sums, so that no way in or out can forget to. Beside them stands what was done to stay within `[storage]`.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import rows
from hostd.archive import tables as t

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


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes of kept files, and patients; and since the index was made, what was recycled, and how many instances were refused for want of room."""

    size: int = 0
    patients: int = 0
    recycled_patients: int = 0
    recycled_instances: int = 0
    refused: int = 0


def keep(connection: Connection) -> None:
    """Have the database keep the sums from now on."""
    for name, when, condition, what, value in _WATCHED:
        add = _ADD.format(what=what, value=value)
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(
                f"CREATE TRIGGER hold_{name} {when} FOR EACH ROW WHEN {condition} BEGIN {add}; END"
            )
            continue
        connection.exec_driver_sql(
            f"CREATE FUNCTION hold_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {add}; RETURN NULL; END $$"
        )
        connection.exec_driver_sql(
            f"CREATE TRIGGER hold_{name} {when} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION hold_{name}()"
        )


def held(connection: Connection) -> Held:
    """Return the sums as they are in this transaction."""
    found = {what: int(value) for what, value in _ALL.rows(connection)}
    return Held(found.pop("bytes", 0), **found)


def count(connection: Connection, what: str, more: int = 1) -> None:
    """Add to what was done to stay within limits."""
    _COUNT.rows(connection, what=what, more=more)


_ALL = rows.Prepared(sa.select(t.holding.c.what, t.holding.c.value))
_COUNT = rows.Prepared(
    sa.text(
        "INSERT INTO holding (what, value) VALUES (:what, :more)"
        " ON CONFLICT (what) DO UPDATE SET value = holding.value + excluded.value RETURNING value"
    )
)
