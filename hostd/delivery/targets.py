"""Other systems that scripts ask and tell something: `host.http_get`, `host.post` and `host.put`."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, TypeVar

from hostd.archive import tasks
from hostd.archive.archive import Archive
from hostd.archive.tasks import Task
from hostd.config.targets import Target as Settings
from hostd.delivery.http import Access, Body, HttpConnection, Said, why
from hostd.errors import ActionFault, NotFoundError, ScriptError, StorageError
from hostd.jobs.carrying import Done, Executor
from hostd.sandbox.requesting import fault_of
from hostd.scripting.requesting import QUEUE

T = TypeVar("T")

_GRACE_S = 1.0
_LATER = frozenset({408, 425, 429})
_MAX_RESULT = 16 << 10


class NoAnswerError(StorageError):
    """The other system gave no answer that counts; it is tried again."""


@dataclass(frozen=True, slots=True)
class Target:
    """A system of the configuration. `methods` are what scripts may do there; waits are in seconds, `max_answer` is in bytes."""

    name: str
    access: Access
    methods: tuple[str, ...]
    get_timeout_s: float
    max_answer: int

    @classmethod
    def of(cls, name: str, settings: Settings) -> Target:
        """Return what the configuration says."""
        access = Access.of(settings)
        return cls(name, access, settings.methods, settings.get_timeout_s, settings.max_answer_kb << 10)

    def check(self, method: str, path: str) -> str:
        """Return the path as it follows the target's address. Raises `ActionFault` for what is not allowed there."""
        if method not in self.methods:
            raise ActionFault(f"the configuration does not allow {method} to the target {self.name}")
        if (fault := fault_of(path)) is not None:
            raise ActionFault(fault)
        return path.removeprefix("/")


def get(targets: Mapping[str, Target], name: str, path: str) -> tuple[int, str]:
    """Ask a target for a path, once; return status and body.

    Raises `NotFoundError` for a target that is not configured, `ActionFault` for what is not allowed there, and `ScriptError` where there is no
    answer or one that is too large.
    """
    target = targets.get(name)
    if target is None:
        raise NotFoundError(f"there is no target {name!r} in the configuration")
    where = target.check("GET", path)
    limit = target.get_timeout_s
    access = replace(target.access, timeout_s=limit, connect_timeout_s=min(limit, target.access.connect_timeout_s))
    try:
        said, is_whole = _within(limit, lambda: _got(access, where))
    except OSError as error:
        raise ScriptError(f"the target {name} gave no answer: {why(error)}") from error
    if 300 <= said.status < 400:
        raise ScriptError(f"the target {name} answered {said.in_words()}")
    if len(said.content) > target.max_answer or not is_whole:
        raise ScriptError(
            f"the target {name} answered more than {target.max_answer >> 10} KiB, or took too long over it"
        )
    return said.status, said.content.decode("utf-8", "replace")


def _got(access: Access, where: str) -> tuple[Said, bool]:
    """Return an answer, and whether it was read to its end."""
    connection = HttpConnection(access, accept="application/json, text/*;q=0.9, */*;q=0.1")
    try:
        said = connection.get(where)
        return said, connection.is_open
    finally:
        connection.close()


def _within(seconds: float, call: Callable[[], T]) -> T:
    """Return what a call returns, or raise what it raises; `TimeoutError` after so long, however slowly an answer trickles in."""
    done: Future[T] = Future()

    def work() -> None:
        try:
            done.set_result(call())
        except Exception as error:  # noqa: BLE001 - it is raised where it was called
            done.set_exception(error)

    threading.Thread(target=work, name="http_get", daemon=True).start()
    return done.result(seconds + _GRACE_S)


class Telling:
    """Carries out `post` and `put` to one target. `secret` is the installation's; of it and the task comes the idempotency key."""

    def __init__(self, target: Target, secret: bytes) -> None:
        self._target = target
        self._secret = secret

    def prepare(self, task: Task) -> Done:
        """Send it. What the other system took stays done if hostd ends before that is written: it is sent again, under the same key."""
        method, path = task.details["method"], task.details["path"]
        where = self._target.check(method, path)
        headers = {"Content-Type": "application/json", "Idempotency-Key": self.key(task)}
        connection = HttpConnection(self._target.access, accept="*/*")
        try:
            said = connection.send(method, where, Body(BytesIO(task.details["json"].encode())), headers)
        except OSError as error:
            raise NoAnswerError(f"the target {self._target.name} gave no answer: {why(error)}") from error
        finally:
            connection.close()
        if said.status in _LATER or said.status >= 500:
            raise NoAnswerError(f"the target {self._target.name} answered {said.in_words()}")
        if not said.is_good:
            raise ActionFault(f"the target {self._target.name} answered {said.in_words()}", _result(said))
        return Done(_result(said))

    def key(self, task: Task) -> str:
        """Return the idempotency key of a task, the same for every try of it."""
        return hmac.new(self._secret, f"http {task.id}".encode(), hashlib.sha256).hexdigest()[:32]


def tellers(targets: Mapping[str, Target], archive: Archive, former: Collection[str] = ()) -> dict[str, Executor]:
    """Return who carries out `post` and `put`, by queue: a target each, and those that the configuration has no more.

    `former` are the targets that it had before: to these a script may be telling something at this moment.
    """
    found: dict[str, Executor] = {f"{QUEUE}{name}": Telling(target, archive.secret) for name, target in targets.items()}
    with archive.read() as connection:
        gone = {*tasks.orphaned(connection, QUEUE, found.keys()), *(f"{QUEUE}{name}" for name in former)}
    return dict.fromkeys(gone, Gone()) | found


class Gone:
    """Ends what was to be told to a target that the configuration has no more: it fails, in the open."""

    def prepare(self, task: Task) -> Done:
        """Fail the task with what to do: raises `ActionFault`, always."""
        name = task.queue.removeprefix(QUEUE)
        raise ActionFault(
            f"the target {name} is no longer in the configuration; put it back, then `hostd actions retry {task.id}`"
        )


def _result(said: Said) -> dict[str, Any]:
    return {"status": said.status, "body": said.content[:_MAX_RESULT].decode("utf-8", "replace")}
