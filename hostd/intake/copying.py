"""Copying a DICOM file that lies somewhere into a file of the archive's own, on stable storage."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from hostd.archive import digests
from hostd.archive.blobs import BlobFile
from hostd.archive.records import Blob
from hostd.dicom.header import Header
from hostd.errors import UnparsableError

_PIECE = 1 << 20


def copy(source: BinaryIO, into: BlobFile, header: Header, *, offset: int) -> tuple[Blob, str]:
    """Write all of `source`, whose header that is, and return the stored file, and the SHA-256 of its data set.

    The data set begins at `offset`. The file is on stable storage then, its name need not be; it stays open, and the caller abandons it
    where anything fails. Raises `StorageError`, `OSError`, and `UnparsableError` for a file that is not of the size that its header tells.
    """
    data_set = hashlib.sha256()
    source.seek(0)
    head = source.read(offset)
    into.write(head)
    while piece := source.read(_PIECE):
        into.write(piece)
        data_set.update(piece)
    if into.size != header.size:
        raise UnparsableError("the file changed while it was read")
    into.seal()
    content = data_set.hexdigest()
    return Blob(into.name, into.size, digests.of_parts(head, content), header.transfer_syntax), content


def content_of(source: BinaryIO, *, offset: int) -> str:
    """Return the SHA-256 of the data set that begins at `offset`. Raises `OSError`."""
    digest = hashlib.sha256()
    source.seek(offset)
    while piece := source.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()
