"""Receptions: one instance on its way in, written to its file as it arrives."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

from hostd.archive import digests
from hostd.archive.blobs import BlobFile
from hostd.archive.receiving import Outcome as Stored
from hostd.dicom.header import Header, read_header
from hostd.dicom.part10 import data_set_offset, file_header
from hostd.dicom.recalled_header import Memory
from hostd.errors import MismatchError, UnparsableError

_LONGEST_META = 64 << 10

Outcome = Stored | Literal["filtered out"]
"""What became of what arrived; "filtered out": a filter discarded it, and a row says so."""


@dataclass(frozen=True, slots=True)
class Received:
    """What became of an instance; the identifiers are Orthanc's."""

    instance: str
    patient: str
    study: str
    series: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Complete:
    """An instance that has wholly arrived in its file, which is not yet durable."""

    file: BlobFile
    header: Header
    digest: str
    """Of the file (`hostd.archive.digests`)."""
    data_set_sha256: str


@dataclass(frozen=True, slots=True)
class Manner:
    """How all that comes to an intake is received; headers are read with those of `memory` in mind.

    With `hashes_whole` the digest of a file is the SHA-256 of all of it. With `hastens` the disk begins with the file while its header is
    read, as is good where it has to be on stable storage soon.
    """

    memory: Memory
    hashes_whole: bool
    hastens: bool


class _Reception:
    """What both kinds share: a file that is removed unless `keep` takes it over."""

    def __init__(self, file: BlobFile, keep: Callable[[Complete], Received], manner: Manner) -> None:
        self._file = file
        self._keep = keep
        self._manner = manner
        self._file_hash = hashlib.sha256() if manner.hashes_whole else None
        self._data_set_hash = hashlib.sha256()

    def abandon(self) -> None:
        """Give up: nothing of the instance stays."""
        self._file.abandon()

    def _store(self, *pieces: bytes | memoryview) -> None:
        try:
            self._file.write(*pieces)
        except BaseException:
            self.abandon()
            raise
        if self._file_hash is not None:
            for piece in pieces:
                self._file_hash.update(piece)

    def _complete(self, head: bytes, transfer_syntax: str) -> Complete:
        """Return what has arrived; `head` is what stands in the file before the data set."""
        if self._manner.hastens:
            self._file.hasten()
        header = read_header(
            self._file.reader(),
            offset=len(head),
            transfer_syntax=transfer_syntax,
            size=self._file.size,
            memory=self._manner.memory,
        )
        content = self._data_set_hash.hexdigest()
        digest = digests.of_parts(head, content) if self._file_hash is None else self._file_hash.hexdigest()
        return Complete(self._file, header, digest, content)


class DataSetReception(_Reception):
    """A data set as C-STORE brings it: preamble and file meta information are hostd's (PS3.10 §7.1)."""

    def __init__(
        self,
        file: BlobFile,
        keep: Callable[[Complete], Received],
        manner: Manner,
        *,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax: str,
        source_aet: str | None,
    ) -> None:
        super().__init__(file, keep, manner)
        self._sop_class_uid = sop_class_uid
        self._sop_instance_uid = sop_instance_uid
        self._transfer_syntax = transfer_syntax
        self._head = file_header(sop_class_uid, sop_instance_uid, transfer_syntax, source_aet=source_aet)
        self._store(self._head)

    def write(self, *fragments: bytes | memoryview) -> None:
        """Take the next fragments of the data set. Raises `StorageError` when the disk refuses them."""
        self._store(*fragments)
        for fragment in fragments:
            self._data_set_hash.update(fragment)

    def finish(self) -> Received:
        """Return once the instance is on stable storage. Raises a `ReceptionError` when it was not taken."""
        try:
            complete = self._complete(self._head, self._transfer_syntax)
            _require_same("SOP Class UID", complete.header.sop_class_uid, self._sop_class_uid)
            _require_same("SOP Instance UID", complete.header.sop_instance_uid, self._sop_instance_uid)
        except BaseException:
            self.abandon()
            raise
        return self._keep(complete)


class FileReception(_Reception):
    """A DICOM file (PS3.10) as HTTP brings it, kept byte for byte."""

    def __init__(self, file: BlobFile, keep: Callable[[Complete], Received], manner: Manner) -> None:
        super().__init__(file, keep, manner)
        self._begin: bytearray | None = bytearray()
        """What came first, until it is known where the data set begins."""
        self._head = b""
        self._transfer_syntax = ""

    def write(self, piece: bytes | memoryview) -> None:
        """Take the next piece of the file. Raises `StorageError`, or `UnparsableError` as soon as it cannot be DICOM."""
        self._store(piece)
        if self._begin is None:
            self._data_set_hash.update(piece)
            return
        self._begin += piece
        if len(self._begin) >= _LONGEST_META:
            self._read_head()

    def finish(self) -> Received:
        """Return once the instance is on stable storage. Raises a `ReceptionError` when it was not taken."""
        if self._begin is not None:
            self._read_head()
        try:
            complete = self._complete(self._head, self._transfer_syntax)
        except BaseException:
            self.abandon()
            raise
        return self._keep(complete)

    def _read_head(self) -> None:
        """Find where the data set begins; what came of it so far is hashed."""
        assert self._begin is not None
        begin, self._begin = bytes(self._begin), None
        try:
            start = data_set_offset(BytesIO(begin))
        except UnparsableError:
            self.abandon()
            raise
        self._head, self._transfer_syntax = begin[: start.offset], start.transfer_syntax_uid
        self._data_set_hash.update(begin[start.offset :])


def _require_same(name: str, in_data_set: str, in_command: str) -> None:
    if in_data_set != in_command:
        raise MismatchError(f"{name}: data set {in_data_set}, command {in_command}")
