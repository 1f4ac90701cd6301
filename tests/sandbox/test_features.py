"""The table of the language is true."""

import sys

import pytest
from sandbox_support import make_load

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
