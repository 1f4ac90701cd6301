"""The `hostd` command: one file a group of commands; here they are put together, and errors become exit codes."""

from __future__ import annotations

import sys

import typer

from hostd.errors import HostdError

PROBLEM = 2


def build() -> typer.Typer:
    """Return the whole command."""
    from hostd.cli import (  # noqa: PLC0415 - an error stays short
        actions,
        associations,
        backup,
        check,
        codecs,
        config,
        deliveries,
        demo,
        deploy,
        destinations,
        explain,
        init,
        notify,
        replay,
        run,
        run_on,
        scripts,
        send,
        status,
        transcode,
        versions,
    )  # fmt: skip

    app = typer.Typer(
        name="hostd",
        help="An event-driven scripting host for DICOM.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.command()(run.run)
    app.command()(init.init)
    app.command()(demo.demo)
    app.command()(check.check)
    app.command("try")(check.try_)
    app.command()(replay.replay)
    app.command()(deploy.deploy)
    app.command("run-on")(run_on.run_on)
    app.command()(associations.associations)
    app.command()(codecs.codecs)
    app.command()(explain.explain)
    app.command("instances")(explain.listing)
    app.command()(transcode.transcode)
    app.command()(send.send)
    app.command()(status.status)
    app.command()(backup.backup)
    app.command()(backup.restore)
    app.command()(backup.verify)
    app.add_typer(backup.index, name="index")
    app.add_typer(actions.app, name="actions")
    app.add_typer(config.app, name="config")
    app.add_typer(deliveries.app, name="deliveries")
    app.add_typer(destinations.app, name="destinations")
    for command in (versions.history, versions.rollback, versions.release, versions.disable, versions.enable):
        scripts.app.command()(command)
    app.add_typer(notify.app, name="notify")
    app.add_typer(scripts.app, name="scripts")
    return app


def main() -> None:
    """Run the command; what is meant for people is one message on standard error, exit code 2."""
    try:
        command = build()
    except KeyboardInterrupt:
        sys.exit("hostd: stopped before anything was begun")
    try:
        command()
    except HostdError as error:
        print(f"hostd: {error}", file=sys.stderr)
        sys.exit(PROBLEM)


__all__ = ["build", "main"]
