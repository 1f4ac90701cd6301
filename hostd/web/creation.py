"""`/tools/create-dicom`: instances of tags in JSON, with a picture or a PDF in them, beside others or alone."""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, cast
from uuid import uuid4

from fastapi import APIRouter, Request
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, generate_uid
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from hostd.archive import resources
from hostd.archive.archive import Archive
from hostd.archive.records import Origin
from hostd.dicom import part10
from hostd.dicom.identity import is_uid
from hostd.dicom.syntaxes import EXPLICIT_LE, JPEG_BASELINE
from hostd.errors import CannotTranscodeError
from hostd.intake.reception import Received
from hostd.transcoding.messages import Picture, ReadPicture
from hostd.web import tags
from hostd.web.asking import flag, text
from hostd.web.creation_bodies import PIXEL_DATA, in_full, reading, use_content
from hostd.web.errors import (
    BAD_FILE_FORMAT,
    BAD_REQUEST,
    NO_DATA_URI,
    NO_PARENT,
    NOT_IMPLEMENTED,
    OVERRIDES_PARENT,
    PARENT_IS_INSTANCE,
    WebError,
    bad_request,
)
from hostd.web.fields import json_object
from hostd.web.files import opened
from hostd.web.forms import received_form
from hostd.web.guard import client_ip
from hostd.web.json_data_sets import UTF_8, data_set_of, data_uri
from hostd.web.resources import instances_of
from hostd.web.responses import JsonResponse
from hostd.web.upload import FileIntake

_SECONDARY_CAPTURE, _ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.104.1"
_OWN = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_LEVELS = ("patient", "study", "series")
_UIDS_OF = {"patient": (), "study": _OWN[:1], "series": _OWN[:2]}
_DATED = {"patient": ("Study", "Series"), "study": ("Series",), "series": (), "": ("Study", "Series")}
_FORMS: dict[str, Literal["png", "jpeg"]] = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg"}
_MOST = 10_000


class Reads(Protocol):
    """What decodes pictures (`hostd.transcoding.pool.CodecPool`)."""

    def read_picture(self, source: BinaryIO, job: ReadPicture, result: BinaryIO) -> Picture:
        """Write the samples of a picture into an open file. Raises `TranscodeError`."""
        ...


def creation_routes(archive: Archive, intake: FileIntake, reader: Reads | None) -> APIRouter:
    """Return the route; without a `reader` no pictures are taken."""
    router = APIRouter(tags=["tools"])
    making = _Making(archive, reader)

    @router.post("/tools/create-dicom", summary="Store an instance that is made of tags, and a picture or a PDF")
    async def create(request: Request) -> Response:
        given = await json_object(request)
        origin = Origin(kind="http", ip=client_ip(request), username=request.state.username)

        def make() -> dict[str, Any]:
            stored = [_stored(intake, origin, one) for one in making.instances(given)]
            if isinstance(given.get("Content"), list):
                series = stored[0].series
                return {"ID": series, "Path": f"/series/{series}", "Status": "Success"}
            return dict(received_form(stored[0]))

        return JsonResponse(await run_in_threadpool(make))

    return router


def _stored(intake: FileIntake, origin: Origin, data_set: Dataset) -> Received:
    """Write an instance as a file, and take it in by the one door."""
    written = io.BytesIO()
    meta = FileMetaDataset()
    is_encapsulated = "PixelData" in data_set and data_set["PixelData"].is_undefined_length
    meta.TransferSyntaxUID = UID(JPEG_BASELINE.uid if is_encapsulated else EXPLICIT_LE.uid)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data_set.SOPClassUID, data_set.SOPInstanceUID
    meta.ImplementationClassUID = UID(part10.IMPLEMENTATION_CLASS_UID)
    data_set.file_meta = meta
    try:
        dcmwrite(written, data_set, implicit_vr=False, little_endian=True, enforce_file_format=True)
    except (ValueError, TypeError, AttributeError, OverflowError, OSError, struct.error) as error:
        raise bad_request("the tags cannot be written as DICOM: a value does not fit its attribute") from error
    reception = intake.receive_file(origin=origin)
    try:
        reception.write(written.getvalue())
    except BaseException:
        reception.abandon()
        raise
    return reception.finish()


class _Making:
    """Makes instances of what a body asks for."""

    def __init__(self, archive: Archive, reader: Reads | None) -> None:
        self._archive = archive
        self._reader = reader

    def instances(self, given: dict[str, Any]) -> list[Dataset]:
        """Return what a body asks for: one instance, or a series of one for each item of `Content`. Raises `WebError`."""
        given = in_full(given)
        common = self._described(given, given["Tags"])
        content = given.get("Content")
        if not isinstance(content, list):
            return [self._made(common, {}, content, given)]
        if not content or len(content) > _MOST:
            raise WebError(400, NO_DATA_URI, f'"Content" is one data URI, or an array of 1 to {_MOST} of them')
        made = []
        for number, item in enumerate(content, start=1):
            own = item.get("Tags", {}) if isinstance(item, dict) else {}
            if not isinstance(own, dict):
                raise bad_request('"Tags" must be an object')
            inside = item.get("Content") if isinstance(item, dict) else item
            made.append(self._made(common, {"InstanceNumber": str(number)} | own, inside, given))
        return made

    def _described(self, given: dict[str, Any], wanted: dict[str, Any]) -> Dataset:
        """Return what all instances have in common: what is asked for, and what comes from the parent."""
        made = data_set_of(wanted, reading(given))
        level, inherited = self._inherited(text(given, "Parent", orthanc_status=NO_PARENT))
        force = flag(given, "Force", orthanc_status=BAD_REQUEST)
        levels = _LEVELS[: _LEVELS.index(level) + 1] if level else ()
        for element in made:
            keyword = element.keyword
            is_inherited = element.tag in tags.tags_of(*levels) or keyword in _UIDS_OF.get(level, ())
            if is_inherited or (keyword in _OWN and not force):
                raise WebError(
                    400, OVERRIDES_PARENT, f"{keyword} comes from the parent, or from hostd itself unless Force is true"
                )
            if element.VR == "UI" and not all(is_uid(str(one)) for one in _several(element.value)):
                raise bad_request(f"{keyword} is no UID")
        made.update(inherited)
        now = datetime.fromtimestamp(self._archive.clock.now(), UTC).astimezone()
        for what in (*_DATED[level], "Acquisition", "Content", "InstanceCreation"):
            if f"{what}Date" not in made:
                setattr(made, f"{what}Date", now.strftime("%Y%m%d"))
                setattr(made, f"{what}Time", now.strftime("%H%M%S"))
        made.setdefault("PatientID", _element("PatientID", str(uuid4())))
        for keyword in _OWN[:2]:
            made.setdefault(keyword, _element(keyword, str(generate_uid(prefix=None))))
        return made

    def _inherited(self, parent: str | None) -> tuple[str, Dataset]:
        """Return at which level the parent is, and what is to be as there; '' and nothing without one."""
        if parent is None:
            return "", Dataset()
        with self._archive.read() as connection:
            level = resources.level_of(connection, parent)
            if level is None:
                raise WebError(400, NO_PARENT, "there is no such parent")
            if level == "instance":
                raise WebError(400, PARENT_IS_INSTANCE, "the parent is a patient, a study or a series")
            one = instances_of(connection, cast("Literal['patient', 'study', 'series']", level), parent)[0]
        with opened(self._archive, one) as file:
            elements = tags.read_elements(file)
        levels = _LEVELS[: _LEVELS.index(level) + 1]
        found = {
            keyword: "\\".join(map(str, values or ()))
            for tag, (vr, values) in elements.items()
            if tag in tags.tags_of(*levels) and vr != "SQ" and (keyword := keyword_for_tag(tag))
        }
        found["PatientID"] = one.patient_id
        for keyword in _UIDS_OF[level]:
            found[keyword] = one.study_instance_uid if keyword == _OWN[0] else one.series_instance_uid
        return level, data_set_of(found)

    def _made(self, common: Dataset, own: dict[str, Any], content: Any, given: dict[str, Any]) -> Dataset:
        """Return one instance: what all have, what it has by itself, and its content."""
        made = Dataset()
        made.update(common)
        mine = data_set_of(own, reading(given))
        if PIXEL_DATA in mine:
            raise use_content()
        if any(element.keyword in _OWN for element in mine) and not flag(given, "Force"):
            raise WebError(400, OVERRIDES_PARENT, "an instance has identifiers of its own unless Force is true")
        made.update(mine)
        made.SpecificCharacterSet = UTF_8
        made.setdefault("SOPInstanceUID", _element("SOPInstanceUID", str(generate_uid(prefix=None))))
        if content is not None:
            if not isinstance(content, str):
                raise WebError(400, NO_DATA_URI, '"Content" is a data URI')
            self._fill(made, *data_uri(content), is_encapsulated=flag(given, "Encapsulate"))
        made.setdefault("SOPClassUID", _element("SOPClassUID", _SECONDARY_CAPTURE))
        made.setdefault("Modality", _element("Modality", "OT"))
        if made.SOPClassUID in {_SECONDARY_CAPTURE, _ENCAPSULATED_PDF}:
            made.setdefault("ConversionType", _element("ConversionType", "WSD"))
        return made

    def _fill(self, made: Dataset, media_type: str, content: bytes, *, is_encapsulated: bool) -> None:
        if media_type == "application/pdf":
            if not content.startswith(b"%PDF-"):
                raise WebError(400, BAD_FILE_FORMAT, "Not a PDF file")
            made.SOPClassUID = _ENCAPSULATED_PDF
            made.MIMETypeOfEncapsulatedDocument = media_type
            made.EncapsulatedDocumentLength = len(content)
            made.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
            return
        form = _FORMS.get(media_type)
        if form is None:
            raise WebError(400, NOT_IMPLEMENTED, "an instance is made of image/png, image/jpeg or application/pdf")
        if is_encapsulated and form != "jpeg":
            raise WebError(400, BAD_FILE_FORMAT, '"Encapsulate" is for JPEG: other pictures are stored uncompressed')
        picture, samples = self._read(ReadPicture(form), content)
        made.Rows, made.Columns, made.SamplesPerPixel = picture.rows, picture.columns, picture.samples
        made.PhotometricInterpretation = "MONOCHROME2" if picture.samples == 1 else "RGB"
        if picture.samples > 1:
            made.PlanarConfiguration = 0
        made.BitsAllocated = made.BitsStored = picture.bits
        made.HighBit, made.PixelRepresentation = picture.bits - 1, 0
        if is_encapsulated:
            _encapsulate(made, picture, content, len(samples))
        else:
            made.add_new(PIXEL_DATA, "OW" if picture.bits > 8 else "OB", samples + b"\0" * (len(samples) % 2))

    def _read(self, job: ReadPicture, content: bytes) -> tuple[Picture, bytes]:
        if self._reader is None:
            raise WebError(501, NOT_IMPLEMENTED, "this node reads no pictures")
        with _spare(self._archive.data) as source, _spare(self._archive.data) as result:
            source.write(content)
            source.flush()
            source.seek(0)
            try:
                picture = self._reader.read_picture(source, job, result)
            except CannotTranscodeError as error:
                raise WebError(400, BAD_FILE_FORMAT, str(error)) from error
            result.seek(0)
            return picture, result.read()


def _encapsulate(made: Dataset, picture: Picture, codestream: bytes, size: int) -> None:
    """Let the pixel data be a file of JPEG Baseline as it is (PS3.5 §A.4.1); `size` is how many bytes its samples have."""
    if not picture.baseline:
        raise WebError(
            400, BAD_FILE_FORMAT, "this is no JPEG of the Baseline process, and cannot be encapsulated as it is"
        )
    made.PhotometricInterpretation = picture.baseline
    made.LossyImageCompression, made.LossyImageCompressionMethod = "01", "ISO_10918_1"
    made.LossyImageCompressionRatio = f"{size / len(codestream):.6g}"
    made.add_new(PIXEL_DATA, "OB", encapsulate([codestream]))
    made["PixelData"].is_undefined_length = True


def _spare(folder: Path) -> BinaryIO:
    return cast("BinaryIO", tempfile.TemporaryFile(dir=folder))  # without a name: a killed node leaves nothing


def _element(keyword: str, value: str) -> Any:
    made = Dataset()
    setattr(made, keyword, value)
    return made[keyword]


def _several(value: Any) -> Iterable[Any]:
    return (
        value
        if isinstance(value, (list, tuple)) or (not isinstance(value, str) and hasattr(value, "__iter__"))
        else [value]
    )
