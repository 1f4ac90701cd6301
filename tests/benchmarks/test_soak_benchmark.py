"""The benchmark of memory runs, has all instances deleted, and writes its section."""

import pytest

from benchmarks import document
from benchmarks.soak import measured
from benchmarks.soak.__main__ import section
from benchmarks.soak.measured import Look, Soak


@pytest.mark.parametrize(("deleter", "kept"), [("a script", 0), ("[storage]", 24)])
def test_it_measures_and_writes_its_section(tmp_path, deleter, kept):
    soak = measured.measured(tmp_path, deleter, 24, 4, lambda _line: None)
    assert soak.kept == kept
    assert [look.instances >= 6 * n for n, look in enumerate(soak.looks, 1)] == [True] * 4
    assert all(look.resident > 10 << 20 for look in soak.looks)
    page = tmp_path / "performance.md"
    document.write(page, section([soak]))
    assert "24 instances of 30 kB" in page.read_text()


def test_the_slope_is_that_of_the_second_half():
    looks = [Look(n * 1000, (100 << 20) + (n * 7 << 20 if n < 5 else 4096 * n), 0) for n in range(10)]
    slope = Soak("a script", 9000, 1.0, looks, 0, 0).slope
    assert (round(slope.median), round(slope.low), round(slope.high)) == (4096, 4096, 4096)
