"""`hostd run`: one node until it is told to stop."""

from __future__ import annotations

import os
import signal
from typing import Annotated

import structlog
import typer

from hostd.cli import log
from hostd.cli.config import ConfigPath, chosen
from hostd.cli.descriptors import allow_many
from hostd.cli.imports import collect_seldom, keep_what_is_there, without_collecting
from hostd.cli.signals import on_stop_signal
from hostd.config.rereading import Rereading
from hostd.config.sections import Log
from hostd.config.settings import Settings, load_with_origins
from hostd.control import Control, Verbosity
from hostd.errors import HostdError, NodeError
from hostd.launcher import Launcher
from hostd.scripting import processes
from hostd.scripting.processes import WorkerLost


def run(
    config: ConfigPath = None,
    no_scripts: Annotated[
        bool, typer.Option("--no-scripts", help="Receive, store, and deliver what is queued; run no script.")
    ] = False,
    no_jobs: Annotated[
        bool, typer.Option("--no-jobs", help="Hold the deliveries that wait from before, until they are released.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Log all there is to say, whatever log.level says.")
    ] = False,
) -> None:
    """Run a node until SIGTERM or Ctrl-C, which stops it cleanly."""
    allow_many()
    file = chosen(config)
    # Before it is read, so that a change meanwhile is one.
    rereading = Rereading(file, lambda wanted: take(wanted)) if file is not None else None  # noqa: PLW0108 - it is made later
    loaded = load_with_origins(file)
    settings = loaded.settings
    voice = _Voice(settings.log, is_verbose=verbose)
    launcher = None if no_scripts else _warming_launcher()
    with without_collecting():
        from hostd.node import Node  # noqa: PLC0415 - takes a while, in which what workers are forked off is loaded too

    collect_seldom()
    control = Control(
        reload=rereading.ask if rereading is not None else None,
        shut_down=lambda: os.kill(os.getpid(), signal.SIGTERM),
        set_verbosity=voice.set_verbosity,
    )
    node = Node(settings, run_scripts=not no_scripts, hold_waiting=no_jobs, launcher=launcher, control=control)

    def take(wanted: Settings) -> None:
        node.reconfigure(wanted)
        voice.use(wanted.log)

    wait_for_stop = on_stop_signal(rereading.ask if rereading is not None else None)
    try:
        node.start()
    except HostdError as error:
        raise NodeError(loaded.said(str(error))) from error
    try:
        if rereading is not None:
            rereading.start(loaded.notes)
        for note in loaded.notes:
            typer.echo(f"{file}: {note}")
        facts = node.facts()
        for sentence in facts.sentences():
            typer.echo(loaded.said(sentence))
        typer.echo("ready; Ctrl-C stops")
        keep_what_is_there()
        node.warm_up()
        wait_for_stop()
        structlog.get_logger(__name__).info("stopping")
    finally:
        if rereading is not None:
            rereading.stop()
        node.stop()


class _Voice:
    """The log: as it is configured, unless there is more wanted by `--verbose`, or over HTTP until its configuration changes."""

    def __init__(self, configured: Log, *, is_verbose: bool) -> None:
        self._configured = configured
        self._is_verbose = is_verbose
        self._speak()

    @property
    def _level(self) -> str:
        return "debug" if self._is_verbose else self._configured.level

    def use(self, configured: Log) -> None:
        """Write the log as it is configured now, where that is another way."""
        if configured != self._configured:
            self._configured = configured
            self._speak()

    def set_verbosity(self, verbosity: Verbosity) -> None:
        """Write more, or as it is configured."""
        log.set_level(_level_of(verbosity, self._level))

    def _speak(self) -> None:
        log.configure(self._configured.format, self._level)


def _level_of(verbosity: Verbosity, configured: str) -> str:
    """Return the level of the log. Orthanc's "verbose" tells each thing that is done, and hostd has no more to say for its "trace"."""
    return configured if verbosity == "default" else "debug"


def _warming_launcher() -> Launcher | None:
    """Return what starts the workers of scripts, and loads what they need meanwhile."""
    try:
        launcher = processes.launcher()
        launcher.warm_up()
    except (WorkerLost, OSError):  # the node meets the same, and says it
        return None
    return launcher
