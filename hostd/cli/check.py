"""`hostd check` and `hostd try`: read a script critically, and rehearse it, before it runs anywhere."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from hostd.archive.records import Origin
from hostd.cli.configured import Configuration, configured
from hostd.cli.looking import printable
from hostd.errors import HostdError, ScriptError
from hostd.sandbox.frames import Finding
from hostd.scripting.folder import LIBRARY, read_source
from hostd.scripting.processes import WorkerLost
from hostd.scripting.rehearsal import Rehearsal, failed, grouped, rehearse
from hostd.scripting.runtime import RefusedScriptError, ScriptWorker

Scripts = Annotated[
    list[Path], typer.Argument(metavar="SCRIPT...", exists=True, dir_okay=False, help="Scripts to check.")
]
Config = Annotated[
    Path | None,
    typer.Option("--config", help="The configuration that names destinations; hostd.toml here if it exists."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def check(scripts: Scripts, config: Config = None, as_json: AsJson = False) -> None:
    """Compile scripts under the policy; name what is wrong with file and line. Exit code 0: nothing, 1: something is."""
    configuration = configured(config)
    found = [(path, _findings(path, configuration)) for path in scripts]
    if as_json:
        typer.echo(json.dumps([_report(path, findings) for path, findings in found], indent=2))
    else:
        for path, findings in found:
            _print_findings(path, findings)
    if any(_faults(findings) for _, findings in found):
        raise typer.Exit(1)


def try_(
    script: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The script to rehearse.")],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE...]", exists=True, dir_okay=False, help="DICOM files.")
    ] = None,
    config: Config = None,
    event: Annotated[
        str, typer.Option(help="The event to rehearse, or the function that runs by the clock.")
    ] = "stored_instance",
    calling_aet: Annotated[str | None, typer.Option(help="The AE title that the files are said to come from.")] = None,
    called_aet: Annotated[str | None, typer.Option(help="The AE title that it called.")] = None,
    sender: Annotated[str | None, typer.Option(help="The name of that modality in the configuration.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a script on files: show its plan and its log, and change nothing. Exit code 1: it failed on one of them.

    Without files, its functions that run by the clock are rehearsed, once each.
    """
    is_said = any((calling_aet, called_aet, sender))
    origin = Origin("dicom", calling_aet=calling_aet, called_aet=called_aet, modality=sender) if is_said else None
    rehearsals = _rehearse(script, files or [], configured(config), event.removeprefix("on_"), origin)
    if as_json:
        typer.echo(json.dumps([_as_json(rehearsal) for rehearsal in rehearsals], indent=2))
    else:
        for rehearsal in rehearsals:
            _print_rehearsal(rehearsal)
    if any(rehearsal.error for rehearsal in rehearsals):
        raise typer.Exit(1)


# -- check ------------------------------------------------------------------------------------------------------------


def _findings(path: Path, configuration: Configuration) -> list[Finding]:
    source = read_source(path)
    if source.problem:
        return [Finding("problem", 1, 0, path.name, source.problem)]
    try:
        worker = configuration.start(path.name, source)
    except RefusedScriptError as error:
        return error.problems
    except WorkerLost as error:  # its module body never ended, say
        return [Finding("problem", 1, 0, path.name, str(error))]
    worker.stop()
    return [configuration.explain(finding) for finding in worker.ready.findings]


def _faults(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.is_fault]


def _handlers(findings: Sequence[Finding]) -> list[str]:
    return [finding.name for finding in findings if finding.kind == "handler"]


def _called(findings: Sequence[Finding]) -> list[str]:
    """Return what is called of a script: its handlers, and what runs by the clock."""
    return [*_handlers(findings), *(f"{one.name} {one.message}" for one in findings if one.kind == "schedule")]


def _report(path: Path, findings: Sequence[Finding]) -> dict[str, Any]:
    return {
        "script": str(path),
        "ok": not _faults(findings),
        "handlers": _handlers(findings),
        "findings": [
            {
                "kind": f.kind,
                "line": f.line,
                "column": f.column,
                "name": f.name,
                "message": f.message,
                "file": f.file or path.name,
            }
            for f in findings
        ],
    }


def _print_findings(path: Path, findings: Sequence[Finding]) -> None:
    for fault in _faults(findings):
        file = _folder_of_lib(path) / fault.file if fault.file else path
        typer.echo(f"{file}:{fault.line}: {printable(fault.message or fault.name)}", err=True)
    if not _faults(findings):
        typer.echo(f"{path}: good ({', '.join(_called(findings)) or 'no handler, so nothing would call it'})")


def _folder_of_lib(path: Path) -> Path:
    """Return the folder that has the helpers' folder in it, for a script or for a helper that is checked itself."""
    return path.parent.parent if path.parent.name == LIBRARY else path.parent


# -- try --------------------------------------------------------------------------------------------------------------


def _rehearse(
    script: Path, files: Sequence[Path], configuration: Configuration, kind: str, origin: Origin | None
) -> list[Rehearsal]:
    source = read_source(script)
    if source.problem:
        raise ScriptError(source.problem)
    worker = configuration.start(script.name, source)
    missing = [configuration.explain(f) for f in worker.ready.findings if f.kind == "destination" and f.message]
    rehearsals: list[Rehearsal] = []
    try:
        for what, (file, *more) in _occasions(script, files, worker, kind):
            try:
                rehearsal = rehearse(
                    worker,
                    file,
                    *more,
                    kind=what,
                    now=time.time(),
                    destinations=configuration.resolve_destination,
                    tools=configuration.resolve_tool,
                    projects=configuration.resolve_project,
                    channels=configuration.channels_of(script.name),
                    time_limit_s=configuration.settings.script(script.name).time_limit_s,
                    origin=origin,
                    measure=configuration.measure,
                )
            except WorkerLost as lost:
                rehearsal = failed(file, what, lost)
                worker = configuration.start(script.name, source)
            except (HostdError, OSError) as error:
                rehearsal = failed(file, what, error)
            rehearsals.append(_explained(rehearsal, missing))
    finally:
        worker.stop()
    return rehearsals


def _occasions(
    script: Path, files: Sequence[Path], worker: ScriptWorker, kind: str
) -> list[tuple[str, tuple[Path, ...]]]:
    """Return what is to be rehearsed, each with what it is about: files, or for what runs by the clock the script."""
    by_the_clock = list(dict.fromkeys(one.function for one in worker.ready.schedules))
    if kind in by_the_clock or (not files and by_the_clock):
        return [(one, (script,)) for one in by_the_clock if one == kind or kind not in by_the_clock]
    if not files:
        raise typer.BadParameter("name the DICOM files to rehearse it on")
    return [(kind, group) for group in grouped(files, kind)]


def _explained(rehearsal: Rehearsal, missing: Sequence[Finding]) -> Rehearsal:
    """Have a rehearsal that failed for want of a destination say what `check` says of that line."""
    for finding in missing:
        if rehearsal.error and f"no destination is called {finding.name!r}" in rehearsal.error:
            return replace(rehearsal, error=f"{finding.message} (line {finding.line})")
    return rehearsal


def _as_json(rehearsal: Rehearsal) -> dict[str, Any]:
    log = [{"level": level, "text": text} for level, text in rehearsal.log]
    facts = asdict(rehearsal) | {"file": str(rehearsal.file), "log": log}
    del facts["actions"]  # `plan` says them
    return facts


def _print_rehearsal(rehearsal: Rehearsal) -> None:
    typer.echo(f"{rehearsal.file}: {rehearsal.handler}")
    for line in rehearsal.plan:
        typer.echo(f"  would {printable(line)}")
    if not rehearsal.plan and not rehearsal.error:
        typer.echo("  would do nothing")
    for level, text in rehearsal.log:
        typer.echo(f"  log {printable(level)}: {printable(text)}")
    if rehearsal.error:
        typer.echo(f"  failed: {printable(rehearsal.error)}")
