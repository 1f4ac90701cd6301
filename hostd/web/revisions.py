"""Which state of a value a client means: `ETag`, `If-Match` and `If-None-Match`, in Orthanc's form."""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette.responses import Response

from hostd.web.errors import REVISION, WebError, bad_request

_TAG = re.compile(r'"*(?P<revision>[0-9]+)-(?P<md5>.+?)"*')


def etag(md5: str) -> str:
    """Return the tag of a value with that digest; its revision is always 0."""
    return f'"0-{md5}"'


def not_modified(headers: Mapping[str, str], md5: str) -> Response | None:
    """Return the answer for who has that value already, None for others. Raises `WebError` for an `If-None-Match` that is no tag."""
    if (given := headers.get("if-none-match")) is None or not _means("If-None-Match", given, md5):
        return None
    return Response(status_code=304, headers={"ETag": etag(md5)})


def require_given(headers: Mapping[str, str]) -> None:
    """Raise `WebError` where it is not said which state is meant."""
    if "if-match" not in headers:
        raise WebError(409, REVISION, "it is not said which state is meant: give its ETag as If-Match")


def require_readable(headers: Mapping[str, str]) -> None:
    """Raise `WebError` for an `If-Match` that is no tag."""
    if (given := headers.get("if-match")) is not None:
        _means("If-Match", given, "")


def require_meant(headers: Mapping[str, str], md5: str | None, *, is_needed: bool) -> None:
    """Raise `WebError` where a value, of that digest, is not in the state that is meant; None: there is none, which nobody can mean wrongly.

    `is_needed`: it must be said which state is meant.
    """
    require_readable(headers)
    if md5 is None:
        return
    if is_needed:
        require_given(headers)
    if (given := headers.get("if-match")) is not None and not _means("If-Match", given, md5):
        raise WebError(409, REVISION, "it was changed meanwhile: read it again")


def _means(header: str, given: str, md5: str) -> bool:
    found = _TAG.fullmatch(given)
    if found is None:
        raise bad_request(f"{header} is an ETag, as the answers have it")
    return int(found["revision"]) == 0 and found["md5"] == md5
