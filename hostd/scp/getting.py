"""C-GET (PS3.4 §C.4.3): what is asked for is sent on the association on which it is asked for, where the peer is SCP of storage."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager

from hostd.delivery import faults
from hostd.delivery.destinations import Answer, Outgoing, deviation
from hostd.delivery.destinations.modality import fitting, foreseen
from hostd.delivery.negotiation import UNCOMPRESSED
from hostd.dicom import data_sets, part10
from hostd.dicom.retrieve import GETS
from hostd.dicom.statuses import describe
from hostd.dicom.syntaxes import BY_UID
from hostd.dimse import commands
from hostd.dimse.data_sets import DataSetReader
from hostd.errors import InstanceFault
from hostd.scp.access import Act
from hostd.scp.retrieve import Retriever
from hostd.scp.services import Exchange, Response
from hostd.transcoding.transform import Transform

_MESSAGE_IDS = 0xFFFF


class GetService:
    """Answers C-GET. `caller_of` names the modality that asks, None for somebody else; `transcodes` tells whether what it gets may be transcoded."""

    act: Act = "get"
    command = commands.C_GET_RQ
    sop_classes = GETS
    syntaxes = data_sets.SYNTAXES

    def __init__(
        self,
        retriever: Retriever,
        caller_of: Callable[[str, str], str | None],
        transcodes: Callable[[str | None], bool],
    ) -> None:
        self._retriever = retriever
        self._caller_of = caller_of
        self._transcodes = transcodes

    def answer(self, exchange: Exchange) -> Generator[Response]:
        """Send what is asked for, and report on it. Raises `Refusal`."""
        aet = exchange.origin.calling_aet or ""
        modality = self._caller_of(aet, exchange.origin.ip or "")
        destination = f"modality:{modality}" if modality else f"caller:{aet}"
        way = _OnAssociation(exchange, destination, may_transcode=self._transcodes(modality))
        yield from self._retriever.carry_out(exchange, "get", way)


class _OnAssociation:
    """The presentation contexts of the association of which the peer is SCP."""

    def __init__(self, exchange: Exchange, destination: str, *, may_transcode: bool) -> None:
        self.destination = destination
        self._exchange = exchange
        self._association = exchange.association
        self._may_transcode = may_transcode
        self._message_id = exchange.command.message_id
        self._contexts: dict[str, dict[str, int]] = {}
        for context in self._association.contexts.values():
            if context.peer_serves:
                by_syntax = self._contexts.setdefault(context.abstract_syntax, {})
                by_syntax.setdefault(context.transfer_syntax, context.id)

    @contextmanager
    def open(self, representatives: Sequence[Outgoing]) -> Iterator[None]:  # noqa: ARG002 - what it can take was negotiated
        """Nothing is to be opened."""
        yield

    def foresee(self, outgoing: Outgoing) -> Transform | None:
        """Return what would have to be made to send it."""
        accepted = self._contexts.get(outgoing.delivery.sop_class_uid, {})
        return foreseen(outgoing, accepted, self._fallbacks(accepted))

    def send(self, outgoing: Outgoing) -> Answer:
        """Send one instance by C-STORE, and wait for the answer."""
        sop_class = outgoing.delivery.sop_class_uid
        accepted = self._contexts.get(sop_class, {})
        if not accepted:
            raise InstanceFault(
                f"who asked proposed no presentation context of SOP class {sop_class} in which it is SCP"
            )
        product = fitting(outgoing, accepted, self._fallbacks(accepted))
        self._message_id = self._message_id % _MESSAGE_IDS + 1
        context = accepted[product.transfer_syntax]
        request = commands.store_request(
            message_id=self._message_id, sop_class_uid=sop_class, sop_instance_uid=product.sop_instance_uid, priority=0
        )
        with product.path.open("rb", buffering=0) as file:
            start = part10.start_of(file.fileno())
            length = os.fstat(file.fileno()).st_size - start.offset
            file.seek(start.offset)
            reader = DataSetReader(file, length, product.sop_instance_uid)
            self._association.send_data_set(context, reader.readinto, command=request)
        answer = self._exchange.response_to(self._message_id)
        status = answer.number(commands.STATUS)
        if status is None:
            return Answer("later", "the answer has no status", None, product.transfer_syntax)
        comment = answer.text(commands.ERROR_COMMENT)
        text = f"{describe(status)}: {comment}" if comment else describe(status)
        return Answer(faults.of_status(status), text + deviation(outgoing, product), status, product.transfer_syntax)

    def _fallbacks(self, accepted: Iterable[str]) -> tuple[str, ...]:
        """Return what an instance may be brought to: uncompressed, or else what loses nothing."""
        if not self._may_transcode:
            return ()
        lossless = (uid for uid in accepted if uid in BY_UID and not BY_UID[uid].is_lossy)
        return tuple(dict.fromkeys((*UNCOMPRESSED, *lossless)))
