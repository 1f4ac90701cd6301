"""The benchmark of scripts runs, and writes its section and no other."""

import logging

import structlog

from benchmarks import document
from benchmarks.scripts import measured
from benchmarks.scripts.__main__ import section


def test_it_measures_and_writes_its_section(tmp_path):
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    figures = measured.taken(tmp_path / "work", 20)
    assert figures.ten.events == 20
    assert figures.ten.host_cpu_s > figures.none.host_cpu_s
    assert len(figures.paced_one.waits_ms) == 20
    assert len(figures.paced_ten.waits_ms) == 2 * 20
    assert 0 < figures.paced_one.median_ms <= figures.paced_one.p99_ms
    assert figures.paced_one.workers_cores >= 0 < figures.paced_one.host_cores
    assert figures.worker_kb > 1000
    page = tmp_path / "performance.md"
    page.write_text("# Performance\n\n<!-- begin: transcoding -->\nkept\n<!-- end: transcoding -->\n")
    document.write(page, section([figures, figures]))
    text = page.read_text()
    assert "kept" in text
    assert text.count("<!-- begin: scripts -->") == text.count("<!-- end: scripts -->") == 1
    assert "10 scripts: 2 forward" in text
    assert "20 events, 200 a second evenly" in text
