"""A destination that speaks Orthanc's HTTP interface: one `POST {url}instances` an instance."""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import requests
from requests.auth import HTTPBasicAuth

from hostd.delivery import faults
from hostd.delivery.destinations import Answer, Outgoing, deviation
from hostd.errors import DestinationFault

_MAX_ANSWER = 256 << 10
_MAX_TEXT = 300
_IN_MEMORY = 32 << 20
_PIECE = 1 << 20
_CONCLUSIVE = frozenset({401, 407, 429})
"""What `GET {url}system` may answer that says it of the whole peer; others may only mean that this one route is closed."""


class Peer:
    """An Orthanc peer of the configuration, or another hostd.

    `url` is its root; `ca_file` holds the certificates to trust, absent those of the system; `verify` off trusts anyone. The proxies
    and credentials of the environment are not used. With `compress` the body is sent gzipped. Waits are in seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        url: str,
        username: str | None = None,
        password: str | None = None,
        verify: bool = True,
        ca_file: Path | None = None,
        timeout_s: float = 30.0,
        connect_timeout_s: float = 10.0,
        compress: bool = False,
    ) -> None:
        self.name = f"peer:{name}"
        self.url = url.rstrip("/") + "/"
        self.timeout_s = timeout_s
        self.compress = compress
        self._connect_timeout_s = connect_timeout_s
        # As bytes, since requests would encode text as Latin-1 and quote what does not fit.
        self._auth = HTTPBasicAuth(username.encode(), (password or "").encode()) if username is not None else None
        self._verify: bool | str = str(ca_file) if verify and ca_file else verify

    def connect(self, batch: Sequence[Outgoing]) -> PeerSession:  # noqa: ARG002 - HTTP negotiates nothing for the batch
        """Ask the peer who it is. Raises `DestinationFault` when it does not answer, or says that it takes nothing from us."""
        session = PeerSession(self, self._http())
        try:
            session.check()
        except BaseException:
            session.close()
            raise
        return session

    def _http(self) -> requests.Session:
        http = requests.Session()
        http.trust_env = False
        http.auth = self._auth
        http.verify = self._verify
        http.headers["Accept"] = "application/json"
        return http

    @property
    def timeouts(self) -> tuple[float, float]:
        """Seconds to wait for a connection, and for an answer."""
        return self._connect_timeout_s, self.timeout_s


class PeerSession:
    """One kept connection to a peer."""

    def __init__(self, peer: Peer, http: requests.Session) -> None:
        self._peer = peer
        self._http = http
        self.is_open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.is_open = False
        self._http.close()

    def check(self) -> None:
        """See whether the peer answers at all, before anything is made for it. Raises `DestinationFault`."""
        try:
            with self._http.get(
                f"{self._peer.url}system", timeout=self._peer.timeouts, allow_redirects=False, stream=True
            ) as response:
                status = response.status_code
                if 300 <= status < 400 or status >= 500 or status in _CONCLUSIVE:
                    raise DestinationFault(f"{self._peer.url} answered {_refusal(response, self._read(response))}")
                self._read(response)
        except requests.RequestException as error:
            raise DestinationFault(f"{self._peer.url} could not be reached: {_reason(error)}") from error

    def send(self, outgoing: Outgoing) -> Answer:
        """Send one instance. Raises `InstanceFault` when there is nothing that may be sent."""
        product = outgoing.as_wanted()
        headers = {"Content-Type": "application/dicom"}
        with ExitStack() as files:
            content: IO[bytes] = files.enter_context(product.path.open("rb"))
            if self._peer.compress:
                content = files.enter_context(_gzipped(content))
                headers["Content-Encoding"] = "gzip"
            body = _Body(content)
            answer = self._post(body, headers, product.transfer_syntax)
        text = answer.text + deviation(outgoing, product) if answer.verdict == "delivered" else answer.text
        sent_as = product.sop_instance_uid if answer.sent_syntax is not None else None
        return replace(answer, text=text, sent_sop_instance_uid=sent_as)

    def _post(self, body: _Body, headers: dict[str, str], syntax: str) -> Answer:
        try:
            with self._http.post(
                f"{self._peer.url}instances",
                data=body,
                headers=headers,
                timeout=self._peer.timeouts,
                allow_redirects=False,
                stream=True,
            ) as response:
                content = self._read(response)
        except requests.RequestException as error:
            self.is_open = False
            return _broken(error, body, syntax)
        if not body.was_sent:
            self.is_open = False  # it answered early: what it has not read would be taken for the next request
        status = response.status_code
        if not 200 <= status < 300:
            return Answer(faults.of_http(status), _refusal(response, content), status, syntax)
        try:
            said = json.loads(content)
        except (ValueError, RecursionError):
            said = None
        verdict, text = faults.of_store_answer(said)
        return Answer(verdict, text, status, syntax)

    def _read(self, response: requests.Response) -> bytes:
        """Read the answer, but not more of it, nor for longer, than an answer needs."""
        content = bytearray()
        end = time.monotonic() + self._peer.timeout_s
        for piece in response.iter_content(_MAX_ANSWER):
            content += piece
            if len(content) > _MAX_ANSWER or time.monotonic() > end:
                self.is_open = False  # the rest of it still stands on the connection
                break
        return bytes(content)


class _Body:
    """The file as requests sends it: with its length, and with knowledge of how much of it went out."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._length = file.seek(0, 2)
        file.seek(0)
        self.was_begun = False
        self.was_sent = False

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1) -> bytes:
        """Return the next piece; who asks for it has sent the one before. Pieces are larger than asked for, which is faster."""
        piece = self._file.read(max(size, _PIECE) if size >= 0 else size)
        self.was_begun = True
        self.was_sent = not piece
        return piece

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(_PIECE):
            yield piece


def _gzipped(content: IO[bytes]) -> IO[bytes]:
    """Return the content compressed, in a file without a name when it is large: receivers want its length first."""
    packed: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - the caller closes it
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1, mtime=0) as archive:
        shutil.copyfileobj(content, archive, _PIECE)
    return packed


def _broken(error: requests.RequestException, body: _Body, syntax: str) -> Answer:
    """Judge a request that got no answer by how far it came."""
    if not body.was_begun:
        return Answer("destination", f"the peer could not be reached: {_reason(error)}")
    if body.was_sent:
        return Answer("later", f"everything was sent, and no answer came: {_reason(error)}", None, syntax, lost=True)
    return Answer("later", f"the connection broke in the middle of the instance: {_reason(error)}", None, syntax)


def _refusal(response: requests.Response, content: bytes) -> str:
    """Return the status of an answer and what Orthanc says of it."""
    status = f"{response.status_code} {response.reason or ''}".strip()
    if response.is_redirect:
        return f"{status}: it redirects elsewhere, which is not followed; set the url of this peer to where it is"
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        said = None
    words = [str(said[key]) for key in ("Message", "Details") if said.get(key)] if isinstance(said, dict) else []
    return f"{status}: {'; '.join(words)}"[:_MAX_TEXT] if words else status


def _reason(error: requests.RequestException) -> str:
    """Return why a request failed, as the innermost error says it: requests wraps it in objects of no interest to people."""
    if isinstance(error, requests.ConnectTimeout):
        return "no connection in time"
    if isinstance(error, requests.ReadTimeout):
        return "no answer in time"
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
