"""`/instances/{id}/pdf`: the document that an instance encapsulates."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from hostd.archive.archive import Archive
from hostd.dicom.element_values import Elements
from hostd.transcoding import contents
from hostd.transcoding.contents import Value
from hostd.web import tags
from hostd.web.errors import UNKNOWN_RESOURCE, WebError
from hostd.web.files import opened, part_response
from hostd.web.resources import existing

_PDF_STORAGE = "1.2.840.10008.5.1.4.1.1.104.1"
_DOCUMENT, _LENGTH = 0x00420011, 0x00420015
_PDF = "application/pdf"


def document_routes(archive: Archive) -> APIRouter:
    """Return the route."""
    router = APIRouter(prefix="/instances/{identifier}", tags=["instances"])

    @router.get("/pdf", summary="Fetch the PDF that an instance encapsulates")
    def pdf(identifier: str) -> Response:
        instance = existing(archive, identifier)
        file = opened(archive, instance)
        found = None
        try:
            if instance.sop_class_uid == _PDF_STORAGE:
                length = _said_length(tags.read_elements(file))
                found = contents.find(file, [_DOCUMENT])
            if not isinstance(found, Value):
                raise WebError(404, UNKNOWN_RESOURCE, "the instance encapsulates no PDF")
            if found.length - 1 == length:  # padded to an even length (PS3.3 Table C.24-2)
                found = Value(found.file, found.at, length)
        except BaseException:
            file.close()
            raise
        return part_response(file, found, media_type=_PDF)

    return router


def _said_length(elements: Elements) -> int | None:
    """Return Encapsulated Document Length, None where it is not said."""
    values = elements.get(_LENGTH, ("", None))[1]
    return int(values[0]) if values else None
