"""What a node says of itself as it starts: where it listens, and what it holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hostd.config.loopback import is_loopback


@dataclass(frozen=True, slots=True)
class Facts:
    """What the start line says of a node.

    A port is None when that face is off; `layers` are those of script isolation; `ingest` says what is transcoded as it arrives.
    """

    name: str
    dicom: tuple[str, int] | None
    http: tuple[str, int] | None
    data: Path
    scripts: Path | None
    instances: int
    layers: dict[str, int]
    ingest: str = ""
    dicom_tls: tuple[str, int] | None = None
    is_https: bool = False

    def sentences(self) -> list[str]:
        """Return the facts as sentences for people."""
        lines = [f"node {self.name}: data in {self.data} ({self.instances} instances)"]
        for face, section, where in (
            ("DICOM", "dicom", self.dicom),
            ("HTTPS" if self.is_https else "HTTP", "http", self.http),
        ):
            if where is None:
                lines.append(f"{face} is off")
                continue
            host, port = where
            reach = (
                f' (this machine only; [{section}] host = "0.0.0.0" opens it to others{", with [users]" if section == "http" else ""})'
                if is_loopback(host)
                else ""
            )
            if section == "http" or where != self.dicom_tls:
                lines.append(f"{face} on {host}:{port}{reach}")
        if self.dicom_tls is not None:
            lines.append(f"DICOM over TLS on {self.dicom_tls[0]}:{self.dicom_tls[1]}")
        if self.ingest:
            lines.append(self.ingest)
        if self.scripts is None:
            lines.append("scripts do not run (--no-scripts)")
        else:
            layers = ", ".join(
                f"{layer} {value}" if value > 1 else layer for layer, value in self.layers.items() if value
            )
            lines.append(f"scripts in {self.scripts}, isolated by {layers or 'nothing'}")
        return lines
