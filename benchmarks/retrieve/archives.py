"""Who is asked: hostd and Orthanc, each as a process of its own that knows who asks and where a C-MOVE goes; and the floor, a storescp."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.receive.servers import ENVIRONMENT, Server, Storescp, free_port

ASKER, ARCHIVE = "ASKER", "ARCHIVE"
_SENT_S = 120


class Receiver(Storescp):
    """DCMTK's storescp, which takes uncompressed instances only, and writes what comes bit by bit."""

    def command(self) -> list[str]:
        """Run it."""
        files = self.folder / "files"
        files.mkdir()
        return ["storescp", "-pdu", "131072", "+B", "-aet", ARCHIVE, "-od", str(files), str(self.port)]


class Holder(Server):
    """A server that can be asked for what it holds. `to` is the port that `ARCHIVE` listens on."""

    def __init__(self, folder: Path, to: int) -> None:
        self.to = to
        super().__init__(folder)

    def stored(self) -> int:
        """Not asked for: what was retrieved is counted where it arrives."""
        raise NotImplementedError

    def fill(self, files: list[Path]) -> None:
        """Send it files, each in its own transfer syntax."""
        for options, some in (
            (("-xe",), [f for f in files if "rle" not in f.name]),
            (("-xr",), [f for f in files if "rle" in f.name]),
        ):
            if some:
                command = ["storescu", *options, "-aet", ASKER, "127.0.0.1", str(self.port), *map(str, some)]
                subprocess.run(command, check=True, timeout=_SENT_S, env=ENVIRONMENT, capture_output=True)


class Hostd(Holder):
    """`hostd run`: every sub-operation is on record."""

    name = "hostd"

    def command(self) -> list[str]:
        """Write a configuration, and run a node on it."""
        config = self.folder / "hostd.toml"
        (self.folder / "scripts").mkdir(mode=0o700)
        config.write_text(
            f'[node]\nname = "benchmark"\ndata = "{self.folder}/data"\nscripts = "{self.folder}/scripts"\nmin_free_mb = 0\n'
            f"[dicom]\nport = {self.port}\n[http]\nport = {free_port()}\n"
            f'[modalities.asker]\naet = "{ASKER}"\nhost = "127.0.0.1"\nport = 9\n'
            f'[modalities.archive]\naet = "{ARCHIVE}"\nhost = "127.0.0.1"\nport = {self.to}\n'
        )
        config.chmod(0o600)
        return [sys.executable, "-m", "hostd", "run", str(config)]


class Orthanc(Holder):
    """Orthanc with its index in SQLite."""

    name = "Orthanc"

    def command(self) -> list[str]:
        """Write a configuration, and run Orthanc on it."""
        configuration = {
            "StorageDirectory": str(self.folder / "db"),
            "IndexDirectory": str(self.folder / "db"),
            "DicomPort": self.port,
            "HttpPort": free_port(),
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "Plugins": [],
            "DicomModalities": {"asker": [ASKER, "127.0.0.1", 9], "archive": [ARCHIVE, "127.0.0.1", self.to]},
        }
        (self.folder / "orthanc.json").write_text(json.dumps(configuration))
        return ["Orthanc", str(self.folder / "orthanc.json")]


HOLDERS: tuple[type[Holder], ...] = (Hostd, Orthanc)
