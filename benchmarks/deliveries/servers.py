"""What is sent from and to: Orthanc, a hostd node with a script that forwards, DCMTK's storescp; each a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from benchmarks import machine
from benchmarks.receive.servers import free_port

PATIENCE_S = 600.0
_LUA = "function OnStoredInstance(id, tags, metadata, origin)\n  SendToModality(id, 'scp')\nend\n"
_SCRIPT = 'def on_stored_instance(instance, host):\n    host.forward(instance, to="scp")\n'


@dataclass(frozen=True, slots=True)
class Running:
    """A server with an HTTP face, and its process."""

    url: str
    process: int

    def cpu_s(self) -> float:
        """Return the processor time that it and its children have taken."""
        return machine.tree_cpu_seconds(self.process)

    def post(self, file: bytes) -> str:
        """Upload a file to Orthanc; return the id that it gives."""
        answer = requests.post(f"{self.url}instances", data=file, timeout=PATIENCE_S)
        answer.raise_for_status()
        return str(answer.json()["ID"])


@dataclass(frozen=True, slots=True)
class Scp:
    """A storescp that keeps what it gets in a folder."""

    port: int
    folder: Path

    def count(self) -> int:
        """Return how many files it has."""
        return sum(1 for _ in self.folder.iterdir())


@contextmanager
def process(command: list[str], port: int, folder: Path, more: Mapping[str, str] | None = None) -> Iterator[int]:
    """Run a server until the end of the block, once it listens; give its process id."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **(more or {})},
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
    try:
        end = time.monotonic() + PATIENCE_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{command[0]} does not listen on port {port}: see {folder / 'log'}")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def storescp(folder: Path, *, at_once: bool) -> Iterator[Scp]:
    """Run a storescp: as it is, when each answer waits for the acknowledgement of its header, or one that sends `at_once`."""
    received = folder / "received"
    received.mkdir(parents=True)
    port = free_port()
    command = ["storescp", "--fork", "--unique-filenames", "+xa", "-od", str(received), str(port)]
    with process(command, port, folder, {"TCP_NODELAY": "1"} if at_once else {}):
        yield Scp(port, received)


@contextmanager
def orthanc(
    folder: Path, scps: Mapping[str, Scp], peer: Running | None = None, *, routes: bool = False
) -> Iterator[Running]:
    """Run an Orthanc that knows these storescps, and another Orthanc as `peer`; one that `routes` sends what comes to `scp`."""
    folder.mkdir()
    port = free_port()
    configuration: dict[str, object] = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "SyncStorageArea": True,
        "DicomModalities": {name: ["ANY", "127.0.0.1", scp.port] for name, scp in scps.items()},
        "OrthancPeers": {"peer": [peer.url]} if peer else {},
        "Plugins": [],
    }
    if routes:
        (folder / "route.lua").write_text(_LUA)
        configuration["LuaScripts"] = [str(folder / "route.lua")]
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    with process(["Orthanc", str(folder / "orthanc.json")], port, folder) as number:
        yield Running(f"http://127.0.0.1:{port}/", number)


@contextmanager
def node(folder: Path, scp: Scp) -> Iterator[Running]:
    """Run `hostd run` with a script that forwards what comes to the storescp."""
    folder.mkdir(mode=0o700)
    (folder / "scripts").mkdir(mode=0o700)
    script, config, port = folder / "scripts" / "forward.py", folder / "hostd.toml", free_port()
    script.write_text(_SCRIPT)
    config.write_text(
        '[node]\nname = "benchmark"\ndata = "data"\nscripts = "scripts"\nmin_free_mb = 0\n'
        f"[dicom]\nenabled = false\n[http]\nport = {port}\n"
        f'[modalities.scp]\naet = "ANY"\nhost = "127.0.0.1"\nport = {scp.port}\n'
    )
    for file in (script, config):
        file.chmod(0o600)
    with process([sys.executable, "-m", "hostd", "run", str(config)], port, folder) as number:
        yield Running(f"http://127.0.0.1:{port}/", number)
