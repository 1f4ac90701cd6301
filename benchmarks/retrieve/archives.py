"""Who is asked: hostd and Orthanc, each as a process of its own that knows who asks and where a C-MOVE goes; and the floor, a storescp."""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks.receive import servers
from benchmarks.receive.servers import ENVIRONMENT, Server, Storescp

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

    def fill(self, files: list[Path]) -> None:
        """Send it files, each in its own transfer syntax."""
        for options, some in (
            (("-xe",), [f for f in files if "rle" not in f.name]),
            (("-xr",), [f for f in files if "rle" in f.name]),
        ):
            if some:
                command = ["storescu", *options, "-aet", ASKER, "127.0.0.1", str(self.port), *map(str, some)]
                subprocess.run(command, check=True, timeout=_SENT_S, env=ENVIRONMENT, capture_output=True)


class Hostd(Holder, servers.Hostd):
    """`hostd run`: every sub-operation is on record."""

    def modalities(self) -> str:
        """Return who asks, and to whom a C-MOVE goes."""
        return (
            f'[modalities.asker]\naet = "{ASKER}"\nhost = "127.0.0.1"\nport = 9\n'
            f'[modalities.archive]\naet = "{ARCHIVE}"\nhost = "127.0.0.1"\nport = {self.to}\n'
        )


class Orthanc(Holder, servers.Orthanc):
    """Orthanc with its index in SQLite."""

    def more(self) -> dict[str, object]:
        """Add who asks, and to whom a C-MOVE goes."""
        return {"DicomModalities": {"asker": [ASKER, "127.0.0.1", 9], "archive": [ARCHIVE, "127.0.0.1", self.to]}}


HOLDERS: tuple[type[Holder], ...] = (Hostd, Orthanc)
