"""A destination that is a folder: each instance a file, written whole or not at all, and never over another.

A file is written under a temporary name in the folder `.hostd`, brought to stable storage, and linked to its name, which fails where
that name is taken. Folders are opened one below another without following links, so that nothing is written elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from hostd.config.folders import Folder as Section
from hostd.delivery.destinations import Answer, Outgoing, deviation
from hostd.dicom import part10
from hostd.dicom.file_paths import PathTemplate, numbered
from hostd.dicom.header import read_elements
from hostd.errors import DestinationFault, InstanceFault, StorageError, UnparsableError
from hostd.transcoding.stored import Product

TEMPORARY = ".hostd"
"""The folder of what is being written."""
MAX_SAME_NAME = 1000
"""How many files may want the same name; then the template does not tell instances apart."""

_ABANDONED_S = 86_400.0
_PIECE = 1 << 20
_MAX_VALUE = 1024
_MAX_ELEMENTS = 16 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_OF_INSTANCE = frozenset((errno.ENAMETOOLONG, errno.EFBIG, errno.EILSEQ, errno.EXDEV, errno.ENOTDIR, errno.ELOOP))
"""Errors, below the folder, that say that this file cannot be there, whatever becomes of the folder."""
_OF_SUBFOLDER = frozenset((errno.EACCES, errno.EPERM))
_NO_LINKS = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK))


class Folder:
    """A folder of the configuration. `template` says where in it; `missing` stands for attributes that an instance lacks."""

    def __init__(self, name: str, *, path: Path, template: PathTemplate, missing: str = "unknown") -> None:
        self.name = f"folder:{name}"
        self.path = path
        self.template = template
        self.missing = missing
        self.naming = threading.Lock()
        """Held where a name cannot be taken in one step."""

    def connect(self, batch: Sequence[Outgoing]) -> FolderSession:  # noqa: ARG002 - a folder negotiates nothing
        """Open the folder. Raises `DestinationFault` when it is not there, or cannot be written to."""
        return FolderSession(self)

    def examine(self) -> list[str]:
        """Write a file there and remove it. Raises `DestinationFault` when that cannot be done."""
        with FolderSession(self) as session:
            free_mb = session.try_out() >> 20
        return [f"{self.path} can be written to, and {free_mb} MiB are free"]


SECTION = Section


def configured(name: str, section: Section) -> Folder:
    """Return the folder that a section of the configuration describes."""
    return Folder(name, path=section.path, template=section.parsed, missing=section.missing)


class FolderSession:
    """The opened folder, for a batch."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._opened = ExitStack()
        self.is_open = True
        try:
            with ExitStack() as opening:
                # The folder itself may be a link: that is how the administrator named it.
                self._top = os.open(folder.path, _FOLDER & ~os.O_NOFOLLOW)
                opening.callback(os.close, self._top)
                self._temporary = _subfolder(self._top, TEMPORARY)
                opening.callback(os.close, self._temporary)
                _sweep(self._temporary)
                self._opened = opening.pop_all()
        except OSError as error:
            raise DestinationFault(f"{folder.path} cannot be written to: {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.is_open = False
        self._opened.close()

    def takes(self, outgoing: Outgoing) -> bool:  # noqa: ARG002 - a folder negotiates nothing
        """Tell that any instance can go there."""
        return True

    def send(self, outgoing: Outgoing) -> Answer:
        """Write one instance. Raises `InstanceFault` and `DestinationFault` where nothing was written."""
        product = outgoing.as_wanted()
        names = self._folder.template.render(self._values(product), self._folder.missing)
        try:
            with product.path.open("rb") as source:
                name, was_there = self._put_below(source, names)
        except OSError as error:
            reason = f"{self._folder.path.joinpath(*names)}: {error.strerror or error}"
            if error.errno in _OF_INSTANCE:
                raise InstanceFault(f"the file cannot be written: {reason}") from error
            if error.errno in _OF_SUBFOLDER:  # the folder itself was opened and written to
                return Answer("later", f"this file could not be written: {reason}")
            raise DestinationFault(f"the folder cannot be written to: {reason}") from error
        where = "/".join((*names[:-1], name))
        text = f"{'was there already' if was_there else 'written'} as {where}{deviation(outgoing, product)}"
        return Answer("delivered", text, None, product.transfer_syntax, sent_sop_instance_uid=product.sop_instance_uid)

    def try_out(self) -> int:
        """Write a file and remove it; return how many bytes are free. Raises `DestinationFault`."""
        name = secrets.token_hex(16)
        try:
            with os.fdopen(os.open(name, _NEW_FILE, 0o640, dir_fd=self._temporary), "wb") as file:
                try:
                    file.write(b"hostd")
                    file.flush()
                    os.fsync(file.fileno())
                finally:
                    os.unlink(name, dir_fd=self._temporary)
            found = os.fstatvfs(self._top)
        except OSError as error:
            raise DestinationFault(f"{self._folder.path} cannot be written to: {error.strerror or error}") from error
        return found.f_bavail * found.f_frsize

    def _put_below(self, source: BinaryIO, names: Sequence[str]) -> tuple[str, bool]:
        with ExitStack() as opened:
            at = self._top
            for name in names[:-1]:
                at = _subfolder(at, name)
                opened.callback(os.close, at)
            return self._put(source, at, names[-1])

    def _values(self, product: Product) -> dict[int, str]:
        with product.path.open("rb") as file:
            try:
                elements, _ = read_elements(
                    file,
                    offset=part10.data_set_offset(file).offset,
                    transfer_syntax=product.transfer_syntax,
                    max_value=_MAX_VALUE,
                    max_elements=_MAX_ELEMENTS,
                )
            except UnparsableError as error:
                raise InstanceFault(f"the instance cannot be read, so that it has no file name: {error}") from error
        wanted = {tag: elements[tag][1] for tag in self._folder.template.tags if tag in elements}
        return {tag: "\\".join(map(str, values)) for tag, values in wanted.items() if values}

    def _put(self, source: BinaryIO, folder: int, name: str) -> tuple[str, bool]:
        """Give the file its name, or the first numbered one that is free; return it, and whether the same file was there."""
        for number in range(1, MAX_SAME_NAME + 1):
            tried = name if number == 1 else numbered(name, number)
            same = _is_same(source, folder, tried)
            if same:
                return tried, True
            if same is None and self._write(source, folder, tried):
                return tried, False
        raise InstanceFault(
            f"{MAX_SAME_NAME} other files are there under this name: add {{SOPInstanceUID}} to the template"
        )

    def _write(self, source: BinaryIO, folder: int, name: str) -> bool:
        """Write the file; False when somebody else took the name meanwhile."""
        temporary = secrets.token_hex(16)
        with os.fdopen(os.open(temporary, _NEW_FILE, 0o640, dir_fd=self._temporary), "wb") as file:
            try:
                for piece in _pieces(source):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
                return self._take_name(temporary, name, folder)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=self._temporary)

    def _take_name(self, temporary: str, name: str, folder: int) -> bool:
        """Give a written file its name, on stable storage; False when the name is taken."""
        try:
            os.link(temporary, name, src_dir_fd=self._temporary, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if not self._take_name_without_links(temporary, name, folder):
                return False
        os.fsync(folder)
        return True

    def _take_name_without_links(self, temporary: str, name: str, folder: int) -> bool:
        """Do it on FAT and some shares: an empty file takes the name first. What is cut off between leaves one, which counts as free."""
        with self._folder.naming:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(name, _NEW_FILE, 0o640, dir_fd=folder))
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if found.st_size or not stat.S_ISREG(found.st_mode):
                return False
            os.replace(temporary, name, src_dir_fd=self._temporary, dst_dir_fd=folder)
            return True


def _subfolder(parent: int, name: str) -> int:
    """Open a folder, which is made if need be and is then on stable storage."""
    try:
        os.mkdir(name, 0o750, dir_fd=parent)
    except FileExistsError:
        return os.open(name, _FOLDER, dir_fd=parent)
    os.fsync(parent)
    return os.open(name, _FOLDER, dir_fd=parent)


def _is_same(source: BinaryIO, folder: int, name: str) -> bool | None:
    """Tell whether the file of that name has the content of `source`; None when there is none, or an empty one."""
    try:
        descriptor = os.open(name, _FILE, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket: something else
            return False
        raise
    with os.fdopen(descriptor, "rb") as other:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return False
        if not found.st_size:
            return None
        if found.st_size != source.seek(0, 2) or any(other.read(len(piece)) != piece for piece in _pieces(source)):
            return False
        os.fsync(descriptor)  # whoever put it there may not have
    os.fsync(folder)
    return True


def _pieces(source: BinaryIO) -> Iterator[bytes]:
    """Yield the file of the archive. Raises `StorageError` where it cannot be read: that is no fault of the folder."""
    try:
        source.seek(0)
        while piece := source.read(_PIECE):
            yield piece
    except OSError as error:
        raise StorageError(f"a file of the archive cannot be read: {error.strerror or error}") from error


def _sweep(temporary: int) -> None:
    """Remove what a run of hostd that was cut off left half written; other nodes may be writing here."""
    with os.scandir(temporary) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED_S:
                    os.unlink(entry.name, dir_fd=temporary)
