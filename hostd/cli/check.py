"""`hostd check` and `hostd try`: read a script critically, and rehearse it, before it runs anywhere."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from hostd.cli.config import chosen
from hostd.config.settings import Settings, load
from hostd.errors import HostdError, ScriptError
from hostd.sandbox.frames import Finding
from hostd.scripting.folder import LIBRARY, Source, read_source
from hostd.scripting.host import load_frame
from hostd.scripting.rehearsal import Rehearsal, rehearse
from hostd.scripting.runtime import RefusedScriptError, ScriptWorker, WorkerLost

Scripts = Annotated[
    list[Path], typer.Argument(metavar="SCRIPT...", exists=True, dir_okay=False, help="Scripts to check.")
]
Config = Annotated[
    Path | None,
    typer.Option("--config", help="The configuration that names destinations; hostd.toml here if it exists."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_FAULTS = frozenset({"problem", "unknown_handler", "unknown_keyword"})


@dataclass(frozen=True, slots=True)
class _Configuration:
    """The settings, and the file they are from, when there is one."""

    settings: Settings
    file: Path | None

    def start(self, script: str, source: Source) -> ScriptWorker:
        """Load a script as a node of this configuration would. Raises `ScriptError`."""
        settings = self.settings
        names = settings.destination_names()
        frame = load_frame(
            script, source.text, settings.script(script), names, self.resolve_destination, source.helpers
        )
        return ScriptWorker.start(frame, isolation=settings.scripting.isolation)

    def resolve_destination(self, name: str) -> str:
        """Return a destination's name as `kind:name`. Raises `NotFoundError` or `ConfigurationError`."""
        return ":".join(self.settings.resolve_destination(name))

    def explain(self, finding: Finding) -> Finding:
        """Say of a destination that is not configured which line is missing where."""
        known = self.settings.destination_names()
        if finding.kind != "destination" or not finding.message or finding.name in known:
            return finding
        where = str(self.file or "hostd.toml")
        message = f"no modality or peer is called {finding.name!r} in {where}; add [modalities.{finding.name}]"
        if self.file is None:
            message += " (there is no hostd.toml in this folder; --config names one elsewhere)"
        elif known:
            message += f"; there are: {', '.join(known)}"
        return Finding(finding.kind, finding.line, finding.column, finding.name, message, finding.file)


def check(scripts: Scripts, config: Config = None, as_json: AsJson = False) -> None:
    """Compile scripts under the policy; name what is wrong with file and line. Exit code 0: nothing, 1: something is."""
    configuration = _configuration(config)
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
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", exists=True, dir_okay=False, help="DICOM files.")],
    config: Config = None,
    event: Annotated[str, typer.Option(help="The event to rehearse.")] = "stored_instance",
    as_json: AsJson = False,
) -> None:
    """Run a script on files: show its plan and its log, and change nothing. Exit code 1: it failed on one of them."""
    rehearsals = _rehearse(script, files, _configuration(config), event.removeprefix("on_"))
    if as_json:
        typer.echo(json.dumps([_as_json(rehearsal) for rehearsal in rehearsals], indent=2))
    else:
        for rehearsal in rehearsals:
            _print_rehearsal(rehearsal)
    if any(rehearsal.error for rehearsal in rehearsals):
        raise typer.Exit(1)


def _configuration(config: Path | None) -> _Configuration:
    file = chosen(config)
    return _Configuration(load(file), file)


# -- check ------------------------------------------------------------------------------------------------------------


def _findings(path: Path, configuration: _Configuration) -> list[Finding]:
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
    return [f for f in findings if f.kind in _FAULTS or (f.kind == "destination" and f.message)]


def _handlers(findings: Sequence[Finding]) -> list[str]:
    return [finding.name for finding in findings if finding.kind == "handler"]


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
        typer.echo(f"{file}:{fault.line}: {_printable(fault.message or fault.name)}", err=True)
    if not _faults(findings):
        typer.echo(f"{path}: good ({', '.join(_handlers(findings)) or 'no handler, so nothing would call it'})")


def _folder_of_lib(path: Path) -> Path:
    """Return the folder that has the helpers' folder in it, for a script or for a helper that is checked itself."""
    return path.parent.parent if path.parent.name == LIBRARY else path.parent


# -- try --------------------------------------------------------------------------------------------------------------


def _rehearse(script: Path, files: Sequence[Path], configuration: _Configuration, kind: str) -> list[Rehearsal]:
    source = read_source(script)
    if source.problem:
        raise ScriptError(source.problem)
    worker = configuration.start(script.name, source)
    missing = [configuration.explain(f) for f in worker.ready.findings if f.kind == "destination" and f.message]
    rehearsals: list[Rehearsal] = []
    try:
        for file in files:
            try:
                rehearsal = rehearse(
                    worker,
                    file,
                    kind=kind,
                    now=time.time(),
                    destinations=configuration.resolve_destination,
                    time_limit_s=configuration.settings.script(script.name).time_limit_s,
                )
            except WorkerLost as lost:
                rehearsal = _failed(file, kind, lost)
                worker = configuration.start(script.name, source)
            except (HostdError, OSError) as error:
                rehearsal = _failed(file, kind, error)
            rehearsals.append(_explained(rehearsal, missing))
    finally:
        worker.stop()
    return rehearsals


def _failed(file: Path, kind: str, error: Exception) -> Rehearsal:
    return Rehearsal(file, f"on_{kind}", (), (), (), str(error))


def _explained(rehearsal: Rehearsal, missing: Sequence[Finding]) -> Rehearsal:
    """Have a rehearsal that failed for want of a destination say what `check` says of that line."""
    for finding in missing:
        if rehearsal.error and f"no destination is called {finding.name!r}" in rehearsal.error:
            return replace(rehearsal, error=f"{finding.message} (line {finding.line})")
    return rehearsal


def _as_json(rehearsal: Rehearsal) -> dict[str, Any]:
    log = [{"level": level, "text": text} for level, text in rehearsal.log]
    return asdict(rehearsal) | {"file": str(rehearsal.file), "log": log}


def _print_rehearsal(rehearsal: Rehearsal) -> None:
    typer.echo(f"{rehearsal.file}: {rehearsal.handler}")
    for line in rehearsal.plan:
        typer.echo(f"  would {_printable(line)}")
    if not rehearsal.plan and not rehearsal.error:
        typer.echo("  would do nothing")
    for level, text in rehearsal.log:
        typer.echo(f"  log {_printable(level)}: {_printable(text)}")
    if rehearsal.error:
        typer.echo(f"  failed: {_printable(rehearsal.error)}")


def _printable(text: str) -> str:
    """Return a text without control characters: what a file holds must not steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
