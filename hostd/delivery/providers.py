"""Modalities as archives: what they have (C-FIND), and having it sent somewhere (C-MOVE) or here (C-GET); PS3.4 Annex C."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import structlog
from pynetdicom import StoragePresentationContexts

from hostd.archive.records import Origin
from hostd.config.settings import Settings
from hostd.delivery.destinations.modality import Modality, configured
from hostd.delivery.negotiation import UNCOMPRESSED, Context
from hostd.dicom import query, statuses
from hostd.dicom.element_values import Elements
from hostd.dicom.query import Question
from hostd.dicom.syntaxes import (
    ALL,
    DEFLATED,
    EXPLICIT_BE,
    JPEG2000,
    JPEG2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
)
from hostd.dimse import retrieval, scu
from hostd.dimse.associate import CONTEXTS_LIMIT
from hostd.dimse.association import Association, Message
from hostd.dimse.commands import AFFECTED_SOP_INSTANCE_UID
from hostd.dimse.errors import DimseError, NoContextError
from hostd.dimse.retrieval import Counts, Found, Retrieved
from hostd.errors import ActionFault, DestinationFault, NotFoundError

By = Literal["move", "get"]

Take = Callable[[Association, Message, Origin], tuple[int, str]]
"""Takes what a C-STORE-RQ brings into the archive; returns the status and Error Comment, which are of success only once it is safe (P1)."""

AskFilters = Callable[[str, Question], Question]
"""Returns what a modality is asked, as the filters want it. Raises `HostdError` where it is not to be asked."""

_SOP_CLASS_UID = 0x00080016
_SERIES_INSTANCE_UID = 0x0020000E
_PER_SERIES = 200
"""Instances of a series that are looked at for their SOP classes: it rarely has more than one."""
_MOST_CLASSES = 32
_MOST_SERIES = 1000
_LIKELY = tuple(
    one.uid for one in (JPEG2000_LOSSLESS, JPEG_LOSSLESS_SV1, JPEG_BASELINE, JPEG_LS_LOSSLESS, RLE_LOSSLESS, JPEG2000)
)
_COMPRESSED = (
    *_LIKELY,
    *(one.uid for one in ALL if one.is_compressed and one.uid not in (*_LIKELY, DEFLATED.uid)),
    DEFLATED.uid,
)
_PLAIN = (*UNCOMPRESSED, EXPLICIT_BE.uid)
_COMMON = tuple(str(context.abstract_syntax) for context in StoragePresentationContexts)

_log = structlog.get_logger(__name__)


def _let_pass(_modality: str, question: Question) -> Question:
    return question


def _never() -> bool:
    return False


def _nobody(_counts: Counts) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Answers:
    """What matches a question, the elements of each; `is_whole` is false where there was more than was wanted."""

    matches: list[Elements]
    is_whole: bool


class Provider:
    """A modality of the configuration, as an archive. Every call makes an association of its own; waits are in seconds."""

    def __init__(
        self,
        modality: Modality,
        *,
        by: By,
        query_timeout_s: float,
        retrieve_timeout_s: float,
        ask_filters: AskFilters = _let_pass,
    ) -> None:
        """Have it asked as `ask_filters` wants it, which raises `HostdError` for what is not to be asked."""
        self.modality = modality
        self._ask_filters = ask_filters
        self.by = by
        """How what it has is brought here."""
        self.query_timeout_s = query_timeout_s
        self.retrieve_timeout_s = retrieve_timeout_s

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self.modality.name.partition(":")[2]

    def find(
        self,
        question: Question,
        *,
        most: int,
        within_s: float | None = None,
        timeout_s: float | None = None,
        calling_aet: str | None = None,
        is_cancelled: Callable[[], bool] = _never,
    ) -> Answers:
        """Ask what it has, for the first `most` matches. Raises `DestinationFault` where it gives no answer, and `QueryError`."""
        found = self.ask(
            question,
            most=most,
            within_s=within_s,
            timeout_s=timeout_s,
            calling_aet=calling_aet,
            is_cancelled=is_cancelled,
        )
        return _answers(found)

    def ask(
        self,
        question: Question,
        *,
        timeout_s: float | None = None,
        calling_aet: str | None = None,
        **options: Any,
    ) -> Found:
        """Ask what it has; return the matches as they came. `options` are those of `retrieval.find`. Raises as `find`."""
        question = self._ask_filters(self.name, question)
        contexts = [(question.sop_class("find"), query.SYNTAXES)]
        patience = options.get("within_s") if timeout_s is None else timeout_s
        with self._association(contexts, timeout_s=patience, calling_aet=calling_aet) as on:
            return self._found(on, question, **options)

    def _find_on(self, association: scu.Requestor, question: Question, **options: Any) -> Answers:
        return _answers(self._found(association, question, **options))

    def _found(self, association: scu.Requestor, question: Question, **options: Any) -> Found:
        found = retrieval.find(association, question.sop_class("find"), question.encode, **options)
        if found.is_whole and found.status != statuses.SUCCESS:
            said = retrieval.said(found.status, found.comment)
            raise DestinationFault(f"the modality {self.name} answered the query with {said}")
        return found

    def move(
        self,
        question: Question,
        destination: str,
        *,
        timeout_s: float | None = None,
        calling_aet: str | None = None,
        on_progress: retrieval.OnProgress = _nobody,
        is_cancelled: Callable[[], bool] = _never,
    ) -> Retrieved:
        """Have it send what is meant to the AE title `destination`. Raises `DestinationFault`, `ActionFault` where it does not offer that, and `QueryError`."""
        sop_class = question.sop_class("move")
        patience = self.retrieve_timeout_s if timeout_s is None else timeout_s
        with self._association([(sop_class, query.SYNTAXES)], timeout_s=patience, calling_aet=calling_aet) as on:
            return retrieval.move(
                on, sop_class, question.encode, destination, on_progress=on_progress, is_cancelled=is_cancelled
            )

    def get(
        self,
        question: Question,
        take: Take,
        *,
        timeout_s: float | None = None,
        calling_aet: str | None = None,
        on_progress: retrieval.OnProgress = _nobody,
        is_cancelled: Callable[[], bool] = _never,
    ) -> Retrieved:
        """Have it send what is meant here, on the same association. Raises as `move`.

        Some archives choose a presentation context without looking at what they have, and then cannot send it in that (DCMTK's dcmqrscp).
        So what failed is asked for again with the uncompressed transfer syntaxes only; what came twice is a repeat.
        """
        sop_class = question.sop_class("get")
        expected = self._sop_classes(question)
        modality = self.modality
        options = {
            "timeout_s": self.retrieve_timeout_s if timeout_s is None else timeout_s,
            "calling_aet": calling_aet,
        }
        caller = calling_aet or modality.calling_aet
        origin = Origin("dicom", calling_aet=modality.aet, called_aet=caller, ip=modality.host)
        taken: set[str] = set()

        def store(on: Association, message: Message) -> tuple[int, str]:
            status, comment = take(on, message, origin)
            if status == statuses.SUCCESS:
                taken.add(message.command.text(AFFECTED_SOP_INSTANCE_UID))
            return status, comment

        def ask(contexts: Sequence[Context]) -> Retrieved:
            served = list(dict.fromkeys(sop_class for sop_class, _ in contexts[1:]))
            with self._association(contexts, served=served, **options) as on:
                return retrieval.get(
                    on, sop_class, question.encode, store, on_progress=on_progress, is_cancelled=is_cancelled
                )

        retrieved = ask(get_contexts(sop_class, expected))
        if retrieved.counts.failed and not is_cancelled():
            retrieved = _together(ask(plain_contexts(sop_class, expected)), len(taken))
        return retrieved

    @contextmanager
    def _association(self, contexts: Sequence[Context], **options: Any) -> Iterator[scu.Requestor]:
        """Give an association, and have what goes wrong on it be the fault of the modality."""
        try:
            with self.modality.call(contexts, **options) as association:
                yield association
        except NoContextError as error:
            raise ActionFault(f"the modality {self.name} does not offer that: {error}") from error
        except DimseError as error:
            raise DestinationFault(f"the modality {self.name}: {error}") from error

    def _sop_classes(self, question: Question) -> list[str]:
        """Return the SOP classes of what is to come, as far as it says: so each can have contexts of its own for its transfer syntaxes."""
        found: dict[str, None] = {}
        if question.level == "patient":
            return []
        try:
            with self._association(
                [(query.STUDY_ROOT, query.SYNTAXES)], timeout_s=self.retrieve_timeout_s
            ) as association:
                for uid in self._series(association, question):
                    one = Question("instance", {**question.keys, _SERIES_INSTANCE_UID: uid})
                    asked = one.with_keys(["SOPClassUID", "SOPInstanceUID"])
                    answers = self._find_on(association, asked, most=_PER_SERIES)
                    found |= dict.fromkeys(_text(match, _SOP_CLASS_UID) for match in answers.matches)
        except (DestinationFault, ActionFault) as fault:
            _log.info("what is to come is not known before, so common SOP classes are proposed", reason=str(fault))
        return [uid for uid in found if uid][:_MOST_CLASSES]

    def _series(self, association: scu.Requestor, question: Question) -> list[str]:
        if question.level != "study":
            return [uid] if (uid := question.keys.get(_SERIES_INSTANCE_UID)) else []
        asked = Question("series", {**question.keys, _SERIES_INSTANCE_UID: ""})
        answers = self._find_on(association, asked, most=_MOST_SERIES)
        return [uid for one in answers.matches if (uid := _text(one, _SERIES_INSTANCE_UID))]


def _answers(found: Found) -> Answers:
    return Answers([query.elements_of(match, found.syntax) for match in found.matches], found.is_whole)


def providers_of(settings: Settings, ask_filters: AskFilters = _let_pass) -> dict[str, Provider]:
    """Return the modalities of a configuration, by name; `ask_filters` is asked about what they are asked."""
    return {
        name: Provider(
            configured(name, section),
            by=section.retrieve_by,
            query_timeout_s=section.query_timeout_s,
            retrieve_timeout_s=section.retrieve_timeout_s,
            ask_filters=ask_filters,
        )
        for name, section in settings.modalities.items()
    }


def provider_of(providers: Mapping[str, Provider], name: str) -> Provider:
    """Return a modality of that name. Raises `NotFoundError`."""
    if (found := providers.get(name)) is None:
        raise NotFoundError(f"there is no modality {name!r} in the configuration")
    return found


def get_contexts(get: str, expected: Sequence[str]) -> list[Context]:
    """Return what is proposed for a C-GET: that service first, then the SOP classes of what may come.

    The peer chooses one transfer syntax of a context and can send in no other. So each that is `expected` has contexts for its compressed
    forms, as many as there is room for; what is merely common shares the rest, all syntaxes in one context.
    """
    contexts: list[Context] = [(get, query.SYNTAXES)]
    room = CONTEXTS_LIMIT - len(contexts)
    if expected:
        each = max(1, min(len(_COMPRESSED) + 1, room // len(expected)))
        for sop_class in expected[:room]:
            contexts += [(sop_class, syntaxes) for syntaxes in _shared_out(each)]
    others = [sop_class for sop_class in _COMMON if sop_class not in expected]
    contexts += [(sop_class, (*_PLAIN, *_COMPRESSED)) for sop_class in others[: CONTEXTS_LIMIT - len(contexts)]]
    return contexts


def plain_contexts(get: str, expected: Sequence[str]) -> list[Context]:
    """Return what is proposed for a C-GET in the uncompressed transfer syntaxes only."""
    likely = list(dict.fromkeys((*expected, *_COMMON)))
    return [(get, query.SYNTAXES), *((sop_class, _PLAIN) for sop_class in likely[: CONTEXTS_LIMIT - 1])]


def _together(last: Retrieved, taken: int) -> Retrieved:
    """Return what came of two requests for the same, of which this many instances were taken in all."""
    counts = last.counts
    total = counts.completed + counts.failed + counts.warning
    if taken < total or statuses.category(last.status) == "cancel":
        return replace(last, counts=replace(counts, completed=taken, failed=max(0, total - taken), warning=0))
    return Retrieved(statuses.SUCCESS, "", Counts(completed=taken))


def _shared_out(count: int) -> list[tuple[str, ...]]:
    """Share all transfer syntaxes out to so many contexts, the likely ones alone as long as there is room."""
    if count == 1:
        return [(*_PLAIN, *_COMPRESSED)]
    alone = _COMPRESSED[: count - 1] if count > len(_COMPRESSED) else _COMPRESSED[: count - 2]
    rest = _COMPRESSED[len(alone) :]
    return [_PLAIN, *((syntax,) for syntax in alone), *([rest] if rest else [])]


def _text(elements: Elements, tag: int) -> str:
    values = elements.get(tag, ("", None))[1]
    return str(values[0]) if values else ""
