"""Data sets that are read from files as they are sent, by C-STORE sub-operations of either side."""

from __future__ import annotations

from typing import BinaryIO

from hostd.dimse.errors import ShortDataSetError


class DataSetReader:
    """The data set in the file, bounded by its length."""

    def __init__(self, data: BinaryIO, length: int | None, sop_instance_uid: str) -> None:
        self._data = data
        self._left = length
        self._sop_instance_uid = sop_instance_uid

    def readinto(self, view: memoryview) -> int:
        """Read into the view; return how many bytes, 0 at the end of the data set."""
        if self._left is not None:
            view = view[: self._left]
            if not view:
                return 0
        count = _readinto(self._data, view)
        if self._left is not None:
            if not count:
                raise ShortDataSetError(
                    f"the file of instance {self._sop_instance_uid} ends {self._left} bytes before its data set does"
                )
            self._left -= count
        return count


def _readinto(data: BinaryIO, view: memoryview) -> int:
    readinto = getattr(data, "readinto", None)
    if readinto is not None:
        return int(readinto(view) or 0)
    piece = data.read(len(view))
    view[: len(piece)] = piece
    return len(piece)
