"""All scripts of a node: which file runs in which version, and what became of the newest edit (P5)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from hostd.archive import events, scripts
from hostd.archive.archive import Archive
from hostd.archive.scripts import Version
from hostd.config.sections import Script
from hostd.errors import ScriptError
from hostd.sandbox import frames
from hostd.scripting.folder import FolderWatch, Source
from hostd.scripting.plan import Destinations
from hostd.scripting.runner import Candidate, Rules, Runner
from hostd.scripting.runtime import Isolation, ScriptWorker
from hostd.scripting.vocabulary import vocabulary

_log = structlog.get_logger(__name__)


def load_frame(name: str, source: str, granted: Script, destinations: list[str]) -> frames.Load:
    """Return what a worker is told of a script: its source, its words, and what it may do."""
    keywords, syntaxes, lossless_of = vocabulary()
    allowed = destinations if granted.destinations is None else [d for d in destinations if d in granted.destinations]
    return frames.Load(
        name=name,
        source=source,
        keywords=keywords,
        syntaxes=syntaxes,
        lossless_of=lossless_of,
        destinations=allowed,
        known_destinations=destinations,
        may=list(granted.may),
        config=granted.config,
        max_actions=granted.max_actions,
        max_log_bytes=granted.log_kb << 10,
        memory_bytes=granted.memory_mb << 20,
    )


class ScriptHost:
    """Runs the scripts of a folder. `entries` are the scripts' entries of the configuration, `destinations` all names that exist."""

    def __init__(
        self,
        archive: Archive,
        folder: Path,
        *,
        entries: dict[str, Script],
        destinations: list[str],
        resolve_destination: Destinations,
        isolation: Isolation,
        attempts: int,
        rescan_s: float,
        check_file: Callable[[Path], None],
    ) -> None:
        self._archive = archive
        self._entries = entries
        self._destinations = destinations
        self._resolve_destination = resolve_destination
        self._isolation = isolation
        self._attempts = attempts
        self._runners: dict[str, Runner] = {}
        self._departed: dict[str, Runner] = {}
        self.layers: dict[str, int] = {}
        """The layers of isolation in force, as a worker reported them."""
        self._guard = threading.Lock()
        self._watch = FolderWatch(folder, self._changed, rescan_s=rescan_s, check=check_file)

    def start(self) -> None:
        """Load what is in the folder, and watch it. Raises `WorkerLost` where no worker can be isolated as required."""
        probe = self._load("(isolation check)", "")
        self.layers = probe.layers
        probe.stop()
        self._watch.start()

    def stop(self) -> None:
        """Let each script end its current run, then end its worker."""
        self._watch.stop()
        with self._guard:
            runners = [*self._runners.values(), *self._departed.values()]
        for runner in runners:
            runner.stop()
        for runner in runners:
            runner.join()

    def _changed(self, sources: dict[str, Source]) -> None:
        with self._archive.read() as connection:
            known = {script.name: script for script in scripts.known(connection)}
        with self._guard:
            for source in sources.values():
                runner = self._runners.get(source.name)
                if runner is None or runner.version != source.hash:
                    self._consider(source)
                elif known[source.name].error is not None:  # a bad edit was taken back
                    self._note(source.name, None)
            for name in known.keys() - sources.keys():
                if known[name].absent_since is None:
                    self._runner(name).leave()
                    self._departed[name] = self._runners.pop(name)

    def _consider(self, source: Source) -> None:
        """Try an edit beside what runs; only when it is good does it take over."""
        self._meet(source.name)
        try:
            if source.problem:
                raise ScriptError(source.problem)
            worker = self._load(source.name, source.text)
        except ScriptError as error:
            self._note(source.name, str(error))
            running = self._runners.get(source.name)
            goes_on = "; its last good version goes on" if running else ""
            _log.error(f"script not taken{goes_on}", script=source.name, reason=str(error))
            return
        version = Version(source.hash, source.text, tuple(worker.ready.handlers))
        self._runner(source.name).offer(Candidate(version, worker))

    def _meet(self, name: str) -> None:
        from_beginning = self._entry(name).start == "beginning"
        now = self._archive.clock.now()
        if self._archive.writer.do(lambda c: scripts.meet(c, name, now, from_beginning=from_beginning)):
            with self._archive.read() as connection:
                behind = events.count_after(connection, scripts.get_cursor(connection, name).low_water)
            _log.info("new script", script=name, starts_at="the beginning" if from_beginning else "now", events=behind)

    def _note(self, name: str, error: str | None) -> None:
        self._archive.writer.do(lambda c: scripts.refuse(c, name, error))

    def _runner(self, name: str) -> Runner:
        if name not in self._runners:
            if departed := self._departed.pop(name, None):
                departed.join()  # runs of one script never overlap
            rules = Rules(self._entry(name).time_limit_s, self._attempts, self._resolve_destination)
            self._runners[name] = Runner(name, self._archive, rules, lambda version: self._load(name, version.source))
        return self._runners[name]

    def _entry(self, name: str) -> Script:
        return self._entries.get(name) or Script()

    def _load(self, name: str, source: str) -> ScriptWorker:
        return ScriptWorker.start(
            load_frame(name, source, self._entry(name), self._destinations), isolation=self._isolation
        )
