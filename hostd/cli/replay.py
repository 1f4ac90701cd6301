"""`hostd replay`: a script over what the node has lived through, alone or beside another version of it. Nothing leaves the machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from sqlalchemy import Connection

from hostd.archive import events, scripts
from hostd.archive.archive import attach
from hostd.archive.blobs import stored_at
from hostd.archive.records import Event
from hostd.cli.config import AsJson
from hostd.cli.configured import Configuration, configured
from hostd.cli.looking import Config, print_json, printable
from hostd.errors import ScriptError
from hostd.scripting.folder import Source, read_source
from hostd.scripting.replay import Difference, Replayed, Replayer, differences

_SHORT = 12
_SHOWN = 10


def replay(
    script: Annotated[str, typer.Argument(help="A file, or the name of a script that the node knows, as compress.py.")],
    against: Annotated[
        str | None,
        typer.Option(
            metavar="OLD",
            help="Show what it would do otherwise than this: a file, a name, or a version as compress.py@1a2b.",
        ),
    ] = None,
    last: Annotated[
        int, typer.Option("--last", min=1, help="Over so many of the newest events that it handles.")
    ] = 500,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Run a script over past events, also of instances deleted since: show what it would do, and do nothing.

    Exit code 1: it failed on one of them.
    """
    configuration = configured(config)
    with attach(configuration.settings.node.place) as connection:
        new = version_named(connection, script)
        old = version_named(connection, against) if against is not None else None
    past = past_of(configuration, [new] if old is None else [new, old], last)
    of_new = replayed_over(configuration, new, past)
    of_old = replayed_over(configuration, old, past) if old is not None else None
    if of_old is not None:
        show_differences(differences(of_new, of_old), len(past), as_json=as_json)
    else:
        _show(of_new, as_json=as_json)
    if any(one.outcome is not None and one.outcome.error for one in of_new):
        raise typer.Exit(1)


def version_named(connection: Connection, name: str) -> Source:
    """Return a version of a script. Raises `ScriptError` when there is none."""
    if Path(name).is_file():
        source = read_source(Path(name))
        if source.problem:
            raise ScriptError(source.problem)
        return source
    known, _, wanted = name.partition("@")
    found = [version for version in scripts.versions(connection, known) if version.hash.startswith(wanted)]
    if wanted and len(found) > 1:
        raise ScriptError(f"several versions of {known} begin with {wanted}: write more of it")
    if not wanted:
        running = scripts.find(connection, known)
        found = [version for version in found if running is not None and version.hash == running.version]
    if not found:
        have = ", ".join(version.hash[:_SHORT] for version in scripts.versions(connection, known))
        raise ScriptError(
            f"{name}: there is no such file, and "
            + (f"the versions of {known} are {have}" if have else "no script of that name ever ran here")
        )
    return Source(known, found[0].source, found[0].hash, None, found[0].helpers)


def past_of(configuration: Configuration, versions: Sequence[Source], last: int) -> list[Event]:
    """Return the newest events that any of these versions handles, in order. Raises `ScriptError` when one cannot be loaded."""
    kinds = {kind for version in versions for kind in _kinds(configuration, version)}
    with attach(configuration.settings.node.place) as connection:
        return events.latest(connection, kinds, last, scripts={version.name for version in versions})


def _kinds(configuration: Configuration, version: Source) -> set[str]:
    """Return the kinds of events that a version handles, besides those about itself. Raises `ScriptError` when it cannot be loaded."""
    worker = configuration.start(version.name, version)
    worker.stop()
    return events.kinds_of(worker.ready.handlers)


def replayed_over(configuration: Configuration, version: Source, past: list[Event]) -> list[Replayed]:
    """Run a version over events of the past. Raises `ScriptError` when it cannot be loaded."""
    settings = configuration.settings
    replayer = Replayer(
        lambda: configuration.start(version.name, version),
        file_of=lambda blob: stored_at(settings.node.place, blob),
        read=lambda: attach(settings.node.place),
        destinations=configuration.resolve_destination,
        time_limit_s=settings.script(version.name).time_limit_s,
        tools=configuration.resolve_tool,
        projects=configuration.resolve_project,
        channels=configuration.channels_of(version.name),
        script=version.name,
        measure=configuration.measure,
        max_hops=settings.scripting.max_hops,
    )
    console = Console(stderr=True)
    return list(
        track(
            replayer.replay(past),
            description=f"{version.name} {version.hash[:_SHORT]}",
            total=len(past),
            console=console,
            disable=not console.is_terminal,
        )
    )


# -- what is shown ----------------------------------------------------------------------------------------------------


def _show(replayed: list[Replayed], *, as_json: bool) -> None:
    if as_json:
        print_json([_facts(one) for one in replayed])
        return
    handled = [one for one in replayed if one.outcome is not None]
    counts = Counter(sentence for one in handled for sentence in one.sentences.elements())
    typer.echo(f"over {len(handled)} past events")
    for sentence, count in counts.most_common():
        typer.echo(f"  would {printable(sentence)}: {count}")
    idle = sum(not one.sentences for one in handled)
    if idle:
        typer.echo(f"  would do nothing: {idle}")
    for one in handled:
        if one.outcome is not None and one.outcome.error:
            typer.echo(f"  event {one.event.number}, {one.sop_instance_uid}: {printable(one.outcome.error)}", err=True)


def show_differences(found: list[Difference], count: int, *, as_json: bool = False) -> None:
    """Print what one version would do otherwise than another, and on which of `count` events."""
    if as_json:
        print_json(
            [
                {"sentence": one.sentence, "is_new": one.is_new, "events": [_facts(each) for each in one.replayed]}
                for one in found
            ]
        )
        return
    if not found:
        typer.echo(f"no difference over {count} past events")
    for one in found:
        typer.echo(printable(str(one)))
        for each in one.replayed[:_SHOWN]:
            read = ", ".join(each.outcome.tags_read) if each.outcome else ""
            why = f": {printable(each.outcome.error)}" if each.outcome and each.outcome.error else ""
            typer.echo(
                f"  event {each.event.number}, {each.sop_instance_uid}" + (f", read {read}" if read else "") + why
            )
        if len(one.replayed) > _SHOWN:
            typer.echo(f"  and {len(one.replayed) - _SHOWN} more (--json has all)")


def _facts(one: Replayed) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "event": one.event.number,
        "kind": one.event.kind,
        "instance": one.event.subject,
        "sop_instance_uid": one.sop_instance_uid,
        "handled": one.outcome is not None,
    }
    if one.outcome is not None:
        facts |= asdict(one.outcome)
        del facts["actions"]  # `plan` says them
    return facts


__all__ = ["past_of", "replay", "replayed_over", "show_differences", "version_named"]
