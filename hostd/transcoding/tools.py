"""External tools: programs that the configuration names, each run on a copy of one file, and believed nothing.

A tool works in a folder of its own, on a copy, behind a wall (`tool_process`); what it leaves there is a result only when the
tool ended with exit status 0 and the result stands up to `tool_results`.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import signal
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from hostd.dicom.syntaxes import TransferSyntax
from hostd.errors import ToolError
from hostd.transcoding.receipt import Receipt
from hostd.transcoding.tool import Tool, tool_of
from hostd.transcoding.tool_process import ToolProcesses
from hostd.transcoding.tool_results import Compares, judge_derived, judge_recoded, owner_texts

_log = structlog.get_logger(__name__)

_CHUNK = 1 << 20
_MASKED = "***"


class Tools:
    """The tools of a node, in the order of its configuration. For any number of threads.

    `folder` is theirs alone and is emptied here; `at_once` is how many may run at one time.
    """

    def __init__(self, tools: Mapping[str, Tool], folder: Path, codecs: Compares, *, at_once: int) -> None:
        self._folder = folder
        self._codecs = codecs
        self._processes = ToolProcesses(at_once=at_once)
        if folder.exists():
            _remove(folder)
        self.use(tools)

    def use(self, tools: Mapping[str, Tool]) -> None:
        """Go on with these tools; what one is making it makes to the end."""
        if tools:
            self._folder.mkdir(mode=0o700, exist_ok=True)
        self.all = tools

    def close(self) -> None:
        """End the tools that run; whatever waits for them fails with `ToolError`."""
        self._processes.close()

    def recode(
        self, tool: Tool, source: Path, target: TransferSyntax, result: Path, *, may_be_unverified: bool
    ) -> Receipt:
        """Make `result`, the same image in the target syntax, by a tool, and return its receipt.

        `result` must not exist, and is left only if everything succeeded. Raises `ToolError`, `WrongPixelsError` and other
        `TranscodeError`s when there is no result that could be used, and `OSError` for this machine's refusals.
        """
        with self._made(tool, source, (), target, result) as made:
            proof = judge_recoded(source, result, target, tool.trust, self._codecs, may_be_unverified=may_be_unverified)
            return made.receipt(proof)

    def run(self, name: str, args: Sequence[str], source: Path, result: Path) -> Receipt:
        """Make `result` of `source` by the tool of that name, as a script asked, and return its receipt. Raises as `recode` does."""
        tool = tool_of(self.all, name)
        tool.check(args)
        with self._made(tool, source, args, tool.makes, result) as made:
            return made.receipt(judge_derived(source, result, tool.trust, self._codecs))

    @contextmanager
    def _made(
        self, tool: Tool, source: Path, args: Sequence[str], target: TransferSyntax | None, result: Path
    ) -> Iterator[_Made]:
        """Run the tool and give what it made; whatever is raised, `result` does not stay. Errors name the tool."""
        began = time.monotonic()
        version = tool.version()
        folder = self._folder / secrets.token_hex(8)
        folder.mkdir(mode=0o700)
        try:
            copied = _copied(source, folder / "input.dcm", mode=0o600)
            self._run(tool, source, folder, args, target)
            taken = _taken(folder / "output.dcm", result, tool.limits.output_bytes)
            yield _Made(tool, version, copied, taken, began)
        except ToolError as error:
            result.unlink(missing_ok=True)
            raise ToolError(f"the tool {tool.name}: {error}") from error
        except BaseException:
            result.unlink(missing_ok=True)
            raise
        finally:
            _remove(folder)

    def _run(self, tool: Tool, source: Path, folder: Path, args: Sequence[str], target: TransferSyntax | None) -> None:
        command = tool.filled(folder / "input.dcm", folder / "output.dcm", args, target)
        ended = self._processes.run(command, folder, (*tool.files, *tool.reads), tool.limits)
        said = _masked(ended.said, owner_texts(source))
        if said:
            _log.debug("a tool said", tool=tool.name, status=ended.status, text=said)
        if ended.status != 0:
            raise ToolError(f"it failed ({_ending(ended.status)}){f'; it said: {said[-300:]}' if said else ''}")


@dataclass(frozen=True, slots=True)
class _Copied:
    """A file that was copied: its size in bytes and its SHA-256."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _Made:
    """What a tool made, before anything is believed of it."""

    tool: Tool
    version: str
    source: _Copied
    result: _Copied
    began: float

    def receipt(self, proof: Receipt) -> Receipt:
        """Return the receipt, with what the judge found and what was measured."""
        return msgspec.structs.replace(
            proof,
            source_sha256=self.source.sha256,
            result_sha256=self.result.sha256,
            codec=f"tool:{self.tool.name}",
            codec_version=self.version,
            bytes_before=self.source.size,
            bytes_after=self.result.size,
            milliseconds=round(1000 * (time.monotonic() - self.began)),
        )


def _copied(source: Path, copy: Path, *, mode: int) -> _Copied:
    with source.open("rb") as file:
        return _write(file.fileno(), copy, mode)


def _taken(output: Path, result: Path, most: int) -> _Copied:
    """Copy what the tool left into the archive's own file: what the tool may still have open is never that file."""
    try:
        descriptor = os.open(output, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if output.is_symlink():
            raise ToolError("it left a symbolic link in the place of its result") from error
        if not output.exists():
            raise ToolError("it ended with exit status 0 and left no result") from error
        raise ToolError(f"its result cannot be read: {error.strerror}") from error
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise ToolError("it left something that is no file in the place of its result")
        if facts.st_size == 0:
            raise ToolError("its result is empty")
        if facts.st_size > most:
            raise ToolError(f"its result has {facts.st_size} bytes, over its max_output_mb")
        return _write(descriptor, result, 0o600)
    finally:
        os.close(descriptor)


def _write(source: int, target: Path, mode: int) -> _Copied:
    """Copy an open file into a new one, durably."""
    digest = hashlib.sha256()
    size = 0
    made = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        while piece := os.pread(source, _CHUNK, size):
            digest.update(piece)
            left = memoryview(piece)
            while left:
                left = left[os.write(made, left) :]
            size += len(piece)
        os.fsync(made)
    finally:
        os.close(made)
    return _Copied(size, digest.hexdigest())


def _remove(folder: Path) -> None:
    """Remove a tool's folder, also where the tool took away the right to."""

    def unlock(_function: object, path: str, _error: object) -> None:
        for place in (os.path.dirname(path), path):  # noqa: PTH120 - what rmtree gave
            if not os.path.islink(place):  # noqa: PTH114 - likewise
                os.chmod(place, 0o700)  # noqa: PTH101 - likewise
        if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114 - likewise
            shutil.rmtree(path)
        else:
            os.unlink(path)  # noqa: PTH108 - likewise

    try:
        shutil.rmtree(folder, onerror=unlock)
    except OSError as error:
        _log.warning("the folder of a tool could not be removed; the next start tries again", reason=error.strerror)


def _masked(said: str, texts: Iterable[str]) -> str:
    """Take what is known of the patient out of what a tool said."""
    for text in texts:
        said = said.replace(text, _MASKED)
    return said


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    if -status == signal.SIGXFSZ:
        return "its result is over its max_output_mb"
    if -status == signal.SIGXCPU:
        return "it used more processor time than it may"
    with suppress(ValueError):
        return f"ended by {signal.Signals(-status).name}"
    return f"ended by signal {-status}"
