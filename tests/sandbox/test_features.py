"""The table of the language is true."""

import sys

import pytest
from sandbox_support import make_event, make_load

from hostd.sandbox.features import FEATURES
from hostd.sandbox.policy import METHODS
from hostd.sandbox.script import RefusedScriptError, Script

HERE = [feature for feature in FEATURES if sys.version_info >= (3, feature.since)]


@pytest.mark.parametrize("feature", HERE, ids=[feature.name[:40] for feature in HERE])
def test_a_feature_is_there_or_refused_as_the_table_says(feature):
    if not feature.refused:
        Script(make_load(feature.example))
        return
    with pytest.raises(RefusedScriptError):
        Script(make_load(feature.example))


def test_the_table_names_every_special_method():
    (row,) = [feature.name for feature in FEATURES if feature.name.startswith("special methods")]
    compared = {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"}
    assert {method for method in METHODS - compared if f"`{method}`" not in row} == set()


def test_a_handler_that_yields_is_refused_and_what_it_calls_may():
    with pytest.raises(RefusedScriptError) as refused:
        Script(make_load("def on_stored_instance(instance, host):\n    yield host.log('x')\n"))
    (problem,) = refused.value.problems
    assert (problem.line, problem.name) == (1, "on_stored_instance")
    assert "contains `yield`, so that a call of it does nothing" in problem.message
    inner = "def words():\n    yield 'x'\ndef on_stored_instance(instance, host):\n    for word in words():\n        host.log(word)\n"
    result = Script(make_load(inner)).run(make_event(), lambda *_: [])
    assert (result.failure, [text for _, text in result.log]) == (None, ["x"])


@pytest.mark.parametrize("returned", ["words(host)", "(host.log(word) for word in ['x'])"])
def test_a_handler_that_gives_a_generator_fails(returned):
    text = (
        f"def words(host):\n    yield host.log('x')\ndef on_stored_instance(instance, host):\n    return {returned}\n"
    )
    result = Script(make_load(text)).run(make_event(), lambda *_: [])
    assert "returned a generator, of which nothing was done" in result.failure.message
    assert result.log == []
