"""An archive with instances in it, a destination that does what it is told, and couriers that are always stopped."""

import threading
import time
from contextlib import contextmanager

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import generate_uid

from hostd.archive import deletes, deliveries, instances, receipts, rows
from hostd.archive import tables as t
from hostd.archive.archive import Archive
from hostd.archive.records import Origin
from hostd.delivery.couriers import Couriers
from hostd.delivery.destinations import Answer
from hostd.delivery.retry import RetryPolicy
from hostd.delivery.terms import Terms
from hostd.errors import DestinationFault
from hostd.intake.intake import Intake
from hostd.testing.clock import ManualClock
from hostd.transcoding.products import Products

EXPLICIT = "1.2.840.10008.1.2.1"
CT = "1.2.840.10008.5.1.4.1.1.2"


class Steady(RetryPolicy):
    """Waits the longest it may, so that tests know when."""

    def next_attempt(self, now, attempts, random):
        return now + self.longest_wait(attempts)


POLICY = Steady(first_s=10, max_s=1000)
PLAIN = Terms()
ANSWERED = Answer("delivered", "0x0000 (success)", 0, EXPLICIT)


def small_file(sop_class=CT, syntax=EXPLICIT, **elements):
    """Return the bytes of an instance without pixels, unlike any other."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.PatientID, ds.Modality = "P1", "CT"
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = sop_class, ds.SOPInstanceUID
    written = DicomBytesIO()
    ds.save_as(written, enforce_file_format=True)
    return written.getvalue()


class NoPool:
    """Stands for the codecs where nothing may be transcoded."""

    def transcode(self, source, target, result, options=None):
        raise AssertionError(f"something was transcoded to {target}")


class Node:
    """An archive, and what the tests do with it."""

    def __init__(self, folder, name="node"):
        self.folder, self.name = folder, name
        self.clock = ManualClock()
        self.pool = NoPool()
        self.policy = POLICY
        self.started = []
        self.open()

    def open(self):
        self.archive = Archive(self.folder, self.name, self.clock)
        self.intake = Intake(self.archive, on_conflict="newest", name_sender=lambda origin: None)

    def receive(self, content):
        reception = self.intake.receive_file(origin=Origin("http"))
        reception.write(content)
        received = reception.finish()
        with self.archive.read() as connection:
            return instances.get(connection, received.instance)

    def ask(self, destination, instance=None, **options):
        instance = instance or self.receive(small_file())
        number, _ = self.archive.writer.do(
            lambda c: deliveries.ask(
                c, instance=instance.id, sop_instance_uid=instance.sop_instance_uid, sop_class_uid=instance.sop_class_uid,
                destination=destination, content=instance.received_sha256, blob=instance.blob.name, now=self.clock.now(),
                **options,
            ),
            topics=("delivery",),
        )  # fmt: skip
        return number

    def get(self, number):
        with self.archive.read() as connection:
            return deliveries.get(connection, number)

    def attempts(self, number):
        with self.archive.read() as connection:
            return deliveries.attempts(connection, number)

    def outcomes(self, number):
        return [attempt.outcome for attempt in self.attempts(number)]

    def delete_after(self, instance, *numbers, after="delivered"):
        """Enter a delete that waits for these deliveries, as a plan does; return its action."""

        def enter(connection):
            now = self.clock.now()
            run = rows.insert(
                connection, t.run, script="s.py", version="v", event=1, outcome="done", tags_read=[], log=[], error=None,
                at=now, seconds=0.0,
            )  # fmt: skip
            inputs = {"instance": instance.id, "content": instance.received_sha256, "after": after}
            action = rows.insert(
                connection, t.action, run=run, script="s.py", event=1, position=numbers[0], verb="delete", inputs=inputs,
                state="open",
            )  # fmt: skip
            deletes.wait_for(connection, action, list(numbers))
            deletes.settle(connection, action, now)
            return action

        return self.archive.writer.do(enter)

    def action(self, number):
        with self.archive.read() as connection:
            return connection.execute(t.action.select().where(t.action.c.id == number)).one()

    def holds(self, instance):
        with self.archive.read() as connection:
            return instances.get(connection, instance.id) is not None

    def product_of(self, connection, blob, transform):
        return self.archive.blobs.path(receipts.find(connection, blob, transform.canonical()).result.name)

    def couriers(self, *destinations, terms=PLAIN, **options):
        products = Products(self.archive, self.pool)
        named = {destination.name: destination for destination in destinations}
        made = Couriers(
            self.archive, named, products, self.policy, self.clock, self.name, dict.fromkeys(named, terms), **options
        )
        self.started.append(made)
        made.start()
        return made

    def advance(self, seconds):
        """Let time pass, and have everybody look at the clock."""
        self.clock.advance(seconds)
        self.archive.bulletin.ring("delivery")

    def until(self, condition, within=60.0):
        """Wait until something has been committed that makes the condition true."""
        end = time.monotonic() + within
        while True:
            seen = self.archive.bulletin.seen("delivery")
            if condition():
                return
            left = end - time.monotonic()
            assert left > 0, "what was waited for did not happen"
            self.archive.bulletin.wait("delivery", seen, min(left, 0.05))

    def until_state(self, number, *states):
        self.until(lambda: self.get(number).state in states)
        return self.get(number)

    def close(self):
        for couriers in self.started:
            assert couriers.stop(10) == []
        self.archive.close()


class FakeDestination:
    """Answers as it is told. `answers` maps SOP Instance UIDs, or None for all others, to what comes of sending."""

    def __init__(self, name="modality:fake"):
        self.name = name
        self.answers = {}
        self.refuses = None
        self.connections = []
        self.sent = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.changed = threading.Condition()

    @contextmanager
    def _noted(self):
        with self.changed:
            yield
            self.changed.notify_all()

    def wait(self, condition, within=60):
        with self.changed:
            assert self.changed.wait_for(condition, within), "the destination was not used as expected"

    def connect(self, batch):
        with self._noted():
            self.connections.append([outgoing.delivery.id for outgoing in batch])
        if isinstance(self.refuses, Exception):
            raise self.refuses
        if self.refuses:
            raise DestinationFault(self.refuses)
        return FakeSession(self)


class FakeSession:
    def __init__(self, destination):
        self.destination = destination
        self.is_open = True

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.is_open = False

    def takes(self, outgoing):
        return True

    def send(self, outgoing):
        destination = self.destination
        destination.entered.release()
        destination.gate.wait(60)
        product = outgoing.as_wanted()
        with destination._noted():
            destination.sent.append((outgoing.delivery.sop_instance_uid, product.transfer_syntax))
        answer = destination.answers.get(outgoing.delivery.sop_instance_uid, destination.answers.get(None, ANSWERED))
        if callable(answer):
            answer = answer()
        if isinstance(answer, Exception):
            raise answer
        if answer.status is None and answer.verdict == "later":
            self.is_open = False
        return answer
