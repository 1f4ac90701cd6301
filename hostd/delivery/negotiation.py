"""What is proposed to a DICOM peer for an instance, and in which transfer syntaxes it may go (PS3.8 §9.3.2.2)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from hostd.delivery.destinations import Outgoing
from hostd.dicom import syntaxes
from hostd.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE
from hostd.dimse.associate import CONTEXTS_LIMIT

Context = tuple[str, tuple[str, ...]]
"""SOP class and transfer syntaxes of a proposed presentation context, as UIDs."""

UNCOMPRESSED = (EXPLICIT_LE.uid, IMPLICIT_LE.uid)


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
        if syntax in last or syntax not in UNCOMPRESSED
    ]
    if fallbacks and outgoing.may_go_otherwise:
        found.append((sop_class, UNCOMPRESSED))
    return found


def plan_associations(
    batch: Iterable[Outgoing], fallbacks: Sequence[str], require: str | None = None, limit: int = CONTEXTS_LIMIT
) -> list[tuple[list[Outgoing], list[Context]]]:
    """Divide a batch into associations of at most so many presentation contexts (PS3.8 §9.3.2.2), in the order of the batch."""
    plan: list[tuple[list[Outgoing], list[Context]]] = []
    for outgoing in batch:
        wanted = contexts_of(outgoing, fallbacks, require)
        if plan:
            group, contexts = plan[-1]
            added = [context for context in wanted if context not in contexts]
            if len(contexts) + len(added) <= limit:
                group.append(outgoing)
                contexts.extend(added)
                continue
        plan.append(([outgoing], wanted))
    return plan


def no_common_syntax(
    outgoing: Outgoing, accepted: Collection[str], hindrances: Sequence[str], require: str | None
) -> str:
    """Say why nothing fits, naming what both sides can do."""
    peer = f"for SOP class {outgoing.delivery.sop_class_uid} the peer accepts {_listed(accepted)}"
    mine = f"the instance is in {syntaxes.named(outgoing.stored_syntax)}"
    if outgoing.wanted_syntax != outgoing.stored_syntax:
        mine += f" and is wanted in {syntaxes.named(outgoing.wanted_syntax)}"
    if require is not None:
        mine += f", and {syntaxes.named(require)} is required for this destination"
    if not hindrances:
        return f"no common transfer syntax: {peer}, {mine}"
    return f"{'; '.join(dict.fromkeys(hindrances))} ({peer}, {mine})"


def _listed(uids: Collection[str]) -> str:
    return ", ".join(syntaxes.named(uid) for uid in dict.fromkeys(uids)) or "nothing"
