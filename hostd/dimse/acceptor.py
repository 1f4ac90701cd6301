"""The accepting side of an association's beginning (PS3.8 §7.1.1, §9.2.3 Sta2 and Sta3).

Four steps, so that the caller can write down what it decides before the peer hears of it: read the request, judge it, negotiate,
answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext, build_context, negotiate_as_acceptor

from hostd.dicom.commitment import PUSH_MODEL
from hostd.dicom.syntaxes import IMPLICIT_LE
from hostd.dimse import rejection
from hostd.dimse.associate import APPLICATION_CONTEXT, Proposal, Request, decode_request, encode_acceptance
from hostd.dimse.association import Association, Context, read_abort
from hostd.dimse.errors import SERVICE_USER, ProtocolError
from hostd.dimse.pdu import Connection, PduType, name, reject_pdu
from hostd.dimse.rejection import Rejection

Chooser = Callable[[str, Sequence[str]], Sequence[str] | None]
"""(abstract syntax, proposed transfer syntaxes) → those acceptable, best first; None: the abstract syntax is not supported."""

_PROVIDER_REJECTION = 2
_RESULTS = {
    1: "refused by the user",
    _PROVIDER_REJECTION: "malformed",
    3: "the abstract syntax is not supported",
    4: "none of the transfer syntaxes is supported",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one proposed presentation context: its transfer syntax, or why it was refused."""

    id: int
    abstract_syntax: str
    transfer_syntax: str | None
    refused: str | None


@dataclass(frozen=True, slots=True)
class Negotiation:
    """The answer to all proposals."""

    outcomes: tuple[Outcome, ...]
    contexts: tuple[PresentationContext, ...]
    roles: tuple[SCP_SCU_RoleSelectionNegotiation, ...]


def read_request(connection: Connection, *, artim_s: float) -> Request:
    """Read the A-ASSOCIATE-RQ, which must have come completely before ARTIM expires (PS3.8 §9.1.5).

    Raises `ProtocolError` with the A-ABORT of action AA-1 for anything else, `AbortedError`, `TimedOutError`, `BrokenError`.
    """
    connection.limit(artim_s)
    try:
        pdu_type, length = connection.header()
        if pdu_type == PduType.A_ABORT:
            raise read_abort(connection, length)
        if pdu_type != PduType.A_ASSOCIATE_RQ:
            raise ProtocolError(f"the connection began with {name(pdu_type)} instead of A-ASSOCIATE-RQ")
        request = decode_request(connection.take(length))
    except ProtocolError as error:
        # AA-1: in this state the abort is always the service-user's (PS3.8 Table 9-8).
        raise ProtocolError(str(error), source=SERVICE_USER, reason=0) from error
    connection.limit(None)
    return request


def judge(request: Request, *, aets: Collection[str], check_called_aet: bool) -> Rejection | None:
    """Decide whether the association as a whole is rejected, and why."""
    if not request.protocol_version & 1:
        return rejection.PROTOCOL_VERSION_NOT_SUPPORTED
    if request.application_context != APPLICATION_CONTEXT:
        return rejection.APPLICATION_CONTEXT_NOT_SUPPORTED
    if not request.calling_aet:
        return rejection.CALLING_AET_NOT_RECOGNISED
    if check_called_aet and request.called_aet not in aets:
        return rejection.CALLED_AET_NOT_RECOGNISED
    if not request.proposals:
        return rejection.NO_REASON
    return None


def negotiate(request: Request, choose: Chooser) -> Negotiation:
    """Decide on each proposed context by itself, so that each keeps its own order of preference (PS3.8 §9.3.3.2)."""
    outcomes: list[Outcome] = []
    contexts: list[PresentationContext] = []
    roles: dict[str, SCP_SCU_RoleSelectionNegotiation] = {}
    for proposal in request.proposals:
        context, reply = _negotiate_one(proposal, request, choose)
        contexts.append(context)
        roles.update({str(role.sop_class_uid): role for role in reply})
        accepted = context.result == 0
        outcomes.append(
            Outcome(
                id=proposal.id,
                abstract_syntax=proposal.abstract_syntax,
                transfer_syntax=str(context.transfer_syntax[0]) if accepted else None,
                refused=None if accepted else _RESULTS.get(context.result, f"result {context.result}"),
            )
        )
    return Negotiation(tuple(outcomes), tuple(contexts), tuple(roles.values()))


def _negotiate_one(
    proposal: Proposal, request: Request, choose: Chooser
) -> tuple[PresentationContext, Sequence[SCP_SCU_RoleSelectionNegotiation]]:
    if not proposal.readable:
        # The transfer syntax of a refused context means nothing, but the item must have one (PS3.8 Table 9-18).
        context = build_context(proposal.abstract_syntax, [IMPLICIT_LE.uid])
        context.context_id = proposal.id
        context.result = _PROVIDER_REJECTION
        return context, ()
    proposed = build_context(proposal.abstract_syntax, list(proposal.transfer_syntaxes))
    proposed.context_id = proposal.id
    acceptable = choose(proposal.abstract_syntax, proposal.transfer_syntaxes)
    supported = []
    if acceptable is not None:
        ours = build_context(proposal.abstract_syntax, list(acceptable))
        # The requestor may be SCU, which is what it is without asking; hostd is the SCU of an association it accepted only where the
        # peer comes to report on what hostd asked it for (PS3.4 §J.3.3).
        ours.scu_role, ours.scp_role = True, proposal.abstract_syntax == PUSH_MODEL
        supported = [ours]
    (context,), reply = negotiate_as_acceptor([proposed], supported, request.user.roles)
    return context, reply


def accept(connection: Connection, request: Request, negotiation: Negotiation, *, max_pdu: int) -> Association:
    """Send the A-ASSOCIATE-AC; return the association."""
    connection.send(encode_acceptance(request, negotiation.contexts, negotiation.roles, max_pdu=max_pdu))
    contexts = {
        outcome.id: Context(outcome.id, outcome.abstract_syntax, outcome.transfer_syntax)
        for outcome in negotiation.outcomes
        if outcome.transfer_syntax is not None
    }
    return Association(connection, contexts, peer_max_pdu=request.user.max_pdu)


def reject(connection: Connection, why: Rejection) -> None:
    """Send the A-ASSOCIATE-RJ."""
    connection.send(reject_pdu(why.result, why.source, why.reason))
