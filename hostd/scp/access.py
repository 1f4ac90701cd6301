"""Who may do what over DICOM."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from hostd.archive.records import Origin

Act = Literal["find", "move", "get", "commit"]
"""What only some may do: C-FIND, C-MOVE, C-GET, and ask for storage commitment. C-ECHO and C-STORE are for everybody."""

Access = Callable[[Act, Origin], str | None]
"""Says why a peer may not do something, None when it may. For any thread."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A configured modality as one that calls: its AE title, and what it may do."""

    aet: str
    may: Collection[Act]


def nobody(act: Act, origin: Origin) -> str | None:
    """Allow nothing to anyone."""
    return f"{origin.calling_aet} is not allowed to {act}"


class ConfiguredOnly:
    """Allows to configured modalities what their entries let them do, and to everybody what is `open_to_all`; both as they are then."""

    def __init__(
        self, callers: Callable[[], Iterable[Caller]], open_to_all: Callable[[], Collection[Act]] = tuple
    ) -> None:
        self._callers = callers
        self._open_to_all = open_to_all

    def __call__(self, act: Act, origin: Origin) -> str | None:
        """Say why a peer may not do that, None when it may."""
        if act in self._open_to_all():
            return None
        known = [caller for caller in self._callers() if caller.aet == origin.calling_aet]
        if not known:
            return f"AE title {origin.calling_aet} is no configured modality"
        return None if any(act in caller.may for caller in known) else f"{origin.calling_aet} may not {act}"
