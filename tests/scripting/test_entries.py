"""A script's entry may change while it runs: what it may do, and its limits, hold for its next event."""

from scripts_kit import FORWARD, KNOWN, handler

from hostd.archive import tables as t
from hostd.config.sections import Script
from hostd.scripting.loading import Names

DELETES = handler("host.delete(instance, after=None)")


def reconfigure(bench, **entries):
    bench.host.reconfigure({f"{name}.py": Script(**entry) for name, entry in entries.items()}, Names(sorted(KNOWN)))


def test_a_capability_that_is_given_holds_for_the_next_event_and_one_that_is_taken_no_more(bench):
    bench.start()
    bench.put("a.py", DELETES)
    bench.arrive()
    bench.until_passed("a.py")
    assert 'may = ["delete"]' in bench.rows(t.run)[-1].error
    token = bench.known("a.py").cursor.token
    reconfigure(bench, a={"may": ["delete"]})
    bench.until(lambda: bench.known("a.py").cursor.token > token)
    bench.arrive()
    bench.until_passed("a.py")
    assert len(bench.rows(t.action, verb="delete")) == 1
    token = bench.known("a.py").cursor.token
    reconfigure(bench)
    bench.until(lambda: bench.known("a.py").cursor.token > token)
    failures = len(bench.rows(t.run))
    bench.arrive()
    bench.until_passed("a.py")
    assert 'may = ["delete"]' in bench.rows(t.run)[failures].error
    assert len(bench.rows(t.event, kind="start")) == 1, "it is the same version"


def test_an_entry_that_is_as_it_was_changes_nothing(bench):
    bench.may("a.py", destinations=["archive"])
    bench.start()
    bench.put("a.py", FORWARD)
    bench.put("b.py", FORWARD)
    tokens = [bench.known(name).cursor.token for name in ("a.py", "b.py")]
    reconfigure(bench, a={"destinations": ["archive"]}, b={"time_limit_s": 1})
    bench.until(lambda: bench.known("b.py").cursor.token > tokens[1])
    assert bench.known("a.py").cursor.token == tokens[0]


def test_a_script_that_needs_what_was_taken_away_does_not_go_on_with_it(bench):
    text = "def filter_received_instance(instance, host):\n    pass\n" + handler("print('seen')")
    bench.may("a.py", may=["filters"])
    bench.start()
    bench.put("a.py", text)
    reconfigure(bench)
    bench.until(lambda: bench.host._runners["a.py"].version is None)
    bench.until(lambda: bench.known("a.py").error)
    assert 'may = ["filters"]' in bench.known("a.py").error
    bench.arrive()
    assert bench.logged("a.py") == []
    reconfigure(bench, a={"may": ["filters"]})
    bench.until(lambda: bench.logged("a.py") == ["seen"])
