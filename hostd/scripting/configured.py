"""Scripts as a node of some configuration would load them, for what rehearses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from hostd.config.settings import Settings
from hostd.editing import projects
from hostd.sandbox.frames import Finding, PixelFacts
from hostd.scripting.folder import Source
from hostd.scripting.loading import Names, load_frame
from hostd.scripting.runtime import ScriptWorker
from hostd.transcoding import public, tool
from hostd.transcoding.edits import Anonymize
from hostd.transcoding.tool import step_of
from hostd.transcoding.transform import RunTool


@dataclass(frozen=True, slots=True)
class Configuration:
    """The settings, and the file they are from, when there is one."""

    settings: Settings
    file: Path | None

    def start(self, script: str, source: Source) -> ScriptWorker:
        """Load a script as a node of this configuration would. Raises `ScriptError`."""
        settings = self.settings
        granted = settings.script(script)
        frame = load_frame(script, source.text, granted, Names.of(settings), self.resolve_destination, source.helpers)
        return ScriptWorker.start(frame, isolation=settings.scripting.isolation)

    def resolve_destination(self, name: str) -> str:
        """Return a destination's name as `kind:name`. Raises `NotFoundError` or `ConfigurationError`."""
        return ":".join(self.settings.resolve_destination(name))

    def resolve_tool(self, name: str, args: Sequence[str]) -> RunTool:
        """Return what a script's use of a tool means. Raises `ToolError` for what the configuration does not allow."""
        return step_of(tool.configured(self.settings.tools), name, args)

    def resolve_project(self, name: str) -> Anonymize:
        """Return what a script's use of a project means. Raises `NotFoundError`, and `ConfigurationError` for a project that is none."""
        return projects.step_of(projects.configured(self.settings.projects), name)

    def measure(self, file: Path) -> PixelFacts:
        """Return what the pixels of a file come to, with the node's limits. Raises `HostdError` or `OSError`."""
        limits = self.settings.transcoding
        return public.measure(file, memory_bytes=limits.memory_mb << 20, time_limit_s=limits.time_limit_s)

    def channels_of(self, script: str) -> dict[str, bool]:
        """Return the channels that a script may use → whether patient data may go there."""
        return Names.of(self.settings).channels_of(self.settings.script(script))

    def explain(self, finding: Finding) -> Finding:
        """Say of a name that is not configured which table is missing where."""
        known, what, tables = self._named(finding)
        if not what or not finding.message or finding.name in known:
            return finding
        near = get_close_matches(finding.name, known, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}? Otherwise " if near else ""
        where = str(self.file or "hostd.toml")
        to_add = " or ".join(f"[{table}.{finding.name}]" for table in tables)
        message = f"no {what} is called {finding.name!r} in {where}; {hint}add {to_add}"
        if self.file is None:
            message += " (there is no hostd.toml in this folder; --config names one elsewhere)"
        elif known:
            message += f"; there are: {', '.join(known)}"
        return Finding(finding.kind, finding.line, finding.column, finding.name, message, finding.file)

    def _named(self, finding: Finding) -> tuple[Sequence[str], str, Sequence[str]]:
        """Return the names that there are of what a finding names, what these are of, and the tables that one may stand in; nothing for other findings."""
        settings = self.settings
        named: dict[str, tuple[Sequence[str], str, Sequence[str]]] = {
            "destination": (
                settings.destination_names(),
                "destination",
                ("modalities", "peers", "dicomweb", "folders"),
            ),
            "tool": (tuple(settings.tools), "tool", ("tools",)),
            "project": (tuple(settings.projects), "project", ("projects",)),
            "channel": (tuple(settings.notify), "channel", ("notify",)),
            "target": (tuple(settings.targets), "target", ("targets",)),
            "modality": (tuple(settings.modalities), "modality", ("modalities",)),
        }
        return named.get(finding.kind, ((), "", ()))
