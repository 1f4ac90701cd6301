"""Small data sets of messages, which are no instances: encoded and decoded in the two uncompressed transfer syntaxes."""

from __future__ import annotations

from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from hostd.dicom.parsed_header import require_whole
from hostd.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE
from hostd.errors import UnparsableError

SYNTAXES = (EXPLICIT_LE.uid, IMPLICIT_LE.uid)
_HEAD = 8
"""Bytes that are read of an element at first (PS3.5 §7.1)."""


class Encoded(BytesIO):
    """The bytes of a data set, to be read to their end."""

    def __init__(self, encoded: bytes) -> None:
        super().__init__(encoded)
        self._last = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Return so many bytes, or what there is."""
        found = super().read(size)
        self._last = len(found)
        return found

    def require_end(self) -> None:
        """Raise `UnparsableError` where the last that was read are bytes in which no element has its beginning: readers pass over them."""
        if 0 < self._last < _HEAD:
            raise UnparsableError(f"the data set is cut off: its last {self._last} bytes are no element")


def encode(data_set: Dataset, syntax: str) -> bytes:
    """Return a data set in that transfer syntax (UID; one of `SYNTAXES`)."""
    written = DicomBytesIO()
    written.is_little_endian, written.is_implicit_VR = True, syntax == IMPLICIT_LE.uid
    write_dataset(written, data_set)
    return written.getvalue()


def decode(encoded: bytes, syntax: str) -> Dataset:
    """Return the data set of these bytes. Raises `UnparsableError` where it is cut off, and whatever pydicom raises for what is none; much of that only when it is looked at."""
    file = Encoded(encoded)
    data_set = read_dataset(file, syntax == IMPLICIT_LE.uid, True)
    file.require_end()
    require_whole(data_set, len(encoded))
    return data_set
