"""Each recipe of samples/ as it is written: checked, tried and run; only ports and the data folder are set by the environment."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import requests
from channels_kit import HookServer
from peer_kit import REPOSITORY, SAMPLES, LiveNode, end, sample, until
from ports import free_port
from pydicom import dcmread

from hostd.archive import instances
from hostd.archive.archive import attach
from hostd.config.settings import Settings
from hostd.node import Node

RECIPES = {"auto-forwarding": "forward.py", "destination-alarms": "alarms.py", "jpeg2000-compression": "compress.py"}
OF_INSTANCES = ("auto-forwarding", "jpeg2000-compression")
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
    handlers = "on_stored_instance, on_conflicting_instance" if recipe in OF_INSTANCES else "on_delivery_failed"
    assert f"good ({handlers}" in ran.stdout


def test_hostd_try_shows_what_each_would_do():
    plans = {}
    for recipe in OF_INSTANCES:
        folder, script = SAMPLES / recipe, RECIPES[recipe]
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
            until(lambda: web.bodies, "the alarm", 30)
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
                until(lambda: len(web.bodies) == 2, "the all-clear", 30)
                until(lambda: archive.facts().instances == 2, "both arrive", 30)
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
