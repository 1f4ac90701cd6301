"""A destination that speaks DICOM: C-STORE over an association (PS3.4 Annex B)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

import structlog

from hostd.archive.deliveries import PRIORITIES
from hostd.config.sections import Delivery
from hostd.config.sections import Modality as Section
from hostd.delivery import examination, faults
from hostd.delivery.destinations import Answer, Outgoing, deviation
from hostd.delivery.learning import Learnt
from hostd.delivery.negotiation import (
    UNCOMPRESSED,
    Context,
    candidates,
    contexts_of,
    no_common_syntax,
    plan_associations,
)
from hostd.dicom import commitment, part10, query, statuses, syntaxes
from hostd.dicom.commitment import Reference, Report
from hostd.dicom.identity import Identity
from hostd.dicom.syntaxes import EXPLICIT_LE, lookup
from hostd.dimse import retrieval, scu
from hostd.dimse.associate import CONTEXTS_LIMIT
from hostd.dimse.commands import CommandSet, Originator
from hostd.dimse.errors import DimseError
from hostd.dimse.reports import report_status
from hostd.dimse.tls import Tls
from hostd.errors import AssociationError, ConfigurationError, DestinationFault, InstanceFault, NoCommonSyntaxError
from hostd.transcoding.stored import Product
from hostd.transcoding.transform import Transform

_REPORT_WAIT_S = 2.0
"""Seconds for which the association of a request is kept for its report; most peers report on one of their own."""
_QUERIES: tuple[Context, ...] = tuple((root, query.SYNTAXES) for root in query.ROOTS)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """How an association is asked for, where the settings are not to hold."""

    calling_aet: str | None = None
    timeout_s: float | None = None

    @classmethod
    def of(cls, outgoing: Outgoing) -> Self:
        """Return how the association is to be asked for on which an instance is sent."""
        manner = outgoing.manner
        return cls(manner.calling_aet, manner.timeout_s)


class Modality:
    """A modality of the configuration.

    `prefer` is the UID of the transfer syntax that an instance is brought to when the peer does not accept the one it has; after it
    come the uncompressed ones. `transcode` off: it is sent as it is or not at all. `require` is the UID of the only one that is sent.
    With `looks` it can be asked by C-FIND what it has, on the same associations. Waits are in seconds.
    """

    def __init__(
        self,
        name: str,
        *,
        aet: str,
        host: str,
        port: int,
        calling_aet: str,
        timeout_s: float = 30.0,
        connect_timeout_s: float = 10.0,
        prefer: str = EXPLICIT_LE.uid,
        require: str | None = None,
        transcode: bool = True,
        tls: Tls | None = None,
        looks: bool = False,
    ) -> None:
        self.name = f"modality:{name}"
        self.aet = aet
        self.host = host
        self.calling_aet = calling_aet
        self._port = port
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self.learnt = Learnt()
        self._require = require
        self._tls = tls
        self.queries: tuple[Context, ...] = _QUERIES if looks else ()
        """Presentation contexts for asking what it has, beside those for sending."""
        self._fallbacks = tuple(dict.fromkeys((prefer, *UNCOMPRESSED))) if transcode else ()

    def connect(self, batch: Sequence[Outgoing], originator: Originator | None = None) -> ModalitySession:
        """Make an association that proposes what the batch needs; `originator` names the C-MOVE that asked for it. Raises `DestinationFault`."""
        limit = CONTEXTS_LIMIT - len(self.queries)
        calls: dict[Call, list[Outgoing]] = {}
        for outgoing in batch:
            calls.setdefault(Call.of(outgoing), []).append(outgoing)
        return ModalitySession(
            self,
            [
                (group, contexts, call)
                for call, some in calls.items()
                for group, contexts in plan_associations(some, self._fallbacks, self._require, limit)
            ],
            originator,
        )

    def examine(self) -> list[str]:
        """Ask by C-ECHO whether it answers, and by the contexts of an association what it accepts. Raises `DestinationFault`."""
        return examination.examine(self.associate)

    def echo(self) -> None:
        """Ask by C-ECHO whether it answers (PS3.4 Annex A). Raises `DestinationFault` when it does not, or says no."""
        with self.associate([(scu.VERIFICATION, UNCOMPRESSED)]) as association:
            try:
                status = association.echo()
            except DimseError as error:
                raise DestinationFault(str(error)) from error
        if status != statuses.SUCCESS:
            raise DestinationFault(f"the C-ECHO was answered {statuses.describe(status)}")

    def associate(self, contexts: Sequence[Context], call: Call | None = None) -> scu.Requestor:
        """Make one association to send on, as the settings say where `call` does not. Raises `DestinationFault`."""
        call = call or Call()
        association = self.call(contexts, timeout_s=call.timeout_s, calling_aet=call.calling_aet)
        self.learnt.note(contexts, association.accepted)
        return association

    def call(
        self,
        contexts: Sequence[Context],
        *,
        served: Collection[str] = (),
        timeout_s: float | None = None,
        calling_aet: str | None = None,
    ) -> scu.Requestor:
        """Make one association for whatever it is, as the SCP of the SOP classes that are `served`. Raises `DestinationFault`.

        Its answers are waited for `timeout_s`, absent as long as for others; `calling_aet` is who calls, absent who always does.
        """
        patience = self._timeout_s if timeout_s is None else timeout_s
        try:
            return scu.connect(
                self.host,
                self._port,
                calling_aet=calling_aet or self.calling_aet,
                called_aet=self.aet,
                contexts=contexts,
                connect_timeout_s=min(self._connect_timeout_s, patience),
                timeout_s=patience,
                tls=self._tls,
                served=served,
            )
        except (AssociationError, ConfigurationError) as error:
            raise DestinationFault(str(error)) from error

    def ask_commitment(
        self, transaction: str, references: Sequence[Reference], on_report: Callable[[Report], bool]
    ) -> None:
        """Ask for storage commitment (PS3.4 §J.3.2), and stay a little for a report that comes at once. Raises `DestinationFault`."""

        def on_event(command: CommandSet, syntax: str, data: bytes) -> int:
            return report_status(command, syntax, data, on_report)

        with self.associate([(commitment.PUSH_MODEL, commitment.SYNTAXES)]) as association:
            try:
                status = association.action(
                    commitment.PUSH_MODEL,
                    commitment.INSTANCE,
                    commitment.REQUEST,
                    lambda syntax: commitment.encode_request(transaction, references, syntax),
                    on_event,
                )
            except DimseError as error:
                raise DestinationFault(str(error)) from error
            if status != statuses.SUCCESS:
                raise DestinationFault(f"the request for storage commitment was answered {statuses.describe(status)}")
            with contextlib.suppress(DimseError):  # the request was taken: its report may come on another association
                association.listen(_REPORT_WAIT_S, on_event)

    def report_commitment(
        self,
        transaction: str,
        committed: Sequence[Reference],
        failed: Sequence[tuple[Reference, int]],
        calling_aet: str | None,
    ) -> int:
        """Report on a transaction of storage commitment that it asked for, called as `calling_aet`; return the status of its answer.

        `failed` have their reasons (PS3.4 §J.3.3). Raises `DestinationFault`.
        """
        contexts = [(commitment.PUSH_MODEL, commitment.SYNTAXES)]
        with self.call(contexts, served=[commitment.PUSH_MODEL], calling_aet=calling_aet) as association:
            try:
                answer = association.event_report(
                    commitment.PUSH_MODEL,
                    commitment.INSTANCE,
                    commitment.WITH_FAILURES if failed else commitment.SUCCESSFUL,
                    lambda syntax: commitment.encode_report(transaction, committed, failed, syntax),
                )
            except DimseError as error:
                raise DestinationFault(str(error)) from error
        return answer.status

    def contexts_of(self, outgoing: Outgoing) -> list[Context]:
        """Return the presentation contexts that an instance needs."""
        return contexts_of(outgoing, self._fallbacks, self._require)

    def product(self, outgoing: Outgoing, accepted: Collection[str]) -> Product:
        """Return what to send of an instance to a peer that accepts these transfer syntaxes for its SOP class; see `fitting`."""
        return fitting(outgoing, accepted, self._fallbacks, self._require)

    def foresee(self, outgoing: Outgoing, accepted: Collection[str]) -> Transform | None:
        """Return what `product` would have to make first; see `foreseen`."""
        return foreseen(outgoing, accepted, self._fallbacks, self._require)


def fitting(
    outgoing: Outgoing, accepted: Collection[str], fallbacks: Sequence[str], require: str | None = None
) -> Product:
    """Return what to send of an instance to a peer that accepts these transfer syntaxes for its SOP class.

    `fallbacks` are those that it may be brought to, the best first; `require` the only one that may be sent. Raises `NoCommonSyntaxError` when
    there is none that both can do, or another `InstanceFault` when it could not be made.
    """
    hindrances = []
    for syntax in candidates(outgoing, fallbacks, require):
        if syntax not in accepted:
            continue
        try:
            product = _made(outgoing, syntax)
            if fallbacks and outgoing.transform.is_foretold and product.transfer_syntax not in accepted:
                product = outgoing.in_syntax(syntax)  # another one was made than was foreseen
        except InstanceFault as fault:
            hindrances.append(str(fault))
            continue
        if product.transfer_syntax in accepted:
            return product
        hindrances.append(product.reason or f"what was made of it is in {syntaxes.named(product.transfer_syntax)}")
    text = no_common_syntax(outgoing, accepted, hindrances, require)
    raise InstanceFault(text) if hindrances else NoCommonSyntaxError(text)


def foreseen(
    outgoing: Outgoing, accepted: Collection[str], fallbacks: Sequence[str], require: str | None = None
) -> Transform | None:
    """Return what `fitting` would ask for first, None where that is nothing, or no more than what the delivery itself asks for."""
    syntax = next((one for one in candidates(outgoing, fallbacks, require) if one in accepted), None)
    if syntax in (None, outgoing.own_syntax, outgoing.wanted_syntax):
        return None
    return outgoing.to_syntax(syntax)


def configured(name: str, section: Section) -> Modality:
    """Return the modality that a section of the configuration describes."""
    tls = Tls(
        ca_file=section.ca_file,
        client_certificate=section.client_certificate,
        minimum=section.tls_minimum,
        name=section.tls_name,
        check_name=section.tls_check_name,
    )
    return Modality(
        name,
        host=section.host,
        port=section.port,
        aet=section.aet,
        calling_aet=section.calling_aet or Delivery().calling_aet,
        timeout_s=section.timeout_s,
        prefer=section.preferred_syntax.uid,
        require=lookup(section.require).uid if section.require else None,
        transcode=section.allow_transcoding,
        tls=tls if section.tls else None,
        looks=section.skips_present,
    )


SECTION = Section


class ModalitySession:
    """The association for a batch; one after another, where the batch needs more presentation contexts than one can have."""

    def __init__(
        self,
        modality: Modality,
        plan: Sequence[tuple[Sequence[Outgoing], Sequence[Context], Call]],
        originator: Originator | None = None,
    ) -> None:
        self._modality = modality
        self._originator = originator
        self._wanted = {outgoing.delivery.id: (contexts, call) for group, contexts, call in plan for outgoing in group}
        _, self._current, self._call = plan[0]
        self._queries = modality.queries
        self._association = modality.associate([*self._current, *self._queries], self._call)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._association.__exit__(kind, error, traceback)

    @property
    def is_open(self) -> bool:
        """Whether another instance can be sent on this association."""
        return self._association.is_open

    def takes(self, outgoing: Outgoing) -> bool:
        """Tell whether this association proposed all that the instance may need, but for what the peer has refused lately."""
        missing = self._missing(outgoing)
        if Call.of(outgoing) != self._call:
            return False
        return len(missing) < len(self._modality.contexts_of(outgoing)) and all(
            map(self._modality.learnt.refuses, missing)
        )

    def _missing(self, outgoing: Outgoing) -> list[Context]:
        """Return what the instance may need and this association did not propose."""
        return [context for context in self._modality.contexts_of(outgoing) if context not in self._current]

    def send(self, outgoing: Outgoing) -> Answer:
        """Send one instance by C-STORE. Raises `InstanceFault` where nothing fits, `DestinationFault` as `connect` does."""
        contexts, call = self._wanted.get(outgoing.delivery.id, (self._current, self._call))
        if contexts is not self._current or call != self._call:
            self._association.release()
            self._call = call
            self._associate(contexts)
        try:
            product = self._modality.product(outgoing, self._accepted(outgoing))
        except InstanceFault as fault:
            if self._missing(outgoing):  # what it was believed to refuse was not proposed: another association does
                raise NoCommonSyntaxError(str(fault)) from fault
            raise
        return self._store(outgoing, product)

    def foresee(self, outgoing: Outgoing) -> Transform | None:
        """Return what would have to be made of an instance to send it on this association."""
        return self._modality.foresee(outgoing, self._accepted(outgoing))

    def _accepted(self, outgoing: Outgoing) -> list[str]:
        sop_class = outgoing.delivery.sop_class_uid
        return [syntax for abstract, syntax in self._association.accepted if abstract == sop_class]

    def has(self, identity: Identity) -> bool | None:
        """Ask by C-FIND whether the peer has an instance; None when it does not answer that. Raises `DestinationFault`."""
        for root in query.ROOTS:
            if not any(abstract == root for abstract, _ in self._association.accepted):
                continue
            try:
                found = retrieval.find(self._association, root, partial(query.encode_instance, identity, root))
            except DimseError as error:
                _log.warning("a query broke the association; what it has is not asked", error=str(error))
                self._queries = ()
                self._associate(self._current)
                return None
            if found.status == statuses.SUCCESS:
                said = (query.sop_instance_uid(match, found.syntax) for match in found.matches)
                return identity.sop_instance_uid in said  # a peer may ignore the key
        return None

    def _associate(self, contexts: Sequence[Context]) -> None:
        self._current = contexts
        self._association = self._modality.associate([*contexts, *self._queries], self._call)

    def _store(self, outgoing: Outgoing, product: Product) -> Answer:
        delivery = outgoing.delivery
        with product.path.open("rb", buffering=0) as file:
            start = part10.start_of(file.fileno())
            length = os.fstat(file.fileno()).st_size - start.offset
            file.seek(start.offset)
            try:
                answer = self._association.store(
                    delivery.sop_class_uid,
                    product.sop_instance_uid,
                    product.transfer_syntax,
                    file,
                    length,
                    priority=_dimse_priority(delivery.priority),
                    originator=_originator(outgoing) or self._originator,
                )
            except DimseError as error:
                return _answer("later", str(error), None, product, lost=error.answer_lost)
        text = (
            f"{statuses.describe(answer.status)}: {answer.comment}"
            if answer.comment
            else statuses.describe(answer.status)
        )
        text += deviation(outgoing, product)
        return _answer(faults.of_status(answer.status), text, answer.status, product)


def _made(outgoing: Outgoing, syntax: str) -> Product:
    if syntax == outgoing.wanted_syntax:
        return outgoing.as_wanted()
    return outgoing.as_it_is() if syntax == outgoing.own_syntax else outgoing.in_syntax(syntax)


def _answer(verdict: faults.Verdict, text: str, status: int | None, product: Product, *, lost: bool = False) -> Answer:
    return Answer(verdict, text, status, product.transfer_syntax, lost, product.sop_instance_uid)


def _originator(outgoing: Outgoing) -> Originator | None:
    """Return the C-MOVE that whoever asked for a delivery says that it is of."""
    named = outgoing.manner.move_originator
    return Originator(*named) if named is not None else None


def _dimse_priority(priority: int) -> int:
    if priority == PRIORITIES["normal"]:
        return scu.PRIORITY_MEDIUM
    return scu.PRIORITY_HIGH if priority > PRIORITIES["normal"] else scu.PRIORITY_LOW
