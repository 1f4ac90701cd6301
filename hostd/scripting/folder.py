"""The folder of scripts: what is in it, and when it changed.

The file system's events are hints only: editors rename, some systems tell nothing. After a hint, and every now and then anyway,
the folder is read and compared by hash (reference: the sources of watchdog 7 and many editors' ways of saving).
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from hostd.errors import HostdError

_log = structlog.get_logger(__name__)

DEBOUNCE_S = 0.2
_HINTS = frozenset({"created", "modified", "moved", "deleted", "closed"})
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """A script's file as it was read: its name is its identity, its hash its version. `problem` says why it cannot be used."""

    name: str
    text: str
    hash: str
    problem: str | None = None


def read_source(path: Path, check: Callable[[Path], None] = lambda _path: None) -> Source:
    """Read one script. What hinders its use (permissions, encoding, size) is in `problem`. Raises `FileNotFoundError`."""
    try:
        check(path)
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except (OSError, HostdError) as error:
        return Source(path.name, "", f"unreadable: {error}", str(error))
    digest = hashlib.sha256(content).hexdigest()
    if len(content) > _LARGEST:
        return Source(path.name, "", digest, f"{path.name} has {len(content)} bytes, a script may have {_LARGEST}")
    try:
        return Source(path.name, content.decode("utf-8-sig"), digest)
    except UnicodeDecodeError as error:
        return Source(path.name, "", digest, f"{path.name} is not UTF-8 text: {error.reason} at byte {error.start}")


def scan(folder: Path, check: Callable[[Path], None] = lambda _path: None) -> dict[str, Source]:
    """Return the scripts of a folder by name; names that begin with `.` or `_` are not scripts.

    Raises `OSError` when the folder itself cannot be read.
    """
    found: dict[str, Source] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".py" and path.name[0] not in "._" and not path.is_dir():
            try:
                found[path.name] = read_source(path, check)
            except FileNotFoundError:
                continue  # renamed away between listing and reading: the next look finds what became of it
    return found


class FolderWatch:
    """Calls `changed` with the scripts of the folder, at first and whenever one of them changed, from one thread of its own."""

    def __init__(
        self,
        folder: Path,
        changed: Callable[[dict[str, Source]], None],
        *,
        rescan_s: float,
        check: Callable[[Path], None],
    ) -> None:
        self._folder = folder
        self._changed = changed
        self._rescan_s = rescan_s
        self._check = check
        self._hint = threading.Event()
        self._stopping = False
        self._seen: dict[str, str] | None = None
        self._observer = Observer()
        self._thread = threading.Thread(target=self._watch, name="script-folder", daemon=True)

    def start(self) -> None:
        """Read the folder now, then go on watching. Raises `OSError` when the folder cannot be read."""
        self._look()
        try:
            self._observer.schedule(_Hints(self._hint), str(self._folder))
            self._observer.start()
        except OSError as error:  # no inotify instances left, say: then only the regular looks remain
            _log.warning(
                "the script folder cannot be watched; edits are noticed later",
                reason=str(error),
                seconds=self._rescan_s,
            )
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopping = True
        self._hint.set()
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            hinted = self._hint.wait(self._rescan_s)
            if self._stopping:
                return
            if hinted:
                time.sleep(DEBOUNCE_S)
                self._hint.clear()
            try:
                self._look()
            except OSError as error:
                _log.error("the script folder cannot be read; what runs goes on", reason=str(error))
            except Exception:  # noqa: BLE001 - a thread that must not end
                _log.exception("looking at the script folder failed; what runs goes on")

    def _look(self) -> None:
        sources = scan(self._folder, self._check)
        hashes = {name: source.hash for name, source in sources.items()}
        if hashes != self._seen:
            self._changed(sources)
            self._seen = hashes


class _Hints(FileSystemEventHandler):
    def __init__(self, hint: threading.Event) -> None:
        self._hint = hint

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in _HINTS:
            self._hint.set()
