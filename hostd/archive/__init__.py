"""The archive: the index, its tables, the one writer, and the files it speaks of (DESIGN.md §4).

All state of a node is here. Functions that take a connection are units of work or parts of one: what they do is committed by
the writer, together or not at all.

How to write a query for both databases, SQLite and PostgreSQL:

- A unit is alone with the index, on both (`postgresql`): what it reads stays true until it is committed, on this node and on others, so
  that to look first and to write then is safe. What was read outside a unit is old: look again inside, or write `WHERE` it is still so.
- A unit may be called again after its transaction was lost: it changes nothing outside the index, or something that may be changed twice.
- Take times from the clock that is handed in. Only leases ask the database for its time (`leases.clock`).
- Numbers of rows grow, but have gaps on PostgreSQL: compare them, and never add to them.
- `sum` of whole numbers is a decimal number there: `int(...)` or `sa.cast(..., sa.BigInteger)`.
- `rowcount` of `INSERT ... SELECT` needs `execution_options={"preserve_rowcount": True}`; that of UPDATE and DELETE is always there.
- Nothing compares JSON columns, or has them in `DISTINCT` or `GROUP BY`; one value is taken out by `column["key"].as_string()`.
- An expression with a value in it is given a `label`, and grouped by that: written twice it is two expressions there.
- A column of text that may be long (a transform, a reason) is in no index but as a hash; see `uq_delivery_open`.
- A partial index says its condition as `sqlite_where` and `postgresql_where`; a default of a Boolean is `sa.false()`, never `"0"`.
- `startswith(x, autoescape=True)`; bytes within bytes by `dialects.contains`; upserts by `ON CONFLICT (columns) DO UPDATE`.
- Types are strict there: a number is not compared with a text, nor a Boolean with 1.

A module of tests that says `BOTH_DATABASES = True` has the fixture `place` on each (tests/databases.py).
"""
