"""C-MOVE (PS3.4 §C.4.2): what is asked for is sent to a configured modality, over one association."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager

from hostd.delivery.destinations import Answer, Outgoing
from hostd.delivery.destinations.modality import Modality, ModalitySession
from hostd.dicom import data_sets, statuses
from hostd.dicom.retrieve import MOVES
from hostd.dimse import commands
from hostd.dimse.commands import Originator
from hostd.errors import DestinationFault, NoCommonSyntaxError
from hostd.scp.access import Act
from hostd.scp.retrieve import Retriever
from hostd.scp.services import Exchange, Refusal, Response
from hostd.transcoding.transform import Transform

FindModality = Callable[[str], Modality | None]
"""AE title → the configured modality of it, None when there is none."""

_BREAKS = 3
"""How many associations in a row may break, or not be made, until the rest is given up."""


class MoveService:
    """Answers C-MOVE. `modality_of` tells where an AE title is."""

    act: Act = "move"
    command = commands.C_MOVE_RQ
    sop_classes = MOVES
    syntaxes = data_sets.SYNTAXES

    def __init__(self, retriever: Retriever, modality_of: FindModality) -> None:
        self._retriever = retriever
        self._modality_of = modality_of

    def answer(self, exchange: Exchange) -> Generator[Response]:
        """Send what is asked for, and report on it. Raises `Refusal`."""
        aet = exchange.command.text(commands.MOVE_DESTINATION)
        modality = self._modality_of(aet) if aet else None
        if modality is None:
            comment = f"{aet!r} is no configured modality" if aet else "the request has no Move Destination"
            raise Refusal(statuses.MOVE_DESTINATION_UNKNOWN, comment)
        originator = Originator(exchange.origin.calling_aet or "", exchange.command.message_id)
        yield from self._retriever.carry_out(exchange, "move", _ToModality(modality, originator))


class _ToModality:
    """Associations with a modality, one at a time, kept as long as they are good."""

    def __init__(self, modality: Modality, originator: Originator) -> None:
        self._modality = modality
        self._originator = originator
        self._session: ModalitySession | None = None
        self._broken = 0
        self.destination = modality.name

    @contextmanager
    def open(self, representatives: Sequence[Outgoing]) -> Iterator[None]:
        """Make the association that these need."""
        if representatives:
            self._session = self._modality.connect(representatives, self._originator)
        try:
            yield
        except BaseException as error:
            self._leave(type(error), error)
            raise
        self._leave()

    def _leave(self, kind: type[BaseException] | None = None, error: BaseException | None = None) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.__exit__(kind, error, None)

    def foresee(self, outgoing: Outgoing) -> Transform | None:
        """Return what would have to be made to send it on the association that there is."""
        return self._session.foresee(outgoing) if self._session is not None else None

    def send(self, outgoing: Outgoing) -> Answer:
        """Send one instance; where the association has broken, or does not have what it needs, over another."""
        if self._session is None or not self._session.is_open:
            self._reconnect(outgoing)
        assert self._session is not None
        try:
            answer = self._session.send(outgoing)
        except NoCommonSyntaxError:
            if self._session.takes(outgoing):
                raise  # it was all proposed
            self._reconnect(outgoing)
            answer = self._session.send(outgoing)
        self._broken = 0 if self._session.is_open else self._broken + 1
        if self._broken >= _BREAKS:
            raise DestinationFault(f"the association broke {_BREAKS} times in a row: {answer.text}")
        return answer

    def _reconnect(self, outgoing: Outgoing) -> None:
        self._leave()
        self._session = self._modality.connect([outgoing], self._originator)
