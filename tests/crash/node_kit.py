"""What tests of whole nodes share: folders and configurations, node processes, made instances, and senders that do not give up."""

import io
import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import requests
from ports import free_port
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from hostd.archive.archive import attach
from hostd.config.place import Place as Where
from hostd.dicom.part10 import file_header
from hostd.dimse import scu
from hostd.dimse.errors import DimseError

LAUNCHER = Path(__file__).with_name("launcher.py")
PATIENCE_S = 60.0
CT = str(CTImageStorage)
EXPLICIT = str(ExplicitVRLittleEndian)
OUT_OF_RESOURCES = 0xA700


def wait_until(what, condition, *, patience_s=PATIENCE_S, pause_s=0.02):
    """Wait until the condition holds, and return what it returned; after `patience_s` say what did not come about."""
    deadline = time.monotonic() + patience_s
    while True:
        if found := condition():
            return found
        assert time.monotonic() < deadline, f"not within {patience_s:g} s: {what() if callable(what) else what}"
        time.sleep(pause_s)


# -- nodes ------------------------------------------------------------------------------------------------------------


class Place:
    """A folder with the configuration of one node: its ports stay the same from start to start."""

    def __init__(self, folder, name, *, script=None, archive_port=None, more="", data=None, database=None):
        self.folder = folder / name
        self.folder.mkdir(mode=0o700)
        self.name = name
        self.aet = name.upper()
        self.data = data or self.folder / "data"
        self.database = database
        self.scripts = self.folder / "scripts"
        self.scripts.mkdir(mode=0o700)
        self.dicom_port, self.http_port = free_port(), free_port()
        self.config = self.folder / "hostd.toml"
        self.log = self.folder / "log"
        archive = (
            f'[modalities.archive]\naet = "ARCHIVE"\nhost = "127.0.0.1"\nport = {archive_port}\n'
            if archive_port
            else ""
        )
        self.config.write_text(
            f'[node]\nname = "{name}"\ndata = "{self.data}"\nscripts = "{self.scripts}"\n'
            f"{_of_database(database)}"
            f'[dicom]\nport = {self.dicom_port}\naets = ["{self.aet}"]\n'
            f"[http]\nport = {self.http_port}\n"
            f"[delivery]\nfirst_retry_s = 0.2\nmax_retry_s = 1.0\n{archive}{more}"
        )
        self.config.chmod(0o600)
        if script is not None:
            self.write_script(script)

    def write_script(self, source, name="forward.py"):
        path = self.scripts / name
        path.write_text(source)
        path.chmod(0o600)

    def command(self, *options):
        """Return the command that runs the node by the launcher."""
        return [sys.executable, "-u", str(LAUNCHER), str(self.config), *map(str, options)]

    @contextmanager
    def index(self):
        """Give a reading connection to the index, while the node runs or not."""
        where = self.data if self.database is None else Where(self.data, self.data / "blobs", self.database)
        with attach(where) as connection:
            yield connection

    def blob_names(self):
        """Return the names of the files that are there, as the index writes them."""
        blobs = self.data / "blobs"
        return {str(path.relative_to(blobs)) for path in blobs.rglob("*") if path.is_file()}


def _of_database(url):
    return "" if url is None else f'database = "{url}"\n'


class NodeProcess:
    """A node in a process of its own. Used in a `with`, which ends the process whatever happens.

    `start_s` is how long it took until its doors were open. One that is to end itself may do so before, because it goes on with
    what it left undone as soon as it starts: then `start_s` is None.
    """

    def __init__(self, place, *options, command=None):
        self.place = place
        began = time.monotonic()
        with place.log.open("ab") as log:
            self._process = subprocess.Popen(
                command or place.command(*options), stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL
            )
        try:
            is_ready = self._await_ready(may_die="--kill" in options)
        except BaseException:
            self.close()
            raise
        self.start_s = time.monotonic() - began if is_ready else None

    def _await_ready(self, *, may_die):
        deadline = time.monotonic() + PATIENCE_S
        said = b""
        while not said.endswith(b"\n") or b"ready" not in said:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(self._process.stdout.fileno(), 4096) if ready else b""
            if not piece and may_die and self._process.wait(PATIENCE_S) == -signal.SIGKILL:
                return False
            assert piece, f"the node did not start: {said!r}\n{self.place.log.read_text()[-3000:]}"
            said += piece
        return True

    @property
    def pid(self):
        return self._process.pid

    @property
    def is_running(self):
        return self._process.poll() is None

    def kill(self):
        """End the node as a power cut would."""
        self._process.kill()
        self._process.wait()

    def wait_killed(self, patience_s=PATIENCE_S):
        """Wait until the node has ended itself by SIGKILL."""
        assert self._process.wait(patience_s) == -signal.SIGKILL, self.place.log.read_text()[-3000:]

    def tell(self, number):
        self._process.send_signal(number)

    def wait(self, patience_s=PATIENCE_S):
        """Wait for the end; return the exit code."""
        return self._process.wait(patience_s)

    def stop(self, patience_s=PATIENCE_S):
        """Have the node end in order; return the exit code."""
        self.tell(signal.SIGTERM)
        return self.wait(patience_s)

    def close(self):
        if self.is_running:
            self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# -- instances --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """A made instance: its UID, and its data set in Explicit VR Little Endian."""

    uid: str
    number: int
    data_set: bytes


def make_instances(count, *, seed=0, side=64, patient="CRASH", study=None):
    """Return CT images of about 2 * side * side bytes, each with other pixels, all of one series, of a study of their own unless told otherwise."""
    numbers = np.random.default_rng(seed)
    study, series = study or generate_uid(), generate_uid()
    made = []
    for number in range(1, count + 1):
        data_set = Dataset()
        data_set.SOPClassUID, data_set.SOPInstanceUID = CT, generate_uid()
        data_set.StudyInstanceUID, data_set.SeriesInstanceUID = study, series
        data_set.PatientID, data_set.PatientName, data_set.Modality = patient, "Crash^Test", "CT"
        data_set.InstanceNumber = number
        data_set.Rows = data_set.Columns = side
        data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
        data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit, data_set.PixelRepresentation = 16, 12, 11, 0
        data_set.PixelData = numbers.integers(0, 4096, (side, side), dtype=np.uint16).tobytes()
        buffer = io.BytesIO()
        data_set.save_as(buffer, implicit_vr=False, little_endian=True)
        made.append(Made(str(data_set.SOPInstanceUID), number, buffer.getvalue()))
    return made


def connect(place, *, timeout_s=60.0):
    """Make an association with a node."""
    return scu.connect(
        "127.0.0.1",
        place.dicom_port,
        calling_aet="SENDER",
        called_aet=place.aet,
        contexts=[(CT, [EXPLICIT])],
        timeout_s=timeout_s,
    )


def store(association, made):
    """Send one instance; return the status."""
    data = io.BytesIO(made.data_set)
    return association.store(CT, made.uid, EXPLICIT, data, len(made.data_set)).status


def upload(place, made):
    """Send one instance as a file by HTTP; return the response."""
    file = file_header(CT, made.uid, EXPLICIT) + made.data_set
    return requests.post(f"http://127.0.0.1:{place.http_port}/instances", data=file, timeout=60)


class Sender(threading.Thread):
    """Sends instances to a node until each is acknowledged: a modality that connects again when its association is lost."""

    def __init__(self, place, instances, acknowledged, *, takes_refusals=False):
        super().__init__(name="sender", daemon=True)
        self._takes_refusals = takes_refusals
        self._place = place
        self._left = list(instances)
        self._acknowledged = acknowledged
        self._told = threading.Event()
        self.reconnected = 0
        self.problem = None

    def run(self):
        while self._left and not self._told.is_set():
            try:
                self._send()
            except DimseError:
                self.reconnected += 1
                self._told.wait(0.05)  # the node is down, and starts again
            except Exception as error:  # noqa: BLE001 - shown by the test that joins
                self.problem = error
                return

    def _send(self):
        with connect(self._place) as association:
            while self._left and not self._told.is_set():
                status = store(association, self._left[0])
                if status == OUT_OF_RESOURCES and self._takes_refusals:
                    self._told.wait(0.2)
                    continue
                assert status == 0, f"the node answered 0x{status:04X}"
                self._acknowledged.add(self._left.pop(0).uid)

    def end(self):
        self._told.set()
        self.join(PATIENCE_S)


@contextmanager
def sending(place, instances, senders, acknowledged, **options):
    """Have several senders send the instances at one time; gives the senders. `acknowledged` gets the UIDs of what is."""
    threads = [Sender(place, instances[index::senders], acknowledged, **options) for index in range(senders)]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        for thread in threads:
            thread.end()


def check_senders(senders):
    """Fail with what a sender stumbled over."""
    for sender in senders:
        if sender.problem is not None:
            raise AssertionError(f"a sender failed: {sender.problem!r}") from sender.problem
