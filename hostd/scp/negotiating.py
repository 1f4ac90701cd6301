"""What is answered to the presentation contexts that a caller proposes (PS3.8 §9.3.3.2, PS3.7 §D.3.3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from hostd.delivery.negotiation import UNCOMPRESSED
from hostd.dicom.commitment import PUSH_MODEL, SYNTAXES
from hostd.dicom.extended_negotiation import agreed
from hostd.dicom.syntaxes import BY_UID, DEFLATED, EXPLICIT_BE, by_uid
from hostd.dimse import acceptor
from hostd.dimse.acceptor import Negotiation, Refused
from hostd.dimse.associate import Request
from hostd.scp.accepted import Accepted
from hostd.scp.access import Act, Caller
from hostd.scp.services import Services
from hostd.scp.sop_classes import VERIFICATION, may_be_storage
from hostd.transcoding.registry import encoders


class Negotiator:
    """Decides on what one caller proposes. Where everything is refused because of who it is, `is_stranger` is true afterwards."""

    def __init__(self, request: Request, caller: Caller, accepted: Accepted, services: Services) -> None:
        self._request = request
        self._caller = caller
        self._accepted = accepted
        self._services = services
        proposed = [proposal.abstract_syntax for proposal in request.proposals]
        self._gets = any(services.brings(abstract_syntax) for abstract_syntax in proposed)
        self._refused = 0

    @property
    def is_stranger(self) -> bool:
        """Whether there was nothing among what was proposed that the caller may do."""
        return 0 < self._refused == len(self._request.proposals)

    @property
    def brings_instances(self) -> bool:
        """Whether the caller means to store: who only asks whether hostd is there, or what it has, needs no room."""
        roles = self._request.user.roles
        return any(
            self._accepted.takes_class(uid) and roles.get(uid, (True, False))[0]
            for uid in (proposal.abstract_syntax for proposal in self._request.proposals)
        )

    def negotiate(self) -> Negotiation:
        """Return the answer to all proposals."""
        return acceptor.negotiate(
            self._request, self._choose, may_serve=self._may_serve, may_use=self._may_use, agree=agreed
        )

    def _choose(self, abstract_syntax: str, proposed: Sequence[str]) -> Sequence[str] | Refused | None:
        served = self._services.syntaxes_of(abstract_syntax)
        if served is not None:
            return [syntax for syntax in proposed if syntax in served]
        if abstract_syntax == VERIFICATION:
            return self._allowed("echo") or [syntax for syntax in proposed if syntax in BY_UID]
        if abstract_syntax == PUSH_MODEL:
            return [syntax for syntax in proposed if syntax in SYNTAXES]
        if self._may_serve(abstract_syntax) and self._request.user.roles.get(abstract_syntax, (True, False))[1]:
            return _best_to_send_in(proposed)
        if self._accepted.takes_class(abstract_syntax):
            return self._allowed("store") or self._accepted.syntaxes_of(proposed)
        return None

    def _allowed(self, act: Act) -> Refused | None:
        why = self._caller.refusal(act)
        if why is None:
            return None
        self._refused += 1
        return Refused(why)

    def _may_serve(self, abstract_syntax: str) -> bool:
        """Tell whether the caller may be SCP: it reports on what it was asked for, or takes what it gets by C-GET."""
        return abstract_syntax == PUSH_MODEL or (self._gets and may_be_storage(abstract_syntax))

    def _may_use(self, abstract_syntax: str, syntax: str) -> bool:
        """Tell whether the caller may be SCU, where it is SCP: what it gets by C-GET it may store only as it might without getting anything."""
        return abstract_syntax == PUSH_MODEL or (
            self._caller.refusal("store") is None
            and self._accepted.takes_class(abstract_syntax)
            and bool(self._accepted.syntaxes_of([syntax]))
        )


def _best_to_send_in(proposed: Sequence[str]) -> list[str]:
    """Return transfer syntaxes in the order in which they suit for sending: what everything can be brought to without loss comes first."""
    return sorted(proposed, key=_rank)


@lru_cache(256)
def _rank(uid: str) -> int:
    """Return how well a transfer syntax suits: documents and pixels that no codec takes can be sent uncompressed or deflated only."""
    if uid in UNCOMPRESSED:
        return 0
    if uid == DEFLATED.uid:
        return 1
    syntax = by_uid(uid)
    if not syntax.is_lossy and encoders(syntax):
        return 2
    return 4 if uid == EXPLICIT_BE.uid else 3
