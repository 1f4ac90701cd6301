"""A script in Orthanc's spelling: the names that it finds, and how its callbacks are called."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from hostd.sandbox import filters, frames, situations, told
from hostd.sandbox.orthanc import functions, rest, toolbox
from hostd.sandbox.orthanc.callbacks import CALLBACKS, HEARTBEAT, PERIOD, defined
from hostd.sandbox.orthanc.session import Session
from hostd.sandbox.orthanc.tables import (
    SimplifiedTags,
    Table,
    destination_of,
    info_of,
    metadata_of,
    metadata_of_level,
    origin_of,
    tags_of,
)
from hostd.sandbox.read_only import ReadOnly
from hostd.sandbox.run import Run, called
from hostd.sandbox.schedules import LONGEST_S, SHORTEST_S

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "SendToModality": functions.send_to_modality,
    "SendToPeer": functions.send_to_peer,
    "Delete": functions.delete,
    "ModifyInstance": functions.modify_instance,
    "CallSystem": functions.call_system,
    "RestApiGet": rest.rest_api_get,
    "RestApiPost": rest.rest_api_post,
    "RestApiPut": rest.rest_api_put,
    "RestApiDelete": rest.rest_api_delete,
    "HttpGet": functions.http_get,
    "HttpPost": functions.http_post,
    "HttpPut": functions.http_put,
    "SetStableStatus": functions.set_stable_status,
    "StoreKeyValue": functions.store_key_value,
    "GetKeyValue": functions.get_key_value,
    "DeleteKeyValue": functions.delete_key_value,
    "GetOrthancConfiguration": functions.get_orthanc_configuration,
}
"""What acts in a run, or asks; its first argument is the session."""
for _name, _function in FUNCTIONS.items():  # what Python says of wrong arguments names the function as the script does
    assert isinstance(_function, FunctionType)
    _function.__qualname__ = _name
ALIASES = {"ModifyResource": "ModifyInstance"}
PLAIN: dict[str, Callable[..., Any]] = {"ParseJson": toolbox.parse_json, "DumpJson": toolbox.dump_json}
"""What only works on what it is given."""
PRINT = "PrintRecursive"
WITHOUT_COUNTERPART: dict[str, str] = {
    "HttpDelete": "scripts delete nothing elsewhere; HttpPost tells another system to",
    "SetHttpCredentials": "secrets stand in the configuration, where no script sees them",
    "SetHttpTimeout": "time limits are settings of each destination",
}
"""Functions of Orthanc's that a script does not have → why, or what to use instead."""
NAMES: tuple[str, ...] = (*FUNCTIONS, *ALIASES, *PLAIN, PRINT)
"""What a script in Orthanc's spelling finds by name."""


class Verb(ReadOnly):
    """A function of Orthanc's, as a script finds it: it acts in the run that goes on."""

    __slots__ = ("_call", "_name")
    _call: Callable[..., Any]
    _name: str

    def __init__(self, name: str, call: Callable[..., Any]) -> None:
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_call", call)

    def __call__(self, *given: object, **named: object) -> Any:
        """Call it with Lua's arguments."""
        return self._call(*given, **named)

    def __repr__(self) -> str:
        return f"<{self._name}>"


class Spelling:
    """The callbacks of one script that are in Orthanc's spelling; there may be none, and then it has none of the names either."""

    def __init__(self, tree: ast.Module, say: Callable[[str], None]) -> None:
        """Read which callbacks there are; `say` prints a line."""
        self._defined = defined(tree)
        self._heartbeat_line = next(
            (one.lineno for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == HEARTBEAT), 0
        )
        self._session: Session | None = None
        self._say = say

    def names(self) -> dict[str, object]:
        """Return what the script finds by name."""
        if not self._defined:
            return {}
        found: dict[str, object] = {name: Verb(name, self._in_run(name, call)) for name, call in FUNCTIONS.items()}
        found |= {alias: found[name] for alias, name in ALIASES.items()}
        found |= {name: Verb(name, call) for name, call in PLAIN.items()}
        return found | {PRINT: Verb(PRINT, self._print)}

    def handlers(self) -> set[str]:
        """Return hostd's names of what calls them."""
        return {handler for name in self._defined for handler in CALLBACKS[name].handlers}

    def schedules(self, config: Mapping[str, Any]) -> list[frames.Schedule]:
        """Return when the heart beats, by the script's own settings. Raises `ValueError` where they do not say."""
        if HEARTBEAT not in self._defined:
            return []
        period = config.get(PERIOD)
        if isinstance(period, bool) or not isinstance(period, (int, float)) or not SHORTEST_S <= period <= LONGEST_S:
            raise ValueError(
                f"say how often {HEARTBEAT} is called, in seconds: config = {{ {PERIOD} = 60 }} in the script's entry"
            )
        return [frames.Schedule(HEARTBEAT, float(period), None, self._heartbeat_line)]

    def run(self, run: Run, event: frames.Event, names: Mapping[str, object]) -> None:
        """Call the callbacks of an event, from the script's globals, and enter what they asked for. Raises what they raise."""
        subject = next(iter(told.subject(run, event)), None)
        self._session = session = Session(run, event, subject)
        try:
            for name in self._of(event.handler):
                self._call(name, names, _arguments(run, event))
            session.finish()
        finally:
            self._session = None

    def judge(
        self, run: Run, question: frames.Filter, host: filters.FilterHost, names: Mapping[str, object]
    ) -> filters.Decision:
        """Call the callbacks of a filter until one does not let it pass; return what was decided. Raises what they raise."""
        for name in self._of(question.handler):
            if (
                name == "ReceivedCStoreInstanceFilter"
                and question.instance
                and question.instance.origin.kind != "dicom"
            ):
                continue
            said = self._call(name, names, _shown(run, question))
            if question.query is not None:
                return _asked_instead(name, said, question.query, host)
            decision = _decision(name, said, host)
            if decision is not None:
                return decision
        return host.accept()

    def _of(self, handler: str) -> list[str]:
        return [name for name, callback in CALLBACKS.items() if name in self._defined and handler in callback.handlers]

    def _call(self, name: str, names: Mapping[str, object], arguments: list[object]) -> object:
        function = names.get(name)
        if not callable(function):
            raise LookupError(f"the script has no function called {name}")  # noqa: TRY004 - as for a handler of hostd's
        return called(function, *arguments[: self._defined[name]])

    def _in_run(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: object, **named: object) -> Any:
            if self._session is None:
                raise RuntimeError(
                    f"{name} acts on what an event is about: call it in a callback such as OnStoredInstance"
                )
            return call(self._session, *given, **named)

        return called

    def _print(self, value: object, limit: int = 1000, indent: str = "") -> None:
        for text in toolbox.lines_of(value, limit, indent):
            self._say(text)


def _arguments(run: Run, event: frames.Event) -> list[object]:
    if event.instance is not None:
        own = event.instance
        return [own.id, tags_of(run, own), metadata_of(run, own, event.now), origin_of(own.origin)]
    if event.level is not None:
        return [
            event.level.id,
            SimplifiedTags(run, event.level.tags),
            metadata_of_level(run, event.level.id, event.now),
        ]
    if isinstance(event.told, situations.Job):
        return [event.told.id]
    return []


def _shown(run: Run, question: frames.Filter) -> list[object]:
    if question.request is not None:
        asked = question.request
        return [asked.method, asked.uri, asked.ip, asked.username, Table(dict(asked.headers))]
    if question.query is not None and question.query.origin is not None:
        asks = question.query.origin
        origin = {"RemoteIp": asks.ip, "RemoteAet": asks.calling_aet, "CalledAet": asks.called_aet}
        return [_numbered(question.query) | {_LEVEL: _LEVELS[question.query.level]}, Table(dict(origin))]
    if question.query is not None:
        return [_numbered(question.query), question.destination_aet or ""]
    instance = question.instance
    assert instance is not None, "a filter is asked about an instance, a request or a query"
    if question.destination is not None:
        return [tags_of(run, instance), destination_of(question)]
    return [tags_of(run, instance), origin_of(instance.origin), info_of(instance)]


_LEVEL = "0008,0052"
_LEVELS = {"patient": "PATIENT", "study": "STUDY", "series": "SERIES", "instance": "IMAGE"}


def _numbered(query: frames.FindQuery) -> dict[str, str]:
    return {
        f"{tag >> 16:04x},{tag & 0xFFFF:04x}": "\\".join(map(str, values or ()))
        for tag, (_, values) in query.keys.items()
    }


def _asked_instead(name: str, said: object, query: frames.FindQuery, host: filters.FilterHost) -> filters.Decision:
    """Return what is to be asked in the place of a query. Raises `TypeError` and `ValueError` for what is no query."""
    if not isinstance(said, dict):
        raise TypeError(f"{name} returns the query, a dict by gggg,eeee, not a {type(said).__name__}")
    before = _numbered(query)
    wanted = dict(dict.items(said))
    if query.origin is not None and wanted.pop(_LEVEL, _LEVELS[query.level]) != _LEVELS[query.level]:
        raise ValueError(f"{name} cannot change the level of a query")
    gone = [_tag(name, key) for key in before if key not in wanted]
    changed = {_tag(name, key): value for key, value in wanted.items() if before.get(key) != value}
    return host.accept(set=changed, remove=gone)


def _tag(name: str, key: object) -> int:
    digits = str.__str__(key).replace(",", "") if isinstance(key, str) else ""
    if len(digits) != 8 or not set(digits.lower()) <= set("0123456789abcdef"):
        raise ValueError(f"{name} names elements as gggg,eeee")
    return int(digits, 16)


def _decision(name: str, said: object, host: filters.FilterHost) -> filters.Decision | None:
    """Return what a filter's answer means, None for letting it pass. Raises `TypeError` for what is no answer."""
    if name == "ReceivedCStoreInstanceFilter":
        if isinstance(said, bool) or not isinstance(said, int):
            raise TypeError(f"{name} returns a status of C-STORE, 0 to keep the instance, not a {type(said).__name__}")
        return None if said == 0 else host.refuse(said, f"{name} said {said:#06x}")
    if not isinstance(said, bool):
        raise TypeError(f"{name} returns True or False, not a {type(said).__name__}")
    if said:
        return None
    if name == "IncomingHttpRequestFilter":
        return host.refuse(403, f"{name} said no")
    return host.discard(f"{name} said no")
