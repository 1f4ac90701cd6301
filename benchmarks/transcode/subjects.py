"""What is measured: something that writes an image in another transfer syntax, file to file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hostd.dicom.syntaxes import TransferSyntax
from hostd.errors import HostdError
from hostd.transcoding.options import EncodeOptions
from hostd.transcoding.pool import CodecPool
from hostd.transcoding.transcode import transcode

LOSSY = EncodeOptions(quality=90)


class CannotMeasureError(Exception):
    """A subject does not do this, or failed; the report says so."""


@dataclass(frozen=True, slots=True)
class Task:
    """One image to be brought from a file in one syntax into another; the pixels that must come out are known."""

    image: str
    syntax: TransferSyntax
    """The one that is measured: encoded to, or decoded from."""
    is_decoding: bool
    source: Path
    target: TransferSyntax

    @property
    def options(self) -> EncodeOptions | None:
        """What is asked of a lossy encoder."""
        return LOSSY if self.target.is_lossy else None


class Subject(Protocol):
    """A transcoder as its user calls it."""

    name: str

    def does(self, task: Task) -> bool:
        """Tell whether it claims to do this."""
        ...

    def run(self, task: Task, result: Path) -> None:
        """Write the result, which does not exist yet. Raises `CannotMeasureError`."""
        ...

    def close(self) -> None:
        """End what was started."""
        ...


class Engine:
    """hostd's transcoder called in this process."""

    def __init__(self, *, verify: bool) -> None:
        self.name = "hostd, verified" if verify else "hostd"
        self._verify = verify

    def does(self, task: Task) -> bool:  # noqa: ARG002 - the signature is the protocol's
        """Say yes: what hostd refuses, it refuses in `run`."""
        return True

    def run(self, task: Task, result: Path) -> None:
        """Transcode. Raises `CannotMeasureError` with hostd's reason."""
        try:
            with task.source.open("rb") as source, result.open("w+b") as made:
                transcode(source, task.target, made, task.options, verify=self._verify)
        except HostdError as error:
            raise CannotMeasureError(str(error)) from error

    def close(self) -> None:
        """There is nothing to end."""


class Service:
    """hostd as a node uses it: jailed codec workers, the result synced to disk, both files hashed for the receipt."""

    def __init__(self, syntaxes: tuple[TransferSyntax, ...], *, verify: bool) -> None:
        self.name = "hostd's worker, verified" if verify else "hostd's worker"
        self._verify = verify
        self._syntaxes = syntaxes
        self._pool = CodecPool(workers=1)

    def does(self, task: Task) -> bool:
        """Tell whether the syntax is one of those that others have too."""
        return task.syntax in self._syntaxes

    def run(self, task: Task, result: Path) -> None:
        """Transcode. Raises `CannotMeasureError` with hostd's reason."""
        try:
            self._pool.transcode(task.source, task.target, result, task.options, verify=self._verify)
        except HostdError as error:
            raise CannotMeasureError(str(error)) from error

    def close(self) -> None:
        """End the worker."""
        self._pool.close()
