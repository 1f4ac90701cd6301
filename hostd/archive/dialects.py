"""What the two databases say differently, as elements of one query."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class _Position(FunctionElement[int]):
    """Where bytes begin to hold others, counted from 1; 0: nowhere."""

    type = sa.Integer()
    inherit_cache = True
    name = "position"


@compiles(_Position, "sqlite")
def _in_sqlite(element: _Position, compiler: SQLCompiler, **options: Any) -> str:
    return f"instr({compiler.process(element.clauses, **options)})"


@compiles(_Position, "postgresql")
def _in_postgresql(element: _Position, compiler: SQLCompiler, **options: Any) -> str:
    within, sought = (compiler.process(clause, **options) for clause in element.clauses)
    return f"position({sought} in {within})"


def contains(column: ColumnElement[bytes | None], sought: bytes) -> ColumnElement[bool]:
    """Return the condition that a column of bytes holds these; no index helps."""
    return _Position(column, sa.literal(sought)) > 0
