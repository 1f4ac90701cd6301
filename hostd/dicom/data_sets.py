"""Small data sets of messages, which are no instances: encoded and decoded in the two uncompressed transfer syntaxes."""

from __future__ import annotations

from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from hostd.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE

SYNTAXES = (EXPLICIT_LE.uid, IMPLICIT_LE.uid)


def encode(data_set: Dataset, syntax: str) -> bytes:
    """Return a data set in that transfer syntax (UID; one of `SYNTAXES`)."""
    written = DicomBytesIO()
    written.is_little_endian, written.is_implicit_VR = True, syntax == IMPLICIT_LE.uid
    write_dataset(written, data_set)
    return written.getvalue()


def decode(encoded: bytes, syntax: str) -> Dataset:
    """Return the data set of these bytes. Raises whatever pydicom raises for what is none; much of it only when it is looked at."""
    return read_dataset(BytesIO(encoded), syntax == IMPLICIT_LE.uid, True)
