"""Each recipe of samples/ as it is written: checked, tried and run; only ports and the data folder are set by the environment."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import requests
from channels_kit import HookServer
from peer_kit import REPOSITORY, SAMPLES, LiveNode, end, needs, sample, until
from ports import free_port
from pydicom import dcmread
from pydicom.uid import generate_uid
from pynetdicom import AE
from requesting import associate
from typer.testing import CliRunner

from hostd.archive import events, instances
from hostd.archive.archive import attach
from hostd.cli import build
from hostd.config.settings import Settings
from hostd.node import Node

RECIPES = {
    "auto-forwarding": "forward.py",
    "blank-image-area": "blank.py",
    "change-and-forward": "change.py",
    "compress-and-replace": "compress.py",
    "daily-report": "report.py",
    "delete-old-studies": "clean.py",
    "destination-alarms": "alarms.py",
    "dose-reports": "dose.py",
    "drop-blank-images": "drop.py",
    "filters": "filters.py",
    "in-front-of-orthanc": "front.py",
    "jpeg2000-compression": "compress.py",
    "label-by-sender": "label.py",
    "pacs-to-workstation": "fetch.py",
    "patient-id-padding": "pad.py",
    "prefetch-priors": "prefetch.py",
    "route-by-called-ae": "route.py",
    "run-a-program": "program.py",
    "second-archive": "redirect.py",
    "stable-studies": "stable.py",
    "syntax-per-destination": "transcode.py",
    "teleradiology-ultrasound": "ultrasound.py",
    "thin-slices-to-ai": "thin_slices.py",
    "transcoding-buffer": "decompress.py",
    "trial-deidentification": "deidentify.py",
    "write-to-disk": "write.py",
}
HANDLERS = dict.fromkeys(RECIPES, "on_stored_instance, on_conflicting_instance") | {
    "compress-and-replace": "on_stored_instance, on_conflicting_instance, on_action_done",
    "daily-report": "on_association_closed, report at 0 7 * * MON-FRI",
    "delete-old-studies": "on_stored_instance, on_conflicting_instance, clean at 0 3 * * *",
    "destination-alarms": "on_destination_down, on_delivery_failed, on_destination_up",
    "dose-reports": "on_stored_instance, on_action_done",
    "filters": "filter_received_instance, filter_outgoing_instance, filter_http_request, filter_find",
    "label-by-sender": "on_new_study",
    "pacs-to-workstation": "fetch every 600 s",
    "patient-id-padding": "filter_received_instance",
    "prefetch-priors": "on_new_study, on_action_done",
    "second-archive": "on_destination_down, on_action_done, on_stored_instance, on_conflicting_instance",
    "stable-studies": "on_stable_study, on_stable_series",
    "thin-slices-to-ai": "on_stable_series",
}
BY_INSTANCE = {name for name, handlers in HANDLERS.items() if handlers.startswith(("on_stored", "filter_received"))}
J2K = "1.2.840.10008.1.2.4.90"


def test_every_recipe_is_tested():
    assert {folder.name for folder in SAMPLES.iterdir() if folder.is_dir()} == RECIPES.keys()
    for name, script in RECIPES.items():
        assert {"README.md", "hostd.toml", script} <= {file.name for file in (SAMPLES / name).iterdir()}


def hostd(*arguments, **environ):
    """Run a command of hostd's in this process."""
    ran = CliRunner().invoke(build(), list(map(str, arguments)), env=environ)
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    return SimpleNamespace(returncode=ran.exit_code, stdout=ran.stdout, stderr=ran.stderr)


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

        until(is_ready, "the node is ready", 90)
        yield f"http://127.0.0.1:{http}", dicom
    finally:
        end(process)
        sys.stdout.write(output.read_text())  # shown beside what failed
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
    assert f"good ({HANDLERS[recipe]}" in ran.stdout


def test_hostd_try_shows_what_each_would_do():
    plans = {}
    for recipe in BY_INSTANCE:
        folder, script = SAMPLES / recipe, RECIPES[recipe]
        files = [sample("CT_small.dcm"), sample("JPEG2000.dcm"), sample("test-SR.dcm")]
        ran = hostd("try", folder / script, *files, "--config", folder / "hostd.toml", "--json")
        assert ran.returncode == 0, ran.stderr
        plans[recipe] = [rehearsal["plan"] for rehearsal in json.loads(ran.stdout)]
        assert not (folder / "hostd-data").exists()
    assert [len(plan) for plan in plans["auto-forwarding"]] == [2, 2, 2]
    assert [len(plan) for plan in plans["jpeg2000-compression"]] == [2, 1, 1]
    assert plans["patient-id-padding"] == [[], [], []], "a file comes from no sender"
    assert (
        "JPEG2000Lossless" in " ".join(plans["jpeg2000-compression"][0])
        or "2000" in plans["jpeg2000-compression"][0][0]
    )


def post(url, name):
    path = sample(name)
    requests.post(f"{url}/instances", data=path.read_bytes(), timeout=60).raise_for_status()
    return dcmread(path)


def test_the_compression_recipe_compresses_and_archives(tmp_path, archive):
    config = SAMPLES / "jpeg2000-compression" / "hostd.toml"
    with running(config, tmp_path / "data", HOSTD_MODALITIES__ARCHIVE__PORT=str(archive.port)) as (url, _):
        image, report = post(url, "CT_small.dcm"), post(url, "test-SR.dcm")
        until(lambda: len(archive.instances()) == 2, "both arrive")
        assert len(requests.get(f"{url}/instances", timeout=60).json()) == 2
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

        until(waits, "both wait for the archive that is not there", 60)
        assert len(requests.get(f"{url}/instances", timeout=60).json()) == 2
    # The archive is back, here at another port; the node goes on where it was.
    with running(
        config, data, HOSTD_MODALITIES__ARCHIVE__PORT=str(archive.port), HOSTD_DELIVERY__FIRST_RETRY_S="0.2"
    ) as (url, _):
        until(lambda: len(archive.instances()) == 2, "both arrive", 60)
        until(lambda: requests.get(f"{url}/instances", timeout=60).json() == [], "both are let go", 60)
    assert archive.instance(dcmread(sample("JPEG2000.dcm")).SOPInstanceUID).blob.transfer_syntax.endswith(".4.91")


@needs("storescu")
def test_the_padding_recipe_pads_and_names_the_issuer_for_its_sender_alone(tmp_path):
    config, data = SAMPLES / "patient-id-padding" / "hostd.toml", tmp_path / "data"

    def send(aet, patient_id, number):
        image = dcmread(sample("CT_small.dcm"))
        image.PatientID, image.SOPInstanceUID = patient_id, f"1.2.3.{number}"
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.save_as(tmp_path / "sent.dcm")
        command = ["storescu", "-v", "-aet", aet, "-aec", "HOSTD", "127.0.0.1", str(dicom), str(tmp_path / "sent.dcm")]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    with running(config, data, HOSTD_SCRIPTING__FILTER_TIME_LIMIT_S="10") as (_, dicom):
        assert send("ULTRASOUND1", "4711", 1).returncode == 0
        assert send("OTHER", "4711", 2).returncode == 0
        refused = send("ULTRASOUND1", "NOT A NUMBER", 3)
        assert "Refused: OutOfResources" in refused.stdout + refused.stderr
    with attach(data) as connection:
        stored = {one.sop_instance_uid: one for one in instances.newest(connection, limit=10)}
    assert {uid: one.patient_id for uid, one in stored.items()} == {"1.2.3.1": "0000004711", "1.2.3.2": "4711"}
    padded = dcmread(data / "blobs" / stored["1.2.3.1"].blob.name)
    assert padded.IssuerOfPatientID == "MAIN HOSPITAL"
    assert padded.OriginalAttributesSequence[0].ModifiedAttributesSequence[0].PatientID == "4711"
    assert "OriginalAttributesSequence" not in dcmread(data / "blobs" / stored["1.2.3.2"].blob.name)
    told = hostd("explain", "1.2.3.1", "--config", config, HOSTD_NODE__DATA=str(data)).stdout
    assert "filtered instance" in told
    assert "accept set IssuerOfPatientID and PatientID: done" in told


def slices(folder, count, thickness, *, start=1, series=None):
    """Write images of one series; return its UID and the files."""
    folder.mkdir(exist_ok=True)
    series, files = series or generate_uid(), []
    for number in range(start, start + count):
        image = dcmread(sample("CT_small.dcm"))
        image.SeriesInstanceUID, image.SOPInstanceUID = series, generate_uid()
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.SliceThickness, image.InstanceNumber = thickness, number
        files.append(folder / f"{series}.{number}.dcm")
        image.save_as(files[-1])
    return series, files


def test_the_thin_slice_recipe_would_send_thin_series_alone(tmp_path):
    folder = SAMPLES / "thin-slices-to-ai"
    (_, thin), (_, thick) = slices(tmp_path, 2, 1.0), slices(tmp_path, 2, 5.0)
    ran = hostd(
        "try", folder / "thin_slices.py", *thin, *thick,
        "--event", "stable_series", "--config", folder / "hostd.toml", "--json",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    plans = [rehearsal["plan"] for rehearsal in json.loads(ran.stdout)]
    assert plans == [["forward the series to modality:ai with priority high"], []]


def test_the_thin_slice_recipe_sends_each_thin_series_once_and_whole(tmp_path):
    ai = LiveNode(tmp_path / "ai", aet="AI")
    config = SAMPLES / "thin-slices-to-ai" / "hostd.toml"
    environ = {"HOSTD_MODALITIES__AI__PORT": str(ai.port), "HOSTD_STABLE__QUIET_S": "1"}
    try:
        with running(config, tmp_path / "data", **environ) as (url, _):

            def send(files):
                for file in files:
                    requests.post(f"{url}/instances", data=file.read_bytes(), timeout=60).raise_for_status()

            series, thin = slices(tmp_path / "files", 3, 1.0)
            send([*thin, *slices(tmp_path / "files", 2, 5.0)[1]])
            until(lambda: len(ai.instances()) == 3, "the thin series arrives", 60)
            send(slices(tmp_path / "files", 1, 1.0, start=4, series=series)[1])
            until(lambda: len(ai.instances()) == 4, "what came late arrives", 60)
        assert {one.series_instance_uid for one in ai.instances()} == {series}
        with ai.archive.read() as connection:
            assert events.latest(connection, ["received_again"], 1) == [], "nothing is sent twice"
    finally:
        ai.stop()


def send(path, port, called):
    """Send a file by C-STORE to that AE title."""
    ae = AE(ae_title="SCANNER")
    ds = dcmread(path)
    ae.add_requested_context(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID)
    association = associate(ae, "127.0.0.1", port, ae_title=called)
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
        until(lambda: len(archive.instances()) == 2, "the two good ones arrive", 60)
        until(lambda: requests.get(f"{url}/deliveries?state=failed", timeout=60).json(), "the other fails", 60)
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
            until(lambda: archive.instance(ultrasound.SOPInstanceUID), "the archive has the original", 60)
            (waits,) = until(
                lambda: requests.get(f"{url}/deliveries?destination=modality:teleradiology", timeout=60).json(),
                "it is asked for",
            )
            assert (waits["State"], waits["Attempts"]) == ("preparing", 0)
            assert len(requests.get(f"{url}/instances", timeout=60).json()) == 1
            assert away.instances() == []
        with running(config, tmp_path / "late", **ports, **{offset: json.dumps({"utc_offset_hours": late})}) as (
            url,
            _,
        ):
            posted(url, tmp_path / "us.dcm")
            until(lambda: requests.get(f"{url}/instances", timeout=60).json() == [], "the original is let go", 60)
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
    requests.post(f"{url}/instances", data=path.read_bytes(), timeout=60).raise_for_status()


def test_the_alarm_recipe_tells_once_that_the_archive_is_down_and_once_that_it_works_again(tmp_path):
    folder, port = tmp_path / "recipe", free_port()
    shutil.copytree(SAMPLES / "destination-alarms", folder)
    folder.chmod(0o755)
    (folder / "forward.py").write_text(
        "def on_stored_instance(instance, host):\n    host.forward(instance, to='archive')\n"
    )
    with HookServer() as web:
        settings = {
            "HOSTD_MODALITIES__ARCHIVE__PORT": str(port),
            "HOSTD_NOTIFY__DUTY__URL": f"http://127.0.0.1:{web.port}/hook",
            "HOSTD_DELIVERY__FIRST_RETRY_S": "0.2",
            "HOSTD_DELIVERY__MAX_RETRY_S": "0.5",
            "HOSTD_NODE__ALLOW_INSECURE_PERMISSIONS": "true",
        }
        with running(folder / "hostd.toml", tmp_path / "data", **settings) as (url, _):
            post(url, "CT_small.dcm")
            post(url, "JPEG2000.dcm")
            until(lambda: web.bodies, "the alarm", 60)
            archive = Node(
                Settings(
                    node={"data": tmp_path / "archive", "scripts": tmp_path / "none"},
                    dicom={"port": port, "aets": ("ARCHIVE",)},
                    http={"enabled": False},
                ),
                run_scripts=False,
            )
            archive.start()
            try:
                until(lambda: len(web.bodies) == 2, "the all-clear", 60)
                until(lambda: archive.facts().instances == 2, "both arrive", 60)
            finally:
                archive.stop()
    assert web.bodies[0]["text"].startswith("archive does not work: ")
    assert web.bodies[1]["text"].startswith("archive works again")
    assert len(web.bodies) == 2


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
            f"{url}/instances", data=Path(tmp_path / "changed.dcm").read_bytes(), timeout=60
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
