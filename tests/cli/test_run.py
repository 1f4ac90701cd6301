"""`hostd run`: what it says, what it refuses, and how it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from pydicom.data import get_testdata_file

from hostd.cli import main


@pytest.fixture
def configure(tmp_path):
    def write(text=""):
        file = tmp_path / "hostd.toml"
        file.write_text("[dicom]\nport = 0\n[http]\nport = 0\n" + text)
        file.chmod(0o600)
        return file

    return write


def start(file, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "hostd", "run", str(file), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=file.parent, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def until_ready(process):
    said = []
    while not (said and said[-1].startswith("ready")):
        line = process.stdout.readline()
        assert line, process.stderr.read()
        said.append(line)
    return "".join(said)


def end(process, number=signal.SIGTERM):
    if process.poll() is None:
        process.send_signal(number)
    return process.communicate(timeout=60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_start_line_says_what_one_needs_to_know_and_a_signal_stops_it_cleanly(configure, tmp_path, number):
    process = start(configure())
    try:
        said = until_ready(process)
    finally:
        _, errors = end(process, number)
    assert process.returncode == 0, errors
    assert f"data in {tmp_path / 'hostd-data'} (0 instances)" in said
    assert "DICOM on 127.0.0.1:" in said
    assert "opens it to others" in said
    assert "landlock" in said
    assert "seccomp" in said
    assert "Traceback" not in errors


def test_by_http_it_is_told_to_say_more_to_read_its_configuration_again_and_to_end(configure):
    file = configure()
    process = start(file, "--no-scripts")
    try:
        url = re.search(r"HTTP on (127.0.0.1:[0-9]+)", until_ready(process))[1]
        url = f"http://{url}/tools"
        requests.put(f"{url}/log-level", data="trace", timeout=60).raise_for_status()
        file.write_text(file.read_text() + '[peers.buffer]\nurl = "http://127.0.0.1:9/"\n')
        requests.post(f"{url}/reset", timeout=60).raise_for_status()
        while "the configuration was read again" not in (line := process.stderr.readline()):
            assert line
        requests.post(f"{url}/shutdown", timeout=60).raise_for_status()
        process.wait(60)
    finally:
        _, errors = end(process)
    assert process.returncode == 0, errors
    assert "stopping" in errors


def test_the_log_is_written_as_it_is_configured_now(configure):
    file = configure()
    process = start(file, "--no-scripts")
    try:
        url = re.search(r"HTTP on (127.0.0.1:[0-9]+)", until_ready(process))[1]
        file.write_text(file.read_text() + '[log]\nformat = "json"\nlevel = "debug"\n')
        requests.post(f"http://{url}/tools/reset", timeout=60).raise_for_status()
        while "the configuration was read again" not in (line := process.stderr.readline()):
            assert line
        requests.post(f"http://{url}/tools/shutdown", timeout=60).raise_for_status()
        process.wait(60)
    finally:
        _, errors = end(process)
    assert [json.loads(line)["level"] for line in errors.splitlines() if '"stopping"' in line] == ["info"]


def test_the_data_folder_is_private(configure, tmp_path):
    process = start(configure())
    try:
        until_ready(process)
    finally:
        end(process)
    for name in ("hostd-data", "hostd-data/blobs"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0, name


def test_no_scripts_runs_none_and_says_so(configure, tmp_path):
    (tmp_path / "scripts").mkdir(mode=0o755)
    (tmp_path / "scripts" / "a.py").write_text("def on_start(host):\n    host.log('here')\n")
    process = start(configure(), "--no-scripts")
    try:
        assert "scripts do not run" in until_ready(process)
    finally:
        _, errors = end(process)
    assert "script" not in errors


def test_orthancs_configuration_is_run_and_what_is_not_taken_over_is_said_once(tmp_path):
    file = tmp_path / "orthanc.json"
    file.write_text('{"DicomPort": 0, "HttpPort": 0, "Name": "room7", "LuaScripts": ["Autorouting.lua"]} // all')
    process = start(file, "--no-jobs", "--verbose", "--no-scripts")
    try:
        said = until_ready(process)
    finally:
        _, errors = end(process)
    assert process.returncode == 0, errors
    assert said.count("LuaScripts Autorouting.lua: is not run; the recipe samples/auto-forwarding") == 1
    assert f"node room7: data in {tmp_path / 'hostd-data'} (0 instances)" in said


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('host = "0.0.0.0"\n', "user"),
        ('[node]\nscriptz = "x"\n', "scriptz"),
        ('[modalities.a]\naet = "A"\nhost = "h"\n', "port"),
    ],
)
def test_what_hinders_a_start_is_said_in_words_with_exit_code_2(configure, tmp_path, refusal, text, reason):
    assert reason in refusal(configure(text))
    assert not (tmp_path / "hostd-data").exists()


@pytest.fixture
def refusal(monkeypatch, capsys):
    """What is said by a run that does not start, in this process."""

    def said(file):
        monkeypatch.setattr(sys, "argv", ["hostd", "run", str(file)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        out, errors = capsys.readouterr()
        assert out == ""
        return errors

    return said


@pytest.fixture
def writable(configure, tmp_path, request):
    """A configuration that is good, but for what others may write."""
    file = configure()
    (tmp_path / "scripts").mkdir(mode=0o755)
    (tmp_path / "scripts" / "a.py").write_text("pass\n")
    for what in getattr(request, "param", ["hostd.toml", "scripts", "scripts/a.py"]):
        (tmp_path / what).chmod(0o777)
    return file


@pytest.mark.parametrize("writable", [["hostd.toml"], ["scripts"], ["scripts/a.py"]], indirect=True)
def test_what_others_may_write_is_refused(writable, refusal):
    errors = refusal(writable)
    assert "others" in errors or "other users" in errors or "chmod" in errors


def test_a_refusal_is_no_traceback_and_exit_code_2(writable):
    process = start(writable)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Traceback" not in errors


def test_what_others_may_write_is_used_where_one_says_so(writable):
    file = writable
    file.write_text(file.read_text() + "[node]\nallow_insecure_permissions = true\n")
    process = start(file)
    try:
        until_ready(process)
    finally:
        end(process)
    assert process.returncode == 0


def test_verbose_tells_each_association_request_instance_and_delivery_and_no_patient(configure):
    file = configure('[log]\nformat = "json"\n[modalities.gone]\naet = "GONE"\nhost = "127.0.0.1"\nport = 1\n')
    process = start(file, "--no-scripts", "--verbose")
    lines = []
    try:
        said = until_ready(process)
        http = re.search(r"HTTP on (127.0.0.1:[0-9]+)", said)[1]
        image = Path(get_testdata_file("CT_small.dcm", download=False)).read_bytes()
        stored = requests.post(f"http://{http}/instances?note=hunter2", image, timeout=60).json()["ID"]
        with socket.create_connection(("127.0.0.1", int(re.search(r"DICOM on 127.0.0.1:([0-9]+)", said)[1]))):
            pass
        requests.post(f"http://{http}/modalities/gone/store", json={"Resources": [stored], "Asynchronous": True}, timeout=60).raise_for_status()  # fmt: skip
        events = {"a request was answered", "an instance came", "an association ended", "a delivery was tried"}
        while not events <= {line["event"] for line in lines}:
            lines.append(json.loads(process.stderr.readline()))
    finally:
        _, errors = end(process)
    assert process.returncode == 0, errors
    (request,) = (line for line in lines if line.get("path") == "/instances")
    assert (request["method"], request["status"], request["username"]) == ("POST", 200, None)
    assert request["ms"] >= 0
    (came,) = (line for line in lines if line["event"] == "an instance came")
    assert (came["instance"], came["outcome"]) == (stored, "stored")
    (tried, *_) = (line for line in lines if line["event"] == "a delivery was tried")
    assert (tried["destination"], tried["verdict"]) == ("modality:gone", "destination")
    told = json.dumps(lines) + errors
    assert "hunter2" not in told
    assert "CompressedSamples" not in told


def test_without_it_none_of_that_is_told_until_somebody_asks_for_more_over_http(configure):
    process = start(configure(), "--no-scripts")
    try:
        url = "http://" + re.search(r"HTTP on (127.0.0.1:[0-9]+)", until_ready(process))[1]
        requests.get(f"{url}/patients", timeout=60).raise_for_status()
        requests.put(f"{url}/tools/log-level", data="verbose", timeout=60).raise_for_status()
        requests.get(f"{url}/studies", timeout=60).raise_for_status()
        requests.put(f"{url}/tools/log-level", data="default", timeout=60).raise_for_status()
        requests.get(f"{url}/series", timeout=60).raise_for_status()
    finally:
        _, errors = end(process)
    assert "path=/studies" in errors
    assert "path=/patients" not in errors
    assert "path=/series" not in errors


def test_a_node_of_orthancs_configuration_speaks_of_its_options(tmp_path):
    file = tmp_path / "orthanc.json"
    file.write_text(json.dumps({"DicomServerEnabled": False, "HttpPort": 0}))
    process = start(file, "--no-scripts")
    try:
        said = until_ready(process)
    finally:
        end(process)
    assert "RemoteAccessAllowed = true opens it to others, with RegisteredUsers" in said
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for option, other in (("HttpPort", {"DicomServerEnabled": False}), ("DicomPort", {"HttpServerEnabled": False})):
            file.write_text(json.dumps({option: taken.getsockname()[1], **other}))
            process = start(file, "--no-scripts")
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 2
            assert f"choose another {option}" in errors
            assert "Traceback" not in errors
