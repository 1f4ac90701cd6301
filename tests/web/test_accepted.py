"""/tools/accepted-…: the set that the DICOM face asks, changed while it runs."""

import pytest
from web_support import is_orthanc_error

from hostd.scp.accepted import Accepted

IMPLICIT, EXPLICIT, J2K = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90"
CT, PRIVATE = "1.2.840.10008.5.1.4.1.1.2", "1.3.46.670589.11.0.0.12.1"


@pytest.fixture
def accepted():
    return Accepted()


@pytest.fixture
def client(make_face, accepted):
    return make_face(accepted=accepted).client()


def test_all_transfer_syntaxes_and_sop_classes_of_the_standard_are_listed(client):
    listed = client.get("/tools/accepted-transfer-syntaxes").json()
    assert listed == sorted(listed)
    assert {IMPLICIT, EXPLICIT, J2K} <= set(listed)
    assert CT in client.get("/tools/accepted-sop-classes").json()
    assert CT in client.get("/tools/dicom-conformance").text


@pytest.mark.parametrize(
    ("body", "syntaxes"),
    [
        (EXPLICIT, [EXPLICIT]),
        (f'"{EXPLICIT}"', [EXPLICIT]),
        (f'["{J2K}", "{EXPLICIT}"]', [EXPLICIT, J2K]),
        ('["1.2.840.10008.1.2.4.9?"]', [f"1.2.840.10008.1.2.4.9{n}" for n in range(6)]),
        ("[]", []),
    ],
)
def test_other_transfer_syntaxes_count_at_once(client, accepted, body, syntaxes):
    answer = client.put("/tools/accepted-transfer-syntaxes", content=body)
    assert answer.json() == syntaxes
    assert client.get("/tools/accepted-transfer-syntaxes").json() == syntaxes
    assert accepted.syntaxes_of([IMPLICIT, EXPLICIT]) == [one for one in (IMPLICIT, EXPLICIT) if one in syntaxes]


@pytest.mark.parametrize(
    ("body", "number"), [("[1]", 15), ("5", 15), ("{}", 15), ("[", 3), ("nonsense", 3), ("", 3), ('["x"]', 3)]
)
def test_what_is_no_transfer_syntax_changes_nothing(client, body, number):
    before = client.get("/tools/accepted-transfer-syntaxes").json()
    assert is_orthanc_error(client.put("/tools/accepted-transfer-syntaxes", content=body), 400, number)
    assert client.get("/tools/accepted-transfer-syntaxes").json() == before


def test_sop_classes_that_the_standard_has_not_are_taken_or_not(client, accepted):
    assert client.get("/tools/unknown-sop-class-accepted").text == "0"
    assert not accepted.takes_class(PRIVATE)
    for body in ("1", "true"):
        assert client.put("/tools/unknown-sop-class-accepted", content=body).text == ""
        assert client.get("/tools/unknown-sop-class-accepted").text == "1"
        assert accepted.takes_class(PRIVATE)
    client.put("/tools/unknown-sop-class-accepted", content="0")
    assert not accepted.takes_class(PRIVATE)
    assert is_orthanc_error(client.put("/tools/unknown-sop-class-accepted", content="perhaps"), 400, 15)
