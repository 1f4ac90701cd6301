"""The part of `host` that asks and tells other systems something by HTTP."""

from __future__ import annotations

import json as jsons
from typing import Any, Literal
from urllib.parse import unquote

from hostd.sandbox import acts
from hostd.sandbox.granted import Granted, line, shown, text_of
from hostd.sandbox.read_only import ReadOnly
from hostd.sandbox.run import missing

MAX_PATH = 2000
"""Characters of a path, with its query."""
MAX_JSON = 256 << 10
"""Bytes of what is sent."""
MAX_GETS = 20
"""Questions to other systems in one run."""
_CAPABILITY = "http"

_set = object.__setattr__


def fault_of(path: str) -> str | None:
    """Say why a path cannot be asked for, since it may lead out of its target; None when it is good."""
    if len(path) > MAX_PATH:
        return f"a path has up to {MAX_PATH} characters"
    if not path.isascii() or not path.isprintable() or any(sign in path for sign in ' \\#"<>'):
        return "a path has printable ASCII characters without spaces; encode others as %20 (urllib's quote)"
    if path.startswith("//"):
        return "a path begins with one slash or none"
    plain = path.partition("?")[0]
    for _ in range(3):  # whoever decodes it twice finds nothing new
        if any(part in {".", ".."} for part in plain.replace("\\", "/").split("/")):
            return "a path has no parts . and .."
        plain = unquote(plain)
    return None


class HttpAnswer(ReadOnly):
    """What another system answered."""

    __slots__ = ("_body", "_status")
    _status: int
    _body: str

    def __init__(self, status: int, body: str) -> None:
        _set(self, "_status", status)
        _set(self, "_body", body)

    @property
    def status(self) -> int:
        """The status, such as 200."""
        return self._status

    @property
    def is_good(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self._status < 300

    @property
    def text(self) -> str:
        """The body, as UTF-8; what is none is shown as �."""
        return self._body

    def json(self) -> Any:
        """Return the body as JSON. Raises `ValueError` when it is none."""
        try:
            return jsons.loads(self._body)
        except RecursionError:
            raise ValueError("the answer is nested too deeply") from None

    def __repr__(self) -> str:
        return f"<answer {self._status}>"


class Requesting(Granted):
    """What `host` has for other systems."""

    __slots__ = ()

    def http_get(self, target: str, path: str = "") -> HttpAnswer:
        """Ask another system something by HTTP GET, and wait for its answer; it has `.status`, `.is_good`, `.text` and `.json()`.

        `target` is the NAME of `[targets.NAME]` in the configuration, `path` what follows its address, with its query: nothing outside of it
        can be reached, and redirections are not followed. Needs the capability "http". The wait has a limit of its own
        (`get_timeout_s`) and does not count against the script's. Up to 20 in one run.

        The answer is recorded with the run: when the event is replayed the same question has the same answer, and no rehearsal asks
        anybody outside. Where something is to change over there, use `post` or `put`.

        Raises `ValueError` for an unknown target, a path that leads out of it, or when there is no answer, and `NotAllowed` without the
        capability.
        """
        self._run.check_open()
        name, where = self._target(target), self._path(path)
        status, body = self._run.ask([], "http_get", more={"target": name, "path": where})
        return HttpAnswer(int(status), str(body))

    def post(self, target: str, path: str, json: Any) -> None:
        """Tell another system something by HTTP POST: `json` is sent as such, up to 256 KiB of it. Otherwise as `put`."""
        self._send("post", target, path, json)

    def put(self, target: str, path: str, json: Any) -> None:
        """Tell another system something by HTTP PUT: `json` is sent as such, up to 256 KiB of it.

        `target` and `path` are as for `http_get`. Needs the capability "http". It is done after the run, and tried again, with growing waits,
        while there is no answer or one that says "later" (408, 425, 429, 5xx); every try has the same header `Idempotency-Key`, by
        which the other system can tell that it is one. Any other answer but 2xx is final: the action has failed. `on_action_done` tells how it ended:
        `action.result` has the "status" and the "body", up to 16 KiB of it.

        Raises `ValueError` for an unknown target, a path that leads out of it, or what is no JSON, and `NotAllowed` without the capability.
        """
        self._send("put", target, path, json)

    def _send(self, verb: Literal["post", "put"], target: object, path: object, value: object) -> None:
        self._run.check_open()
        name, where = self._target(target), self._path(path)
        try:
            body = jsons.dumps(value, allow_nan=False, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"this cannot be sent as JSON: {error}") from None
        if len(text_of(body, "what is sent").encode()) > MAX_JSON:
            raise ValueError(f"what is sent has up to {MAX_JSON >> 10} KiB")
        self._run.add(acts.Request(verb, name, where, body, line()))

    def _target(self, name: object) -> str:
        if not isinstance(name, str):
            raise TypeError(f"a target is named by a text, not {shown(name)}")
        self._need(_CAPABILITY)
        text, known = str.__str__(name), self._run.world.load.targets
        if text not in known:
            raise ValueError(missing("target", text, known))
        return text

    def _path(self, path: object) -> str:
        text = text_of(path, "a path")
        if fault := fault_of(text):
            raise ValueError(f"{shown(text)} cannot be asked for: {fault}")
        return text


__all__ = ["MAX_GETS", "MAX_JSON", "HttpAnswer", "Requesting", "fault_of"]
