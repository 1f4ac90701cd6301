"""Three nodes on one PostgreSQL and one folder of files, while one is killed with -9 and one is paused past its leases (P1, P2, P3)."""

import os
import signal
import time
from collections import Counter
from contextlib import ExitStack

import pytest
import sqlalchemy as sa
from node_kit import NodeProcess, Place, check_senders, make_instances, sending, wait_until

from hostd.archive import leases
from hostd.archive import tables as t
from hostd.archive.archive import attach
from hostd.config.place import Place as Where

SCRIPT = """
def on_stored_instance(instance, host):
    host.forward(instance, to="archive")
    host.forward(instance, to="second")
"""
COUNT = 120
PATIENCE_S = 100.0


class Cluster:
    """Three nodes, and the two that they forward to, each of which keeps what it gets and counts what comes again."""

    def __init__(self, folder, url):
        self.url, self.blobs = url, folder / "blobs"
        self.targets = [Place(folder, name) for name in ("archive", "second")]
        more = f'[modalities.second]\naet = "SECOND"\nhost = "127.0.0.1"\nport = {self.targets[1].dicom_port}\n'
        self.places = [
            Place(folder, name, archive_port=self.targets[0].dicom_port, more=more) for name in ("one", "two", "three")
        ]
        for place in self.places:
            text = place.config.read_text()
            place.config.write_text(text.replace("[dicom]", f'database = "{url}"\nblobs = "{self.blobs}"\n[dicom]', 1))
        self.places[0].write_script(SCRIPT)

    def rows(self, query):
        with attach(Where(self.blobs, self.blobs, self.url)) as connection:
            return connection.execute(query).all()

    def holders(self):
        """Return what is leased → who holds it now."""
        with attach(Where(self.blobs, self.blobs, self.url)) as connection:
            return {one.what: one.who for one in leases.listing(connection, 0.0) if one.left_s > 0}

    def states(self):
        return dict(map(tuple, self.rows(sa.select(t.delivery.c.state, sa.func.count()).group_by(t.delivery.c.state))))

    def is_quiet(self):
        return self.states() == {"delivered": 2 * COUNT}


@pytest.fixture
def cluster(tmp_path, postgresql_url):
    return Cluster(tmp_path, postgresql_url)


@pytest.mark.crash
@pytest.mark.timeout(900)
def test_three_nodes_deliver_all_once_though_one_is_killed_and_one_is_paused_past_its_leases(cluster):
    made = make_instances(COUNT)
    acknowledged = [set() for _ in cluster.places]
    with ExitStack() as stack:
        for target in cluster.targets:
            stack.enter_context(NodeProcess(target, "--no-scripts"))
        nodes = {place.name: stack.enter_context(NodeProcess(place)) for place in cluster.places}
        wait_until("the script runs", lambda: "script:forward.py" in cluster.holders(), patience_s=PATIENCE_S)
        senders = [
            sender
            for index, place in enumerate(cluster.places)
            for sender in stack.enter_context(
                sending(place, made[index::3], 2, acknowledged[index], takes_refusals=True)
            )
        ]
        wait_until(
            "deliveries are under way", lambda: cluster.states().get("delivered", 0) >= 20, patience_s=PATIENCE_S
        )

        held = cluster.holders()
        paused, killed = _who_is_hit(held)
        nodes[killed].kill()
        os.kill(nodes[paused].pid, signal.SIGSTOP)
        began = time.monotonic()
        try:
            check_senders(senders)
            left = next(name for name in nodes if name not in {paused, killed})
            wait_until(
                lambda: f"all leases at {left}: {cluster.holders()}",
                lambda: {cluster.holders().get(what) for what in _shared(held)} == {left},
                patience_s=PATIENCE_S,
            )
        finally:
            os.kill(nodes[paused].pid, signal.SIGCONT)
        paused_s = time.monotonic() - began
        restarted = next(place for place in cluster.places if place.name == killed)
        stack.enter_context(NodeProcess(restarted))
        wait_until(
            lambda: f"all is acknowledged: {[len(one) for one in acknowledged]}",
            lambda: sum(map(len, acknowledged)) == COUNT or check_senders(senders),
            patience_s=PATIENCE_S,
        )
        wait_until(lambda: f"all is delivered: {cluster.states()}", cluster.is_quiet, patience_s=PATIENCE_S)
        wait_until("the paused node is on its feet", lambda: nodes[paused].is_running)
        _check_effects(cluster, made)
        doubles = _check_arrived(cluster, made)
    stray = cluster.rows(sa.select(t.attempt.c.id).where(t.attempt.c.outcome == "stray"))
    possible = cluster.rows(sa.select(t.delivery.c.id).where(t.delivery.c.possible_doubles > 0))
    print(  # noqa: T201 - what a reader of the run wants to see: pytest's -rP shows it
        f"{COUNT} instances to 2 destinations by 3 nodes; {killed} killed, {paused} paused for {paused_s:.0f} s: "
        f"{doubles} doubles arrived, {len(possible)} possible ones recorded, {len(stray)} stray results"
    )


def _shared(held):
    return [what for what in held if what.startswith(("destination:", "script:"))]


def _who_is_hit(held):
    """Pause who carries to the archive, so that it may be in the middle of sending, and kill another, if possible one with a lease."""
    paused = held["destination:modality:archive"]
    others = [name for name in ("one", "two", "three") if name != paused]
    return paused, next((name for name in others if name in {held[what] for what in _shared(held)}), others[0])


def _check_effects(cluster, made):
    """Every instance is stored, the script saw each once, and each run's actions entered exactly once."""
    stored = cluster.rows(sa.select(t.event.c.number, t.event.c.subject).where(t.event.c.kind == "stored_instance"))
    assert len({row.subject for row in stored}) == len(stored) == len(made)
    forwards = Counter(
        row.event for row in cluster.rows(sa.select(t.action.c.event).where(t.action.c.verb == "forward"))
    )
    assert forwards == Counter({row.number: 2 for row in stored})
    blobs = cluster.rows(sa.select(t.blob.c.name).join(t.instance, t.instance.c.blob == t.blob.c.name))
    assert len(blobs) == len(made)
    assert all((cluster.blobs / row.name).is_file() for row in blobs)


def _check_arrived(cluster, made):
    """Everything is at both destinations; what came twice is explained by an attempt of that destination whose answer was lost or stray."""
    doubtful = Counter(
        (row.destination, row.sop_instance_uid)
        for row in cluster.rows(
            sa.select(t.delivery.c.destination, t.delivery.c.sop_instance_uid)
            .join(t.attempt, t.attempt.c.delivery == t.delivery.c.id)
            .where(t.attempt.c.outcome == "lost")
        )
    )
    total = 0
    for target in cluster.targets:
        with target.index() as connection:
            uids = dict(map(tuple, connection.execute(sa.select(t.instance.c.id, t.instance.c.sop_instance_uid)).all()))
            again = connection.execute(sa.select(t.event.c.subject).where(t.event.c.kind == "received_again")).scalars()
            doubles = Counter((f"modality:{target.name}", uids[subject]) for subject in again)
        assert set(uids.values()) == {one.uid for one in made}
        assert not doubles - doubtful, f"{target.name} got these again, and no attempt says why: {doubles - doubtful}"
        total += doubles.total()
    return total
