"""The decorators note what was asked for, and refuse what makes no sense, with its line."""

import re

import pytest
from sandbox_support import make_load

from hostd.sandbox import frames
from hostd.sandbox.script import RefusedScriptError, Script


def loaded(text, **helpers):
    return Script(make_load(text, helpers=helpers))


def test_functions_by_the_clock_are_found_with_their_times_and_lines():
    script = loaded(
        "from hostd.api import cron as at\n"
        "@every(hours=1, minutes=0.5)\n@at(' 0  2 * * * ')\ndef nightly(host):\n    pass\n"
        "@every(days=2)\ndef other(host, more=1):\n    pass\n"
        "def on_start(host):\n    pass\n"
    )
    assert script.schedules == [
        frames.Schedule("nightly", 3630.0, None, 2),
        frames.Schedule("nightly", None, "0 2 * * *", 2),
        frames.Schedule("other", 172_800.0, None, 6),
    ]
    assert script.handlers == ["on_start", "nightly", "other"]
    said = [(one.line, one.name, one.message) for one in script.findings if one.kind == "schedule"]
    assert said[:2] == [(2, "nightly", "every 3630 s"), (2, "nightly", "at 0 2 * * *")]


def test_it_is_called_with_the_host_alone():
    script = loaded("@every(minutes=1)\ndef tick(host):\n    host.log(f'tick {host.now():%H:%M}')\n")
    result = script.run(frames.Event(1, "tick", 60.0), lambda *_: [])
    assert (result.failure, result.log) == (None, [("info", "tick 00:01")])


def test_only_what_has_a_schedule_is_called():
    script = loaded("def tick(host):\n    host.log('no')\ndef filter_finds(host):\n    pass\n")
    for name in ("tick", "filter_finds", "print"):
        failure = script.run(frames.Event(1, name, 0.0), lambda *_: []).failure
        assert failure.type == "LookupError"


def test_a_helper_offers_functions_by_the_clock_to_who_imports_them():
    helper = (
        "@every(minutes=5)\ndef sweep(host):\n    host.log('swept')\n@every(minutes=5)\ndef unused(host):\n    pass\n"
    )
    script = loaded("from lib.jobs import sweep as tidy\n", jobs=helper)
    assert [(one.function, one.file, one.line) for one in script.schedules] == [("tidy", "lib/jobs.py", 1)]
    assert script.run(frames.Event(1, "tidy", 0.0), lambda *_: []).log == [("info", "swept")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("@every()\ndef f(host): pass", "from a second to 366 days"),
        ("@every(seconds=0.5)\ndef f(host): pass", "from a second"),
        ("@every(days=400)\ndef f(host): pass", "366 days"),
        ("@every(minutes=float('nan'))\ndef f(host): pass", "from a second"),
        ("@every(minutes=True)\ndef f(host): pass", "takes numbers"),
        ("@every(minutes='1')\ndef f(host): pass", "takes numbers"),
        ("@every(10)\ndef f(host): pass", "positional"),
        ("@cron('')\ndef f(host): pass", "a cron expression has up to"),
        ("@cron(5)\ndef f(host): pass", "must be a text"),
        ("@cron('* ' * 60)\ndef f(host): pass", "up to 100 characters"),
        ("@every\ndef f(host): pass", "positional"),
        ("every(minutes=1)(len)", "for a function"),
        ("@every(minutes=1)\nclass A: pass", "for a function"),
        ("@every(minutes=1)\ndef on_stored_instance(instance, host): pass", "of another name"),
        ("@every(minutes=1)\ndef f(): pass", r"called with \(host\)"),
        ("@every(minutes=1)\ndef f(a, host): pass", r"called with \(host\)"),
        ("@every(minutes=1)\ndef f(host, *, b): pass", r"called with \(host\)"),
        ("keep = [every(minutes=1)(lambda host: None)]", "at the top level"),
        (
            "def outer():\n    @every(minutes=1)\n    def f(host): pass\n    return f\nkept = [outer()]",
            "at the top level",
        ),
        ("\n".join(f"@every(minutes=1)\ndef f{n}(host): pass" for n in range(101)), "up to 100 schedules"),
    ],
)
def test_what_makes_no_sense_is_refused(text, says):
    with pytest.raises(RefusedScriptError) as refused:
        loaded(text)
    assert any(re.search(says, problem.message) for problem in refused.value.problems), [
        problem.message for problem in refused.value.problems
    ]


def test_the_names_can_be_used_for_something_else():
    script = loaded("def every(x):\n    return x\ncron = 5\n@every\ndef f(host):\n    pass\n")
    assert script.schedules == []
