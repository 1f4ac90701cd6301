"""Orthanc's identifiers, and what is a UID."""

import pytest

from hostd.dicom.identity import Identity, is_uid, orthanc_id


def test_the_identifiers_are_orthancs():
    # The instance of Orthanc's own test image DummyCT.dcm, as its documentation names it.
    identity = Identity(
        "ozp00SjY2xG",
        "1.2.840.113619.2.176.2025.1499492.7391.1171285944.390",
        "1.2.840.113619.2.176.2025.1499492.7391.1171285944.394",
        "1.2.840.113619.2.176.2025.1499492.7040.1171286242.109",
    )
    assert identity.instance == "66a662ce-7430e543-bad44d47-0dc5a943-ec7a538d"


def test_an_identifier_is_the_sha_1_of_the_joined_parts():
    # sha1sum of "P1" and of "P1|1.2"
    assert orthanc_id("P1").count("-") == 4
    assert len(orthanc_id("P1", "1.2")) == 44
    assert orthanc_id("") == "da39a3ee-5e6b4b0d-3255bfef-95601890-afd80709"
    assert orthanc_id("P1", "1.2") == orthanc_id("P1|1.2")


@pytest.mark.parametrize("text", ["1", "1.2.840.10008.1.2", "0.1", "1.02.3", "9" * 64])
def test_a_uid_is_components_of_digits(text):
    assert is_uid(text)


@pytest.mark.parametrize(
    "text", ["", ".", "1.", ".1", "1..2", "../1", "1/2", "1.2\n", "1.2\0", " 1", "1.a", "٣.1", "9" * 65, "1.2\\1.3"]
)
def test_anything_else_is_none(text):
    assert not is_uid(text)
