"""Who transcodes what arrives: hostd, a hostd that does not verify, and Orthanc, by itself or with its GDCM plug-in."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import requests
import sqlalchemy as sa

from benchmarks.receive.servers import Hostd, Orthanc
from hostd.archive import tables as t
from hostd.archive.archive import attach
from hostd.dicom.syntaxes import EXPLICIT_LE, JPEG2000_LOSSLESS, TransferSyntax

_PATIENCE_S = 300.0
_PLUGINS = (Path("/usr/share/orthanc/plugins/libOrthancGdcm.so"), Path("/usr/lib/orthanc/libOrthancGdcm.so"))


class TranscodingHostd(Hostd):
    """A node that brings what comes to `target`; None: it keeps it as received."""

    def __init__(self, folder: Path, target: TransferSyntax | None, *, ack_budget_s: float | None = None) -> None:
        self.target = target
        self._budget = ack_budget_s
        super().__init__(folder)

    def command(self) -> list[str]:
        """Write a configuration, and run a node on it."""
        command = super().command()
        lines = [f'transcode_to = "{self.target.uid if self.target else "none"}"']
        if self._budget is not None:
            lines.append(f"ack_budget_s = {self._budget:g}")
        with (self.folder / "hostd.toml").open("a") as config:
            config.write("[ingest]\n" + "\n".join(lines) + "\n")
        return command

    def transcoded(self) -> int:
        """Return how many instances it holds in its transfer syntax, once nothing waits to be brought to it."""
        wanted = (self.target or EXPLICIT_LE).uid
        ends = time.monotonic() + _PATIENCE_S
        while True:
            with attach(self.data) as connection:
                waiting = connection.execute(sa.select(sa.func.count()).select_from(t.ingest)).scalar_one()
                query = sa.select(t.blob.c.transfer_syntax).join(t.instance, t.instance.c.blob == t.blob.c.name)
                found = Counter(connection.execute(query).scalars())
            if not waiting or time.monotonic() > ends:
                return found[wanted]
            time.sleep(0.1)


class UnverifiedHostd(TranscodingHostd):
    """The same, without verification."""

    name = "hostd, not verified"

    def command(self) -> list[str]:
        """Run it by a module that leaves verification out."""
        command = super().command()
        command[command.index("hostd")] = "benchmarks.ingest.unverified"
        return command


class TranscodingOrthanc(Orthanc):
    """An Orthanc with `IngestTranscoding`; to JPEG 2000 by its GDCM plug-in, to all else by DCMTK."""

    def __init__(self, folder: Path, target: TransferSyntax) -> None:
        self.target = target
        super().__init__(folder)

    def more(self) -> dict[str, object]:
        """Have it transcode what comes."""
        wanted: dict[str, object] = {"IngestTranscoding": self.target.uid}
        if self.target == JPEG2000_LOSSLESS:
            wanted |= {"Plugins": [str(gdcm_plugin())], "Gdcm": {"RestrictTransferSyntaxes": [self.target.uid]}}
        return wanted

    def transcoded(self) -> int:
        """Ask of each instance."""
        url, session = f"{self.url}/instances", requests.Session()
        ids = session.get(url, timeout=60).json()
        return sum(
            session.get(f"{url}/{one}/metadata/TransferSyntax", timeout=60).text == self.target.uid for one in ids
        )


def gdcm_plugin() -> Path | None:
    """Return Orthanc's GDCM plug-in, where it is installed."""
    return next((path for path in _PLUGINS if path.exists()), None)
