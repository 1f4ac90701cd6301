"""What C-MOVE and C-GET may be asked with: any bytes are an identifier, or are refused in words."""

import random
import struct

import pytest

from hostd.dicom import retrieve
from hostd.dicom.identifiers import IdentifierError
from hostd.errors import UnparsableError

EXPLICIT = "1.2.840.10008.1.2.1"
LEVEL = b"\x08\x00\x52\x00CS\x06\x00"


def sequence(tag, item):
    item = struct.pack("<HHL", 0xFFFE, 0xE000, len(item)) + item
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF) + b"SQ\0\0" + struct.pack("<L", len(item)) + item


def test_a_sequence_for_a_patient_id_with_a_vr_that_is_none_in_it_is_refused_in_words():
    patient = sequence(0x00100020, b"\x08\x00\x60\x00XX\x02\x00CT")
    with pytest.raises(IdentifierError, match="PatientID is not one text"):
        retrieve.decode(LEVEL + b"STUDY " + patient, EXPLICIT, retrieve.STUDY_ROOT_MOVE)


def test_several_patient_ids_are_refused_in_words_for_they_name_no_patient():
    patient = b"\x10\x00\x20\x00LO\x04\x00A\\B "
    with pytest.raises(IdentifierError, match="PatientID is not one text"):
        retrieve.decode(LEVEL + b"PATIEN"[:6] + patient, EXPLICIT, retrieve.PATIENT_ROOT_MOVE)


def test_whatever_bytes_it_has_an_identifier_is_read_or_refused():
    chance = random.Random(7)
    whole = (
        LEVEL + b"SERIES"
        + b"\x10\x00\x20\x00LO\x04\x001CT1"
        + b"\x20\x00\x0d\x00UI\x04\x001.2\0"
        + b"\x20\x00\x0e\x00UI\x08\x001.2\\1.3\0"
        + sequence(0x00081111, b"\x08\x00\x60\x00CS\x02\x00CT")
    )  # fmt: skip
    read = 0
    for _ in range(3000):
        hurt = bytearray(whole)
        for _ in range(chance.randrange(4)):
            hurt[chance.randrange(len(hurt))] = chance.choice((0, 0xFF, ord("X"), ord("S"), chance.randrange(256)))
        try:
            retrieve.decode(
                bytes(hurt[: chance.choice((len(hurt), chance.randrange(len(hurt))))]),
                EXPLICIT,
                retrieve.STUDY_ROOT_GET,
            )
            read += 1
        except (IdentifierError, UnparsableError):
            pass
    assert read > 100
