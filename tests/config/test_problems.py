from __future__ import annotations

from contextlib import suppress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostd.config.environment import over
from hostd.config.problems import dotted, line_of
from hostd.config.settings import Settings, load
from hostd.errors import ConfigurationError

TEXT = """\
# port = 1
[http]
port = 1   # port
"host" = 'x'
[ scripts . "a.b.py" ]
config.deep = 1
may = [
  "delete",
]
[modalities]
inline = { aet = "A" }
[[ingest.rules]]
x = 1
"""


def test_the_line_of_a_key_is_found():
    assert line_of(TEXT, ("http", "port")) == 3
    assert line_of(TEXT, ("http", "host")) == 4
    assert line_of(TEXT, ("scripts", "a.b.py", "config", "deep")) == 6
    assert line_of(TEXT, ("scripts", "a.b.py", "may", 0)) == 7
    assert line_of(TEXT, ("ingest", "rules")) == 12


def test_the_line_of_a_key_in_a_list_of_tables_is_that_of_its_own_table():
    text = "[[ingest.rules]]\na = 1\n[[ingest.rules]]\nb = 1\na = 2\n[ingest]\nc = 1\n"
    assert line_of(text, ("ingest", "rules", 0, "a")) == 2
    assert line_of(text, ("ingest", "rules", 1, "a")) == 5
    assert line_of(text, ("ingest", "rules", 1, "zebra")) == 3
    assert line_of(text, ("ingest", "c")) == 7


def test_the_nearest_table_stands_for_a_key_that_is_not_there():
    assert line_of(TEXT, ("http", "enabled")) == 2
    assert line_of(TEXT, ("modalities", "inline", "port")) == 11
    assert line_of(TEXT, ("log", "level")) is None


def test_a_key_is_written_as_one_writes_it():
    assert dotted(("scripts", "a.b.py", "may", 0)) == 'scripts."a.b.py".may[0]'


WORDS = st.sampled_from(
    ["http", "port", "peers", "scripts", "a.b", "x", '"\\q"', "'y'", "may", "[", "]", "=", "1", "{", "}"]
)
LINES = st.lists(
    st.lists(WORDS | st.sampled_from(['"""', "'''", ".", ",", '"z"']), max_size=7).map(" ".join), max_size=8
)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(LINES.map("\n".join))
def test_whatever_is_in_the_file_only_a_configuration_error_comes_of_it(config, text):
    line_of(text, ("http", "port"))
    with suppress(ConfigurationError):
        assert isinstance(config.load(text), Settings)


NAMES = st.lists(st.sampled_from(["", "HTTP", "port", "PEERS", "SCRIPTS", "X", "MAY", "X_PY", "É"]), max_size=4)
VALUES = st.sampled_from(["", "1", "a,b", "{}", "[", '{"x": {"url": 1}}', "null", "[[]]", "\x00", "1e999"])


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(NAMES.map(lambda parts: "HOSTD_" + "__".join(parts)), VALUES, max_size=4))
def test_whatever_is_in_the_environment_only_a_configuration_error_comes_of_it(environ):
    with suppress(ConfigurationError):
        assert isinstance(load(None, environ=environ), Settings)


def test_values_of_the_file_are_not_changed_by_laying_the_environment_over_them():
    values = {"http": {"port": 1}}
    assert over(values, {"HOSTD_HTTP__PORT": "2"}, Settings).values == {"http": {"port": "2"}}
    assert values == {"http": {"port": 1}}
