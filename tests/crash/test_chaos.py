"""Everything fails at once: senders, three destinations that die and return, a node that is killed, a disk that fills up (P1 to P3)."""

import os
import random
import shutil
import subprocess
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager

import pytest
import sqlalchemy as sa
from lying_peer import BREAK, NO_ANSWER, REFUSE, TAKE, LyingPeer, say, slowly
from node_kit import NodeProcess, Place, Sender, check_senders, connect, make_instances, store, wait_until
from ports import free_port

from hostd.archive import tables as t
from hostd.dicom import part10

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(shutil.which("storescp") is None, reason="DCMTK's storescp is not on the PATH"),
]

COUNT = int(os.environ.get("HOSTD_CHAOS_INSTANCES", "2000"))
"""Instances of a campaign."""
KILLS = 10
SCRIPT = """
def on_stored_instance(instance, host):
    for name in ("first", "second", "lying"):
        host.forward(instance, to=name)
"""
OUT_OF_RESOURCES = 0xA700


class StoreScp:
    """DCMTK's storescp, which keeps each file under a name of its own, so that doubles can be counted."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        folder.mkdir()
        self._process = None
        self.rise()

    def rise(self):
        self._process = subprocess.Popen(
            ["storescp", "--unique-filenames", "--fork", "+xa", "-od", str(self.folder), str(self.port)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def die(self):
        os.killpg(self._process.pid, 9)  # the group is that of the process started here, and its forks
        self._process.wait(60)

    def kept(self):
        """Return how often it has each instance; what it was killed over is no file of DICOM yet."""
        found = Counter()
        for path in self.folder.iterdir():
            with path.open("rb") as file:
                start = file.read(1 << 12)
            if start[128:132] == b"DICM":
                with path.open("rb") as file:
                    found[part10.data_set_offset(file).meta[part10.META_INSTANCE]] += 1
        return found


class PatientSender(Sender):
    """One that comes back when it is told that there is no room."""

    def _send(self):
        with connect(self._place) as association:
            while self._left and not self._told.is_set():
                status = store(association, self._left[0])
                if status == OUT_OF_RESOURCES:
                    self._told.wait(0.1)
                    continue
                assert status == 0, f"the node answered 0x{status:04X}"
                self._acknowledged.add(self._left.pop(0).uid)


class Chaos:
    """The victim, its three destinations and its senders."""

    def __init__(self, folder, stack, chance, *, data=None):
        self.chance = chance
        self.instances = make_instances(COUNT, side=16)
        self.cursed = {made.uid for made in self.instances[::100]}
        self.first, self.second = StoreScp(folder / "first"), StoreScp(folder / "second")
        self.lying = stack.enter_context(LyingPeer(self._lie))
        stack.callback(self.first.die)
        stack.callback(self.second.die)
        ports = {"first": self.first.port, "second": self.second.port, "lying": self.lying.port}
        more = "".join(
            f'[modalities.{name}]\naet = "{name.upper()}"\nhost = "127.0.0.1"\nport = {port}\ntimeout_s = 10\nconnections = 2\n'
            for name, port in ports.items()
        )
        self.victim = Place(folder, "victim", script=SCRIPT, more=more, data=data)
        self.acknowledged = set()
        self.kills = self.deaths = 0
        self._ended = threading.Event()

    def _lie(self, uid):
        if uid in self.cursed:
            return say(0xC000)
        throw = self.chance.random()
        if uid is None:
            return REFUSE if throw < 0.05 else TAKE
        lies = (
            (0.03, say(OUT_OF_RESOURCES)),
            (0.05, NO_ANSWER),
            (0.07, BREAK),
            (0.08, slowly(0.3)),
            (0.09, say(0xB000)),
        )
        return next((lie for below, lie in lies if throw < below), TAKE)

    @contextmanager
    def dying_peers(self):
        """Have one peer after another die, and return after a while."""

        def go():
            while not self._ended.wait(self.chance.uniform(1, 3)):
                peer = self.chance.choice([self.first, self.second, self.lying])
                peer.die()
                self.deaths += 1
                self._ended.wait(self.chance.uniform(0.2, 2))
                peer.rise()

        thread = threading.Thread(target=go, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join(60)

    @contextmanager
    def senders(self, count=3):
        threads = [PatientSender(self.victim, self.instances[i::count], self.acknowledged) for i in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield threads
        finally:
            for thread in threads:
                thread.end()

    def states(self):
        with self.victim.index() as connection:
            query = sa.select(t.delivery.c.state, sa.func.count()).group_by(t.delivery.c.state)
            return Counter(dict(connection.execute(query).all()))

    def is_quiet(self):
        states = self.states()
        return states.total() == 3 * COUNT and set(states) <= {"delivered", "warning", "failed"}

    def run(self, kills, disturb=lambda: None):
        with self.dying_peers(), self.senders() as senders:
            for kill in range(kills):
                with NodeProcess(self.victim) as node:
                    goal = (kill + 1) * 3 * COUNT * 0.8 / (kills + 1)
                    wait_until(
                        lambda: f"progress; {self.states()}, {len(self.acknowledged)} acknowledged",
                        lambda goal=goal: self._done() >= goal or check_senders(senders),
                        patience_s=600, pause_s=0.05,
                    )  # fmt: skip
                    time.sleep(self.chance.uniform(0, 0.2))  # not to wait for something: to fall anywhere
                    node.kill()
                    self.kills += 1
            with NodeProcess(self.victim) as node:
                disturb()
                wait_until(
                    lambda: f"everything acknowledged; {len(self.acknowledged)} are",
                    lambda: len(self.acknowledged) == COUNT or check_senders(senders),
                    patience_s=600,
                )  # fmt: skip
                self._ended.set()
                wait_until(lambda: f"quiet; {self.states()}", self.is_quiet, patience_s=600, pause_s=0.2)
                assert node.stop() == 0

    def _done(self):
        states = self.states()
        return states["delivered"] + states["warning"] + states["failed"]

    def check(self):
        """Every instance is at each destination or failed with its reason; every double is explained. Return the two counts of doubles."""
        kept = {"first": self.first.kept(), "second": self.second.kept(), "lying": self.lying.kept}
        with self.victim.index() as connection:
            rows = connection.execute(sa.select(t.delivery)).all()
        asked = Counter((row.destination, row.sop_instance_uid) for row in rows)
        assert asked == Counter((f"modality:{name}", made.uid) for name in kept for made in self.instances)
        failed = {(row.destination, row.sop_instance_uid): row.last_error for row in rows if row.state == "failed"}
        assert failed.keys() == {("modality:lying", uid) for uid in self.cursed}
        assert all("0xC000" in reason for reason in failed.values())
        doubles = 0
        for row in rows:
            count = kept[row.destination.removeprefix("modality:")][row.sop_instance_uid]
            assert count >= (row.state != "failed"), f"{row.destination} does not have what it was said to have"
            extra = max(0, count - 1)
            assert extra <= row.possible_doubles, (
                f"{row.destination} got {row.sop_instance_uid} again, and nothing says why"
            )
            doubles += extra
        return doubles, sum(row.possible_doubles for row in rows)


def seeded():
    seed = int(os.environ.get("HOSTD_CRASH_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"HOSTD_CRASH_SEED={seed}")  # noqa: T201 - shown when the test fails
    return random.Random(seed)


def report(chaos, began):
    doubles, possible = chaos.check()
    print(  # noqa: T201 - what a reader of the run wants to see: pytest's -rP shows it
        f"{COUNT} instances to 3 destinations, {chaos.kills} kills, {chaos.deaths} deaths of peers: {doubles} doubles, "
        f"{possible} possible doubles recorded, {len(chaos.cursed)} failed with their reason; {time.monotonic() - began:.0f} s"
    )
    return doubles, possible


@pytest.mark.timeout(1800)
def test_whatever_dies_every_instance_is_everywhere_or_failed_with_its_reason(tmp_path):
    began = time.monotonic()
    with ExitStack() as stack:
        chaos = Chaos(tmp_path, stack, seeded())
        chaos.run(KILLS)
        report(chaos, began)


@pytest.mark.timeout(1800)
def test_a_disk_that_fills_up_and_empties_loses_nothing(tmp_path):
    began = time.monotonic()
    with ExitStack() as stack:
        disk = stack.enter_context(_small_disk(tmp_path / "disk", megabytes=COUNT // 100 + 60))
        chaos = Chaos(tmp_path, stack, seeded(), data=disk / "data")
        full = 0

        def fill_now_and_then():
            nonlocal full
            for _ in range(4):
                ballast = disk / "ballast"
                _fill(ballast)
                full += 1
                time.sleep(chaos.chance.uniform(0.5, 2))  # how long it is full
                ballast.unlink()
                time.sleep(chaos.chance.uniform(0.5, 2))

        chaos.run(3, fill_now_and_then)
        assert full == 4
        report(chaos, began)


@contextmanager
def _small_disk(folder, megabytes):
    folder.mkdir(mode=0o700)
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", str(folder)]
    if (
        shutil.which("mount") is None
        or subprocess.run(["mount", *options], capture_output=True, check=False).returncode
    ):
        pytest.skip("a file system of its own may not be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)


def _fill(path):
    with path.open("wb", buffering=0) as ballast:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    ballast.write(bytes(size))
            except OSError:
                continue
