"""Kinds of jobs for tests: they count what they do, in rows of the index, and raise what they are told to."""

import threading

import sqlalchemy as sa
from tasks_kit import Steady

from hostd.archive import jobs
from hostd.archive import tables as t
from hostd.jobs.running import Runner, Step


class Counting:
    """Does `asked["upto"]` steps, each of which writes a row of its own in its commit."""

    def __init__(self):
        self.raises = []
        self.commit_raises = []
        self.began = []
        self.halts = []
        self.gone = []
        self.undone = 0
        self.gate = None
        """Where a test sets an event, a step waits for it."""
        self.rests = None

    def step(self, job):
        self.began.append(job.memo.get("done", 0))
        if self.gate is not None:
            assert self.gate.wait(60)
        if self.raises:
            raise self.raises.pop(0)
        if self.rests is not None and not self.rests.is_set():
            return Step(job.memo, rest_s=60, on_events=True)
        done, upto = job.memo.get("done", 0), job.asked["upto"]
        if done == upto:
            return Step(job.memo, is_done=True)
        return Step(
            {"done": done + 1}, {"Done": done + 1}, (done + 1) / upto, commit=lambda c: self.write(c, job, done), undo=self.undo,
            is_done=done + 1 == upto,
        )  # fmt: skip

    def write(self, connection, job, done):
        row = {"name": f"{job.id} {done}", "is_amiss": False, "since": 0.0, "reason": ""}
        connection.execute(sa.insert(t.condition).values(row))
        if self.commit_raises:
            raise self.commit_raises.pop(0)
        return {"Last": done}

    def undo(self):
        self.undone += 1

    def halted(self, connection, job, why, reason, now):
        self.halts.append((why, reason, job.memo.get("done", 0)))

    def forgotten(self, job):
        self.gone.append(job.id)


def runner_of(archive, kind, **others):
    return Runner(archive, {"Count": kind, **others}, Steady(), at_once=2)


def ask(archive, upto=3, kind="Count", **more):
    return archive.writer.do(
        lambda c: jobs.submit(c, kind, {"upto": upto}, archive.clock.now(), **more), topics=jobs.TOPICS
    )


def decide(archive, identifier, verb):
    return archive.writer.do(lambda c: jobs.decide(c, identifier, verb, archive.clock.now()), topics=jobs.TOPICS)


def get(archive, identifier):
    with archive.read() as connection:
        return jobs.get(connection, identifier)


def run_out(runner):
    while runner.turn() == 0:
        pass


def written(archive):
    with archive.read() as connection:
        return sorted(connection.execute(sa.select(t.condition.c.name)).scalars())


def in_thread(call):
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread
