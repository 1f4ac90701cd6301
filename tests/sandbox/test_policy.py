"""The language of scripts: what honest scripts may write, and how a refusal reads."""

import pytest
from sandbox_support import make_load

from hostd.sandbox import policy, reading
from hostd.sandbox.run import World
from hostd.sandbox.script import RefusedScriptError, Script

WORKS = {
    "d = {'k': 1}\nd['k'] += 2\nprint(d)": "{'k': 3}",
    "d = {'a': {'b': [1]}}\nd['a']['b'] += [2]\nd['a']['b'][0] -= 5\nprint(d)": "{'a': {'b': [-4, 2]}}",
    "x = [1, 2, 3, 4]\nx[1:3] += [9]\nx[0:1] = [7]\nprint(x)": "[7, 2, 3, 9, 4]",
    "class A:\n    n: int = 1\n    m: str\na = A()\na.n += 2\na.b = A()\na.b.b = a\na.b.b.n *= 2\nprint(a.n)": "6",
    "class A:\n    def __init__(self, x: int) -> None:\n        self.x = x\n    def double(self) -> 'Nothing':\n        return self.x * 2\nprint(A(4).double())": "8",
    "class Odd(ValueError):\n    pass\ntry:\n    raise Odd('why')\nexcept ValueError as e:\n    print(type(e), e)": "Odd why",
    "class A:\n    total = 0\nA.total += 3\nprint(A.total)": "3",
    "x: int = 3\nx += 1\ny: list[Nothing]\nprint(x)": "4",
    "a, (b, *c) = 1, (2, 3, 4)\nprint(a, b, c)": "1 2 [3, 4]",
    "for i, (k, v) in enumerate({'a': 1}.items()):\n    print(i, k, v)": "0 a 1",
    "print([x * y for x, y in zip([1, 2], [3, 4]) if x])": "[3, 8]",
    "print(sorted({'b', 'a'}), min(3, 1), sum([1, 2]), any([0, 1]))": "['a', 'b'] 1 3 True",
    "def f(*a, k=1, **kw):\n    return a, k, kw\nprint(f(*[1], **{'z': 2}))": "((1,), 1, {'z': 2})",
    "def g():\n    yield 1\n    yield from [2, 3]\nprint(list(g()))": "[1, 2, 3]",
    "print(f'{3.14159:.2f} {\"a\"!r:>5}', '%05d' % 42)": "3.14   'a' 00042",
    "if (n := len('abc')) > 2:\n    print(n)": "3",
    "n = 0\ndef f():\n    global n\n    n += 1\nf()\nprint(n)": "1",
    "from __future__ import annotations\nprint(1)": "1",
    "import json\nprint(json.loads(json.dumps({'a': [1]}, sort_keys=True)))": "{'a': [1]}",
    "import re\nprint(re.sub(r'(\\d+)', lambda m: str(int(m[1]) + 1), 'a9', flags=re.I))": "a10",
    "from datetime import datetime, timedelta\nprint(datetime.strptime('20240131', '%Y%m%d') + timedelta(days=1))": "2024-02-01 00:00:00",
    "import datetime as d\nprint(d.date(2024, 1, 31).strftime('%d.%m.%Y'))": "31.01.2024",
    "from collections import Counter, defaultdict, deque, OrderedDict\nc = Counter('aab')\nc['b'] += 5\nx = defaultdict(list)\nx[1].append(2)\nx[3] += [4]\nprint(c.most_common(1), dict(x))": "[('b', 6)] {1: [2], 3: [4]}",
    "import hashlib, base64\nprint(hashlib.sha256(b'x').hexdigest()[:8], base64.b64encode(b'x'))": "2d711642 b'eA=='",
    "import statistics, math, itertools, string\nprint(statistics.median([1, 9, 2]), math.ceil(1.2), list(itertools.islice(itertools.count(), 2)), string.digits)": "2 2 [0, 1] 0123456789",
    "import uuid, random, time\nprint(len(uuid.uuid4()), len(uuid.uuid5(uuid.NAMESPACE_OID, 'x')), 0 <= random.random() < 1, time.time() > 1e9)": "36 36 True True",
    "grün = 1\nprint(grün, type(grün), isinstance(grün, int), getattr('x', 'nothing', 5), hasattr('x', 'upper'))": "1 int True 5 True",
    "try:\n    1 / 0\nexcept ZeroDivisionError:\n    print('caught')\nfinally:\n    pass": "caught",
}  # fmt: skip


@pytest.mark.parametrize(("source", "shown"), WORKS.items(), ids=range(len(WORKS)))
def test_what_people_write_every_day_works(harness, source, shown):
    # In a handler of the jailed worker, where nothing can be imported any more: the module body, and the log of the run.
    body = "\n    ".join(source.splitlines())
    if "global" in source or "__future__" in source:
        assert Script(make_load(source)).load_log == [("info", shown)]
    else:
        verdict = harness.examine(f"def on_stored_instance(instance, host):\n    {body}\n")
        assert (verdict.refused, verdict.result.failure) == ([], None)
        assert verdict.result.log == [("info", shown)]


REFUSED = {
    "import os": (
        1,
        "module `os` is not offered to scripts (a script reaches no file and no process); there are: base64, bisect",
    ),
    "x = 1\nfrom json import JSONDecoder": (2, "`json.JSONDecoder` is not offered to scripts"),
    "match 1:\n    case int(__class__=x):\n        pass": (2, "`__class__` is not offered to scripts"),
    "try:\n    pass\nexcept* ValueError:\n    pass": (1, "use `except`"),
    "async def f():\n    pass": (1, "what takes time is an action"),
    "x = (1).__class__": (1, "__class__"),
    "def f(:\n    pass": (1, "syntax error"),
    "x = 1\n  y = 2": (2, "syntax error"),
    "def on_start():\n    pass": (1, "write `def on_start(host):`"),
    "def on_stored_instance(instance):\n    pass": (1, "write `def on_stored_instance(instance, host):`"),
    "def on_stored_instance(instance, host, more):\n    pass": (1, "write `def on_stored_instance(instance, host):`"),
    "x = 1\n\n1 / 0": (3, "failed while it was loaded: ZeroDivisionError: division by zero"),
    "print('a'.format(1))": (1, "use an f-string"),
}


@pytest.mark.parametrize(("source", "line", "says"), [(s, *e) for s, e in REFUSED.items()], ids=REFUSED)
def test_a_script_that_cannot_be_used_is_refused_with_line_and_reason(source, line, says):
    with pytest.raises(RefusedScriptError) as refused:
        Script(make_load(source))
    assert [problem.line for problem in refused.value.problems] == [line]
    assert says in refused.value.problems[0].message


def test_all_problems_are_named_at_once():
    with pytest.raises(RefusedScriptError) as refused:
        Script(make_load("import os\nx._y\nasync def f(): pass\n"))
    assert [problem.line for problem in refused.value.problems] == [1, 2, 3]


def test_an_annotation_is_never_evaluated(harness):
    verdict = harness.examine("def on_stored_instance(instance: 1 / 0, host) -> 1 / 0:\n    x: 1 / 0 = 3\n")
    assert verdict.result.failure is None


def test_handler_parameters_may_have_any_names_and_defaults():
    for parameters in ("i, h", "*a", "i, *rest", "i, h, more=1", "i, /, h", "i, h, *, k=1"):
        assert Script(make_load(f"def on_stored_instance({parameters}):\n    pass\n")).handlers == [
            "on_stored_instance"
        ]


def read(source):
    return reading.read(policy.parse(source), World(make_load(source)))


def test_reading_finds_handlers_destinations_and_keywords_with_their_places():
    source = (
        "def on_stored_instance(instance, host):\n"
        "    if instance.tags.Modality == 'CT' and 'StudyID' in instance.tags:\n"
        "        host.forward(instance, to='archive')\n"
        "        host.forward(instance, 'ai')\n"
        "        host.forward(host.transcode(instance, 'j2k'), to=\"nowhere\")\n"
        "    tags = instance.tags\n"
        "    tags.get('PatientNam'), tags.Rows, tags['Columns'], instance.tags.text('Rowz')\n"
        "    tags.private('X', 1), tags[0x00100010]\n"
        "def on_stored_instanc(instance, host):\n    pass\n"
        "def filter_finds(query, host):\n    pass\n"
    )
    found = [(f.kind, f.name, f.line, f.column, bool(f.message)) for f in read(source)]
    assert found == [
        ("handler", "on_stored_instance", 1, 0, False),
        ("keyword", "Modality", 2, 21, False),
        ("keyword", "StudyID", 2, 42, False),
        ("destination", "archive", 3, 34, False),
        ("destination", "ai", 4, 31, True),
        ("syntax", "j2k", 5, 46, False),
        ("destination", "nowhere", 5, 57, True),
        ("unknown_keyword", "PatientNam", 7, 13, True),
        ("keyword", "Rows", 7, 33, False),
        ("keyword", "Columns", 7, 44, False),
        ("unknown_keyword", "Rowz", 7, 75, True),
        ("unknown_handler", "on_stored_instanc", 9, 0, True),
        ("unknown_handler", "filter_finds", 11, 0, True),
    ]
    messages = {f.name: f.message for f in read(source)}
    assert "did you mean on_stored_instance?" in messages["on_stored_instanc"]
    assert "did you mean PatientName?" in messages["PatientNam"]
    assert 'destinations = ["archive", "ai"]' in messages["ai"]


def test_reading_finds_a_filter_that_wants_to_know_of_pixels():
    uses = "    if True:\n        print(x.pixels and x.tags.pixels)\n"
    load = World(make_load("", may=["filters"]))
    found = reading.read(policy.parse(f"def filter_received_instance(x, host):\n{uses}"), load)
    (problem,) = reading.problems(found)
    assert (problem.line, problem.column, problem.name) == (3, 14, "filter_received_instance")
    assert "look at them in on_stored_instance" in problem.message
    assert reading.problems(reading.read(policy.parse(f"def on_stored_instance(x, host):\n{uses}"), load)) == []


def test_reading_does_not_take_other_calls_for_destinations_or_keywords():
    assert (
        read("d = {}\nd.get('x')\n'x' in d\nd['x']\nmail.forward(1)\nforward(1, 'archive')\nx.forward(1, to=name)")
        == []
    )
