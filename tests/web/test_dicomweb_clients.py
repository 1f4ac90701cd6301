"""Clients of DICOMweb that others wrote: dicomweb-client's documented use, Orthanc's plug-in, and hostd's own destination."""

import io
import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from ports import free_port
from test_against_orthanc import wait_for
from web_support import Face, dicom_file

from hostd.config.dicomweb import DicomWeb as Section
from hostd.delivery.destinations import dicomweb as destination
from hostd.transcoding.pool import CodecPool
from hostd.web.listener import HttpListener

ORTHANC = shutil.which("Orthanc")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
NAMES = ["CT_small.dcm", "MR_small_jp2klossless.dcm", "SC_rgb_rle_2frame.dcm", "rtplan.dcm"]


@pytest.fixture(scope="module")
def face(tmp_path_factory):
    pool = CodecPool(workers=1)
    face = Face(tmp_path_factory.mktemp("hostd"), limit=64 << 20, artist=pool, transcoder=pool)
    yield face
    face.close()
    pool.close()


@pytest.fixture(scope="module")
def hostd(face):
    listener = HttpListener(face.app, "127.0.0.1", 0)
    listener.start()
    yield f"http://127.0.0.1:{listener.port}"
    listener.stop(1)


@pytest.fixture
def client(hostd):
    return DICOMwebClient(url=f"{hostd}/dicom-web")


@pytest.fixture
def datasets(hostd):
    """Store some files, and return them as pydicom has them."""
    for name in NAMES:
        requests.post(hostd + "/instances", data=dicom_file(name), timeout=60).raise_for_status()
    return [pydicom.dcmread(io.BytesIO(dicom_file(name))) for name in NAMES]


def uids(dataset):
    return dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID


def test_dicomweb_client_retrieves_instances_and_metadata(client, datasets):
    for dataset in datasets:
        study, series, instance = uids(dataset)
        found = client.retrieve_instance(*uids(dataset))
        assert found.SOPInstanceUID == instance
        assert found.file_meta.TransferSyntaxUID == dataset.file_meta.TransferSyntaxUID  # this client asks for any
        plain = client.retrieve_instance(*uids(dataset), media_types=(("application/dicom", "1.2.840.10008.1.2.1"),))
        assert plain.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
        if "PixelData" in dataset:
            assert (plain.pixel_array == dataset.pixel_array).all()
        assert instance in {one.SOPInstanceUID for one in client.retrieve_series(study, series)}
        assert instance in {one.SOPInstanceUID for one in client.iter_study(study)}
        metadata = pydicom.Dataset.from_json(client.retrieve_instance_metadata(*uids(dataset)))
        assert (metadata.SOPInstanceUID, metadata.PatientName) == (instance, dataset.PatientName)
        assert len(client.retrieve_study_metadata(study)) >= len(client.retrieve_series_metadata(study, series)) >= 1


def test_dicomweb_client_retrieves_frames_pictures_and_bulk_data(client, datasets):
    ct, j2k, rle, _ = datasets
    (frame,) = client.retrieve_instance_frames(*uids(ct), frame_numbers=[1])
    assert frame == ct.PixelData
    frames = client.retrieve_instance_frames(
        *uids(rle), frame_numbers=[1, 2], media_types=("application/octet-stream",)
    )
    assert [np.frombuffer(one, "u1").tolist() for one in frames] == [one.ravel().tolist() for one in rle.pixel_array]
    (encoded,) = client.retrieve_instance_frames(
        *uids(j2k), frame_numbers=[1], media_types=(("image/jp2", "1.2.840.10008.1.2.4.90"),)
    )
    assert encoded[:4] == b"\xff\x4f\xff\x51"
    picture = client.retrieve_instance_rendered(
        *uids(ct), media_types=("image/png",), params={"window": "100,500,linear"}
    )
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert (
        client.retrieve_instance_frames_rendered(*uids(rle), frame_numbers=[2], media_types=("image/jpeg",))[:2]
        == b"\xff\xd8"
    )
    uri = client.retrieve_instance_metadata(*uids(ct))["7FE00010"]["BulkDataURI"]
    assert client.retrieve_bulkdata(uri) == [ct.PixelData]


def test_dicomweb_client_stores_instances(hostd, client):
    datasets = [pydicom.dcmread(io.BytesIO(dicom_file(name))) for name in ("examples_palette.dcm", "MR_small.dcm")]
    answer = client.store_instances(datasets)
    assert [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence] == [
        one.SOPInstanceUID for one in datasets
    ]
    assert "FailedSOPSequence" not in answer
    found = requests.get(answer.ReferencedSOPSequence[0].RetrieveURL + "/metadata", timeout=60).json()
    assert found[0]["00080018"]["Value"] == [datasets[0].SOPInstanceUID]


def test_hostds_own_destination_sends_to_hostd(face, hostd, tmp_path):
    (tmp_path / "a.dcm").write_bytes(dicom_file("examples_overlay.dcm"))
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    product = SimpleNamespace(
        path=tmp_path / "a.dcm",
        sop_instance_uid=dataset.SOPInstanceUID,
        transfer_syntax="1.2.840.10008.1.2.1",
        kept_original=False,
        reason="",
    )
    outgoing = SimpleNamespace(
        wanted_syntax=product.transfer_syntax,
        as_wanted=lambda: product,
        instance=SimpleNamespace(sop_instance_uid=dataset.SOPInstanceUID),
    )
    server = destination.configured("self", Section(url=f"{hostd}/dicom-web/"))
    with server.connect([]) as session:
        said = session.send(outgoing)
    assert (said.verdict, said.text) == ("delivered", "stored")
    assert client_of(face).get(f"/dicom-web/studies/{dataset.StudyInstanceUID}/metadata").json()[0]["00080018"][
        "Value"
    ] == [dataset.SOPInstanceUID]


def client_of(face):
    return face.client()


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory, hostd):
    if ORTHANC is None or not PLUGIN.exists():
        pytest.skip("there is no Orthanc with its DICOMweb plug-in on this machine (apt-get install orthanc-dicomweb)")
    folder = tmp_path_factory.mktemp("orthanc")
    options = {
        "HttpPort": free_port(), "DicomPort": free_port(), "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
        "StorageDirectory": str(folder), "IndexDirectory": str(folder), "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Servers": {"hostd": [hostd + "/dicom-web/"]}},
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(options))
    url = f"http://127.0.0.1:{options['HttpPort']}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([ORTHANC, folder / "orthanc.json"], stdout=log, stderr=log)
        try:
            wait_for(url, process, folder / "log")
            yield url
        finally:
            process.kill()  # an orderly end takes seconds
            process.wait(60)


@pytest.mark.peers
def test_orthancs_plug_in_sends_to_hostd_and_fetches_from_it(hostd, orthanc, datasets):
    server = f"{orthanc}/dicom-web/servers/hostd"
    content = dicom_file("liver_1frame.dcm")
    stored = requests.post(f"{orthanc}/instances", data=content, timeout=60).json()
    answer = requests.post(f"{server}/stow", json={"Resources": [stored["ID"]], "Synchronous": True}, timeout=60)
    assert answer.status_code == 200, answer.text
    assert requests.get(f"{hostd}{stored['Path']}/file", timeout=60).content == content

    study, series, instance = uids(datasets[0])
    uri = f"/studies/{study}/series/{series}/instances/{instance}"
    metadata = requests.post(f"{server}/get", json={"Uri": f"{uri}/metadata"}, timeout=60)
    assert metadata.json()[0]["00080018"]["Value"] == [instance]
    fetched = requests.post(
        f"{server}/retrieve",
        json={"Resources": [{"Study": study, "Series": series, "Instance": instance}], "Synchronous": True},
        timeout=60,
    )
    assert fetched.status_code == 200, fetched.text
    found = requests.post(f"{orthanc}/tools/lookup", data=instance, timeout=60).json()
    assert [one["Type"] for one in found] == ["Instance"]
    assert requests.get(f"{orthanc}{found[0]['Path']}/file", timeout=60).content == dicom_file("CT_small.dcm")


@pytest.mark.peers
def test_frames_and_metadata_are_those_of_orthancs_plug_in(hostd, orthanc, datasets):
    for name, dataset in zip(NAMES, datasets, strict=True):
        requests.post(f"{orthanc}/instances", data=dicom_file(name), timeout=60).raise_for_status()
        study, series, instance = uids(dataset)
        path = f"/dicom-web/studies/{study}/series/{series}/instances/{instance}"
        theirs, ours = (requests.get(f"{url}{path}/metadata", timeout=60).json()[0] for url in (orthanc, hostd))
        for tag in theirs.keys() & ours.keys():
            assert theirs[tag]["vr"] == ours[tag]["vr"] or int(tag, 16) >> 16 & 1, (name, tag)
            if ours[tag]["vr"] in {"UI", "CS", "DA", "TM", "US", "PN", "LO"}:
                assert theirs[tag].get("Value") == ours[tag].get("Value"), (name, tag)
        if name == "CT_small.dcm":
            accept = {"Accept": 'multipart/related; type="application/octet-stream"'}
            frames = [
                requests.get(f"{url}{path}/frames/1", headers=accept, timeout=60).content for url in (orthanc, hostd)
            ]
            assert all(dataset.PixelData in one for one in frames)
        for wrong in ("/frames/99", "/frames/0"):
            statuses = [requests.get(f"{url}{path}{wrong}", timeout=60).status_code for url in (orthanc, hostd)]
            assert min(statuses) >= 400
