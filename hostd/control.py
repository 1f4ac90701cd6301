"""What a node may be told by those who may: to speak of more, to read its configuration again, to end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

Verbosity = Literal["default", "verbose", "trace"]
"""How much is logged: as the configuration has it, or more. Orthanc's words."""
VERBOSITIES: tuple[Verbosity, ...] = get_args(Verbosity)


@dataclass(slots=True)
class Control:
    """What whoever started a node lets others do to it; what is None cannot be done, as where a node is a part of another program.

    `reload` has the configuration read again, `shut_down` has the node end in order; both return at once.
    """

    reload: Callable[[], None] | None = None
    shut_down: Callable[[], None] | None = None
    set_verbosity: Callable[[Verbosity], None] | None = None
    verbosity: Verbosity = "default"

    def speak(self, verbosity: Verbosity) -> None:
        """Log as much as that from now on. Only where `set_verbosity` is given."""
        assert self.set_verbosity is not None
        self.set_verbosity(verbosity)
        self.verbosity = verbosity
