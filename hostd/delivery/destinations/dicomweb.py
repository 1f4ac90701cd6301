"""A destination that speaks DICOMweb: one STOW-RS transaction an instance (PS3.18 §10.5), its answer read for that instance."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

from hostd.config.dicomweb import DicomWeb as Section
from hostd.delivery import faults
from hostd.delivery.destinations import Answer, Outgoing, deviation
from hostd.delivery.faults import Verdict
from hostd.delivery.http import Access, Body, HttpConnection, HttpSession, Said, broken, unanswered, why
from hostd.dicom import statuses
from hostd.dicom.identity import Identity
from hostd.errors import DestinationFault

REFERENCED, FAILED, OTHER_FAILURES = "00081199", "00081198", "0008119A"
_SOP_INSTANCE, _WARNING, _FAILURE = "00081155", "00081196", "00081197"
_NO_STUDY = "2.25.0"
"""A study that nobody has: asking for it costs a server nothing."""
_CONCLUSIVE = frozenset({401, 407, 429})
"""What QIDO-RS may answer that says it of the whole server: one that only takes instances has no such route."""


class DicomWeb:
    """A DICOMweb server of the configuration."""

    def __init__(self, name: str, access: Access) -> None:
        self.name = f"dicomweb:{name}"
        self.access = access

    def connect(self, batch: Sequence[Outgoing]) -> DicomWebSession:  # noqa: ARG002 - HTTP negotiates nothing for the batch
        """See whether the server answers. Raises `DestinationFault` when it does not, or says that it takes nothing from us."""
        session = DicomWebSession(self)
        try:
            session.check()
        except BaseException:
            session.close()
            raise
        return session

    def examine(self) -> list[str]:
        """Ask the server by QIDO-RS for a study that nobody has. Raises `DestinationFault`, also where the root seems to be wrong."""
        with DicomWebSession(self) as session:
            if session.check():
                return ["answers queries (QIDO-RS); whether it takes instances (STOW-RS) shows when one is sent"]
            return ["answers, but not to queries (QIDO-RS): it may only take instances, or the url may be wrong"]


SECTION = Section


def configured(name: str, section: Section) -> DicomWeb:
    """Return the server that a section of the configuration describes."""
    return DicomWeb(name, Access.of(section))


class DicomWebSession(HttpSession):
    """One kept connection to a DICOMweb server."""

    def __init__(self, destination: DicomWeb) -> None:
        self._url = destination.access.url
        super().__init__(HttpConnection(destination.access, accept="application/dicom+json"))

    def check(self) -> bool:
        """See whether the server answers at all; return whether it can be asked what it has. Raises `DestinationFault`."""
        said = self._queried("studies", {"StudyInstanceUID": _NO_STUDY, "limit": "1"})
        if said.status in _CONCLUSIVE or 300 <= said.status < 400 or (said.status >= 500 and said.status != 501):
            raise DestinationFault(f"{self._url} answered {said.in_words()}")
        return said.is_good

    def has(self, identity: Identity) -> bool | None:
        """Ask by QIDO-RS whether the server has an instance; None when it cannot be asked. Raises `DestinationFault`."""
        sop_instance_uid = identity.sop_instance_uid
        said = self._queried("instances", {"SOPInstanceUID": sop_instance_uid, "limit": "1"})
        if said.status == 204:
            return False
        found = said.json() if said.status == 200 else None
        if not isinstance(found, list):
            return None
        return any(_value(item, "00080018") == sop_instance_uid for item in found)  # a server may ignore the key

    def send(self, outgoing: Outgoing) -> Answer:
        """Send one instance. Raises `InstanceFault` when there is nothing that may be sent."""
        product = outgoing.as_wanted()
        boundary = secrets.token_hex(16)  # cannot be guessed, so that no file holds it
        # Without a transfer-syntax parameter, which the file itself has: Orthanc 1.10 skips such a part, and answers 200.
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n"
        headers = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}'}
        with product.path.open("rb") as file:
            body = Body(BytesIO(head.encode()), file, BytesIO(f"\r\n--{boundary}--\r\n".encode()))
            try:
                said = self._http.post("studies", body, headers)
            except unanswered() as error:
                answer = broken(error, body, product.transfer_syntax)
            else:
                verdict, text = judged(said, product.sop_instance_uid)
                answer = Answer(verdict, text, said.status, product.transfer_syntax)
        text = answer.text + deviation(outgoing, product) if answer.verdict in ("delivered", "warning") else answer.text
        sent_as = product.sop_instance_uid if answer.sent_syntax is not None else None
        return replace(answer, text=text, sent_sop_instance_uid=sent_as)

    def _queried(self, path: str, keys: dict[str, str]) -> Said:
        try:
            return self._http.get(path, keys)
        except OSError as error:
            raise DestinationFault(f"{self._url} could not be reached: {why(error)}") from error


def judged(said: Said, sop_instance_uid: str) -> tuple[Verdict, str]:
    """Judge the answer to a STOW-RS request (PS3.18 §10.5.3) for the one instance that was sent; return it in words too.

    Only an answer that names the instance among the stored ones, and not among the failed ones, is a delivery, whatever its status.
    """
    answer = said.json() if said.is_good or said.status in (400, 409) else None
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    failed = [item for item in _items(answer, FAILED) if _value(item, _SOP_INSTANCE) == sop_instance_uid]
    stored = [item for item in _items(answer, REFERENCED) if _value(item, _SOP_INSTANCE) == sop_instance_uid]
    if failed:
        return _refused(_code(failed[0], _FAILURE), said)
    if others := list(_items(answer, OTHER_FAILURES)):  # of what it could not even name; only one was sent
        return _refused(_code(others[0], _FAILURE), said)
    if not said.is_good:
        return faults.of_http(said.status), said.in_words()
    if not stored:
        return "later", f"the server answered {said.status}, which does not say that it stored this instance"
    if _WARNING in stored[0]:
        warning = _code(stored[0], _WARNING)
        if warning is None or statuses.category(warning) != "success":
            return (
                "warning",
                f"stored with a warning: {statuses.describe(warning) if warning is not None else 'without a reason'}",
            )
    return "delivered", "stored"


def _refused(reason: int | None, said: Said) -> tuple[Verdict, str]:
    if reason is None:
        return "later", f"the server answered {said.status} and that the instance failed, without a reason"
    verdict = faults.of_status(reason)
    if reason == 0 or verdict == "warning":
        return "later", f"the server says that the instance failed, for the reason {statuses.describe(reason)}"
    return verdict, f"the server says {statuses.describe(reason)}"


def _items(answer: Any, sequence: str) -> Iterator[dict[str, Any]]:
    element = answer.get(sequence) if isinstance(answer, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    yield from (item for item in values or () if isinstance(item, dict)) if isinstance(values, list) else ()


def _value(item: Any, tag: str) -> Any:
    element = item.get(tag) if isinstance(item, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    value = values[0] if isinstance(values, list) and values else None
    return value.rstrip("\0 ") if isinstance(value, str) else value


def _code(item: dict[str, Any], tag: str) -> int | None:
    value = _value(item, tag)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        return int(value) & 0xFFFF
    except ValueError:
        return None
