"""What the paths of DICOMweb name: studies, series and instances by their UIDs."""

from __future__ import annotations

from fastapi import Request

from hostd.archive import instances
from hostd.archive.archive import Archive
from hostd.archive.records import Instance
from hostd.web.errors import unknown_resource

ROOT = "/dicom-web"
STUDY = "/studies/{study}"
SERIES = STUDY + "/series/{series}"
INSTANCE = SERIES + "/instances/{instance}"


def named(archive: Archive, study: str, series: str | None = None, instance: str | None = None) -> list[Instance]:
    """Return the instances of a study, of a series in it, or one in that. Raises `WebError` when there is none.

    Other patients' data may use the same UIDs: all of it is there.
    """
    # The narrowest condition finds the rows, and the others are looked at in these.
    uids = {"study_instance_uid": study, "series_instance_uid": series, "sop_instance_uid": instance}
    with archive.look() as connection:
        found = instances.having(connection, **{name: uid for name, uid in uids.items() if uid is not None})
    if not found:
        raise unknown_resource("no instance of that study, series or instance UID is stored here")
    return found


def one(archive: Archive, study: str, series: str, instance: str) -> Instance:
    """Return the instance of these UIDs. Raises `WebError` when there is none."""
    return named(archive, study, series, instance)[0]


def root_url(request: Request) -> str:
    """Return where DICOMweb is, as the client calls it, without a `/` at its end.

    A client that calls this machine by its very address, and forgets the port (dicomweb-client does), is told it.
    """
    url = request.base_url
    host, port = request.scope.get("server") or ("", None)
    if url.port is None and url.hostname == host and port is not None:
        url = url.replace(port=port)
    return f"{str(url).rstrip('/')}{ROOT}"


def url_of(root: str, instance: Instance) -> str:
    """Return where an instance can be retrieved."""
    return (
        f"{root}/studies/{instance.study_instance_uid}/series/{instance.series_instance_uid}"
        f"/instances/{instance.sop_instance_uid}"
    )
