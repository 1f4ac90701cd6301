"""Received means safe (P1): no answer of success before file, directory and index are on stable storage, in this order."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from launcher import WITHOUT
from node_kit import NodeProcess, Place, connect, make_instances, store, upload, wait_until
from order import FULL, Answered, Committed, Logged, Synced, problems
from sqlalchemy import Engine, event
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from strace_log import CALLS, answer_in, read_trace

from hostd.archive import instances, receiving
from hostd.archive import tables as t
from hostd.archive.blobs import BlobFile, FolderBlobs
from hostd.config.settings import load
from hostd.node import Node

BLOB = "node/ab/abcd"
FILE, DIRECTORY, INDEX = Synced(f"/data/blobs/{BLOB}"), Synced("/data/blobs/node/ab"), Synced("/data/index.db-wal")
COMMIT, ROW = Committed(frozenset({BLOB}), FULL), Logged(BLOB)
SUCCESS = Answered("DIMSE", success=True)
MISSED = {"synchronous=FULL": "commit"}


# -- the judge --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "calls",
    [
        [FILE, DIRECTORY, COMMIT, SUCCESS],
        [Answered("DIMSE", success=False), FILE, DIRECTORY, COMMIT, SUCCESS],
        [FILE, DIRECTORY, ROW, INDEX, SUCCESS],
    ],
)
def test_the_safe_order_is_taken_for_safe(calls):
    assert problems(calls, BLOB) == []


@pytest.mark.parametrize(
    ("calls", "found"),
    [
        ([FILE, DIRECTORY, COMMIT], "success was never answered"),
        ([DIRECTORY, COMMIT, SUCCESS], "fsync of the file"),
        ([FILE, COMMIT, SUCCESS], "fsync of the directory"),
        ([DIRECTORY, FILE, COMMIT, SUCCESS], "fsync of the directory"),
        ([FILE, DIRECTORY, SUCCESS, COMMIT], "commit"),
        ([FILE, COMMIT, DIRECTORY, SUCCESS], "commit"),
        ([FILE, DIRECTORY, Committed(frozenset({"another"}), FULL), SUCCESS], "commit"),
        ([FILE, DIRECTORY, Committed(frozenset({BLOB}), FULL - 1), SUCCESS], "commit"),
        ([FILE, DIRECTORY, ROW, SUCCESS, INDEX], "fsync of the write-ahead log"),
        ([FILE, DIRECTORY, INDEX, ROW, SUCCESS], "fsync of the write-ahead log"),
    ],
)
def test_whatever_is_missing_or_late_is_found(calls, found):
    assert problems(calls, BLOB) == [found]


# -- in this process --------------------------------------------------------------------------------------------------


class Recorder:
    """Records calls of this process; installed before a step is taken away, so that what does not run is not recorded."""

    def __init__(self, monkeypatch):
        self.calls = []
        self._inserted = threading.local()
        fsync, sendall, send = os.fsync, socket.socket.sendall, socket.socket.send
        do_commit = SQLiteDialect_pysqlite.do_commit

        def recorded_fsync(descriptor):
            path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
            fsync(descriptor)
            self.calls.append(Synced(path))

        def recorded_commit(dialect, connection):
            level = connection.execute("PRAGMA synchronous").fetchone()[0]
            do_commit(dialect, connection)
            if names := self._taken():
                self.calls.append(Committed(frozenset(names), level))

        def recorded(send_bytes):
            def wrapper(sock, sent, *flags):
                if answer := answer_in(bytes(sent)):
                    self.calls.append(answer)
                return send_bytes(sock, sent, *flags)

            return wrapper

        monkeypatch.setattr(os, "fsync", recorded_fsync)
        monkeypatch.setattr(SQLiteDialect_pysqlite, "do_commit", recorded_commit)
        monkeypatch.setattr(socket.socket, "sendall", recorded(sendall))
        monkeypatch.setattr(socket.socket, "send", recorded(send))
        event.listen(Engine, "before_cursor_execute", self._note)

    def close(self):
        event.remove(Engine, "before_cursor_execute", self._note)

    def _note(self, _connection, _cursor, statement, parameters, *_):
        if statement.startswith("INSERT INTO blob"):
            self._inserted.names = [*getattr(self._inserted, "names", []), parameters[0]]

    def _taken(self):
        names, self._inserted.names = getattr(self._inserted, "names", []), []
        return names


@pytest.fixture
def node(tmp_path):
    place = Place(tmp_path, "node")
    running = Node(load(place.config), run_scripts=False)
    running.start()
    try:
        running.place = place
        yield running
    finally:
        running.stop()


@pytest.fixture
def recorder(node, monkeypatch):
    made = Recorder(monkeypatch)
    yield made
    made.close()
    monkeypatch.undo()


def send_by_dicom(place, made):
    with connect(place) as association:
        assert store(association, made) == 0


def send_by_http(place, made):
    assert upload(place, made).status_code == 200


SENDING = {"C-STORE": send_by_dicom, "HTTP": send_by_http}


def blob_of(connection, uid):
    (found,) = instances.by_sop_instance_uid(connection, uid)
    return found.blob.name


@pytest.mark.parametrize("face", SENDING)
def test_success_is_answered_after_file_directory_and_index(face, node, recorder):
    (made,) = make_instances(1)
    SENDING[face](node.place, made)
    with node.archive.read() as connection:
        blob = blob_of(connection, made.uid)
    assert problems(recorder.calls, blob) == []


def weakened(writer):
    """Have the connection of an idle writer wait for no disk at a commit; return whether it was idle."""
    with writer._filled:
        if writer._is_taken:
            return False
        connection = writer._connection.connection.driver_connection  # the one that it goes on with
        assert connection.execute("PRAGMA synchronous").fetchone() == (FULL,)
        connection.execute("PRAGMA synchronous = NORMAL")
        return True


@pytest.mark.parametrize("face", SENDING)
@pytest.mark.parametrize("step", WITHOUT)
def test_a_step_taken_away_is_found(face, step, node, recorder, monkeypatch):
    inserted = []
    take_in = receiving.take_in

    def remembered(connection, arrival, on_conflict):
        inserted.append(arrival.blob.name)
        return take_in(connection, arrival, on_conflict)

    monkeypatch.setattr(receiving, "take_in", remembered)
    if step == "fsync of the file":
        monkeypatch.setattr(BlobFile, "seal", lambda self: None)
    elif step == "fsync of the directory":
        monkeypatch.setattr(FolderBlobs, "sync_directories", lambda self, names: None)
    elif step == "commit":
        # Rolled back, so that the connection goes on.
        monkeypatch.setattr(SQLiteDialect_pysqlite, "do_commit", lambda self, connection: connection.rollback())
    else:
        wait_until("nobody writes", lambda: weakened(node.archive.writer))
    (made,) = make_instances(1)
    SENDING[face](node.place, made)
    assert problems(recorder.calls, inserted[0]) == [MISSED.get(step, step)]


# -- a real process ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strace():
    program = shutil.which("strace")
    if program is None:
        pytest.skip("strace is not installed")
    command = [program, "-f", "--seccomp-bpf"]
    trial = subprocess.run(
        [*command, "-e", "trace=fsync", "-o", "/dev/null", sys.executable, "-c", ""],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if trial.returncode != 0:
        pytest.skip(f"strace may not trace here: {trial.stderr.strip()}")
    return command


def traced(strace, tmp_path, *options):
    """Send one instance by each face to a node under strace; return for each the calls that led to its answer, and its file's name."""
    place = Place(tmp_path, "node")
    output = tmp_path / "trace"
    # A page of SQLite's log is printed whole: 4096 bytes. Bytes are printed as they are or as escapes, never as text alone.
    tracing = [*strace, "-y", "-x", "-s", "8192", "-e", f"trace={CALLS}", "-o", str(output)]
    made = make_instances(len(SENDING), side=16)
    with NodeProcess(place, command=[*tracing, *place.command("--no-scripts", *options)]) as node:
        node_pid = int((place.data / "node.lock").read_text())
        try:
            for face, one in zip(SENDING, made, strict=True):
                SENDING[face](place, one)
        finally:
            os.kill(node_pid, signal.SIGTERM)  # strace itself would only let go of it
            try:
                code = node.wait()
            except subprocess.TimeoutExpired:
                os.kill(node_pid, signal.SIGKILL)
                raise
        assert code == 0
    with place.index() as connection:
        blobs = [blob_of(connection, one.uid) for one in made]
    calls = read_trace(output.read_text(encoding="latin-1"), blobs)
    ends = [index + 1 for index, call in enumerate(calls) if isinstance(call, Answered) and call.success]
    assert [calls[end - 1].face for end in ends] == ["DIMSE", "HTTP"]
    starts = [0, *ends]
    return [(calls[start:end], blob) for start, end, blob in zip(starts, ends, blobs, strict=False)]


def test_a_real_process_syncs_file_directory_and_write_ahead_log_before_it_answers(strace, tmp_path):
    for calls, blob in traced(strace, tmp_path):
        assert Logged(blob) in calls
        assert problems(calls, blob) == []


def test_steps_taken_away_from_a_real_process_are_found(strace, tmp_path):
    left_out = ["fsync of the file", "fsync of the directory", "synchronous=FULL"]
    for calls, blob in traced(strace, tmp_path, *[word for step in left_out for word in ("--without", step)]):
        assert problems(calls, blob) == [*left_out[:2], "fsync of the write-ahead log"]


def test_the_index_is_opened_with_synchronous_full(node):
    with node.archive._writing.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == FULL
        assert connection.execute(sa.select(sa.func.count()).select_from(t.instance)).scalar_one() == 0
