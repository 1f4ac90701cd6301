"""Fixtures for the tests of the sandbox."""

import pytest
from sandbox_support import Harness


@pytest.fixture(scope="session")
def harness():
    worker = Harness()
    yield worker
    worker.close()


@pytest.fixture
def weakened():
    workers = []

    def start(how):
        workers.append(Harness(how))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


@pytest.fixture
def run(harness):
    """Run a handler's body in the jailed harness and return (result, what it printed)."""

    def run_body(body, **load):
        lines = "\n    ".join(body.strip("\n").splitlines())
        verdict = harness.examine(f"def on_stored_instance(instance, host):\n    {lines}\n", **load)
        assert verdict.refused == [], verdict.refused
        assert verdict.escapes == []
        return verdict.result, [text for _, text in verdict.result.log]

    return run_body
