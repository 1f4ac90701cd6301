"""What every view of a script has in common: its attributes are set once, when it is made."""

from __future__ import annotations

from typing import NoReturn


class ReadOnly:
    """A view: its attributes are set once, when it is made."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise TypeError("what a script is given is read-only")

    def __delattr__(self, name: str) -> NoReturn:
        raise TypeError("what a script is given is read-only")
