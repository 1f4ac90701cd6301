"""`hostd check` and `hostd try`: read a script critically, and rehearse it, before it runs anywhere."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from hostd.cli.run import chosen
from hostd.config.settings import Settings, load
from hostd.errors import HostdError
from hostd.sandbox.frames import Finding
from hostd.scripting.folder import read_source
from hostd.scripting.host import load_frame
from hostd.scripting.rehearsal import Rehearsal, rehearse
from hostd.scripting.runtime import RefusedScriptError, ScriptWorker

Scripts = Annotated[
    list[Path], typer.Argument(metavar="SCRIPT...", exists=True, dir_okay=False, help="Scripts to check.")
]
Config = Annotated[
    Path | None,
    typer.Option("--config", help="The configuration that names destinations; hostd.toml here if it exists."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_FAULTS = frozenset({"problem", "unknown_handler", "unknown_keyword"})


def check(scripts: Scripts, config: Config = None, as_json: AsJson = False) -> None:
    """Compile scripts under the policy; name what is wrong with file and line. Exit code 0: nothing, 1: something is."""
    settings = load(chosen(config))
    found = {path: _findings(path, settings) for path in scripts}
    faults = {path: [f for f in findings if _is_fault(f)] for path, findings in found.items()}
    if as_json:
        report = [
            {
                "script": str(path),
                "ok": not faults[path],
                "handlers": [f.name for f in findings if f.kind == "handler"],
                "findings": [
                    {"kind": f.kind, "line": f.line, "column": f.column, "name": f.name, "message": f.message}
                    for f in findings
                ],
            }
            for path, findings in found.items()
        ]
        typer.echo(json.dumps(report, indent=2))
    else:
        for path, findings in found.items():
            for fault in faults[path]:
                typer.echo(f"{path}:{fault.line}: {fault.message or fault.name}", err=True)
            if not faults[path]:
                handlers = ", ".join(f.name for f in findings if f.kind == "handler") or "no handler"
                typer.echo(f"{path}: good ({handlers})")
    if any(faults.values()):
        raise typer.Exit(1)


def _is_fault(finding: Finding) -> bool:
    return finding.kind in _FAULTS or (finding.kind == "destination" and bool(finding.message))


def _findings(path: Path, settings: Settings) -> list[Finding]:
    source = read_source(path)
    if source.problem:
        return [Finding("problem", 1, 0, path.name, source.problem)]
    try:
        worker = _load(path, source.text, settings)
    except RefusedScriptError as error:
        return error.problems
    try:
        return worker.ready.findings
    finally:
        worker.stop()


def _load(path: Path, source: str, settings: Settings) -> ScriptWorker:
    frame = load_frame(path.name, source, settings.script(path.name), list(settings.destination_names()))
    return ScriptWorker.start(frame, isolation=settings.scripting.isolation)


def try_(
    script: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The script to rehearse.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", exists=True, dir_okay=False, help="DICOM files.")],
    config: Config = None,
    event: Annotated[str, typer.Option(help="The event to rehearse.")] = "stored_instance",
    as_json: AsJson = False,
) -> None:
    """Run a script on files: show its plan and its log, and change nothing. Exit code 1: it failed on one of them."""
    settings = load(chosen(config))
    source = read_source(script)
    if source.problem:
        raise HostdError(source.problem)
    worker = _load(script, source.text, settings)
    rehearsals = []
    try:
        for file in files:
            try:
                rehearsals.append(
                    rehearse(
                        worker,
                        file,
                        kind=event,
                        now=time.time(),
                        destinations=lambda name: ":".join(settings.resolve_destination(name)),
                        time_limit_s=settings.script(script.name).time_limit_s,
                    )
                )
            except HostdError as error:
                rehearsals.append(Rehearsal(file, f"on_{event}", (), (), (), str(error)))
    finally:
        worker.stop()
    if as_json:
        typer.echo(json.dumps([_as_json(r) for r in rehearsals], indent=2))
    else:
        for rehearsal in rehearsals:
            _print(rehearsal)
    if any(r.error for r in rehearsals):
        raise typer.Exit(1)


def _as_json(rehearsal: Rehearsal) -> dict[str, Any]:
    log = [{"level": level, "text": text} for level, text in rehearsal.log]
    return asdict(rehearsal) | {"file": str(rehearsal.file), "log": log}


def _print(rehearsal: Rehearsal) -> None:
    typer.echo(f"{rehearsal.file}: {rehearsal.handler}")
    for line in rehearsal.plan:
        typer.echo(f"  would {line}")
    if not rehearsal.plan and not rehearsal.error:
        typer.echo("  would do nothing")
    for level, text in rehearsal.log:
        typer.echo(f"  log {level}: {text}")
    if rehearsal.error:
        typer.echo(f"  failed: {rehearsal.error}")
