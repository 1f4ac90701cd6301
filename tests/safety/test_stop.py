"""A node that is told to stop: it ends in time, with exit code 0, nothing acknowledged is lost, and the next start goes on."""

import io
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
from node_kit import (
    CT,
    EXPLICIT,
    NodeProcess,
    Place,
    check_senders,
    connect,
    make_instances,
    sending,
    store,
    wait_until,
)
from ports import free_port
from processes import descendants_of, is_alive
from pynetdicom import AE, evt

from hostd.archive import tables as t
from hostd.dimse.errors import DimseError

pytestmark = pytest.mark.timeout(300)  # two starts of a whole node, each with a minute's patience

SIGNALS = [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.crash)]
GRACE_S = 10.0
"""What hostd allows each of its parts; here all but one have nothing to wait for."""
SLACK_S = 50.0
FORWARD = 'def on_stored_instance(instance, host):\n    host.forward(instance, to="archive")\n'
COMPRESS = 'def on_stored_instance(instance, host):\n    host.forward(host.transcode(instance, "j2k"), to="archive")\n'


def hostd_run(place):
    """Return the command that users run."""
    return [sys.executable, "-u", "-m", "hostd", "run", str(place.config)]


def end_by(node, number, *, within_s=GRACE_S + SLACK_S):
    """Signal the node; it must end with exit code 0 within that time, and its workers with it."""
    workers = descendants_of(node.pid)
    began = time.monotonic()
    node.tell(number)
    code = node.wait(within_s)
    assert code == 0, node.place.log.read_text()[-3000:]
    wait_until("the end of all workers", lambda: not any(is_alive(worker) for worker in workers), patience_s=60)
    return time.monotonic() - began


def stored_uids(place):
    """Return the SOP Instance UIDs in the index; each must have its file, and each file a row."""
    with place.index() as connection:
        uids = set(connection.execute(sa.select(t.instance.c.sop_instance_uid)).scalars())
        named = set(connection.execute(sa.select(t.blob.c.name)).scalars())
    assert place.blob_names() == named
    return uids


def deliveries(place):
    with place.index() as connection:
        return Counter(connection.execute(sa.select(t.delivery.c.state)).scalars())


# -- receiving --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_stopped_while_receiving_it_keeps_what_it_acknowledged(number, tmp_path):
    place = Place(tmp_path, "node")
    made = make_instances(300)
    acknowledged = set()
    with NodeProcess(place, command=hostd_run(place)) as node, sending(place, made, 3, acknowledged) as senders:
        wait_until("the stream flows", lambda: len(acknowledged) >= 30, pause_s=0.001)
        end_by(node, number)
        then = set(acknowledged)
        assert 30 <= len(then) < len(made), "it was told to stop in the middle"
        assert then <= stored_uids(place)
        with NodeProcess(place, command=hostd_run(place)) as again:
            wait_until("the rest is taken", lambda: len(acknowledged) == len(made) or check_senders(senders))
            end_by(again, number)
    assert stored_uids(place) == {one.uid for one in made}


class Halting(io.BytesIO):
    """A data set that stops in the middle until it is told to go on."""

    def __init__(self, content):
        super().__init__(content)
        self.halted, self.told = threading.Event(), threading.Event()

    def readinto(self, view):
        if self.tell() >= 1 << 20:  # what is sent in one write is then under way
            self.halted.set()
            self.told.wait(60)
        return super().readinto(memoryview(view)[: 1 << 18])


@contextmanager
def halfway(place, made):
    """Send one instance to its half; gives what makes it go on, and the list where status or error will be."""
    content, ended = Halting(made.data_set), []

    def send():
        try:
            with connect(place) as association:
                ended.append(association.store(CT, made.uid, EXPLICIT, content, len(made.data_set)).status)
        except DimseError as error:
            ended.append(error)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        assert content.halted.wait(60)
        wait_until("the first half is there", lambda: sum_of_sizes(place) > 0)
        yield content.told, ended, thread
    finally:
        content.told.set()
        thread.join(60)


def sum_of_sizes(place):
    total = 0
    for name in place.blob_names():
        with suppress(FileNotFoundError):  # what is kept is given its name, and spare files go
            total += (place.data / "blobs" / name).stat().st_size
    return total


def test_a_message_under_way_may_end_and_is_acknowledged(tmp_path):
    place = Place(tmp_path, "node")
    (made,) = make_instances(1, side=1024)
    with NodeProcess(place, command=hostd_run(place)) as node, halfway(place, made) as (go_on, ended, thread):
        node.tell(signal.SIGTERM)
        wait_until("the doors are closed", lambda: not can_connect(place.dicom_port))
        go_on.set()
        thread.join(60)
        assert ended == [0]
        assert node.wait(GRACE_S + SLACK_S) == 0
    assert stored_uids(place) == {made.uid}


def can_connect(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def test_a_message_that_does_not_end_is_cut_off_and_leaves_nothing(tmp_path):
    place = Place(tmp_path, "node")
    (made,) = make_instances(1, side=1024)
    with NodeProcess(place, "--no-scripts", "--grace", 1) as node, halfway(place, made) as (go_on, ended, thread):
        end_by(node, signal.SIGTERM, within_s=1 + SLACK_S)
        go_on.set()
        thread.join(60)
        assert isinstance(ended[0], DimseError)
    assert stored_uids(place) == set()


# -- transcoding ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("archive"), "archive")
    with NodeProcess(place, "--no-scripts"):
        yield place


def made_receipts(place):
    with place.index() as connection:
        return Counter(connection.execute(sa.select(t.receipt.c.outcome)).scalars())


def test_stopped_while_transcoding_it_goes_on_at_the_next_start(archive, tmp_path):
    place = Place(tmp_path, "node", script=COMPRESS, archive_port=archive.dicom_port)
    made = []
    while not made or made_receipts(place)["made"] == len(made):  # until it was told to stop in the middle
        more = make_instances(8, side=512, seed=len(made))
        with NodeProcess(place, command=hostd_run(place)) as node:
            with connect(place) as association:
                for one in more:
                    assert store(association, one) == 0
            wait_until("one is transcoded", lambda: made_receipts(place)["made"] > len(made), pause_s=0.001)  # noqa: B023
            end_by(node, signal.SIGTERM)
        made += more
    assert {one.uid for one in made} == stored_uids(place)
    with NodeProcess(place, command=hostd_run(place)) as node:
        wait_until(lambda: f"all delivered; {deliveries(place)}", lambda: deliveries(place) == {"delivered": len(made)})
        end_by(node, signal.SIGTERM)
    # A codec that is ended because the node stops says nothing about the file.
    assert made_receipts(place) == {"made": len(made)}
    with archive.index() as connection:
        arrived = connection.execute(
            sa.select(t.blob.c.transfer_syntax)
            .join(t.instance, t.instance.c.blob == t.blob.c.name)
            .where(t.instance.c.sop_instance_uid.in_([one.uid for one in made]))
        ).scalars()
        assert Counter(arrived) == {"1.2.840.10008.1.2.4.90": len(made)}


# -- sending ----------------------------------------------------------------------------------------------------------


class SlowPeer:
    """An archive that takes instances, and answers when it is told to."""

    def __init__(self):
        self.received, self.came, self.answer = [], threading.Event(), threading.Event()
        self.port = free_port()
        entity = AE(ae_title="ARCHIVE")
        entity.add_supported_context(CT, [EXPLICIT])
        self._server = entity.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )

    def _store(self, event):
        self.received.append(str(event.request.AffectedSOPInstanceUID))
        self.came.set()
        self.answer.wait(60)
        return 0x0000

    def close(self):
        self.answer.set()
        self._server.shutdown()


@pytest.fixture
def slow_peer():
    peer = SlowPeer()
    try:
        yield peer
    finally:
        peer.close()


def test_stopped_while_sending_it_sends_again_and_says_that_it_may_be_a_double(slow_peer, tmp_path):
    place = Place(tmp_path, "node", script=FORWARD, archive_port=slow_peer.port)
    made = make_instances(3)
    with NodeProcess(place, "--grace", 1) as node:
        with connect(place) as association:
            for one in made:
                assert store(association, one) == 0
        assert slow_peer.came.wait(60)
        in_doubt = slow_peer.received[0]
        wait_until("all are asked for", lambda: deliveries(place).total() == len(made))
        end_by(node, signal.SIGINT, within_s=1 + SLACK_S)
    assert stored_uids(place) == {one.uid for one in made}
    slow_peer.answer.set()
    with NodeProcess(place) as node:
        wait_until(lambda: f"all delivered; {deliveries(place)}", lambda: deliveries(place) == {"delivered": len(made)})
        end_by(node, signal.SIGINT)
    received = Counter(slow_peer.received)
    assert received.keys() == {one.uid for one in made}
    assert received[in_doubt] == 2
    with place.index() as connection:
        lost = Counter(
            connection.execute(
                sa.select(t.delivery.c.sop_instance_uid)
                .join(t.attempt, t.attempt.c.delivery == t.delivery.c.id)
                .where(t.attempt.c.outcome == "lost")
            ).scalars()
        )
    assert lost[in_doubt] == 1
    assert not received - Counter({one.uid: 1 for one in made}) - lost


# -- starting where that cannot be ------------------------------------------------------------------------------------


def run_and_fail(place):
    """Run hostd, which must refuse; return what it said."""
    ended = subprocess.run(
        hostd_run(place), capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_a_second_node_on_the_same_folder_is_refused_and_told_which_process_has_it(tmp_path):
    place = Place(tmp_path, "node")
    second = Place(tmp_path, "second", data=place.data)
    (made,) = make_instances(1)
    with NodeProcess(place, command=hostd_run(place)) as node:
        said = run_and_fail(second)
        assert f"process {node.pid})" in said
        assert str(place.data) in said
        with connect(place) as association:
            assert store(association, made) == 0, "the first goes on"
        # The failed attempt must not have taken the first one's name from the lock.
        assert f"process {node.pid})" in run_and_fail(second)
        node.kill()
    with NodeProcess(second, command=hostd_run(second)) as node:  # a killed node holds nothing
        end_by(node, signal.SIGTERM)


def test_nothing_that_a_node_has_started_outlives_it_when_it_is_killed(tmp_path):
    place = Place(tmp_path, "node", script="def on_stored_instance(instance, host):\n    while True: pass\n")
    (made,) = make_instances(1)
    with NodeProcess(place, command=hostd_run(place)) as node:
        with connect(place) as association:
            assert store(association, made) == 0
        # What workers of scripts and of codecs are forked off, and the script's worker, in its endless loop.
        wait_until("all are there", lambda: len(descendants_of(node.pid)) >= 3)
        started = descendants_of(node.pid)
        node.kill()
    wait_until("the end of all of them", lambda: not any(map(is_alive, started)))


@pytest.mark.parametrize("face", ["HTTP", "DICOM"])
def test_a_port_that_is_taken_stops_the_start_and_leaves_nothing_running(face, tmp_path):
    place = Place(tmp_path, "node", script=FORWARD.replace("archive", "nowhere"))
    port = place.http_port if face == "HTTP" else place.dicom_port
    with socket.create_server(("127.0.0.1", port)):
        said = run_and_fail(place)
    assert f"127.0.0.1:{port}" in said
    assert face in said
    assert [process for process in Path("/proc").glob("[0-9]*") if str(place.folder) in command_of(process)] == []
    with NodeProcess(place, command=hostd_run(place)) as node:
        end_by(node, signal.SIGTERM)


def command_of(process):
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
