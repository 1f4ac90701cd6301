"""WADO-RS (PS3.18 §10.4): instances, metadata, frames, pictures and bulk data, as streams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from typing import BinaryIO

from fastapi import APIRouter, Request
from starlette.responses import Response

from hostd.archive.archive import Archive
from hostd.archive.records import Instance
from hostd.dicom import syntaxes
from hostd.dicom.json_model import to_json, to_xml
from hostd.dicom.media_types import DICOM, DICOM_JSON, DICOM_XML, OCTETS
from hostd.dicom.syntaxes import EXPLICIT_LE, TransferSyntax
from hostd.errors import CannotTranscodeError
from hostd.transcoding import contents
from hostd.transcoding.elements import PIXEL_DATA
from hostd.transcoding.messages import Draw
from hostd.transcoding.raw_frames import RawFrames
from hostd.web.dicomweb import choosing
from hostd.web.dicomweb.choosing import Form
from hostd.web.dicomweb.models import Models, read
from hostd.web.dicomweb.multipart import Part, length_of, multipart_type, new_boundary, written, xml_part
from hostd.web.dicomweb.rendered import Quality, Viewport, Window, job_of
from hostd.web.dicomweb.resources import INSTANCE, SERIES, STUDY, named, one, root_url
from hostd.web.errors import (
    INCOMPATIBLE_IMAGE_FORMAT,
    UNKNOWN_RESOURCE,
    WebError,
    bad_request,
    unknown_resource,
)
from hostd.web.files import file_response, open_response, opened, parses, part_response
from hostd.web.frames import Pictures, counted, require_frame
from hostd.web.promptness import prompt
from hostd.web.requested import item_of, tag_of
from hostd.web.responses import PiecesResponse, encoded
from hostd.web.spans import Piece, Span
from hostd.web.transcoded import Made

MAX_FRAMES = 10_000
"""Frames that one request may name."""


def retrieve_routes(archive: Archive, made: Made, pictures: Pictures) -> APIRouter:
    """Return the routes of WADO-RS, without their root."""
    router = APIRouter(tags=["DICOMweb"])
    _add_instances(archive, router, made)
    _add_metadata(archive, router)
    _add_pixels(archive, router, made, pictures)

    @router.get(INSTANCE + "/bulkdata/{path:path}", summary="Fetch a large value of an instance by its path")
    def bulk_data(request: Request, study: str, series: str, instance: str, path: str) -> Response:
        return _bulk_data(request, archive, made, pictures, one(archive, study, series, instance), path)

    return router


# -- instances --------------------------------------------------------------------------------------------------------


def _add_instances(archive: Archive, router: APIRouter, made: Made) -> None:
    @router.get(STUDY, summary="Fetch the instances of a study")
    def study(request: Request, study: str) -> Response:
        return _instances(request, made, named(archive, study))

    @router.get(SERIES, summary="Fetch the instances of a series")
    def series(request: Request, study: str, series: str) -> Response:
        return _instances(request, made, named(archive, study, series))

    @router.get(INSTANCE, summary="Fetch an instance")
    @prompt
    def instance(request: Request, study: str, series: str, instance: str) -> Response:
        return _instances(request, made, named(archive, study, series, instance))


def _instances(request: Request, made: Made, found: list[Instance]) -> Response:
    form = choosing.whole_instances(request, [one.blob.transfer_syntax for one in found])
    first = made.open(found[0], form.target(found[0].blob.transfer_syntax))  # what cannot be is told before it begins
    if not form.is_multipart:
        return file_response(first, media_type=DICOM)
    boundary = new_boundary()
    headers = {}
    if all(form.target(one.blob.transfer_syntax).uid == one.blob.transfer_syntax for one in found):
        sizes = (Part(DICOM, (), one.blob.size) for one in found)
        headers["Content-Length"] = str(length_of(sizes, boundary))
    files = _Files(made, found, form, first)
    return open_response(
        files, written(files.parts(), boundary), media_type=multipart_type(DICOM, boundary), headers=headers
    )


class _Files:
    """The instances, each opened, and made, when its turn comes."""

    def __init__(self, made: Made, found: list[Instance], form: Form, first: BinaryIO) -> None:
        self._made = made
        self._found = found
        self._form = form
        self._file = first

    def parts(self) -> Iterator[Part]:
        """Yield each as a part."""
        yield _file_part(self._file)
        for instance in self._found[1:]:
            file = self._made.open(instance, self._form.target(instance.blob.transfer_syntax))
            self._file.close()
            self._file = file
            yield _file_part(file)

    def close(self) -> None:
        """Close the one that is open."""
        self._file.close()


def _file_part(file: BinaryIO, media_type: str = DICOM) -> Part:
    size = file.seek(0, 2)
    return Part(media_type, (Span(file, 0, size),), size)


# -- metadata ---------------------------------------------------------------------------------------------------------


def _add_metadata(archive: Archive, router: APIRouter) -> None:
    @router.get(STUDY + "/metadata", summary="Show the elements of the instances of a study, but for large values")
    def study(request: Request, study: str) -> Response:
        return _metadata(request, archive, named(archive, study))

    @router.get(SERIES + "/metadata", summary="Show the elements of the instances of a series, but for large values")
    def series(request: Request, study: str, series: str) -> Response:
        return _metadata(request, archive, named(archive, study, series))

    @router.get(INSTANCE + "/metadata", summary="Show the elements of an instance, but for large values")
    @prompt
    def instance(request: Request, study: str, series: str, instance: str) -> Response:
        return _metadata(request, archive, named(archive, study, series, instance))


def _metadata(request: Request, archive: Archive, found: list[Instance]) -> Response:
    form = choosing.models(request, len(found))
    root = root_url(request)
    if form.is_multipart:
        boundary = new_boundary()
        parts = (xml_part(*read(archive, instance, root)) for instance in found)
        return PiecesResponse(written(parts, boundary), media_type=multipart_type(DICOM_XML, boundary))
    if len(found) == 1:
        parses(found[0])
        if form.media_type == DICOM_XML:
            return Response(to_xml(*read(archive, found[0], root)).encode(), media_type=DICOM_XML)
        return Response(b"[" + encoded(to_json(*read(archive, found[0], root))) + b"]", media_type=DICOM_JSON)
    return PiecesResponse(_models(Models(archive, root), found), media_type=DICOM_JSON)


def _models(models: Models, found: list[Instance]) -> Iterator[bytes]:
    """Yield one JSON array as it is read, so that of many instances one at a time is in memory."""
    before = b"["
    for instance in found:
        yield before + models.model(instance)
        before = b","
    yield b"]"


# -- frames and pictures ----------------------------------------------------------------------------------------------


def _add_pixels(archive: Archive, router: APIRouter, made: Made, pictures: Pictures) -> None:
    @router.get(INSTANCE + "/frames/{frames}", summary="Fetch frames, counted from 1, with commas between")
    @prompt
    def frames(request: Request, study: str, series: str, instance: str, frames: str) -> Response:
        return _frames(request, made, pictures, one(archive, study, series, instance), _numbers(frames))

    @router.get(INSTANCE + "/frames/{frames}/rendered", summary="Draw a frame, counted from 1")
    def frame_rendered(
        request: Request, study: str, series: str, instance: str, frames: str,
        window: Window = None, viewport: Viewport = None, quality: Quality = 90,
    ) -> Response:  # fmt: skip
        number, *others = _numbers(frames)
        if others:
            raise bad_request("one frame at a time is drawn")
        found = one(archive, study, series, instance)
        _require(found, number)
        job = job_of(request, archive, found, number, window, viewport, quality)
        return file_response(pictures.open(found, job), media_type=f"image/{job.form}")

    @router.get(INSTANCE + "/rendered", summary="Draw the first frame of an instance")
    def rendered(
        request: Request, study: str, series: str, instance: str,
        window: Window = None, viewport: Viewport = None, quality: Quality = 90,
    ) -> Response:  # fmt: skip
        return frame_rendered(request, study, series, instance, "1", window, viewport, quality)


def _numbers(text: str) -> list[int]:
    """Return the frames that are named, counted from 0."""
    parts = text.split(",")
    if len(parts) > MAX_FRAMES or not all(part.isascii() and part.isdigit() and 0 < len(part) < 10 for part in parts):
        raise bad_request("frames are named by their numbers, counted from 1, with commas between")
    numbers = [int(part) - 1 for part in parts]
    if min(numbers) < 0:
        raise bad_request("frames are counted from 1")
    return numbers


def _frames(
    request: Request,
    made: Made,
    pictures: Pictures,
    instance: Instance,
    numbers: Sequence[int],
    *,
    prefers_own: bool = False,
) -> Response:
    last = max(numbers)
    _require(instance, last)
    form = choosing.frames(request, instance.blob.transfer_syntax, len(numbers), prefers_own=prefers_own)
    target = form.target(instance.blob.transfer_syntax)
    boundary = new_boundary()
    if form.syntax is not None and form.media_type == OCTETS and instance.blob.transfer_syntax != target.uid:
        return _decoded(pictures, instance, numbers, form, boundary)
    parses(instance)
    file = made.open(instance, target)
    try:
        frames = RawFrames(file)
        if last >= frames.count:
            raise _no_frame(frames.count)
    except BaseException as error:
        file.close()
        if isinstance(error, CannotTranscodeError):
            raise WebError(415, INCOMPATIBLE_IMAGE_FORMAT, str(error)) from error
        raise
    media_type = _with_syntax(form.media_type, frames.syntax)
    parts = [(frame.pieces, frame.length) for frame in map(frames.frame, numbers)]
    if not form.is_multipart:
        content, length = parts[0]
        return open_response(file, content(), media_type=media_type, headers={"Content-Length": str(length)})
    lengths = (Part(media_type, (), length) for _, length in parts)
    headers = {"Content-Length": str(length_of(lengths, boundary))}
    body = written((Part(media_type, content(), length) for content, length in parts), boundary)
    return open_response(file, body, media_type=multipart_type(form.media_type, boundary), headers=headers)


def _decoded(pictures: Pictures, instance: Instance, numbers: Sequence[int], form: Form, boundary: str) -> Response:
    """Return frames uncompressed, each decoded by itself when its turn comes: the others of the image cost nothing."""
    first = pictures.open(instance, Draw(numbers[0], "samples", "raw"))
    media_type = _with_syntax(OCTETS, form.target(instance.blob.transfer_syntax))
    if not form.is_multipart:
        return file_response(first, media_type=media_type)

    def parts() -> Iterator[Part]:
        yield _file_part(first, media_type)
        for number in numbers[1:]:
            with closing(pictures.open(instance, Draw(number, "samples", "raw"))) as file:
                yield _file_part(file, media_type)

    return open_response(first, written(parts(), boundary), media_type=multipart_type(OCTETS, boundary))


def _with_syntax(media_type: str, syntax: TransferSyntax) -> str:
    """Name the transfer syntax of frames; uncompressed ones are in little endian, whatever the file is in (PS3.18 §8.7.3)."""
    return f"{media_type}; transfer-syntax={(syntax if syntax.is_encapsulated else EXPLICIT_LE).uid}"


def _require(instance: Instance, number: int) -> None:
    try:
        require_frame(instance, number)
    except WebError as error:
        raise WebError(404, UNKNOWN_RESOURCE, str(error).replace("from 0", "from 1 here")) from error


def _no_frame(count: int) -> WebError:
    return unknown_resource(f"the instance has {count} frames")


# -- bulk data --------------------------------------------------------------------------------------------------------


def _bulk_data(
    request: Request, archive: Archive, made: Made, pictures: Pictures, instance: Instance, text: str
) -> Response:
    path = [tag_of(part) if number % 2 == 0 else item_of(part) for number, part in enumerate(text.split("/"))]
    file = opened(archive, instance)
    keep = False
    try:
        found = contents.find(file, path)
        if isinstance(found, contents.Listing) and path == [PIXEL_DATA]:
            if syntaxes.by_uid(instance.blob.transfer_syntax).is_encapsulated:
                ((_, count),) = counted([instance])
                return _frames(request, made, pictures, instance, range(count), prefers_own=True)
            response = _pixel_data(file, choosing.octets(request))
        elif isinstance(found, contents.Value):
            response = _value(file, found, choosing.octets(request))
        else:
            raise unknown_resource("there is no such value")
        keep = True
        return response
    except CannotTranscodeError as error:
        raise WebError(415, INCOMPATIBLE_IMAGE_FORMAT, str(error)) from error
    finally:
        if not keep:
            file.close()


def _value(file: BinaryIO, found: contents.Value, form: Form) -> Response:
    if not form.is_multipart:
        return part_response(file, found, media_type=OCTETS)
    return _one_part(file, (Span(found.file, found.at, found.length),), found.length)


def _pixel_data(file: BinaryIO, form: Form) -> Response:
    """Return pixel data that are not encapsulated, all frames together."""
    frames = RawFrames(file)
    all_frames = [frames.frame(number) for number in range(frames.count)]
    content = (piece for frame in all_frames for piece in frame.pieces())
    length = sum(frame.length for frame in all_frames)
    if form.is_multipart:
        return _one_part(file, content, length)
    return open_response(file, content, media_type=OCTETS, headers={"Content-Length": str(length)})


def _one_part(file: BinaryIO, content: Iterable[Piece], length: int) -> Response:
    boundary = new_boundary()
    part = Part(OCTETS, content, length)
    headers = {"Content-Length": str(length_of([part], boundary))}
    return open_response(file, written([part], boundary), media_type=multipart_type(OCTETS, boundary), headers=headers)
