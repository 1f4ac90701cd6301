"""Clients that others wrote for Orthanc, pyorthanc and orthanc-api-client, walk through what they document, against a node.

A call of a route that hostd does not have (docs/orthanc.md) is skipped and says so; it is asked as soon as the route is there.
"""

import io
import time
import zipfile
from typing import NamedTuple

import httpx
import pydicom
import pytest
import requests
from peer_kit import PATIENCE_S, LiveNode, sample

pytestmark = pytest.mark.peers
pyorthanc = pytest.importorskip("pyorthanc")
orthanc_api_client = pytest.importorskip("orthanc_api_client")

CT, MR = sample("CT_small.dcm"), sample("MR_small.dcm")
STUDY_UID = str(pydicom.dcmread(CT).StudyInstanceUID)


class Held(NamedTuple):
    """Identifiers of what a test finds in the node."""

    instance: str
    series: str
    study: str
    patient: str


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    """Another node, to be sent to and asked."""
    made = LiveNode(
        tmp_path_factory.mktemp("remote"),
        aet="REMOTE",
        more='[modalities.asking]\naet = "HOSTD"\nhost = "127.0.0.1"\nport = 9\n',
        run_scripts=False,
    )
    yield made
    made.stop()


@pytest.fixture(scope="module")
def node(tmp_path_factory, remote):
    more = f"""
[modalities.remote]
aet = "REMOTE"
host = "127.0.0.1"
port = {remote.port}
[modalities.nobody]
aet = "NOBODY"
host = "127.0.0.1"
port = 9
[peers.remote]
url = "{remote.url}/"
"""
    made = LiveNode(tmp_path_factory.mktemp("node"), more=more, run_scripts=False)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def routes(node):
    described = requests.get(f"{node.url}/openapi.json", timeout=PATIENCE_S).json()["paths"]
    return {(method.upper(), "/".join("{}" if "{" in part else part for part in path.split("/")))
            for path, methods in described.items() for method in methods}  # fmt: skip


@pytest.fixture(autouse=True)
def needed(request, routes):
    for marker in request.node.iter_markers("needs_routes"):
        missing = [
            f"{method} {path}" for method, path in (one.split() for one in marker.args) if (method, path) not in routes
        ]
        if missing:
            pytest.skip(f"not there: {', '.join(missing)}")


@pytest.fixture
def api(node):
    return orthanc_api_client.OrthancApiClient(node.url)


@pytest.fixture
def py(node):
    return pyorthanc.Orthanc(node.url)


@pytest.fixture
def held(api):
    """A CT and an MR image in the node; the identifiers of the first."""
    (mr,) = api.upload_file(str(MR))
    (ct,) = api.upload_file(str(CT))
    assert mr != ct
    return Held(
        ct,
        api.instances.get_parent_series_id(ct),
        api.instances.get_parent_study_id(ct),
        api.instances.get_parent_patient_id(ct),
    )


def zipped(*paths):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for path in paths:
            file.write(path, path.name)
    return out.getvalue()


def names_in(content):
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        assert file.testzip() is None
        return file.namelist()


# -- orthanc-api-client -----------------------------------------------------------------------------------------------


def test_the_server_is_alive_and_says_what_it_is(api):
    assert api.is_alive()
    assert api.get_system()["Name"] == "hostd"
    assert api.capabilities.has_label_support is True
    assert api.capabilities.has_extended_changes is False
    assert api.has_loaded_plugin("dicom-web") is False
    assert api.get_metrics().get("orthanc_count_instances") is not None


def test_files_folders_and_zips_are_uploaded(api, tmp_path, held):
    (tmp_path / "ct.dcm").write_bytes(CT.read_bytes())
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(orthanc_api_client.exceptions.BadFileFormat):
        api.upload_folder(str(tmp_path))
    assert api.upload_folder(str(tmp_path), ignore_errors=True) == [held.instance]
    assert api.upload(zipped(CT, MR))[0] == held.instance
    dicom_ids, orthanc_ids, rejected = api.upload_folder_return_details(str(tmp_path))
    assert (dicom_ids, orthanc_ids) == ({STUDY_UID}, {held.study})
    assert [path for path, _ in rejected] == [str(tmp_path / "notes.txt")]


def test_all_levels_are_listed_described_and_counted(api, held):
    assert held.instance in api.instances.get_all_ids()
    assert held.series in api.series.get_all_ids()
    assert held.study in api.studies.get_all_ids()
    assert held.patient in api.patients.get_all_ids()
    study = api.studies.get(held.study)
    assert (study.dicom_id, study.info.patient_orthanc_id) == (STUDY_UID, held.patient)
    assert study.main_dicom_tags.get("StudyID") == "1CT1"
    assert study.patient_main_dicom_tags.get("PatientID") == "1CT1"
    assert (study.statistics.instances_count, study.statistics.series_count) == (1, 1)
    assert [one.orthanc_id for one in study.series] == [held.series]
    assert [one.orthanc_id for one in study.series[0].instances] == [held.instance]
    assert isinstance(study.is_stable, bool)
    assert study.last_update
    assert api.patients.get(held.patient).dicom_id == "1CT1"
    assert api.patients.get_studies_ids(held.patient) == [held.study]
    assert api.get_statistics().instances_count >= 2
    assert api.studies.get_modalities(held.study) == {"CT"}
    assert api.studies.get_instances_ids(held.study) == [held.instance]
    assert api.patients.get_instances_ids(held.patient) == [held.instance]


def test_tags_and_the_file_are_read(api, held, tmp_path):
    tags = api.instances.get_tags(held.instance)
    assert tags["PatientName"] == "CompressedSamples^CT1"
    assert tags["0010-0020"] == "1CT1"
    assert api.instances.get_file(held.instance) == CT.read_bytes()
    (downloaded,) = api.studies.download_instances(held.study, str(tmp_path))
    assert (tmp_path / downloaded.path).read_bytes() == CT.read_bytes()
    assert api.studies.get_tags(held.study)["StudyInstanceUID"] == STUDY_UID
    assert api.instances.is_pdf(held.instance) is False


def test_metadata_is_written_and_read(api, held):
    assert api.instances.get_metadata(held.instance)["Origin"] == "RestApi"
    api.studies.set_string_metadata(held.study, "1024", "zwölf")
    assert api.studies.get_string_metadata(held.study, "1024") == "zwölf"
    text, revision = api.studies.get_string_metadata_with_revision(held.study, "1024")
    assert text == "zwölf"
    api.studies.set_string_metadata(held.study, "1024", "two", match_revision=revision)
    with pytest.raises(orthanc_api_client.exceptions.HttpError):
        api.studies.set_string_metadata(held.study, "1024", "three", match_revision=revision)
    assert api.studies.get_string_metadata(held.study, "1024") == "two"
    assert api.studies.has_metadata(held.study, "1024") is True
    assert api.studies.get_string_metadata(held.study, "1025", default_value="none") == "none"


def test_the_dicom_attachment_is_read(api, held, tmp_path):
    assert api.instances.get_attachment(held.instance, "dicom") == CT.read_bytes()


def test_labels_are_given_listed_and_taken(api, held):
    api.studies.add_label(held.study, "urgent")
    assert api.studies.get_labels(held.study) == ["urgent"]
    assert "urgent" in api.get_all_labels()
    assert api.studies.get(held.study).labels == ["urgent"]
    api.studies.delete_label(held.study, "urgent")
    assert api.studies.get(held.study).labels == []


def test_changes_are_followed_to_their_end(api, held):
    changes, last, done, since = [], 0, False, 0
    while not done:
        page, last, done = api.get_changes(since=since, limit=3)
        assert len(page) <= 3
        changes += page
        since = last
    assert held.instance in {change.resource_id for change in changes}
    assert {change.change_type for change in changes} >= {"NewInstance", "NewSeries", "NewStudy", "NewPatient"}


def test_what_is_not_there_is_not_found(api):
    for level in (api.instances, api.series, api.studies, api.patients):
        with pytest.raises(orthanc_api_client.exceptions.ResourceNotFound):
            level.get_json("0-0-0-0-0")
        with pytest.raises(orthanc_api_client.exceptions.ResourceNotFound):
            level.delete("0-0-0-0-0")
        level.delete("0-0-0-0-0", ignore_errors=True)


def test_lua_is_forbidden(api):
    with pytest.raises(orthanc_api_client.exceptions.Forbidden):
        api.execute_lua_script(b"print(1)")


def test_the_log_level_is_told(api):
    assert api.get_log_level() == "default"


@pytest.mark.needs_routes("POST /tools/lookup")
def test_resources_are_looked_up(api, held):
    assert api.lookup(STUDY_UID, "Study") == [held.study]
    assert api.studies.lookup(STUDY_UID) == held.study
    assert api.patients.lookup("1CT1") == held.patient
    assert api.studies.lookup("1.2.3.4.5.6.7") is None


@pytest.mark.needs_routes("POST /tools/find")
def test_studies_and_patients_are_found(api, held):
    found = api.studies.find({"PatientID": "1CT*"}, requested_tags=["ModalitiesInStudy"])
    assert [study.orthanc_id for study in found] == [held.study]
    assert api.studies.find({"PatientID": "nobody"}) == []
    assert [
        one.orthanc_id for one in api.patients.find({"PatientName": "compressedsamples^ct1"}, case_sensitive=False)
    ] == [held.patient]


@pytest.mark.needs_routes("GET /series/{}/ordered-slices")
def test_slices_are_ordered(api, held):
    assert api.series.get_middle_instance_id(held.series) == held.instance


@pytest.mark.needs_routes("GET /instances/{}/preview", "GET /series/{}/ordered-slices")
def test_a_preview_is_a_picture(api, held):
    assert api.series.get_preview_file(held.series).startswith(b"\x89PNG")
    assert api.series.get_preview_file(held.series, jpeg_format=True).startswith(b"\xff\xd8")


@pytest.mark.needs_routes("POST /instances/{}/modify")
def test_an_instance_is_modified_on_the_way_out(api, held):
    changed = pydicom.dcmread(
        io.BytesIO(api.instances.modify(held.instance, replace_tags={"PatientName": "Other^Name"}))
    )
    assert changed.PatientName == "Other^Name"
    assert changed.SOPInstanceUID != pydicom.dcmread(CT).SOPInstanceUID


@pytest.mark.needs_routes("POST /studies/{}/modify", "POST /studies/{}/anonymize")
def test_a_study_is_modified_and_anonymized(api, held):
    changed = api.studies.modify(held.study, replace_tags={"StudyDescription": "other"}, delete_original=False)
    assert api.studies.get(changed).main_dicom_tags.get("StudyDescription") == "other"
    hidden = api.studies.anonymize(held.study, replace_tags={"PatientName": "Nobody"}, delete_original=False)
    assert api.studies.get(hidden).patient_main_dicom_tags.get("PatientName") == "Nobody"
    api.studies.delete(orthanc_ids=[changed, hidden])
    assert held.study in api.studies.get_all_ids()


@pytest.mark.needs_routes("POST /modalities/{}/store")
def test_a_study_is_sent_to_a_modality_and_waited_for(api, held, remote):
    remote.forget(pydicom.dcmread(CT).SOPInstanceUID)
    api.modalities.send("remote", held.study)
    assert remote.instance(pydicom.dcmread(CT).SOPInstanceUID).id == held.instance
    with pytest.raises(orthanc_api_client.exceptions.HttpError):
        api.modalities.send("nobody", held.study, timeout=5)
    with pytest.raises(orthanc_api_client.exceptions.ResourceNotFound):
        api.modalities.send("unheard-of", held.study)


@pytest.mark.needs_routes("POST /modalities/{}/store", "GET /jobs/{}")
def test_a_study_is_sent_by_a_job(api, held, remote):
    remote.forget(pydicom.dcmread(CT).SOPInstanceUID)
    job = api.modalities.send_async("remote", [held.study, held.instance])
    assert job.wait_completed(timeout=PATIENCE_S, polling_interval=0.05)
    assert (job.info.status, job.info.type) == ("Success", "DicomModalityStore")
    assert job.orthanc_id in api.jobs.get_all_ids()
    assert remote.instance(pydicom.dcmread(CT).SOPInstanceUID)


@pytest.mark.needs_routes("POST /peers/{}/store")
def test_a_study_is_sent_to_a_peer(api, held, remote):
    for send in (api.peers.send, api.peers.send_async):
        remote.forget(pydicom.dcmread(CT).SOPInstanceUID)
        job = send("remote", held.study)
        assert job is None or job.wait_completed(timeout=PATIENCE_S, polling_interval=0.05)
        assert remote.instance(pydicom.dcmread(CT).SOPInstanceUID).id == held.instance


@pytest.mark.needs_routes("PUT /modalities/{}", "GET /modalities")
def test_modalities_are_configured_and_forgotten(api):
    api.modalities.configure("new", {"AET": "NEW", "Host": "127.0.0.1", "Port": 9})
    assert api.modalities.get_configuration("new")["AET"] == "NEW"
    assert api.modalities.get_id_from_aet("NEW") == "new"
    assert {"new", "remote"} <= set(api.modalities.get_all_ids())
    api.modalities.delete("new")
    assert "new" not in api.modalities.get_all_ids()


@pytest.mark.needs_routes("POST /tools/create-archive", "POST /tools/bulk-modify")
def test_a_set_of_instances_is_downloaded_and_modified(api, held, tmp_path):
    chosen = orthanc_api_client.InstancesSet.from_study(api, study_id=held.study)
    chosen.download_archive(str(tmp_path / "all.zip"))
    assert len(names_in((tmp_path / "all.zip").read_bytes())) == 1
    changed = chosen.modify(replace_tags={"InstitutionName": "other"}, keep_source=True)
    assert len(changed.instances_ids) == 1
    changed.delete()


def test_a_set_of_instances_is_deleted(api, held):
    orthanc_api_client.InstancesSet.from_study(api, study_id=held.study).delete()
    assert held.study not in api.studies.get_all_ids()


# -- pyorthanc --------------------------------------------------------------------------------------------------------


def test_pyorthanc_uploads_files_datasets_folders_and_zips(py, tmp_path, held):
    (tmp_path / "ct.dcm").write_bytes(CT.read_bytes())
    (tmp_path / "both.zip").write_bytes(zipped(CT, MR))
    assert [one.identifier for one in pyorthanc.upload(py, CT)] == [held.instance]
    assert [one.identifier for one in pyorthanc.upload(py, pydicom.dcmread(CT))] == [held.instance]
    assert [one.identifier for one in pyorthanc.upload(py, tmp_path)] == [held.instance]
    assert len(pyorthanc.upload(py, tmp_path / "both.zip")) == 2
    assert pyorthanc.upload(py, CT, check_before_upload=True)[0].identifier == held.instance


def test_pyorthanc_walks_from_patients_to_instances_and_back(py, held):
    patient = pyorthanc.Patient(held.patient, py)
    assert (patient.patient_id, patient.name, patient.sex) == ("1CT1", "CompressedSamples^CT1", "O")
    (study,) = patient.studies
    (series,) = study.series
    (instance,) = series.instances
    assert (study.identifier, series.identifier, instance.identifier) == (held.study, held.series, held.instance)
    assert (study.uid, series.modality, instance.instance_number) == (STUDY_UID, "CT", 1)
    assert (instance.parent_series, series.parent_study, study.parent_patient) == (series, study, patient)
    assert study.date.year == 2004
    assert isinstance(series.is_stable, bool)
    assert series.last_update.year >= 2026
    assert patient.shared_tags["PatientID"] == "1CT1"
    assert patient.get_patient_module(simplify=True)["PatientID"] == "1CT1"


def test_pyorthanc_reads_files_tags_and_contents(py, held, tmp_path):
    instance = pyorthanc.Instance(held.instance, py)
    assert instance.get_dicom_file_content() == CT.read_bytes()
    assert instance.file_size == CT.stat().st_size
    assert instance.get_pydicom().PatientID == "1CT1"
    assert instance.tags["0010,0020"]["Name"] == "PatientID"
    assert instance.simplified_tags["PatientID"] == "1CT1"
    assert instance.first_level_tags["0010,0020"]["Value"] == "1CT1"
    assert instance.get_content_by_tag("0010-0020").strip() in {"1CT1", b"1CT1"}
    assert instance.creation_date.year == 2004
    instance.download(str(tmp_path / "it.dcm"))
    assert (tmp_path / "it.dcm").read_bytes() == CT.read_bytes()


def test_pyorthanc_gives_labels_at_each_level(py, held):
    for resource in (
        pyorthanc.Patient(held.patient, py), pyorthanc.Study(held.study, py), pyorthanc.Series(held.series, py),
        pyorthanc.Instance(held.instance, py),
    ):  # fmt: skip
        resource.add_label("urgent")
        assert resource.labels == ["urgent"]
        resource.remove_label("urgent")
        assert resource.labels == []


def test_pyorthanc_asks_the_server(py):
    assert py.get_system()["Software"] == "hostd"
    assert py.get_statistics()["CountInstances"] >= 1
    assert py.get_changes(params={"limit": 1})["Last"] >= 1
    assert len(py.get_tools_now()) == len("20260131T235959")
    assert py.get_tools_labels() == []
    assert py.get_exports()["Done"] is True
    assert "1.2.840.10008.1.2" in py.get_tools_accepted_transfer_syntaxes()


@pytest.mark.needs_routes("POST /tools/find")
def test_pyorthanc_finds_at_each_level(py, held):
    assert held.patient in {one.identifier for one in pyorthanc.find_patients(py, query={"PatientID": "1CT1"})}
    assert held.study in {one.identifier for one in pyorthanc.find_studies(py, query={"StudyInstanceUID": STUDY_UID})}
    assert held.series in {one.identifier for one in pyorthanc.find_series(py, query={"Modality": "CT"})}
    assert held.instance in {one.identifier for one in pyorthanc.find_instances(py, query={"PatientID": "1CT1"})}
    pyorthanc.Study(held.study, py).add_label("wanted")
    assert [one.identifier for one in pyorthanc.find_studies(py, labels=["wanted"])] == [held.study]
    pyorthanc.Study(held.study, py).remove_label("wanted")


@pytest.mark.needs_routes("POST /instances/{}/modify", "POST /instances/{}/anonymize")
def test_pyorthanc_modifies_and_anonymizes_an_instance(py, held):
    instance = pyorthanc.Instance(held.instance, py)
    assert pydicom.dcmread(io.BytesIO(instance.modify(replace={"PatientName": "Other"}))).PatientName == "Other"
    assert pydicom.dcmread(io.BytesIO(instance.anonymize())).PatientIdentityRemoved == "YES"


@pytest.mark.needs_routes("POST /studies/{}/modify", "POST /studies/{}/anonymize", "GET /jobs/{}")
def test_pyorthanc_modifies_and_anonymizes_by_jobs(py, held):
    study = pyorthanc.Study(held.study, py)
    for job in (study.anonymize_as_job(), study.modify_as_job(replace={"StudyDescription": "other"})):
        ended(job)
        assert (job.state.value, job.type) == ("Success", "ResourceModification")
        pyorthanc.Orthanc(py.url).delete_studies_id(job.content["ID"])
    changed = study.anonymize(replace={"PatientName": "Nobody"})
    assert changed.patient_information["PatientName"] == "Nobody"
    py.delete_studies_id(changed.identifier)


def ended(job):
    end = time.monotonic() + PATIENCE_S
    while job.state.value in {"Pending", "Running"}:
        assert time.monotonic() < end, job.get_information()
        time.sleep(0.05)


@pytest.mark.needs_routes("GET /studies/{}/archive", "GET /patients/{}/archive", "GET /series/{}/archive")
def test_pyorthanc_downloads_archives(py, held, tmp_path):
    for resource in (
        pyorthanc.Patient(held.patient, py),
        pyorthanc.Study(held.study, py),
        pyorthanc.Series(held.series, py),
    ):
        assert len(names_in(resource.get_zip())) == 1
        resource.download(str(tmp_path / "it.zip"))
        assert len(names_in((tmp_path / "it.zip").read_bytes())) == 1


@pytest.mark.needs_routes("POST /modalities/{}/echo", "POST /modalities/{}/store")
def test_pyorthanc_echoes_and_stores_to_a_modality(py, held, remote):
    remote.forget(pydicom.dcmread(CT).SOPInstanceUID)
    modality = pyorthanc.Modality(py, "remote")
    assert modality.echo() is True
    assert pyorthanc.Modality(py, "nobody").echo() is False
    assert modality.store(held.instance)["FailedInstancesCount"] == 0
    assert remote.instance(pydicom.dcmread(CT).SOPInstanceUID)


@pytest.mark.needs_routes("POST /modalities/{}/query", "GET /queries/{}/answers", "GET /queries")
def test_pyorthanc_queries_a_modality_and_forgets_the_queries(py, held):
    with pytest.raises(httpx.HTTPError):
        pyorthanc.Modality(py, "nobody").find({"Level": "Study", "Query": {"PatientID": "1CT1"}})
    pyorthanc.delete_queries(py)
    assert py.get_queries() == []


@pytest.mark.needs_routes("POST /modalities/{}/query", "GET /queries/{}/answers")
def test_a_modality_is_asked_what_it_has(api, held, remote):
    api.modalities.send("remote", held.study)
    found = api.modalities.query_studies("remote", {"PatientID": "1CT1", "StudyDescription": ""})
    assert [study.dicom_id for study in found] == [STUDY_UID]
    assert found[0].tags.get("StudyDescription") == "e+1"


def test_pyorthanc_deletes(py, held):
    assert py.delete_patients_id(held.patient)["RemainingAncestor"] is None
    assert held.instance not in py.get_instances()
