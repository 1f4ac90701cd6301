"""`/patients/{id}/protected`."""

import pytest
from web_support import dicom_file, is_orthanc_error


@pytest.fixture
def patient(client):
    return client.post("/instances", content=dicom_file()).json()["ParentPatient"]


def test_a_patient_is_protected_and_no_longer(client, patient):
    assert client.get(f"/patients/{patient}/protected").text == "0"
    for given, told in (("1", "1"), ("1", "1"), ("0", "0")):
        answer = client.put(f"/patients/{patient}/protected", content=given)
        assert (answer.status_code, answer.text) == (200, "")
        assert client.get(f"/patients/{patient}/protected").text == told


def test_who_is_not_there_is_not_found_and_what_is_neither_is_refused(client, patient):
    assert is_orthanc_error(client.get("/patients/0-0-0-0-0/protected"), 404, 17)
    assert is_orthanc_error(client.put("/patients/0-0-0-0-0/protected", content="1"), 404, 17)
    assert is_orthanc_error(client.put(f"/patients/{patient}/protected", content="x"), 400, 15)
    assert client.get(f"/patients/{patient}/protected").text == "0"
