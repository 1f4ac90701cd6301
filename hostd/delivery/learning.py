"""What a DICOM peer accepts, learnt at each association: it saves another association, and is remembered for people to see.

It never keeps anything from being proposed: each new association proposes all that its instances may need.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import Protocol, runtime_checkable

from hostd.archive.acceptance import Acceptance
from hostd.delivery.negotiation import Context

BELIEVED_S = 3600.0
"""Seconds for which a refusal is believed, and after which what has not changed is noted anew."""


class Learnt:
    """What a peer said of the contexts that it was proposed. For any number of threads; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._said: dict[str, dict[str, tuple[bool, float]]] = {}
        self._noted: dict[str, tuple[Acceptance, float]] = {}

    def note(self, contexts: Iterable[Context], accepted: Collection[tuple[str, str]]) -> None:
        """Note what an association was proposed, and what of it the peer accepted: (SOP class, transfer syntax)."""
        with self._lock:
            now = self._clock()
            for sop_class, syntaxes in contexts:
                said = self._said.setdefault(sop_class, {})
                chosen = [syntax for syntax in syntaxes if (sop_class, syntax) in accepted]
                said.update((syntax, (bool(chosen), now)) for syntax in chosen or syntaxes)

    def refuses(self, context: Context) -> bool:
        """Tell whether the peer has refused a context lately."""
        sop_class, syntaxes = context
        with self._lock:
            said = self._said.get(sop_class, {})
            return all(self._is_refused(said.get(syntax)) for syntax in syntaxes)

    def _is_refused(self, said: tuple[bool, float] | None) -> bool:
        return said is not None and not said[0] and self._clock() - said[1] <= BELIEVED_S

    def acceptance(self, sop_class: str) -> Acceptance:
        """Return what the peer accepts for a SOP class (UID), as far as is known."""
        said = self._said.get(sop_class, {})
        return Acceptance(
            tuple(sorted(syntax for syntax, (is_accepted, _) in said.items() if is_accepted)),
            tuple(sorted(syntax for syntax, (is_accepted, _) in said.items() if not is_accepted)),
        )

    def news(self) -> dict[str, Acceptance]:
        """Return what is to be remembered: SOP class UID → what changed, or was last noted long ago. It is told once."""
        with self._lock:
            now = self._clock()
            found = {}
            for sop_class in self._said:
                acceptance = self.acceptance(sop_class)
                noted = self._noted.get(sop_class)
                if noted is None or noted[0] != acceptance or now - noted[1] > BELIEVED_S:
                    found[sop_class] = acceptance
                    self._noted[sop_class] = acceptance, now
            return found


@runtime_checkable
class Learns(Protocol):
    """A destination of which it is learnt what it accepts."""

    learnt: Learnt
