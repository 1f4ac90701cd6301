"""Retention: what is old goes, by source and by label, and nothing that is still to be settled."""

import pytest
import sqlalchemy as sa

from hostd.archive import deliveries, instances, retention
from hostd.archive import tables as t
from hostd.archive.records import Attempt, Origin
from hostd.testing.made import arrive

BOTH_DATABASES = True

CT1, CT2 = Origin("dicom", calling_aet="CT1", modality="ct1"), Origin("dicom", calling_aet="CT2", modality="ct2")


def expire(archive, **which):
    """Delete all that is older than 60 s; return how many units it took."""
    now, units = archive.clock.now(), 0
    while archive.writer.do(lambda c: retention.expire(c, before=now - 60, now=now, **which), topics=("event",)):
        units += 1
    return units


def left(archive):
    with archive.read() as connection:
        return set(connection.execute(sa.select(t.instance.c.sop_instance_uid)).scalars())


def get(archive, uid):
    with archive.read() as connection:
        return instances.by_sop_instance_uid(connection, uid)[0]


def test_what_is_old_goes_by_its_source(archive, clock):
    arrive(archive, "1.1", origin=CT1)
    arrive(archive, "1.2", origin=CT2)
    clock.advance(100)
    arrive(archive, "1.3", origin=CT1)
    expire(archive, source="ct1")
    assert left(archive) == {"1.2", "1.3"}


@pytest.mark.parametrize("level", ["instance", "series", "study", "patient"])
def test_what_is_old_goes_by_its_label_or_that_of_a_level_above(archive, clock, level):
    arrive(archive, "1.1", study="1.5", series="1.5.1")
    one = get(archive, "1.1")
    name = one.id if level == "instance" else getattr(one, level)
    archive.writer.do(lambda c: c.execute(t.label.insert().values(level=level, id=name, label="teaching")))
    clock.advance(100)
    expire(archive, label="other")
    assert left(archive) == {"1.1"}
    expire(archive, label="teaching", source="ct9")
    assert left(archive) == {"1.1"}
    expire(archive, label="teaching")
    assert left(archive) == set()


@pytest.mark.parametrize("state", ["waiting", "held", "failed"])
def test_what_is_still_to_be_delivered_or_failed_stays_until_that_is_settled(archive, clock, state):
    arrive(archive, "1.1", origin=CT1)
    one = get(archive, "1.1")

    def ask(connection):
        return deliveries.ask(
            connection, instance=one.id, sop_instance_uid="1.1", sop_class_uid="1.3", destination="peer:x",
            content=one.received_sha256, blob=one.blob.name, now=clock.now(),
        )[0]  # fmt: skip

    number = archive.writer.do(ask)
    archive.writer.do(lambda c: c.execute(sa.update(t.delivery).values(state=state)))
    clock.advance(100)
    expire(archive, source="ct1")
    assert left(archive) == {"1.1"}

    def deliver(connection):
        connection.execute(sa.update(t.delivery).values(state="waiting"))
        deliveries.claim(connection, "peer:x", 7, clock.now(), 1)
        deliveries.finish(connection, Attempt(number, 1, clock.now(), "delivered", "x", 0, 0.1), 7)

    archive.writer.do(deliver)
    expire(archive, source="ct1")
    assert left(archive) == set()


def test_many_go_a_few_a_unit(archive, clock):
    for number in range(retention.AT_ONCE + 1):
        arrive(archive, f"1.{number + 1}", origin=CT1, content=b"%d" % number)
    clock.advance(100)
    assert expire(archive, source="ct1") == 2
    assert left(archive) == set()
