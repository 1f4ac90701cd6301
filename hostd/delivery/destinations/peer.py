"""A destination that speaks Orthanc's HTTP interface: one `POST {url}instances` an instance."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import IO

from hostd.config.sections import Peer as Section
from hostd.delivery import faults
from hostd.delivery.destinations import Answer, Outgoing, deviation
from hostd.delivery.http import PIECE, Access, Body, HttpConnection, HttpSession, Said, broken, unanswered, why
from hostd.dicom.identity import Identity
from hostd.errors import DestinationFault

_IN_MEMORY = 32 << 20
_CONCLUSIVE = frozenset({401, 407, 429})
"""What `GET {url}system` may answer that says it of the whole peer; others may only mean that this one route is closed."""


class Peer:
    """An Orthanc peer of the configuration, or another hostd. With `compress` the body is sent gzipped."""

    def __init__(self, name: str, access: Access, *, compress: bool = False) -> None:
        self.name = f"peer:{name}"
        self.access = access
        self.compress = compress

    def connect(self, batch: Sequence[Outgoing]) -> PeerSession:  # noqa: ARG002 - HTTP negotiates nothing for the batch
        """Ask the peer who it is. Raises `DestinationFault` when it does not answer, or says that it takes nothing from us."""
        session = PeerSession(self)
        try:
            session.check()
        except BaseException:
            session.close()
            raise
        return session

    def examine(self) -> list[str]:
        """Ask the peer who it is. Raises `DestinationFault` when it does not say so."""
        with PeerSession(self) as session:
            said = session.asked()
        system = said.json() if said.is_good else None
        if not isinstance(system, dict):
            raise DestinationFault(
                f"{self.access.url}system answered {said.in_words()}, which is not what an Orthanc answers"
            )
        known = {key: str(system[key])[:64] for key in ("Name", "Software", "Version", "DicomAet") if system.get(key)}
        return [", ".join(f"{key} {value}" for key, value in known.items()) or "answers, and does not say what it is"]


SECTION = Section


def configured(name: str, section: Section) -> Peer:
    """Return the peer that a section of the configuration describes."""
    return Peer(name, Access.of(section), compress=section.compress)


class PeerSession(HttpSession):
    """One kept connection to a peer."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        super().__init__(HttpConnection(peer.access, accept="application/json"))

    def check(self) -> None:
        """See whether the peer answers at all, before anything is made for it. Raises `DestinationFault`."""
        said = self.asked()
        if 300 <= said.status < 400 or said.status >= 500 or said.status in _CONCLUSIVE:
            raise DestinationFault(f"{self._peer.access.url} answered {said.in_words()}")

    def asked(self) -> Said:
        """Return what the peer says of itself. Raises `DestinationFault` when it cannot be reached."""
        return self._got("system")

    def _got(self, path: str) -> Said:
        try:
            return self._http.get(path)
        except OSError as error:
            raise DestinationFault(f"{self._peer.access.url} could not be reached: {why(error)}") from error

    def has(self, identity: Identity) -> bool | None:
        """Ask whether the peer has an instance; None when it cannot be asked. Raises `DestinationFault`."""
        said = self._got(f"instances/{identity.instance}")
        if said.status == 404:
            return False
        found = said.json() if said.is_good else None
        return found.get("ID") == identity.instance if isinstance(found, dict) else None

    def send(self, outgoing: Outgoing) -> Answer:
        """Send one instance. Raises `InstanceFault` when there is nothing that may be sent."""
        product = outgoing.as_wanted()
        headers = {"Content-Type": "application/dicom"}
        with ExitStack() as files:
            content: IO[bytes] = files.enter_context(product.path.open("rb"))
            compress = outgoing.manner.compress
            if self._peer.compress if compress is None else compress:
                content = files.enter_context(_gzipped(content))
                headers["Content-Encoding"] = "gzip"
            answer = self._post(Body(content), headers, product.transfer_syntax)
        text = answer.text + deviation(outgoing, product) if answer.verdict == "delivered" else answer.text
        sent_as = product.sop_instance_uid if answer.sent_syntax is not None else None
        return replace(answer, text=text, sent_sop_instance_uid=sent_as)

    def _post(self, body: Body, headers: dict[str, str], syntax: str) -> Answer:
        try:
            said = self._http.post("instances", body, headers)
        except unanswered() as error:
            return broken(error, body, syntax)
        if not said.is_good:
            return Answer(faults.of_http(said.status), said.in_words(), said.status, syntax)
        verdict, text = faults.of_store_answer(said.json())
        return Answer(verdict, text, said.status, syntax)


def _gzipped(content: IO[bytes]) -> IO[bytes]:
    """Return the content compressed, in a file without a name when it is large: receivers want its length first."""
    packed: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - the caller closes it
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1, mtime=0) as archive:
        shutil.copyfileobj(content, archive, PIECE)
    return packed
