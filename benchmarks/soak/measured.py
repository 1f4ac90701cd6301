"""Instances that come over a few associations, and that a script deletes, or the node to make room; its memory is looked at meanwhile."""

from __future__ import annotations

import io
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression
from typing import Literal, get_args

import pydicom
import sqlalchemy as sa
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from benchmarks import machine
from benchmarks.figures import Spread
from benchmarks.receive import made
from benchmarks.receive.servers import Hostd
from hostd.archive import tables as t
from hostd.archive.archive import attach
from hostd.dicom.part10 import data_set_offset
from hostd.dimse import scu

ASSOCIATIONS = 4
_IN_A_SERIES = 200
_PATIENCE_S = 600.0
_ROOM_MB = 32
"""Of what is stored where the node deletes: of series that come at one time, and some before them."""
Deleter = Literal["a script", "[storage]"]
"""Who deletes what came: a script each instance, or the node the patients of whom nothing came for longest."""
DELETERS: tuple[Deleter, ...] = get_args(Deleter)
_SCRIPT = "def on_stored_instance(instance, host):\n    instance.tags.Modality\n    host.delete(instance, after=None)\n"


@dataclass(frozen=True, slots=True)
class Look:
    """Memory when so many instances had been answered: bytes of the node's main process (resident), and of all its processes (PSS)."""

    instances: int
    resident: int
    shared: int


@dataclass(frozen=True, slots=True)
class Soak:
    """What was seen: who deleted, how it went by, how many instances were kept at the end, and how many files there were."""

    deleter: Deleter
    instances: int
    seconds: float
    looks: Sequence[Look]
    kept: int
    files: int

    @property
    def slope(self) -> Spread:
        """Bytes of the main process for each thousand instances, over the second half: by then everything has been used once.

        With the slopes of its two quarters as the spread.
        """
        half = self.looks[len(self.looks) // 2 :]
        middle = len(half) // 2
        quarters = _slope(half[: middle + 1]), _slope(half[min(middle, len(half) - 2) :])
        return Spread(_slope(half), min(quarters), max(quarters))


def _slope(looks: Sequence[Look]) -> float:
    return 1000 * linear_regression([one.instances for one in looks], [one.resident for one in looks]).slope


class SoakedHostd(Hostd):
    """A node that deletes what comes, and keeps nothing of what it has deleted."""

    def __init__(self, folder: Path, deleter: Deleter) -> None:
        self._deleter = deleter
        super().__init__(folder, {"deletes.py": _SCRIPT} if deleter == "a script" else {})

    def command(self) -> list[str]:
        """Write a configuration, and run a node on it."""
        command = super().command()
        config = self.folder / "hostd.toml"
        kept = "[node]\ntrash_days = 0\nevents_days = 0\nassociations_days = 0\nfinished_days = 0\n"
        more = (
            '[scripts."deletes.py"]\nmay = ["delete"]\n'
            if self._deleter == "a script"
            else f'[storage]\nmax_size_mb = {_ROOM_MB}\nwhen_full = "recycle"\n'
        )
        config.write_text(config.read_text().replace("[node]\n", kept) + more)
        return command


def measured(folder: Path, deleter: Deleter, count: int, looks: int, say: Callable[[str], None]) -> Soak:
    """Send so many instances, and look so many times. Raises `RuntimeError` when one is refused, or not all are deleted."""
    folder.mkdir(exist_ok=True)
    server = SoakedHostd(folder / "server", deleter)
    try:
        if deleter == "a script":
            _until_script_runs(server)
        sender = _Sender(server.port, _template(folder / "template"), count)
        seen: list[Look] = []
        began = time.monotonic()
        sender.start()
        for number in range(1, looks + 1):
            sender.wait_for(number * count // looks)
            pid = server.process.pid
            seen.append(Look(sender.sent, machine.resident_bytes(pid), machine.tree_pss_bytes(pid)))
            say(
                f"{seen[-1].instances} instances: {seen[-1].resident >> 20} MiB in the main process, {seen[-1].shared >> 20} in all"
            )
        sender.join()
        took = time.monotonic() - began
        return Soak(deleter, count, took, seen, *_left(server, 0 if deleter == "a script" else _ROOM_MB << 20))
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
        study, series, patient = _like(_UIDS[2]), _like(_UIDS[1]), secrets.token_hex(len(_PATIENT) // 2).encode()
        template = self._template.replace(_UIDS[1], series).replace(_UIDS[2], study).replace(_PATIENT, patient)
        contexts = [(str(CTImageStorage), [str(ExplicitVRLittleEndian)])]
        with scu.connect(
            "127.0.0.1", self._port, calling_aet="SOAK", called_aet="ANY", contexts=contexts
        ) as association:
            for _ in range(count):
                uid = _like(_UIDS[0])
                data = template.replace(_UIDS[0], uid)
                answer = association.store(
                    str(CTImageStorage), uid.decode(), str(ExplicitVRLittleEndian), io.BytesIO(data), len(data)
                )
                if answer.status != 0:
                    raise RuntimeError(f"an instance was answered with 0x{answer.status:04X}: {answer.comment}")
                with self._changed:
                    self.sent += 1
                    self._changed.notify_all()
        return True


_UIDS = tuple(f"2.25.{digit * 39}".encode() for digit in "123")
"""Of the instance, the series and the study, in the template."""
_PATIENT = b"PATIENT-ID-OF-THE-TEMPLATE"
"""Every series is of a patient of its own."""


def _like(uid: bytes) -> bytes:
    """Return a new UID of the same length."""
    return generate_uid(prefix="2.25.").encode()[: len(uid)].ljust(len(uid), b"1")


def _template(folder: Path) -> bytes:
    """Return the data set of an instance of 30 kB whose UIDs are replaced for each that is sent."""
    (one,) = made.made(folder, made.Size(made.SMALL.name, made.SMALL.rows, made.SMALL.columns, 1, 1), 1)
    dataset = pydicom.dcmread(next(one.iterdir()))
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(_UIDS[0].decode())
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = _UIDS[1].decode(), _UIDS[2].decode()
    dataset.PatientID = _PATIENT.decode()
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


def _left(server: SoakedHostd, most_bytes: int) -> tuple[int, int]:
    """Wait until no more is stored than may be; return how many instances that are, and how many files there still are.

    The bytes of those that are deleted go with the next round of housekeeping.
    """
    stored = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(t.blob.c.size), 0)).select_from(
        t.instance.join(t.blob, t.blob.c.name == t.instance.c.blob)
    )

    def held() -> tuple[int, int]:
        with attach(server.data) as connection:
            count, size = connection.execute(stored).one()
        return int(count), int(size)

    _wait(lambda: held()[1] <= most_bytes, "not all instances were deleted")
    with attach(server.data) as connection:
        files = int(connection.execute(sa.select(sa.func.count()).select_from(t.blob)).scalar_one())
    return held()[0], files


def _wait(condition: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > ends:
            raise RuntimeError(what)
        time.sleep(0.2)
