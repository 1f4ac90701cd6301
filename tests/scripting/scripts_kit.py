"""A folder of scripts, an archive, and a script host over them, with real workers."""

import hashlib
import io
import threading
import time
from concurrent.futures import Future

import sqlalchemy as sa
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from hostd.archive import receiving, scripts
from hostd.archive import tables as t
from hostd.archive.receiving import Arrival
from hostd.archive.records import Blob, Origin
from hostd.config.sections import Script
from hostd.dicom.header import read_header
from hostd.dicom.part10 import data_set_offset
from hostd.errors import NotFoundError
from hostd.scripting import processes
from hostd.scripting.asking import Means
from hostd.scripting.host import Limits, ScriptHost
from hostd.scripting.loading import Names
from hostd.transcoding.public import measure

KNOWN = {"archive": "modality:archive", "ai": "peer:ai", "ct1": "modality:ct1"}


def resolve(name):
    plain = name.rpartition(":")[2]
    if KNOWN.get(plain) in {name, f"modality:{name}", f"peer:{name}"}:
        return KNOWN[plain]
    raise NotFoundError(f"there is no destination {name!r}")


def handler(*lines, event="on_stored_instance"):
    return f"def {event}(instance, host):\n" + "".join(f"    {line}\n" for line in lines or ["pass"])


FORWARD = handler("host.forward(instance, to='archive')")
"""A script that forwards everything."""


def hash_of(text):
    """Return the version that a script without helpers of that text is."""
    return hashlib.sha256(text.encode()).hexdigest()


class Bench:
    """Everything a test of scripts needs; `start` and `stop` the host as often as wanted."""

    def __init__(self, archive, folder):
        self.archive = archive
        self.folder = folder
        folder.mkdir()
        self.entries = {}
        self.attempts = 2
        self.rescan_s = 60.0
        self.manual = False
        self.park_after = 10
        self.work_out = None
        self.max_hops = 10
        self.measure = measure
        self.launcher = processes.launcher()
        self.host = None
        self.count = 0

    def start(self):
        self.host = ScriptHost(
            self.archive, self.folder, entries=self.entries, names=Names(sorted(KNOWN)), means=Means(resolve, work_out=self.work_out, measure=self.measure),
            isolation="required", limits=Limits(self.attempts, self.park_after, self.max_hops), rescan_s=self.rescan_s, check_file=lambda _path: None,
            manual=self.manual, launcher=self.launcher,
        )  # fmt: skip
        self.host.start()
        return self

    def stop(self):
        if self.host is not None:
            self.host.stop()
            self.launcher.rest()
        self.host = None

    def may(self, name, **entry):
        self.entries[name] = Script(**entry)

    def write(self, name, text):
        """Save as editors do: beside, then renamed into place."""
        temporary = self.folder / f".{name}.tmp"
        temporary.write_text(text)
        temporary.replace(self.folder / name)

    def decide(self, order):
        """Do what a command does to the index, and have it noticed as another process's change is."""
        return self.archive.writer.do(order, topics=("event", "script"))

    def arrive(self, count=1, **changes):
        """Have instances arrive; return the identifier of the last."""
        for _ in range(count):
            self.count += 1
            last = arrive(self.archive, f"1.2.3.4.{self.count}", **changes)
        return last

    # -- looking

    def rows(self, table, **where):
        query = sa.select(table).where(*(table.c[name] == value for name, value in where.items()))
        with self.archive.read() as connection:
            return connection.execute(query.order_by(*table.primary_key.columns)).all()

    def logged(self, script=None, event=None):
        where = ({"script": script} if script else {}) | ({"event": event} if event else {})
        return [text for run in self.rows(t.run, **where) for _, text in run.log]

    def known(self, name):
        with self.archive.read() as connection:
            return scripts.find(connection, name)

    def last_event(self):
        with self.archive.read() as connection:
            return connection.execute(sa.select(sa.func.max(t.event.c.number))).scalar()

    def until(self, condition, timeout=60.0):
        ends = time.monotonic() + timeout
        while not (found := condition()):
            assert time.monotonic() < ends, (
                f"not in {timeout:g} s; runs: {self.rows(t.run)}, scripts: {self.rows(t.script)}"
            )
            time.sleep(0.01)
        return found

    def until_runs(self, name, text):
        """Wait until that text runs as the script's version."""
        wanted = hash_of(text)
        self.until(lambda: (known := self.known(name)) and (known.version, known.state) == (wanted, "running"))

    def until_passed(self, name, number=None):
        """Wait until the script's cursor has passed an event, or all that there are."""
        number = number or self.last_event()
        self.until(lambda: self.known(name) and self.known(name).cursor.low_water >= number)

    def put(self, name, text):
        """Write a script and wait until it runs."""
        self.write(name, text)
        self.until_runs(name, text)


def arrive(archive, uid, *, origin=None, tags=()):
    """Enter a real, small DICOM file without pixels, as intake would; return Orthanc's identifier."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", uid
    dataset.PatientID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "P1", "1.2.3", "1.2.3.4"
    dataset.Modality = "CT"
    for keyword, value in dict(tags).items():
        setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    saved = io.BytesIO()
    dataset.save_as(saved, enforce_file_format=True)
    content = saved.getvalue()
    start = data_set_offset(saved)
    header = read_header(saved, offset=start.offset, transfer_syntax=start.transfer_syntax_uid, size=len(content))
    file = archive.blobs.create()
    file.write(content)
    file.seal()
    file.close()
    digest = hashlib.sha256(content).hexdigest()
    blob = Blob(file.name, len(content), digest, start.transfer_syntax_uid)
    arrival = Arrival(header, blob, digest, origin or Origin("dicom", calling_aet="CT1"), archive.clock.now())
    archive.writer.do(lambda c: receiving.take_in(c, arrival, "newest"), blobs=[file.name], topics=("event",))
    return header.identity.instance


class Fails:
    """Makes the writer's next plan fail: `before` it is committed, or after, when nobody can know."""

    def __init__(self, archive, error, *, before):
        self._writer, self._submit, self._do = archive.writer, archive.writer.submit, archive.writer.do
        self._error = error
        self._before = before
        self.failed = threading.Event()

    def install(self, monkeypatch):
        """Stand in the way of both ways to the writer."""
        monkeypatch.setattr(self._writer, "submit", self.submit)
        monkeypatch.setattr(self._writer, "do", self.do)
        return self

    def do(self, unit, **options):
        is_plan = "delivery" in options.get("topics", ())
        return self.submit(unit, **options).result() if is_plan else self._do(unit, **options)

    def submit(self, unit, **options):
        is_plan = "delivery" in options.get("topics", ())
        if not is_plan or self.failed.is_set():
            return self._submit(unit, **options)
        if not self._before:
            self._submit(unit, **options).result()
        self.failed.set()
        future = Future()
        future.set_exception(self._error)
        return future
