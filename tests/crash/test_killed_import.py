"""An import that is killed with -9 goes on where it was: every file is taken once, and what was left of it is gone (P1)."""

import json
import subprocess
import sys

import pytest
import sqlalchemy as sa
from node_kit import wait_until

from hostd.archive import instances
from hostd.archive import tables as t
from hostd.archive.archive import attach
from hostd.archive.verifying import verify
from hostd.errors import NodeError
from hostd.testing.instances import made, write

COUNT = 600


def command(config, folder):
    return [sys.executable, "-m", "hostd", "import", str(folder), "--json", "--workers", "1", "--config", str(config)]


def count(data):
    try:
        with attach(data) as connection:
            return instances.count(connection)
    except (NodeError, sa.exc.OperationalError):  # the tables are being made
        return 0


@pytest.mark.crash
@pytest.mark.timeout(600)
def test_every_file_is_taken_once_over_kills(tmp_path):
    folder, data, config = tmp_path / "old", tmp_path / "data", tmp_path / "hostd.toml"
    folder.mkdir()
    config.write_text(f'[node]\ndata = "{data}"\n')
    uids = set()
    for number in range(COUNT):
        write(made(number, pixels=True, elements={}), folder / f"{number:04}", None)
        uids.add(f"1.2.826.0.1.3680043.10.1.1.1.{number}")
    halves = []
    for least in (1, COUNT // 2):
        with subprocess.Popen(command(config, folder), stdout=subprocess.DEVNULL) as killed:
            try:
                wait_until("the import goes on", lambda least=least: count(data) >= least)
            finally:
                killed.kill()
        halves.append(count(data))
    assert 0 < halves[0] < COUNT, "it was not killed in the middle"
    done = subprocess.run(command(config, folder), stdout=subprocess.PIPE, timeout=120, check=False)
    summary = json.loads(done.stdout)["summary"]
    assert (done.returncode, summary["stored"], summary["already_stored"]) == (0, COUNT - halves[-1], halves[-1])
    found = verify(data)
    assert (found.is_sound, found.files) == (True, COUNT)
    with attach(data) as connection:
        assert set(connection.execute(sa.select(t.instance.c.sop_instance_uid)).scalars()) == uids
        assert connection.execute(sa.select(sa.func.count()).select_from(t.event)).scalar_one() == COUNT
