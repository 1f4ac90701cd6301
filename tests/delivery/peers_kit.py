"""Real peers on free ports of this machine, ended by their process ids."""

import json
import shutil
import socket
import subprocess
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from ports import free_port
from pydicom.data import get_testdata_file

needs_storescp = pytest.mark.skipif(shutil.which("storescp") is None, reason="DCMTK's storescp is not on the PATH")
DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
needs_dicomweb = pytest.mark.skipif(not DICOMWEB.exists(), reason="Orthanc's DICOMweb plug-in is not installed")
needs_orthanc = pytest.mark.skipif(shutil.which("Orthanc") is None, reason="Orthanc is not on the PATH")


def shipped(name):
    """Return the bytes of one of pydicom's own test files."""
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"this pydicom does not ship {name}")
    return Path(path).read_bytes()


def _ended(process):
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(60)


@contextmanager
def storescp(folder, *options):
    """Run storescp; yield its port, once it listens."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    with listening(port, "storescp", *options, "-od", folder, port):
        yield port


@contextmanager
def listening(port, *command):
    """Run a program until the end of the block, which begins when it listens on the port."""
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while True:
            assert process.poll() is None, f"{command[0]} did not start"
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < end, f"{command[0]} does not listen"
                time.sleep(0.05)
        yield
    finally:
        _ended(process)


class Orthanc:
    """A running Orthanc, with one user."""

    username, password = "hostd", "pässword"

    def __init__(self, folder, plugins=()):
        self.dicom_port, self.http_port = free_port(), free_port()
        self.name = f"hostd-test-{uuid.uuid4()}"
        self.url = f"http://127.0.0.1:{self.http_port}/"
        folder.mkdir()
        configuration = {
            "Name": self.name,
            "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"),
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": "ORTHANC",
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {self.username: self.password},
            "DicomAlwaysAllowStore": True,
            "DicomAlwaysAllowFind": True,
            "OverwriteInstances": False,
            "Plugins": list(map(str, plugins)),
        }
        (folder / "orthanc.json").write_text(json.dumps(configuration))
        self._process = subprocess.Popen(
            ["Orthanc", str(folder / "orthanc.json")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
        )

    def get(self, path):
        response = requests.get(self.url + path, auth=(self.username.encode(), self.password.encode()), timeout=60)
        response.raise_for_status()
        return response

    def wait(self):
        """Wait until it answers, and make sure that it is this one."""
        end = time.monotonic() + 60
        while True:
            assert self._process.poll() is None, "Orthanc did not start"
            try:
                answer = self.get("system").json()
                break
            except requests.ConnectionError:
                assert time.monotonic() < end, "Orthanc does not answer"
                time.sleep(0.1)
        assert answer["Name"] == self.name, "another Orthanc answers on this port"
        return self

    def end(self):
        """End it at once: in order it takes seconds, and nothing of it is looked at any more."""
        self._process.kill()
        self._process.wait(60)


@contextmanager
def orthanc(folder, plugins=()):
    running = Orthanc(folder, plugins)
    try:
        yield running.wait()
    finally:
        running.end()
