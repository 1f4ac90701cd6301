"""What goes wrong, as HTTP says it: every error is Orthanc's JSON object, whoever found it.

`OrthancStatus` is the number that Orthanc's clients look at; a client that sends again on 502 and 503 only does the right thing here.
"""

from __future__ import annotations

import errno
import sqlite3
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import compile_path

from hostd.errors import (
    CodecCrashedError,
    ConflictError,
    FilterRefusedError,
    HostdError,
    LimitReachedError,
    NoRoomError,
    NotFoundError,
    ReceptionError,
    StorageError,
    UnparsableError,
    WrongPixelsError,
)
from hostd.jobs import faults
from hostd.web.responses import JsonResponse

_log = structlog.get_logger(__name__)

INTERNAL_ERROR = -1
NOT_IMPLEMENTED = 2
PARAMETER_OUT_OF_RANGE = 3
NOT_ENOUGH_MEMORY = 4
BAD_PARAMETER_TYPE = 5
BAD_SEQUENCE_OF_CALLS = 6
INEXISTENT_ITEM = 7
BAD_REQUEST = 8
INEXISTENT_FILE = 13
CANNOT_WRITE_FILE = 14
BAD_FILE_FORMAT = 15
TIMEOUT = 16
UNKNOWN_RESOURCE = 17
FULL_STORAGE = 19
CORRUPTED_FILE = 20
INCOMPATIBLE_IMAGE_FORMAT = 23
UNKNOWN_TAG = 27
UNAUTHORIZED = 29
NOT_ACCEPTABLE = 34
REVISION = 43
FORBIDDEN = 45
DUPLICATE_RESOURCE = 46
FIND_UNAVAILABLE = 2016
OVERRIDES_PARENT = 2020
USE_CONTENT = 2021
NO_DATA_URI = 2023
NO_PARENT = 2024
PARENT_IS_INSTANCE = 2025

_MEANINGS = {
    **faults.MEANINGS,
    INTERNAL_ERROR: "Internal error",
    NOT_IMPLEMENTED: "Not implemented yet",
    NOT_ENOUGH_MEMORY: "Not enough memory",
    PARAMETER_OUT_OF_RANGE: "Parameter out of range",
    BAD_PARAMETER_TYPE: "Bad type for a parameter",
    BAD_SEQUENCE_OF_CALLS: "Bad sequence of calls",
    INEXISTENT_ITEM: "Accessing an inexistent item",
    BAD_REQUEST: "Bad request",
    INEXISTENT_FILE: "Inexistent file",
    CANNOT_WRITE_FILE: "Cannot write to file",
    BAD_FILE_FORMAT: "Bad file format",
    TIMEOUT: "Timeout",
    UNKNOWN_RESOURCE: "Unknown resource",
    FULL_STORAGE: "The file storage is full",
    CORRUPTED_FILE: "The file is corrupted",
    INCOMPATIBLE_IMAGE_FORMAT: "The image format is incompatible with the requested operation",
    UNKNOWN_TAG: "Unknown DICOM tag",
    NOT_ACCEPTABLE: "Cannot send a response which is acceptable according to the Accept HTTP header",
    REVISION: "Bad revision number",
    UNAUTHORIZED: "Bad credentials were provided to an HTTP request",
    FORBIDDEN: "Access to a resource is forbidden",
    DUPLICATE_RESOURCE: "Duplicate resource",
    FIND_UNAVAILABLE: "DicomUserConnection: The C-FIND command is not supported by the remote SCP",
    NO_DATA_URI: "The content of the new DICOM instance must be specified by a data URI",
    OVERRIDES_PARENT: "Trying to override a value inherited from a parent module",
    USE_CONTENT: 'Use "Content" to inject an image into a new DICOM instance',
    NO_PARENT: "Trying to attach a new DICOM instance to an inexistent resource",
    PARENT_IS_INSTANCE: "Trying to attach a new DICOM instance to an instance (must be a series, study or patient)",
}
"""Orthanc's error numbers, as clients compare them, and their meaning."""

_OUT_OF_RESOURCES = 0xA7
"""The first byte of the statuses of C-STORE after which a sender may try again (PS3.4 Table B.2-1)."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer that is an error: HTTP status, Orthanc's number, and what is to be said to the client besides."""

    status: int
    orthanc_status: int
    details: str | None = None
    headers: dict[str, str] | None = None
    payload: dict[str, Any] | None = None

    def response(self, method: str, uri: str) -> Response:
        """Return the answer, in Orthanc's form."""
        meaning = _MEANINGS[self.orthanc_status]
        content: dict[str, Any] = {
            "HttpError": HTTPStatus(self.status).phrase,
            "HttpStatus": self.status,
            "Message": meaning,
            "Method": method,
            "OrthancError": meaning,
            "OrthancStatus": self.orthanc_status,
            "Uri": uri,
        }
        if self.payload:
            content = {"ErrorPayload": self.payload, **content}
        if self.details:
            content = {"Details": self.details, **content}
        return JsonResponse(content, status_code=self.status, headers=self.headers)


class WebError(HostdError):
    """A request cannot be answered; the message goes to the client."""

    def __init__(
        self, status: int, orthanc_status: int, details: str | None = None, payload: dict[str, Any] | None = None
    ) -> None:
        super().__init__(details or HTTPStatus(status).phrase)
        self.problem = Problem(status, orthanc_status, details, payload=payload)


def bad_request(details: str) -> WebError:
    """Return the error of a request that is wrong in itself."""
    return WebError(400, BAD_REQUEST, details)


def unknown_resource(details: str | None = None) -> WebError:
    """Return the error of a resource that is not there."""
    return WebError(404, UNKNOWN_RESOURCE, details)


_TOLD: tuple[tuple[type[HostdError], int, int], ...] = (
    (UnparsableError, 400, BAD_FILE_FORMAT),
    (ConflictError, 409, DUPLICATE_RESOURCE),
    (ReceptionError, 400, BAD_FILE_FORMAT),
    (NotFoundError, 404, UNKNOWN_RESOURCE),
    (CodecCrashedError, 500, INTERNAL_ERROR),
    (WrongPixelsError, 500, INTERNAL_ERROR),
)
"""Errors whose message is for the client."""


def problem_of(error: Exception) -> Problem:
    """Turn any exception into what the client may know of it: nothing about the inside of this host."""
    if isinstance(error, WebError):
        return error.problem
    if isinstance(error, (StorageError, FilterRefusedError)):
        return _of_storage(error) if isinstance(error, StorageError) else _of_filter(error)
    for kind, status, orthanc_status in _TOLD:
        if isinstance(error, kind):
            return Problem(status, orthanc_status, str(error))
    if isinstance(error, RequestValidationError):
        is_no_frame = any(tuple(found["loc"]) == ("path", "frame") for found in error.errors())
        return Problem(*((404, UNKNOWN_RESOURCE) if is_no_frame else (400, BAD_PARAMETER_TYPE)), _invalid(error))
    if isinstance(error, HTTPException) and error.status_code < 500:
        return _of_routing(error)
    return Problem(500, INTERNAL_ERROR)


def _of_storage(error: StorageError) -> Problem:
    """Say that nothing was stored, not where: the error's message names folders of this host."""
    if isinstance(error, LimitReachedError):
        return Problem(507, FULL_STORAGE, str(error))
    if isinstance(error, NoRoomError) or _is_full(error):
        return Problem(507, FULL_STORAGE, "the disk is full; nothing was stored")
    return Problem(503, CANNOT_WRITE_FILE, "the change could not be put on stable storage; send it again later")


def _of_filter(error: FilterRefusedError) -> Problem:
    """Say what a filter said: what C-STORE's sender may try again is temporary here, too."""
    return Problem(503 if error.status >> 8 == _OUT_OF_RESOURCES else 422, FORBIDDEN, str(error))


def _of_routing(error: HTTPException) -> Problem:
    number = UNKNOWN_RESOURCE if error.status_code == 404 else BAD_REQUEST
    details = None if error.detail == HTTPStatus(error.status_code).phrase else error.detail
    return Problem(error.status_code, number, details, dict(error.headers or {}))


def _invalid(error: RequestValidationError) -> str:
    """Say which parameter is wrong and why; what was given is not repeated."""
    return "; ".join(f"{'.'.join(map(str, found['loc'][1:]))}: {found['msg']}" for found in error.errors())


def _is_full(error: BaseException) -> bool:
    """Tell whether a full disk, or a quota, is behind the error."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, OSError) and behind.errno in _FULL:
            return True
        if isinstance(behind, sqlite3.Error) and getattr(behind, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return True
        behind = behind.__cause__ or behind.__context__
    return False


def answer(request: Request, error: Exception) -> Response:
    """Return the answer to a request that ended in an error; one that nobody expected is logged, with its traceback."""
    problem = problem_of(error)
    if problem.status == 405:  # the router names only the methods of the first route that has this path
        problem = replace(problem, headers={"Allow": ", ".join(_methods(request))})
    if problem.status >= 500:
        asked: dict[str, Any] = {"method": request.method, "path": request.url.path, "status": problem.status}
        if isinstance(error, (WebError, CodecCrashedError, WrongPixelsError)):  # it says all that there is to be known
            _log.warning("request failed", **asked, reason=str(error))
        else:
            _log.error("request failed", **asked, exc_info=error)
    return problem.response(request.method, request.url.path)


def _methods(request: Request) -> list[str]:
    described = request.app.openapi()["paths"]
    return sorted(
        method.upper()
        for path, methods in described.items()
        if compile_path(path)[0].match(request.url.path)
        for method in methods
    )


def install(app: FastAPI) -> None:
    """Have the app answer all errors in Orthanc's form."""
    for kind in (HTTPException, RequestValidationError, HostdError):
        app.add_exception_handler(kind, answer)
