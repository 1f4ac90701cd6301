"""DICOM over TLS (PS3.15 Annex B): whose certificates are trusted, which one is shown, and the oldest version that is spoken."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from hostd.errors import ConfigurationError

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True)
class Tls:
    """How a peer is called over TLS.

    `ca_file` holds the certificates to trust, absent those of the system; `client_certificate` is certificate and key. The peer's
    certificate must bear `name`, absent the host that is called; with `check_name` off it may bear any.
    """

    ca_file: Path | None = None
    client_certificate: tuple[Path, Path] | None = None
    minimum: str = "1.2"
    name: str | None = None
    check_name: bool = True

    def context(self) -> ssl.SSLContext:
        """Return what makes connections, of the files as they are now: a renewed certificate counts at once.

        Raises `ConfigurationError`, which names the file and never what is in it.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = VERSIONS[self.minimum]
        context.check_hostname = self.check_name
        try:
            if self.ca_file is None:
                context.load_default_certs()
            else:
                context.load_verify_locations(self.ca_file)
        except (ssl.SSLError, OSError) as error:
            raise ConfigurationError(
                f"{self.ca_file} holds no certificates that can be used: {_reason(error)}"
            ) from error
        if self.client_certificate is not None:
            certificate, key = self.client_certificate
            try:
                context.load_cert_chain(certificate, key, password=_no_passphrase)
            except (ssl.SSLError, OSError, ValueError) as error:
                raise ConfigurationError(
                    f"{certificate} and {key} are no certificate with its key, without a passphrase: {_reason(error)}"
                ) from error
        return context


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")  # without this OpenSSL would ask on the terminal


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
