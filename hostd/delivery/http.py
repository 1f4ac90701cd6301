"""What all destinations by HTTP have in common: one kept connection, bodies streamed from files, answers read within limits."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from hostd.config.http_access import HttpReach
from hostd.delivery.destinations import Answer, Outgoing

if TYPE_CHECKING:
    import requests

PIECE = 1 << 20
_MAX_ANSWER = 256 << 10
_MAX_TEXT = 300


@dataclass(frozen=True, slots=True)
class Access:
    """Where another system is, and who hostd is to it. Waits are in seconds.

    `ca_file` holds the certificates to trust, absent those of the system. The proxies and credentials of the environment are not used.
    Printing it shows no secret.
    """

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: Path | None = None
    client_certificate: tuple[Path, Path] | None = None
    timeout_s: float = 30.0
    connect_timeout_s: float = 10.0

    @classmethod
    def of(cls, settings: HttpReach) -> Self:
        """Return what the configuration says of a destination."""
        return cls(
            url=settings.url,
            username=settings.username,
            password=settings.password.get_secret_value() if settings.password else None,
            headers={name: value.get_secret_value() for name, value in settings.headers.items()},
            ca_file=settings.ca_file,
            client_certificate=settings.client_certificate,
            timeout_s=settings.timeout_s,
        )


class HttpConnection:
    """One kept connection. Redirections are not followed: who redirects is not where the instance is to go."""

    def __init__(self, access: Access, *, accept: str) -> None:
        self.access = access
        self.is_open = True
        self._root = access.url.rstrip("/") + "/"
        self._http = trusting(access.ca_file, access.client_certificate)
        if access.username is not None:
            from requests.auth import HTTPBasicAuth  # noqa: PLC0415 - see `trusting`

            # As bytes, since requests would encode text as Latin-1 and quote what does not fit.
            self._http.auth = HTTPBasicAuth(access.username.encode(), (access.password or "").encode())
        self._http.headers.update({**access.headers, "Accept": accept})

    def close(self) -> None:
        """Close it."""
        self.is_open = False
        self._http.close()

    def get(self, path: str, parameters: Mapping[str, str] | None = None) -> Said:
        """Ask for something. Raises `OSError`, `requests.RequestException` among them, where no answer came."""
        return self._asked("GET", path, params=parameters)

    def post(self, path: str, body: Body, headers: Mapping[str, str]) -> Said:
        """Send something. Raises as `get` does; `body` then knows how far it came."""
        return self.send("POST", path, body, headers)

    def send(self, method: str, path: str, body: Body, headers: Mapping[str, str]) -> Said:
        """Send something by that method; otherwise as `post`."""
        said = self._asked(method, path, data=body, headers=headers)
        if not body.was_sent:
            self.is_open = False  # it answered early: what it has not read would be taken for the next request
        return said

    def _asked(self, method: str, path: str, **options: Any) -> Said:
        timeouts = (self.access.connect_timeout_s, self.access.timeout_s)
        try:
            with self._http.request(
                method,
                f"{self._root}{path}",
                timeout=timeouts,
                allow_redirects=False,
                stream=True,
                **options,
            ) as response:
                return Said(response.status_code, response.reason or "", self._read(response))
        except OSError:
            self.is_open = False
            raise

    def _read(self, response: requests.Response) -> bytes:
        """Read the answer, but not more of it, nor for longer, than an answer needs."""
        content = bytearray()
        end = time.monotonic() + self.access.timeout_s
        for piece in response.iter_content(_MAX_ANSWER):
            content += piece
            if len(content) > _MAX_ANSWER or time.monotonic() > end:
                self.is_open = False  # the rest of it still stands on the connection
                break
        return bytes(content)


def trusting(ca_file: Path | None, client_certificate: tuple[Path, Path] | None) -> requests.Session:
    """Return a session that trusts the certificates of that file, absent those of the system, and shows that one with its key.

    It does not use what the environment says of proxies and credentials.
    """
    import requests  # noqa: PLC0415 - a tenth of what a node imports, which one without peers by HTTP does without

    http = requests.Session()
    http.trust_env = False
    if ca_file is not None:
        http.verify = str(ca_file)
    else:
        http.mount("https://", _system_adapter(client_certificate))
    if client_certificate is not None:
        http.cert = (str(client_certificate[0]), str(client_certificate[1]))
    return http


def _system_adapter(client_certificate: tuple[Path, Path] | None) -> requests.adapters.HTTPAdapter:
    """Return what trusts the certificates that the administrator of the machine trusts, beside those that requests brings along."""
    from requests.adapters import HTTPAdapter  # noqa: PLC0415 - see `trusting`

    class SystemTrust(HTTPAdapter):
        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
            trust = _system_trust(client_certificate, *_trust_written_at())
            super().init_poolmanager(*arguments, ssl_context=trust, **options)

    return SystemTrust()


@lru_cache(maxsize=16)
def _system_trust(_client_certificate: tuple[Path, Path] | None, *_written_at: float) -> ssl.SSLContext:
    """Return what trusts the system's certificates: reading them takes tens of milliseconds, so it is done anew when they have changed.

    Requests loads the client's certificate into it, so no two of them share one.
    """
    return ssl.create_default_context()


def _trust_written_at() -> list[float]:
    paths = ssl.get_default_verify_paths()
    return [Path(path).stat().st_mtime for path in (paths.cafile, paths.capath) if path is not None]


@dataclass(frozen=True, slots=True)
class Said:
    """An answer."""

    status: int
    reason: str
    content: bytes

    @property
    def is_good(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Return the content, None when it is no JSON."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            return None

    def in_words(self, keys: Sequence[str] = ("Message", "Details")) -> str:
        """Return the status, and what these keys of the answer say of it."""
        status = f"{self.status} {self.reason}".strip()
        if 300 <= self.status < 400:
            return f"{status}: it redirects elsewhere, which is not followed; set the url to where it is"
        said = self.json()
        words = [str(said[key]) for key in keys if said.get(key)] if isinstance(said, dict) else []
        return f"{status}: {'; '.join(words)}"[:_MAX_TEXT] if words else status


class Body:
    """Files one after another as requests sends them: with their length, and with knowledge of how much of it went out."""

    def __init__(self, *files: IO[bytes]) -> None:
        self._files = files
        self._length = 0
        for file in files:
            self._length += file.seek(0, 2)
            file.seek(0)
        self._at = 0
        self.was_begun = False
        self.was_sent = False

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1) -> bytes:
        """Return the next piece; who asks for it has sent the one before. Pieces are larger than asked for, which is faster."""
        self.was_begun = True
        while self._at < len(self._files):
            if piece := self._files[self._at].read(max(size, PIECE) if size >= 0 else size):
                return piece
            self._at += 1
        self.was_sent = True
        return b""

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(PIECE):
            yield piece


def broken(error: Exception, body: Body, syntax: str) -> Answer:
    """Judge a request that got no answer by how far it came."""
    if not body.was_begun:
        return Answer("destination", f"it could not be reached: {why(error)}")
    if body.was_sent:
        return Answer("later", f"everything was sent, and no answer came: {why(error)}", None, syntax, lost=True)
    return Answer("later", f"the connection broke in the middle of the instance: {why(error)}", None, syntax)


def unanswered() -> type[OSError]:
    """Return what is raised where no answer came, beside other errors of files: for `except`, which asks only once something was raised."""
    from requests import RequestException  # noqa: PLC0415 - see `trusting`

    return RequestException


def why(error: Exception) -> str:
    """Return why a request failed, as the innermost error says it: requests wraps it in objects of no interest to people."""
    import requests  # noqa: PLC0415 - see `trusting`

    if isinstance(error, requests.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, requests.ReadTimeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.InvalidHeader):  # its text has the value, which may be a secret
        return "one of its headers cannot be sent: its value is not of printable ASCII characters"
    cause: BaseException = error
    while (inner := _inner(cause)) is not None:
        cause = inner
    text = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return str(text)[:_MAX_TEXT]


def _inner(error: BaseException) -> BaseException | None:
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return reason
    argument = next((argument for argument in reversed(error.args) if isinstance(argument, BaseException)), None)
    return argument or error.__cause__


__all__ = ["PIECE", "Access", "Body", "HttpConnection", "Said", "broken", "trusting", "unanswered", "why"]


class HttpSession:
    """What the sessions of all destinations by HTTP are beside how they send: one kept connection."""

    def __init__(self, http: HttpConnection) -> None:
        self._http = http

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        """Whether another instance can be sent over this connection."""
        return self._http.is_open

    def takes(self, outgoing: Outgoing) -> bool:  # noqa: ARG002 - HTTP negotiates nothing
        """Tell that any instance can go over this connection."""
        return True

    def close(self) -> None:
        """Close the connection."""
        self._http.close()
