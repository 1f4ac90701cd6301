"""Texts of scripts that several nodes share: what was uploaded last, and what each node has seen in its own folder.

A change in a node's folder is an upload: the text that was accepted there is the script's on every node. What lies unchanged in the
folders of others says nothing against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import tables as t


@dataclass(frozen=True, slots=True)
class Text:
    """A script's text as all nodes have it, with the helpers that it imports; `hash` covers both."""

    hash: str
    source: str
    helpers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a node has dealt with of its own folder: the text of that hash, '' for no file; `over`: refused while that text was uploaded."""

    hash: str
    over: str | None


def texts(connection: Connection) -> dict[str, Text]:
    """Return the uploaded texts by the scripts' names."""
    found = connection.execute(sa.select(t.script_text))
    return {row.script: Text(row.hash, row.source, row.helpers) for row in found}


def hashes(connection: Connection) -> list[tuple[str, str]]:
    """Return (script, hash) of the uploaded texts, to be compared with what it was."""
    query = sa.select(t.script_text.c.script, t.script_text.c.hash).order_by(t.script_text.c.script)
    return [(row.script, row.hash) for row in connection.execute(query)]


def seen(connection: Connection, node: str) -> dict[str, Seen]:
    """Return what a node has dealt with, by the scripts' names."""
    found = connection.execute(sa.select(t.script_file).where(t.script_file.c.node == node))
    return {row.script: Seen(row.hash, row.over) for row in found}


def ran(connection: Connection) -> set[tuple[str, str]]:
    """Return (script, hash) of all versions that ever ran."""
    query = sa.select(t.script_version.c.script, t.script_version.c.hash)
    return {(row.script, row.hash) for row in connection.execute(query)}


def upload(connection: Connection, script: str, text: Text, node: str, at: float) -> None:
    """Make a text the script's on all nodes."""
    values = {"hash": text.hash, "source": text.source, "helpers": dict(text.helpers), "node": node, "at": at}
    _upsert(connection, t.script_text, {"script": script}, values)
    note(connection, node, script, Seen(text.hash, None))


def withdraw(connection: Connection, script: str, node: str) -> None:
    """Take a script away on all nodes, because its file is gone from the folder of one."""
    connection.execute(sa.delete(t.script_text).where(t.script_text.c.script == script))
    note(connection, node, script, Seen("", None))


def note(connection: Connection, node: str, script: str, what: Seen) -> None:
    """Note what a node has dealt with."""
    _upsert(connection, t.script_file, {"node": node, "script": script}, {"hash": what.hash, "over": what.over})


def _upsert(connection: Connection, table: sa.Table, key: dict[str, Any], values: dict[str, Any]) -> None:
    where = [table.c[name] == value for name, value in key.items()]
    if connection.execute(sa.update(table).where(*where).values(**values)).rowcount == 0:
        connection.execute(sa.insert(table).values(**key, **values))
