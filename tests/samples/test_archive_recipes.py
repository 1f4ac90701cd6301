"""The recipes with other archives, and with several nodes, as they are written: only ports and data folders are set by the environment."""

import subprocess

import numpy as np
import pytest
import requests
from archive_kit import Pacs
from peer_kit import SAMPLES, Orthanc, StoreScp, needs, sample, until
from ports import free_port
from pydicom import dcmread

from hostd.archive import instances, tasks
from hostd.config.settings import load
from hostd.node import Node
from hostd.testing.bench import Bench

EXPLICIT, J2K = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90"


@pytest.fixture
def start(tmp_path, request):
    """Start a recipe's node; the DICOM and HTTP ports may be given, to be known beforehand."""

    def node(file, **environ):
        number = len(list(tmp_path.iterdir()))
        given = {"NODE__DATA": tmp_path / f"data{number}", "DICOM__PORT": 0, "HTTP__PORT": 0} | environ
        settings = load(SAMPLES / file, environ={f"HOSTD_{name}": str(value) for name, value in given.items()})
        if (
            not (SAMPLES / file).parent.joinpath("README.md").exists()
        ):  # it needs no scripts, and makes no folder for them
            made = Node(settings, run_scripts=False)
        else:
            made = Node(settings)
        made.start()
        request.addfinalizer(made.stop)
        return made

    return node


def held(node):
    with node.archive.read() as connection:
        return {one.sop_instance_uid: one for one in instances.newest(connection, limit=100)}


def send(node, path):
    url = f"http://127.0.0.1:{node.http.port}/instances"
    requests.post(url, data=path.read_bytes(), timeout=60).raise_for_status()
    return dcmread(path)


# -- prefetch ---------------------------------------------------------------------------------------------------------


def test_the_two_newest_priors_are_fetched_and_a_prior_fetches_none(tmp_path):
    with Bench(tmp_path / "bench") as hostd:
        folder = SAMPLES / "prefetch-priors"
        script = hostd.script(folder / "prefetch.py", configuration=folder / "hostd.toml")
        script.has["pacs"] = [
            {"PatientID": patient, "StudyInstanceUID": f"1.2.{number}", "StudyDate": date}
            for number, (patient, date) in enumerate(
                [
                    ("A", "20200101"),
                    ("A", "20230101"),
                    ("B", "20230601"),
                    ("A", ""),
                    ("A", "20220101"),
                    ("A", "20240101"),
                ]
            )
        ]
        new = hostd.instance(PatientID="A", StudyInstanceUID="1.2.5", StudyDate="20240101")
        run = script.on("new_study", new)
        assert [one.study for one in run.retrieves] == ["1.2.1", "1.2.4"]
        assert {one.modality for one in run.retrieves} == {"pacs"}
        assert script.on("new_study", hostd.instance(PatientID="A", sender="pacs")).plan == ()
        assert script.on("new_study", hostd.instance(PatientID="")).plan == ()
        del script.has["pacs"]
        run = script.on("new_study", new)
        assert run.plan == ()
        assert run.log[0].startswith("no priors: the test does not say what pacs has")


@pytest.mark.peers
@needs("dcmqrscp")
def test_the_priors_of_a_real_archive_are_here_when_the_new_study_has_come(tmp_path, start):
    port = free_port()
    pacs = Pacs(tmp_path / "pacs", knows={"HOSTD": port}).start()
    try:
        for number in range(3):
            prior = dcmread(sample("CT_small.dcm"))
            prior.StudyDate, prior.StudyInstanceUID = f"202{number}0101", f"1.2.3.{number}"
            prior.SeriesInstanceUID, prior.SOPInstanceUID = f"1.2.3.{number}.1", f"1.2.3.{number}.1.1"
            prior.file_meta.MediaStorageSOPInstanceUID = prior.SOPInstanceUID
            prior.save_as(tmp_path / "prior.dcm")
            pacs.take(prior, tmp_path / "prior.dcm")
        node = start("prefetch-priors/hostd.toml", DICOM__PORT=port, MODALITIES__PACS__PORT=pacs.port)
        new = dcmread(sample("CT_small.dcm"))
        new.StudyDate = "20250101"
        new.save_as(tmp_path / "new.dcm")
        send(node, tmp_path / "new.dcm")
        until(lambda: len(held(node)) == 3, "the priors come")
        assert held(node).keys() == {new.SOPInstanceUID, "1.2.3.1.1.1", "1.2.3.2.1.1"}

        def ended():
            with node.archive.read() as connection:
                return [one.state for one in tasks.listing(connection)] == ["done"] * 2

        until(ended, "both retrieves end")
    finally:
        pacs.stop()


# -- the pictures of the Orthanc Book ---------------------------------------------------------------------------------


def test_the_buffer_decompresses_passes_on_and_keeps_nothing_that_has_arrived(start):
    server = start("transcoding-buffer/server/hostd.toml")
    buffer = start("transcoding-buffer/hostd.toml", PEERS__SERVER__URL=f"http://127.0.0.1:{server.http.port}/")
    sent = [send(buffer, sample(name)) for name in ("MR_small_jp2klossless.dcm", "MR_small_RLE.dcm", "test-SR.dcm")]
    original = sent[0].pixel_array
    uids = {one.SOPInstanceUID for one in sent}
    until(lambda: held(server).keys() == uids, "all arrive on the server")
    until(lambda: held(buffer) == {}, "the buffer has let go of all")
    arrived = held(server)[sent[0].SOPInstanceUID]
    assert {one.blob.transfer_syntax for one in held(server).values()} <= {EXPLICIT, "1.2.840.10008.1.2"}
    np.testing.assert_array_equal(dcmread(server.archive.blobs.path(arrived.blob.name)).pixel_array, original)


@pytest.mark.peers
@needs("Orthanc")
def test_orthanc_gets_what_modalities_send_decompressed_also_after_it_was_away(tmp_path, start):
    orthanc = Orthanc(tmp_path / "orthanc")
    node = start(
        "in-front-of-orthanc/hostd.toml", PEERS__ORTHANC__URL=f"{orthanc.url}/", DELIVERY__FIRST_RETRY_S="0.2",
        DELIVERY__MAX_RETRY_S="1",
    )  # fmt: skip
    sent = [send(node, sample(name)) for name in ("MR_small_jp2klossless.dcm", "CT_small.dcm")]
    try:
        orthanc.start()
        until(lambda: len(orthanc.get("/instances").json()) == 2, "Orthanc has both")
        until(lambda: held(node) == {}, "hostd has let go of both")
        found = {
            dcmread(orthanc.file(one, tmp_path / one)).SOPInstanceUID: tmp_path / one
            for one in orthanc.get("/instances").json()
        }
    finally:
        orthanc.stop()
    assert dcmread(found[sent[0].SOPInstanceUID]).file_meta.TransferSyntaxUID == EXPLICIT
    np.testing.assert_array_equal(dcmread(found[sent[0].SOPInstanceUID]).pixel_array, sent[0].pixel_array)


@pytest.mark.peers
@needs("dcmqrscp", "findscu", "movescu", "storescp")
def test_what_a_pacs_sends_in_jpeg_2000_a_workstation_gets_uncompressed(tmp_path, start):
    """The PACS proposes JPEG 2000 for what it has in that; the workstation accepts nothing that is compressed."""
    port = free_port()
    pacs = Pacs(tmp_path / "pacs", "+xv", "-xv", knows={"HOSTD": port}).start()
    screen = StoreScp(tmp_path / "workstation", "+x=").start()
    try:
        path = sample("MR_small_jp2klossless.dcm")
        image = dcmread(path)
        pacs.take(image, path)
        node = start(
            "pacs-to-workstation/hostd.toml", DICOM__PORT=port, MODALITIES__PACS__PORT=pacs.port,
            MODALITIES__WORKSTATION__PORT=screen.port,
        )  # fmt: skip
        url = f"http://127.0.0.1:{node.http.port}"
        asked = {"Level": "Study", "Query": {"PatientID": image.PatientID}}
        made = requests.post(f"{url}/modalities/pacs/query", json=asked, timeout=60).json()
        requests.post(f"{url}{made['Path']}/retrieve", data="", timeout=60).raise_for_status()
        assert held(node)[image.SOPInstanceUID].blob.transfer_syntax == J2K
        key = f"StudyInstanceUID={image.StudyInstanceUID}"
        common = [
            "-S",
            "-aet",
            "WORKSTATION",
            "-aec",
            "HOSTD",
            "127.0.0.1",
            str(port),
            "-k",
            "QueryRetrieveLevel=STUDY",
        ]
        found = subprocess.run(
            ["findscu", "-v", *common, "-k", f"PatientID={image.PatientID}", "-k", "StudyInstanceUID"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert found.returncode == 0, found.stdout + found.stderr
        assert image.StudyInstanceUID in found.stdout + found.stderr
        moved = subprocess.run(
            ["movescu", "-v", *common, "-k", key], capture_output=True, text=True, timeout=60, check=False
        )
        assert moved.returncode == 0, moved.stdout + moved.stderr
        arrived = dcmread(screen.path(image.SOPInstanceUID))
    finally:
        pacs.stop()
        screen.stop()
    assert arrived.file_meta.TransferSyntaxUID in (EXPLICIT, "1.2.840.10008.1.2")
    np.testing.assert_array_equal(arrived.pixel_array, image.pixel_array)


def test_what_is_not_here_of_todays_studies_is_fetched(tmp_path):
    with Bench(tmp_path / "bench") as hostd:
        folder = SAMPLES / "pacs-to-workstation"
        script = hostd.script(folder / "fetch.py", configuration=folder / "hostd.toml")
        today = hostd.clock.now()
        script.has["pacs"] = [{"StudyInstanceUID": "1.2.1"}, {"StudyInstanceUID": "1.2.2", "ModalitiesInStudy": "CT"}]
        run = script.on("fetch")
        assert [one.study for one in run.retrieves] == ["1.2.1"]
        assert hostd.clock.now() == today
