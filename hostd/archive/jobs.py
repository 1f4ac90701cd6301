"""Jobs: what somebody asked hostd to do that takes a while, one row each (P2, P3); `hostd.jobs.running` carries them out.

A job is claimed under a token, and the lease `job:ID` says which node works on it. What each of its steps leaves is written together with
how far it has come, so that whoever goes on, after a crash too, does nothing twice. It ends in the open, as a success or as a failure with
Orthanc's error number and the reason, and stays so for as long as `[jobs] keep_days` says.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from hostd.archive import events, leases, rows
from hostd.archive import tables as t
from hostd.errors import NotFoundError

TOPIC = "job"
"""Is rung when a job is there, has got further, or ended."""
TOPICS = (TOPIC, "event")
"""What is to be rung by whoever submits a job, or ends one."""

LEASE = "job:"
"""Begins the name of the lease of a job."""

SUCCESS, FAILURE, PAUSED = "success", "failure", "paused"
ENDED = (SUCCESS, FAILURE)

Verb = Literal["cancel", "pause", "resume", "resubmit"]

_CANDIDATES = 20


@dataclass(frozen=True, slots=True)
class Job:
    """One job. Times are seconds since 1970 UTC, `progress` is from 0 to 1, `error_code` Orthanc's number (0: no error).

    `asked` and `memo` are its kind's own: what was asked for, and how far it has come. `content` is what is shown of it.
    """

    number: int
    id: str
    type: str
    asked: dict[str, Any]
    memo: dict[str, Any]
    content: dict[str, Any]
    user_data: Any
    state: str
    wanted: str | None
    priority: int
    progress: float
    error_code: int
    error_details: str
    error_payload: dict[str, Any] | None
    tries: int
    hops: int
    token: int
    node: str | None
    due_at: float
    created_at: float
    started_at: float | None
    runtime_s: float
    finished_at: float | None

    @property
    def has_ended(self) -> bool:
        """Whether it is a success or a failure."""
        return self.state in ENDED

    def runtime_at(self, now: float) -> float:
        """Return for how many seconds it has run."""
        return self.runtime_s + (max(0.0, now - self.started_at) if self.started_at is not None else 0.0)


# -- asking -----------------------------------------------------------------------------------------------------------


def submit(
    connection: Connection,
    kind: str,
    asked: dict[str, Any],
    now: float,
    *,
    content: dict[str, Any] | None = None,
    items: Iterable[str] = (),
    priority: int = 0,
    user_data: Any = None,
    hops: int = 0,
) -> str:
    """Enter a job of a kind (its `type`), and tell it; return its identifier. `items` are the instances that it is about."""
    identifier = str(uuid.uuid4())
    number = rows.insert(
        connection,
        t.job,
        id=identifier,
        type=kind,
        asked=asked,
        memo={},
        content=content or {},
        user_data=user_data,
        state="pending",
        priority=priority,
        hops=hops,
        due_at=now,
        created_at=now,
    )
    entered = [{"job": number, "position": place, "instance": one} for place, one in enumerate(items)]
    for start in range(0, len(entered), 500):
        connection.execute(sa.insert(t.job_item), entered[start : start + 500])
    _tell(connection, "job_submitted", _needed(connection, identifier), now)
    return identifier


def decide(connection: Connection, identifier: str, verb: Verb, now: float) -> Job:
    """Do what somebody wants of a job; return it as it is then.

    Cancel and pause are taken up between two steps, by whoever works on it; of one that has ended they change nothing. Raises
    `NotFoundError` when there is no such job, and for a resume of one that is not paused, and a resubmit of one that has not failed.
    """
    job = _needed(connection, identifier)
    values: dict[str, Any] = {}
    match verb:
        case "cancel" if not job.has_ended:
            values = {"wanted": "cancel", "due_at": now}
        case "pause" if not job.has_ended and job.state != PAUSED and job.wanted is None:
            values = {"wanted": "pause", "due_at": now}
        case "resume" if job.state == PAUSED and job.wanted is None:
            values = {"state": "pending", "due_at": now}
        case "resubmit" if job.state == FAILURE:
            values = {
                "state": "pending", "memo": {}, "progress": 0.0, "error_code": 0, "error_details": "", "error_payload": None,
                "tries": 0, "due_at": now, "finished_at": None, "runtime_s": 0.0,
            }  # fmt: skip
        case "resume" | "resubmit":
            needed, done = ("paused", "resumed") if verb == "resume" else ("failed", "resubmitted")
            raise NotFoundError(
                f"job {identifier} is in the state {job.state}: only one that is {needed} can be {done}"
            )
    if values:
        connection.execute(sa.update(t.job).where(t.job.c.number == job.number).values(**values))
    return _needed(connection, identifier)


def delete(connection: Connection, identifier: str) -> Job:
    """Forget a job that has ended; return what it was. Raises `NotFoundError` when there is none, or it has not ended."""
    job = _needed(connection, identifier)
    if not job.has_ended:
        raise NotFoundError(f"job {identifier} has not ended: cancel it first")
    _forget(connection, [job.number])
    return job


def purge(connection: Connection, *, ended_before: float, limit: int) -> list[Job]:
    """Forget up to `limit` jobs that ended before that time; return them."""
    old = sa.select(t.job).where(t.job.c.finished_at < ended_before).limit(limit)
    found = [_job(row) for row in connection.execute(old)]
    _forget(connection, [job.number for job in found])
    return found


def _forget(connection: Connection, numbers: Sequence[int]) -> None:
    connection.execute(sa.delete(t.job_item).where(t.job_item.c.job.in_(numbers)))
    connection.execute(sa.delete(t.job).where(t.job.c.number.in_(numbers)))


# -- carrying out -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hands:
    """What a node has in its hands: the kinds of jobs that it knows, those that it works on, and those that rest until something comes."""

    kinds: Collection[str]
    busy: Collection[int] = ()
    resting: Collection[int] = ()


def claim(
    connection: Connection,
    node: str,
    now: float,
    has: Hands,
) -> Job | None:
    """Take the most urgent job that is due, that no other node works on, and that a node is free for that has these in its hands."""
    lease = sa.and_(t.lease.c.what == sa.literal(LEASE) + t.job.c.id, t.lease.c.who != node)
    is_held = sa.exists().where(lease, t.lease.c.until > leases.clock(connection, now))
    query = (
        sa.select(t.job.c.number, t.job.c.id)
        .where(t.job.c.due_at <= now, *_open_to(has), ~is_held)
        .order_by(t.job.c.priority.desc(), t.job.c.number)
        .limit(_CANDIDATES)
    )
    for row in connection.execute(query).all():
        if leases.acquire(connection, _lease(row.id), node, now, leases.SECONDS) is None:
            continue
        job = _needed(connection, row.id)
        values: dict[str, Any] = {"token": job.token + 1, "node": node}
        if job.state in ("pending", "retry"):
            values |= {"state": "running", "started_at": now}
        connection.execute(sa.update(t.job).where(t.job.c.number == job.number).values(**values))
        return _needed(connection, row.id)
    return None


def next_due(connection: Connection, has: Hands) -> float | None:
    """Return when the next job is due that `claim` would take, None when there is none."""
    query = sa.select(sa.func.min(t.job.c.due_at)).where(*_open_to(has))
    return connection.execute(query).scalar()


def _open_to(has: Hands) -> list[sa.ColumnElement[bool] | sa.TextClause]:
    is_wanted = sa.or_(t.job.c.number.not_in(has.resting), t.job.c.wanted.is_not(None))
    return [t.JOB_MOVES, t.job.c.type.in_(has.kinds), t.job.c.number.not_in(has.busy), is_wanted]


def is_mine(connection: Connection, job: Job, now: float) -> bool:
    """Tell whether a job is still worked on under the token that it was claimed with, and extend its lease."""
    found = connection.execute(sa.select(t.job.c.token).where(t.job.c.number == job.number)).scalar()
    return found == job.token and _renew(connection, job, now)


def _renew(connection: Connection, job: Job, now: float) -> bool:
    token = connection.execute(
        sa.select(t.lease.c.token).where(t.lease.c.what == _lease(job.id), t.lease.c.who == job.node)
    )
    held = token.scalar()
    return held is not None and leases.renew(connection, _lease(job.id), held, now, leases.SECONDS)


def proceed(connection: Connection, job: Job, memo: dict[str, Any], content: dict[str, Any], progress: float) -> Job:
    """Note how far a job has come; return it as it is then, with what is wanted of it by now."""
    values = {"memo": memo, "content": job.content | content, "progress": progress, "tries": 0}
    connection.execute(sa.update(t.job).where(t.job.c.number == job.number).values(**values))
    return _needed(connection, job.id)


def put_off(connection: Connection, job: Job, now: float, until: float, reason: str, code: int) -> None:
    """Note that a step failed and is tried again."""
    _leave(
        connection, job, now, state="retry", due_at=until, tries=job.tries + 1, error_code=code, error_details=reason
    )


def rest(connection: Connection, job: Job, now: float) -> None:
    """Let go of a job that is to be gone on with later, by whichever node."""
    connection.execute(sa.update(t.job).where(t.job.c.number == job.number).values(due_at=now))
    _let_go(connection, job)


def pause(connection: Connection, job: Job, now: float) -> None:
    """Have it rest until it is resumed."""
    _leave(connection, job, now, state=PAUSED, wanted=None)


def pause_all(connection: Connection, now: float) -> int:
    """Have all that has not ended rest until it is resumed, while no node works on it; return how many there were."""
    moving = t.job.c.state.in_(("pending", "running", "retry"))
    found = [_job(row) for row in connection.execute(sa.select(t.job).where(t.JOB_MOVES, moving))]
    for job in found:
        pause(connection, job, now)
    return len(found)


def succeed(connection: Connection, job: Job, now: float) -> None:
    """End it well, and tell it."""
    _leave(
        connection, job, now, state=SUCCESS, wanted=None, progress=1.0, finished_at=now,
        error_code=0, error_details="", error_payload=None,
    )  # fmt: skip
    _tell(connection, "job_succeeded", _needed(connection, job.id), now)


def fail(
    connection: Connection, job: Job, now: float, code: int, reason: str, payload: dict[str, Any] | None = None
) -> None:
    """End it as a failure, with Orthanc's number and the reason, and tell it."""
    _leave(
        connection, job, now, state=FAILURE, wanted=None, finished_at=now,
        error_code=code, error_details=reason, error_payload=payload,
    )  # fmt: skip
    _tell(connection, "job_failed", _needed(connection, job.id), now)


def _leave(connection: Connection, job: Job, now: float, **values: Any) -> None:
    ran = job.runtime_at(now)
    update = sa.update(t.job).where(t.job.c.number == job.number)
    connection.execute(update.values(started_at=None, runtime_s=ran, **values))
    _let_go(connection, job)


def _let_go(connection: Connection, job: Job) -> None:
    connection.execute(sa.delete(t.lease).where(t.lease.c.what == _lease(job.id), t.lease.c.who == job.node))


def _lease(identifier: str) -> str:
    return f"{LEASE}{identifier}"


def _tell(connection: Connection, kind: str, job: Job, now: float) -> None:
    facts = {
        "type": job.type, "state": job.state, "content": job.content, "user_data": job.user_data, "priority": job.priority,
        "error_code": job.error_code, "reason": job.error_details, "hops": job.hops,
    }  # fmt: skip
    events.append(connection, kind, job.id, now, facts=facts)


# -- what a job is about ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Item:
    """One of the instances that a job is about, the delivery that was asked for it, and the content that something was made of."""

    position: int
    instance: str
    delivery: int | None
    content: str | None


def items(connection: Connection, job: Job, *, start: int = 0, limit: int | None = None) -> list[Item]:
    """Return what a job is about, in order, from a position on."""
    query = sa.select(*t.job_item.c["position", "instance", "delivery", "content"]).where(
        t.job_item.c.job == job.number, t.job_item.c.position >= start
    )
    found = connection.execute(query.order_by(t.job_item.c.position).limit(limit))
    return [Item(*row) for row in found]


def note_contents(connection: Connection, job: Job, contents: dict[int, str]) -> None:
    """Note of which content a job made something, by the positions of its instances."""
    place = t.job_item.c.job == job.number, t.job_item.c.position == sa.bindparam("at")
    noted = [{"at": position, "made_of": content} for position, content in contents.items()]
    connection.execute(sa.update(t.job_item).where(*place).values(content=sa.bindparam("made_of")), noted)


def count_items(connection: Connection, job: Job) -> int:
    """Return how many instances a job is about."""
    query = sa.select(sa.func.count()).where(t.job_item.c.job == job.number)
    return connection.execute(query).scalar_one()


# -- reading ----------------------------------------------------------------------------------------------------------


def get(connection: Connection, identifier: str) -> Job | None:
    """Return one job."""
    row = connection.execute(sa.select(t.job).where(t.job.c.id == identifier)).first()
    return _job(row) if row else None


def identifiers(connection: Connection) -> list[str]:
    """Return all jobs, in the order in which they were submitted."""
    return list(connection.execute(sa.select(t.job.c.id).order_by(t.job.c.number)).scalars())


def page(connection: Connection, *, after: int = 0, limit: int | None = 100) -> list[Job]:
    """Return jobs with numbers above `after`, in the order in which they were submitted."""
    query = sa.select(t.job).where(t.job.c.number > after).order_by(t.job.c.number).limit(limit)
    return [_job(row) for row in connection.execute(query)]


def _needed(connection: Connection, identifier: str) -> Job:
    job = get(connection, identifier)
    if job is None:
        raise NotFoundError(f"there is no job {identifier}")
    return job


def _job(row: Row[Any]) -> Job:
    return Job(**{name: getattr(row, name) for name in Job.__dataclass_fields__})
