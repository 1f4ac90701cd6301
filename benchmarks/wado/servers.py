"""Who is asked: hostd, and Orthanc with its DICOMweb plug-in."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.receive import servers
from benchmarks.receive.servers import free_port

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
"""Where Debian's orthanc-dicomweb puts it."""


class Hostd(servers.Hostd):
    """`hostd run`, with a known port for HTTP."""

    def command(self) -> list[str]:
        """Write a configuration, and run a node on it."""
        self.http_port = free_port()
        scripts, config = self.folder / "scripts", self.folder / "hostd.toml"
        scripts.mkdir(mode=0o700)
        config.write_text(
            f'[node]\nname = "benchmark"\ndata = "{self.data}"\nscripts = "{scripts}"\nmin_free_mb = 0\n'
            f"[dicom]\nport = {self.port}\n[http]\nport = {self.http_port}\n"
        )
        config.chmod(0o600)
        return [sys.executable, "-m", "hostd", "run", str(config)]


class Orthanc(servers.Orthanc):
    """Orthanc as it is by default, with its DICOMweb plug-in."""

    def command(self) -> list[str]:
        """Write a configuration, and run Orthanc on it."""
        command = super().command()
        path = Path(command[-1])
        configuration = json.loads(path.read_text())
        path.write_text(json.dumps({**configuration, "Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True}}))
        return command
