"""Instances that come over a few associations, and that a script deletes; a node's memory is looked at meanwhile."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression

import pydicom
import sqlalchemy as sa
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from benchmarks import machine
from benchmarks.receive import made
from benchmarks.receive.servers import Hostd
from hostd.archive import tables as t
from hostd.archive.archive import attach
from hostd.dicom.part10 import data_set_offset
from hostd.dimse import scu

ASSOCIATIONS = 4
_IN_A_SERIES = 200
_PATIENCE_S = 600.0
_SCRIPT = "def on_stored_instance(instance, host):\n    instance.tags.Modality\n    host.delete(instance, after=None)\n"


@dataclass(frozen=True, slots=True)
class Look:
    """Memory when so many instances had been answered: bytes of the node's main process (resident), and of all its processes (PSS)."""

    instances: int
    resident: int
    shared: int


@dataclass(frozen=True, slots=True)
class Soak:
    """What was seen: how it went by, and how much was left of what had come: files and rows of instances."""

    instances: int
    seconds: float
    looks: Sequence[Look]
    left: int

    @property
    def slope(self) -> float:
        """Bytes of the main process for each thousand instances, over the second half: by then everything has been used once."""
        half = self.looks[len(self.looks) // 2 :]
        return 1000 * linear_regression([one.instances for one in half], [one.resident for one in half]).slope


class SoakedHostd(Hostd):
    """A node whose script deletes what comes, and that keeps nothing of it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {"deletes.py": _SCRIPT})

    def command(self) -> list[str]:
        """Write a configuration, and run a node on it."""
        command = super().command()
        config = self.folder / "hostd.toml"
        kept = "[node]\ntrash_days = 0\nevents_days = 0\nassociations_days = 0\nfinished_days = 0\n"
        config.write_text(config.read_text().replace("[node]\n", kept) + '[scripts."deletes.py"]\nmay = ["delete"]\n')
        return command


def measured(folder: Path, count: int, looks: int, say: Callable[[str], None]) -> Soak:
    """Send so many instances, and look so many times. Raises `RuntimeError` when one is refused, or not all are deleted."""
    server = SoakedHostd(folder / "server")
    try:
        _until_script_runs(server)
        sender = _Sender(server.port, _template(folder / "template"), count)
        seen: list[Look] = []
        began = time.monotonic()
        sender.start()
        for number in range(1, looks + 1):
            sender.wait_for(number * count // looks)
            seen.append(
                Look(
                    sender.sent, machine.resident_bytes(server.process.pid), machine.tree_pss_bytes(server.process.pid)
                )
            )
            say(
                f"{seen[-1].instances} instances: {seen[-1].resident >> 20} MiB in the main process, {seen[-1].shared >> 20} in all"
            )
        sender.join()
        took = time.monotonic() - began
        return Soak(count, took, seen, _left(server))
    finally:
        server.stop()


class _Sender:
    """Sends instances over some associations, each a thread."""

    def __init__(self, port: int, template: bytes, count: int) -> None:
        self._port, self._template = port, template
        self._changed = threading.Condition()
        self._problem: BaseException | None = None
        self._left = count
        self.sent = 0
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(ASSOCIATIONS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait_for(self, sent: int) -> None:
        """Wait until so many are answered. Raises what a sender ended of."""
        with self._changed:
            self._changed.wait_for(lambda: self.sent >= sent or self._problem is not None)
        if self._problem is not None:
            raise RuntimeError("not all was taken") from self._problem

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        try:
            while self._send_series():
                pass
        except BaseException as error:  # noqa: BLE001 - it is raised by `wait_for`
            with self._changed:
                self._problem = error
                self._changed.notify_all()

    def _send_series(self) -> bool:
        """Send a series over an association of its own; return whether there is more."""
        with self._changed:
            count = min(_IN_A_SERIES, self._left)
            self._left -= count
        if not count:
            return False
        series = _like(_UIDS[1])
        contexts = [(str(CTImageStorage), [str(ExplicitVRLittleEndian)])]
        with scu.connect(
            "127.0.0.1", self._port, calling_aet="SOAK", called_aet="ANY", contexts=contexts
        ) as association:
            for _ in range(count):
                uid = _like(_UIDS[0])
                data = self._template.replace(_UIDS[0], uid).replace(_UIDS[1], series)
                answer = association.store(
                    str(CTImageStorage), uid.decode(), str(ExplicitVRLittleEndian), io.BytesIO(data), len(data)
                )
                if answer.status != 0:
                    raise RuntimeError(f"an instance was answered with 0x{answer.status:04X}: {answer.comment}")
                with self._changed:
                    self.sent += 1
                    self._changed.notify_all()
        return True


_UIDS = b"2.25.111111111111111111111111111111111111111", b"2.25.222222222222222222222222222222222222222"
"""Of the instance and of the series, in the template."""


def _like(uid: bytes) -> bytes:
    """Return a new UID of the same length."""
    return generate_uid(prefix="2.25.").encode()[: len(uid)].ljust(len(uid), b"1")


def _template(folder: Path) -> bytes:
    """Return the data set of an instance of 30 kB whose UIDs are replaced for each that is sent."""
    (one,) = made.made(folder, made.Size(made.SMALL.name, made.SMALL.rows, made.SMALL.columns, 1, 1), 1)
    dataset = pydicom.dcmread(next(one.iterdir()))
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(_UIDS[0].decode())
    dataset.SeriesInstanceUID = _UIDS[1].decode()
    written = io.BytesIO()
    pydicom.dcmwrite(written, dataset, enforce_file_format=True)
    written.seek(0)
    start = data_set_offset(written)
    return written.getvalue()[start.offset :]


def _until_script_runs(server: SoakedHostd) -> None:
    def runs() -> bool:
        with attach(server.data) as connection:
            return connection.execute(sa.select(t.script.c.state)).scalars().all() == ["running"]

    _wait(runs, "the script does not run")


def _left(server: SoakedHostd) -> int:
    """Wait until the script has deleted all; return how many files are left then, whose bytes go with the next round of housekeeping."""

    def rows() -> int:
        with attach(server.data) as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(t.instance)).scalar_one())

    _wait(lambda: rows() == 0, "not all instances were deleted")
    with attach(server.data) as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(t.blob)).scalar_one())


def _wait(condition: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > ends:
            raise RuntimeError(what)
        time.sleep(0.2)
