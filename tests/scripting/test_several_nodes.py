"""Scripts of several nodes on one index: one node runs each, all have the same texts, and another goes on where one is gone."""

import pytest
import sqlalchemy as sa
from scripts_kit import Bench, handler, hash_of

from hostd.archive import leases
from hostd.archive import tables as t
from hostd.archive.archive import Archive
from hostd.archive.uploads import Seen, Text
from hostd.config.place import Place
from hostd.scripting import folder, lane
from hostd.scripting.sharing import is_news
from hostd.testing.clock import ManualClock

ONE, TWO = handler("print('one')"), handler("print('two')")
NEW, OLD = Text("new", "", {}), Text("old", "", {})


@pytest.mark.parametrize(
    ("text", "seen", "has_run", "expected"),
    [
        pytest.param(None, None, False, True, id="a script that nobody has"),
        pytest.param(OLD, None, False, True, id="a text that nobody has, in the folder of a node that joins"),
        pytest.param(OLD, None, True, False, id="a text that ran before, in the folder of a node that joins"),
        pytest.param(None, None, True, False, id="a text that ran before and was taken away since"),
        pytest.param(NEW, None, False, False, id="what all have"),
        pytest.param(OLD, Seen("old", None), False, True, id="an edit"),
        pytest.param(OLD, Seen("old", None), True, True, id="an edit back to what ran before"),
        pytest.param(OLD, Seen("new", None), True, False, id="another node's edit since"),
        pytest.param(None, Seen("new", None), True, False, id="taken away on another node"),
        pytest.param(None, Seen("", None), True, True, id="put back on the node that took it away"),
        pytest.param(OLD, Seen("new", "old"), False, True, id="refused, and nothing came since"),
        pytest.param(OLD, Seen("new", "older"), False, False, id="refused, and another text came since"),
        pytest.param(None, Seen("new", ""), False, True, id="refused, and never was there another"),
    ],
)
def test_what_counts_as_an_upload(text, seen, has_run, expected):
    assert is_news("new", text, seen, has_run=has_run) is expected


@pytest.fixture
def benches(tmp_path, postgresql_url, monkeypatch):
    monkeypatch.setattr(folder, "DEBOUNCE_S", 0.05)
    monkeypatch.setattr(lane, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(leases, "LOOK_S", 0.3)
    made = []

    def bench(name):
        data = tmp_path / name
        data.mkdir(exist_ok=True)
        archive = Archive(Place(data, tmp_path / "blobs", postgresql_url), name, ManualClock())
        made.append(Bench(archive, data / "scripts"))
        return made[-1]

    yield bench
    for one in made:
        one.stop()
        one.archive.close()


def holder(bench, script="a.py"):
    with bench.archive.read() as connection:
        held = {lease.what: lease.who for lease in leases.listing(connection, 0.0) if lease.left_s > 0}
    return held.get(f"script:{script}")


def test_each_event_is_run_once_and_another_node_goes_on_when_one_has_left(benches):
    one, other = benches("a"), benches("b")
    for bench in (one, other):
        bench.write("a.py", ONE)
        bench.start()
    one.until_runs("a.py", ONE)
    one.arrive(3)
    other.arrive(3)
    other.until_passed("a.py")
    first = holder(one)
    assert one.logged() == ["one"] * 3  # the same three instances: repeats are no new ones
    leaving, staying = (one, other) if first == "a" else (other, one)
    leaving.stop()
    leaving.archive.close()
    staying.count = 10
    staying.arrive(2)
    staying.until_passed("a.py")
    assert staying.logged() == ["one"] * 5
    assert holder(staying) == staying.archive.node
    leaving.archive = Archive(leaving.archive.place, leaving.archive.node, ManualClock())


def test_a_change_in_the_folder_of_one_node_runs_on_the_others(benches):
    one, other = benches("a"), benches("b")
    one.write("a.py", ONE)
    one.start()
    other.start()
    one.until_runs("a.py", ONE)
    other.write("a.py", TWO)
    one.until_runs("a.py", TWO)
    other.arrive()
    one.until_passed("a.py")
    assert one.logged() == ["two"]
    (one.folder / "a.py").unlink()
    other.until(lambda: other.known("a.py").state == "absent")


def test_an_old_file_in_the_folder_of_a_node_that_joins_changes_nothing(benches):
    one = benches("a")
    one.write("a.py", ONE)
    one.start()
    one.until_runs("a.py", ONE)
    one.put("a.py", TWO)
    other = benches("b")
    other.write("a.py", ONE)
    other.start()
    other.write("b.py", ONE)
    other.until_runs("b.py", ONE)
    with one.archive.read() as connection:
        versions = connection.execute(sa.select(t.script_period.c.version).where(t.script_period.c.script == "a.py"))
        assert versions.scalars().all() == [hash_of(ONE), hash_of(TWO)]


def test_a_broken_edit_on_one_node_is_shown_and_changes_nothing_anywhere(benches):
    one, other = benches("a"), benches("b")
    one.write("a.py", ONE)
    one.start()
    other.start()
    one.until_runs("a.py", ONE)
    other.write("a.py", "def on_stored_instance(instance, host):\n    pass\nimport os\n")
    one.until(lambda: "module `os`" in (one.known("a.py").error or ""))
    assert (one.known("a.py").state, one.known("a.py").version) == ("running", hash_of(ONE))


def test_a_node_that_lost_its_lease_steps_aside_and_takes_the_script_up_again_when_it_is_free(benches):
    one = benches("a")
    one.write("a.py", ONE)
    one.start()
    one.until_runs("a.py", ONE)
    one.until(lambda: holder(one) == "a")
    what = "script:a.py"
    token = one.archive.writer.do(lambda c: leases.seize(c, what, "elsewhere", 60.0), topics=("event",))
    one.arrive()
    one.archive.writer.do(lambda c: leases.release(c, what, token))
    one.until_passed("a.py")
    assert one.logged() == ["one"]
    assert holder(one) == "a"
