"""The `hostd` command: one file a group of commands; here they are put together, and errors become exit codes."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from hostd import __version__
from hostd.cli.allocator import share_one_arena
from hostd.cli.imports import import_libraries, without_collecting
from hostd.cli.interning import keep_no_paths
from hostd.cli.listing import help_of
from hostd.errors import HostdError

PROBLEM = 2
_COMMANDS = {
    "run": "run.run",
    "init": "init.init",
    "demo": "demo.demo",
    "check": "check.check",
    "try": "check.try_",
    "replay": "replay.replay",
    "deploy": "deploy.deploy",
    "run-on": "run_on.run_on",
    "associations": "associations.associations",
    "codecs": "codecs.codecs",
    "explain": "explain.explain",
    "instances": "explain.listing",
    "transcode": "transcode.transcode",
    "import": "importing.import_",
    "send": "send.send",
    "status": "status.status",
    "backup": "backup.backup",
    "restore": "backup.restore",
    "verify": "backup.verify",
    "index": "backup.index",
    "actions": "actions.app",
    "config": "convert.app",
    "deliveries": "deliveries.app",
    "destinations": "destinations.app",
    "notify": "notify.app",
    "scripts": "versions.app",
}
"""Command → its function, or its group of commands, below this package."""


def build(only: str | None = None) -> typer.Typer:
    """Return the whole command; where `only` is the name of one of its commands, with that one alone.

    What a command needs is imported for it: the whole takes a second or two, which nobody who runs one of them should wait for.
    """
    app = _group()
    for name in [only] if only in _COMMANDS else _COMMANDS:
        module, attribute = _COMMANDS[name].split(".")
        command = getattr(import_module(f"{__name__}.{module}"), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def listing() -> typer.Typer:
    """Return the command as `--help` shows it; none of its commands can be run."""
    app = _group()
    for name, where in _COMMANDS.items():
        app.command(name, help=help_of(*where.split(".")))(_listed_only)
    return app


def _group() -> typer.Typer:
    app = typer.Typer(
        name="hostd",
        help="An event-driven scripting host for DICOM.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_whole)
    return app


def main() -> None:
    """Run the command; what is meant for people is one message on standard error, exit code 2."""
    try:
        with without_collecting():
            command = listing() if sys.argv[1:] in ([], ["--help"], ["--version"]) else _built()
    except KeyboardInterrupt:
        sys.exit("hostd: stopped before anything was begun")
    try:
        command()
    except HostdError as error:
        print(f"hostd: {error}", file=sys.stderr)
        sys.exit(PROBLEM)
    except OSError as error:
        if error.strerror is None:
            raise
        print(f"hostd: {_in_words(error)}", file=sys.stderr)
        _leave_output()
        sys.exit(PROBLEM)


def _in_words(error: OSError) -> str:
    if error.filename is not None:
        return f"{error.filename} cannot be used: {error.strerror}"
    if isinstance(error, FileNotFoundError):
        return "the current folder is no longer there: change into another"
    return error.strerror or str(error)


def _leave_output() -> None:
    """Leave out what could not be printed, as on a full disk: the interpreter would try again at its end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _built() -> typer.Typer:
    share_one_arena()  # numpy, which pydicom imports, starts threads
    keep_no_paths()
    import_libraries()
    return build(*sys.argv[1:2])


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"hostd {__version__}")
        raise typer.Exit


def _whole(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    # Without it Typer would take the only command of a group for the whole.
    pass


def _listed_only() -> None:
    pass


__all__ = ["build", "listing", "main"]
