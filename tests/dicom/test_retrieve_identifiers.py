"""What C-MOVE and C-GET may be asked with: any bytes are an identifier, or are refused in words."""

import random
import struct

import pytest
from pydicom.dataset import Dataset

from hostd.dicom import commitment, data_sets, identifiers, retrieve
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


def test_a_patient_id_with_a_backslash_names_one_patient():
    patient = b"\x10\x00\x20\x00LO\x04\x00A\\B "
    level = b"\x08\x00\x52\x00CS\x08\x00PATIENT "
    assert retrieve.decode(level + patient, EXPLICIT, retrieve.PATIENT_ROOT_MOVE).patient_id == "A\\B"


@pytest.mark.parametrize("syntax", data_sets.SYNTAXES)
def test_an_identifier_that_is_cut_off_anywhere_is_refused_and_asks_for_nothing_less(syntax):
    asked = Dataset()
    asked.QueryRetrieveLevel = "STUDY"
    asked.StudyInstanceUID = ["1.2.3", "1.2.4"]
    asked.RequestedProcedureID = "P1"
    whole = data_sets.encode(asked, syntax)
    assert retrieve.decode(whole, syntax, retrieve.STUDY_ROOT_MOVE).studies == ("1.2.3", "1.2.4")
    ends = {len(whole) - len(data_sets.encode(part, syntax)) for part in parts_of(asked)}
    for length in range(1, len(whole)):
        if length in ends:
            continue
        with pytest.raises(UnparsableError):
            retrieve.decode(whole[:length], syntax, retrieve.STUDY_ROOT_MOVE)
        with pytest.raises(UnparsableError):
            identifiers.decode(whole[:length], syntax)


def parts_of(data_set):
    """Return what is left of a data set after each of its elements but the last."""
    tags = sorted(data_set.keys())
    return [Dataset({tag: data_set[tag] for tag in tags[place:]}) for place in range(1, len(tags))]


def test_a_request_for_storage_commitment_that_is_cut_off_is_refused():
    whole = commitment.encode_request("1.2.9", [commitment.Reference("1.2.840.10008.5.1.4.1.1.2", "1.2.3")], EXPLICIT)
    assert commitment.decode_request(whole, EXPLICIT)[0] == "1.2.9"
    for encoded in (whole[:-1], whole[:-6], whole[:-9], whole + whole[:4]):
        with pytest.raises(UnparsableError):
            commitment.decode_request(encoded, EXPLICIT)


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
