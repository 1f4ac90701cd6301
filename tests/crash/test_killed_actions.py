"""What scripts asked for is done once each, wherever kill -9 falls: every product is stored, every file replaced, and every end told once (P2, P4, P7)."""

import random
import time

import pytest
import sqlalchemy as sa
from node_kit import NodeProcess, Place, connect, make_instances, store, wait_until

from hostd.archive import tables as t

SCRIPT = """
def on_stored_instance(instance, host):
    host.store(host.modify(instance, set={"PatientID": "CHANGED"}))
    host.replace(instance, host.transcode(instance, "rle"))
"""
MAY = '[scripts."forward.py"]\nmay = ["modify", "replace", "store"]\n'
RLE = "1.2.840.10008.1.2.5"
COUNT = 12


def rows(place, query):
    with place.index() as connection:
        return connection.execute(query).all()


def unfinished(place):
    tasks = dict(tuple(row) for row in rows(place, sa.select(t.task.c.state, sa.func.count()).group_by(t.task.c.state)))
    return None if tasks != {"done": 2 * COUNT} else tasks


@pytest.mark.crash
@pytest.mark.timeout(900)
def test_products_are_stored_and_files_replaced_once_each_over_kills(tmp_path):
    chance = random.Random(7)
    place = Place(tmp_path, "victim", script=SCRIPT, more=MAY)
    made = make_instances(COUNT)
    kills = 0
    with NodeProcess(place) as node:
        association = connect(place)
        for one in made:
            assert store(association, one) == 0
        association.release()
        node.kill()
        kills += 1
    for _ in range(4):
        with NodeProcess(place) as node:
            time.sleep(chance.uniform(0.5, 2.5))  # somewhere between claiming a task and the commit of its effect
            node.kill()
            kills += 1
    with NodeProcess(place) as node:
        wait_until(lambda: rows(place, sa.select(t.task)), lambda: unfinished(place), patience_s=150)
        assert node.stop() == 0
    stored = rows(
        place, sa.select(t.instance, t.blob.c.transfer_syntax).join(t.blob, t.blob.c.name == t.instance.c.blob)
    )
    originals = [row for row in stored if row.patient_id == "CRASH"]
    products = [row for row in stored if row.patient_id == "CHANGED"]
    assert {row.sop_instance_uid for row in originals} == {one.uid for one in made}
    assert {row.transfer_syntax for row in originals} == {RLE}
    assert sorted(row.metadata["ModifiedFrom"] for row in products) == sorted(row.id for row in originals)
    versions = rows(place, sa.select(t.version.c.instance))
    assert sorted(row.instance for row in versions) == sorted(row.id for row in originals)
    told = rows(place, sa.select(t.event.c.facts).where(t.event.c.kind == "action_done"))
    assert sorted(row.facts["task"] for row in told) == list(range(1, 2 * COUNT + 1))
    assert {row.facts["state"] for row in told} == {"done"}
    present, named = place.blob_names(), {row.name for row in rows(place, sa.select(t.blob.c.name))}
    assert named <= present
    assert kills == 5
