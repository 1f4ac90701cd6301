import sys
from pathlib import Path

import pytest
import structlog

from hostd.cli import log

# The crash tests' kit: nodes in processes of their own, made instances, senders.
sys.path.insert(0, str(Path(__file__).parent.parent / "crash"))


@pytest.fixture(autouse=True)
def _log_as_a_node_does():
    """Without it structlog draws every traceback with all its variables, which takes longer than the tests."""
    log.configure("json", "info")
    yield
    structlog.reset_defaults()
