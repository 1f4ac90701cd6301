"""`/patients`, `/studies`, `/series` and `/instances`: listing, describing, deleting, and what is above and below each."""

from __future__ import annotations

from typing import Any, cast

import structlog
from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.responses import Response

from hostd.archive import attachments, hierarchy, instances
from hostd.archive.archive import Archive
from hostd.archive.labels import Subject
from hostd.archive.levels import Level
from hostd.web.bulk import respelled
from hostd.web.deletion import delete_resource
from hostd.web.forms import PLURALS, TYPES, instance_form, size_form
from hostd.web.parameters import Expand, Flag, Force, Limit, RequestedTags, Since, is_set
from hostd.web.promptness import prompt, takes_long
from hostd.web.requested import requested_form, requested_tags
from hostd.web.resources import (
    above,
    described,
    described_all,
    existing_instance,
    existing_level,
    form_of,
    instances_of,
)
from hostd.web.responses import JsonResponse

_log = structlog.get_logger(__name__)

_DOWN: dict[Subject, tuple[Subject, ...]] = {
    "patient": ("study", "series", "instance"),
    "study": ("series", "instance"),
    "series": ("instance",),
    "instance": (),
}
_UP: dict[Subject, tuple[Level, ...]] = {
    "patient": (),
    "study": ("patient",),
    "series": ("study", "patient"),
    "instance": ("series", "study", "patient"),
}


def level_routes(archive: Archive) -> list[APIRouter]:
    """Return the routes of each of the four levels."""
    return [_routes_of(archive, subject) for subject in PLURALS]


def _routes_of(archive: Archive, subject: Subject) -> APIRouter:
    router = APIRouter(prefix=f"/{PLURALS[subject]}", tags=[PLURALS[subject]])
    noun = TYPES[subject].lower()
    a_noun = f"{'an' if subject == 'instance' else 'a'} {noun}"

    @router.get("", summary=f"List the {PLURALS[subject]}")
    def listing(
        request: Request,
        since: Since = 0,
        limit: Limit = None,
        expand: Expand = None,  # noqa: ARG001 - declared for the documentation
        requestedTags: RequestedTags = None,  # noqa: ARG001, N803 - as above
        full: Flag = None,  # noqa: ARG001 - as above
        short: Flag = None,  # noqa: ARG001 - as above
    ) -> Response:
        asked = requested_tags(request)
        with archive.read() as connection:
            if subject == "instance" and is_set(request, "expand") and not asked:
                page = instances.page(connection, since=since, limit=limit)
                return JsonResponse(_told(request, [instance_form(one) for one in page]))
            found = (
                instances.ids(connection, since=since, limit=limit)
                if subject == "instance"
                else hierarchy.ids(connection, subject, since=since, limit=limit)
            )
            if not is_set(request, "expand"):
                return JsonResponse(found)
            return JsonResponse(_told(request, _forms(archive, connection, subject, found, asked)))

    @router.get("/{identifier}", summary=f"Describe {a_noun}")
    @prompt
    def describe(
        request: Request,
        identifier: str,
        requestedTags: RequestedTags = None,  # noqa: ARG001, N803 - declared for the documentation
        full: Flag = None,  # noqa: ARG001 - as above
        short: Flag = None,  # noqa: ARG001 - as above
    ) -> Response:
        return JsonResponse(_told(request, [_one(archive, subject, identifier, requested_tags(request))])[0])

    @router.delete("/{identifier}", summary=f"Delete {a_noun}")
    def delete(request: Request, identifier: str, force: Force = False) -> Response:
        by = (request.state.username or "somebody without a name") if force else None
        ancestor = delete_resource(archive, subject, identifier, forced_by=by)
        _log.info(f"{noun} deleted", id=identifier, username=request.state.username)
        return JsonResponse({"RemainingAncestor": ancestor})

    @router.get("/{identifier}/statistics", summary=f"Count what {a_noun} holds")
    def statistics(identifier: str) -> Response:
        with archive.read() as connection:
            if subject == "instance":
                size = hierarchy.Size(1, 1, 1, existing_instance(connection, identifier).blob.size)
            else:
                existing_level(connection, subject, identifier)
                size = hierarchy.size(connection, subject, identifier)
            attached = attachments.room_of(connection, subject, identifier)
        return JsonResponse(size_form(size, attached, subject))

    for level in _UP[subject]:
        _add_up(archive, router, subject, level)
    for below in _DOWN[subject]:
        _add_down(archive, router, cast("Level", subject), below)
    return router


def _add_up(archive: Archive, router: APIRouter, subject: Subject, level: Level) -> None:
    @router.get(f"/{{identifier}}/{level}", summary=f"Describe the {level} that it is in", name=f"{subject}_{level}")
    def up(
        request: Request,
        identifier: str,
        full: Flag = None,  # noqa: ARG001 - declared for the documentation
        short: Flag = None,  # noqa: ARG001 - as above
    ) -> Response:
        with archive.read() as connection:
            parent = above(connection, subject, identifier, level)
            return JsonResponse(_told(request, [described(connection, level, parent)])[0])


def _add_down(archive: Archive, router: APIRouter, level: Level, below: Subject) -> None:
    plural = PLURALS[below]

    @router.get(f"/{{identifier}}/{plural}", summary=f"Describe the {plural} that are in it", name=f"{level}_{plural}")
    def down(
        request: Request,
        identifier: str,
        expand: Expand = None,  # noqa: ARG001 - declared for the documentation
        full: Flag = None,  # noqa: ARG001 - as above
        short: Flag = None,  # noqa: ARG001 - as above
    ) -> Response:
        with archive.read() as connection:
            existing_level(connection, level, identifier)
            if request.query_params.get("expand", "true").lower() in {"false", "0"}:
                return JsonResponse(hierarchy.descendants(connection, level, identifier, below))
            if below == "instance":
                forms = [instance_form(one) for one in instances_of(connection, level, identifier)]
            else:
                found = hierarchy.descendants(connection, level, identifier, below)
                forms = [form_of(connection, one) for one in hierarchy.get_all(connection, below, found)]
            return JsonResponse(_told(request, forms))


def _told(request: Request, forms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return forms with their main tags as they are asked for: by keyword, `short` by number, or `full`."""
    if not request.scope["query_string"]:
        return forms
    form = "short" if is_set(request, "short") else "full" if is_set(request, "full") else "simple"
    return [respelled(one, form) for one in forms]


def _forms(
    archive: Archive, connection: Connection, subject: Subject, identifiers: list[str], asked: list[int]
) -> list[dict[str, Any]]:
    if not asked:
        return described_all(connection, subject, identifiers)
    return [_form(archive, connection, subject, one, asked) for one in identifiers]


def _one(archive: Archive, subject: Subject, identifier: str, asked: list[int]) -> dict[str, Any]:
    if asked or subject != "instance":  # there may be many below it
        takes_long()
    with archive.read() if asked else archive.look() as connection:
        return _form(archive, connection, subject, identifier, asked)


def _form(
    archive: Archive, connection: Connection, subject: Subject, identifier: str, asked: list[int]
) -> dict[str, Any]:
    form = dict(described(connection, subject, identifier))
    if asked:
        members = instances_of(connection, subject, identifier)
        form["RequestedTags"] = requested_form(archive, connection, subject, members, asked)
    return form
