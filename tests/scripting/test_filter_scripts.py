"""Filters in the folder of scripts: from file to filter, edits, restarts, and what cannot be loaded (P5, fail closed)."""

import pytest
from scripts_kit import FORWARD, KNOWN, resolve

from hostd.archive import orders, scripts
from hostd.archive.records import Origin
from hostd.dicom.header import Header
from hostd.errors import ScriptError
from hostd.scripting.asking import Means
from hostd.scripting.filters import Filters
from hostd.scripting.host import Limits, ScriptHost
from hostd.scripting.loading import Names

DISCARD = "def filter_received_instance(instance, host):\n    return host.discard({!r})\n"
BROKEN = "def filter_received_instance(instance, host):\n    return (\n"


@pytest.fixture
def node(bench):
    """A script host with filters; `restart` is a new start of the node."""
    made = Restarting(bench)
    yield made
    made.stop()


class Restarting:
    def __init__(self, bench):
        self.bench = bench
        self.host = self.filters = None
        bench.may("a.py", may=("filters",))
        bench.may("b.py", may=("filters",))

    def start(self):
        bench = self.bench
        self.filters = Filters(bench.archive, time_limit_s=60.0, workers=1)
        self.host = ScriptHost(
            bench.archive, bench.folder, entries=bench.entries, names=Names(sorted(KNOWN)), means=Means(resolve),
            isolation="required", limits=Limits(bench.attempts), rescan_s=bench.rescan_s, check_file=lambda _path: None,
            filters=self.filters, launcher=bench.launcher,
        )  # fmt: skip
        self.host.start()

    def stop(self):
        if self.host is not None:
            self.host.stop()
            self.filters.close()
            self.bench.launcher.rest()
        self.host = None

    def restart(self):
        self.stop()
        self.start()

    def judge(self):
        header = Header("42", "1.2", "1.3", "1.4", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1", False, 0, 10, {})
        return self.filters.received(header, Origin("http"), self.bench.folder / "none")

    def decides(self):
        judgement = self.judge()
        return judgement and ("failed" if judgement.has_failed else judgement.reason)


def test_a_filter_filters_from_the_start_and_an_edit_takes_over(node):
    node.bench.write("a.py", DISCARD.format("one"))
    node.start()
    assert node.decides() == "one"
    node.bench.write("a.py", DISCARD.format("two"))
    node.bench.until(lambda: node.decides() == "two")
    node.bench.until_runs("a.py", DISCARD.format("two"))
    assert node.bench.known("a.py").handlers == ("filter_received_instance",)


def test_a_broken_edit_leaves_the_last_good_version_filtering_also_after_a_restart(node):
    node.start()
    node.bench.put("a.py", DISCARD.format("one"))
    node.bench.write("a.py", BROKEN)
    node.bench.until(lambda: node.bench.known("a.py").error)
    assert node.decides() == "one"
    node.restart()
    assert node.decides() == "one"


def test_a_filter_whose_file_is_deleted_filters_no_more(node):
    node.start()
    node.bench.put("a.py", DISCARD.format("one"))
    (node.bench.folder / "a.py").unlink()
    node.bench.until(lambda: node.decides() is None)
    node.restart()
    assert node.decides() is None


def test_a_filter_that_ran_and_cannot_be_loaded_at_the_start_refuses_until_it_can(node):
    node.start()
    node.bench.put("a.py", DISCARD.format("one"))
    node.stop()
    node.bench.may("a.py")  # the capability was taken away: neither the file nor the last good version may run
    node.start()
    assert node.decides() == "failed"
    node.restart()
    assert node.decides() == "failed", "also the next time"
    node.bench.put("a.py", FORWARD)
    assert node.decides() is None


def test_a_filter_that_is_refusing_is_gone_with_its_file(node):
    node.start()
    node.bench.put("a.py", DISCARD.format("one"))
    node.stop()
    node.bench.may("a.py")
    node.start()
    (node.bench.folder / "a.py").unlink()
    node.bench.until(lambda: node.decides() is None)


def test_a_worker_that_cannot_be_started_is_tried_until_it_can(node, monkeypatch):
    node.start()
    node.bench.put("a.py", DISCARD.format("one"))
    node.stop()
    node.bench.rescan_s = 0.1
    real, fails = ScriptHost._load, [True]

    def load(self, name, source, helpers=None):
        if name == "a.py" and fails[0]:
            raise ScriptError("no memory")
        return real(self, name, source, helpers)

    monkeypatch.setattr(ScriptHost, "_load", load)
    node.start()
    assert node.decides() == "failed"
    node.bench.until(lambda: node.bench.known("a.py").error)
    fails[0] = False
    node.bench.until(lambda: node.decides() == "one")


def test_a_new_filter_that_is_refused_refuses_nothing_and_says_so(node):
    node.bench.may("a.py")
    node.bench.write("a.py", DISCARD.format("one"))
    node.start()
    assert node.decides() is None
    assert 'may = ["filters"]' in node.bench.known("a.py").error


def test_one_file_may_have_filters_and_handlers(node):
    node.start()
    both = DISCARD.format("one") + "def on_stored_instance(instance, host):\n    print('seen')\n"
    node.bench.put("a.py", both)
    node.bench.arrive()
    node.bench.until_passed("a.py")
    node.bench.until(lambda: node.bench.logged("a.py") == ["seen"])
    assert node.decides() == "one"


def test_what_people_disabled_filters_no_more_and_again_once_it_is_enabled(node):
    bench = node.bench
    bench.write("a.py", DISCARD.format("no"))
    node.start()
    bench.until(lambda: node.decides() == "no")
    bench.decide(lambda c: orders.disable(c, "a.py"))
    bench.until(lambda: node.decides() is None)
    node.restart()
    assert node.decides() is None
    bench.decide(lambda c: orders.enable(c, "a.py", skip=False))
    bench.until(lambda: node.decides() == "no")


def test_a_parked_scripts_filters_are_asked_on_also_after_a_restart(node):
    bench = node.bench
    bench.write("a.py", DISCARD.format("no"))
    node.start()
    bench.until(lambda: (known := bench.known("a.py")) and known.state == "running")
    known = bench.known("a.py")
    node.stop()
    token = bench.known("a.py").cursor.token
    bench.archive.writer.do(lambda c: scripts.park(c, "a.py", token, known.version, "too much", 1.0))
    node.start()
    bench.until(lambda: node.decides() == "no")
    assert bench.known("a.py").state == "parked"
