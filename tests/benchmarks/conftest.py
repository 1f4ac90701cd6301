"""Whether the benchmarks still run is looked at in the long runs: each starts servers of several kinds."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.load)
