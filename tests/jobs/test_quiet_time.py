"""A series, study or patient is told as stable once nothing more of it has come for its quiet time; the clock is turned."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from hostd.archive import events, ingests, instances, levels
from hostd.archive import tables as t
from hostd.archive.archive import Archive
from hostd.archive.ingests import Kept
from hostd.archive.levels import LevelFacts
from hostd.archive.receiving import Arrival
from hostd.archive.records import Blob, Origin
from hostd.jobs.quiet import QuietTime, tell_due
from hostd.testing.clock import ManualClock
from hostd.testing.made import arrive, header

BOTH_DATABASES = True

ALL = ["stable_series", "stable_study", "stable_patient"]


def stable(archive, kinds=tuple(ALL)):
    """Return kind and facts of the events of quiet time, in order."""
    with archive.read() as connection:
        found = events.after(connection, 0, kinds, 1000)
    return [(event.kind, LevelFacts.of(event.facts)) for event in found]


def series_told(archive):
    return [(facts.occurrence, facts.count, facts.new) for _, facts in stable(archive, ("stable_series",))]


def test_two_arrivals_during_the_quiet_time_give_one_event_of_each_level(archive, clock):
    arrive(archive, "1.2.3.4.1")
    clock.advance(50)
    arrive(archive, "1.2.3.4.2")
    clock.advance(50)  # 100 s after the first, 50 s after the second
    assert tell_due(archive) == 0
    clock.advance(10)
    assert tell_due(archive) == 3
    assert [kind for kind, _ in stable(archive)] == ALL
    assert {(facts.occurrence, facts.count, facts.new) for _, facts in stable(archive)} == {(1, 2, 2)}
    clock.advance(1000)
    assert tell_due(archive) == 0


def test_what_comes_late_is_a_second_occurrence_with_only_what_is_new(archive, clock):
    arrive(archive, "1.2.3.4.1")
    arrive(archive, "1.2.3.4.2")
    clock.advance(60)
    tell_due(archive)
    arrive(archive, "1.2.3.4.3")
    clock.advance(59)
    assert tell_due(archive) == 0
    clock.advance(1)
    assert tell_due(archive) == 3
    assert series_told(archive) == [(1, 2, 2), (2, 3, 1)]


def test_other_content_is_new_again_and_a_repeat_is_not(archive, clock):
    for uid in ("1.2.3.4.1", "1.2.3.4.2"):
        arrive(archive, uid)
    clock.advance(60)
    tell_due(archive)
    arrive(archive, "1.2.3.4.1")
    clock.advance(60)
    assert tell_due(archive) == 0
    arrive(archive, "1.2.3.4.1", content=b"other")
    clock.advance(60)
    tell_due(archive)
    assert series_told(archive) == [(1, 2, 2), (2, 2, 1)]


def test_what_is_deleted_before_is_never_stable(archive, clock):
    arrive(archive)
    archive.writer.do(lambda c: instances.hide(c, header().identity.instance, clock.now()))
    clock.advance(60)
    assert tell_due(archive) == 0
    assert stable(archive) == []
    with archive.read() as connection:
        assert levels.next_due(connection) is None


def test_what_came_late_and_was_deleted_again_tells_nothing(archive, clock):
    arrive(archive, "1.2.3.4.1")
    clock.advance(60)
    tell_due(archive)
    arrive(archive, "1.2.3.4.2")
    archive.writer.do(lambda c: instances.hide(c, header("1.2.3.4.2").identity.instance, clock.now()))
    clock.advance(60)
    assert tell_due(archive) == 0
    assert series_told(archive) == [(1, 1, 1)]


def test_one_series_does_not_wait_for_another_and_the_study_waits_for_the_longest(archive, clock):
    arrive(archive, "1.2.3.4.1", series="1.2.3.4", quiet_s=120)
    arrive(archive, "1.2.3.5.1", series="1.2.3.5", quiet_s=10)
    told = []
    for _ in range(13):
        clock.advance(10)
        tell_due(archive)
        told.append(len(stable(archive)))
    assert told == [1] * 11 + [4, 4]
    assert [(kind, facts.series_instance_uid) for kind, facts in stable(archive)] == [
        ("stable_series", "1.2.3.5"), ("stable_series", "1.2.3.4"), ("stable_study", ""), ("stable_patient", ""),
    ]  # fmt: skip


def test_a_restart_during_the_quiet_time_neither_loses_nor_doubles_the_event(tmp_path, prepared):
    clock = ManualClock()
    first = Archive(prepared(tmp_path), "node", clock)
    arrive(first)
    first.close()
    clock.advance(3600)  # down for an hour
    second = Archive(tmp_path, "node", clock)
    assert tell_due(second) == 3
    second.close()
    third = Archive(tmp_path, "node", clock)
    assert tell_due(third) == 0
    assert [kind for kind, _ in stable(third)] == ALL
    third.close()


def test_what_arrives_while_it_is_being_told_puts_it_off(archive, clock):
    arrive(archive, "1.2.3.4.1")
    clock.advance(60)
    with archive.read() as connection:
        due = levels.due(connection, clock.now(), limit=10)
    arrive(archive, "1.2.3.4.2")  # between the look and the writing
    assert archive.writer.do(lambda c: [levels.tell_stable(c, one, clock.now()) for one in due]) == [None] * 3
    clock.advance(60)
    tell_due(archive)
    assert series_told(archive) == [(1, 2, 2)]


def test_nothing_is_stable_while_an_instance_of_it_is_still_being_transcoded(archive, clock):
    file = archive.blobs.create()
    file.write(b"data")
    file.seal()
    file.close()
    blob = Blob(file.name, 4, "0" * 64, "1.2.840.10008.1.2.1")
    arrival = Arrival(header(), blob, "1" * 64, Origin("dicom"), clock.now())
    outcome, number = archive.writer.do(
        lambda c: ingests.take_in_pending(c, arrival, "newest", "1.2.840.10008.1.2.4.90"), blobs=[file.name]
    )
    assert outcome == "stored"
    clock.advance(300)
    assert tell_due(archive) == 0
    kept = Kept("no codec", ingests.pending.kept(blob, "no codec"))
    archive.writer.do(lambda c: ingests.finish(c, number, kept, "x", clock.now()))
    assert tell_due(archive) == 3
    with archive.read() as connection:
        kinds = connection.execute(sa.select(t.event.c.kind).order_by(t.event.c.number)).scalars().all()
    kinds = [kind for kind in kinds if kind != "transcode_failed"]
    assert kinds == ["stored_instance", "new_patient", "new_study", "new_series", *ALL]


def test_more_than_one_look_takes_is_told_all_the_same(archive, clock):
    for number in range(30):
        arrive(archive, f"1.2.3.{number}.1", series=f"1.2.3.{number}")
    clock.advance(60)
    assert tell_due(archive) == 32
    assert [kind for kind, _ in stable(archive)][-2:] == ["stable_study", "stable_patient"]


def test_the_thread_tells_by_itself_and_ends(archive):
    arrive(archive, quiet_s=0.01)
    archive.clock.advance(1)
    told = threading.Event()

    def watch():
        seen = 0
        while not stable(archive):
            seen = archive.bulletin.wait("event", seen, 60.0)
        told.set()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    quiet = QuietTime(archive, shortest_s=lambda: 60.0)
    quiet.start()
    assert told.wait(60)
    quiet.stop()
    watcher.join(60)


VICTIM = """
import os, signal, sys
from pathlib import Path
from hostd.archive import levels
from hostd.archive.archive import Archive
from hostd.jobs.quiet import tell_due
from hostd.testing.clock import ManualClock
from hostd.testing.made import arrive

clock = ManualClock()
archive = Archive(Path(sys.argv[1]), "node", clock)
arrive(archive)
if sys.argv[2] == "told, not committed":
    original = levels.tell_stable
    def tell(*arguments):
        original(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)
    levels.tell_stable = tell
    clock.advance(60)
    tell_due(archive)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("where", ["arrived", "told, not committed"])
def test_a_kill_between_arrival_and_stable_neither_loses_nor_doubles_the_event(where, tmp_path, prepared):
    repository = Path(__file__).parents[2]
    victim = subprocess.run(
        [sys.executable, "-c", VICTIM, str(prepared(tmp_path)), where],
        check=False, timeout=60, env=os.environ | {"PYTHONPATH": str(repository)},
    )  # fmt: skip
    assert victim.returncode == -signal.SIGKILL
    clock = ManualClock()
    archive = Archive(tmp_path, "node", clock)
    assert stable(archive) == []
    assert tell_due(archive) == 0
    clock.advance(60)
    assert tell_due(archive) == 3
    assert tell_due(archive) == 0
    archive.close()
