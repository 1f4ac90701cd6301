"""TLS (PS3.15 Annex B), calling and called: whose certificates are trusted, which one is shown, and the oldest version that is spoken."""

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
        _trust(context, self.ca_file)
        if self.client_certificate is not None:
            _show(context, *self.client_certificate)
        return context


@dataclass(frozen=True, slots=True)
class ServerTls:
    """How who calls is answered over TLS. With `client_ca_file` it must show a certificate that one of these vouches for."""

    certificate: Path
    key: Path
    client_ca_file: Path | None = None
    minimum: str = "1.2"

    def context(self) -> ssl.SSLContext:
        """Return what accepts connections, of the files as they are now. Raises `ConfigurationError` as that of `Tls` does."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = VERSIONS[self.minimum]
        _show(context, self.certificate, self.key)
        if self.client_ca_file is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            _trust(context, self.client_ca_file)
        return context


def _trust(context: ssl.SSLContext, ca_file: Path | None) -> None:
    try:
        if ca_file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(ca_file)
    except (ssl.SSLError, OSError) as error:
        raise ConfigurationError(f"{ca_file} holds no certificates that can be used: {_reason(error)}") from error


def _show(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise ConfigurationError(
            f"{certificate} and {key} are no certificate with its key, without a passphrase: {_reason(error)}"
        ) from error


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")  # without this OpenSSL would ask on the terminal


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
