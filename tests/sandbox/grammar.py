"""Random scripts over the language of scripts and a little beyond: what a stranger, or a mistake, might write.

Bounded in depth; every program comes of its seed alone, so that one that escapes can be made again.
"""

import random

NAMES = ["a", "b", "c", "f", "A", "host", "instance", "x"]
ATTRIBUTES = [
    "tags", "id", "forward", "log", "config", "now", "real", "join", "items", "append", "update", "format", "PatientID", "origin", "fget", "func",
    "keywords", "key", "obj", "args", "get", "pop", "word", "copy", "mro", "with_traceback", "Thing", "fromkeys",
]  # fmt: skip
FORBIDDEN = [
    "__class__", "__dict__", "__globals__", "__self__", "__func__", "__base__", "__subclasses__", "__init__", "__builtins__", "_run", "_names",
    "_tags", "gi_frame", "f_back", "tb_next", "format_map", "__traceback__", "__code__",
]  # fmt: skip
PREAMBLE = """import lib.rules, operator, functools
a, b, c = {'x': [1]}, [1, 'y', {}], 'text'
def f(*p, **n):
    return p or n
class A:
    x = 1
    def m(self, *p):
        return p
x = A()
"""
RARELY = 0.02
"""How often a program says what the language refuses: one such place refuses all of it."""
MODULES = {
    "math": ["pi", "floor"], "json": ["dumps", "loads"], "re": ["compile", "I"], "datetime": ["datetime", "timezone"],
    "functools": ["partial", "reduce", "cache", "wraps"], "operator": ["attrgetter", "itemgetter", "methodcaller"],
    "collections": ["Counter", "deque", "defaultdict", "OrderedDict"], "itertools": ["chain", "count", "islice"], "uuid": ["uuid4", "UUID"],
    "hostd.api": ["Host", "Instance", "PersonName", "Handle", "Pixels"], "lib.rules": ["word", "TABLE", "Thing"], "os": ["path"], "copy": ["deepcopy"],
    "decimal": ["Decimal"], "typing": ["Any", "cast"], "fractions": ["Fraction"], "textwrap": ["fill"], "string": ["capwords"],
}  # fmt: skip
BUILTINS = [
    "getattr", "hasattr", "print", "len", "sorted", "map", "list", "dict", "str", "type", "isinstance", "sum", "iter", "next", "property", "classmethod",
    "format", "repr", "zip",  "object", "super", "bytes", "int", "ValueError", "NotAllowed", "PixelsUnknown",
]  # fmt: skip
OPERATORS = ["+", "-", "*", "%", "|", "&", "@", "==", "<", "in", "is", "and", "or"]


class Grammar:
    """Makes one program."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def program(self):
        body = "\n".join(self.tried(0) for _ in range(self.random.randint(1, 4)))
        inner = "\n".join("    " + line for line in "\n".join(self.tried(1) for _ in range(4)).splitlines())
        return f"{PREAMBLE}{body}\ndef on_stored_instance(instance, host):\n{inner}\n    got([a for a in (host, instance)])\n"

    def tried(self, depth):
        """A statement whose failure does not end the program."""
        lines = "\n".join("    " + line for line in self.statement(depth).splitlines())
        return f"try:\n{lines}\nexcept Exception as error:\n    got(error.args)"

    def pick(self, *choices):
        return self.random.choice(choices)

    def statement(self, depth):
        block = depth < 2
        simple = [self.assign, self.augment, self.use, self.use, self.imported, self.annotate, self.delete]
        compound = [self.function, self.class_, self.loop, self.attempt, self.match, self.with_]
        return self.random.choice(simple + compound if block else simple)(depth)

    def block(self, depth):
        lines = "\n".join(self.statement(depth + 1) for _ in range(self.random.randint(1, 3))).splitlines()
        return "\n".join("    " + line for line in lines)

    def assign(self, depth):
        return f"{self.target()} = {self.expression(3)}"

    def augment(self, depth):
        return f"{self.target()} {self.pick('+=', '|=', '*=', '@=')} {self.expression(2)}"

    def annotate(self, depth):
        return f"{self.name()}: {self.expression(1)} = {self.expression(2)}"

    def delete(self, depth):
        return f"del {self.target()}"

    def use(self, depth):
        return self.pick(
            f"got({self.expression(4)})",
            f"got(getattr({self.name()}, '{self.pick(*FORBIDDEN)}', None))",
            f"got({self.pick(*BUILTINS)}({self.expression(1)}))",
        )

    def imported(self, depth):
        module = self.pick(*MODULES)
        name = self.pick(*MODULES[module])
        if module == "os" and self.random.random() > RARELY:
            module, name = "math", "pi"
        return self.pick(
            f"import {module}", f"import {module} as {self.name()}", f"from {module} import {name} as {self.name()}"
        )

    def function(self, depth):
        head = self.pick("", "@property\n", "@classmethod\n", f"@{self.name()}\n")
        scope = self.pick("", "", "", "    global g\n", "    nonlocal g\n" if self.random.random() < RARELY else "")
        end = self.pick("return", "yield", "raise", "yield from")
        return f"{head}def {self.name()}({self.pick('a', 'self, a', '*a', 'a=1', 'a, /, b=2, *, c=3', 'self')}):\n{scope}{self.block(depth)}\n    {end} {self.expression(2)}"

    def class_(self, depth):
        base = self.pick("", "", "(ValueError)", "(str)", f"({self.name()})")
        method = self.pick("__init__", "__eq__", "__hash__", "__call__", "__iter__", "__str__", "__getitem__", "m")
        if self.random.random() < RARELY:
            method = self.pick("__getattr__", "__exit__", "__format__", "__class_getitem__")
        parameters = self.pick("self", "self, a", "self, *a", "self, a, b=None")
        inner = f"    {self.name()} = {self.expression(1)}\n    def {method}({parameters}):\n        got({self.expression(2)})\n        return {self.expression(1)}"
        return f"class {self.pick('A', 'a', 'B')}{base}:\n{inner}"

    def loop(self, depth):
        return f"for {self.pick(self.name(), 'a, b', '(a, *b)')} in [{self.expression(2)}]:\n{self.block(depth)}"

    def attempt(self, depth):
        caught = f"except {self.pick('Exception', 'AttributeError', 'KeyError')} as {self.name()}:"
        return f"try:\n{self.block(depth)}\n{caught}\n{self.block(depth)}\n    got({self.name()}.{self.attribute()})"

    def match(self, depth):
        return (
            f"match {self.expression(2)}:\n    case {self.pattern(2)}:\n        got([a])\n    case _:\n        got(1)"
        )

    def with_(self, depth):
        return f"with {self.expression(2)} as {self.name()}:\n{self.block(depth)}"

    def pattern(self, depth):
        if depth == 0:
            return self.pick("1", "None", "_", self.name(), "'x'")
        inner = self.pattern(depth - 1)
        return self.pick(
            inner, f"[{inner}, *{self.name()}]", f"{{'a': {inner}, **{self.name()}}}", f"({inner}) as {self.name()}", f"int.{self.attribute()}",
            f"{self.pick('str', 'int', 'Exception', 'A')}({self.attribute()}={inner})",
        )  # fmt: skip

    def target(self):
        return self.pick(self.name(), self.name(), f"{self.name()}.{self.attribute()}", f"{self.name()}['a']")

    def name(self):
        return self.pick(*NAMES)

    def attribute(self):
        return self.pick(*(FORBIDDEN if self.random.random() < RARELY else ATTRIBUTES))

    def expression(self, depth):
        if depth <= 0:
            return self.pick(
                self.name(),
                self.name(),
                "(1)",
                "'__class__'",
                "'{0.__class__}'",
                "'_run'",
                "None",
                "[]",
                "{}",
                "''",
                self.pick(*BUILTINS),
            )
        e = lambda: self.expression(depth - 1 - self.random.randint(0, 1))  # noqa: E731 - one line for each form
        return self.random.choice([
            lambda: f"{e()}.{self.attribute()}", lambda: f"{e()}.{self.attribute()}", lambda: f"{self.pick(*BUILTINS)}({e()})",
            lambda: f"getattr({e()}, {e()})", lambda: f"getattr({e()}, '{self.pick(*FORBIDDEN, *ATTRIBUTES)}', None)", lambda: f"{e()}({e()})", lambda: f"{e()}[{e()}]",
            lambda: f"({e()} {self.pick(*OPERATORS)} {e()})", lambda: f"[{e()} for {self.name()} in {e()} if {e()}]", lambda: f"(lambda {self.name()}: {e()})",
            lambda: f"{{{e()}: {e()}}}", lambda: f"({e()}, *{e()})", lambda: f"f'{{{self.name()}!r}}{{{self.name()}.{self.attribute()}}}'",
            lambda: f"({self.name()} := {e()})", lambda: f"({e()} if {e()} else {e()})", lambda: f"list(map({e()}, [{e()}, {e()}]))",
            lambda: f"sorted([{e()}], key={e()})", lambda: f"{self.name()}(*{e()}, **{e()})", lambda: f"({e()} for {self.name()} in [{e()}])", e,
        ])()  # fmt: skip
