"""All scripts of a node: which file runs in which version, and what became of the newest edit (P5)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import structlog

from hostd.archive import events, scripts
from hostd.archive.archive import Archive
from hostd.archive.scripts import KnownScript, Version
from hostd.config.sections import Script
from hostd.errors import ScriptError
from hostd.sandbox import frames
from hostd.scripting.execution import Rules
from hostd.scripting.folder import Check, FolderWatch, Source
from hostd.scripting.plan import Channels, Destinations, Tools, no_tools
from hostd.scripting.runner import Candidate, Runner
from hostd.scripting.runtime import Isolation, RefusedScriptError, ScriptWorker
from hostd.scripting.vocabulary import vocabulary
from hostd.scripting.zones import zones_for

_log = structlog.get_logger(__name__)


def load_frame(
    name: str,
    source: str,
    granted: Script,
    destinations: Sequence[str],
    resolve: Destinations,
    tools: Sequence[str] = (),
    helpers: Mapping[str, str] | None = None,
    channels: Collection[str] = (),
) -> frames.Load:
    """Return what a worker is told of a script: its source and that of its `helpers`, its words, and what it may do.

    `destinations` are all names that exist; those that the script is granted may be written in another way (`modality:x` for `x`).
    `tools` and `channels` are the names of all there are.
    """
    keywords, syntaxes, lossless_of = vocabulary()
    allowed = list(destinations)
    if granted.destinations is not None:
        meant = {resolve(destination) for destination in granted.destinations}
        allowed = [destination for destination in destinations if resolve(destination) in meant]
    return frames.Load(
        name=name,
        source=source,
        keywords=keywords,
        syntaxes=syntaxes,
        lossless_of=lossless_of,
        destinations=allowed,
        known_destinations=list(destinations),
        may=list(granted.may),
        tools=list(tools),
        channels=[name for name in granted.channels if name in channels],
        known_channels=sorted(channels),
        config=granted.config,
        max_actions=granted.max_actions,
        max_log_bytes=granted.log_kb << 10,
        memory_bytes=granted.memory_mb << 20,
        helpers=dict(helpers or {}),
        zones=zones_for([source, *(helpers or {}).values()], granted.config),
    )


class ScriptHost:
    """Runs the scripts of a folder. `entries` are the scripts' entries of the configuration, `destinations` all names that exist.

    So are `tools`. All are as they were when the node started.
    """

    def __init__(
        self,
        archive: Archive,
        folder: Path,
        *,
        entries: dict[str, Script],
        destinations: Sequence[str],
        resolve_destination: Destinations,
        isolation: Isolation,
        attempts: int,
        rescan_s: float,
        check_file: Check,
        tools: Sequence[str] = (),
        resolve_tool: Tools = no_tools,
        channels: Channels | None = None,
    ) -> None:
        self._archive = archive
        self._entries = entries
        self._destinations = destinations
        self._resolve_destination = resolve_destination
        self._tools = tools
        self._resolve_tool = resolve_tool
        self._channels = channels or {}
        self._isolation = isolation
        self._attempts = attempts
        self._runners: dict[str, Runner] = {}
        self._refused: dict[str, tuple[str, int]] = {}
        """Script → hash of the newest edit that was not taken, and how often it was tried."""
        self.layers: dict[str, int] = {}
        """The layers of isolation in force, as a worker reported them."""
        self._watch = FolderWatch(folder, self._changed, rescan_s=rescan_s, check=check_file)

    def start(self) -> None:
        """Load what is in the folder, and watch it.

        Raises `WorkerLost` where no worker can be isolated as required, and `OSError` when the folder cannot be read.
        """
        probe = self._load("(isolation check)", "")
        self.layers = probe.layers
        probe.stop()
        self._watch.start()

    def stop(self) -> None:
        """Let each script end its current run, then end its worker."""
        self._watch.stop()  # from here on nobody makes a runner
        for runner in self._runners.values():
            runner.stop()
        for runner in self._runners.values():
            runner.join()

    # -- what the folder says; one thread at a time

    def _changed(self, sources: dict[str, Source]) -> bool:
        with self._archive.read() as connection:
            known = {script.name: script for script in scripts.known(connection)}
        is_done = True
        for source in sources.values():
            try:
                is_done &= self._look_at(source, known.get(source.name))
            except Exception:  # noqa: BLE001 - one script's trouble must not hinder the others
                _log.exception("the script could not be looked at; hostd tries again", script=source.name)
                is_done = False
        for name in known.keys() - sources.keys():
            self._refused.pop(name, None)
            if known[name].absent_since is None:
                self._runner(name).leave()
        return is_done

    def _look_at(self, source: Source, known: KnownScript | None) -> bool:
        """Bring one script up to date with its file; return whether that is settled, one way or the other."""
        runner = self._runners.get(source.name)
        if runner is not None and runner.version == source.hash:
            self._clear(source.name)  # a bad edit may have been taken back
            return True
        refused, tries = self._refused.get(source.name, ("", 0))
        if refused == source.hash and tries >= self._attempts:
            return True
        self._meet(source.name)
        try:
            worker = self._try(source)
        except ScriptError as error:
            return self._refuse(source, error, known)
        self._clear(source.name)
        self._offer(
            source.name, Version(source.hash, source.text, tuple(worker.ready.handlers), source.helpers), worker
        )
        return True

    def _meet(self, name: str) -> None:
        from_beginning = self._entry(name).start == "beginning"
        now = self._archive.clock.now()
        if self._archive.writer.do(lambda c: scripts.meet(c, name, now, from_beginning=from_beginning)):
            with self._archive.read() as connection:
                behind = events.count_after(connection, scripts.get_cursor(connection, name).low_water)
            _log.info("new script", script=name, starts_at="the beginning" if from_beginning else "now", events=behind)

    def _try(self, source: Source) -> ScriptWorker:
        """Load an edit beside what runs; only when it is good does it take over. Raises `ScriptError`."""
        if source.problem:
            raise ScriptError(source.problem)
        return self._load(source.name, source.text, source.helpers)

    def _offer(self, name: str, version: Version, worker: ScriptWorker) -> None:
        for finding in worker.ready.findings:
            if finding.kind in {"unknown_handler", "unknown_keyword", "destination"} and finding.message:
                _log.warning(
                    "script: this line will not work",
                    script=name,
                    line=finding.place if finding.file else finding.line,
                    reason=finding.message,
                )
        if not version.handlers:
            _log.warning("script has no handler, so nothing calls it", script=name)
        self._runner(name).offer(Candidate(version, worker))

    # -- edits that are not taken

    def _refuse(self, source: Source, error: ScriptError, known: KnownScript | None) -> bool:
        name = source.name
        refused, tries = self._refused.get(name, ("", 0))
        tries = tries + 1 if refused == source.hash else 1
        if source.problem or isinstance(error, RefusedScriptError):  # it would be refused again
            tries = self._attempts
        self._refused[name] = source.hash, tries
        runner = self._runners.get(name)
        goes_on = (runner is not None and runner.version is not None) or self._fall_back(known)
        self._archive.writer.do(lambda c: scripts.refuse(c, name, str(error), goes_on=goes_on))
        what_now = "; its last good version goes on" if goes_on else ""
        _log.error(f"script not taken{what_now}", script=name, reason=str(error))
        return tries >= self._attempts

    def _fall_back(self, known: KnownScript | None) -> bool:
        """After a restart, have the version go on that ran last."""
        if known is None or known.version is None or known.state != "running":
            return False
        name, last = known.name, known.version
        with self._archive.read() as connection:
            version = scripts.get_version(connection, name, last)
        assert version is not None, "the source of every version that ran is kept"
        try:
            worker = self._load(name, version.source, version.helpers)
        except ScriptError as error:
            _log.error("the last good version cannot be run any more", script=name, reason=str(error))
            return False
        self._offer(name, version, worker)
        return True

    def _clear(self, name: str) -> None:
        self._refused.pop(name, None)
        with self._archive.read() as connection:
            known = scripts.find(connection, name)
        if known is not None and known.error is not None:
            self._archive.writer.do(lambda c: scripts.refuse(c, name, None))

    # -- parts

    def _runner(self, name: str) -> Runner:
        if name not in self._runners:
            entry = self._entry(name)
            channels = {channel: phi for channel, phi in self._channels.items() if channel in entry.channels}
            rules = Rules(entry.time_limit_s, self._attempts, self._resolve_destination, self._resolve_tool, channels)
            self._runners[name] = Runner(
                name, self._archive, rules, lambda version: self._load(name, version.source, version.helpers)
            )
        return self._runners[name]

    def _entry(self, name: str) -> Script:
        return self._entries.get(name) or Script()

    def _load(self, name: str, source: str, helpers: Mapping[str, str] | None = None) -> ScriptWorker:
        frame = load_frame(
            name,
            source,
            self._entry(name),
            self._destinations,
            self._resolve_destination,
            self._tools,
            helpers,
            self._channels,
        )
        return ScriptWorker.start(frame, isolation=self._isolation)
