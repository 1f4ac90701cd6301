import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "peers"))  # whole nodes are made there

from peer_kit import LiveNode


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """One node for all hostile files of a module: that it lives on is the point."""
    made = LiveNode(tmp_path_factory.mktemp("hostile") / "node")
    yield made
    made.stop()
