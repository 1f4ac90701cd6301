"""Whole nodes on free ports, and the real peers beside them: Orthanc and DCMTK's tools, each started, checked and ended."""

import io
import json
import os
import shutil
import socket
import subprocess
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import requests
from ports import free_port
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.pixels import pixel_array

from hostd.archive import deliveries, instances
from hostd.config.settings import load
from hostd.dicom.identity import Identity
from hostd.dicom.part10 import data_set_offset
from hostd.dimse import scu
from hostd.node import Node

REPOSITORY = Path(__file__).parent.parent.parent
SAMPLES = REPOSITORY / "samples"
COMPRESS = (SAMPLES / "jpeg2000-compression" / "compress.py").read_text()
FORWARD = "def on_stored_instance(instance, host):\n    host.forward(instance, to='archive')\n"
DATA = REPOSITORY.parent / "shared" / "data"
PATIENCE_S = 60.0


def needs(*tools):
    """Skip where a tool is not on the PATH."""
    missing = [tool for tool in tools if not shutil.which(tool)]
    return pytest.mark.skipif(bool(missing), reason=f"not on the PATH: {', '.join(missing)}")


def sample(name):
    """Return one of pydicom's own test files, or `wg04/…`, `htj2k/…`, `other/…` of the shared data."""
    if "/" in name and name.partition("/")[0] in {"wg04", "htj2k", "other"}:
        if not (DATA / name).exists():
            pytest.skip(f"the file {name} is in ../shared/data, which is not beside this checkout")
        return DATA / name
    path = get_testdata_file(name, download=False)
    assert path, f"pydicom's wheel has no {name}"
    return Path(str(path))


def until(condition, what, timeout=PATIENCE_S):
    """Return the first true value of `condition()`."""
    end = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {timeout:g} s: {what}"
        time.sleep(0.02)
    return found


class LiveNode:
    """A node with its configuration on disk, as a user would write it."""

    def __init__(self, folder, scripts=None, more="", aet="HOSTD", run_scripts=True, port=0, dicom="", http=""):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "scripts").mkdir(mode=0o700, exist_ok=True)
        for name, source in (scripts or {}).items():
            (folder / "scripts" / name).write_text(source)
        self.folder = folder
        self.config = folder / "hostd.toml"
        self.config.write_text(
            f"""[node]
name = "{aet.lower()}"
data = "./data"
scripts = "./scripts"
[dicom]
port = {port}
aets = ["{aet}"]
{dicom}
[http]
port = 0
{http}
[delivery]
first_retry_s = 0.2
max_retry_s = 1.0
{more}
"""
        )
        self.config.chmod(0o600)
        self.node = Node(load(self.config, environ={}), run_scripts=run_scripts)
        self.node.start()
        self.archive = self.node.archive
        self._newest_delivery = 0
        self._text = None

    def stop(self):
        self.node.stop()

    def reconfigure(self, dicom, more=""):
        """Have it read its configuration again, with these settings of `[dicom]` in the place of such as were given before."""
        text = self._text or self.config.read_text()
        self._text = text
        self.config.write_text(text.replace("[dicom]\n", f"[dicom]\n{dicom}\n") + more)
        self.node.reconfigure(load(self.config, environ={}))

    @property
    def port(self):
        return self.node.dicom.port

    @property
    def url(self):
        return f"http://127.0.0.1:{self.node.http.port}"

    # -- sending to it

    def storescu(self, path, option="-xe", *, called="HOSTD"):
        """Send a file with DCMTK; return what the tool ended with. `ended` looks at deliveries that come of it."""
        self._note()
        return subprocess.run(
            ["storescu", "-v", "-R", option, "-aet", "DCMTK", "-aec", called, "127.0.0.1", str(self.port), str(path)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def post(self, content, **headers):
        self._note()
        return requests.post(f"{self.url}/instances", data=content, headers=headers, timeout=60)

    def forget(self, sop_instance_uid):
        """Delete an instance, so that the next of the same UID is a new one."""
        if held := self.instance(sop_instance_uid):
            requests.delete(f"{self.url}/instances/{held.id}", timeout=60).raise_for_status()

    def _note(self):
        self._newest_delivery = max((delivery.id for delivery in self.deliveries()), default=0)

    # -- what became of it

    def instances(self):
        with self.archive.read() as connection:
            return instances.page(connection)

    def instance(self, sop_instance_uid):
        with self.archive.read() as connection:
            found = instances.by_sop_instance_uid(connection, str(sop_instance_uid))
        return found[0] if found else None

    def path(self, sop_instance_uid):
        return self.archive.blobs.path(self.instance(sop_instance_uid).blob.name)

    def deliveries(self, sop_instance_uid=None, states=()):
        with self.archive.read() as connection:
            found = deliveries.listing(connection, states=states, limit=10_000)
        return [d for d in found if sop_instance_uid in (None, d.sop_instance_uid)]

    def attempts(self, delivery):
        with self.archive.read() as connection:
            return deliveries.attempts(connection, delivery.id)

    def ended(self, sop_instance_uid):
        """Wait until the newest delivery of an instance has ended; return it."""

        def newest():
            found = [d for d in self.deliveries(str(sop_instance_uid)) if d.id > self._newest_delivery]
            return found[0] if found and found[0].state in {"delivered", "warning", "failed"} else None

        return until(newest, f"the delivery of {sop_instance_uid} ends; {self.deliveries(str(sop_instance_uid))}")

    def query(self, statement):
        with self.archive.read() as connection:
            return connection.exec_driver_sql(statement).all()

    def files(self):
        """Return the names of all files in the blob folder, whether a row knows them or not."""
        return sorted(self.archive.blobs.names())


def end(process):
    """End a process that a test started, by its id."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(60)


class Orthanc:
    """A real Orthanc with a configuration of its own. The ports stay the same when it is started again."""

    def __init__(self, folder, *, users=None, more=None):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.name = f"orthanc-of-test-{os.getpid()}-{time.monotonic_ns()}"
        self.http_port, self.dicom_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.users = users or {}
        self.more = more or {}
        self.process = None

    @property
    def auth(self):
        """Name and password as bytes, since requests would write text in Latin-1."""
        return next(((name.encode(), password.encode()) for name, password in self.users.items()), None)

    def start(self):
        settings = {
            "Name": self.name,
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "index"),
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": "ORTHANC",
            "DicomAlwaysAllowStore": True,
            "UnknownSopClassAccepted": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": bool(self.users),
            "RegisteredUsers": self.users,
            "Plugins": [],
            "SaveJobs": False,
            **self.more,
        }
        configuration = self.folder / "orthanc.json"
        configuration.write_text(json.dumps(settings))
        log = (self.folder / "orthanc.log").open("ab")
        with log:
            self.process = subprocess.Popen(["Orthanc", str(configuration)], stdout=log, stderr=log)
        until(self._is_up, f"Orthanc answers; see {self.folder / 'orthanc.log'}", 60)
        return self

    def revive(self):
        """Start it again, and tell, should it have ended by itself: the next test is not to pay for it."""
        if self.process.poll() is not None:
            last = (self.folder / "orthanc.log").read_text(errors="replace")[-500:]
            ended = f"Orthanc ended by itself, with {self.process.returncode}, and is started again: {last}"
            warnings.warn(ended, stacklevel=2)
            self.start()
        return self

    def _is_up(self):
        assert self.process.poll() is None, (self.folder / "orthanc.log").read_text()[-2000:]
        try:
            answer = requests.get(f"{self.url}/system", auth=self.auth, timeout=60)
        except requests.ConnectionError:
            return False
        return answer.ok and answer.json()["Name"] == self.name

    def stop(self):
        """End it at once: in order it takes seconds, and what it acknowledged is in its folder."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)
            self.process = None

    def get(self, path):
        answer = requests.get(self.url + path, auth=self.auth, timeout=60)
        answer.raise_for_status()
        return answer

    def post(self, path, body):
        return requests.post(self.url + path, data=body, auth=self.auth, timeout=60)

    def take(self, content):
        """Send it a file over DICOM, as it is; return the identifier that Orthanc gives it."""
        file = io.BytesIO(content)
        header = dcmread(file, stop_before_pixels=True)
        syntax = data_set_offset(file).transfer_syntax_uid
        with scu.connect(
            "127.0.0.1", self.dicom_port, calling_aet="TEST", called_aet="ORTHANC",
            contexts=[(header.SOPClassUID, [syntax])], timeout_s=PATIENCE_S,
        ) as association:  # fmt: skip
            left = len(content) - file.tell()
            assert association.store(header.SOPClassUID, header.SOPInstanceUID, syntax, file, left).status == 0
        uids = header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID
        return Identity(header.get("PatientID", ""), *uids).instance

    def holds(self, instance_id):
        return instance_id in self.get("/instances").json()

    def file(self, instance_id, to):
        """Write the file that Orthanc holds to `to`; return the path."""
        to.write_bytes(self.get(f"/instances/{instance_id}/file").content)
        return to


class StoreScp:
    """DCMTK's storescp, writing what it gets, bit by bit, into a folder."""

    def __init__(self, folder, *options, port=None):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = port or free_port()
        self.options = options

    def start(self):
        self.process = subprocess.Popen(
            ["storescp", *self.options, "+B", "-aet", "ARCHIVE", "-od", str(self.folder), str(self.port)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

        def listens():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        until(listens, "storescp listens", 60)
        return self

    def stop(self):
        end(self.process)

    def empty(self):
        """Throw away what it has written."""
        for path in self.folder.iterdir():
            path.unlink()

    def path(self, sop_instance_uid):
        return next(path for path in self.folder.iterdir() if path.name.endswith(f".{sop_instance_uid}"))


# -- comparing, without hostd -----------------------------------------------------------------------------------------

_DCMTK_DECODERS = {"1.2.840.10008.1.2.5": "dcmdrle", "1.2.840.10008.1.2.4.80": "dcmdjpls"}


def samples_of(path, scratch):
    """Return the sample values of a file, decoded by GDCM (RLE and JPEG-LS: by DCMTK) where it is compressed.

    numpy only gives the bytes of the uncompressed result their shape: no codec of hostd or of pydicom takes part.
    """
    file = dcmread(path)
    syntax = file.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        raw = scratch / f"{path.name}.raw"
        tool = [_DCMTK_DECODERS[syntax]] if syntax in _DCMTK_DECODERS else ["gdcmconv", "--raw"]
        ran = subprocess.run([*tool, str(path), str(raw)], capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 0, ran.stderr + ran.stdout
        file = dcmread(raw)
        assert not file.file_meta.TransferSyntaxUID.is_encapsulated
    return pixel_array(file, raw=True)


_OF_COMPRESSION = {
    0x00280004,  # Photometric Interpretation: YBR_RCT for a colour image in JPEG 2000
    0x00280006,  # Planar Configuration
    0x7FE00010,
    0xFFFCFFFC,  # trailing padding says nothing
}
_SAID_OF_LOSS = {0x00282112, 0x00282114}  # what a lossy codestream said of itself, where the header had not said it yet


def differences(one, other):
    """Return the tags whose values differ, apart from those that compression must change."""
    left, right = dcmread(one), dcmread(other)
    tags = {int(tag) for file in (left, right) for tag in file.keys()}  # noqa: SIM118 - iterating gives elements
    tags = {tag for tag in tags if tag not in _OF_COMPRESSION and tag & 0xFFFF}
    tags -= {tag for tag in _SAID_OF_LOSS if tag not in left}
    return [
        f"{tag:08X}: {left.get(tag)} / {right.get(tag)}"
        for tag in sorted(tags)
        if _stored(left, tag) != _stored(right, tag)
        and (left[tag].value if tag in left else None) != (right[tag].value if tag in right else None)
    ]


def _stored(file, tag):
    """Return the bytes of a value: in implicit VR pydicom guesses the VR of private ones, and not always rightly."""
    return file.get_item(tag).value if tag in file else None


def assert_same_image(original, arrived, scratch):
    """Fail unless identity, tags and pixels are the same, whatever the transfer syntaxes are."""
    left, right = dcmread(original), dcmread(arrived)
    assert right.SOPInstanceUID == left.SOPInstanceUID
    assert right.file_meta.MediaStorageSOPInstanceUID == left.SOPInstanceUID
    assert right.SOPClassUID == left.SOPClassUID
    assert not (different := differences(original, arrived)), different
    if "PixelData" not in left:
        assert "PixelData" not in right
        return
    if left.file_meta.TransferSyntaxUID == right.file_meta.TransferSyntaxUID:
        assert right.PixelData == left.PixelData
        return
    before, after = samples_of(original, scratch), samples_of(Path(arrived), scratch)
    assert before.dtype.newbyteorder("=") == after.dtype.newbyteorder("=")
    np.testing.assert_array_equal(before, after)
