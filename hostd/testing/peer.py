"""A peer to play: a C-STORE SCP that keeps what it gets, and refuses or is down when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from pydicom.dataset import Dataset
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt

from hostd.dicom import syntaxes

_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Received:
    """What a peer got: the data set, and in which transfer syntax and from whom it came."""

    dataset: Dataset
    transfer_syntax: str
    """Its short name where it has one ("j2k"), otherwise its keyword."""
    calling_aet: str


class Peer:
    """A C-STORE SCP on a free port of this machine. Used in a `with`, or ended by `close`.

    It takes every storage SOP class of the standard in the transfer syntaxes of `accepts` (names or UIDs; None: all).
    """

    def __init__(self, aet: str = "PEER", *, accepts: list[str] | None = None) -> None:
        self.aet = aet
        self.port = 0
        """The TCP port, also while it is down."""
        self._accepts = [syntaxes.lookup(name).uid for name in accepts] if accepts else ALL_TRANSFER_SYNTAXES
        self._received: list[Received] = []
        self._refused = 0
        self._answers: Callable[[Dataset], int] = lambda _: 0x0000
        self._changed = threading.Condition()
        self._server: Any = None
        self.up()

    @property
    def received(self) -> tuple[Received, ...]:
        """What it took, oldest first; what it refused is not in it."""
        with self._changed:
            return tuple(self._received)

    @property
    def refused(self) -> int:
        """How often it refused something."""
        with self._changed:
            return self._refused

    def refuse(self, status: int = 0xA700, *, when: Callable[[Dataset], bool] = lambda _: True) -> None:
        """From now on answer with this status (PS3.4 §B.2.3), for those data sets of which `when` is true."""
        self._answers = lambda ds: status if when(ds) else 0x0000

    def accept(self) -> None:
        """From now on take everything again."""
        self._answers = lambda _: 0x0000

    def wait(self, count: int = 1, *, timeout_s: float = _PATIENCE_S) -> tuple[Received, ...]:
        """Wait until it has taken so many instances; return all that it took. Raises `AssertionError` after the time."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._received) >= count, timeout_s):
                raise AssertionError(
                    f"{self.aet} got {len(self._received)} of {count} instances in {timeout_s:g} s, and refused {self._refused}"
                )
            return tuple(self._received)

    def wait_refused(self, count: int = 1, *, timeout_s: float = _PATIENCE_S) -> None:
        """Wait until it has refused so many times. Raises `AssertionError` after the time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._refused >= count, timeout_s):
                raise AssertionError(f"{self.aet} refused {self._refused} of {count} in {timeout_s:g} s")

    def up(self) -> None:
        """Listen, on the same port as before."""
        if self._server is None:
            ae = AE(ae_title=self.aet)
            for context in AllStoragePresentationContexts:
                ae.add_supported_context(context.abstract_syntax, self._accepts)
            ae.add_supported_context("1.2.840.10008.1.1")
            ae.maximum_associations = 100
            self._server = ae.start_server(
                ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
            )
            self.port = self._server.server_address[1]

    def down(self) -> None:
        """Be gone, as a peer that is switched off: connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def close(self) -> None:
        """End it."""
        self.down()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _store(self, event: Any) -> int:
        ds: Dataset = event.dataset
        ds.file_meta = event.file_meta
        status = self._answers(ds)
        syntax = syntaxes.by_uid(event.context.transfer_syntax)
        with self._changed:
            if status in {0x0000, 0xB000, 0xB006, 0xB007}:
                self._received.append(
                    Received(ds, syntax.short or syntax.keyword, event.assoc.requestor.ae_title.strip())
                )
            else:
                self._refused += 1
            self._changed.notify_all()
        return status
