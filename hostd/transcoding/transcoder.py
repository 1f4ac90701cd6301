"""The codecs of hostd and the external tools as one: who is asked first is the configuration's to say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, Protocol

import structlog

from hostd.dicom import part10, syntaxes
from hostd.dicom.syntaxes import TransferSyntax
from hostd.errors import CannotTranscodeError, TranscodeError, UnparsableError
from hostd.transcoding.options import EncodeOptions
from hostd.transcoding.receipt import Receipt
from hostd.transcoding.tool import Tool
from hostd.transcoding.tools import Tools

_log = structlog.get_logger(__name__)

Order = Literal["before", "after", "disabled"]
"""Where hostd's own codecs stand relative to tools."""


class Codecs(Protocol):
    """hostd's own codecs: `hostd.transcoding.pool.CodecPool`."""

    def transcode(
        self, source: Path, target: TransferSyntax, result: Path, options: EncodeOptions | None = None
    ) -> Receipt:
        """Write `result`, which must not exist, and return its receipt. Raises `TranscodeError` or `OSError`."""
        ...


class Transcoder:
    """Transcodes by hostd's codecs and by tools, in the order of `builtin`.

    "before": a tool only where hostd's codecs say cleanly that they cannot do it. "after": tools first, each whose configuration
    says that it can. "disabled": tools only. Tools do nothing that loses information. A tool's result that cannot be verified is
    taken only where `may_be_unverified`, which must not be where originals are replaced (P4).
    """

    def __init__(self, codecs: Codecs, tools: Tools, builtin: Order, *, may_be_unverified: bool) -> None:
        self._codecs = codecs
        self._tools = tools
        self._builtin = builtin
        self._may_be_unverified = may_be_unverified

    def transcode(
        self, source: Path, target: TransferSyntax, result: Path, options: EncodeOptions | None = None
    ) -> Receipt:
        """Make `result`, the image of `source` in the target syntax, and return its receipt.

        `result` must not exist, and is left only if everything succeeded. Raises as `CodecPool.transcode` does; where several were
        asked, and all said no, `CannotTranscodeError` with what each of them said.
        """
        said = []
        for ask, is_tool in self._asked(source, target, result, options):
            try:
                return ask()
            except CannotTranscodeError as error:
                said.append(str(error))
            except TranscodeError as error:
                if not is_tool:
                    raise  # pixels that are wrong, or a crash: not a clean error, so nobody else is asked
                _log.warning("a tool gave no result", target=target.keyword, file=source.name, reason=str(error))
                said.append(str(error))
        raise CannotTranscodeError("; ".join(said) or self._nobody(source, target, options))

    def _asked(
        self, source: Path, target: TransferSyntax, result: Path, options: EncodeOptions | None
    ) -> Iterator[tuple[Callable[[], Receipt], bool]]:
        """Yield who is to be asked, and whether that is a tool."""

        def builtin() -> Receipt:
            if options is None:
                return self._codecs.transcode(source, target, result)
            return self._codecs.transcode(source, target, result, options)

        if self._builtin == "before" or (options is not None and self._builtin == "after"):
            yield builtin, False
        if options is None and self._tools.all:
            for tool in self._fitting(_syntax_of(source), target):
                yield self._by_tool(tool, source, target, result), True
        if options is None and self._builtin == "after":
            yield builtin, False

    def _by_tool(self, tool: Tool, source: Path, target: TransferSyntax, result: Path) -> Callable[[], Receipt]:
        def ask() -> Receipt:
            if not tool.is_there:
                raise CannotTranscodeError(f"the tool {tool.name}: {tool.missing}")
            return self._tools.recode(tool, source, target, result, may_be_unverified=self._may_be_unverified)

        return ask

    def _fitting(self, source: TransferSyntax, target: TransferSyntax) -> list[Tool]:
        return [tool for tool in self._tools.all.values() if tool.recodes(source, target)]

    def _nobody(self, source: Path, target: TransferSyntax, options: EncodeOptions | None) -> str:
        off = 'hostd\'s own codecs are off ([transcoding] builtin = "disabled")'
        if options is not None:
            return f"{off}, and tools do nothing that loses information"
        return f"{off}, and no tool of the configuration brings {_syntax_of(source)} to {target}"


def _syntax_of(source: Path) -> TransferSyntax:
    try:
        with source.open("rb") as file:
            return syntaxes.by_uid(part10.data_set_offset(file).transfer_syntax_uid)
    except UnparsableError as error:
        raise CannotTranscodeError(f"{source.name}: {error}") from error
