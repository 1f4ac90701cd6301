"""Filters, declared once: the functions of a script that are asked before something happens, and what they may answer.

A filter is named after its class here: `ReceivedInstance` gives `filter_received_instance`. It takes the class's fields and
`host`, by position. It decides about one thing at once, so it has no actions, and no questions besides the values of
elements of the instance at hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from hostd.sandbox import frames
from hostd.sandbox.api import Host
from hostd.sandbox.read_only import ReadOnly
from hostd.sandbox.run import Run
from hostd.sandbox.tags import Tags
from hostd.sandbox.views import Instance, Origin

CAPABILITY = "filters"
"""What `may` must name before a script may have a filter."""
NO_PIXELS = "a filter decides by the header, while somebody waits: pixels are not looked at for it"
MAX_CHANGES = 1000
"""Elements that one filter may set or remove."""
MAX_REASON = 1000
"""Characters of a reason; what is longer is cut."""


class Request(ReadOnly):
    """A request to the HTTP face, before anything is done for it. Its body is not shown."""

    __slots__ = ("_request",)
    _request: frames.HttpRequest

    def __init__(self, request: frames.HttpRequest) -> None:
        object.__setattr__(self, "_request", request)

    @property
    def method(self) -> str:
        """The method: "GET"."""
        return self._request.method

    @property
    def uri(self) -> str:
        """The path with its query: "/instances?limit=10"."""
        return self._request.uri

    @property
    def ip(self) -> str | None:
        """The address that it came from."""
        return self._request.ip

    @property
    def username(self) -> str | None:
        """The user who has signed in; None without users."""
        return self._request.username

    @property
    def headers(self) -> dict[str, str]:
        """Its headers by name in lower case, without those that hold credentials; a copy."""
        return dict(self._request.headers)

    def __repr__(self) -> str:
        return f"<request: {self.method} {self.uri}>"


class Query(ReadOnly):
    """What is asked of an archive (C-FIND)."""

    __slots__ = ("_query", "_run")
    _query: frames.FindQuery
    _run: Run

    def __init__(self, run: Run, query: frames.FindQuery) -> None:
        object.__setattr__(self, "_run", run)
        object.__setattr__(self, "_query", query)

    @property
    def level(self) -> str:
        """What is asked for: "patient", "study", "series" or "instance"."""
        return self._query.level

    @property
    def tags(self) -> Tags:
        """Its keys, read as the elements of an instance; one that has no text asks for the value. `query.tags.text("StudyDate")` gives a range as it stands."""
        return Tags(self._run, self._query.keys)

    @property
    def origin(self) -> Origin | None:
        """Who asks hostd: `query.origin.calling_aet`; None of a query of hostd's own."""
        return None if self._query.origin is None else Origin(self._query.origin)

    def __repr__(self) -> str:
        return f"<query: {self.level}>"


class Filter(msgspec.Struct, frozen=True):
    """Something that is about to happen, if every filter lets it."""


class ReceivedInstance(Filter, frozen=True):
    """An instance has wholly arrived, and is neither stored nor acknowledged yet.

    Its header is as it was received, whatever an earlier filter wants changed. The answer is one of `host.accept()`, or
    None, which is the same; `host.accept(set={...}, remove=[...])`; `host.discard(reason)`, after which the sender is told
    that all went well; and `host.refuse(0xA700, reason)`, after which the sender keeps it.
    """

    instance: Instance


class OutgoingInstance(Filter, frozen=True):
    """A delivery is about to be tried; asked before each try. `destination` is its name in the configuration.

    The instance is as it is stored: what is to be made of it for this delivery is not made yet. The answer is
    `host.accept()` or None, or `host.discard(reason)`: then the delivery has failed, with that reason; it can be retried.
    """

    instance: Instance
    destination: str


class HttpRequest(Filter, frozen=True):
    """A request has come whose sender has signed in and may do that by role. Nothing is done for it yet.

    The answer is `host.accept()` or None, or `host.refuse(403, reason)`. An administrator (a user of the role "admin") on the
    machine itself is not asked about, lest a filter lock everybody out.
    """

    request: Request


class OutgoingFind(Filter, frozen=True):
    """Another archive is about to be asked what it has, by a script or over HTTP. `modality` is its name in the configuration.

    The answer is `host.accept()` or None; `host.accept(set={...}, remove=[...])`, which changes the keys: a text is one that matches must
    have, "" asks for the value; or `host.refuse(0xA700, reason)`: then nobody is asked, and whoever wanted to gets that reason. What
    hostd itself asks, to see whether something is there already, or what is to come, is not filtered.
    """

    query: Query
    modality: str


class Find(Filter, frozen=True):
    """Somebody asks hostd what it has, by C-FIND, and may. `query.origin` is who.

    The answer is `host.accept()` or None; `host.accept(set={...}, remove=[...])`, which changes what is looked for: a text is one that
    matches must have, "" only tells the value, and what is removed is not told; or `host.refuse(0xA700, reason)`. Nothing is looked for
    then, and who asks gets that status.
    """

    query: Query


FILTERS: dict[str, type[Filter]] = {
    "filter_received_instance": ReceivedInstance,
    "filter_outgoing_instance": OutgoingInstance,
    "filter_http_request": HttpRequest,
    "filter_find": Find,
    "filter_outgoing_find": OutgoingFind,
}
"""Filter's name → what it is asked about."""
QUERIES = ("filter_find", "filter_outgoing_find")
"""Filters that are asked about a query."""


def parameters(kind: type[Filter]) -> list[str]:
    """Return the names of what a filter takes, in order."""
    return [*kind.__struct_fields__, "host"]


class Decision(ReadOnly):
    """What a filter decides: made by `host.accept`, `host.discard` and `host.refuse`, to be returned."""

    __slots__ = ("_verdict",)
    _verdict: frames.Verdict

    def __init__(self, verdict: frames.Verdict) -> None:
        object.__setattr__(self, "_verdict", verdict)

    def __repr__(self) -> str:
        return f"<{self._verdict.verdict}>"


class FilterHost(ReadOnly):
    """What a filter may do: decide, write to its log, and read its own settings."""

    __slots__ = ("_handler", "_host", "_made", "_run")
    _handler: str
    _host: Host
    _made: list[Decision]
    _run: Run

    def __init__(self, run: Run, handler: str) -> None:
        object.__setattr__(self, "_run", run)
        object.__setattr__(self, "_host", Host(run))
        object.__setattr__(self, "_handler", handler)
        object.__setattr__(self, "_made", [])

    def accept(
        self,
        set: dict[Any, Any] | None = None,  # noqa: A002 - the name is part of the public interface
        remove: Sequence[str | int] = (),
    ) -> Decision:
        """Let it happen; of an instance that is received, with these elements set and those removed.

        `set` gives a keyword (or a tag) its value: a text, a number, or a list of them; None or "" empties the element.
        `remove` names elements that are to go. What stood there before is kept in the Original Attributes Sequence
        (PS3.3 C.12.1.1.9) of what is stored, the pixel data is not touched, and the transfer syntax stays. A value must be
        right for its VR and fit the instance's character set: if not, the instance is refused, as when a filter fails.

        Not to be changed are SOP Class UID, Specific Character Set, what describes the pixels, private elements,
        sequences (they can be removed) and binary data. Of several filters the changes add up; where two set the same
        element, that of the later file name stands. Only `filter_received_instance` can change an instance, and
        `filter_find` and `filter_outgoing_find` the keys of a query, of which a value is any text; private ones are removed
        by their tag: `remove=[0x70531000]`.
        """
        self._run.check_open()
        if (set is not None or remove != ()) and self._handler not in CHANGING:
            raise TypeError(f"{self._handler} can change nothing: set and remove are for {' and '.join(CHANGING)}")
        if set is not None and not isinstance(set, dict):
            raise TypeError('set takes a dict of keywords and values: set={"PatientID": "0042"}')
        if not isinstance(remove, (list, tuple)):
            raise TypeError('remove takes a list of keywords: remove=["PatientAddress"]')
        wanted = {self._tag(key): _values(value) for key, value in dict.items(set or {})}
        gone = [self._tag(key, any_tag=self._handler in QUERIES) for key in remove]
        if len(wanted) + len(gone) > MAX_CHANGES:
            raise ValueError(f"a filter may change {MAX_CHANGES} elements")
        if both := wanted.keys() & dict.fromkeys(gone).keys():
            raise ValueError(f"{self._run.world.name(min(both))} is both set and removed")
        return self._decide("accept", set=wanted, remove=gone)

    def discard(self, reason: str) -> Decision:
        """Do away with an instance that is received: it is not stored, a row says why, and the sender is told "success".

        Of an outgoing instance: its delivery fails with that reason.
        """
        if self._handler == "filter_http_request":
            raise TypeError("a request cannot be discarded: use host.refuse(403, reason)")
        if self._handler in QUERIES:
            raise TypeError("a query cannot be discarded: use host.refuse(0xA700, reason)")
        return self._decide("discard", reason=_reason(reason))

    def refuse(self, status: int, reason: str) -> Decision:
        """Refuse it, and say why; who sent it keeps what it has.

        Of an instance `status` is a failure of C-STORE: 0xA700 to 0xA9FF, 0xC000 to 0xCFFF or 0x0110 to 0x0124. 0xA700 (out
        of resources) is the one after which senders try again. Over HTTP the answer is 503 with 0xA7xx, otherwise 422. Of a
        request it is a status of HTTP from 400 to 599, commonly 403. An outgoing instance cannot be refused, see `discard`.
        """
        if self._handler == "filter_outgoing_instance":
            raise TypeError("an outgoing instance cannot be refused: use host.discard(reason)")
        if isinstance(status, bool) or not isinstance(status, int) or not may_refuse_with(self._handler, status):
            example = "403" if self._handler == "filter_http_request" else "0xA700"
            raise ValueError(f"that is no status to refuse with: host.refuse({example}, reason)")
        return self._decide("refuse", status=int.__int__(status), reason=_reason(reason))

    def log(self, text: object, level: str = "info") -> None:
        """Write a line to the log; `level` is "debug", "info", "warning" or "error". `print(...)` writes at "info"."""
        self._host.log(text, level)

    @property
    def config(self) -> dict[str, Any]:
        """The script's own settings, from `[scripts."x.py".config]`; a copy."""
        return self._host.config

    def __repr__(self) -> str:
        return "<host>"

    def _decide(self, verdict: Any, **more: Any) -> Decision:
        self._run.check_open()
        made = Decision(frames.Verdict(0, verdict, [], [], **more))
        self._made.append(made)
        return made

    def _tag(self, key: object, *, any_tag: bool = False) -> int:
        world = self._run.world
        if isinstance(key, str):
            return world.tag(str.__str__(key))
        if isinstance(key, bool) or not isinstance(key, int):
            raise TypeError("what is changed is named by its keyword or tag")
        if key not in world.keyword_of and not (any_tag and 0 <= key <= 0xFFFFFFFF):
            raise ValueError("what is changed is named by its keyword, or by the tag of an element of the standard")
        return int.__int__(key)


def may_refuse_with(handler: str, status: int) -> bool:
    """Tell whether that filter may refuse with that status."""
    if handler == "filter_http_request":
        return status in _HTTP
    return 0xA700 <= status <= 0xA9FF or 0xC000 <= status <= 0xCFFF or 0x0110 <= status <= 0x0124


CHANGING = ("filter_received_instance", *QUERIES)
"""Filters that may change what they are asked about."""
_HTTP = frozenset((400, 401, 403, 404, 405, 406, 409, 410, 413, 415, 422, 423, 429, 451, 500, 501, 503))


def judged(host: FilterHost, decide: Callable[[], object]) -> frames.Verdict:
    """Call a filter and return what it decided. Raises what it raises, and `TypeError` for what is no decision."""
    returned = decide()
    made: list[Decision] = object.__getattribute__(host, "_made")
    if returned is None:
        verdicts = [object.__getattribute__(decision, "_verdict") for decision in made]
        if lost := next((v for v in verdicts if v.verdict != "accept" or v.set or v.remove), None):
            raise TypeError(f"host.{lost.verdict} was called but not returned: write `return host.{lost.verdict}(...)`")
        return frames.Verdict(0, "accept", [], [])
    if not any(returned is decision for decision in made):
        raise TypeError(
            f"a filter returns host.accept(), host.discard(...) or host.refuse(...), not a {type(returned).__name__}"
        )
    verdict: frames.Verdict = object.__getattribute__(returned, "_verdict")
    return verdict


def subjects(run: Run, question: frames.Filter) -> list[object]:
    """Return what the filter is given before `host`."""
    given: list[object] = []
    if question.instance is not None:
        given.append(Instance(run, question.instance))
    if question.query is not None:
        given.append(Query(run, question.query))
    if question.destination is not None:
        given.append(question.destination)
    if question.request is not None:
        given.append(Request(question.request))
    return given


def _values(value: object) -> list[str | int | float]:
    values = list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]
    plain = [_plain(one) for one in values]
    return [] if plain == [""] else plain


def _plain(value: object) -> str | int | float:
    if isinstance(value, str):
        return re.sub("[\ud800-\udfff]", "\ufffd", str.__str__(value))
    if isinstance(value, int) and not isinstance(value, bool) and -(1 << 63) <= int.__int__(value) < 1 << 64:
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    raise TypeError(f"a value is set to a text, a number, a list of them, or None, not to a {type(value).__name__}")


def _reason(reason: object) -> str:
    text = str.__str__(reason).strip() if isinstance(reason, str) else ""
    if not text:
        raise ValueError("say why: the reason is a text that is not empty")
    return text[:MAX_REASON].encode("utf-8", "replace").decode()
