"""A destination that speaks DICOM: C-STORE over an association (PS3.4 Annex B)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Sequence
from types import TracebackType
from typing import Self

from hostd.archive.deliveries import PRIORITIES
from hostd.config.sections import Delivery
from hostd.config.sections import Modality as Section
from hostd.delivery import examination, faults
from hostd.delivery.destinations import Answer, Outgoing, deviation, named
from hostd.dicom import commitment, part10, statuses
from hostd.dicom.commitment import Reference, Report
from hostd.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE, lookup
from hostd.dimse import scu
from hostd.dimse.associate import CONTEXTS_LIMIT
from hostd.dimse.commands import CommandSet
from hostd.dimse.errors import DimseError
from hostd.dimse.reports import report_status
from hostd.dimse.tls import Tls
from hostd.errors import AssociationError, ConfigurationError, DestinationFault, InstanceFault, NoCommonSyntaxError
from hostd.transcoding.products import Product

Context = tuple[str, tuple[str, ...]]
"""SOP class and transfer syntaxes of a proposed presentation context, as UIDs."""

_REPORT_WAIT_S = 2.0
"""Seconds for which the association of a request is kept for its report; most peers report on one of their own."""
_UNCOMPRESSED = (EXPLICIT_LE.uid, IMPLICIT_LE.uid)


class Modality:
    """A modality of the configuration.

    `prefer` is the UID of the transfer syntax that an instance is brought to when the peer does not accept the one it has; after it
    come the uncompressed ones. `transcode` off: it is sent as it is or not at all. `require` is the UID of the only one that is sent.
    Waits are in seconds.
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
    ) -> None:
        self.name = f"modality:{name}"
        self._aet = aet
        self._host = host
        self._port = port
        self._calling_aet = calling_aet
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self.learnt: dict[str, tuple[str, ...]] = {}
        """SOP class → the transfer syntaxes that the peer accepted for it when it was last asked, as UIDs."""
        self._require = require
        self._tls = tls
        self._fallbacks = tuple(dict.fromkeys((prefer, *_UNCOMPRESSED))) if transcode else ()

    def connect(self, batch: Sequence[Outgoing]) -> ModalitySession:
        """Make an association that proposes what the batch needs. Raises `DestinationFault`."""
        return ModalitySession(self, plan_associations(batch, self._fallbacks, self._require))

    def examine(self) -> list[str]:
        """Ask by C-ECHO whether it answers, and by the contexts of an association what it accepts. Raises `DestinationFault`."""
        return examination.examine(self.associate)

    def associate(self, contexts: Sequence[Context]) -> scu.Requestor:
        """Make one association. Raises `DestinationFault`."""
        try:
            association = scu.connect(
                self._host,
                self._port,
                calling_aet=self._calling_aet,
                called_aet=self._aet,
                contexts=contexts,
                connect_timeout_s=self._connect_timeout_s,
                timeout_s=self._timeout_s,
                tls=self._tls,
            )
        except (AssociationError, ConfigurationError) as error:
            raise DestinationFault(str(error)) from error
        asked = dict.fromkeys(sop_class for sop_class, _ in contexts)
        self.learnt |= {sop_class: tuple(s for c, s in association.accepted if c == sop_class) for sop_class in asked}
        return association

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

    def contexts_of(self, outgoing: Outgoing) -> list[Context]:
        """Return the presentation contexts that an instance needs."""
        return contexts_of(outgoing, self._fallbacks, self._require)

    def product(self, outgoing: Outgoing, accepted: Collection[str]) -> Product:
        """Return what to send of an instance to a peer that accepts these transfer syntaxes for its SOP class.

        Raises `NoCommonSyntaxError` when there is none that both can do, or another `InstanceFault` when it could not be made.
        """
        hindrances = []
        for syntax in candidates(outgoing, self._fallbacks, self._require):
            if syntax not in accepted:
                continue
            try:
                product = _made(outgoing, syntax)
                if self._fallbacks and outgoing.transform.is_foretold and product.transfer_syntax not in accepted:
                    product = outgoing.in_syntax(syntax)  # another one was made than was foreseen
            except InstanceFault as fault:
                hindrances.append(str(fault))
                continue
            if product.transfer_syntax in accepted:
                return product
            hindrances.append(product.reason or f"what was made of it is in {named(product.transfer_syntax)}")
        text = _no_common_syntax(outgoing, accepted, hindrances, self._require)
        raise InstanceFault(text) if hindrances else NoCommonSyntaxError(text)


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
    )


SECTION = Section


class ModalitySession:
    """The association for a batch; one after another, where the batch needs more presentation contexts than one can have."""

    def __init__(self, modality: Modality, plan: Sequence[tuple[Sequence[Outgoing], Sequence[Context]]]) -> None:
        self._modality = modality
        self._contexts = {outgoing.delivery.id: contexts for group, contexts in plan for outgoing in group}
        self._current = plan[0][1]
        self._association = modality.associate(self._current)

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
        """Tell whether this association proposed all that the instance may need."""
        wanted = self._modality.contexts_of(outgoing)
        return all(context in self._current for context in wanted)

    def send(self, outgoing: Outgoing) -> Answer:
        """Send one instance by C-STORE. Raises `InstanceFault` where nothing fits, `DestinationFault` as `connect` does."""
        contexts = self._contexts.get(outgoing.delivery.id, self._current)
        if contexts is not self._current:
            self._association.release()
            self._current = contexts
            self._association = self._modality.associate(contexts)
        sop_class = outgoing.delivery.sop_class_uid
        accepted = [syntax for abstract, syntax in self._association.accepted if abstract == sop_class]
        product = self._modality.product(outgoing, accepted)
        return self._store(outgoing, product)

    def _store(self, outgoing: Outgoing, product: Product) -> Answer:
        delivery = outgoing.delivery
        with product.path.open("rb") as file:
            start = part10.data_set_offset(file)
            length = file.seek(0, 2) - start.offset
            file.seek(start.offset)
            try:
                answer = self._association.store(
                    delivery.sop_class_uid,
                    product.sop_instance_uid,
                    product.transfer_syntax,
                    file,
                    length,
                    priority=_dimse_priority(delivery.priority),
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


def candidates(outgoing: Outgoing, fallbacks: Sequence[str], require: str | None = None) -> tuple[str, ...]:
    """Return the transfer syntaxes that an instance may be sent in, the best first.

    What was asked for; then its own, unless what was asked for must be; then those it may be brought to, `fallbacks`. With `require`
    that one only, or none.
    """
    if not outgoing.may_go_otherwise:
        return (outgoing.wanted_syntax,) if require in (None, outgoing.wanted_syntax) else ()
    if require is not None:
        return (require,)
    return tuple(dict.fromkeys((outgoing.wanted_syntax, outgoing.own_syntax, *fallbacks)))


def contexts_of(outgoing: Outgoing, fallbacks: Sequence[str], require: str | None = None) -> list[Context]:
    """Return the presentation contexts to propose for one instance.

    A peer chooses one syntax of a context, so what may have to be sent compressed has contexts of its own; the uncompressed ones
    share one.
    """
    sop_class = outgoing.delivery.sop_class_uid
    if require is not None:
        return [(sop_class, (require,))]
    last = {outgoing.wanted_syntax, outgoing.own_syntax}
    found: list[Context] = [
        (sop_class, (syntax,))
        for syntax in candidates(outgoing, fallbacks)
        if syntax in last or syntax not in _UNCOMPRESSED
    ]
    if fallbacks and outgoing.may_go_otherwise:
        found.append((sop_class, _UNCOMPRESSED))
    return found


def plan_associations(
    batch: Iterable[Outgoing], fallbacks: Sequence[str], require: str | None = None
) -> list[tuple[list[Outgoing], list[Context]]]:
    """Divide a batch into associations of at most 128 presentation contexts (PS3.8 §9.3.2.2), in the order of the batch."""
    plan: list[tuple[list[Outgoing], list[Context]]] = []
    for outgoing in batch:
        wanted = contexts_of(outgoing, fallbacks, require)
        if plan:
            group, contexts = plan[-1]
            added = [context for context in wanted if context not in contexts]
            if len(contexts) + len(added) <= CONTEXTS_LIMIT:
                group.append(outgoing)
                contexts.extend(added)
                continue
        plan.append(([outgoing], wanted))
    return plan


def _made(outgoing: Outgoing, syntax: str) -> Product:
    if syntax == outgoing.wanted_syntax:
        return outgoing.as_wanted()
    return outgoing.as_it_is() if syntax == outgoing.own_syntax else outgoing.in_syntax(syntax)


def _no_common_syntax(
    outgoing: Outgoing, accepted: Collection[str], hindrances: Sequence[str], require: str | None
) -> str:
    peer = f"for SOP class {outgoing.delivery.sop_class_uid} the peer accepts {_listed(accepted)}"
    mine = f"the instance is in {named(outgoing.stored_syntax)}"
    if outgoing.wanted_syntax != outgoing.stored_syntax:
        mine += f" and is wanted in {named(outgoing.wanted_syntax)}"
    if require is not None:
        mine += f", and {named(require)} is required for this destination"
    if not hindrances:
        return f"no common transfer syntax: {peer}, {mine}"
    return f"{'; '.join(dict.fromkeys(hindrances))} ({peer}, {mine})"


def _answer(verdict: faults.Verdict, text: str, status: int | None, product: Product, *, lost: bool = False) -> Answer:
    return Answer(verdict, text, status, product.transfer_syntax, lost, product.sop_instance_uid)


def _dimse_priority(priority: int) -> int:
    if priority == PRIORITIES["normal"]:
        return scu.PRIORITY_MEDIUM
    return scu.PRIORITY_HIGH if priority > PRIORITIES["normal"] else scu.PRIORITY_LOW


def _listed(uids: Collection[str]) -> str:
    return ", ".join(named(uid) for uid in dict.fromkeys(uids)) or "nothing"
