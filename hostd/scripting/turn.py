"""Whose turn it is to run a script: of several nodes on one index, that which has its lease."""

from __future__ import annotations

import time

import structlog

from hostd.archive import leases
from hostd.archive.archive import Archive

_log = structlog.get_logger(__name__)


class Turn:
    """This node's hold on one script. What it commits is guarded by the cursor's token besides, which moves when another begins."""

    def __init__(self, archive: Archive, script: str) -> None:
        self._archive = archive
        self._script = script
        self._what = f"script:{script}"
        self._token: int | None = None
        self._asks_at = 0.0

    @property
    def patience_s(self) -> float | None:
        """Seconds after which to ask again; None where nothing changes by itself."""
        return leases.LOOK_S if self._archive.is_shared and self._token is None else None

    def is_ours(self) -> bool:
        """Tell whether this node is to run the script, taking the lease where nobody has it; asked before each batch of events."""
        if not self._archive.is_shared:
            return True
        now = self._archive.clock.now()
        if self._token is not None:
            with self._archive.read() as connection:
                if leases.is_held(connection, self._what, self._token, now):
                    return True
            _log.warning("another node may run the script now", script=self._script)
            self._token = None
        elif time.monotonic() < self._asks_at:
            return False
        self._asks_at = time.monotonic() + leases.LOOK_S
        node = self._archive.node
        self._token = self._archive.writer.do(lambda c: leases.acquire(c, self._what, node, now, leases.SECONDS))
        if self._token is not None:
            _log.info("this node runs the script", script=self._script)
        return self._token is not None
