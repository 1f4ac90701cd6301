"""/tools, /plugins and what /system tells: Orthanc's words, and hostd's answers where it does otherwise."""

import re
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families
from web_support import changed, dicom_file, is_orthanc_error, user

from hostd.archive import tables as t
from hostd.control import Control
from hostd.dicom.identity import is_uid


@pytest.fixture
def idle(idle_face):
    idle_face.users = {}
    return idle_face.client()


@pytest.mark.parametrize("level", ["study", "series", "instance"])
def test_a_new_uid_is_one_and_never_the_same(idle, level):
    made = {idle.get(f"/tools/generate-uid?level={level}").text for _ in range(50)}
    assert len(made) == 50
    assert all(map(is_uid, made))


def test_a_new_patient_id_fits_into_the_tag(idle):
    made = idle.get("/tools/generate-uid?level=patient").text
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made)


@pytest.mark.parametrize("query", ["", "?level=", "?level=Study", "?level=x"])
def test_no_uid_is_made_of_what_is_no_level(idle, query):
    assert is_orthanc_error(idle.get(f"/tools/generate-uid{query}"), 404, 17)


def test_the_time_is_told_in_utc_and_as_it_is_here(idle):
    for path, zone in (("now", UTC), ("now-local", None)):
        answer = idle.get(f"/tools/{path}")
        assert answer.headers["content-type"].startswith("text/plain")
        told = datetime.strptime(answer.text, "%Y%m%dT%H%M%S").replace(tzinfo=zone)
        assert abs((datetime.now(UTC) - told.astimezone(UTC)).total_seconds()) < 60


def test_the_tools_are_listed(idle):
    listed = idle.get("/tools").json()
    assert listed == sorted(listed)
    assert {"now", "generate-uid", "log-level", "execute-script", "metrics-prometheus"} <= set(listed)


def test_lua_is_not_run_and_the_answer_says_what_to_do(idle):
    answer = idle.post("/tools/execute-script", content="print(1)")
    assert is_orthanc_error(answer, 403, 45)
    assert "docs/from-orthanc.md" in answer.json()["Details"]


def test_the_encoding_of_what_has_none_is_told_and_no_other_is_promised(idle):
    assert idle.get("/tools/default-encoding").text == "Latin1"
    for word in ("Latin1", "Ascii"):
        assert idle.put("/tools/default-encoding", content=word).text == "Latin1"
    assert is_orthanc_error(idle.put("/tools/default-encoding", content="Utf8"), 501, 2)
    assert is_orthanc_error(idle.put("/tools/default-encoding", content="Klingon"), 400, 3)


def test_what_the_dicom_face_understands_is_told_by_name(idle):
    text = idle.get("/tools/dicom-conformance").text
    assert re.search(r"^  CTImageStorage +\| 1\.2\.840\.10008\.5\.1\.4\.1\.1\.2$", text, re.MULTILINE)
    assert re.search(r"^  Verification +\| 1\.2\.840\.10008\.1\.1$", text, re.MULTILINE)


def test_labels_are_listed_once_whatever_has_them(face, client):
    rows = [("study", "a", "urgent"), ("series", "b", "urgent"), ("instance", "c", "ärztlich"), ("patient", "d", "a")]
    rows += [("study", str(number), "many") for number in range(500)]
    face.archive.writer.do(
        lambda c: c.execute(sa.insert(t.label), [{"level": level, "id": one, "label": word} for level, one, word in rows])
    )  # fmt: skip
    assert client.get("/tools/labels").json() == ["a", "many", "urgent", "ärztlich"]


# -- what may be done to the node -------------------------------------------------------------------------------------


def test_a_node_of_which_nobody_has_said_how_refuses_orders(idle):
    for method, path in (("POST", "reset"), ("POST", "shutdown")):
        assert is_orthanc_error(idle.request(method, f"/tools/{path}"), 501, 2)
    assert is_orthanc_error(idle.put("/tools/log-level", content="trace"), 501, 2)
    assert idle.get("/tools/log-level").text == "default"


def test_orders_reach_who_carries_them_out(make_face):
    done = []
    control = Control(
        reload=lambda: done.append("reload"), shut_down=lambda: done.append("end"), set_verbosity=done.append
    )
    client = make_face(control=control).client()
    assert client.post("/tools/reset").json() == {}
    assert client.put("/tools/log-level", content="trace").text == ""
    assert client.get("/tools/log-level").text == "trace"
    assert is_orthanc_error(client.put("/tools/log-level", content="loud"), 400, 3)
    assert client.post("/tools/shutdown").json() == {}
    assert done == ["reload", "trace", "end"]


def test_who_may_only_write_ends_no_node(make_face):
    done = []
    face = make_face(
        control=Control(shut_down=lambda: done.append("end")), users={name: user("p", name) for name in ("write", "admin")}
    )  # fmt: skip
    assert is_orthanc_error(face.client(auth=("write", "p")).post("/tools/shutdown"), 403, 45)
    assert done == []
    assert face.client(auth=("admin", "p")).post("/tools/shutdown").status_code == 200
    assert done == ["end"]


# -- figures ----------------------------------------------------------------------------------------------------------


def test_figures_under_orthancs_names_have_the_time_and_hostds_are_there_too(client):
    client.post("/instances", content=dicom_file())
    lines = client.get("/tools/metrics-prometheus").text.splitlines()
    figures = dict(line.split(" ", 1) for line in lines if line.startswith("orthanc_"))
    assert {name: value.split()[0] for name, value in figures.items()} == {
        "orthanc_count_instances": "1.0", "orthanc_count_patients": "1.0", "orthanc_count_series": "1.0",
        "orthanc_count_studies": "1.0", "orthanc_disk_size_mb": figures["orthanc_disk_size_mb"].split()[0],
        "orthanc_uncompressed_size_mb": figures["orthanc_disk_size_mb"].split()[0],
    }  # fmt: skip
    for value in figures.values():
        assert abs(int(value.split()[1]) / 1000 - datetime.now(UTC).timestamp()) < 60
    families = {family.name for family in text_string_to_metric_families("\n".join(lines) + "\n")}
    assert "hostd_instances" in families
    assert "orthanc" not in client.get("/metrics").text


def test_figures_are_never_off(idle):
    assert idle.get("/tools/metrics").text == "1"
    assert idle.put("/tools/metrics", content="1").text == ""
    assert is_orthanc_error(idle.put("/tools/metrics", content="0"), 501, 2)
    assert is_orthanc_error(idle.put("/tools/metrics", content="perhaps"), 400, 15)


# -- small bodies -----------------------------------------------------------------------------------------------------


def test_a_word_is_small_and_text(idle):
    assert is_orthanc_error(idle.put("/tools/default-encoding", content=b"\xff"), 400, 8)
    assert is_orthanc_error(idle.put("/tools/default-encoding", content=b"a" * 5000), 413, 8)


# -- what Orthanc's clients ask of a server ---------------------------------------------------------------------------


def test_there_are_no_plug_ins(idle):
    assert idle.get("/plugins").json() == ["explorer.js"]
    assert idle.get("/plugins/explorer.js").headers["content-type"].startswith("application/javascript")
    assert is_orthanc_error(idle.get("/plugins/dicom-web"), 404, 17)


def test_the_system_tells_what_newer_clients_ask(make_face):
    client = make_face(overwrites=False, ingest="1.2.840.10008.1.2.4.90").client()
    system = client.get("/system").json()
    assert (system["OverwriteInstances"], system["IngestTranscoding"]) == (False, "1.2.840.10008.1.2.4.90")
    assert system["HasLabels"] is True
    assert system["Capabilities"] == {"HasExtendedChanges": False, "HasExtendedFind": False}
    assert system["MainDicomTags"]["Patient"] == "0010,0010;0010,0020;0010,0030;0010,0040;0010,1000"
    assert set(system["MainDicomTags"]) == {"Patient", "Study", "Series", "Instance"}
    for name, value in {
        "MaximumStorageSize": 0, "MaximumPatientCount": 0, "MaximumStorageMode": "Reject", "StorageCompression": False,
        "ReadOnly": False, "UserMetadata": {},
    }.items():  # fmt: skip
        assert system[name] == value


def test_what_is_found_is_in_what_is_named_and_nothing_else(client):
    file = dicom_file()
    uids = {"SOPInstanceUID": "1.2.6.1", "SeriesInstanceUID": "1.2.6.2", "StudyInstanceUID": "1.2.6.3"}
    first, second, third = (
        client.post("/instances", content=changed(file, **some)).json()
        for some in ({}, uids, uids | {"SOPInstanceUID": "1.2.6.4", "PatientID": "other"})
    )

    def found(level, **within):
        asked = {"Level": level, "Query": {}, **within}
        answer = client.post("/tools/find", json=asked)
        assert client.post("/tools/count-resources", json=asked).json() == {"Count": len(answer.json())}
        return sorted(answer.json())

    patient, study = first["ParentPatient"], second["ParentStudy"]
    assert found("Study", ParentPatient=patient) == sorted([first["ParentStudy"], study])
    assert found("Instance", ParentPatient=third["ParentPatient"]) == [third["ID"]]
    assert found("Series", ParentStudy=study) == [second["ParentSeries"]]
    assert found("Instance", ParentSeries=first["ParentSeries"], ParentPatient=patient) == [first["ID"]]
    assert found("Instance", ParentSeries=first["ParentSeries"], ParentStudy=study) == []
    assert found("Instance", ParentStudy="0-0-0-0-0") == []


@pytest.mark.parametrize(("more", "number"), [
    ({"ParentStudy": 1}, 8), ({"ParentSeries": "0-0-0-0-0"}, 3), ({"ParentStudy": "0-0-0-0-0"}, 3),
    ({"MetadataQuery": {"a": "b"}}, 8), ({"OrderBy": [{"Type": "DicomTag", "Key": "StudyDate", "Direction": "ASC"}]}, 8),
])  # fmt: skip
@pytest.mark.parametrize("tool", ["find", "count-resources"])
def test_what_would_narrow_or_order_what_is_found_is_not_passed_over(idle, tool, more, number):
    answer = idle.post(f"/tools/{tool}", json={"Level": "Study", "Query": {}, **more})
    assert is_orthanc_error(answer, 400, number)
    fine = {"MetadataQuery": {}, "OrderBy": [], "ResponseContent": ["MainDicomTags"]}
    assert idle.post(f"/tools/{tool}", json={"Level": "Study", "Query": {}, **fine}).status_code == 200
