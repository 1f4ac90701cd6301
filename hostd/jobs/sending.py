"""Jobs that send: `DicomModalityStore` and `OrthancPeerStore`, by deliveries, which tell of each instance what became of it (P3).

A delivery that a script asked for is tried for days. Whoever sends by HTTP waits, and tries again by himself: so the first try that comes to
nothing ends the job, as in Orthanc, and with it all its deliveries that wait still, as failed and with the reason. `Permissive` has the
others go on, and counts what failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection

from hostd.archive import deliveries, jobs, sendings
from hostd.archive.archive import Archive
from hostd.archive.jobs import Job
from hostd.archive.sendings import Trouble, Way
from hostd.jobs import faults
from hostd.jobs.faults import JobFault
from hostd.jobs.running import Halt, Step

MODALITY, PEER = "DicomModalityStore", "OrthancPeerStore"
"""The types of job."""

_AT_ONCE = 100
"""How many deliveries one unit of the writer asks for."""
_LOOK_S = 1.0
_TOPICS = ("delivery", "event")


class Couriers(Protocol):
    """Who carries the deliveries."""

    def hurry(self, destination: str) -> None:
        """Try that destination now, should its queue be held because it failed."""
        ...

    def trouble(self, destination: str) -> str | None:
        """Say why the queue of that destination is held, as of its last try; None while it is not, or is to be tried at once."""
        ...


@dataclass(frozen=True, slots=True)
class Sending:
    """What a job that sends is asked."""

    way: Way
    permissive: bool = False
    asked: bool = False
    """The deliveries are asked for already, with the job."""

    def to_json(self) -> dict[str, Any]:
        """Return it for the row of the job."""
        way = self.way
        return {
            "destination": way.destination, "transform": way.transform, "is_in": way.is_in, "manner": way.manner,
            "priority": way.priority, "permissive": self.permissive, "asked": self.asked,
        }  # fmt: skip

    @classmethod
    def of(cls, job: Job) -> Sending:
        """Return what a job was asked."""
        given = job.asked
        way = Way(given["destination"], given["transform"], given["is_in"], given["manner"], given["priority"])
        return cls(way, given["permissive"], given["asked"])


class Sends:
    """Carries out both types."""

    def __init__(self, archive: Archive, couriers: Couriers) -> None:
        self._archive = archive
        self._couriers = couriers

    def step(self, job: Job) -> Step:
        """Ask for some deliveries, or see what became of all of them."""
        sending, memo = Sending.of(job), job.memo
        if "since" not in memo:
            return self._begin(job, sending)
        if memo["next"] is not None:
            return self._ask(job, sending)
        if "fault" in memo:
            return self._go_on_ending(job)
        return self._look(job, sending)

    def halted(self, connection: Connection, job: Job, why: Halt, reason: str, now: float) -> None:
        """Hold what waits, or end it as failed."""
        if why == "paused":
            sendings.hold(connection, job, _held_by(job))
            return
        sendings.give_up(connection, job, None, f"the job {job.id} ended: {reason}", now)

    def forgotten(self, job: Job) -> None:
        """Leave the deliveries: they have a time of their own."""

    def _begin(self, job: Job, sending: Sending) -> Step:
        now = self._archive.clock.now()
        memo = {"since": now, "next": None if sending.asked else 0, "gone": 0}
        return Step(
            memo, {"FailedInstancesCount": 0}, topics=_TOPICS,
            commit=(lambda c: self._again(c, job)) if sending.asked else None,
            after=lambda: self._couriers.hurry(sending.way.destination),
        )  # fmt: skip

    def _again(self, connection: Connection, job: Job) -> dict[str, Any]:
        """Try again what failed, where the job is submitted again."""
        failed = sendings.failed(connection, job)
        deliveries.retry(connection, failed, self._archive.clock.now())
        return {}

    def _ask(self, job: Job, sending: Sending) -> Step:
        start = job.memo["next"]
        with self._archive.read() as connection:
            items = jobs.items(connection, job, start=start, limit=_AT_ONCE)
        if not items:
            return Step(job.memo | {"next": None}, progress=job.progress)
        wanted = [(item.position, item.instance) for item in items]
        memo = job.memo | {"next": items[-1].position + 1}

        def ask(connection: Connection) -> dict[str, Any]:
            gone = sendings.ask(connection, job, sending.way, wanted, self._archive.clock.now())
            if gone and not sending.permissive:
                raise JobFault(faults.UNKNOWN_RESOURCE, f"the instance {gone[0]} is no longer there")
            memo["gone"] = job.memo["gone"] + len(gone)
            return {"FailedInstancesCount": memo["gone"]}

        return Step(
            memo, progress=0.0, commit=ask, topics=_TOPICS,
            after=lambda: self._couriers.hurry(sending.way.destination),
        )  # fmt: skip

    def _release(self, connection: Connection, job: Job) -> dict[str, Any]:
        sendings.release(connection, job, _held_by(job), self._archive.clock.now())
        return {}

    def _end(self, job: Job, fault: JobFault) -> Step:
        """Begin to end a job: what waits is given up, and what is being sent just now is waited for."""
        memo = job.memo | {"fault": [fault.code, str(fault), fault.payload]}
        reason = f"the job {job.id} ended: {fault}"
        return Step(memo, progress=job.progress, topics=_TOPICS, commit=lambda c: self._give_up(c, job, None, reason))

    def _go_on_ending(self, job: Job) -> Step:
        """End a job once none of its deliveries is on its way any more. Raises `JobFault`."""
        code, reason, payload = job.memo["fault"]
        with self._archive.read() as connection:
            if not sendings.count_open(connection, job):
                raise JobFault(code, reason, payload)
        return Step(
            job.memo, progress=job.progress, topics=_TOPICS, rest_s=_LOOK_S, on_events=True,
            commit=lambda c: self._give_up(c, job, None, f"the job {job.id} ended: {reason}"),
        )  # fmt: skip

    def _look(self, job: Job, sending: Sending) -> Step:
        """See how the deliveries stand; the first one in trouble ends the job, or is counted."""
        with self._archive.read() as connection:
            stand = sendings.standing(connection, job, job.memo["since"], limit=_AT_ONCE, final=not sending.permissive)
            size = sendings.bytes_sent(connection, job) if job.type == PEER and not stand.open else 0
            is_held = sendings.is_held(connection, job, _held_by(job))
        if is_held:  # it was paused, and is resumed
            return Step(job.memo, progress=job.progress, commit=lambda c: self._release(c, job), topics=_TOPICS)
        down = self._couriers.trouble(sending.way.destination) if stand.open else None
        if not sending.permissive:
            fault = None
            if stand.troubles:
                fault = _fault(job, sending, stand.troubles[0])
            elif down is not None:
                fault = JobFault(faults.NETWORK_PROTOCOL, down)
            if fault is not None:
                return self._end(job, fault)
        failed = job.memo["gone"] + stand.failed
        progress = (stand.taken + stand.failed) / stand.count if stand.count else 1.0
        content: dict[str, Any] = {"FailedInstancesCount": failed}
        if not stand.open:
            if job.type == PEER:
                content |= {"Size": str(size), "SizeMB": size >> 20}
            return Step(job.memo, content, 1.0, is_done=True)
        given_up = [one.delivery for one in stand.troubles]
        if down is not None or given_up:
            reason = f"the job {job.id} does not wait for another try"
            some = None if down is not None else given_up
            return Step(
                job.memo, content, progress, topics=_TOPICS, rest_s=_LOOK_S, on_events=True,
                commit=lambda c: self._give_up(c, job, some, f"{reason}: {down}" if down else reason),
            )  # fmt: skip
        return Step(job.memo, content, progress, rest_s=_LOOK_S, on_events=True)

    def _give_up(self, connection: Connection, job: Job, numbers: list[int] | None, reason: str) -> dict[str, Any]:
        sendings.give_up(connection, job, numbers, reason, self._archive.clock.now())
        return {}


def _held_by(job: Job) -> str:
    return f"the job {job.id} is paused"


def _fault(job: Job, sending: Sending, trouble: Trouble) -> JobFault:
    """Return how a delivery's trouble ends its job: by the network, unless what was to be sent could not be made."""
    status = trouble.status
    if status is not None:
        return JobFault(
            faults.NETWORK_PROTOCOL, trouble.reason, faults.of_dimse(status) if job.type == MODALITY else None
        )
    could_not_be_made = trouble.state == "failed" and trouble.is_reached and sending.way.transform
    return JobFault(faults.NOT_IMPLEMENTED if could_not_be_made else faults.NETWORK_PROTOCOL, trouble.reason)
