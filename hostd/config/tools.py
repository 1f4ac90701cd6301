"""`[tools.NAME]`: programs that hostd may run on one instance at a time, as a codec and for scripts."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from hostd.config.section import Section
from hostd.config.values import Count, FilePath, Seconds, Strings
from hostd.dicom import syntaxes
from hostd.dicom.syntaxes import TransferSyntax, UnknownSyntaxError

INPUT, OUTPUT, ARGS, SYNTAX = "{input}", "{output}", "{args}", "{syntax}"
"""What a command's placeholders are called."""
NUMBERED = re.compile(r"\{(\d)\}")
"""A placeholder for one argument of a script, by its number."""
MAX_ARGUMENTS, MAX_ARGUMENT = 10, 256
"""How many arguments a script may pass, and how long each may be, in characters."""

_PLACEHOLDER = re.compile(r"\{(\w*)\}")
_REPEATED_GROUP = re.compile(r"\)[*+{]")


def tool_syntax(name: str) -> TransferSyntax:
    """Return the transfer syntax that a tool is said to take or make. Raises `ValueError`."""
    try:
        return syntaxes.lookup(name)
    except UnknownSyntaxError as error:
        raise ValueError(str(error)) from error


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        tool_syntax(name)
    return names


def _lossless(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if (syntax := tool_syntax(name)).is_lossy:
            raise ValueError(
                f"{syntax.keyword} may lose information, and tools are used without loss only: name a lossless one, such as j2k"
            )
    return names


def _patterns(patterns: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        if _REPEATED_GROUP.search(pattern):
            raise ValueError(f"{pattern!r} repeats a group, which may take for ever to match: write it without")
    return patterns


class Tool(Section):
    """A program that hostd may run on a copy of one instance: as a codec, and for scripts that may "tools"; see [tools.md](tools.md)."""

    command: tuple[str, ...] = Field(
        description="The whole path of the program, and its arguments; no shell is between. `{input}` and `{output}` stand once"
        " each for the file to read and the file to write, `{syntax}` for the UID of the transfer syntax that is wanted, `{0}`,"
        " `{1}`… for the arguments of a script, one by one, and `{args}`, by itself, for all of them."
    )
    args: Annotated[Strings, AfterValidator(_patterns)] = Field(
        default=(),
        description="What scripts may pass as an argument: regular expressions, of which one must match the whole argument."
        " Absent: nothing.",
    )
    encodes: Annotated[Strings, AfterValidator(_lossless)] = Field(
        default=(),
        description="The transfer syntaxes that it makes, without loss: UID, keyword or short name. Absent: it is no codec.",
    )
    decodes: Annotated[Strings, AfterValidator(_known)] | None = Field(
        default=None,
        description="The transfer syntaxes that it takes as a codec. Absent: those that hostd decodes too, so that its results can"
        " be verified.",
    )
    time_limit_s: Seconds = Field(
        default=60.0, description="Seconds after which it is ended, with all that it started."
    )
    memory_mb: Annotated[int, Field(ge=16)] = Field(
        default=2048, description="Megabytes (MiB) of address space that each of its processes may use."
    )
    max_output_mb: Count = Field(default=4096, description="Megabytes (MiB) of the largest file that it may write.")
    processes: Count = Field(
        default=32, description="How many processes and threads it may have. It does not hold where hostd runs as root."
    )
    network: bool = Field(default=False, description="Whether it may use the network.")
    reads: tuple[FilePath, ...] = Field(
        default=(),
        description="Files and folders that it may read, beside those in its command and the system's programs and libraries"
        " (`/usr`, `/lib`, …).",
    )
    unverified: bool = Field(
        default=False,
        description="Whether a result may be sent that hostd cannot verify for lack of a decoder. It never replaces an original.",
    )
    keeps_identity: bool = Field(
        default=False,
        description="Whether a result for a script may differ from its source and keep its SOP Instance UID. A receiver that has"
        " the one cannot tell it from the other.",
    )
    changes_patient: bool = Field(
        default=False,
        description="Whether a result for a script may be of another Patient ID or study: for tools that de-identify.",
    )

    @field_validator("command")
    @classmethod
    def _can_be_run(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if not command or not command[0].startswith("/"):
            raise ValueError("should begin with the whole path of a program, as /usr/bin/gdcmconv")
        if any("\0" in part for part in command):
            raise ValueError("holds a zero byte, which no program can be given")
        found = [f"{{{name}}}" for part in command for name in _PLACEHOLDER.findall(part)]
        for placeholder in (INPUT, OUTPUT):
            if found.count(placeholder) != 1:
                raise ValueError(f"should have {placeholder} once; it has it {found.count(placeholder)} times")
        for placeholder in found:
            if placeholder not in (INPUT, OUTPUT, ARGS, SYNTAX) and not NUMBERED.fullmatch(placeholder):
                raise ValueError(
                    f"has {placeholder}, which stands for nothing: known are {{input}}, {{output}}, {{syntax}}, {{args}}, {{0}}"
                )
        if any(ARGS in part and part != ARGS for part in command):
            raise ValueError("should have {args} by itself, as one of its texts")
        if _PLACEHOLDER.search(command[0]):
            raise ValueError("should name its program without placeholders")
        return command

    @model_validator(mode="after")
    def _is_used(self) -> Self:
        wants = ARGS in self.command or any(NUMBERED.search(part) for part in self.command)
        if wants and self.encodes:
            raise ValueError(
                "takes arguments of scripts and encodes: make it two tools, for a codec is given no arguments"
            )
        if wants != bool(self.args):
            raise ValueError(
                "takes arguments of scripts and has no args that would allow any: add args"
                if wants
                else "has args, and its command has no {args} or {0} to put them: add it, or remove args"
            )
        if len(self.encodes) > 1 and not any(SYNTAX in part for part in self.command):
            raise ValueError(
                "encodes several transfer syntaxes, and its command has no {syntax} to say which: make it several tools"
            )
        if not self.encodes and any(SYNTAX in part for part in self.command):
            raise ValueError("has {syntax} in its command and encodes nothing: add encodes")
        return self
