"""The queries of other archives that were made by HTTP, and are remembered; and the jobs that have them send what was found."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from hostd.archive import jobs
from hostd.archive.archive import Archive
from hostd.delivery.providers import Provider
from hostd.delivery.retrieve_jobs import MOVE, asked
from hostd.dicom.element_values import Elements
from hostd.dicom.query import QueryError, Question, elements_of
from hostd.dimse.retrieval import Found
from hostd.errors import ActionFault, DestinationFault
from hostd.jobs.faults import NETWORK_PROTOCOL
from hostd.web.errors import (
    BAD_FILE_FORMAT,
    BAD_PARAMETER_TYPE,
    INEXISTENT_ITEM,
    PARAMETER_OUT_OF_RANGE,
    WebError,
    unknown_resource,
)
from hostd.web.jobs import Submitting, is_synchronous, priority
from hostd.web.query_bodies import completed, method_of, seconds_of, title_of
from hostd.web.responses import JsonResponse

Providers = Callable[[], Mapping[str, Provider]]

_MOST_ANSWERS = 10_000
_MOST_BYTES = 32 << 20
_MOST_BYTES_KEPT = 64 << 20


@dataclass(frozen=True, slots=True)
class Asked:
    """A query that was made: of which modality, what, and what it answered."""

    modality: str
    question: Question
    found: Found
    local_aet: str | None
    timeout_s: float | None

    @property
    def manner(self) -> dict[str, Any]:
        """How what follows is asked, where it does not say otherwise: as fields of a request."""
        return {"LocalAet": self.local_aet or "", "Timeout": self.timeout_s or 0}

    @property
    def size(self) -> int:
        """Bytes of the answers."""
        return sum(map(len, self.found.matches))

    def answer(self, index: str) -> Elements:
        """Return the answer of that number. Raises `WebError` when there is none."""
        if not index.isascii() or not index.removeprefix("-").isdigit():
            raise WebError(400, BAD_PARAMETER_TYPE, "the number of an answer is a number")
        number = int(index) if len(index) < 10 else len(self.found.matches)
        if not 0 <= number < len(self.found.matches):
            raise WebError(400, PARAMETER_OUT_OF_RANGE)
        return elements_of(self.found.matches[number], self.found.syntax)


class Queries:
    """The queries that are remembered: the newest so many, and no more bytes of answers than there is room for."""

    def __init__(self, most: int, most_bytes: int = _MOST_BYTES_KEPT) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Asked] = OrderedDict()

    def keep(self, query: Asked) -> str:
        """Remember a query; return its identifier."""
        identifier = str(uuid4())
        with self._lock:
            self._kept[identifier] = query
            while len(self._kept) > 1 and (
                len(self._kept) > self._most or sum(one.size for one in self._kept.values()) > self._most_bytes
            ):
                self._kept.popitem(last=False)
        return identifier

    def identifiers(self) -> list[str]:
        """Return those that are remembered."""
        with self._lock:
            return list(self._kept)

    def get(self, identifier: str) -> Asked:
        """Return a query. Raises `WebError` when it is not remembered."""
        with self._lock:
            found = self._kept.get(identifier)
        if found is None:
            raise unknown_resource()
        return found

    def forget(self, identifier: str) -> None:
        """Forget a query, if it is remembered."""
        with self._lock:
            self._kept.pop(identifier, None)


@dataclass(frozen=True, slots=True)
class Desk:
    """What the routes share: the modalities as they are now, what is remembered, who carries jobs out, and hostd's own AE title."""

    archive: Archive
    providers: Providers
    queries: Queries
    submitting: Submitting
    aet: str

    def provider(self, name: str) -> Provider:
        """Return a modality. Raises `WebError` when there is none."""
        found = self.providers().get(name)
        if found is None:
            raise WebError(404, INEXISTENT_ITEM, f"No modality with symbolic name: {name}")
        return found

    def ask(self, name: str, question: Question, body: Mapping[str, Any]) -> Asked:
        """Ask a modality. Raises `WebError`."""
        provider = self.provider(name)
        local_aet, timeout_s = title_of(body, "LocalAet", orthanc_status=BAD_FILE_FORMAT) or None, seconds_of(body)
        try:
            found = provider.ask(
                completed(question),
                most=_MOST_ANSWERS,
                most_bytes=_MOST_BYTES,
                timeout_s=timeout_s,
                calling_aet=local_aet,
            )
        except (DestinationFault, ActionFault) as fault:
            raise WebError(500, NETWORK_PROTOCOL, str(fault)) from fault
        except QueryError as error:
            raise WebError(400, BAD_FILE_FORMAT, str(error)) from error
        return Asked(name, question, found, local_aet, timeout_s)

    async def made(self, name: str, question: Question, body: Mapping[str, Any]) -> Response:
        """Ask a modality, and remember the answers. `IsComplete` is there, and false, where it had more than is kept."""
        query = await run_in_threadpool(self.ask, name, question, body)
        identifier = self.queries.keep(query)
        form: dict[str, Any] = {"ID": identifier, "Path": f"/queries/{identifier}"}
        if not query.found.is_whole:
            form["IsComplete"] = False
        return JsonResponse(form)

    async def retrieve(
        self, name: str, questions: list[Question], shown: list[dict[str, Any]], body: dict[str, Any], method: str = ""
    ) -> Response:
        """Submit the job that has a modality send this, and answer as the request wants. Raises `WebError`."""
        provider = self.provider(name)
        target = title_of(body, "TargetAet")
        method = method or method_of(body, provider, has_target=bool(target))
        local_aet = title_of(body, "LocalAet") or None
        job = asked(
            name,
            questions,
            target=target or self.aet,
            local_aet=local_aet,
            timeout_s=seconds_of(body),
        )
        content: dict[str, Any] = {
            "Description": "REST API",
            "LocalAet": local_aet or provider.modality.calling_aet,
            "Query": shown,
            "RemoteAet": provider.modality.aet,
        }
        if method == MOVE:
            content["TargetAet"] = job["target"]
        rank = priority(body)

        def submit(connection: Connection) -> str:
            return jobs.submit(
                connection, method, job, self.archive.clock.now(), content=content, priority=rank,
                user_data=body.get("UserData"),
            )  # fmt: skip

        return await self.submitting.answer(submit, is_synchronous=is_synchronous(body))
