"""The accepting side of an association's beginning (PS3.8 §7.1.1, §9.2.3 Sta2 and Sta3).

Four steps, so that the caller can write down what it decides before the peer hears of it: read the request, judge it, negotiate,
answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hostd.dicom.commitment import PUSH_MODEL
from hostd.dicom.syntaxes import IMPLICIT_LE
from hostd.dimse import rejection
from hostd.dimse.associate import APPLICATION_CONTEXT, Answered, Proposal, Request, decode_request, encode_acceptance
from hostd.dimse.association import Association, Context, read_abort
from hostd.dimse.errors import SERVICE_USER, ProtocolError
from hostd.dimse.pdu import Connection, PduType, name, reject_pdu
from hostd.dimse.rejection import Rejection


@dataclass(frozen=True, slots=True)
class Refused:
    """A presentation context that would be supported is refused to this peer (result 1, user-rejection)."""

    why: str


Chooser = Callable[[str, Sequence[str]], Sequence[str] | Refused | None]
"""(abstract syntax, proposed transfer syntaxes) → those acceptable, best first; None: the abstract syntax is not supported."""

_USER_REJECTION, _PROVIDER_REJECTION, _NO_ABSTRACT_SYNTAX, _NO_TRANSFER_SYNTAX = 1, 2, 3, 4
_RESULTS = {
    _USER_REJECTION: "refused by the user",
    _PROVIDER_REJECTION: "malformed",
    _NO_ABSTRACT_SYNTAX: "the abstract syntax is not supported",
    _NO_TRANSFER_SYNTAX: "none of the transfer syntaxes is supported",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one proposed presentation context: its transfer syntax, or why it was refused. `peer_serves`, `peer_uses`: as of `Context`."""

    id: int
    abstract_syntax: str
    transfer_syntax: str | None
    refused: str | None
    peer_serves: bool = False
    peer_uses: bool = True


@dataclass(frozen=True, slots=True)
class Negotiation:
    """The answer to all proposals."""

    outcomes: tuple[Outcome, ...]
    contexts: tuple[Answered, ...]
    roles: dict[str, tuple[bool, bool]]
    """SOP class → (requestor as SCU, requestor as SCP), of those for which a role was proposed."""
    extended: dict[str, bytes]
    """SOP class → what is agreed on of it, where that was proposed (PS3.7 §D.3.3.5)."""


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


def judge(request: Request, *, is_called: Callable[[str], bool]) -> Rejection | None:
    """Decide whether the association as a whole is rejected, and why. `is_called` tells whether a called AE title is answered to."""
    if not request.protocol_version & 1:
        return rejection.PROTOCOL_VERSION_NOT_SUPPORTED
    if request.application_context != APPLICATION_CONTEXT:
        return rejection.APPLICATION_CONTEXT_NOT_SUPPORTED
    if not request.calling_aet:
        return rejection.CALLING_AET_NOT_RECOGNISED
    if not is_called(request.called_aet):
        return rejection.CALLED_AET_NOT_RECOGNISED
    if not request.proposals:
        return rejection.NO_REASON
    return None


def _reports(abstract_syntax: str) -> bool:
    return abstract_syntax == PUSH_MODEL


def _anything(_abstract_syntax: str, _transfer_syntax: str) -> bool:
    return True


def _unanswered(_abstract_syntax: str, _proposed: bytes) -> bytes:
    return b""


def negotiate(
    request: Request,
    choose: Chooser,
    *,
    may_serve: Callable[[str], bool] = _reports,
    may_use: Callable[[str, str], bool] = _anything,
    agree: Callable[[str, bytes], bytes] = _unanswered,
) -> Negotiation:
    """Decide on each proposed context by itself, so that each keeps its own order of preference (PS3.8 §9.3.3.2).

    `may_serve` tells for which abstract syntaxes the peer may be SCP, if it proposes that (PS3.7 §D.3.3.4): hostd is the SCU of an
    association it accepted where the peer comes to report on what hostd asked it for (PS3.4 §J.3.3), and where it gets instances by C-GET.
    `may_use` tells for which of those, in which transfer syntax, it may be SCU besides: what is accepted to be sent to it need not be taken from it.
    `agree` gives what is answered to the extended negotiation of a SOP class, b"" for nothing.
    """
    outcomes: list[Outcome] = []
    contexts: list[Answered] = []
    roles: dict[str, tuple[bool, bool]] = {}
    extended: dict[str, bytes] = {}
    for proposal in request.proposals:
        outcome, result = _negotiate_one(proposal, request, choose, may_serve, may_use)
        outcomes.append(outcome)
        # The transfer syntax of a refused context means nothing, but the item must have one (PS3.8 Table 9-18).
        proposed = proposal.transfer_syntaxes[0] if proposal.transfer_syntaxes else IMPLICIT_LE.uid
        contexts.append(Answered(proposal.id, result, outcome.transfer_syntax or proposed))
        asked = request.user.roles.get(proposal.abstract_syntax)
        if asked is not None and result == 0:
            was_scu = roles.get(proposal.abstract_syntax, (False, False))[0]
            roles[proposal.abstract_syntax] = was_scu or outcome.peer_uses, outcome.peer_serves
        proposed_of_class = request.user.extended.get(proposal.abstract_syntax, b"")
        if result == 0 and proposed_of_class and (agreed := agree(proposal.abstract_syntax, proposed_of_class)):
            extended[proposal.abstract_syntax] = agreed
    return Negotiation(tuple(outcomes), tuple(contexts), roles, extended)


def _negotiate_one(
    proposal: Proposal,
    request: Request,
    choose: Chooser,
    may_serve: Callable[[str], bool],
    may_use: Callable[[str, str], bool],
) -> tuple[Outcome, int]:
    """Return what becomes of a proposal, and the result for it."""
    abstract_syntax = proposal.abstract_syntax
    outcome = Outcome(proposal.id, abstract_syntax, None, None)
    if not proposal.readable:
        return replace(outcome, refused=_RESULTS[_PROVIDER_REJECTION]), _PROVIDER_REJECTION
    acceptable = choose(abstract_syntax, proposal.transfer_syntaxes)
    if isinstance(acceptable, Refused):
        return replace(outcome, refused=acceptable.why), _USER_REJECTION
    if acceptable is None:
        return replace(outcome, refused=_RESULTS[_NO_ABSTRACT_SYNTAX]), _NO_ABSTRACT_SYNTAX
    syntax = next((one for one in acceptable if one in proposal.transfer_syntaxes), None)
    if syntax is None:
        return replace(outcome, refused=_RESULTS[_NO_TRANSFER_SYNTAX]), _NO_TRANSFER_SYNTAX
    # The requestor may be SCU, which is what it is without asking.
    is_scu, wants_scp = request.user.roles.get(abstract_syntax, (True, False))
    peer_serves = wants_scp and may_serve(abstract_syntax)
    peer_uses = is_scu and (not peer_serves or may_use(abstract_syntax, syntax))
    if not peer_uses and not peer_serves:
        return replace(outcome, refused=_RESULTS[_USER_REJECTION]), _USER_REJECTION
    return replace(outcome, transfer_syntax=syntax, peer_serves=peer_serves, peer_uses=peer_uses), 0


def accept(connection: Connection, request: Request, negotiation: Negotiation, *, max_pdu: int) -> Association:
    """Send the A-ASSOCIATE-AC; return the association."""
    answer = encode_acceptance(
        request, negotiation.contexts, negotiation.roles, max_pdu=max_pdu, extended=negotiation.extended
    )
    connection.send(answer)
    extended = negotiation.extended
    contexts = {
        outcome.id: Context(
            outcome.id,
            outcome.abstract_syntax,
            outcome.transfer_syntax,
            outcome.peer_serves,
            outcome.peer_uses,
            extended.get(outcome.abstract_syntax, b""),
        )
        for outcome in negotiation.outcomes
        if outcome.transfer_syntax is not None
    }
    return Association(connection, contexts, peer_max_pdu=request.user.max_pdu)


def reject(connection: Connection, why: Rejection) -> None:
    """Send the A-ASSOCIATE-RJ."""
    connection.send(reject_pdu(why.result, why.source, why.reason))
