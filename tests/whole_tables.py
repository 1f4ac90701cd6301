"""Watches what hostd asks the index: of the tables that grow none is read through but by those that are known here, each with its reason.

A folder of tests whose conftest.py imports the fixture looks at every statement that hostd executes on SQLite in its tests, whoever asks for it, so
that a new one without an index fails in the first test that comes to it. What tests themselves ask for does not count. SQLite itself tells what is
executed, and the plans are those of an index without rows: nothing in between notices.
"""

import contextlib
import os
import re
import sqlite3
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from hostd.archive.tables import metadata

HOSTD = str(Path(__file__).parent.parent / "hostd") + os.sep
TESTS = str(Path(__file__).parent) + os.sep
GROWING = ("instance", "series", "study", "patient", "event", "delivery", "attempt", "blob")
"""Tables that have a row for each instance, or for each patient, or several."""
KNOWN = {
    "archive/backlog.py _last_error": "the newest attempts, by their number",
    "archive/backlog.py _rates": "the newest attempts, by their number",
    "archive/deliveries.py counts": "all deliveries by destination and state, in an index that holds both, where people look",
    "archive/deliveries.py listing": "a page, in the order of numbers",
    "archive/history.py _add_told": "only what nothing that is stored has the name of: events alone can tell of it",
    "archive/history.py unrouted": "a page, in the order of an index",
    "archive/instances.py count": "counts all there is, where somebody asks for that",
    "archive/instances.py having": "hostd asks for columns that have an index, tests for others, too",
    "archive/instances.py ids": "a page, in the order of an index",
    "archive/instances.py newest": "a page, in the order of an index",
    "archive/instances.py page": "a page, in the order of an index",
    "archive/instances.py statistics": "counts all there is, where somebody asks for that",
    "archive/inventory.py Inventory.size": "a backup, or a check, of all there is",
    "archive/removal.py names_present": "the sweep at a start, which looks at every file",
}
"""The function of hostd's that reads a table through → why it may."""

_EXPLAINED = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)
_VALUES = re.compile(r"[xX]?'(?:[^']|'')*'|\b\d+(?:\.\d+)?(?:e[+-]?\d+)?\b")
_SCAN = re.compile(rf"SCAN (?:{'|'.join(GROWING)})\b(?: USING (?:COVERING )?INDEX (\w+))?")
_OF_SOME = {
    index.name
    for table in metadata.tables.values()
    for index in table.indexes
    if index.dialect_options["sqlite"]["where"] is not None
}
"""Indexes of a part of their table: to walk one is not to read the table."""
_ONCE = "archive/migrations/"
"""What an index is brought up to date by may look at all of it."""
_WAYS = ("archive/rows.py", "archive/lookups.py")
"""Modules by which others ask."""
_met = {}
"""Statements, without their values, of this process → who asked, and the statement; those that were looked at are None."""


def _asker():
    """Return the innermost function of hostd's on the stack; None where a test executes the statement itself."""
    frame = sys._getframe(2)
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(TESTS):
            return None
        if path.startswith(HOSTD) and not path.endswith(_WAYS):
            return f"{path.removeprefix(HOSTD)} {frame.f_code.co_qualname}"
        frame = frame.f_back
    return None


class _Watch:
    is_on = False
    """Whether a test runs that watches: what is asked for in those of other folders, in the same process, is theirs."""


def _meet(statement):
    if not _Watch.is_on or not _EXPLAINED.match(statement):
        return
    shape = _VALUES.sub("?", statement)
    if shape not in _met and (asker := _asker()) is not None:
        _met[shape] = asker, statement


def _follow(connection, _record):
    if isinstance(connection, sqlite3.Connection):
        connection.set_trace_callback(_meet)


sa.event.listen(sa.pool.Pool, "connect", _follow)


def _steps(connection, shape, statement):
    """Return the steps of a plan; where values may not stand in a statement as SQLite writes it, of that without any."""
    for text, values in ((statement, []), (shape, [None] * shape.count("?"))):
        with contextlib.suppress(sqlite3.OperationalError):
            return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", values)]
    return []  # of another database than the index


def read_through(index):
    """Return what read a table through since it was asked last, and is not known: who asked, the step of the plan, the statement."""
    found = []
    with sqlite3.connect(index) as connection:
        for shape, told in list(_met.items()):
            if told is None or told[0] in KNOWN or told[0].startswith(_ONCE):
                continue
            steps = _steps(connection, shape, told[1])
            through = [step for step in steps if (scan := _SCAN.match(step)) and scan[1] not in _OF_SOME]
            found += [(told[0], step, told[1]) for step in through]
            _met[shape] = None
    return found


@pytest.fixture(autouse=True)
def no_table_is_read_through(_index_with_tables):
    """Fail where a test had a table read through that is not to be."""
    _Watch.is_on = True
    yield
    _Watch.is_on = False
    found = read_through(_index_with_tables)
    assert not found, (
        f"a table that grows is read through: it needs an index, or a reason in tests/whole_tables.py: {found}"
    )
