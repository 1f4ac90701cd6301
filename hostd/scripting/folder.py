"""The folder of scripts: what is in it, and when it changed.

The file system's events are hints only: editors rename, some systems tell nothing. After a hint, and every now and then anyway,
the folder is read and compared by hash.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import threading
import time
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from hostd.errors import HostdError

_log = structlog.get_logger(__name__)

DEBOUNCE_S = 0.2
"""Seconds without a hint before the folder is read: an editor that saves gives several, one after another."""
_LONGEST_DEBOUNCE_S = 2.0
_HINTS = frozenset({"created", "modified", "moved", "deleted", "closed"})
_LARGEST = 1 << 20
LIBRARY = "lib"
"""The folder, beside the scripts, of the user's own modules: `from lib.rules import x` takes x of `lib/rules.py`."""
_WORD = re.compile(r"\w+")

Check = Callable[[Path], None]
"""Raises a `HostdError` for a file that must not be trusted."""


@dataclass(frozen=True, slots=True)
class Source:
    """A script's file as it was read: its name is its identity, its hash its version. `problem` says why it cannot be used.

    `helpers` are the user's own modules that it may import (`rules` for `lib/rules.py` → source); the hash covers them.
    """

    name: str
    text: str
    hash: str
    problem: str | None = None
    helpers: Mapping[str, str] = field(default_factory=dict)


def read_source(path: Path, check: Check = lambda _path: None) -> Source:
    """Read one script, with the helpers that it uses. What hinders its use (permissions, encoding, size) is in `problem`.

    Raises `FileNotFoundError`.
    """
    folder = path.parent if path.parent.name == LIBRARY else path.parent / LIBRARY
    return _with_helpers(_read(path, check), _helpers(folder, check))


def _read(path: Path, check: Check) -> Source:
    name = _shown(path.name)
    if name != path.name:
        return _unusable(name, f"the file's name is not UTF-8: rename {name}")
    try:
        check(path)
        content = _content(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        return _unusable(name, f"{name} cannot be read: {error.strerror}")
    except HostdError as error:
        if not os.path.lexists(path):  # the check met a file that was renamed away
            raise FileNotFoundError(path) from error
        return _unusable(name, f"{name} is not used: {error}")
    if content is None:
        return _unusable(name, f"{name} is not a regular file")
    return _judge(name, content)


def _judge(name: str, content: bytes) -> Source:
    digest = hashlib.sha256(content).hexdigest()
    problem = None
    text = ""
    if len(content) > _LARGEST:
        problem = f"{name} is too large: a script may have {_LARGEST} bytes"
    elif not content.strip():
        # An editor that saves in place empties the file first. To stop a script, its file is taken away.
        problem = f"{name} is empty; to stop a script, delete its file"
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            problem = f"{name} is not UTF-8 text: {error.reason} at byte {error.start}"
    return Source(name, text, digest, problem)


def _content(path: Path) -> bytes | None:
    """Return the beginning of a file, one byte more than is allowed; None when it is not a regular file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not keep us waiting
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor has no path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return file.read(_LARGEST + 1)


def _unusable(name: str, problem: str) -> Source:
    return Source(name, "", f"unusable: {problem}", problem)


def _shown(name: str) -> str:
    """Return a file's name as text that can be stored and printed."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def scan(folder: Path, check: Check = lambda _path: None) -> dict[str, Source]:
    """Return the scripts of a folder by name; folders, and names that begin with `.` or `_`, are not scripts.

    Raises `OSError` when the folder itself cannot be read.
    """
    helpers = _helpers(folder / LIBRARY, check)
    return {name: _with_helpers(source, helpers) for name, source in _files(folder, check).items()}


def _files(folder: Path, check: Check) -> dict[str, Source]:
    found: dict[str, Source] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix != ".py" or path.name[0] in "._" or path.is_dir():
            continue
        try:
            source = _read(path, check)
        except FileNotFoundError:
            if not path.is_symlink():
                continue  # renamed away between listing and reading: the next look finds what became of it
            source = _unusable(_shown(path.name), f"{_shown(path.name)} is a link to a file that does not exist")
        found[source.name] = source
    return found


# -- the user's own modules -------------------------------------------------------------------------------------------


def _helpers(folder: Path, check: Check) -> dict[str, Source]:
    """Return the helper modules by name (`rules` for `rules.py`); none where there is no such folder."""
    try:
        found = _files(folder, check)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        return {"": _unusable(LIBRARY, f"the folder {LIBRARY} cannot be read: {error.strerror}")}
    return {
        name.removesuffix(".py"): source for name, source in found.items() if name.removesuffix(".py").isidentifier()
    }


def _with_helpers(source: Source, helpers: Mapping[str, Source]) -> Source:
    """Return a script with those helpers that it may import, itself or by others; its version is the hash of them all.

    Nothing is parsed here: a helper counts as used where its name stands as a word, in a text that has the word `lib`. One too
    many gives a new version for nothing; that is all.
    """
    used: dict[str, Source] = {}
    waiting = [source.text]
    while waiting:
        words = set(_WORD.findall(unicodedata.normalize("NFKC", waiting.pop())))
        if LIBRARY not in words:
            continue
        if "" in helpers and source.problem is None:
            return replace(source, hash=f"{source.hash} {helpers[''].hash}", problem=helpers[""].problem)
        for name in sorted(words & helpers.keys() - used.keys()):
            used[name] = helpers[name]
            waiting.append(helpers[name].text)
    if not used:
        return source
    combined = "".join(f"{name} {one.hash}\n" for name, one in sorted(used.items()))
    broken = next((f"{LIBRARY}/{one.problem}" for _, one in sorted(used.items()) if one.problem), None)
    return replace(
        source,
        hash=hashlib.sha256(f"{source.hash}\n{combined}".encode()).hexdigest(),
        problem=source.problem or broken,
        helpers={name: one.text for name, one in used.items()},
    )


class FolderWatch:
    """Calls `changed` with the scripts of the folder, at first and whenever one of them changed, from one thread of its own.

    `changed` returns whether it is done with what it got; if not, it is called again at the next look, although nothing changed.
    """

    def __init__(
        self, folder: Path, changed: Callable[[dict[str, Source]], bool], *, rescan_s: float, check: Check
    ) -> None:
        self._folder = folder
        self._changed = changed
        self._rescan_s = rescan_s
        self._check = check
        self._hint = threading.Event()
        self._stopping = False
        self._asked = False
        self._seen: dict[str, str] | None = None
        self._observer: BaseObserver | None = None
        self._observed: tuple[tuple[int, int], ...] | None = None
        self._thread = threading.Thread(target=self._watch, name="script-folder", daemon=True)

    def start(self) -> None:
        """Read the folder now, then go on watching. Raises `OSError` when the folder cannot be read."""
        self._observe()
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """Stop watching, after the look that is under way."""
        self._stopping = True
        self._hint.set()
        if self._thread.is_alive():
            self._thread.join()
        self._let_go()

    def look_again(self) -> None:
        """Call `changed` soon, although nothing changed in the folder."""
        self._asked = True
        self._hint.set()

    def _watch(self) -> None:
        while True:
            self._hint.wait(self._rescan_s)
            self._debounce()
            if self._stopping:
                return
            try:
                self._observe()
                self._look()
            except OSError as error:
                self._lose()
                _log.error("the script folder cannot be read; what runs goes on", reason=str(error))
            except Exception:  # noqa: BLE001 - a thread that must not end; the next look tries again
                _log.exception("looking at the script folder failed; what runs goes on")

    def _debounce(self) -> None:
        """Wait until there was no hint for a while, though not for ever."""
        latest = time.monotonic() + _LONGEST_DEBOUNCE_S
        while self._hint.is_set() and not self._stopping and time.monotonic() < latest:
            self._hint.clear()
            time.sleep(DEBOUNCE_S)

    def _look(self) -> None:
        sources = scan(self._folder, self._check)
        if self._seen and self._seen.keys() - sources.keys():
            # Some editors move the old file away before they write the new one: what is gone now may be back in a moment.
            time.sleep(DEBOUNCE_S)
            sources = scan(self._folder, self._check)
        hashes = {name: source.hash for name, source in sources.items()}
        asked, self._asked = self._asked, False
        if asked or hashes != self._seen:
            self._seen = hashes if self._changed(sources) else None

    # -- hints

    def _observe(self) -> None:
        """See to it that hints come from the folder that is there now. Raises `OSError` when there is none."""
        folders = [self._folder]
        if (self._folder / LIBRARY).is_dir():
            folders.append(self._folder / LIBRARY)
        identity = tuple((status.st_dev, status.st_ino) for status in map(Path.stat, folders))
        if identity == self._observed:
            return
        self._let_go()
        observer = Observer()
        try:
            for folder in folders:
                observer.schedule(_Hints(self._hint, str(folder), self._lose), str(folder))
            observer.start()
        except OSError as error:  # no inotify instances left, say: then only the regular looks remain
            _log.warning(
                "the script folder cannot be watched; edits are noticed later",
                reason=str(error),
                seconds=self._rescan_s,
            )
        else:
            self._observer = observer
        self._observed = identity

    def _lose(self) -> None:
        self._observed = None

    def _let_go(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
            self._observer = None


class _Hints(FileSystemEventHandler):
    def __init__(self, hint: threading.Event, folder: str, lost: Callable[[], None]) -> None:
        self._hint = hint
        self._folder = folder
        self._lost = lost

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type not in _HINTS:
            return
        if event.src_path == self._folder and event.event_type in {"deleted", "moved"}:
            self._lost()  # a folder that returns may be another one with the same number
        self._hint.set()
