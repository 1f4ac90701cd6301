"""A stream of instances through a node that is killed again and again, and what must hold afterwards."""

import hashlib
import io
from collections import Counter
from contextlib import ExitStack

import sqlalchemy as sa
from node_kit import PATIENCE_S, NodeProcess, check_senders, sending, wait_until

from hostd.archive import digests
from hostd.archive import tables as t

SCRIPT = """
def on_stored_instance(instance, host):
    if instance.tags.InstanceNumber % 3 == 0:
        host.forward(host.transcode(instance, "j2k"), to="archive")
    else:
        host.forward(instance, to="archive")
"""
OPTIONS = ("--housekeeping", "0.2")


class Campaign:
    """`victim` is killed, `archive` gets what it forwards. `deaths` are functions that kill a running victim."""

    def __init__(self, victim, archive, instances, *, senders=3):
        self.victim, self.archive, self.instances, self._senders = victim, archive, instances, senders
        self.starts_s, self.kills = [], 0
        self.acknowledged = set()
        self.sending = []

    def run(self, deaths, *, waves=1):
        """Send everything while the victim dies once a death, wait until all is quiet, and stop it in order.

        With several waves, one begins with each start, so that every death finds something to interrupt.
        """
        with ExitStack() as stack:
            waiting = [self.instances[wave::waves] for wave in range(waves)]
            for options, death in deaths:
                with self._start(*options) as node:
                    self._send(stack, waiting)
                    death(node)
                    self.kills += 1
                    check_senders(self.sending)
            with self._start() as node:
                while waiting:
                    self._send(stack, waiting)
                wait_until(
                    lambda: f"{len(self.instances)} acknowledged; only {len(self.acknowledged)} were",
                    lambda: len(self.acknowledged) == len(self.instances) or check_senders(self.sending),
                )
                wait_until(lambda: f"quiet; deliveries: {self.states()}", self.is_quiet, patience_s=2 * PATIENCE_S)
                assert node.stop() == 0

    def _send(self, stack, waiting):
        if waiting:
            self.sending += stack.enter_context(sending(self.victim, waiting.pop(0), self._senders, self.acknowledged))

    def _start(self, *options):
        node = NodeProcess(self.victim, *OPTIONS, *options)
        if node.start_s is not None:
            self.starts_s.append(node.start_s)
        return node

    # -- progress

    def states(self):
        with self.victim.index() as connection:
            query = sa.select(t.delivery.c.state, sa.func.count()).group_by(t.delivery.c.state)
            return dict(connection.execute(query).all())

    def arrived(self):
        """Return how many instances are in the archive."""
        with self.archive.index() as connection:
            return connection.execute(
                sa.select(sa.func.count())
                .select_from(t.instance)
                .where(t.instance.c.sop_instance_uid.in_([made.uid for made in self.instances]))
            ).scalar_one()

    def is_quiet(self):
        """Tell whether every stored instance was given to the script, and every delivery has ended."""
        with self.victim.index() as connection:
            newest = connection.execute(sa.select(sa.func.max(t.event.c.number))).scalar()
            cursors = connection.execute(sa.select(t.cursor.c.low_water)).scalars().all()
        return cursors == [newest] and set(self.states()) == {"delivered"}

    # -- what must hold

    def check(self):
        """Check every promise; return (doubles, possible doubles)."""
        self._check_stored()
        self._check_effects()
        self._check_files()
        return self._check_arrived()

    def _check_stored(self):
        """Everything acknowledged has a row and a file with the right content (P1)."""
        sent = {made.uid: made for made in self.instances}
        assert self.acknowledged == sent.keys()
        with self.victim.index() as connection:
            rows = connection.execute(
                sa.select(t.instance.c.sop_instance_uid, t.instance.c.received_sha256, t.blob).join(
                    t.blob, t.blob.c.name == t.instance.c.blob
                )
            ).all()
        assert Counter(row.sop_instance_uid for row in rows) == Counter(sent.keys())
        for row in rows:
            content = (self.victim.data / "blobs" / row.name).read_bytes()
            assert row.state == "present"
            assert (len(content), digests.of_file(io.BytesIO(content), row.sha256)) == (row.size, row.sha256)
            data_set = sent[row.sop_instance_uid].data_set
            assert row.received_sha256 == hashlib.sha256(data_set).hexdigest()
            assert content.endswith(data_set)

    def _check_effects(self):
        """The script saw every stored event, and the effects of each run entered exactly once (P2)."""
        with self.victim.index() as connection:
            stored = connection.execute(
                sa.select(t.event.c.number, t.event.c.subject).where(t.event.c.kind == "stored_instance")
            ).all()
            low_water = connection.execute(sa.select(t.cursor.c.low_water)).scalar_one()
            forwards = connection.execute(sa.select(t.action.c.event).where(t.action.c.verb == "forward")).scalars()
            forwarded = Counter(forwards)
            deliveries = connection.execute(sa.select(t.delivery.c.instance, t.delivery.c.state)).all()
            parked = connection.execute(sa.select(t.run.c.error).where(t.run.c.outcome != "done")).scalars().all()
        assert parked == []
        assert len(stored) == len(self.instances)
        assert len({row.subject for row in stored}) == len(self.instances)
        assert low_water >= max(row.number for row in stored)
        assert forwarded == Counter(row.number for row in stored)
        assert Counter(row.instance for row in deliveries) == Counter(row.subject for row in stored)
        assert {row.state for row in deliveries} == {"delivered"}

    def _check_files(self):
        """No file without a row, no row without a file."""
        with self.victim.index() as connection:
            named = set(connection.execute(sa.select(t.blob.c.name)).scalars())
        present = self.victim.blob_names()
        assert present - named == set()
        assert named - present == set()

    def _check_arrived(self):
        """All has arrived (P3); what arrived more than once is explained by an attempt whose answer was lost."""
        wanted = {made.uid: made for made in self.instances}
        with self.archive.index() as connection:
            subjects = dict(connection.execute(sa.select(t.instance.c.id, t.instance.c.sop_instance_uid)).all())
            again = Counter(
                subjects[subject]
                for subject in connection.execute(
                    sa.select(t.event.c.subject).where(
                        t.event.c.kind.in_(("received_again", "conflicting_instance")),
                    )
                ).scalars()
            )
            syntaxes = dict(
                connection.execute(
                    sa.select(t.instance.c.sop_instance_uid, t.blob.c.transfer_syntax).join(
                        t.blob, t.blob.c.name == t.instance.c.blob
                    )
                ).all()
            )
        assert wanted.keys() <= set(subjects.values())
        compressed = {uid for uid in wanted if syntaxes[uid] == "1.2.840.10008.1.2.4.90"}
        assert compressed == {made.uid for made in self.instances if made.number % 3 == 0}
        with self.victim.index() as connection:
            lost = Counter(
                connection.execute(
                    sa.select(t.delivery.c.sop_instance_uid)
                    .join(t.attempt, t.attempt.c.delivery == t.delivery.c.id)
                    .where(t.attempt.c.outcome == "lost")
                ).scalars()
            )
            noted = dict(
                connection.execute(sa.select(t.delivery.c.sop_instance_uid, t.delivery.c.possible_doubles)).all()
            )
        doubles = Counter({uid: count for uid, count in again.items() if uid in wanted})
        unexplained = doubles - lost
        assert not unexplained, f"the archive got these again, and hostd does not know why: {unexplained}"
        assert {uid: count for uid, count in noted.items() if count} == dict(lost)
        return doubles.total(), lost.total()
