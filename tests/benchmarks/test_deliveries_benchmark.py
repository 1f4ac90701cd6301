"""The benchmark of deliveries runs, sees that all arrives, and writes its section."""

import shutil

import pytest

from benchmarks.deliveries import turns
from benchmarks.deliveries.__main__ import made, section
from benchmarks.deliveries.turns import HOSTD_ROUTES, LUA_ROUTES, Turn


@pytest.mark.peers
@pytest.mark.skipif(not all(map(shutil.which, ("Orthanc", "storescp"))), reason="Orthanc and DCMTK are not installed")
def test_every_way_takes_its_turn():
    found = turns.taken(made(2))
    assert len(found) == 9
    assert {HOSTD_ROUTES, LUA_ROUTES} < found.keys()
    assert all(turn.wall > 0 and turn.cpu >= 0 for turn in found.values())


def test_the_section_says_how_many_times_as_fast_a_script_is_as_lua():
    rounds = [{HOSTD_ROUTES: Turn(2.0, 1.0), LUA_ROUTES: Turn(wall, 0.5)} for wall in (2.0, 4.0, 6.0)]
    text = section(rounds, 100, 100 << 20)
    assert "hostd was **2.0 times** as fast" in text
    assert f"| {HOSTD_ROUTES} | 50 | 50 | 10.00 |" in text
