"""The benchmark of retrieval runs, sees that all arrives uncompressed, and writes its section."""

import shutil
from dataclasses import replace

import pytest

from benchmarks.receive import made
from benchmarks.retrieve import turns
from benchmarks.retrieve.__main__ import section
from benchmarks.retrieve.turns import FIRST, Case, Turn

PROGRAMS = ("Orthanc", "movescu", "getscu", "storescp", "storescu")
CASE = Case("from RLE", replace(made.SMALL, count=2), compressed=True)


@pytest.mark.peers
@pytest.mark.skipif(not all(map(shutil.which, PROGRAMS)), reason="Orthanc and DCMTK are not installed")
def test_each_is_asked_in_each_way(tmp_path):
    found = turns.taken(tmp_path, [CASE], 2)
    ways = {(CASE.name, way, who) for way in (*turns.WAYS, FIRST) for who in ("hostd", "Orthanc")}
    assert found.keys() == ways
    assert all(len(of) == 2 and min(turn.wall for turn in of) > 0 for of in found.values())


def test_the_section_says_how_many_times_as_fast_as_orthanc():
    found = {
        (CASE.name, way, who): [Turn(wall, 0.5)]
        for way in (*turns.WAYS, FIRST)
        for who, wall in (("hostd", 1.0), ("Orthanc", 3.0))
    }
    assert "| C-GET | from RLE | 2 | **3.00** | 2.00 | 250 | 0.67 | 250 |" in section(found, [CASE]).markdown()
