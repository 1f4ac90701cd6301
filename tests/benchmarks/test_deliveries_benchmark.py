"""The benchmark of deliveries runs, sees that all arrives, and writes its section."""

import shutil
from dataclasses import replace

import pytest

from benchmarks.deliveries import turns
from benchmarks.deliveries.__main__ import section
from benchmarks.deliveries.turns import HOSTD_ROUTES, LUA_ROUTES, Turn
from benchmarks.figures import Ratio
from benchmarks.receive import made


@pytest.mark.peers
@pytest.mark.skipif(not all(map(shutil.which, ("Orthanc", "storescp"))), reason="Orthanc and DCMTK are not installed")
def test_every_way_takes_its_turn(tmp_path):
    files = made.read(replace(made.SMALL, count=2), tmp_path / "files")
    found = turns.taken(files, tmp_path / "turns", is_reversed=True)
    assert len(found) == 9
    assert {HOSTD_ROUTES, LUA_ROUTES} < found.keys()
    assert all(turn.wall > 0 and turn.cpu >= 0 for turn in found.values())


def test_the_section_says_how_many_times_as_fast_a_script_is_as_lua():
    rounds = [{HOSTD_ROUTES: Turn(2.0, 1.0), LUA_ROUTES: Turn(wall, 0.5)} for wall in (2.0, 4.0, 6.0)]
    said = section(rounds, 100, 100 << 20)
    (target,) = said.targets
    assert (target.measured, target.is_reached) == (Ratio(2, 1, 3), True)
    text = said.markdown()
    assert f"| {HOSTD_ROUTES} | 50.0 | 50.0 | 10.0 |" in text
