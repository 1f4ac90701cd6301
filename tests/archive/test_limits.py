"""`[storage]`: what is stored stays within it, exactly; who must stay is never recycled, and then what comes is refused."""

import threading
from dataclasses import replace

import pytest
import sqlalchemy as sa

from hostd.archive import deliveries, holding, instances, pending, receiving, retention
from hostd.archive import tables as t
from hostd.archive.archive import Archive
from hostd.archive.holding import Held
from hostd.archive.limits import Allowance
from hostd.archive.records import Origin
from hostd.config.storage import Storage
from hostd.errors import LimitReachedError
from hostd.testing.clock import ManualClock
from hostd.testing.made import arrival, promise

BOTH_DATABASES = True

MIB = 1 << 20
THREE = Storage(max_patients=3, when_full="recycle")


def came(archive, allowance, uid, patient, *, size=0, **facts):
    """Take in an instance of a patient through an allowance, as the intake does; `size` MiB are what is counted of it."""
    one = arrival(archive, uid, patient_id=patient, study=f"9.{patient[1:]}", series=f"9.{patient[1:]}.1", **facts)
    counted = replace(one, blob=replace(one.blob, size=size * MIB)) if size else one
    return allowance.enter(
        lambda c: receiving.take_in(c, counted, "newest"),
        size=counted.blob.size, patient=counted.header.identity.patient, blobs=[counted.blob.name],
    )  # fmt: skip


def patients(archive):
    with archive.read() as connection:
        return set(connection.execute(sa.select(t.instance.c.patient_id)).scalars())


def held(archive):
    with archive.read() as connection:
        return holding.held(connection)


def counted(archive):
    """Count what the sums should be."""
    with archive.read() as connection:
        size = connection.execute(sa.select(sa.func.coalesce(sa.func.sum(t.blob.c.size), 0)).where(~t.blob.c.released))
        count = connection.execute(sa.select(sa.func.count(sa.distinct(t.instance.c.patient))))
        return int(size.scalar_one()), count.scalar_one()


def sums(archive):
    now = held(archive)
    return now.size, now.patients


def the(archive, uid):
    with archive.read() as connection:
        return instances.by_sop_instance_uid(connection, uid)[0]


def test_the_sums_are_what_counting_would_find_whatever_becomes_of_an_instance(archive, clock):
    free = Allowance(archive, Storage)
    for step in (
        lambda: came(archive, free, "1.1", "P1"),
        lambda: came(archive, free, "1.2", "P2", content=b"more of it"),
        lambda: came(archive, free, "1.1", "P1"),
        lambda: came(archive, free, "1.1", "P1", content=b"other content"),
        lambda: came(archive, free, "1.1", "P1", content=b"data"),
        lambda: archive.writer.do(lambda c: instances.hide(c, the(archive, "1.2").id, clock.now())),
        lambda: archive.collect(trash_seconds=0),
        lambda: came(archive, free, "1.2", "P2", content=b"more of it"),
        lambda: came(archive, Allowance(archive, lambda: Storage(max_patients=1, when_full="recycle")), "1.2", "P2"),
        lambda: archive.writer.do(lambda c: instances.hide(c, the(archive, "1.2").id, clock.now())),
        lambda: came(archive, free, "1.2", "P2"),
    ):
        step()
        assert sums(archive) == counted(archive)
    assert patients(archive) == {"P2"}


@pytest.mark.sqlite_only
def test_the_sums_are_there_after_a_restart(tmp_path):
    clock = ManualClock()
    archive = Archive(tmp_path, "node", clock)
    came(archive, Allowance(archive, Storage), "1.1", "P1", size=7)
    archive.close()
    archive = Archive(tmp_path, "node", clock)
    assert sums(archive) == counted(archive) == (7 * MIB, 1)
    with pytest.raises(LimitReachedError, match="max_size_mb is 10"):
        came(archive, Allowance(archive, lambda: Storage(max_size_mb=10)), "1.2", "P2", size=4)
    archive.close()


def test_the_patient_of_whom_nothing_came_for_longest_goes_first(archive, clock):
    allowance = Allowance(archive, lambda: THREE)
    for number in (1, 2, 3):
        clock.advance(10)
        came(archive, allowance, f"1.{number}", f"P{number}")
    clock.advance(10)
    came(archive, allowance, "1.1.1", "P1")
    clock.advance(10)
    came(archive, allowance, "1.4", "P4")
    assert patients(archive) == {"P1", "P3", "P4"}
    clock.advance(10)
    came(archive, allowance, "1.5", "P5")
    assert patients(archive) == {"P1", "P4", "P5"}
    assert held(archive).recycled_patients == held(archive).recycled_instances == 2


def test_as_many_go_as_must_for_the_bytes_of_what_came(archive, clock):
    allowance = Allowance(archive, lambda: Storage(max_size_mb=10, when_full="recycle"))
    for number in (1, 2, 3):
        clock.advance(10)
        came(archive, allowance, f"1.{number}", f"P{number}", size=3)
    came(archive, allowance, "1.4", "P4", size=5)
    assert patients(archive) == {"P3", "P4"}
    assert sums(archive) == (8 * MIB, 2)


def test_what_is_recycled_does_not_lie_in_the_trash(archive, clock):
    allowance = Allowance(archive, lambda: Storage(max_patients=1, when_full="recycle"))
    came(archive, allowance, "1.1", "P1")
    name = the(archive, "1.1").blob.name
    came(archive, allowance, "1.2", "P2")
    archive.collect(trash_seconds=1e9)
    assert not archive.blobs.path(name).exists()
    archive.writer.do(lambda c: instances.hide(c, the(archive, "1.2").id, clock.now()))
    assert archive.collect(trash_seconds=1e9) == 0


def test_a_whole_patient_goes_however_many_instances_it_has(archive, clock):
    free = Allowance(archive, Storage)
    for number in range(2 * retention.AT_ONCE + 1):
        came(archive, free, f"1.1.{number + 1}", "P1", content=b"%d" % number)
    came(archive, Allowance(archive, lambda: Storage(max_patients=1, when_full="recycle")), "1.2", "P2")
    assert patients(archive) == {"P2"}
    assert held(archive).recycled_instances == 2 * retention.AT_ONCE + 1


def _came(archive, _uid):
    came(archive, Allowance(archive, Storage), "1.1.99", "P1", content=b"new")


def _came_with_other_content(archive, uid):
    came(archive, Allowance(archive, Storage), uid, "P1", content=b"other")


def _was_protected(archive, uid):
    archive.writer.do(lambda c: _protected(c, the(archive, uid)))


def _was_forwarded(archive, uid):
    archive.writer.do(lambda c: _deliver(c, the(archive, uid), "waiting"))


@pytest.mark.parametrize("happens", [_came, _came_with_other_content, _was_protected, _was_forwarded])
def test_what_happens_while_a_patient_goes_ends_that_and_another_goes(archive, clock, monkeypatch, happens):
    free = Allowance(archive, Storage)
    for number in range(2 * retention.AT_ONCE + 1):
        came(archive, free, f"1.1.{number + 1}", "P1", content=b"%d" % number)
    clock.advance(10)
    came(archive, free, "1.3", "P3")
    units, do = [], archive.writer.do

    def left():
        with archive.read() as connection:
            return {one.sop_instance_uid for one in instances.having(connection, patient_id="P1")}

    def watched(unit, **how):
        result = do(unit, **how)
        if getattr(unit, "func", None) is retention.recycle:
            units.append(result)
            if len(units) == 1:
                clock.advance(10)
                happens(archive, max(left()))
                units.append(left())
        return result

    monkeypatch.setattr(archive.writer, "do", watched)
    came(archive, Allowance(archive, lambda: Storage(max_patients=2, when_full="recycle")), "1.2", "P2")
    first, there, *others = units
    assert (first, others[-2:]) == (retention.AT_ONCE, [None, 1])
    assert max(there) in left()
    assert patients(archive) == {"P1", "P2"}
    assert held(archive).recycled_patients == 1


@pytest.mark.parametrize("limits", [Storage(max_patients=1), Storage(max_size_mb=4)])
def test_without_recycling_more_is_refused_and_nothing_is_left_of_it(archive, clock, limits):
    allowance = Allowance(archive, lambda: limits)
    came(archive, allowance, "1.1", "P1", size=3)
    before = sums(archive)
    with pytest.raises(LimitReachedError, match="the archive is full"):
        came(archive, allowance, "1.2", "P2", size=3)
    assert patients(archive) == {"P1"}
    assert sums(archive) == before
    with archive.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(t.blob)).scalar() == 1


def test_what_is_stored_already_comes_again_in_a_full_archive_as_in_any(archive, clock):
    allowance = Allowance(archive, lambda: Storage(max_size_mb=3))
    came(archive, allowance, "1.1", "P1", size=3)
    assert came(archive, allowance, "1.1", "P1", size=3) == "already stored"


def test_more_of_a_patient_does_not_recycle_that_patient(archive, clock):
    allowance = Allowance(archive, lambda: Storage(max_size_mb=4, when_full="recycle"))
    came(archive, allowance, "1.1", "P1", size=3)
    with pytest.raises(LimitReachedError):
        came(archive, allowance, "1.1.1", "P1", size=3, content=b"more")
    assert patients(archive) == {"P1"}


def test_nobody_goes_in_vain_for_what_would_not_fit(archive, clock):
    allowance = Allowance(archive, lambda: Storage(max_size_mb=4, when_full="recycle"))
    came(archive, allowance, "1.1", "P1", size=3)
    with pytest.raises(LimitReachedError):
        came(archive, allowance, "1.2", "P2", size=5)
    assert patients(archive) == {"P1"}


def _deliver(connection, one, state):
    number, _ = deliveries.ask(
        connection, instance=one.id, sop_instance_uid=one.sop_instance_uid, sop_class_uid="1.3", destination="peer:x",
        content=one.received_sha256, blob=one.blob.name, now=0.0,
    )  # fmt: skip
    connection.execute(sa.update(t.delivery).where(t.delivery.c.id == number).values(state=state))
    return number


def _uncommitted(connection, one):
    number = _deliver(connection, one, "delivered")
    connection.execute(sa.update(t.delivery).where(t.delivery.c.id == number).values(commitment="asked"))


def _pending(connection, one):
    pending.put_off(
        connection, instance=one.id, blob=one.blob.name, content=one.received_sha256, target="1.2", kind="stored_instance",
        header=b"", origin=Origin("http"), at=0.0, options=None, keep_original=True,
    )  # fmt: skip


def _protected(connection, one):
    assert retention.protect(connection, one.patient, 0.0, is_protected=True)


HOLDS = {
    "waiting": lambda c, one: _deliver(c, one, "waiting"),
    "held": lambda c, one: _deliver(c, one, "held"),
    "failed": lambda c, one: _deliver(c, one, "failed"),
    "not committed to": _uncommitted,
    "ingest": _pending,
    "promised": promise,
    "protected": _protected,
}


@pytest.mark.parametrize("why", HOLDS)
def test_who_must_stay_is_passed_over_and_when_all_must_what_comes_is_refused(archive, clock, why):
    allowance = Allowance(archive, lambda: Storage(max_patients=2, when_full="recycle"), monotonic=clock.now)
    came(archive, allowance, "1.1", "P1")
    clock.advance(10)
    came(archive, allowance, "1.1.1", "P1", content=b"of which one must stay")
    archive.writer.do(lambda c: HOLDS[why](c, the(archive, "1.1")))
    clock.advance(10)
    came(archive, allowance, "1.2", "P2")
    clock.advance(10)
    came(archive, allowance, "1.3", "P3")
    assert patients(archive) == {"P1", "P3"}
    archive.writer.do(lambda c: retention.protect(c, the(archive, "1.3").patient, clock.now(), is_protected=True))
    for uid in ("1.4", "1.5"):
        with pytest.raises(LimitReachedError):
            came(archive, allowance, uid, f"P{uid[-1]}")
    assert patients(archive) == {"P1", "P3"}
    with archive.read() as connection:
        assert len(instances.having(connection, patient_id="P1")) == 2
    archive.writer.do(lambda c: None)
    archive.writer.hurry()
    archive.writer.do(lambda c: None)
    assert held(archive).refused == 2


def test_who_is_no_longer_protected_goes_last(archive, clock):
    allowance = Allowance(archive, lambda: Storage(max_patients=2, when_full="recycle"))
    came(archive, allowance, "1.1", "P1")
    clock.advance(10)
    came(archive, allowance, "1.2", "P2")
    one = the(archive, "1.1").patient
    for is_protected in (True, False):
        clock.advance(10)
        archive.writer.do(lambda c, p=is_protected: retention.protect(c, one, clock.now(), is_protected=p))
        with archive.read() as connection:
            assert retention.is_protected(connection, one) is is_protected
    came(archive, allowance, "1.3", "P3")
    assert patients(archive) == {"P1", "P3"}


def test_who_is_protected_is_not_deleted_by_age_either(archive, clock):
    came(archive, Allowance(archive, Storage), "1.1", "P1", origin=Origin("dicom", modality="ct1"))
    archive.writer.do(lambda c: retention.protect(c, the(archive, "1.1").patient, 0.0, is_protected=True))
    clock.advance(100)
    assert archive.writer.do(lambda c: retention.expire(c, before=clock.now(), now=clock.now(), source="ct1")) == 0
    archive.writer.do(lambda c: retention.protect(c, the(archive, "1.1").patient, 0.0, is_protected=False))
    assert archive.writer.do(lambda c: retention.expire(c, before=clock.now(), now=clock.now(), source="ct1")) == 1


@pytest.mark.parametrize("limits", [
    Storage(max_size_mb=20, when_full="recycle"), Storage(max_patients=5, when_full="recycle"),
    Storage(max_size_mb=20), Storage(max_patients=5),
])  # fmt: skip
def test_many_that_store_at_one_time_stay_within_the_limits_at_every_moment(archive, limits):
    allowance = Allowance(archive, lambda: limits)
    watching, beyond, refused, lock = threading.Event(), [], [], threading.Lock()

    def watch():
        while not watching.wait(0.002):
            now = held(archive)
            if now.size > 20 * MIB or (limits.max_patients and now.patients > limits.max_patients):
                beyond.append(now)

    def send(sender):
        for number in range(12):
            patient = f"P{sender}{number // 2}"
            uid = f"1.{sender}.{number + 1}"
            try:
                came(archive, allowance, uid, patient, size=2, content=uid.encode())
            except LimitReachedError:
                with lock:
                    refused.append(uid)

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(1, 7)]
    watcher = threading.Thread(target=watch)
    for one in (watcher, *threads):
        one.start()
    for one in threads:
        one.join(60)
    watching.set()
    watcher.join(60)
    assert beyond == []
    assert sums(archive) == counted(archive)
    assert bool(refused) == (limits.when_full == "refuse")
    assert held(archive) != Held()
