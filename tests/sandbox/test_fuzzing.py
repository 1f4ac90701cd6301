"""Generated programs: none gets hold of anything, kills the worker's process, or says more than a worker may."""

import ast
import logging
import os
import time

import pytest
from grammar import Grammar
from probes import HELPERS
from sandbox_support import make_event, make_load

from hostd.scripting.honesty import dishonest

LOSSY = {syntax.uid for syntax in make_load("").syntaxes.values() if syntax.is_lossy}


def fuzz(start, seeds, seconds):
    """Run programs until the time is over; return how many, how many compiled, and how many ended without a failure."""
    harness = start("")
    ends = time.monotonic() + seconds
    tried = compiled = done = 0
    for seed in seeds:
        if time.monotonic() > ends:
            break
        source = Grammar(seed).program()
        harness.channel.settimeout(10)
        try:
            verdict = harness.examine(source, helpers=HELPERS)
        except (TimeoutError, EOFError, OSError):  # it loops, or is out of memory: the host kills such a worker
            harness.close()
            harness = start("")
            continue
        assert verdict.escapes == [], f"program {seed} escapes: {verdict.escapes}\n{source}"
        tried += 1
        if verdict.result is not None:
            compiled += 1
            done += verdict.result.failure is None
            assert dishonest(verdict.result, make_event(), make_load(""), LOSSY) is None, f"program {seed}\n{source}"
    return tried, compiled, done


def test_generated_programs_do_not_escape(weakened):
    tried, compiled, _ = fuzz(weakened, range(1500), seconds=4)
    assert tried >= 50
    assert compiled >= 10


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_many_generated_programs_do_not_escape(weakened):
    seed = os.environ.get("HOSTD_FUZZ_SEED", "1100")  # what decides over a change tries the same programs each time
    first = time.time_ns() % 2**40 if seed == "random" else int(seed)
    tried, compiled, done = fuzz(
        weakened, range(first, first + 10_000_000), seconds=float(os.environ.get("HOSTD_FUZZ_SECONDS", "90"))
    )
    logging.getLogger(__name__).info(
        "%d programs from seed %d: %d ran, %d without a failure", tried, first, compiled, done
    )
    assert compiled >= 100


def test_the_generator_writes_programs_and_the_same_ones_again():
    sources = [Grammar(seed).program() for seed in range(300)]
    parsed = 0
    for source in sources:
        try:
            ast.parse(source)
            parsed += 1
        except SyntaxError:
            pass
    assert parsed > 150
    assert sources == [Grammar(seed).program() for seed in range(300)]


@pytest.mark.parametrize("how", ["getattr", "type"])
def test_generated_programs_notice_when_a_guard_is_taken_away(weakened, how):
    worker = weakened(how)
    assert any(worker.examine(Grammar(seed).program(), helpers=HELPERS).escapes for seed in range(1000))
