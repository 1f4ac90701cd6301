"""All scripts of a node: which file runs in which version, and what became of the newest edit (P5)."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from hostd.archive import orders, scripts, uploads
from hostd.archive.archive import Archive
from hostd.archive.scripts import KnownScript, Version
from hostd.archive.usage import Quota
from hostd.config.sections import Script
from hostd.errors import ScriptError, StorageError
from hostd.jobs.timetable import Timetable
from hostd.launcher import Launcher
from hostd.sandbox import frames
from hostd.scripting.asking import Means
from hostd.scripting.choosing import choose
from hostd.scripting.execution import Rules
from hostd.scripting.feed import Feed
from hostd.scripting.filters import Filters
from hostd.scripting.folder import Check, FolderWatch, Source
from hostd.scripting.loading import Names, load_frame
from hostd.scripting.measuring import Measurements
from hostd.scripting.notebook import Notebook
from hostd.scripting.ordering import Candidate
from hostd.scripting.plan import MAX_HOPS
from hostd.scripting.runner import Runner
from hostd.scripting.runtime import Isolation, RefusedScriptError, ScriptWorker
from hostd.scripting.sharing import Sharing

_log = structlog.get_logger(__name__)

_AGAIN_S = 5.0
_SAID = 3
"""How much of what will not work in a script is noted."""


def _summary(said: Sequence[str]) -> str | None:
    """Return the first of what is to be said, and how much more there is; None for nothing."""
    more = [f"and {len(said) - _SAID} more, which hostd check lists"] if len(said) > _SAID else []
    return "; ".join([*said[:_SAID], *more]) or None


@dataclass(frozen=True, slots=True)
class Limits:
    """Failures of a script at one event before that is parked, events parked in a row before the script is, and acts that may follow from one another."""

    attempts: int
    park_after: int = 10
    max_hops: int = MAX_HOPS


class ScriptHost:
    """Runs the scripts of a folder. `entries` are the scripts' entries of the configuration, `names` what else it has.

    Both may be replaced (`reconfigure`); `means` go by the newest. `filters` is told which scripts have filters, before anything else is
    done with them. With `manual` an edit waits until it is deployed; so many events parked in a row (`park_after`; 0: never) park a
    script itself: its handlers rest, its filters do not. What people disabled filters no more. `launcher` starts the workers; it is not
    closed with the host.
    """

    def __init__(
        self,
        archive: Archive,
        folder: Path,
        *,
        entries: dict[str, Script],
        names: Names,
        means: Means,
        isolation: Isolation,
        limits: Limits,
        launcher: Launcher,
        rescan_s: float,
        check_file: Check,
        filters: Filters | None = None,
        manual: bool = False,
        timetable: Timetable | None = None,
    ) -> None:
        self._timetable = timetable or Timetable()
        self._manual = manual
        self._archive = archive
        self._filters = filters
        self._entries = entries
        self._names = names
        self._means = replace(means, measure=Measurements(means.measure))
        self._limits = limits
        self._feed = Feed(archive)
        self._notebook = Notebook(archive)
        self._runners: dict[str, Runner] = {}
        self._renewed: set[str] = set()
        """Scripts whose entry changed, and that are to be loaded anew with what they may do now."""
        self._sharing = Sharing(archive) if archive.is_shared else None
        self._refused: dict[str, tuple[str, int]] = {}
        """Script → hash of the newest edit that was not taken, and how often it was tried."""
        self.layers: dict[str, int] = {}
        """The layers of isolation in force, as a worker reported them."""
        self._isolation: Isolation = isolation
        self._launcher = launcher
        self._watch = FolderWatch(folder, self._changed, rescan_s=rescan_s, check=check_file)
        self._stopping = False
        self._decided: Sequence[object] = ()
        self._follower = threading.Thread(target=self._follow, name="script-orders", daemon=True)

    def start(self) -> None:
        """Load what is in the folder, and watch it.

        Raises `WorkerLost` where no worker can be isolated as required, and `OSError` when the folder cannot be read.
        """
        trial = self._load("(isolation check)", "")
        trial.stop()
        self.layers = trial.layers
        self._decided = self._decisions()
        self._watch.start()
        self._follower.start()

    def reconfigure(self, entries: dict[str, Script], names: Names, limits: Limits | None = None) -> None:
        """Go on with other entries, names and limits: each script that they concern gets a new worker, for its next event."""
        limits = limits or self._limits
        others = names != self._names or limits != self._limits
        self._limits = limits
        former, self._entries, self._names = self._entries, entries, names
        for name in {*former, *entries, *self._runners} if others else {*former, *entries}:
            if others or former.get(name) != entries.get(name):
                self._renewed.add(name)
                self._refused.pop(name, None)
        self._watch.look_again()

    def stop(self) -> None:
        """Let each script end its current run, then end its worker."""
        self._stopping = True
        self._archive.bulletin.ring("script")
        if self._follower.is_alive():
            self._follower.join()
        self._watch.stop()  # from here on nobody makes a runner
        for runner in self._runners.values():
            runner.stop()
        for runner in self._runners.values():
            runner.join()
        self._notebook.stop()

    # -- what people decide

    def _follow(self) -> None:
        """Look at the folder again whenever someone decided something about a script, from the same process or another."""
        followed = self._decided
        while not self._stopping:
            seen = self._archive.bulletin.seen("script")
            try:
                decided = self._decisions()
            except StorageError as error:
                _log.warning("what was decided about scripts cannot be read; hostd looks again", reason=str(error))
                self._archive.bulletin.wait("script", seen, _AGAIN_S)
                continue
            if decided != followed:
                self._watch.look_again()
            followed = decided
            if not self._stopping:
                self._archive.bulletin.wait("script", seen, None)

    def _decisions(self) -> Sequence[object]:
        """Return what people decided, and what was uploaded on any node, to be compared with what it was."""
        with self._archive.read() as connection:
            return [*orders.decided(connection), *uploads.hashes(connection)]

    # -- what the folder says; one thread at a time

    def _changed(self, sources: dict[str, Source]) -> bool:
        if self._sharing is not None:
            sources = self._sharing.as_all_have_it(sources)
        with self._archive.read() as connection:
            known = {script.name: script for script in scripts.known(connection)}
        is_done = True
        for source in sources.values():
            try:
                is_done &= self._look_at(source)
            except Exception:  # noqa: BLE001 - one script's trouble must not hinder the others
                _log.exception("the script could not be looked at; hostd tries again", script=source.name)
                self._block_filters(source.name, known.get(source.name), "hostd failed while it was loaded")
                is_done = False
        for name in known.keys() - sources.keys():
            self._refused.pop(name, None)
            self._withdraw_filters(name, "its file is gone")
            if known[name].absent_since is None:
                self._runner(name).leave()
        return is_done

    def _look_at(self, source: Source) -> bool:
        """Bring one script up to date with its file and with what was decided; return whether that is settled."""
        known = self._meet(source.name)
        choice = choose(known, source.hash, manual=self._manual)
        if not choice.file and choice.waiting != known.waiting:
            self._note_waiting(source, choice.waiting)
        elif choice.file and known.waiting is not None:
            self._archive.writer.do(lambda c: orders.note_waiting(c, source.name, None, error=known.error))
        if choice.file:
            return self._take(source, known, releases=choice.releases)
        if choice.stored is not None:
            return self._take_stored(known, choice.stored)
        return self._take_none(known)

    def _take(self, source: Source, known: KnownScript, *, releases: bool) -> bool:
        """Have the text of the file run, if it is good."""
        if self._runs(known, source.hash):
            self._upload(source)
            self._clear(source.name)  # a bad edit may have been taken back
            self._release(known, releases=releases)
            return True
        refused, tries = self._refused.get(source.name, ("", 0))
        if refused == source.hash and tries >= self._limits.attempts:
            return True
        try:
            worker = self._try(source)
            version = Version(source.hash, source.text, tuple(worker.ready.handlers), source.helpers)
            self._use_filters(source.name, version, worker)
        except ScriptError as error:
            if self._sharing is not None:
                self._sharing.refused(source)
            return self._refuse(source, error, known)
        self._upload(source)
        self._clear(source.name)
        self._release(known, releases=releases)
        self._offer(source.name, version, worker)
        return True

    def _upload(self, source: Source) -> None:
        if self._sharing is not None:
            self._sharing.accepted(source)

    def _release(self, known: KnownScript, *, releases: bool) -> None:
        """Let go of a pinned version once the file changed since and its text is good."""
        if releases and self._archive.writer.do(lambda c: orders.release(c, known.name, expected=known)):
            _log.info("the script's file changed, so its earlier version is no longer pinned", script=known.name)

    def _take_stored(self, known: KnownScript, version: str) -> bool:
        """Have a version run that ran before, whatever the file holds."""
        name = known.name
        if self._runs(known, version):
            return True
        refused, tries = self._refused.get(name, ("", 0))
        if refused == version and tries >= self._limits.attempts:
            return True
        worker = self._load_stored(name, version)
        if worker is not None:
            self._refused.pop(name, None)
            self._offer(name, *worker)
            return True
        self._refused[name] = version, tries + 1 if refused == version else 1
        goes_on = self._has_version(name) or (version != known.version and self._fall_back(known))
        why = f"version {version[:12]} is to run and cannot be loaded any more; the log says why"
        if not goes_on:
            self._block_filters(name, known, why)
            if self._is_blocked(name):
                self._refused[name] = version, 0  # it is tried until it can be loaded: senders wait for it
        self._archive.writer.do(lambda c: scripts.refuse(c, name, why, goes_on=goes_on))
        return self._refused[name][1] >= self._limits.attempts

    def _take_none(self, known: KnownScript) -> bool:
        """Have a script rest that is disabled or parked, or that was never deployed."""
        if known.disabled:
            if self._has_version(known.name) or known.state == "running":
                self._runner(known.name).rest()
            self._withdraw_filters(known.name, "it is disabled")
        if known.parked is not None and known.waiting is None:
            self._clear(known.name)
        if known.disabled or known.parked is None or self._filter_parked(known):
            return True
        self._block_filters(
            known.name, known, f"version {known.parked[:12]} cannot be loaded any more; the log says why"
        )
        return not self._is_blocked(known.name)

    def _note_waiting(self, source: Source, waiting: str | None) -> None:
        """Say that the file's text is not taken yet, and what is wrong with it, if anything is."""
        error: str | None = None
        if waiting is not None:
            try:
                self._try(source).stop()
            except ScriptError as problem:
                error = str(problem)
            _log.info("the script's file holds another text than what runs; it waits", script=source.name, error=error)
        self._archive.writer.do(lambda c: orders.note_waiting(c, source.name, waiting, error=error))

    def _meet(self, name: str) -> KnownScript:
        if known := self._find(name):
            return known
        from_beginning = self._entry(name).start == "beginning"
        now = self._archive.clock.now()
        self._archive.writer.do(lambda c: scripts.meet(c, name, now, from_beginning=from_beginning))
        known = self._find(name)
        assert known is not None, "it was met just now"
        with self._archive.read() as connection:
            behind = orders.behind_of(connection, known)
        _log.info("new script", script=name, starts_at="the beginning" if from_beginning else "now", events=behind)
        return known

    def _find(self, name: str) -> KnownScript | None:
        with self._archive.read() as connection:
            return scripts.find(connection, name)

    def _try(self, source: Source) -> ScriptWorker:
        """Load an edit beside what runs; only when it is good does it take over. Raises `ScriptError`."""
        if source.problem:
            raise ScriptError(source.problem)
        return self._load(source.name, source.text, source.helpers)

    def _offer(self, name: str, version: Version, worker: ScriptWorker) -> None:
        faults = [finding for finding in worker.ready.findings if finding.is_fault]
        for fault in faults:
            where = fault.place if fault.file else fault.line
            _log.warning("script: this line will not work", script=name, line=where, reason=fault.message)
        said = [f"{fault.place}: {fault.message}" for fault in faults]
        if not version.handlers:
            said.append("it has no handler, so nothing calls it")
            _log.warning("script has no handler, so nothing calls it", script=name)
        self._archive.writer.do(lambda c: scripts.warn(c, name, _summary(said)))
        runner = self._runner(name)
        if name in self._renewed:
            self._renewed.discard(name)
            runner.change_rules(self._rules(self._entry(name)), self._entry(name).workers)
        runner.offer(Candidate(version, worker))

    # -- edits that are not taken

    def _refuse(self, source: Source, error: ScriptError, known: KnownScript) -> bool:
        name = source.name
        refused, tries = self._refused.get(name, ("", 0))
        tries = tries + 1 if refused == source.hash else 1
        is_final = bool(source.problem) or isinstance(error, RefusedScriptError)  # it would be refused again
        if is_final:
            tries = self._limits.attempts
        self._refused[name] = source.hash, tries
        if is_final and name in self._renewed:
            self._revoke(name)
        goes_on = self._has_version(name) or self._fall_back(known)
        if not goes_on and not self._filter_parked(known):
            self._block_filters(name, known, str(error))
            if self._is_blocked(name) and not is_final:
                self._refused[name] = source.hash, 0  # it is tried until it can be loaded: senders wait for it
                tries = 0
        self._archive.writer.do(lambda c: scripts.refuse(c, name, str(error), goes_on=goes_on))
        what_now = "; its last good version goes on" if goes_on else ""
        _log.error(f"script not taken{what_now}", script=name, reason=str(error))
        return tries >= self._limits.attempts

    def _revoke(self, name: str) -> None:
        """Let nothing go on under an entry that is no more: what it allowed may be what was taken away."""
        self._renewed.discard(name)
        if self._has_version(name):
            self._runner(name).rest()
        self._withdraw_filters(name, "it cannot be loaded with what its entry allows now")

    def _fall_back(self, known: KnownScript) -> bool:
        """After a restart, have the version go on that ran last."""
        if known.version is None or known.state not in {"running", "expected"}:  # expected: it was enabled just now
            return False
        stored = self._load_stored(known.name, known.version)
        if stored is None:
            return False
        self._offer(known.name, *stored)
        return True

    def _load_stored(self, name: str, wanted: str) -> tuple[Version, ScriptWorker] | None:
        """Load a version that ran before; None, and a line in the log, when it cannot be run any more."""
        with self._archive.read() as connection:
            version = scripts.get_version(connection, name, wanted)
        assert version is not None, "the source of every version that ran is kept"
        try:
            worker = self._load(name, version.source, version.helpers)
            self._use_filters(name, version, worker)
        except ScriptError as error:
            _log.error(
                "a version that ran before cannot be run any more", script=name, version=wanted[:12], reason=str(error)
            )
            return None
        return version, worker

    def _clear(self, name: str) -> None:
        self._refused.pop(name, None)
        known = self._find(name)
        if known is not None and known.error is not None:
            self._archive.writer.do(lambda c: scripts.refuse(c, name, None))

    # -- filters

    def _use_filters(self, name: str, version: Version, worker: ScriptWorker) -> None:
        """Have the filters of a version asked, if it has any. Raises `ScriptError`; then `worker` is ended."""
        if self._filters is None:
            return
        try:
            self._filters.use(
                name,
                version,
                lambda: self._load(name, version.source, version.helpers),
                anew=name in self._renewed,
            )
        except BaseException:
            worker.stop()
            raise

    def _filter_parked(self, known: KnownScript) -> bool:
        """Have the filters of a script that is parked asked on; return whether it is parked and they can be."""
        if self._filters is None or known.parked is None:
            return known.parked is not None
        name = known.name
        with self._archive.read() as connection:
            version = scripts.get_version(connection, name, known.parked)
        assert version is not None, "the source of every version that ran is kept"
        try:
            self._filters.use(name, version, lambda: self._load(name, version.source, version.helpers))
        except ScriptError as error:
            _log.error("the filters of a parked script cannot be asked", script=name, reason=str(error))
            return False
        return True

    def _withdraw_filters(self, name: str, why: str) -> None:
        if self._filters is not None:
            self._filters.withdraw(name, why)

    def _block_filters(self, name: str, known: KnownScript | None, problem: str) -> None:
        """Refuse what a script filtered in the version that ran last, since it cannot be loaded; not when it was disabled."""
        if self._filters is not None and known is not None and known.version is not None and not known.disabled:
            self._filters.block(name, known.version, known.handlers, problem)

    def _is_blocked(self, name: str) -> bool:
        return self._filters is not None and self._filters.is_blocked(name)

    # -- parts

    def _runner(self, name: str) -> Runner:
        if name not in self._runners:
            entry = self._entry(name)
            self._runners[name] = Runner(
                name,
                self._archive,
                self._feed,
                self._notebook,
                self._rules(entry),
                lambda version: self._load(name, version.source, version.helpers),
                self._timetable,
                workers=entry.workers,
            )
        return self._runners[name]

    def _has_version(self, name: str) -> bool:
        runner = self._runners.get(name)
        return runner is not None and runner.version is not None

    def _runs(self, known: KnownScript, version: str) -> bool:
        """Tell whether that version runs or is about to, and is not about to rest: a runner learns last that its script was parked."""
        runner = self._runners.get(known.name)
        if runner is None or runner.version != version or known.name in self._renewed:
            return False
        if runner.is_to_take_up(version):
            return True
        now_known = self._find(known.name)  # it may have been taken up just now
        return now_known is not None and now_known.state == "running"

    def _rules(self, entry: Script) -> Rules:
        return Rules(
            entry.time_limit_s,
            self._limits.attempts,
            self._means,
            self._limits.park_after,
            Quota(entry.actions_per_day, entry.bytes_per_day),
            self._names.channels_of(entry),
            self._limits.max_hops,
        )

    def _entry(self, name: str) -> Script:
        return self._entries.get(name) or Script()

    def _load(self, name: str, source: str, helpers: Mapping[str, str] | None = None) -> ScriptWorker:
        return ScriptWorker.start(
            self._frame(name, source, helpers), isolation=self._isolation, forked_by=self._launcher
        )

    def _frame(self, name: str, source: str, helpers: Mapping[str, str] | None = None) -> frames.Load:
        return load_frame(name, source, self._entry(name), self._names, self._means.destinations, helpers)
