"""Who receives: hostd, Orthanc, DCMTK's storescp and plain pynetdicom, each as a process of its own with a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import requests
import sqlalchemy as sa

from benchmarks import machine
from hostd.archive import digests
from hostd.archive import tables as t
from hostd.archive.archive import attach
from hostd.archive.blobs import stored_at

_PATIENCE_S = 60.0
DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
"""Where Debian's orthanc-dicomweb puts Orthanc's plug-in."""
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
"""Without it DCMTK waits 40 ms an instance, on either side."""


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Server(ABC):
    """A running storage SCP."""

    name: str

    def __init__(self, folder: Path) -> None:
        """Start it in a folder, which is made, and wait until it listens."""
        folder.mkdir(mode=0o700)
        self.folder = folder
        self.port, self.http_port = free_port(), free_port()
        self.log = (folder / "log").open("wb")
        self.began = time.monotonic()
        """When it was started, by the monotonic clock."""
        self.process = subprocess.Popen(
            self.command(), stdout=self.log, stderr=subprocess.STDOUT, env=ENVIRONMENT, cwd=Path(__file__).parents[2]
        )
        try:
            self._wait()
        except BaseException:  # nobody has it yet who would end it
            self.stop()
            raise

    @abstractmethod
    def command(self) -> list[str]:
        """Return what is run."""

    @abstractmethod
    def stored(self) -> int:
        """Return how many instances it holds, each looked at as far as it lets us."""

    @property
    def url(self) -> str:
        """Where its HTTP face is, of one that has one."""
        return f"http://127.0.0.1:{self.http_port}"

    def wait_for_http(self) -> None:
        """Wait until its HTTP face answers: DICOM is listened on before HTTP is. Raises what the last try raised."""
        ends = time.monotonic() + _PATIENCE_S
        while True:
            try:
                requests.get(f"{self.url}/system", timeout=_PATIENCE_S).raise_for_status()
                return
            except requests.ConnectionError:
                if time.monotonic() > ends:
                    raise
                time.sleep(0.05)

    def cpu_s(self) -> float:
        """Return the processor time of the process, its children, and theirs."""
        return machine.tree_cpu_seconds(self.process.pid)

    def stop(self) -> None:
        """End it, and remove what it stored."""
        self.process.terminate()
        try:
            self.process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder)

    def _wait(self) -> None:
        ends = time.monotonic() + _PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > ends:
                    said = (self.folder / "log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"{self.name} does not listen on port {self.port}: {said}") from None
                time.sleep(0.01)


class Hostd(Server):
    """`hostd run`: file and index synced, then answered."""

    name = "hostd"
    dicom = ""
    """More lines of `[dicom]`."""
    member = "benchmark"
    """Its name as a node."""
    node = ""
    """More lines of `[node]`."""

    def __init__(
        self, folder: Path, scripts: Mapping[str, str] | None = None, command: tuple[str, ...] = (sys.executable,)
    ) -> None:
        self._scripts = scripts or {}
        self._python = command
        self.data = folder / "data"
        super().__init__(folder)

    def command(self) -> list[str]:
        """Write a configuration, and run a node on it."""
        scripts, config = self.folder / "scripts", self.folder / "hostd.toml"
        scripts.mkdir(mode=0o700)
        for name, source in self._scripts.items():
            (scripts / name).write_text(source)
            (scripts / name).chmod(0o600)
        config.write_text(
            f'[node]\nname = "{self.member}"\ndata = "{self.data}"\nscripts = "{scripts}"\nmin_free_mb = 0\n{self.node}'
            f"[dicom]\nport = {self.port}\n{self.dicom}[http]\nport = {self.http_port}\n{self.modalities()}"
        )
        config.chmod(0o600)
        return [*self._python, "-m", "hostd", "run", str(config)]

    def modalities(self) -> str:
        """Return whom it knows."""
        return '[modalities.archive]\naet = "ARCHIVE"\nhost = "127.0.0.1"\nport = 9\n'

    def stored(self) -> int:
        """Count the rows whose file is what the row says."""
        with attach(self.data) as connection:
            rows = connection.execute(
                sa.select(t.blob.c.name, t.blob.c.sha256).join(t.instance, t.instance.c.blob == t.blob.c.name)
            ).all()
        return sum(_is_whole(stored_at(self.data, row.name), row.sha256) for row in rows)


class Orthanc(Server):
    """Orthanc with its index in SQLite, and files synced, as it does by default."""

    name = "Orthanc"

    def command(self) -> list[str]:
        """Write a configuration, and run Orthanc on it."""
        configuration = {
            "StorageDirectory": str(self.folder / "db"),
            "IndexDirectory": str(self.folder / "db"),
            "SyncStorageArea": True,
            "DicomPort": self.port,
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "Plugins": [],
            **self.more(),
        }
        (self.folder / "orthanc.json").write_text(json.dumps(configuration))
        return ["Orthanc", str(self.folder / "orthanc.json")]

    def more(self) -> dict[str, object]:
        """Return more of its configuration."""
        return {}

    def stored(self) -> int:
        """Ask it."""
        answer = requests.get(f"{self.url}/statistics", timeout=60).json()
        return int(answer["CountInstances"])


class DicomwebOrthanc(Orthanc):
    """Orthanc with its DICOMweb plug-in, which answers C-FIND to everybody."""

    def more(self) -> dict[str, object]:
        """Add the plug-in."""
        return {"DicomAlwaysAllowFind": True, "Plugins": [str(DICOMWEB)], "DicomWeb": {"Enable": True}}


class Storescp(Server):
    """DCMTK's storescp: a process an association, no index, no sync. It is the floor."""

    name = "DCMTK storescp"

    def command(self) -> list[str]:
        """Run it."""
        files = self.folder / "files"
        files.mkdir()
        return ["storescp", "--fork", "-pdu", "131072", "+xa", "-od", str(files), str(self.port)]

    def stored(self) -> int:
        """Count the files."""
        return sum(1 for _ in (self.folder / "files").iterdir())


class Pynetdicom(Server):
    """A pynetdicom SCP that writes files: no index, no sync."""

    name = "pynetdicom"

    def command(self) -> list[str]:
        """Run it."""
        files = self.folder / "files"
        files.mkdir()
        return [sys.executable, "-m", "benchmarks.receive.pynetdicom_scp", str(self.port), str(files)]

    def stored(self) -> int:
        """Count the files."""
        return sum(1 for _ in (self.folder / "files").iterdir())


SERVERS: tuple[type[Server], ...] = (Hostd, Orthanc, Storescp, Pynetdicom)


def _is_whole(path: Path, digest: str) -> bool:
    with path.open("rb") as file:
        return digests.of_file(file, digest) == digest
