"""What scripts get of the standard modules: every public name is offered, or withheld for a reason, on each Python."""

import ast
import importlib
import types

import pytest

import hostd.api
from hostd.sandbox import facades
from hostd.sandbox.facades.facade import WITHHELD, Facade
from hostd.scripting.zones import zones_for

STANDARD = [name for name in facades.MODULES if name != "hostd.api"]


def public(name):
    module = importlib.import_module(name)
    return {n for n in dir(module) if not n.startswith("_") and not isinstance(getattr(module, n), types.ModuleType)}


def offered(name):
    return set(object.__getattribute__(facades.MODULES[name], "_names"))


@pytest.mark.parametrize("name", STANDARD)
def test_every_public_name_of_a_module_is_offered_or_withheld_for_a_reason(name):
    forgotten = public(name) - offered(name) - WITHHELD[name].keys()
    assert not forgotten, (
        f"this Python's {name} has more: offer them in hostd/sandbox/facades, or withhold them for a reason"
    )
    assert all(WITHHELD[name].values())
    assert not offered(name) & WITHHELD[name].keys()


def names_given(value):
    return list(object.__getattribute__(value, "_names").values())


@pytest.mark.parametrize("name", facades.MODULES)
def test_no_facade_holds_a_module_a_type_of_types_or_an_enumeration(name):
    for value in names_given(facades.MODULES[name]):
        assert not isinstance(value, types.ModuleType)
        assert type(value) in (type, type(len), types.FunctionType, types.MethodType) or not isinstance(value, type), (
            value
        )
        assert not hasattr(type(value), "__members__"), f"{value!r} is a member of an enumeration"


@pytest.mark.parametrize("name", facades.MODULES)
def test_a_facade_has_no_name_by_which_python_would_fetch_the_real_module(name):
    for attribute in ("__name__", "__dict__", "__spec__", "__path__"):
        with pytest.raises(AttributeError):
            getattr(facades.MODULES[name], attribute)


def test_modules_that_are_not_offered_are_not_there_and_have_a_reason():
    assert not facades.NOT_OFFERED.keys() & facades.MODULES.keys()
    assert all(facades.NOT_OFFERED.values())


def test_editors_see_what_scripts_can_import_from_hostd_api():
    assert set(hostd.api.__all__) == offered("hostd.api")
    for name in hostd.api.__all__:
        assert getattr(hostd.api, name).__doc__


USES = {
    "import functools\n@functools.cache\ndef f(x):\n    return x + 1\nprint(f(1), f(1), functools.reduce(lambda a, b: a + b, [1, 2]), functools.partial(f, 4)())": "2 2 3 5",
    "from functools import lru_cache\n@lru_cache(maxsize=2)\ndef f(x):\n    return x\n@lru_cache\ndef g(x):\n    return x\nprint(f(3), g(4))": "3 4",
    "from functools import wraps, total_ordering\n@total_ordering\nclass A:\n    def __init__(self, n):\n        self.n = n\n    def __lt__(self, o):\n        return self.n < o.n\n    def __eq__(self, o):\n        return self.n == o.n\nprint(A(1) <= A(2), A(3) >= A(4))": "True False",
    "from operator import itemgetter, attrgetter, add\nprint(sorted([{'a': 2}, {'a': 1}], key=itemgetter('a')), attrgetter('real')(3), add(1, 2))": "[{'a': 1}, {'a': 2}] 3 3",
    "from decimal import Decimal, ROUND_HALF_UP\nprint(Decimal('1.25').quantize(Decimal('0.1'), ROUND_HALF_UP))": "1.3",
    "from fractions import Fraction\nprint(Fraction(1, 3) + Fraction(1, 6))": "1/2",
    "import calendar\nprint(calendar.monthrange(2024, 2), calendar.day_name[0], calendar.isleap(2024), calendar.FRIDAY)": "(3, 29) Monday True 4",
    "import copy\na = {'x': [1]}\nb = copy.deepcopy(a)\nb['x'] += [2]\nprint(a, b, copy.copy([1]))": "{'x': [1]} {'x': [1, 2]} [1]",
    "import textwrap, string, html\nprint(textwrap.shorten('hello wide world', 12), string.capwords('a b'), html.escape('<a>'))": "hello [...] A B &lt;a&gt;",
    "import heapq, bisect\nh = [3, 1]\nheapq.heapify(h)\nprint(heapq.heappop(h), bisect.bisect([1, 2, 3], 2))": "1 2",
    "import unicodedata\nprint(unicodedata.normalize('NFD', 'é')[0])": "e",
    "import uuid\nu = uuid.uuid5(uuid.NAMESPACE_OID, 'x')\nprint(u.int == int(u.hex, 16), len(u.bytes), f'2.25.{u.int}'[:5])": "True 16 2.25.",
    "from typing import Any, Optional, cast, TYPE_CHECKING\nRows = dict[str, Optional[int]]\nx: Any = cast(int, 3)\nprint(x, TYPE_CHECKING)": "3 False",
    "from collections.abc import Mapping, Iterable\nprint(isinstance({}, Mapping), isinstance(3, Iterable))": "True False",
    "from hostd.api import Instance, Host, PersonName, NotAllowed\nprint(isinstance(instance, Instance), isinstance(host, Host), isinstance(3, Instance), PersonName('a^b').given_name)": "True True False b",
    "import time\nprint(time.strptime('2024', '%Y').tm_year)": "2024",
    "import statistics\nprint(statistics.NormalDist(0, 1).cdf(0), statistics.correlation([1, 2, 3], [2, 4, 6]) > 0.99)": "0.5 True",
    "import collections.abc\nimport hostd.api\nprint(isinstance([], collections.abc.Sequence), collections.Counter('a'), isinstance(host, hostd.api.Host))": "True Counter({'a': 1}) True",
    "import hostd.api as api\nprint(isinstance(host, api.Host))": "True",
}  # fmt: skip


@pytest.mark.parametrize(("body", "shown"), USES.items(), ids=range(len(USES)))
def test_what_is_offered_works_in_the_jail(run, body, shown):
    ast.parse(body)
    result, printed = run(body)
    assert result.failure is None
    assert printed == [shown]


def test_a_time_zone_that_the_host_handed_over_works_in_the_jail(run):
    body = """
from zoneinfo import ZoneInfo
from datetime import datetime, timezone
z = ZoneInfo('Europe/Berlin')
print(datetime(2024, 7, 1, 12, tzinfo=timezone.utc).astimezone(z).isoformat(), z, datetime(2024, 1, 1, tzinfo=z).utcoffset())
try:
    ZoneInfo('Asia/Tokyo')
except KeyError as error:
    print('in quotes' in str(error))
"""
    zones = zones_for([body.replace("Asia/Tokyo", "x")], {})
    if not zones:
        pytest.skip("this system has no IANA time zones")
    assert zones.keys() == {"Europe/Berlin"}
    _, printed = run(body, zones=zones)
    assert printed == ["2024-07-01T14:00:00+02:00 Europe/Berlin 1:00:00", "True"]


def test_a_time_zone_hands_the_one_behind_it_to_no_object_of_a_script(run):
    body = """
from zoneinfo import ZoneInfo
class Moment:
    def replace(self, tzinfo):
        got(tzinfo)
        return self
    def toordinal(self):
        return 1
for name in ('fromutc', 'utcoffset', 'dst', 'tzname'):
    try:
        getattr(ZoneInfo('Europe/Berlin'), name)(Moment())
    except (TypeError, AttributeError):
        print(name)
"""
    zones = zones_for([body], {})
    if not zones:
        pytest.skip("this system has no IANA time zones")
    _, printed = run(body, zones=zones)
    assert printed == ["fromutc", "utcoffset", "dst", "tzname"]


def test_zones_are_fetched_only_for_scripts_that_use_them_and_from_no_other_folder():
    assert zones_for(["'Europe/Berlin'"], {}) == {}
    assert zones_for(["import zoneinfo\n'../../../etc/passwd' '/etc/passwd' 'Nowhere/There'"], {"zone": "../x"}) == {}


def test_a_facade_says_what_is_not_offered():
    with pytest.raises(AttributeError, match="`pathlib` is not offered"):
        _ = Facade({}).pathlib
