"""What a server needs while nothing happens: how soon it takes its first association, its processor time and its memory."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine
from benchmarks.receive.servers import Hostd, Server
from hostd.dimse import scu

_CT_IMAGE_STORAGE, _EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
_SETTLING_S = 8.0
SCRIPTS = {
    f"script{number}.py": "def on_stored_instance(instance, host):\n    instance.tags.PatientID, instance.tags.Modality\n"
    for number in range(10)
}
ASSOCIATIONS = 20


@dataclass(frozen=True, slots=True)
class Standing:
    """One server: seconds to its first association, share of one core when idle, bytes of all its processes (PSS)."""

    name: str
    start_s: float
    idle_core: float
    memory: int


class HostdWithScripts(Hostd):
    """A node with ten scripts, each in a jailed worker of its own."""

    name = "hostd with 10 scripts"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, SCRIPTS)


def standing(kind: type[Server], folder: Path, idle_s: float) -> Standing:
    """Start a server, open idle associations, let it settle, and look at it for so many seconds."""
    server = kind(folder / kind.name.replace(" ", "-"))
    try:
        with ExitStack() as associations:
            for number in range(ASSOCIATIONS if isinstance(server, Hostd) else 1):
                associations.enter_context(
                    scu.connect(
                        "127.0.0.1", server.port, calling_aet=f"IDLE{number}", called_aet="ANY",
                        contexts=[(_CT_IMAGE_STORAGE, [_EXPLICIT])],
                    )
                )  # fmt: skip
                if number == 0:
                    start_s = time.monotonic() - server.began
            time.sleep(min(_SETTLING_S, idle_s))
            cpu, began = server.cpu_s(), time.monotonic()
            time.sleep(idle_s)
            core = (server.cpu_s() - cpu) / (time.monotonic() - began)
            memory = machine.tree_pss_bytes(server.process.pid)
        return Standing(kind.name, start_s, core, memory)
    finally:
        server.stop()
