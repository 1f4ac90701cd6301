"""A tool of the configuration, as a value: what it may do, and the command that a run of it is."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from hostd.config import tools as config
from hostd.config.tools import ARGS, INPUT, MAX_ARGUMENT, MAX_ARGUMENTS, NUMBERED, OUTPUT, SYNTAX
from hostd.dicom.syntaxes import TransferSyntax
from hostd.errors import ToolError
from hostd.transcoding import registry
from hostd.transcoding.source import READ_NATIVE
from hostd.transcoding.tool_process import Limits
from hostd.transcoding.tool_results import Trust
from hostd.transcoding.transform import RunTool


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool of the configuration; see `hostd.config.tools.Tool` for what each of these means.

    `encodes` are the transfer syntaxes that it makes, `decodes` those that it takes, None: those that hostd decodes too.
    """

    name: str
    command: tuple[str, ...]
    limits: Limits
    args: tuple[str, ...] = ()
    encodes: tuple[TransferSyntax, ...] = ()
    decodes: tuple[TransferSyntax, ...] | None = None
    reads: tuple[Path, ...] = ()
    trust: Trust = field(default_factory=Trust)

    def recodes(self, source: TransferSyntax, target: TransferSyntax) -> bool:
        """Tell whether the configuration says that it brings images from the one transfer syntax to the other."""
        if target not in self.encodes:
            return False
        if self.decodes is not None:
            return source in self.decodes
        return source in READ_NATIVE or bool(registry.decoders(source))

    @property
    def makes(self) -> TransferSyntax | None:
        """The transfer syntax in which results for scripts are expected; None where the configuration names none, or several."""
        return self.encodes[0] if len(self.encodes) == 1 else None

    @property
    def is_there(self) -> bool:
        """Whether its program can be executed."""
        return os.access(self.command[0], os.X_OK)

    @property
    def missing(self) -> str:
        """What to say where its program is not there."""
        return f"its program {self.command[0]} is not there, or may not be executed"

    def check(self, args: Sequence[str]) -> None:
        """Raise `ToolError` for arguments that the configuration does not let a script pass."""
        if len(args) > MAX_ARGUMENTS or any(len(one) > MAX_ARGUMENT or "\0" in one for one in args):
            raise ToolError(
                f"the tool {self.name} takes up to {MAX_ARGUMENTS} arguments of up to {MAX_ARGUMENT} characters"
            )
        if len(self.encodes) > 1:
            raise ToolError(
                f"the tool {self.name} makes several transfer syntaxes: host.transcode says which is wanted"
            )
        for one in args:
            if not any(re.fullmatch(pattern, one) for pattern in self.args):
                raise ToolError(
                    f"the tool {self.name} may not be given the argument {one[:64]!r}: no pattern of [tools.{self.name}] args allows it"
                )
        wanted = self._numbered
        if len(args) != wanted and ARGS not in self.command:
            raise ToolError(f"the tool {self.name} takes {wanted} arguments, and was given {len(args)}")

    @property
    def _numbered(self) -> int:
        return 1 + max((int(found) for part in self.command for found in NUMBERED.findall(part)), default=-1)

    def filled(self, source: Path, result: Path, args: Sequence[str], target: TransferSyntax | None) -> tuple[str, ...]:
        """Return the command with its placeholders filled in. What is filled in is never looked at for placeholders again."""
        values = {INPUT: str(source), OUTPUT: str(result), SYNTAX: target.uid if target else ""}
        values |= {f"{{{number}}}": one for number, one in enumerate(args)}
        pattern = re.compile("|".join(map(re.escape, values)))
        filled: list[str] = []
        for part in self.command:
            filled += args if part == ARGS else [pattern.sub(lambda found: values[found[0]], part)]
        return tuple(filled)

    @property
    def files(self) -> tuple[Path, ...]:
        """What the command itself names by a whole path: its program, a script, a folder."""
        return tuple(Path(part) for part in self.command if part.startswith("/"))

    def version(self) -> str:
        """Return what changes when the command changes, or a file that it names: the beginning of a SHA-256."""
        digest = hashlib.sha256("\0".join(self.command).encode())
        for path in self.files:
            with suppress(OSError), path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return f"sha256 {digest.hexdigest()[:16]}"


def configured(entries: Mapping[str, config.Tool]) -> dict[str, Tool]:
    """Return the tools of a configuration, in its order."""
    return {name: _configured(name, entry) for name, entry in entries.items()}


def tool_of(tools: Mapping[str, Tool], name: str) -> Tool:
    """Return the tool of that name. Raises `ToolError`."""
    tool = tools.get(name)
    if tool is None:
        raise ToolError(f"there is no tool {name[:64]!r} in the configuration: add [tools.NAME], or name another")
    return tool


def step_of(tools: Mapping[str, Tool], name: str, args: Sequence[str]) -> RunTool:
    """Return the step that a script asked for. Raises `ToolError` for what the configuration does not allow."""
    tool = tool_of(tools, name)
    tool.check(args)
    return RunTool(name, tuple(args), tool.makes.uid if tool.makes else None)


def _configured(name: str, entry: config.Tool) -> Tool:
    return Tool(
        name=name,
        command=entry.command,
        limits=Limits(
            time_s=entry.time_limit_s,
            memory_bytes=entry.memory_mb << 20,
            output_bytes=entry.max_output_mb << 20,
            processes=entry.processes,
            network=entry.network,
        ),
        args=entry.args,
        encodes=tuple(map(config.tool_syntax, entry.encodes)),
        decodes=None if entry.decodes is None else tuple(map(config.tool_syntax, entry.decodes)),
        reads=entry.reads,
        trust=Trust(entry.unverified, entry.keeps_identity, entry.changes_patient),
    )
