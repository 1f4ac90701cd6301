"""What a script's runner is told to do: run this version, or rest. The newest word counts."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from hostd.archive.scripts import Version
from hostd.scripting.runtime import ScriptWorker


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version of a script that compiled and was loaded in a worker of its own."""

    version: Version
    worker: ScriptWorker


@dataclass(frozen=True, slots=True)
class Order:
    """Run this version from now on, or, with None, rest, for the file is gone or the script is disabled."""

    candidate: Candidate | None
    is_gone: bool = False

    @property
    def version(self) -> str | None:
        """The hash of the version that is to run, None when none is."""
        return self.candidate.version.hash if self.candidate else None

    def drop(self) -> None:
        """End the worker that will not be used."""
        if self.candidate is not None:
            self.candidate.worker.stop()


class Orders:
    """The order that waits and the one that is being carried out. Any thread may give one, and one thread carries them out."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._wanted: str | None = None
        self._waiting: Order | None = None
        self._doing: Order | None = None

    @property
    def version(self) -> str | None:
        """The hash of the version that is to run, None when there is none."""
        with self._guard:
            return self._wanted

    @property
    def is_there_one(self) -> bool:
        """Whether something is to be done."""
        with self._guard:
            return self._waiting is not None or self._doing is not None

    def is_to_take_up(self, version: str) -> bool:
        """Tell whether that version was handed over and is not taken up yet."""
        with self._guard:
            order = self._waiting or self._doing
            return order is not None and order.version == version

    def give(self, order: Order) -> None:
        """Have this done next, in place of what was not begun."""
        with self._guard:
            replaced, self._waiting = self._waiting, order
            self._wanted = order.version
        if replaced is not None:
            replaced.drop()

    def put_back(self, order: Order) -> None:
        """Have this done again, unless something else is to be done."""
        with self._guard:
            is_replaced = self._waiting is not None or self._doing is not None
            if not is_replaced:
                self._doing = order
        if is_replaced:
            order.drop()

    def want_none(self) -> None:
        """Say that no version is to run, unless another order came."""
        with self._guard:
            if self._waiting is None:
                self._wanted = None

    def begin(self) -> Order:
        """Return what is to be done, the newest; one that was begun and not ended gives way to it."""
        given_up: Order | None = None
        with self._guard:
            if self._waiting is not None:
                given_up, self._doing, self._waiting = self._doing, self._waiting, None
            doing = self._doing
        if given_up is not None:
            given_up.drop()
        assert doing is not None, "it is asked for when there is one"
        return doing

    def end(self) -> None:
        """Note that what was begun is done."""
        with self._guard:
            self._doing = None

    def drop_all(self) -> None:
        """End the workers of what will not be done any more."""
        with self._guard:
            left, self._waiting, self._doing = (self._waiting, self._doing), None, None
        for order in left:
            if order is not None:
                order.drop()
