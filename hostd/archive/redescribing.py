"""What the index says of instances, written anew from their files: an older hostd left out of main tags what is empty, and numbers.

Nothing is told to scripts: what is stored stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import catalogue, receiving
from hostd.archive import tables as t
from hostd.archive.archive import Archive
from hostd.archive.labels import Subject
from hostd.dicom.header import Header, read_file_header
from hostd.errors import HostdError

_AT_ONCE = 50
"""Instances that one unit of the writer describes, so that it stays free."""


@dataclass(frozen=True, slots=True)
class Redescribed:
    """How many instances were described anew, and by identifier why others were not: their files cannot be read."""

    instances: int
    unreadable: dict[str, str]


def redescribe(archive: Archive, subject: Subject | None = None, identifier: str = "") -> Redescribed:
    """Describe the instances of one of the four levels anew, or all there are."""
    count = 0
    unreadable: dict[str, str] = {}
    for some in _pages(archive, subject, identifier):
        headers = {}
        for instance, blob in some:
            try:
                headers[blob] = _header(archive, instance, blob)
            except (OSError, HostdError) as error:
                unreadable[instance] = str(error)
        count += archive.writer.do(partial(_write, headers=headers))
    return Redescribed(count, unreadable)


def _pages(archive: Archive, subject: Subject | None, identifier: str) -> Iterator[Sequence[tuple[str, str]]]:
    """Yield identifiers of instances with the names of their files."""
    own = t.instance.c
    query = sa.select(own.id, own.blob).order_by(own.id).limit(_AT_ONCE)
    if subject is not None:
        query = query.where((own.id if subject == "instance" else own[subject]) == identifier)
    last = ""
    while True:
        with archive.read() as connection:
            some = [(one, blob) for one, blob in connection.execute(query.where(own.id > last))]
        if not some:
            return
        yield some
        last = some[-1][0]


def _header(archive: Archive, instance: str, blob: str) -> Header:
    header = read_file_header(archive.blobs.path(blob))
    if header.identity.instance != instance:
        raise HostdError(f"its file {blob} holds another instance")
    return header


def _write(connection: Connection, headers: dict[str, Header]) -> int:
    """Describe instances whose files are still these, and what they are in; return how many."""
    described = {blob: receiving.describe(connection, header, blob) for blob, header in headers.items()}
    for level in catalogue.TABLES:
        for identifier in {getattr(header.identity, level) for blob, header in headers.items() if described[blob]}:
            catalogue.renew(connection, level, identifier)
    return sum(described.values())
