"""How one delivery is to be sent, where whoever asked for it wants something else than its destination's settings."""

from __future__ import annotations

from typing import Self

import msgspec


class Manner(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a request to store says besides, as it stands with the delivery; None: as the destination's settings say.

    `calling_aet` is what hostd calls itself. `move_originator` names, in the C-STORE request, the AE title and the message of the C-MOVE for
    which it is sent (PS3.7 §9.3.1.1). `timeout_s` is for the answer. `compress` is gzip, of a peer.
    """

    calling_aet: str | None = None
    move_originator: tuple[str, int] | None = None
    timeout_s: float | None = None
    compress: bool | None = None

    def canonical(self) -> str:
        """Return the one text for this manner, '' for nothing special."""
        text = msgspec.json.encode(self, order="deterministic").decode()
        return "" if text == "{}" else text

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the manner of that text. Raises `msgspec.DecodeError` for what is none."""
        return msgspec.json.decode(text, type=cls) if text else cls()
