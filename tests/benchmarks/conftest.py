"""Whether the benchmarks still run is looked at in the long runs: each starts servers of several kinds."""

from pathlib import Path

import pytest

QUICK = {"test_performance_page.py", "test_measured_figures.py", "test_all_benchmarks.py"}
"""They start nothing that is measured."""


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents and item.path.name not in QUICK:
            item.add_marker(pytest.mark.load)
