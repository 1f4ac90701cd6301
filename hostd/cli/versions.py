"""`hostd scripts history`, `rollback`, `release`, `disable`, `enable`: which version of a script runs, and whether it does.

Each is a row of the index: a node that runs follows within seconds, one that starts later follows then.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from hostd.archive import leases, orders
from hostd.archive import scripts as rows
from hostd.archive.archive import attach, is_held
from hostd.archive.scripts import Version
from hostd.cli.config import AsJson
from hostd.cli.looking import Config, iso_time, local_time, print_json, print_table, printable, refuse, settings_of
from hostd.cli.scripts import app
from hostd.config.permissions import refuse_writable_by_others
from hostd.config.settings import Settings
from hostd.scripting.folder import LIBRARY, Source, read_source

Name = Annotated[str, typer.Argument(metavar="NAME", help="The file name of the script, as compress.py.")]

_SHORT = 12
_FOLLOWS = "a node that runs follows within seconds"


@app.command()
def history(
    name: Name,
    show: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Print the source of this version, with its helpers.")
    ] = None,
    diff: Annotated[
        tuple[str, str] | None, typer.Option(metavar="OLD NEW", help="Print what changed between two versions.")
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List the versions of a script that ran, and when. A version may be written by the beginning of its hash."""
    with attach(settings_of(config).node.place) as connection:
        orders.needed(connection, name)
        if show is not None:
            typer.echo(_text(_version(connection, name, show)), nl=False)
            return
        if diff is not None:
            old, new = (_version(connection, name, one) for one in diff)
            typer.echo(_difference(name, old, new), nl=False)
            return
        periods = orders.periods(connection, name)
        handlers = {one.hash: list(one.handlers) for one in rows.versions(connection, name)}
    if as_json:
        print_json([_facts(period, handlers[period.version]) for period in periods])
        return
    cells = [
        [
            period.version[:_SHORT],
            local_time(period.since),
            local_time(period.until) or "now",
            ", ".join(handlers[period.version]),
        ]
        for period in periods
    ]
    print_table(("version", "from", "until", "handlers"), cells, empty=f"no version of {name} ever ran")


@app.command()
def rollback(
    name: Name,
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="The version, or the beginning of its hash.")
    ] = None,
    config: Config = None,
) -> None:
    """Have an earlier version of a script run again: the one before, or VERSION. Its file stays as it is.

    What the file holds now is not taken until it changes again, or until `hostd scripts release`.
    """
    settings = settings_of(config)
    over = file_of(settings, name)
    with attach(settings.node.place, writes=True) as connection:
        orders.needed(connection, name)
        wanted = (
            orders.version_named(connection, name, version) if version is not None else orders.earlier(connection, name)
        )
        orders.pin(connection, name, wanted, over=over.hash)
    typer.echo(f"{name} is pinned to {wanted[:_SHORT]}; {_FOLLOWS}. Its file is taken again once it changes")


@app.command()
def release(name: Name, config: Config = None) -> None:
    """Let what a script's file holds run again, after a rollback. Exit code 1: no version of it is pinned."""
    with attach(settings_of(config).node.place, writes=True) as connection:
        if not orders.release(connection, name):
            raise refuse(f"no version of {name} is pinned")
    typer.echo(f"{name} is no longer pinned; {_FOLLOWS}")


@app.command()
def disable(name: Name, config: Config = None) -> None:
    """Have a script rest after the run that is going on. It keeps its place: events wait for it. Its filters are not asked."""
    with attach(settings_of(config).node.place, writes=True) as connection:
        orders.disable(connection, name)
    typer.echo(f"{name} is disabled; {_FOLLOWS}. Its events wait until `hostd scripts enable {name}`")


@app.command()
def enable(
    name: Name,
    skip: Annotated[
        bool, typer.Option("--skip", help="Leave out what waits for it: it goes on with what comes from now on.")
    ] = False,
    config: Config = None,
) -> None:
    """Let a script go on that was disabled, or that the node parked; its quotas are counted anew."""
    node = settings_of(config).node
    with attach(node.place, writes=True) as connection:
        known = orders.needed(connection, name)
        is_run = is_held(node.data) or leases.holder(connection, f"script:{name}") is not None
        if skip and known.state == "running" and is_run:
            raise refuse(f"the node has not come to disabling {name} yet: ask again in a few seconds")
        count = orders.enable(connection, name, skip=skip)
    what = f"{count} events are left out" if skip else f"{count} events wait for it"
    typer.echo(f"{name} is enabled, {what}; {_FOLLOWS}")


def file_of(settings: Settings, name: str) -> Source:
    """Read a script's file as the node does; exit code 1 when there is none."""
    trusts_all = settings.node.allow_insecure_permissions
    path = settings.node.scripts / name
    try:
        return read_source(path, (lambda _path: None) if trusts_all else refuse_writable_by_others)
    except FileNotFoundError:
        raise refuse(f"there is no {path}: without its file no version of a script runs") from None


# -- what is shown ----------------------------------------------------------------------------------------------------


def _version(connection: Connection, name: str, beginning: str) -> Version:
    version = rows.get_version(connection, name, orders.version_named(connection, name, beginning))
    assert version is not None, "it was found by its hash"
    return version


def _files(name: str, version: Version) -> Mapping[str, str]:
    return {name: version.source} | {f"{LIBRARY}/{one}.py": text for one, text in sorted(version.helpers.items())}


def _text(version: Version) -> str:
    parts = [_lines(version.source)]
    for name, text in sorted(version.helpers.items()):
        parts.append(f"\n# -- {LIBRARY}/{name}.py\n\n{_lines(text)}")
    return "".join(parts)


def _lines(text: str) -> str:
    return "".join(f"{printable(line)}\n" for line in text.expandtabs().splitlines())


def _difference(name: str, old: Version, new: Version) -> str:
    before, after = _files(name, old), _files(name, new)
    lines = [
        line
        for file in dict.fromkeys((*before, *after))
        for line in difflib.unified_diff(
            _lines(before.get(file, "")).splitlines(),
            _lines(after.get(file, "")).splitlines(),
            f"{old.hash[:_SHORT]}/{file}",
            f"{new.hash[:_SHORT]}/{file}",
            lineterm="",
        )
    ]
    return "".join(f"{line}\n" for line in lines)


def _facts(period: orders.Period, handlers: list[str]) -> dict[str, Any]:
    return {
        "version": period.version,
        "since": iso_time(period.since),
        "until": iso_time(period.until),
        "handlers": handlers,
    }


__all__ = ["disable", "enable", "file_of", "history", "release", "rollback"]
