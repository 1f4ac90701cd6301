"""C-FIND (PS3.4 §C.4.1), Patient Root and Study Root: relational at every level, answered as the index gives it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import structlog

from hostd.archive import answering
from hostd.archive.archive import Archive
from hostd.archive.records import Origin
from hostd.config.query import Query as Settings
from hostd.dicom import identifiers, query, statuses
from hostd.dicom.element_values import Elements, known_vr
from hostd.dicom.extended_negotiation import is_combined
from hostd.dicom.identifiers import NAMES, IdentifierError, Level
from hostd.dicom.query import Question
from hostd.dimse import commands
from hostd.errors import FilterRefusedError, UnparsableError
from hostd.scp.access import Act
from hostd.scp.services import Exchange, Refusal, Response

_LOG = structlog.get_logger(__name__)

AskFind = Callable[[Question, Origin], Question]
"""Returns what is to be looked for instead, as scripts have it. Raises `FilterRefusedError`."""


class FindService:
    """Answers C-FIND by what `settings` are then. `aet` is told as where it is retrieved from."""

    act: Act = "find"
    command = commands.C_FIND_RQ
    sop_classes = query.ROOTS
    syntaxes = query.SYNTAXES

    def __init__(
        self, archive: Archive, settings: Callable[[], Settings], *, aet: str, ask_filters: AskFind | None = None
    ) -> None:
        self._archive = archive
        self._settings = settings
        self._aet = aet
        self._ask_filters = ask_filters or (lambda question, _origin: question)

    def answer(self, exchange: Exchange) -> Generator[Response]:
        """Yield a pending response for each match, and the final one. Raises `Refusal`."""
        began, count = time.monotonic(), 0
        settings = self._settings()
        elements = _decoded(exchange)
        level = _level(elements, exchange.context.abstract_syntax)
        keys = self._filtered(level, identifiers.keys_of(elements), exchange.origin)
        asked = answering.asked(
            level,
            keys,
            is_exact=lambda vr: vr != "PN" or settings.case_sensitive_pn,
            files=settings.read_files,
            sop_classes=settings.sop_classes_in_study,
            combines=is_combined(exchange.context.extended),
        )
        limit = settings.limit_instances if level == "instance" else settings.limit_results
        status = statuses.PENDING_WITHOUT_OPTIONAL_KEYS if asked.unmatched else statuses.PENDING
        character_set = identifiers.text_of(elements.get(identifiers.CHARACTER_SET))
        empty: dict[int, tuple[str, list[Any] | None]] = {tag: (vr, []) for tag, (vr, _) in keys.items()}
        fixed = {identifiers.LEVEL: ("CS", [NAMES[level]]), identifiers.RETRIEVE_AET: ("AE", [self._aet])}
        syntax = exchange.context.transfer_syntax
        for page in answering.answers(self._archive, asked, heed=exchange.heed):
            for one in page:
                if limit and count == limit:
                    _LOG.warning(
                        "a query found more than the limit", calling_aet=exchange.origin.calling_aet, limit=limit
                    )
                    yield Response(statuses.OUT_OF_RESOURCES, comment=f"there are more than {limit}: ask for less")
                    return
                count += 1
                yield Response(status, identifiers.encode({**empty, **one.elements, **fixed}, syntax, character_set))
        _LOG.info(
            "query answered",
            calling_aet=exchange.origin.calling_aet, level=level, answers=count,
            seconds=round(time.monotonic() - began, 3),
        )  # fmt: skip

    def _filtered(self, level: Level, keys: dict[int, tuple[str, str]], origin: Origin) -> dict[int, tuple[str, str]]:
        """Return the keys as the filters of scripts want them. Raises `Refusal`."""
        try:
            question = self._ask_filters(Question(level, {tag: text for tag, (_, text) in keys.items()}), origin)
        except FilterRefusedError as refused:
            raise Refusal(refused.status, str(refused)) from refused
        return {tag: (keys[tag][0] if tag in keys else known_vr(tag), text) for tag, text in question.keys.items()}


def _decoded(exchange: Exchange) -> Elements:
    try:
        return identifiers.decode(exchange.data_set, exchange.context.transfer_syntax)
    except UnparsableError as error:
        raise Refusal(statuses.CANNOT_UNDERSTAND, f"the identifier cannot be read: {error}") from error


def _level(elements: Elements, sop_class: str) -> Level:
    try:
        return identifiers.level_of(elements, sop_class)
    except IdentifierError as error:
        raise Refusal(statuses.DATA_SET_DOES_NOT_MATCH, str(error)) from error
