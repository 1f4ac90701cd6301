"""TLS (PS3.15 Annex B), calling and called: whose certificates are trusted, which one is shown, and the oldest version that is spoken."""

from __future__ import annotations

import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

import structlog

from hostd.errors import ConfigurationError

_log = structlog.get_logger(__name__)

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


class Shown:
    """What a face shows who calls, for as long as it listens: a certificate that is renewed counts from the next connection on.

    While its files cannot be used, half written say, what was last read goes on, with a word in the log.
    """

    def __init__(self, tls: ServerTls) -> None:
        """Read the files. Raises `ConfigurationError` as `ServerTls.context` does."""
        self._tls = tls
        self._lock = threading.Lock()
        self._seen = self._stamps()
        self._context = tls.context()

    def now(self) -> ssl.SSLContext:
        """Return what accepts connections, of the files as they are now or as they last could be read."""
        with self._lock:
            stamps = self._stamps()
            if stamps != self._seen:
                self._seen = stamps
                try:
                    self._context = self._tls.context()
                    _log.info("a renewed certificate is shown from now on", certificate=str(self._tls.certificate))
                except ConfigurationError as error:
                    _log.error("a renewed certificate cannot be used; the one before is shown", reason=str(error))
            return self._context

    def renewing(self) -> ssl.SSLContext:
        """Return what accepts connections for one that is to be given a context once and for all: each handshake takes that of its time."""
        context = self._tls.context()
        context.sni_callback = self._take  # called whether a name is sent or not
        return context

    def _take(self, handshaking: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _first: ssl.SSLContext) -> None:
        handshaking.context = self.now()

    def _stamps(self) -> tuple[tuple[int, int] | None, ...]:
        return tuple(_stamp(file) for file in (self._tls.certificate, self._tls.key, self._tls.client_ca_file) if file)


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


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
