"""Identifiers of C-FIND, C-MOVE and C-GET, and what matches say."""

import pytest

from hostd.dicom import data_sets
from hostd.dicom.query import QueryError, Question, elements_of

EXPLICIT, IMPLICIT = data_sets.SYNTAXES


@pytest.mark.parametrize("syntax", data_sets.SYNTAXES)
def test_keys_travel_as_they_are_meant_in_both_transfer_syntaxes(syntax):
    keys = {
        "PatientName": "D?E^*", "StudyDate": "20240101-", "ModalitiesInStudy": "CT\\MR", "StudyInstanceUID": "1.2\\1.3",
        "AccessionNumber": "", "NumberOfStudyRelatedInstances": "", "Rows": "512", "ReferencedStudySequence": "",
    }  # fmt: skip
    read = data_sets.decode(Question.by_keywords("study", keys).encode(syntax), syntax)
    assert read.QueryRetrieveLevel == "STUDY"
    assert "SpecificCharacterSet" not in read
    assert (read.PatientName, read.StudyDate, read.Rows) == ("D?E^*", "20240101-", 512)
    assert list(read.ModalitiesInStudy) == ["CT", "MR"]
    assert list(read.StudyInstanceUID) == ["1.2", "1.3"]
    assert read["AccessionNumber"].is_empty
    assert read["ReferencedStudySequence"].is_empty


def test_what_is_not_ascii_says_in_which_character_set_it_is():
    encoded = Question.by_keywords("patient", {"PatientName": "山田^太郎"}).encode(EXPLICIT)
    assert data_sets.decode(encoded, EXPLICIT).SpecificCharacterSet == "ISO_IR 192"
    assert elements_of(encoded, EXPLICIT)[0x00100010] == ("PN", ["山田^太郎"])


def test_a_question_is_completed_by_what_names_a_match_and_keeps_what_it_has():
    complete = Question.by_keywords("series", {"StudyInstanceUID": "1.2"}).complete()
    assert complete.keys == {0x00100020: "", 0x0020000D: "1.2", 0x0020000E: ""}


def test_patients_are_asked_for_in_their_own_model_and_all_else_in_the_one_of_studies():
    assert Question("patient").sop_class("find") == "1.2.840.10008.5.1.4.1.2.1.1"
    assert Question("series").sop_class("move") == "1.2.840.10008.5.1.4.1.2.2.2"
    assert Question("study").sop_class("get") == "1.2.840.10008.5.1.4.1.2.2.3"


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"PatientIdentifier": "1"}, "no attribute has the keyword 'PatientIdentifier'"),
        ({"Rows": "many"}, r"\(0028,0010\) cannot be 'many'"),
        ({"PixelData": "x"}, r"\(7fe0,0010\) is none that can be compared"),
        ({"ReferencedStudySequence": "x"}, r"\(0008,1110\) is none that can be compared"),
    ],
)
def test_what_cannot_be_asked_is_an_error_that_names_it(keys, says):
    with pytest.raises(QueryError, match=says):
        Question.by_keywords("study", keys).encode(EXPLICIT)


def test_a_private_key_and_one_that_nobody_knows_can_be_asked_for():
    encoded = Question("study", {0x00091001: "x", 0x00080000 + 0x0FFE: ""}).encode(EXPLICIT)
    assert elements_of(encoded, EXPLICIT)[0x00091001] == ("LO", ["x"])
