"""Where the answers to a running script's questions come from: the archive, or files that are rehearsed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import msgspec
from sqlalchemy import Connection

from hostd.archive import marks, members
from hostd.archive.fanout import Many
from hostd.archive.labels import Subject
from hostd.archive.levels import LevelFacts
from hostd.archive.marks import Marks
from hostd.archive.members import Member
from hostd.archive.records import Event, Origin
from hostd.dicom.header import Header, read_file_header
from hostd.errors import HostdError
from hostd.sandbox import frames
from hostd.scripting.plan import as_frames_instance

Page = list[tuple[int, frames.Instance]]

_PAGE = 20
_PAGE_BYTES = frames.MAX_VALUE // 2


class Source(Protocol):
    """Answers for one event."""

    def file(self, of: str) -> Path:
        """Return the file of the event's own instance (''), or of a member. Raises `LookupError` with the reason when it is not kept."""
        ...

    def page(self, *, new_only: bool, after: tuple[int, str]) -> Page:
        """Return the next members, each with its place, that come after a place and identifier."""
        ...

    def first(self) -> frames.Instance | None:
        """Return the first member."""
        ...

    def origins(self) -> list[frames.Origin]:
        """Return where the members came from."""
        ...

    def marks(self, of: str) -> Marks:
        """Return what is noted of the event's subject or of a member, nothing where it is not stored. Raises `LookupError` for anything else."""
        ...


class ArchiveSource:
    """Answers from an archive. `read` gives a connection; `path` tells where a stored file is, or was.

    `given` are the subjects, by id, that answers gave to the script beyond those of its event.
    """

    def __init__(
        self,
        event: Event,
        read: Callable[[], AbstractContextManager[Connection]],
        path: Callable[[str], Path],
        given: dict[str, Many] | None = None,
    ) -> None:
        self._event = event
        self._facts = LevelFacts.of(event.facts)
        self._read = read
        self._path = path
        self._is_found = given is not None
        self.given: dict[str, Many] = {} if given is None else given

    def file(self, of: str) -> Path:
        """Return the file that is asked for."""
        blob = self._event.blob if not of else self._blob_of(of)
        if blob is None:
            raise LookupError(
                "that instance was deleted or replaced since"
                if of
                else "the content of this event was refused and is not kept"
            )
        if not self._path(blob).exists():
            raise LookupError("the file cannot be read: what this event was about is no longer kept")
        return self._path(blob)

    def page(self, *, new_only: bool, after: tuple[int, str]) -> Page:
        """Return the next members: so many as one frame takes."""
        if self._facts is None:
            return []
        with self._read() as connection:
            found = members.page(connection, self._event, self._facts, new_only=new_only, after=after, limit=_PAGE)
        answered: Page = []
        size = 0
        for member in found:
            instance = self._instance(member)
            size += len(msgspec.msgpack.encode(instance))
            if answered and size > _PAGE_BYTES:
                break
            answered.append((member.told, instance))
            self._give(member)
        return answered

    def first(self) -> frames.Instance | None:
        """Return the first member, as it was at the event."""
        if self._facts is None:
            return None
        with self._read() as connection:
            member = members.first(connection, self._event, self._facts)
        if member is None:
            return None
        self._give(member)
        return self._instance(member)

    def origins(self) -> list[frames.Origin]:
        """Return where the members came from."""
        if self._facts is None:
            return []
        with self._read() as connection:
            found = members.origins(connection, self._event, self._facts)
        return [frames.Origin(**origin.to_json()) for origin in found]

    def marks(self, of: str) -> Marks:
        """Return what is noted of one, or was when it was deleted."""
        if of == self._event.subject and self._event.kind.startswith("deleted_"):
            had = self._event.facts or {}
            return Marks(had.get("metadata", {}), list(had.get("labels", ())))
        level: Subject = self._facts.level if self._facts is not None else "instance"
        if of in self.given:
            many = self.given[of]
            level = "instance" if many.instance else many.level
        elif of != self._event.subject:
            if self._blob_of(of) is None:
                raise LookupError("that is none of the instances of this event, or it was deleted or replaced since")
            level = "instance"
        with self._read() as connection:
            return marks.get(connection, level, of) or Marks()

    def _give(self, member: Member) -> None:
        """Note that the script may act upon a member of what it has found."""
        if self._is_found:
            self.given[member.id] = Many.of(self._event, member.id)

    def _blob_of(self, instance: str) -> str | None:
        with self._read() as connection:
            if instance in self.given:
                return members.blob_of_one(connection, self.given[instance])
            if self._facts is None:
                return None
            return members.blob_of(connection, self._event, self._facts, instance)

    def _instance(self, member: Member) -> frames.Instance:
        return self.described(member)

    def described(self, member: Member) -> frames.Instance:
        """Return an instance as a script sees it."""
        header = Header.decode(member.header) if member.header else read_file_header(self._path(member.blob))
        return as_frames_instance(member.id, header, member.origin, member.receipt)


class FilesSource:
    """Answers from files that are rehearsed as the members of one level: identifier → file and header, in order."""

    def __init__(self, files: Mapping[str, tuple[Path, Header]], origin: Origin | None = None) -> None:
        self._files = files
        self._origin = origin or Origin("import")

    def file(self, of: str) -> Path:
        """Return the file that is asked for."""
        if of and of not in self._files:
            raise LookupError("that instance is not among the files")
        return self._files[of or next(iter(self._files))][0]

    def page(self, *, new_only: bool, after: tuple[int, str]) -> Page:
        """Return the next members; all of them are new."""
        del new_only
        start = after[0] + 1
        ids = list(self._files)[start : start + _PAGE]
        return [(start + index, self._instance(one)) for index, one in enumerate(ids)]

    def first(self) -> frames.Instance | None:
        """Return the first file's instance."""
        return next((self._instance(one) for one in self._files), None)

    def origins(self) -> list[frames.Origin]:
        """Return where they are said to come from."""
        return [frames.Origin(**self._origin.to_json())]

    def marks(self, of: str) -> Marks:
        """Return that nothing is noted of a file."""
        del of
        return Marks()

    def _instance(self, identifier: str) -> frames.Instance:
        return as_frames_instance(identifier, self._files[identifier][1], self._origin, None)


def with_header(event: Event, path: Callable[[str], Path]) -> Event:
    """Return the event of a change or delete with the header of its instance, from the file where no event holds it any more.

    One without an origin tells of a delivery or a transcode whose own event is no longer kept: it is left without its instance. Raises
    `HostdError` when that file is gone.
    """
    if event.header is not None or event.blob is None or event.origin is None:
        return event
    try:
        header = read_file_header(path(event.blob))
    except OSError as error:
        raise HostdError(
            f"the file of instance {event.subject} is missing ({error.strerror}), and its header is in no event any more"
        ) from error
    return replace(event, header=header.encode())
