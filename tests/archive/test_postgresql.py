"""Several nodes on one PostgreSQL: what holds of units, numbers and names, and what a lost connection does."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from hostd.archive import (
    company,
    deliveries,
    events,
    installation,
    instances,
    leases,
    postgresql,
    receipts,
    receiving,
    searching,
)
from hostd.archive import tables as t
from hostd.archive.archive import Archive, attach
from hostd.archive.database import SCHEMA, open_engine, schema_version
from hostd.archive.receipts import StoredReceipt
from hostd.archive.receiving import Arrival
from hostd.archive.records import Blob, Origin
from hostd.config.place import Place
from hostd.errors import NodeError, StorageError
from hostd.testing.clock import ManualClock
from hostd.testing.made import arrive, header


@pytest.fixture
def nodes(tmp_path, postgresql_url):
    """Open nodes by name, each with a data folder of its own and all with the same files."""
    opened = []

    def node(name):
        data = tmp_path / name
        data.mkdir(exist_ok=True)
        opened.append(Archive(Place(data, tmp_path / "blobs", postgresql_url), name, ManualClock()))
        return opened[-1]

    yield node
    for one in opened:
        one.close()


@pytest.fixture
def server(postgresql_url):
    engine = sa.create_engine(postgresql_url, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


def cut_all(server):
    """End every session of the database but the caller's, as a restart of the server does."""
    with server.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def locks(server):
    """Return how many advisory locks of the database are held."""
    with server.connect() as connection:
        return connection.exec_driver_sql(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).scalar_one()


def until(condition, within=60):
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.02)


def test_a_reader_never_sees_a_number_before_one_that_is_lower(nodes):
    writers = [nodes("a"), nodes("b")]
    is_done = threading.Event()

    def write(archive):
        for _ in range(60):
            futures = [archive.writer.submit(lambda c: events.append(c, "x", "s", 1.0)) for _ in range(3)]
            for future in futures:
                future.result(60)

    def read():
        """Pass events as a script's cursor does: what is below the position is never looked at again."""
        position, passed = 0, []
        while True:
            last = is_done.is_set()
            with writers[0].read() as connection:
                query = sa.select(t.event.c.number).where(t.event.c.number > position).order_by(t.event.c.number)
                new = list(connection.execute(query).scalars())
            passed += new
            position = new[-1] if new else position
            if last and not new:
                return passed

    with ThreadPoolExecutor() as pool:
        reading = pool.submit(read)
        list(pool.map(write, writers))
        is_done.set()
        assert len(reading.result(60)) == 360


def test_without_the_lock_a_reader_would_pass_a_number_that_comes_later(nodes, server):
    """The test above can fail: sequences give numbers before commits."""
    nodes("a")
    insert = "INSERT INTO event (kind, subject, at) VALUES ('x', 's', 1.0) RETURNING number"
    with server.connect() as first, server.connect() as second:
        for connection in (first, second):
            connection.exec_driver_sql("BEGIN")
        lower = first.exec_driver_sql(insert).scalar_one()
        higher = second.exec_driver_sql(insert).scalar_one()
        second.exec_driver_sql("COMMIT")
        with server.connect() as reading:
            assert reading.exec_driver_sql("SELECT number FROM event").scalars().all() == [higher]
        first.exec_driver_sql("COMMIT")
    assert lower < higher


def test_the_same_instance_at_two_nodes_at_once_is_stored_once(nodes):
    one, other = nodes("a"), nodes("b")
    with ThreadPoolExecutor() as pool:
        outcomes = [
            outcome
            for number in range(10)
            for outcome in pool.map(lambda archive, uid=f"1.2.3.{number}": arrive(archive, uid), (one, other))
        ]
    with one.read() as connection:
        kinds = connection.execute(sa.select(t.event.c.kind)).scalars().all()
        assert instances.count(connection) == 10
    assert len(outcomes) == 20
    assert (kinds.count("stored_instance"), kinds.count("received_again")) == (10, 10)
    assert kinds.count("new_patient") == 1


def test_the_same_delivery_asked_for_at_two_nodes_at_once_is_one(nodes):
    archives = [nodes("a"), nodes("b")]

    def ask(archive, number):
        return archive.writer.do(
            lambda c: deliveries.ask(
                c, instance="i", sop_instance_uid="1.2", sop_class_uid="1.3", destination="modality:x",
                content=f"c{number}", blob="b", now=1.0,
            )
        )  # fmt: skip

    with ThreadPoolExecutor() as pool:
        for number in range(10):
            answers = list(pool.map(lambda archive, number=number: ask(archive, number), archives))
            assert len({asked for asked, _ in answers}) == 1
            assert sorted(is_new for _, is_new in answers) == [False, True]


def test_a_transform_longer_than_an_entry_of_an_index_is_told_from_others(nodes):
    archive = nodes("a")
    letters = random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=64 << 10)
    long, longer = "".join(letters), "".join(letters) + "x"

    def ask(connection, transform):
        return deliveries.ask(
            connection, instance="i", sop_instance_uid="1.2", sop_class_uid="1.3", destination="modality:x",
            content="c", blob="b", transform=transform, now=1.0,
        )[1]  # fmt: skip

    assert [archive.writer.do(lambda c, text=text: ask(c, text)) for text in (long, longer, long)] == [
        True,
        True,
        False,
    ]
    for text in (long, longer, long):
        archive.writer.do(lambda c, text=text: receipts.note(c, StoredReceipt("b", text, "made", {}, None), 1.0))
    with archive.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(t.receipt)).scalar_one() == 2


def test_a_nul_character_is_stored_as_its_sign(nodes):
    archive = nodes("a")
    made = header("1.2.3.9", patient_id="A\0B")
    made.tags[0x00080050] = ("SH", ["1\0\\u00002"])
    arrival = Arrival(made, Blob("a/00/x", 4, "h", made.transfer_syntax), "h", Origin("http"), 1.0)
    archive.writer.do(lambda c: receiving.take_in(c, arrival, "newest"))
    with archive.read() as connection:
        (stored,) = instances.page(connection)
        found = connection.execute(
            sa.select(t.instance.c.id).where(
                t.instance.c.attributes["study"]["AccessionNumber"].as_string() == "1␀\\u00002"
            )
        ).scalar()
    assert stored.patient_id == "A␀B"
    assert found == stored.id


def test_an_instance_whose_patient_id_is_longer_than_an_entry_of_an_index_is_stored_and_found(nodes):
    archive = nodes("a")
    long = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=20_000))
    arrival = Arrival(header("1.2.3.9", patient_id=long), Blob("a/00/x", 4, "h", "1.2"), "h", Origin("http"), 1.0)
    archive.writer.do(lambda c: receiving.take_in(c, arrival, "newest"))
    with archive.read() as connection:
        found = searching.find(connection, searching.Search("instance", {"PatientID": long}), time_limit_s=10.0)
    assert found == [arrival.header.identity.instance]


# -- names ------------------------------------------------------------------------------------------------------------


def test_a_second_node_of_the_same_name_is_refused_until_the_first_has_ended(nodes, tmp_path, monkeypatch):
    monkeypatch.setattr(company, "_NAME_LOOKS", 0)
    first = nodes("a")
    place = Place(tmp_path / "elsewhere", tmp_path / "blobs", first.place.database)
    place.data.mkdir()
    with pytest.raises(NodeError, match="another node of the name a"):
        Archive(place, "a", ManualClock())
    first.close()
    Archive(place, "a", ManualClock()).close()


class StalledTime:
    """Stands for `time` on a machine that stands still for long in each sleep."""

    def __init__(self):
        self.passed_s, self.sleeps = 0.0, 0
        self.on_sleep = lambda: None

    def monotonic(self):
        return time.monotonic() + self.passed_s

    def sleep(self, _seconds):
        self.passed_s += 15.0
        self.sleeps += 1
        self.on_sleep()


def test_a_name_that_is_let_go_late_is_had_although_the_server_stood_still_meanwhile(
    nodes, server, tmp_path, monkeypatch
):
    first = nodes("a")
    stalled = StalledTime()
    monkeypatch.setattr(company, "time", stalled)

    def end_at_the_fourth():
        """The machine has stood still in each look; only the fourth time the end of the last node is noticed: by then the server has, too."""
        if stalled.sleeps == 4:
            first.close()
            until(lambda: not locks(server))

    stalled.on_sleep = end_at_the_fourth
    place = Place(tmp_path / "elsewhere", tmp_path / "blobs", first.place.database)
    place.data.mkdir()
    Archive(place, "a", ManualClock()).close()
    assert stalled.sleeps == 4


def test_a_node_whose_name_was_taken_while_it_was_cut_off_writes_nothing_any_more(nodes, server, tmp_path, monkeypatch):
    monkeypatch.setattr(company, "_AGAIN_S", 60.0)  # so long it does not ask for its name again
    first = nodes("a")
    cut_all(server)
    place = Place(tmp_path / "elsewhere", tmp_path / "blobs", first.place.database)
    place.data.mkdir()
    with (
        first.read() as connection
    ):  # what was being received has no row, so that the sweep of the second takes its file
        before = events.last_number(connection)
    second = Archive(place, "a", ManualClock())
    with pytest.raises(StorageError, match="taken over"):
        arrive(first)
    with second.read() as connection:
        assert events.last_number(connection) == before
    second.close()


def test_a_sweep_leaves_the_files_of_other_nodes_alone_whatever_their_names(nodes):
    one, other = nodes("a_b"), nodes("aXb")
    arrive(other)
    one.close()
    nodes("a_b")
    with other.read() as connection:
        (stored,) = instances.page(connection)
        state = connection.execute(sa.select(t.blob.c.state)).scalar_one()
    assert state == "present"
    assert other.blobs.path(stored.blob.name).exists()


def test_all_nodes_have_the_same_secret(nodes):
    archives = [nodes(name) for name in "abc"]
    assert len({archive.secret for archive in archives}) == 1
    assert archives[0].writer.do(installation.secret) == archives[0].secret


# -- what is told -----------------------------------------------------------------------------------------------------


def test_what_one_node_commits_wakes_the_others(nodes):
    one, other = nodes("a"), nodes("b")
    seen = other.bulletin.seen("event")
    arrive(one)
    assert other.bulletin.wait("event", seen, 60) > seen


def test_what_a_command_line_changes_wakes_all(nodes):
    one, other = nodes("a"), nodes("b")
    seen = [archive.bulletin.seen("delivery") for archive in (one, other)]
    with attach(one.place, writes=True) as connection:
        events.append(connection, "x", "s", 1.0)
    for archive, before in zip((one, other), seen, strict=True):
        assert archive.bulletin.wait("delivery", before, 60) > before


def test_a_command_line_refuses_a_database_of_another_version(nodes):
    archive = nodes("a")
    archive.writer.do(lambda c: c.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'"))
    try:
        with pytest.raises(NodeError, match=f"version 0001, and this hostd knows {SCHEMA}"), attach(archive.place):
            pass
    finally:
        archive.writer.do(lambda c: c.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{SCHEMA}'"))


# -- what goes wrong --------------------------------------------------------------------------------------------------


def test_after_the_server_dropped_all_connections_a_node_goes_on_and_is_heard(nodes, server):
    one, other = nodes("a"), nodes("b")
    arrive(one, "1.2.3.1")
    cut_all(server)
    arrive(one, "1.2.3.2")
    with other.read() as connection:
        assert instances.count(connection) == 2
    until(lambda: other._company._connection is not None and one._company._connection is not None)

    def is_heard():
        seen = other.bulletin.seen("x")
        one.writer.do(lambda _c: None, topics=("x",))
        return other.bulletin.wait("x", seen, 1) > seen

    until(is_heard)


def test_a_group_whose_connection_is_lost_before_its_commit_is_done_again(nodes, server):
    archive = nodes("a")
    calls = []

    def unit(connection):
        number = events.append(connection, "x", "s", 1.0)
        calls.append(number)
        if len(calls) == 1:
            cut_all(server)
        return number

    number = archive.writer.do(unit)
    assert number == calls[-1]
    with archive.read() as connection:
        assert connection.execute(sa.select(t.event.c.number)).scalars().all() == [number]


def test_what_was_answered_by_no_server_in_time_is_told_as_not_stored(nodes, server, monkeypatch):
    monkeypatch.setattr("hostd.archive.writer._PAUSES_S", (0.01, 0.01))
    archive = nodes("a")

    def unit(_connection):
        cut_all(server)
        _connection.exec_driver_sql("SELECT 1")

    with pytest.raises(StorageError, match="could not be written"):
        archive.writer.do(unit)
    arrive(archive)


def test_a_node_that_hangs_in_a_transaction_holds_others_up_for_a_while_only(nodes, monkeypatch):
    settings = postgresql._WRITER_SETTINGS | {"idle_in_transaction_session_timeout": "1s"}
    monkeypatch.setattr(postgresql, "_WRITER_SETTINGS", settings)
    hanging, other = nodes("a"), nodes("b")
    entered, goes_on = threading.Event(), threading.Event()
    calls = []

    def hang(connection):
        calls.append(events.append(connection, "x", "hung", 1.0))
        entered.set()
        goes_on.wait(60)
        return calls[-1]

    future = hanging.writer.submit(hang)
    assert entered.wait(60)
    arrive(other)
    goes_on.set()
    assert future.result(60) == calls[-1]
    assert len(calls) == 2
    with other.read() as connection:
        kinds = connection.execute(sa.select(t.event.c.kind).order_by(t.event.c.number)).scalars().all()
    assert (kinds.count("x"), kinds[-1]) == (1, "x")


def test_a_lease_ends_by_the_servers_clock_whatever_the_nodes_think(nodes):
    ahead, behind = nodes("a"), nodes("b")
    ahead.clock.advance(1e9)
    token = behind.writer.do(lambda c: leases.acquire(c, "x", "b", behind.clock.now(), 60.0))
    assert ahead.writer.do(lambda c: leases.acquire(c, "x", "a", ahead.clock.now(), 60.0)) is None
    with ahead.read() as connection:
        (lease,) = [one for one in leases.listing(connection, 0.0) if one.what == "x"]
        assert leases.is_held(connection, "x", token, 1e12)
    assert 0 < lease.left_s <= 60


def test_two_nodes_that_start_at_once_on_an_empty_database_make_the_tables_once(postgresql_server, tmp_path):
    name, url = postgresql_server.empty_database()

    def start(node):
        (tmp_path / node).mkdir()
        Archive(Place(tmp_path / node, tmp_path / "blobs", url), node, ManualClock()).close()

    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(start, "ab"))
        engine = open_engine(Place(tmp_path, tmp_path, url), writes=False)
        assert schema_version(engine) == SCHEMA
        engine.dispose()
    finally:
        postgresql_server.drop(name)


def test_a_server_that_is_not_there_is_said_without_the_password(tmp_path):
    place = Place(tmp_path, tmp_path / "blobs", "postgresql+psycopg://hostd:geheim@127.0.0.1:1/hostd")
    with pytest.raises(NodeError, match="the database cannot be opened") as told:
        Archive(place, "a", ManualClock())
    assert "geheim" not in str(told.value)
    assert "geheim" not in repr(place)
