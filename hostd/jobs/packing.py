"""ZIP archives of what is stored, written as they are read: nothing is ever whole in memory, and on the disk only where a job keeps it.

Folders are named as Orthanc names them: `PATIENT/STUDY/SERIES/CT000000.dcm`. A medium has `IMAGES/IM0` and a DICOMDIR (PS3.10 §8.6).
"""

from __future__ import annotations

import errno
import io
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Protocol, cast

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import jobs
from hostd.archive import tables as t
from hostd.archive.archive import Archive
from hostd.archive.jobs import Job
from hostd.dicom import part10, syntaxes
from hostd.errors import CannotTranscodeError
from hostd.jobs import faults
from hostd.jobs.dicomdir import Directory
from hostd.jobs.faults import JobFault
from hostd.jobs.running import Halt, Step
from hostd.transcoding.stored import Stored
from hostd.transcoding.transform import Transcode, Transform

if TYPE_CHECKING:  # in collections.abc from 3.12 on
    from typing_extensions import Buffer

ARCHIVE, MEDIA = "Archive", "Media"
"""The types of job."""
OUTPUT = "archive"
"""What the output of these jobs is called."""
_FOLDER = "outputs"
_PIECE = 1 << 20
_FLUSH = 256 << 10
_LEVEL = 1
"""Of deflate: pixels get hardly smaller by trying harder, and a download is not to wait for it."""
_SLICE_S = 0.5
"""Seconds after which a job that packs says how far it is, and looks whether it is to end."""
_NEARLY = 0.99
"""The progress of what is packed, but is not whole yet."""
_AT_ONCE = 500
_SPOKEN = frozenset("._")


class Packing(msgspec.Struct, frozen=True):
    """What is asked: a medium, with more in its DICOMDIR where it is `extended`, or an archive; files in another transfer syntax."""

    is_media: bool = False
    extended: bool = False
    transcode: Transcode | None = None


class Makes(Protocol):
    """What makes files of files: `hostd.editing.making.Maker`."""

    def made(self, stored: Stored, transfer_syntax: str, transform: Transform) -> Any:
        """Give, as a context, the file that a transform makes of a stored one."""
        ...


@dataclass(frozen=True, slots=True)
class Packed:
    """An instance that is to be packed; `attributes` are Orthanc's main tags by level."""

    id: str
    patient: str
    study: str
    series: str
    sop_class_uid: str
    sop_instance_uid: str
    content: str
    blob: str
    size: int
    transfer_syntax: str
    attributes: dict[str, dict[str, str]]

    def text(self, level: str, keyword: str) -> str:
        """Return one of its attributes, '' where it has none."""
        return self.attributes.get(level, {}).get(keyword, "")


def packed(connection: Connection, ids: Sequence[str]) -> list[Packed]:
    """Return these instances by patient, study, series and number. Raises `JobFault` where one is no longer there."""
    found: list[Packed] = []
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        query = sa.select(t.instance, t.blob.c.size, t.blob.c.transfer_syntax).join(
            t.blob, t.blob.c.name == t.instance.c.blob
        )
        rows = {row.id: row for row in connection.execute(query.where(t.instance.c.id.in_(some)))}
        if gone := [one for one in some if one not in rows]:
            raise JobFault(faults.UNKNOWN_RESOURCE, f"the instance {gone[0]} is no longer there")
        found += [
            Packed(
                row.id, row.patient, row.study, row.series, row.sop_class_uid, row.sop_instance_uid, row.received_sha256,
                row.blob, row.size, row.transfer_syntax, row.attributes,
            )
            for row in (rows[one] for one in some)
        ]  # fmt: skip
    return sorted(found, key=lambda one: (one.patient, one.study, one.series, _number_of(one), one.id))


def _number_of(one: Packed) -> int:
    text = one.text("instance", "InstanceNumber").strip()
    return int(text) if text.lstrip("+-").isdecimal() and len(text) < 12 else 1 << 40


# -- names ------------------------------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """Return a text as it may stand in the name of a folder: letters and digits of ASCII, dots, underscores, single spaces."""
    spaced = text.replace("^", " ")
    kept = "".join(c for c in spaced if c.isascii() and (c.isalnum() or c in _SPOKEN or c.isspace()))
    return " ".join(kept.split()).strip(".") or ""


class Names:
    """Names files and folders, each once."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}
        self._taken: set[str] = set()
        self._count: dict[str, int] = {}

    def of(self, one: Packed) -> str:
        """Return the path of an instance."""
        modality = plain(one.text("series", "Modality"))
        patient = self._folder(
            "",
            one.patient,
            f"{one.text('patient', 'PatientID')} {one.text('patient', 'PatientName')}",
            "Unknown Patient",
        )
        study = self._folder(
            patient,
            one.study,
            f"{one.text('study', 'AccessionNumber')} {one.text('study', 'StudyDescription')}",
            "Unknown Study",
        )
        series = self._folder(
            study, one.series, f"{modality} {one.text('series', 'SeriesDescription')}", "Unknown Series"
        )
        number = self._count[series] = self._count.get(series, -1) + 1
        prefix = modality[:2].upper() if modality.isalnum() else ""
        return f"{series}/{prefix}{number:0{8 - len(prefix)}d}.dcm"

    def _folder(self, above: str, identifier: str, text: str, otherwise: str) -> str:
        key = f"{above}/{identifier}"
        if key not in self._folders:
            base = (f"{above}/" if above else "") + (plain(text) or otherwise)
            name, count = base, 1
            while name in self._taken:
                count += 1
                name = f"{base}-{count}"
            self._taken.add(name)
            self._folders[key] = name
        return self._folders[key]


# -- packing ----------------------------------------------------------------------------------------------------------


class _Pieces(io.RawIOBase):
    """A file that is only written, and handed on in pieces."""

    def __init__(self) -> None:
        super().__init__()
        self._written: list[bytes] = []
        self.size = 0

    def writable(self) -> bool:
        """Say that it can be written; it can be nothing else."""
        return True

    def write(self, piece: Buffer, /) -> int:
        """Take a piece."""
        taken = bytes(piece)
        self._written.append(taken)
        self.size += len(taken)
        return len(taken)

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        found = b"".join(self._written)
        self._written.clear()
        self.size = 0
        return found


class Packer:
    """Packs. For any number of threads."""

    def __init__(self, archive: Archive, maker: Makes | None) -> None:
        """Without a `maker` files are packed as they are stored."""
        self._archive = archive
        self._maker = maker

    def pieces(self, asked: Packing, instances: Sequence[Packed]) -> Iterator[bytes]:
        """Yield a ZIP, in pieces, as the files are read. Raises `JobFault` and `TranscodeError`, also in the middle."""
        waiting: list[bytes] = []
        size = 0
        for piece, _ in self.progressing(asked, instances):
            waiting.append(piece)
            size += len(piece)
            if size >= _FLUSH:
                yield b"".join(waiting)
                waiting, size = [], 0
        yield b"".join(waiting)

    def progressing(self, asked: Packing, instances: Sequence[Packed]) -> Iterator[tuple[bytes, int]]:
        """Yield the same with how many instances are packed, also after each of them, however little there is to yield then."""
        out, names, directory = _Pieces(), Names(), Directory(extended=asked.extended)
        now = datetime.now(UTC).timetuple()[:6]
        with zipfile.ZipFile(cast("IO[bytes]", out), "w", zipfile.ZIP_DEFLATED) as archive:
            for number, one in enumerate(instances):
                name = f"IMAGES/IM{number}" if asked.is_media else names.of(one)
                with self._file(asked, one) as (path, syntax), path.open("rb") as file:
                    entry = zipfile.ZipInfo(name, now)
                    entry.compress_type = _method(syntax)
                    setattr(entry, "_compresslevel", _LEVEL)  # noqa: B010 - public from Python 3.13 on; the level of the whole is not looked at
                    entry.file_size = path.stat().st_size
                    with archive.open(entry, "w") as member:
                        while piece := file.read(_PIECE):
                            member.write(piece)
                            if out.size >= _FLUSH:
                                yield out.taken(), number
                    if asked.is_media:
                        is_made = syntax != one.transfer_syntax
                        directory.add(one, name, syntax, _uid_in(path) if is_made else one.sop_instance_uid)
                yield out.taken(), number + 1
            if asked.is_media:
                entry = zipfile.ZipInfo("DICOMDIR", now)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, directory.encoded())
        yield out.taken(), len(instances)

    @contextmanager
    def _file(self, asked: Packing, one: Packed) -> Iterator[tuple[Path, str]]:
        """Give the file of an instance as it is packed, and its transfer syntax."""
        stored = self._archive.blobs.path(one.blob)
        if not stored.exists():
            raise JobFault(faults.INEXISTENT_ITEM, f"the file of the instance {one.id} is missing from the archive")
        wanted = asked.transcode
        with ExitStack() as files:
            if wanted is None or wanted.to == one.transfer_syntax or self._maker is None:
                yield stored, one.transfer_syntax
                return
            source = Stored(one.blob, one.sop_instance_uid, one.content)
            try:
                made = files.enter_context(self._maker.made(source, one.transfer_syntax, Transform((wanted,))))
            except CannotTranscodeError:
                if wanted.options is not None:  # P7
                    raise
                yield stored, one.transfer_syntax
                return
            yield made, wanted.to


def _uid_in(path: Path) -> str:
    """Return the SOP Instance UID of a file that hostd made: with loss it is an instance of its own."""
    with path.open("rb") as file:
        return part10.data_set_offset(file).meta.get(part10.META_INSTANCE, "")


def _method(syntax: str) -> int:
    """Return how a file is packed: what is compressed already is not compressed again."""
    return zipfile.ZIP_STORED if syntaxes.by_uid(syntax).is_encapsulated else zipfile.ZIP_DEFLATED


# -- jobs -------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Underway:
    """An archive that is being packed, under the token of its job."""

    token: int | None
    part: Path
    file: BinaryIO
    pieces: Iterator[tuple[bytes, int]]
    count: int
    uncompressed: int

    def drop(self) -> None:
        """Leave nothing of it."""
        self.file.close()
        self.part.unlink(missing_ok=True)


class Packs:
    """Carries out both types: the ZIP is a file of the node that made it, as long as the job is kept.

    What is being packed is in the memory of the node, from one step to the next: a restart begins it anew.
    """

    def __init__(self, archive: Archive, packer: Packer) -> None:
        self._archive = archive
        self._packer = packer
        self._underway: dict[str, _Underway] = {}
        self._folder = archive.data / _FOLDER
        self._folder.mkdir(mode=0o700, exist_ok=True)

    def output(self, job: Job) -> Path:
        """Return where the output of a job is, if it is there."""
        return self._folder / f"{job.id}.zip"

    def close(self) -> None:
        """Let go of what is being packed, once no job is worked on any more: the next start begins it anew."""
        while self._underway:
            self._underway.popitem()[1].drop()

    def sweep(self) -> None:
        """Remove what no job knows: of one that was forgotten, or was being packed when a node was killed."""
        with self._archive.read() as connection:
            known = {f"{one}.zip" for one in jobs.identifiers(connection)}
        for path in self._folder.iterdir():
            if path.name not in known:
                path.unlink(missing_ok=True)

    def step(self, job: Job) -> Step:
        """Pack some more of it; begun anew after a crash. Raises `JobFault`."""
        try:
            underway = self._underway.get(job.id)
            if underway is None or underway.token != job.token:
                underway = self._begin(job)
            return self._go_on(job, underway)
        except OSError as error:
            self._drop(job)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise JobFault(faults.FULL_STORAGE, "the disk is full") from error
            raise
        except BaseException:
            self._drop(job)
            raise

    def _begin(self, job: Job) -> _Underway:
        self._drop(job)
        asked = msgspec.convert(job.asked, Packing)
        with self._archive.read() as connection:
            instances = packed(connection, [item.instance for item in jobs.items(connection, job)])
        part = self._folder / f"{job.id}.part"
        file = part.open("wb")
        pieces, size = self._packer.progressing(asked, instances), sum(one.size for one in instances)
        underway = self._underway[job.id] = _Underway(job.token, part, file, pieces, len(instances), size)
        part.chmod(0o600)
        return underway

    def _go_on(self, job: Job, underway: _Underway) -> Step:
        ends = time.monotonic() + _SLICE_S
        for piece, packed_ in underway.pieces:
            underway.file.write(piece)
            if time.monotonic() >= ends:
                return Step(job.memo, progress=min(packed_ / underway.count, _NEARLY) if underway.count else _NEARLY)
        size = underway.file.tell()
        underway.file.close()
        underway.part.replace(self.output(job))
        del self._underway[job.id]
        content = {
            "ArchiveSize": str(size), "ArchiveSizeMB": size >> 20,
            "UncompressedSize": str(underway.uncompressed), "UncompressedSizeMB": underway.uncompressed >> 20,
        }  # fmt: skip
        return Step(job.memo, content, 1.0, is_done=True)

    def _drop(self, job: Job) -> None:
        underway = self._underway.pop(job.id, None)
        if underway is not None:
            underway.drop()

    def halted(self, _connection: Connection, job: Job, _why: Halt, _reason: str, _now: float) -> None:
        """Leave nothing: what was packed is begun anew."""
        self._drop(job)

    def forgotten(self, job: Job) -> None:
        """Remove the output."""
        self._drop(job)
        self.output(job).unlink(missing_ok=True)
