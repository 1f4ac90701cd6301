"""Files that are attached to what is stored, by name: kept as long as it is, and removed as all other files are."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import tables as t
from hostd.archive.labels import Subject

MOST = 100
"""Attachments that one instance, series, study or patient may have."""

_LEVELS: tuple[tuple[Subject, str], ...] = (
    ("patient", "patient"), ("study", "study"), ("series", "series"), ("instance", "id"),
)  # fmt: skip
_BELOW = {level: _LEVELS[number + 1 :] for number, (level, _) in enumerate(_LEVELS)}
"""The levels below each, and where the identifiers of those stand with an instance."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file `blob` of `stored_size` bytes; where it is compressed, what was attached has `size` bytes and the digest `md5`."""

    name: str
    blob: str
    size: int
    md5: str
    stored_size: int
    stored_md5: str
    is_compressed: bool


@dataclass(frozen=True, slots=True)
class Room:
    """What attachments take: bytes of their files, and of what was attached."""

    stored: int
    attached: int


def names(connection: Connection, subject: Subject, identifier: str) -> list[str]:
    """Return the names of what is attached to one, sorted."""
    query = sa.select(t.attachment.c.name).where(*_of(subject, identifier)).order_by(t.attachment.c.name)
    return list(connection.execute(query).scalars())


def get(connection: Connection, subject: Subject, identifier: str, name: str) -> Attachment | None:
    """Return what is attached to one under that name, None where nothing is."""
    own = t.attachment.c
    query = (
        sa.select(own.name, own.blob, own.size, own.md5, t.blob.c.size, own.stored_md5, own.compressed)
        .join(t.blob, t.blob.c.name == own.blob)
        .where(*_of(subject, identifier), own.name == name)
    )
    row = connection.execute(query).first()
    return None if row is None else Attachment(*row)


def room(connection: Connection) -> Room:
    """Return what all attachments take."""
    return _room(connection, sa.true())


def room_of(connection: Connection, subject: Subject, identifier: str) -> Room:
    """Return what is attached to one, and to all that is below it, takes."""
    below = (
        sa.and_(
            t.attachment.c.level == level,
            t.attachment.c.id.in_(sa.select(t.instance.c[name]).where(t.instance.c[subject] == identifier)),
        )
        for level, name in _BELOW[subject]
    )
    return _room(connection, sa.or_(sa.and_(*_of(subject, identifier)), *below))


def _room(connection: Connection, where: sa.ColumnElement[bool]) -> Room:
    sums = (sa.func.coalesce(sa.func.sum(size), 0) for size in (t.blob.c.size, t.attachment.c.size))
    row = connection.execute(sa.select(*sums).join_from(t.attachment, t.blob).where(where)).one()
    return Room(*map(int, row))


def put(connection: Connection, subject: Subject, identifier: str, attached: Attachment) -> None:
    """Attach a file, whose row is there, to what is stored, in the place of the one of that name."""
    remove(connection, subject, identifier, attached.name)
    connection.execute(
        sa.insert(t.attachment).values(
            level=subject,
            id=identifier,
            name=attached.name,
            blob=attached.blob,
            size=attached.size,
            md5=attached.md5,
            stored_md5=attached.stored_md5,
            compressed=attached.is_compressed,
        )
    )


def remove(connection: Connection, subject: Subject, identifier: str, name: str) -> None:
    """Take away what is attached to one under that name."""
    _drop(connection, *_of(subject, identifier), t.attachment.c.name == name)


def forget(connection: Connection, subject: Subject, identifier: str) -> None:
    """Take away all that is attached to what is no longer stored."""
    _drop(connection, *_of(subject, identifier))


def _drop(connection: Connection, *where: sa.ColumnElement[bool]) -> None:
    blobs = connection.execute(sa.delete(t.attachment).where(*where).returning(t.attachment.c.blob)).scalars().all()
    if blobs:
        connection.execute(sa.update(t.blob).where(t.blob.c.name.in_(blobs)).values(released=True))


def _of(subject: Subject, identifier: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return t.attachment.c.level == subject, t.attachment.c.id == identifier
