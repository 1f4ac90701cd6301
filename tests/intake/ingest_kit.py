"""An archive with an intake that transcodes, made images, and a codec pool that can be held up or made to fail."""

import hashlib
import io
import threading
import time

import numpy as np
import sqlalchemy as sa
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset

from hostd.archive import events, instances
from hostd.archive import tables as t
from hostd.archive.limits import Allowance
from hostd.archive.records import Origin
from hostd.config.storage import Storage
from hostd.dicom import syntaxes
from hostd.dicom.header import Header
from hostd.errors import CodecCrashedError
from hostd.intake.ingest import Policy
from hostd.intake.ingest_workers import IngestWorkers, Share
from hostd.intake.intake import Intake

IMPLICIT, EXPLICIT, J2K = (syntaxes.lookup(name).uid for name in ("implicit", "explicit", "j2k"))
TO_J2K = Policy(syntaxes.lookup("j2k"))
CT = "1.2.840.10008.5.1.4.1.1.2"
FROM_CT1 = Origin("dicom", calling_aet="CT1", called_aet="HOSTD", ip="192.0.2.9")


def image(number=1, *, seed=0, side=16, syntax=EXPLICIT, pixels=True):
    """Return a DICOM file; `number` is of the instance, `seed` of its pixels."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CT, f"1.2.3.4.{number}"
    ds.PatientID, ds.StudyInstanceUID, ds.SeriesInstanceUID = "P1", "1.2.3", "1.2.3.4"
    ds.Modality, ds.InstanceNumber, ds.ImageComments = "CT", number, f"seed {seed}"
    if pixels:
        ds.Rows = ds.Columns = side
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        # A ramp with a little noise: lossless compression has something to win.
        noise = np.random.default_rng([number, seed]).integers(0, 4, (side, side))
        ds.PixelData = (np.add.outer(np.arange(side), np.arange(side)) + noise).astype("<u2").tobytes()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPInstanceUID, ds.file_meta.MediaStorageSOPClassUID = ds.SOPInstanceUID, CT
    file = io.BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


class GatedPool:
    """A codec pool over another: `gate` holds transcodes up, `failures` are raised by the next ones."""

    def __init__(self, pool):
        self._pool = pool
        self.failures = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.order = []
        self.running = self.most = 0
        self._lock = threading.Lock()
        self.is_closed = False

    @property
    def calls(self):
        return len(self.order)

    def transcode(self, source, target, result, options=None):
        with self._lock:
            self.order.append(str(dcmread(source, stop_before_pixels=True).SOPInstanceUID))
            self.running += 1
            self.most = max(self.most, self.running)
        self.entered.release()
        try:
            assert self.gate.wait(60)
            if self.is_closed:
                raise CodecCrashedError("the codec workers were ended because the node stops")
            with self._lock:
                failure = self.failures.pop(0) if self.failures else None
            if failure is not None:
                raise failure
            return self._pool.transcode(source, target, result, options)
        finally:
            with self._lock:
                self.running -= 1

    def close(self):
        self.is_closed = True
        self.gate.set()


class Bench:
    """An intake over an archive; `restart` ends its threads and begins anew, as a node would."""

    def __init__(
        self, archive, pool, *, policy=TO_J2K, threads=1, quick=0, budget=20.0, on_conflict="newest", leisurely=None
    ):
        self.archive = archive
        self.limits = Storage()
        self.pool = pool
        self.leisurely = leisurely
        self.policy, self.budget, self.on_conflict = policy, budget, on_conflict
        self.threads, self.quick = threads, quick
        self.workers = None
        self.start()

    def start(self):
        allowance = Allowance(self.archive, lambda: self.limits)
        self.workers = IngestWorkers(
            self.archive, self.pool, Share(self.threads, self.quick), leisurely=self.leisurely, allowance=allowance
        )
        self.workers.start()
        self.intake = Intake(
            self.archive, on_conflict=self.on_conflict, name_sender=lambda _: None, policy=self.policy,
            workers=self.workers, ack_budget_s=self.budget, allowance=allowance,
        )  # fmt: skip

    def stop(self):
        self.workers.stop(0.0)
        self.pool.close()
        self.workers.join()

    def receive(self, content, *, origin=FROM_CT1):
        """Have a file received; return the outcome."""
        reception = self.intake.receive_file(origin=origin)
        reception.write(content)
        return reception.finish().outcome

    # -- looking

    def events(self):
        """Return the events of what arrived and of deletes, without those about series, studies and patients."""
        kinds = ("stored_instance", "received_again", "conflicting_instance", "deleted_instance")
        with self.archive.read() as connection:
            return events.after(connection, 0, kinds, 1000)

    def kinds(self):
        return [event.kind for event in self.events()]

    def event(self, number):
        """Return an event with its header."""
        event = self.events()[number]
        return event, Header.decode(event.header)

    def instance(self, number=1):
        with self.archive.read() as connection:
            return next(iter(instances.by_sop_instance_uid(connection, f"1.2.3.4.{number}")), None)

    def stored(self, number=1):
        """Return the current file of an instance, read by pydicom."""
        return dcmread(self.archive.blobs.path(self.instance(number).blob.name))

    def rows(self, table):
        with self.archive.read() as connection:
            return connection.execute(sa.select(table)).all()

    def pending(self):
        return len(self.rows(t.ingest))

    def files(self):
        return sorted(self.archive.blobs.names())

    def until(self, condition, what="it", timeout=60.0):
        ends = time.monotonic() + timeout
        while not (found := condition()):
            assert time.monotonic() < ends, f"not within {timeout:g} s: {what}; {self.rows(t.ingest)}; {self.kinds()}"
            time.sleep(0.01)
        return found

    def until_ended(self):
        self.until(lambda: self.pending() == 0, "all ingests have ended")

    def check_files(self):
        """No file without a row, no row without its file."""
        assert self.files() == sorted(row.name for row in self.rows(t.blob))


def data_set_hash(content):
    """Return the SHA-256 of the data set of a file."""
    from hostd.dicom.part10 import data_set_offset  # noqa: PLC0415 - read like the rest of this function

    return hashlib.sha256(content[data_set_offset(io.BytesIO(content)).offset :]).hexdigest()
