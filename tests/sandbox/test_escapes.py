"""Scripts that try to get out, in a real jailed worker and in one without its jail: none gets hold of anything, and the corpus would notice one that did."""

from itertools import islice

import pytest
from probes import HELPERS, PROBES, source
from sandbox_support import Harness, make_event, make_load

from hostd.scripting.honesty import dishonest

ALL = [(group, number, probe) for group, probes in PROBES.items() for number, probe in enumerate(probes)]
LOSSY = {syntax.uid for syntax in make_load("").syntaxes.values() if syntax.is_lossy}


@pytest.mark.parametrize(("group", "number", "probe"), ALL, ids=[f"{group}-{number}" for group, number, _ in ALL])
def test_no_probe_gets_hold_of_anything(harness, group, number, probe):
    verdict = harness.examine(source(probe), helpers=HELPERS)
    assert verdict.escapes == [], probe
    if verdict.result is not None:
        assert dishonest(verdict.result, make_event(), make_load(""), LOSSY) is None, probe


@pytest.fixture(scope="module")
def without_jail():
    worker = Harness("without jail")
    yield worker
    worker.close()


@pytest.mark.parametrize("group", PROBES)
def test_no_probe_gets_hold_of_anything_without_the_jail(without_jail, group):
    verdicts = {probe: without_jail.examine(source(probe), helpers=HELPERS) for probe in PROBES[group]}
    assert {probe: verdict.escapes for probe, verdict in verdicts.items() if verdict.escapes} == {}


def test_what_a_jail_would_hinder_is_noticed_without_it(without_jail, weakened):
    reads_a_file = "\nimport os\ndef on_stored_instance(instance, host):\n    os.listdir('/')\n"
    assert without_jail.examine(reads_a_file).refused
    assert weakened("modules").examine(reads_a_file).escapes == ["the audit event os.listdir"]


def test_the_corpus_is_large_and_has_no_probe_twice():
    assert len(ALL) >= 430
    assert len({probe for _, _, probe in ALL}) == len(ALL)


IN_EVERY_RUN = {
    "getattr",
    "type",
    "modules",
    "attributes",
    "writes",
    "methods",
    "hidden",
    "json",
    "helpers",
    "spelling",
}
"""Guards that are taken away in every run of the tests; the others in the long runs."""


def taken_away(*guards):
    often = [() if how in IN_EVERY_RUN else pytest.mark.matrix for how, _, _ in guards]
    return [pytest.param(*guard, marks=marks) for guard, marks in zip(guards, often, strict=True)]


@pytest.mark.parametrize(
    ("how", "groups", "at_least"),
    taken_away(
        ("getattr", ["getattr"], 5),
        ("type", ["getattr", "import"], 2),
        ("modules", ["import"], 10),
        ("shims", ["import"], 2),
        ("names", ["syntax"], 5),
        ("attributes", ["dunder"], 10),
        ("writes", ["import", "api"], 2),
        ("patterns", ["match"], 6),
        ("pattern names", ["match"], 3),
        ("methods", ["classes", "syntax"], 10),
        ("bases", ["syntax", "facades"], 4),
        ("hidden", ["getattr", "classes", "facades"], 3),
        ("builtins", ["getattr"], 1),
        ("operator", ["facades"], 4),
        ("functools", ["facades"], 3),
        ("copy", ["facades"], 1),
        ("decimal", ["facades"], 2),
        ("fractions", ["facades"], 1),
        ("calendar", ["facades"], 2),
        ("textwrap", ["facades"], 1),
        ("string", ["facades"], 1),
        ("html", ["facades"], 1),
        ("uuid", ["facades"], 2),
        ("flags", ["facades", "import"], 2),
        ("typing", ["facades"], 2),
        ("abc", ["facades"], 3),
        ("hostd", ["facades"], 2),
        ("zones", ["facades"], 2),
        ("random", ["facades"], 1),
        ("json", ["import", "facades"], 1),
        ("helpers", ["library"], 1),
        ("spelling", ["spelling"], 2),
    ),
)
def test_the_corpus_notices_when_a_guard_is_taken_away(weakened, how, groups, at_least):
    worker = weakened(how)
    probes = (probe for group in groups for probe in PROBES[group])
    escaping = (probe for probe in probes if worker.examine(source(probe), helpers=HELPERS).escapes)
    assert len(caught := list(islice(escaping, at_least))) == at_least, caught


def test_what_honest_scripts_use_is_not_taken_for_an_escape(harness):
    verdict = harness.examine(
        "import json, re, math, datetime\n"
        "def on_stored_instance(instance, host):\n"
        "    got([json.dumps, re.compile('a'), math.pi, datetime.date(2020, 1, 1), instance, host, len, ValueError('x')])\n"
    )
    assert verdict.escapes == []
    assert verdict.result.failure is None
