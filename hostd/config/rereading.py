"""Reads the configuration again when its file changes, or when somebody asks; what cannot be used changes nothing (P5)."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from hostd.config.orthanc.draft import Note
from hostd.config.orthanc.reading import files_of
from hostd.config.settings import Settings, load_with_origins
from hostd.errors import ConfigurationError, HostdError

_log = structlog.get_logger(__name__)

_LOOK_S = 5.0
_STANDS_STILL_S = 1.0
"""Seconds after which a text that is new is looked at again."""


class Rereading:
    """Looks at the file now and then, by its content: hints of the kernel say nothing of network folders and of mounted secrets.

    A text is taken once it stands still from one look to the next, so that none is taken that is half written. `apply` is given the settings.
    """

    def __init__(self, file: Path, apply: Callable[[Settings], None]) -> None:
        self._file = file
        self._apply = apply
        self._taken = self._seen = self._digest()
        self._said: frozenset[Note] = frozenset()
        self._asked = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="configuration", daemon=True)

    def start(self, said: Iterable[Note] = ()) -> None:
        """Begin to look. What was `said` of the configuration is not said again."""
        self._said = frozenset(said)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._asked.set()
        self._thread.join()

    def ask(self) -> None:
        """Read it now, also if the file is as it was: secrets may be others."""
        self._asked.set()

    def look(self, *, at_once: bool = False) -> bool:
        """Read the file again if it changed and stands still, or `at_once`; return whether it was taken."""
        digest = self._digest()
        stands_still, self._seen = digest == self._seen, digest
        if not at_once and (digest == self._taken or not stands_still):
            return False
        self._taken = digest
        if digest is None:
            _log.error("the configuration is not read again: its file is empty, or gone", file=str(self._file))
            return False
        try:
            loaded = load_with_origins(self._file)
            self._apply(loaded.settings)
        except HostdError as error:
            _log.error("the configuration was not taken; what was taken last goes on", reason=str(error))
            return False
        for note in loaded.notes:
            if note not in self._said:
                _log.warning(str(note), file=str(self._file))
        self._said = frozenset(loaded.notes)
        return True

    def _serve(self) -> None:
        while not self._stopping.is_set():
            at_once = self._asked.wait(_LOOK_S if self._seen == self._taken else _STANDS_STILL_S)
            self._asked.clear()
            if self._stopping.is_set():
                return
            try:
                self.look(at_once=at_once)
            except Exception:  # noqa: BLE001 - a thread that must not end; the next look tries again
                _log.exception("the configuration could not be read again")

    def _digest(self) -> str | None:
        """Return what tells the text of the file from others; None when there is none, as while an editor saves in place."""
        try:
            content = b"\0".join(file.read_bytes() for file in files_of(self._file))
        except (OSError, ConfigurationError):
            return None
        return hashlib.sha256(content).hexdigest() if content.strip() else None
