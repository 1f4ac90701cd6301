"""`…/numpy` and `…/matlab`: the frames of an instance or a series as one array, in NumPy's own file format, and a frame for MATLAB."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, BinaryIO, cast

from fastapi import APIRouter, Query
from starlette.responses import Response

from hostd.archive.archive import Archive
from hostd.archive.records import Instance
from hostd.transcoding.messages import Draw
from hostd.web import matlab, tags
from hostd.web.errors import INCOMPATIBLE_IMAGE_FORMAT, WebError
from hostd.web.files import file_response, open_response, opened
from hostd.web.frames import Number, Pictures, counted, require_frame
from hostd.web.resources import existing, instances_of
from hostd.web.slices import ordered

_PIECE = 1 << 18
_ROWS, _COLUMNS, _SAMPLES = 0x00280010, 0x00280011, 0x00280002
_ALLOCATED, _SIGNED, _PHOTOMETRIC = 0x00280100, 0x00280103, 0x00280004
_TYPE = "application/octet-stream"
_ALIGNED = 64
"""Bytes to whose multiples NumPy's header is filled up."""

Rescale = Annotated[bool, Query(description="Whether grey samples are what they mean, as floats; false: as stored.")]
Compress = Annotated[bool, Query(description="Whether the array comes as a compressed archive of NumPy's (.npz).")]


@dataclass(frozen=True, slots=True)
class _Sort:
    """What the frames of an instance are, as an array: its type in NumPy's words, and its shape."""

    descr: str
    rows: int
    columns: int
    channels: int

    @property
    def size(self) -> int:
        """Bytes of a frame."""
        return int(self.descr[2:]) * self.rows * self.columns * self.channels


def array_routes(archive: Archive, pictures: Pictures) -> APIRouter:
    """Return the routes."""
    router = APIRouter()
    arrays = _Arrays(archive, pictures)

    @router.get("/instances/{identifier}/numpy", summary="Fetch all frames as an array of NumPy's", tags=["instances"])
    def of_instance(identifier: str, rescale: Rescale = True, compress: Compress = False) -> Response:
        return arrays.of_all([existing(archive, identifier)], rescale=rescale, compress=compress)

    @router.get(
        "/instances/{identifier}/frames/{frame}/numpy",
        summary="Fetch a frame as an array of NumPy's",
        tags=["instances"],
    )
    def of_frame(identifier: str, frame: Number, rescale: Rescale = True, compress: Compress = False) -> Response:
        instance = existing(archive, identifier)
        require_frame(instance, frame)
        return arrays.response([(instance, frame)], is_one=True, rescale=rescale, compress=compress)

    @router.get("/instances/{identifier}/matlab", summary="Fetch the first frame for MATLAB", tags=["instances"])
    def for_matlab(identifier: str) -> Response:
        return arrays.for_matlab(existing(archive, identifier), 0)

    @router.get("/instances/{identifier}/frames/{frame}/matlab", summary="Fetch a frame for MATLAB", tags=["instances"])
    def frame_for_matlab(identifier: str, frame: Number) -> Response:
        instance = existing(archive, identifier)
        require_frame(instance, frame)
        return arrays.for_matlab(instance, frame)

    @router.get(
        "/series/{identifier}/numpy", summary="Fetch all frames as an array of NumPy's, in order", tags=["series"]
    )
    def of_series(identifier: str, rescale: Rescale = True, compress: Compress = False) -> Response:
        with archive.read() as connection:
            members = ordered(instances_of(connection, "series", identifier))
        return arrays.of_all(members, rescale=rescale, compress=compress)

    return router


class _Arrays:
    """Makes arrays of frames, one frame in memory at a time."""

    def __init__(self, archive: Archive, pictures: Pictures) -> None:
        self._archive = archive
        self._pictures = pictures

    def of_all(self, instances: Sequence[Instance], *, rescale: bool, compress: bool) -> Response:
        """Return all frames of these instances. Raises `WebError` where they make no array."""
        frames = [(one, number) for one, count in counted(instances) for number in range(count)]
        return self.response(frames, is_one=False, rescale=rescale, compress=compress)

    def response(
        self, frames: Sequence[tuple[Instance, int]], *, is_one: bool, rescale: bool, compress: bool
    ) -> Response:
        """Return the answer. Raises `WebError` where the frames make no array."""
        instances = {one.id: one for one, _ in frames}.values()
        sorts = {self._sort(one, rescale=rescale) for one in instances}
        if len(sorts) > 1:
            raise WebError(
                415, INCOMPATIBLE_IMAGE_FORMAT, "the images are not all of one size and kind: they make no array"
            )
        (sort,) = sorts
        is_stored = not rescale and sort.channels == 1
        job = partial(Draw, kind="samples" if is_stored else "values", form="raw")
        shape = (sort.rows, sort.columns, sort.channels)
        head = _header(sort.descr, shape if is_one else (len(frames), *shape))
        first = self._pictures.open(frames[0][0], job(frames[0][1]))

        def content() -> Iterator[bytes]:
            yield head
            yield from _read(first, sort)
            for one, number in frames[1:]:
                with closing(self._pictures.open(one, job(number))) as file:
                    yield from _read(file, sort)

        if compress:
            with first:
                return file_response(self._packed(content()), media_type=_TYPE)
        length = {"Content-Length": str(len(head) + sort.size * len(frames))}
        return open_response(first, content(), media_type=_TYPE, headers=length)

    def for_matlab(self, instance: Instance, frame: int) -> Response:
        """Return a frame's samples, as they are stored, as an expression of MATLAB's. Raises `WebError` for one that makes no array."""
        sort = self._sort(instance, rescale=False)
        if not matlab.is_written(sort.descr):
            raise WebError(415, INCOMPATIBLE_IMAGE_FORMAT, f"samples of the type {sort.descr[1:]} are not written")
        file = self._pictures.open(
            instance, Draw(frame, kind="samples" if sort.channels == 1 else "values", form="raw")
        )
        try:
            _require_size(file, sort)
        except WebError:
            file.close()
            raise
        content = matlab.expression(file, sort.descr, sort.rows, sort.columns, sort.channels)
        return open_response(file, content, media_type="text/plain")

    def _sort(self, instance: Instance, *, rescale: bool) -> _Sort:
        with opened(self._archive, instance) as file:
            elements = tags.read_elements(file)

        def number(tag: int) -> int:
            values = elements.get(tag, ("", None))[1]
            try:
                return int(values[0]) if values else 0
            except (TypeError, ValueError):
                return 0

        rows, columns = number(_ROWS), number(_COLUMNS)
        if not rows or not columns:
            raise WebError(415, INCOMPATIBLE_IMAGE_FORMAT, "the instance has no image")
        photometric: list[Any] = elements.get(_PHOTOMETRIC, ("", None))[1] or [""]
        if number(_SAMPLES) > 1 or photometric[0] == "PALETTE COLOR":
            return _Sort("|u1", rows, columns, 3)
        if rescale:
            return _Sort("<f4", rows, columns, 1)
        width = max(1, number(_ALLOCATED) // 8)
        if number(_ALLOCATED) < 8:
            raise WebError(415, INCOMPATIBLE_IMAGE_FORMAT, "samples of single bits are no array: ask with rescale=true")
        kind = "i" if number(_SIGNED) else "u"
        return _Sort(f"{'|' if width == 1 else '<'}{kind}{width}", rows, columns, 1)

    def _packed(self, content: Iterator[bytes]) -> BinaryIO:
        """Return the array in a compressed archive, in a file that has no name."""
        file = cast("BinaryIO", tempfile.TemporaryFile(dir=self._archive.data))  # noqa: SIM115 - the answer closes it
        try:
            with (
                zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
                archive.open("arr_0.npy", "w", force_zip64=True) as one,
            ):
                for piece in content:
                    one.write(piece)
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file


def _require_size(file: BinaryIO, sort: _Sort) -> None:
    """Raise `WebError` for a frame that is not as its header says; leave the file at its beginning."""
    if file.seek(0, io.SEEK_END) != sort.size:
        raise WebError(415, INCOMPATIBLE_IMAGE_FORMAT, "a frame is not of the size that the header says")
    file.seek(0)


def _read(file: BinaryIO, sort: _Sort) -> Iterator[bytes]:
    """Yield a frame. Raises `WebError` for one that is not as its header says."""
    _require_size(file, sort)
    yield from iter(partial(file.read, _PIECE), b"")


def _header(descr: str, shape: Sequence[int]) -> bytes:
    """Return what an array in NumPy's format begins with (its version 1.0)."""
    said = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': ({', '.join(map(str, shape))},), }}"
    said = said.ljust(-(-(len(said) + 11) // _ALIGNED) * _ALIGNED - 11) + "\n"
    return b"\x93NUMPY\1\0" + len(said).to_bytes(2, "little") + said.encode("ascii")
