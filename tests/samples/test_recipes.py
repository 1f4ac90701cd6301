"""Each recipe of samples/ as it is written: checked, tried and run; only ports and the data folder are set by the environment."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import requests
from peer_kit import REPOSITORY, SAMPLES, LiveNode, end, sample, until
from ports import free_port
from pydicom import dcmread
from pynetdicom import AE

from hostd.archive import instances
from hostd.archive.archive import attach

RECIPES = {
    "auto-forwarding": "forward.py", "jpeg2000-compression": "compress.py", "teleradiology-ultrasound": "ultrasound.py",
    "trial-deidentification": "deidentify.py",
}  # fmt: skip
J2K = "1.2.840.10008.1.2.4.90"


def test_every_recipe_is_tested():
    assert {folder.name for folder in SAMPLES.iterdir() if folder.is_dir()} == RECIPES.keys()
    for name, script in RECIPES.items():
        assert {"README.md", "hostd.toml", script} <= {file.name for file in (SAMPLES / name).iterdir()}


def hostd(*arguments, **environ):
    return subprocess.run(
        [sys.executable, "-m", "hostd", *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False, cwd=REPOSITORY, env=os.environ | environ,
    )  # fmt: skip


@contextmanager
def running(config, data, **environ):
    """Run `hostd run` with that configuration, on free ports; give its HTTP root and its DICOM port."""
    dicom, http = free_port(), free_port()
    environ |= {"HOSTD_DICOM__PORT": str(dicom), "HOSTD_HTTP__PORT": str(http), "HOSTD_NODE__DATA": str(data)}
    output = data.with_suffix(".log")
    with output.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "hostd", "run", *([str(config)] if config else [])],
            stdout=log, stderr=log, cwd=REPOSITORY, env=os.environ | environ,
        )  # fmt: skip
    try:

        def is_ready():
            assert process.poll() is None, output.read_text()
            return "ready" in output.read_text()

        until(is_ready, "the node is ready", 30)
        yield f"http://127.0.0.1:{http}", dicom
    finally:
        end(process)
    assert process.returncode == 0, output.read_text()


@pytest.fixture
def archive(tmp_path):
    made = LiveNode(tmp_path / "archive", aet="ARCHIVE")
    yield made
    made.stop()


@pytest.mark.parametrize("recipe", RECIPES)
def test_hostd_check_finds_it_good(recipe):
    ran = hostd("check", SAMPLES / recipe / RECIPES[recipe], "--config", SAMPLES / recipe / "hostd.toml")
    assert ran.returncode == 0, ran.stderr
    assert "good (on_stored_instance, on_conflicting_instance)" in ran.stdout


def test_hostd_try_shows_what_each_would_do():
    plans = {}
    for recipe, script in RECIPES.items():
        folder = SAMPLES / recipe
        files = [sample("CT_small.dcm"), sample("JPEG2000.dcm"), sample("test-SR.dcm")]
        ran = hostd("try", folder / script, *files, "--config", folder / "hostd.toml", "--json")
        assert ran.returncode == 0, ran.stderr
        plans[recipe] = [rehearsal["plan"] for rehearsal in json.loads(ran.stdout)]
        assert not (folder / "hostd-data").exists()
    assert [len(plan) for plan in plans["auto-forwarding"]] == [2, 2, 2]
    assert [len(plan) for plan in plans["jpeg2000-compression"]] == [2, 1, 1]
    assert (
        "JPEG2000Lossless" in " ".join(plans["jpeg2000-compression"][0])
        or "2000" in plans["jpeg2000-compression"][0][0]
    )


def post(url, name):
    path = sample(name)
    requests.post(f"{url}/instances", data=path.read_bytes(), timeout=30).raise_for_status()
    return dcmread(path)


def test_the_compression_recipe_compresses_and_archives(tmp_path, archive):
    config = SAMPLES / "jpeg2000-compression" / "hostd.toml"
    with running(config, tmp_path / "data", HOSTD_MODALITIES__ARCHIVE__PORT=str(archive.port)) as (url, _):
        image, report = post(url, "CT_small.dcm"), post(url, "test-SR.dcm")
        until(lambda: len(archive.instances()) == 2, "both arrive")
        assert len(requests.get(f"{url}/instances", timeout=10).json()) == 2
    arrived = archive.instance(image.SOPInstanceUID)
    assert arrived.blob.transfer_syntax == J2K
    assert archive.instance(report.SOPInstanceUID).blob.transfer_syntax == report.file_meta.TransferSyntaxUID
    np.testing.assert_array_equal(dcmread(archive.path(image.SOPInstanceUID)).pixel_array, image.pixel_array)
    assert not (config.parent / "hostd-data").exists()


def test_the_forwarding_recipe_passes_on_and_lets_go_only_after_delivery(tmp_path, archive):
    config, port = SAMPLES / "auto-forwarding" / "hostd.toml", free_port()
    data = tmp_path / "data"
    with running(config, data, HOSTD_MODALITIES__ARCHIVE__PORT=str(port)) as (url, _):
        post(url, "CT_small.dcm")
        post(url, "JPEG2000.dcm")

        def waits():
            listed = hostd("deliveries", "--config", config, "--json", HOSTD_NODE__DATA=str(data))
            return listed.returncode == 0 and listed.stdout.count('"waiting"') >= 2

        until(waits, "both wait for the archive that is not there", 30)
        assert len(requests.get(f"{url}/instances", timeout=10).json()) == 2
    # The archive is back, here at another port; the node goes on where it was.
    with running(
        config, data, HOSTD_MODALITIES__ARCHIVE__PORT=str(archive.port), HOSTD_DELIVERY__FIRST_RETRY_S="0.2"
    ) as (url, _):
        until(lambda: len(archive.instances()) == 2, "both arrive", 30)
        until(lambda: requests.get(f"{url}/instances", timeout=10).json() == [], "both are let go", 20)
    assert archive.instance(dcmread(sample("JPEG2000.dcm")).SOPInstanceUID).blob.transfer_syntax.endswith(".4.91")


def send(path, port, called):
    """Send a file by C-STORE to that AE title."""
    ae = AE(ae_title="SCANNER")
    ds = dcmread(path)
    ae.add_requested_context(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID)
    association = ae.associate("127.0.0.1", port, ae_title=called)
    assert association.is_established
    assert association.send_c_store(ds).Status == 0
    association.release()


def test_the_trial_recipe_deidentifies_what_its_ae_title_gets_and_nothing_else(tmp_path, archive):
    config = SAMPLES / "trial-deidentification" / "hostd.toml"
    data, original = tmp_path / "data", dcmread(sample("CT_small.dcm"))
    with running(config, data, HOSTD_MODALITIES__CORELAB__PORT=str(archive.port)) as (url, dicom):
        send(sample("MR_small.dcm"), dicom, "HOSTD")
        send(sample("CT_small.dcm"), dicom, "TRIAL7")
        send(changed(tmp_path, SOPInstanceUID="1.2.826.0.1.5.1", BurnedInAnnotation="YES"), dicom, "TRIAL7")
        send(changed(tmp_path, SOPInstanceUID="1.2.826.0.1.5.2"), dicom, "TRIAL7")
        until(lambda: len(archive.instances()) == 2, "the two good ones arrive", 30)
        until(lambda: requests.get(f"{url}/deliveries?state=failed", timeout=10).json(), "the other fails", 30)
    (first, second) = (dcmread(archive.path(held.sop_instance_uid)) for held in archive.instances())
    assert first.StudyInstanceUID == second.StudyInstanceUID != original.StudyInstanceUID
    assert first.PatientID == second.PatientID != original.PatientID
    assert first.PatientID.startswith("T7-")
    assert first.StudyDate == second.StudyDate != original.StudyDate
    assert (first.ClinicalTrialProtocolID, first.PatientIdentityRemoved) == ("TRIAL7", "YES")
    assert str(original.PatientName).encode() not in archive.path(first.SOPInstanceUID).read_bytes()


def changed(folder, **keywords):
    ds = dcmread(sample("CT_small.dcm"))
    for keyword, value in keywords.items():
        setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.save_as(folder / "changed.dcm")
    return folder / "changed.dcm"


def test_the_teleradiology_recipe_keeps_the_original_until_the_evening(tmp_path, archive):
    config = SAMPLES / "teleradiology-ultrasound" / "hostd.toml"
    away = LiveNode(tmp_path / "away", aet="TELERAD")
    ultrasound = dcmread(sample("examples_rgb_color.dcm"))
    ultrasound.Modality, ultrasound.InstitutionName = "US", "General Hospital"
    ultrasound.save_as(tmp_path / "us.dcm")
    # The clock on the wall is the configuration's: a zone in which it is past 19:00 now, and one in which it is before.
    hour = datetime.now(UTC).hour
    late, early = ((21 - hour + 12) % 24 - 12, (3 - hour + 12) % 24 - 12)
    ports = {
        "HOSTD_MODALITIES__ARCHIVE__PORT": str(archive.port),
        "HOSTD_MODALITIES__TELERADIOLOGY__PORT": str(away.port),
    }
    offset = "HOSTD_SCRIPTS__ULTRASOUND_PY__CONFIG"
    try:
        with running(config, tmp_path / "early", **ports, **{offset: json.dumps({"utc_offset_hours": early})}) as (
            url,
            _,
        ):
            posted(url, tmp_path / "us.dcm")
            until(lambda: archive.instance(ultrasound.SOPInstanceUID), "the archive has the original", 30)
            (waits,) = until(
                lambda: requests.get(f"{url}/deliveries?destination=modality:teleradiology", timeout=10).json(),
                "it is asked for",
            )
            assert (waits["State"], waits["Attempts"]) == ("preparing", 0)
            assert len(requests.get(f"{url}/instances", timeout=10).json()) == 1
            assert away.instances() == []
        with running(config, tmp_path / "late", **ports, **{offset: json.dumps({"utc_offset_hours": late})}) as (
            url,
            _,
        ):
            posted(url, tmp_path / "us.dcm")
            until(lambda: requests.get(f"{url}/instances", timeout=10).json() == [], "the original is let go", 30)
        (held,) = away.instances()
        small = dcmread(away.path(held.sop_instance_uid))
    finally:
        away.stop()
    assert small.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
    assert "InstitutionName" not in small
    assert small.SOPInstanceUID != ultrasound.SOPInstanceUID
    assert small.StudyInstanceUID == ultrasound.StudyInstanceUID
    assert (small.LossyImageCompression, small.PatientID) == ("01", ultrasound.PatientID)
    assert dcmread(archive.path(ultrasound.SOPInstanceUID)).InstitutionName == "General Hospital"


def posted(url, path):
    requests.post(f"{url}/instances", data=path.read_bytes(), timeout=30).raise_for_status()


def test_the_default_script_logs_arrivals_on_a_node_without_destinations(tmp_path):
    scripts = REPOSITORY / "scripts"
    assert hostd("check", scripts / "log_arrivals.py").returncode == 0
    data = tmp_path / "data"
    with running(None, data, HOSTD_NODE__SCRIPTS=str(scripts)) as (url, _):
        image = post(url, "CT_small.dcm")
        changed = dcmread(sample("CT_small.dcm"))
        changed.PatientName = "Other^Content"
        changed.save_as(tmp_path / "changed.dcm")
        requests.post(
            f"{url}/instances", data=Path(tmp_path / "changed.dcm").read_bytes(), timeout=30
        ).raise_for_status()

        def runs():
            with attach(data) as connection:
                return connection.exec_driver_sql("SELECT outcome, log FROM run ORDER BY event").all()

        until(lambda: len(runs()) == 2, "both events are logged")
    (stored, conflict) = runs()
    assert (stored.outcome, conflict.outcome) == ("done", "done")
    assert "CT in ExplicitVRLittleEndian from http, 39206 bytes" in stored.log
    assert "other content under a known SOP Instance UID" in conflict.log
    assert str(image.PatientName) not in stored.log
    with attach(data) as connection:
        assert instances.count(connection) == 1
