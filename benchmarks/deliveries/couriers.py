"""hostd's couriers in this process, over an archive that holds the instances."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.deliveries.servers import PATIENCE_S
from hostd.archive import deliveries, instances
from hostd.archive.archive import Archive
from hostd.archive.records import Instance, Origin
from hostd.clock import SystemClock
from hostd.delivery.couriers import Couriers
from hostd.delivery.destinations import Destination
from hostd.delivery.retry import RetryPolicy
from hostd.delivery.terms import Terms
from hostd.intake.intake import Intake
from hostd.transcoding.pool import CodecPool
from hostd.transcoding.products import Products

_LOOK_S = 0.02


class Archived:
    """The instances in an archive, to be sent again and again."""

    def __init__(self, folder: Path, files: list[bytes]) -> None:
        folder.mkdir(mode=0o700)
        self._archive = Archive(folder, "benchmark", SystemClock())
        self._pool = CodecPool(workers=1)
        intake = Intake(self._archive, on_conflict="newest", name_sender=lambda _origin: None)
        self._held = [self._receive(intake, file) for file in files]

    def _receive(self, intake: Intake, file: bytes) -> Instance:
        reception = intake.receive_file(origin=Origin("http"))
        reception.write(file)
        received = reception.finish()
        with self._archive.read() as connection:
            held = instances.get(connection, received.instance)
        assert held is not None
        return held

    def send(self, destination: Destination, connections: int) -> tuple[float, float]:
        """Send all; return the seconds until the last is recorded as delivered, and the processor time of that."""
        now = time.time()
        for one in self._held:
            self._archive.writer.do(
                lambda c, one=one: deliveries.ask(  # type: ignore[misc]  # a default is how a loop's value is kept
                    c, instance=one.id, sop_instance_uid=one.sop_instance_uid, sop_class_uid=one.sop_class_uid,
                    destination=destination.name, content=one.received_sha256, blob=one.blob.name, now=now,
                )
            )  # fmt: skip
        terms = Terms(batch=100, connections=connections)
        couriers = Couriers(
            self._archive, {destination.name: destination}, Products(self._archive, self._pool), RetryPolicy(),
            SystemClock(), "benchmark", {destination.name: terms},
        )  # fmt: skip
        began, cpu = time.monotonic(), time.process_time()
        couriers.start()
        self._await(destination.name)
        spent = time.monotonic() - began, time.process_time() - cpu
        couriers.stop(10)
        return spent

    def _await(self, destination: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while True:
            with self._archive.read() as connection:
                is_waiting = deliveries.next_due(connection, destination) is not None
                states = {} if is_waiting else deliveries.counts(connection)[destination]
            if states.keys() == {"delivered"}:
                return
            if time.monotonic() > end:
                raise RuntimeError("what was sent does not arrive")
            time.sleep(_LOOK_S)

    def close(self) -> None:
        """Let go of it."""
        self._pool.close()
        self._archive.close()
