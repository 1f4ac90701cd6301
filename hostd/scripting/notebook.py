"""What scripts have passed without any effect, which nobody waits for: it is handed to the writer a moment later, so that one unit notes more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

from sqlalchemy import Connection

from hostd.archive.archive import Archive

_AFTER_S = 0.05
"""Seconds for which a note waits for others. What a crash takes away of them is run again."""

Unit = Callable[[Connection], bool]


class Notebook:
    """Units of work of all scripts of a node; a thread hands them over together. While there are none it sleeps."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._filled = threading.Event()
        self._hurried = threading.Event()
        self._guard = threading.Lock()
        self._waiting: list[tuple[Unit, Future[bool]]] = []
        self._is_closed = False
        self._thread = threading.Thread(target=self._serve, name="script-notes", daemon=True)
        self._thread.start()

    def enter(self, unit: Unit) -> Future[bool]:
        """Take a unit; its future has its result once it is committed, and raises what `Writer.submit` says."""
        noted: Future[bool] = Future()
        with self._guard:
            self._waiting.append((unit, noted))
            is_late = self._is_closed
        if is_late:
            self._hand_over()
        else:
            self._filled.set()
        return noted

    def hurry(self) -> None:
        """Hand over at once what waits."""
        self._hand_over()

    def stop(self) -> None:
        """Hand over what waits, and from now on everything at once."""
        with self._guard:
            self._is_closed = True
        self._filled.set()
        self._hurried.set()
        self._thread.join()
        self._hand_over()

    def _serve(self) -> None:
        while not self._is_closed:
            self._filled.wait()
            self._hurried.wait(_AFTER_S)
            self._filled.clear()
            self._hand_over()

    def _hand_over(self) -> None:
        with self._guard:
            waiting, self._waiting = self._waiting, []
            for unit, noted in waiting:  # in their order, which the guard keeps between two threads
                self._submit(unit, noted)

    def _submit(self, unit: Unit, noted: Future[bool]) -> None:
        try:
            commit = self._archive.writer.submit(unit)
        except Exception as error:  # noqa: BLE001 - it is raised by whoever waits for the note
            noted.set_exception(error)
            return
        commit.add_done_callback(lambda done: _pass_on(done, noted))


def _pass_on(done: Future[bool], noted: Future[bool]) -> None:
    error = done.exception()
    if error is not None:
        noted.set_exception(error)
    else:
        noted.set_result(done.result())
