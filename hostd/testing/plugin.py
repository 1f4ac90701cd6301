"""The pytest plug-in: the fixture `hostd`.

It is loaded with every run of pytest where hostd is installed, so it imports nothing of hostd until a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hostd.testing.bench import Bench


@pytest.fixture(name="hostd")
def hostd_bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Everything to test a script with: instances, events, a clock, peers, nodes. All of it ends with the test."""
    from hostd.testing.bench import Bench  # noqa: PLC0415 - only tests of scripts pay for it

    with Bench(tmp_path / "hostd", beside=request.path.parent) as bench:
        yield bench
