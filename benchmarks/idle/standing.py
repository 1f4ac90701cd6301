"""What a server needs while nothing happens: how soon it takes its first association, its processor time, its wake-ups, its memory."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine
from benchmarks.receive.servers import Hostd, Server
from hostd.dimse import scu

_CT_IMAGE_STORAGE, _EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
_READS = "def on_stored_instance(instance, host):\n    instance.tags.PatientID, instance.tags.Modality\n"
_FORWARDS = "def on_stored_instance(instance, host):\n    host.forward(instance, to='archive')\n"
_IS_NOT_ASKED = 'handles = {"Modality": ["MR"]}\n' + _FORWARDS
_WAITS = "def on_stable_study(study, host):\n    host.forward(study, to='archive')\n"
_BY_THE_CLOCK = _READS + "@every(hours=6)\ndef sweep(host):\n    host.log('swept')\n"
SCRIPTS = {
    f"script{number}.py": source
    for number, source in enumerate([_READS, _FORWARDS, _IS_NOT_ASKED, _WAITS, _BY_THE_CLOCK] * 2)
}
ASSOCIATIONS = 20
LOOK_S = 10


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from the start of the process to its first association, and processor time that it and its children took until then."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Standing:
    """One server: its starts; and while nothing happens, look by look, its share of one core, wake-ups a second and bytes of all its processes (PSS).

    `most_restless_s` are the seconds between two wake-ups of the thread that wakes most often.
    """

    name: str
    starts: tuple[Start, ...]
    idle_core: Sequence[float]
    wakes: Sequence[float]
    most_restless_s: float
    memory: Sequence[int]


class PatientHostd(Hostd):
    """A node that lets associations be idle for longer than it is looked at."""

    dicom = "timeout_s = 3600\n"


class HostdWithScripts(PatientHostd):
    """The same with ten scripts, each in a jailed worker of its own."""

    name = "hostd with 10 scripts"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, SCRIPTS)


def standing(kind: type[Server], folder: Path, *, idle_s: int, settling_s: float, starts: int) -> Standing:
    """Start a server so many times, open idle associations, let it settle, and look at it for so many seconds, ten at a time."""
    begun = [_started(kind, folder / f"{number}") for number in range(starts - 1)]
    with _running(kind, folder / "idle") as server, ExitStack() as associations:
        associations.enter_context(_association(server))
        begun.append(_start_of(server))
        for _ in range(ASSOCIATIONS - 1 if isinstance(server, Hostd) else 0):
            associations.enter_context(_association(server))
        time.sleep(settling_s)
        seconds: Counter[tuple[int, int]] = Counter()
        looks = [_look(server, LOOK_S, seconds) for _ in range(max(1, idle_s // LOOK_S))]
    cores, wakes, memory = zip(*looks, strict=True)
    most_restless_s = LOOK_S * len(looks) / max(seconds.values(), default=1)
    return Standing(kind.name, tuple(begun), cores, wakes, most_restless_s, memory)


def _look(server: Server, looked_s: int, seconds: Counter[tuple[int, int]]) -> tuple[float, float, int]:
    """Look at a server so long; return its share of a core, its wake-ups a second and its memory. Counts the seconds in which each thread woke."""
    pid = server.process.pid
    cpu, began, before = server.cpu_s(), time.monotonic(), machine.tree_wakes(pid)
    wakes = 0
    for _ in range(looked_s):
        time.sleep(1)
        now = machine.tree_wakes(pid)
        woken = {thread: count - before.get(thread, 0) for thread, count in now.items()}
        seconds.update(thread for thread, count in woken.items() if count)
        wakes, before = wakes + sum(woken.values()), now
    took = time.monotonic() - began
    return (server.cpu_s() - cpu) / took, wakes / took, machine.tree_pss_bytes(pid)


def _started(kind: type[Server], folder: Path) -> Start:
    with _running(kind, folder) as server, _association(server):
        return _start_of(server)


def _start_of(server: Server) -> Start:
    return Start(time.monotonic() - server.began, server.cpu_s())


@contextmanager
def _running(kind: type[Server], folder: Path) -> Iterator[Server]:
    server = kind(folder)
    try:
        yield server
    finally:
        server.stop()


def _association(server: Server) -> scu.Requestor:
    return scu.connect(
        "127.0.0.1", server.port, calling_aet="IDLE", called_aet="ANY", contexts=[(_CT_IMAGE_STORAGE, [_EXPLICIT])]
    )
