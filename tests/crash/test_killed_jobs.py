"""A job that sends goes on where it was, wherever kill -9 falls: every instance is delivered, and the job tells it (P3)."""

import json
import random
import time

import pytest
import requests
import sqlalchemy as sa
from node_kit import NodeProcess, Place, make_instances, upload, wait_until

from hostd.archive import tables as t

COUNT = 40
KILLS = 3


def rows(place, query):
    with place.index() as connection:
        return connection.execute(query).all()


@pytest.mark.crash
@pytest.mark.timeout(600)
def test_a_job_outlasts_kills_and_ends_with_all_delivered(tmp_path):
    chance = random.Random(3)
    theirs = Place(tmp_path, "receiver")
    ours = Place(tmp_path, "sender", archive_port=theirs.dicom_port)
    url = f"http://127.0.0.1:{ours.http_port}"
    with NodeProcess(theirs):
        with NodeProcess(ours) as node:
            ids = [upload(ours, made).json()["ID"] for made in make_instances(COUNT)]
            body = json.dumps({"Resources": ids, "Asynchronous": True})
            job = requests.post(f"{url}/modalities/archive/store", data=body, timeout=60).json()["ID"]
            time.sleep(chance.uniform(0.0, 0.2))  # somewhere in the middle of it
            node.kill()
        for _ in range(KILLS - 1):
            with NodeProcess(ours) as node:
                time.sleep(chance.uniform(0.0, 0.3))
                node.kill()
        with NodeProcess(ours) as node:

            def ended():
                found = requests.get(f"{url}/jobs/{job}", timeout=60).json()
                return found if found["State"] in {"Success", "Failure"} else None

            found = wait_until("the job ends", ended, patience_s=120)
            assert (found["State"], found["Content"]["FailedInstancesCount"]) == ("Success", 0), found
            assert node.stop() == 0
        states = {row.state for row in rows(ours, sa.select(t.delivery.c.state))}
        assert states == {"delivered"}
        assert {row.id for row in rows(theirs, sa.select(t.instance.c.id))} == set(ids)
        told = rows(ours, sa.select(t.event.c.kind).where(t.event.c.subject == job))
        assert sorted(row.kind for row in told) == ["job_submitted", "job_succeeded"]
