"""The language of scripts, feature by feature: what is there, what is not, and why. Documentation and tests read this table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature of Python with an example; `refused` says why scripts do not have it, '' where they do.

    `since` is the Python (3.`since`) that brought it.
    """

    name: str
    example: str
    refused: str = ""
    since: int = 11


_OUT = "it reaches out of the script"
_DEFINES = "Python hands it classes, exceptions or names of attributes"

FEATURES: tuple[Feature, ...] = (
    Feature("assignment, also to items and attributes", "d = {}\nd['a'] = 1\na, (b, *c) = 1, (2, 3, 4)"),
    Feature("augmented assignment, also to items and attributes", "d = {'a': 1}\nd['a'] += 1\nn = 2\nn **= 3"),
    Feature("`del`", "d = {'a': 1}\ndel d['a']"),
    Feature("annotations of variables, parameters and results; they are never evaluated", "x: int = 3\ndef f(a: Nowhere) -> None:\n    pass"),
    Feature("`if`, `while`, `for`, `else`, `break`, `continue`", "for i in [1, 2]:\n    if i:\n        continue\nelse:\n    pass"),
    Feature("`match`", "match {'a': [1, 2]}:\n    case {'a': [first, *rest]} if first:\n        pass\n    case str() | None:\n        pass"),
    Feature("`def`, `lambda`, defaults, keyword-only and positional-only parameters", "def f(a, /, b=1, *c, d=2, **e):\n    return a\nf(1)"),
    Feature("decorators, closures, `global` and `nonlocal`", "def f():\n    x = 1\n    def g():\n        nonlocal x\n        x += 1\n    g()\n    return x\nassert f() == 2"),
    Feature("generators", "def g():\n    yield 1\n    yield from [2]\nassert list(g()) == [1, 2]"),
    Feature("comprehensions", "x = [a for a in range(3) if a]\ny = {a: 1 for a in x}"),
    Feature("the walrus, chained comparison, conditional expressions, slices", "if (n := 3) > 2 > 1:\n    x = [1, 2, 3][::2] if n else None"),
    Feature("f-strings with format specifications, and `%`", "x = f'{3.14159:.2f} {1 + 1 = } {\"a\"!r:>5}'\ny = '%05d' % 42"),
    Feature("quotes of the same kind within an f-string", "x = f'{'a'}'", since=12),
    Feature("unpacking in calls and displays", "x = [*range(3)]\ny = {**{'a': 1}}\nprint(*x, **{'sep': ','})"),
    Feature("`try`, `except`, `else`, `finally`, `raise`, `assert`", "try:\n    raise ValueError('x')\nexcept (ValueError, KeyError) as error:\n    pass\nfinally:\n    pass"),
    Feature("classes, with fields, inheritance from own classes and from common exceptions", "class A:\n    n: int = 1\nclass B(A):\n    def __init__(self):\n        self.m = 2\nb = B()\nb.n += 1"),
    Feature("`@property`, `@staticmethod`, `@classmethod`", "class A:\n    @property\n    def x(self):\n        return 1\nassert A().x == 1"),
    Feature(
        "special methods `__init__`, `__repr__`, `__str__`, `__len__`, `__bool__`, `__iter__`, `__next__`, `__contains__`, `__getitem__`, `__call__`, "
        "`__hash__`, `__add__`, `__sub__`, and comparison",
        "class A:\n    def __len__(self):\n        return 3\nassert len(A()) == 3",
    ),
    Feature("`import` of the modules below, and of your own in `lib/`", "import math\nfrom json import loads as read"),
    Feature("`with`, for what has it", "def f(x):\n    with x as y:\n        pass"),
    Feature("`from __future__ import annotations`", "from __future__ import annotations"),
    Feature("names and attributes that begin with `_`, but for `_` itself", "x = (1).__class__", "they lead from any object to all of Python"),
    Feature("other special methods, as `__enter__`, `__getattr__`, `__del__`, `__slots__`", "class A:\n    def __getattr__(self, name):\n        pass", _DEFINES),
    Feature("`metaclass=`", "class A(metaclass=type):\n    pass", _DEFINES),
    Feature("`str.format`, `format_map`", "x = '{}'.format(1)", "a format string reads any attribute; use an f-string"),
    Feature("`open`, `input`, `exec`, `eval`, `compile`, `globals`, `vars`, `dir`, `super`", "x = eval('1')", _OUT),
    Feature("`async`, `await`", "async def f():\n    pass", "what takes time is an action, carried out after the run"),
    Feature("`except*`", "try:\n    pass\nexcept* ValueError:\n    pass", "it confused types in Python 3.11 to 3.13 (CVE-2025-22153); use `except`"),
    Feature("`import *`", "from math import *", "what it binds does not stand in the text"),
    Feature("relative imports", "from . import x", "say `from lib.rules import x`"),
    Feature("other modules", "import os", _OUT),
    Feature("`type` statements, type parameters", "type X = int", "not audited; annotations do without", since=12),
    Feature("template strings", "x = t'{1}'", "they carry values past the guards; use an f-string", since=14),
)  # fmt: skip
"""In the order of the documentation."""
