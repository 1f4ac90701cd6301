"""`/instances/{id}/frames/…`: frames as they are stored, and as pictures, which the codec workers draw (P6)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path as FilePath
from typing import Annotated, BinaryIO, Literal, Protocol

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from hostd.archive.archive import Archive
from hostd.archive.records import Instance
from hostd.dicom import syntaxes
from hostd.dicom.media_types import frame_type, is_video
from hostd.errors import CannotTranscodeError
from hostd.transcoding.messages import Draw
from hostd.transcoding.raw_frames import RawFrames
from hostd.web.accepting import accepted
from hostd.web.errors import (
    INCOMPATIBLE_IMAGE_FORMAT,
    INEXISTENT_FILE,
    NOT_ACCEPTABLE,
    NOT_IMPLEMENTED,
    PARAMETER_OUT_OF_RANGE,
    UNKNOWN_RESOURCE,
    WebError,
)
from hostd.web.files import file_response, open_response, opened, parses
from hostd.web.promptness import prompt, takes_long
from hostd.web.resources import existing
from hostd.web.responses import JsonResponse

Kind = Literal["rendered", "preview", "uint8", "uint16", "int16"]
_KINDS: dict[str, Kind] = {
    "image-int16": "int16", "image-uint16": "uint16", "image-uint8": "uint8", "preview": "preview", "rendered": "rendered",
}  # fmt: skip
_FORMS: dict[str, Literal["png", "jpeg", "pam"]] = {
    "image/png": "png", "image/jpeg": "jpeg", "image/x-portable-arbitrarymap": "pam",
}  # fmt: skip
MAX_SIDE = 16384
"""Pixels that a picture may have on a side because somebody asked for it."""
MAX_LISTED = 1 << 20
"""Frames that one answer lists: how many an instance has is what its header claims."""
_LARGEST = 1e30
"""Of a window: shades are reckoned with numbers of 32 bits."""
_OPERATIONS = sorted((*_KINDS, "matlab", "numpy", "raw", "raw.gz"))
_GZIP = 16 + zlib.MAX_WBITS

AskedWindow = tuple[float | None, float | None, str]
"""Center, width and function of a window; what is not asked for is that of the header."""
Number = Annotated[int, Path(alias="frame", ge=0, description="The frame, counted from 0.")]
Quality = Annotated[int, Query(ge=1, le=100, description="How good a JPEG is to be.")]
Side = Annotated[int, Query(ge=0, le=MAX_SIDE, description="Pixels that it must fit into; 0: its own.")]
Bound = Annotated[float | None, Query(description="The window, where it is not to be the one of the header.")]


class Draws(Protocol):
    """What draws (`hostd.transcoding.pool.CodecPool`)."""

    def draw(self, source: FilePath, job: Draw, result: FilePath) -> None:
        """Write a picture to `result`, which must not exist. Raises `TranscodeError` or `OSError`."""
        ...


class Pictures:
    """Pictures of stored frames, made for one answer. For any number of threads."""

    def __init__(self, archive: Archive, artist: Draws | None) -> None:
        self._archive = archive
        self._artist = artist

    def open(self, instance: Instance, job: Draw) -> BinaryIO:
        """Return an open picture; it is gone when it is closed. Raises `WebError` where there is none."""
        if self._artist is None:
            raise WebError(501, NOT_IMPLEMENTED, "this node draws nothing")
        require_frame(instance, job.frame, missing=(404, UNKNOWN_RESOURCE))
        takes_long()
        spare = self._archive.blobs.vacant(is_product=True)
        try:
            self._artist.draw(self._archive.blobs.path(instance.blob.name), job, spare.path)
            return spare.path.open("rb")
        except CannotTranscodeError as error:
            raise WebError(415, INCOMPATIBLE_IMAGE_FORMAT, str(error)) from error
        except FileNotFoundError as error:
            existing(self._archive, instance.id)  # deleted meanwhile: that is no fault
            raise WebError(500, INEXISTENT_FILE, "the file of this instance is missing from the archive") from error
        finally:
            spare.path.unlink(missing_ok=True)


def frame_count(instance: Instance) -> int:
    """Return how many frames an instance says that it has; 1 where it does not say, and of video, which is one stream: as Orthanc."""
    if is_video(syntaxes.by_uid(instance.blob.transfer_syntax)):
        return 1
    text = instance.attributes["instance"].get("NumberOfFrames", "")
    return int(text) if text.isascii() and text.isdigit() and int(text) > 0 else 1


def counted(instances: Sequence[Instance]) -> list[tuple[Instance, int]]:
    """Return instances with how many frames each says that it has. Raises `WebError` for more than are listed in one answer."""
    counts = [(one, frame_count(one)) for one in instances]
    if (total := sum(count for _, count in counts)) > MAX_LISTED:
        raise WebError(
            415,
            INCOMPATIBLE_IMAGE_FORMAT,
            f"{total} frames are claimed, and no more than {MAX_LISTED} are listed at once",
        )
    return counts


def require_frame(instance: Instance, frame: int, *, missing: tuple[int, int] = (400, PARAMETER_OUT_OF_RANGE)) -> None:
    """Raise `WebError` for a frame (from 0) that there is not, with that status and number of Orthanc's."""
    if frame >= (count := frame_count(instance)):
        raise WebError(*missing, f"the instance has {count} frames, counted from 0")


def frame_routes(archive: Archive, pictures: Pictures) -> APIRouter:
    """Return the routes of frames and pictures."""
    router = APIRouter(prefix="/instances/{identifier}", tags=["instances"])

    @router.get("/frames", summary="List the frames")
    def frames(identifier: str) -> Response:
        ((_, count),) = counted([existing(archive, identifier)])
        return JsonResponse(list(range(count)))

    @router.get("/frames/{frame}", summary="List what can be had of a frame")
    def operations(identifier: str, frame: Number) -> Response:
        require_frame(existing(archive, identifier), frame, missing=(404, UNKNOWN_RESOURCE))
        return JsonResponse(_OPERATIONS)

    @router.get("/frames/{frame}/raw", summary="Fetch the bytes of a frame as they are stored")
    @prompt
    def raw(identifier: str, frame: Number) -> Response:
        return _raw(archive, identifier, frame, zipped=False)

    @router.get("/frames/{frame}/raw.gz", summary="Fetch the bytes of a frame as they are stored, packed with gzip")
    def raw_gz(identifier: str, frame: Number) -> Response:
        return _raw(archive, identifier, frame, zipped=True)

    for name, kind in _KINDS.items():
        _add_picture(archive, router, pictures, name, kind)
    return router


def _add_picture(archive: Archive, router: APIRouter, pictures: Pictures, name: str, kind: Kind) -> None:
    if kind == "rendered":

        @router.get("/frames/{frame}/rendered", summary="Draw a frame as its header has it")
        def rendered(
            request: Request, identifier: str, frame: Number,
            quality: Quality = 90, width: Side = 0, height: Side = 0,
            center: Annotated[Bound, Query(alias="window-center")] = None,
            span: Annotated[Bound, Query(alias="window-width")] = None,
        ) -> Response:  # fmt: skip
            window = None if center is None and span is None else window_of(center, span)
            job = Draw(frame, kind, _form(request), quality, window, width, height)
            return _drawn(pictures, existing(archive, identifier), job)

        @router.get("/rendered", summary="Draw the first frame as its header has it")
        def first_rendered(
            request: Request, identifier: str,
            quality: Quality = 90, width: Side = 0, height: Side = 0,
            center: Annotated[Bound, Query(alias="window-center")] = None,
            span: Annotated[Bound, Query(alias="window-width")] = None,
        ) -> Response:  # fmt: skip
            return rendered(request, identifier, 0, quality, width, height, center, span)

        return

    @router.get(f"/frames/{{frame}}/{name}", summary=f"Draw a frame: {_SAID[kind]}", name=f"frame_{name}")
    def picture(request: Request, identifier: str, frame: Number, quality: Quality = 90) -> Response:
        return _drawn(pictures, existing(archive, identifier), Draw(frame, kind, _form(request), quality))

    @router.get(f"/{name}", summary=f"Draw the first frame: {_SAID[kind]}", name=name)
    def first(request: Request, identifier: str, quality: Quality = 90) -> Response:
        return picture(request, identifier, 0, quality)


_SAID = {
    "preview": "from its least sample to its greatest",
    "uint8": "its samples, cut to 0 to 255",
    "uint16": "its samples, cut to 0 to 65535",
    "int16": "its samples, cut to -32768 to 32767",
}


def _form(request: Request) -> Literal["png", "jpeg", "pam"]:
    media_type = accepted(request, tuple(_FORMS))
    if media_type is None:
        raise WebError(406, NOT_ACCEPTABLE, f"pictures are {', '.join(_FORMS)}")
    return _FORMS[media_type]


def window_of(center: float | None, width: float | None, function: str = "LINEAR") -> AskedWindow:
    """Return the window that is asked for. Raises `WebError` for one that cannot be (PS3.3 §C.11.2.1.2)."""
    least = 1 if function == "LINEAR" else 0
    if not abs(center or 0) <= _LARGEST or not least <= (1 if width is None else width) <= _LARGEST or width == 0:
        said = f"a window has a center and a width, of at least 1, or above 0 where it is not linear; both up to {_LARGEST:g}"
        raise WebError(400, PARAMETER_OUT_OF_RANGE, said)
    return center, width, function


def _drawn(pictures: Pictures, instance: Instance, job: Draw) -> Response:
    media_type = next(name for name, form in _FORMS.items() if form == job.form)
    return file_response(pictures.open(instance, job), media_type=media_type)


def _raw(archive: Archive, identifier: str, number: int, *, zipped: bool) -> Response:
    instance = existing(archive, identifier)
    require_frame(instance, number)
    parses(instance)
    file = opened(archive, instance)
    try:
        frames = RawFrames(file)
        if number >= frames.count:
            raise WebError(400, PARAMETER_OUT_OF_RANGE, f"the file has {frames.count} frames, counted from 0")
        frame = frames.frame(number)
    except BaseException as error:
        file.close()
        if isinstance(error, CannotTranscodeError):
            raise WebError(415, INCOMPATIBLE_IMAGE_FORMAT, str(error)) from error
        raise
    if zipped:
        return open_response(file, _packed(frame.pieces()), media_type="application/gzip")
    length = {"Content-Length": str(frame.length)}
    return open_response(file, frame.pieces(), media_type=frame_type(frames.syntax), headers=length)


def _packed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(level=1, wbits=_GZIP)
    for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()
