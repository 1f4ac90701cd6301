"""A script worker for tests: the real policy, in the real jail or without one, but many scripts one after another, each examined.

Scripts find one more name, `got(x)`, and say with it "this is what I reached". The harness, which has all of Python, judges
it: everything is an escape that is not plain data, a view of the API, or what the script was given or made itself.

Started as a process of its own by `conftest.py`; it is no test and is imported by none.
"""

import builtins
import collections
import collections.abc
import datetime as dt
import decimal
import encodings
import fractions
import functools
import itertools
import re
import resource
import socket
import statistics
import sys
import time
import types
import warnings
from pathlib import Path

import msgspec
from RestrictedPython import RestrictingNodeTransformer

from hostd.sandbox import (
    api,
    facades,
    frames,
    guards,
    jail,
    levels,
    library,
    namespace,
    pixels,
    policy,
    run,
    script,
    tags,
    values,
    views,
)
from hostd.sandbox.channel import Channel
from hostd.sandbox.facades import facade, numbers, text
from hostd.sandbox.orthanc import session, spelling, tables

CANARY = "canary-6d0b2f"
WITHOUT_JAIL = "without jail"
PLAIN = (type(None), facade.Inert, text.Uuid, numbers.Zone, decimal.Decimal, fractions.Fraction, statistics.NormalDist, bool, int, float, complex, str, bytes, type(...), type(NotImplemented), range, slice,
         dt.date, dt.datetime, dt.time, dt.timedelta, dt.timezone, time.struct_time, re.Pattern, re.Match,
         values.PersonName, values.DateText, values.TimeText, values.DateTimeText)  # fmt: skip
CONTAINERS = (list, tuple, set, frozenset, dict, collections.deque)
VIEWS = (
    api.Host,
    views.Instance,
    tags.Tags,
    pixels.Pixels,
    views.Origin,
    views.TransferSyntax,
    views.Receipt,
    views.Handle,
    views.Delivery,
    levels.Series,
    levels.Study,
    levels.Patient,
    levels.LevelTags,
    levels.Instances,
    levels._Walk,
    session.Chain,
    spelling.Verb,
    tables.SimplifiedTags,
    tables.Metadata,
    tables.Table,
)
ITERATORS = (types.GeneratorType, zip, map, filter, enumerate, reversed, itertools.count, itertools.cycle, itertools.chain,
             itertools.islice, itertools.groupby, type(iter([])), type(iter(())), type(iter("")), type(iter({})),
             type(iter(set())), type(iter(range(1))))  # fmt: skip
METHODS = (types.BuiltinMethodType, types.MethodType, types.MethodWrapperType)
UNBOUND = (types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType)


def given() -> dict[int, object]:
    """Return everything that a script is given by name, by identity."""
    found = list(ORIGINAL_BUILTINS().values())
    for module in facades.MODULES.values():
        found += [module, *object.__getattribute__(module, "_names").values()]
    return {id(value): value for value in [*found, *api.SCRIPT_EXCEPTIONS.values()]}


def escape(x: object, depth: int = 0) -> str | None:
    """Say why something is an escape; None when it is not."""
    if isinstance(x, str) and CANARY in x:
        return "the canary"
    if depth > 6 or id(x) in GIVEN or type(x) in PLAIN or isinstance(x, (dt.timezone, complex, str, bytes)):
        return None
    if (
        isinstance(x, guards.ScriptType)
        or isinstance(type(x), guards.ScriptType)
        or isinstance(x, (BaseException, *ITERATORS))
    ):
        return None
    if isinstance(x, dict):
        if "__builtins__" in x or "__import__" in x or "__name__" in x:
            return "a namespace"
        return next(filter(None, (escape(y, depth + 1) for pair in list(x.items())[:100] for y in pair)), None)
    if isinstance(x, CONTAINERS):
        return next(filter(None, (escape(y, depth + 1) for y in list(x)[:100])), None)
    if type(x) in VIEWS:
        return None
    if isinstance(x, types.FunctionType) and policy.file_of(x.__code__.co_filename) is not None:
        return None
    if isinstance(x, UNBOUND):
        return None if id(x.__objclass__) in GIVEN else f"a method of {x.__objclass__}"
    if isinstance(x, METHODS) and x.__self__ is not None and not isinstance(x.__self__, types.ModuleType):
        if x.__name__ in ("format", "format_map") and isinstance(x.__self__, str):
            return "str.format"
        return escape(x.__self__, depth + 1)
    if isinstance(x, (property, staticmethod, classmethod)):
        return next(
            filter(None, (escape(getattr(x, n, None), depth + 1) for n in ("fget", "fset", "fdel", "__func__"))), None
        )
    if isinstance(x, functools._lru_cache_wrapper):
        return escape(x.__wrapped__, depth + 1)
    if type(x) in (facade.Facade, library._Live):  # what a package or a helper of the script's own leads to
        names = [(n, v) for n, v in object.__getattribute__(x, "_names").items() if not n.startswith("_")]
        return next(filter(None, (escape(v, depth + 1) for _, v in names)), None)
    if isinstance(x, functools.partial):
        return escape([x.func, x.args, x.keywords], depth + 1)
    if isinstance(x, types.FunctionType) and x.__module__.startswith(
        ("hostd.sandbox.facades.", "hostd.sandbox.schedules")
    ):
        return next(filter(None, (escape(cell.cell_contents, depth + 1) for cell in x.__closure__ or ())), None)
    if isinstance(x, types.FunctionType) and x.__qualname__ == "Script._printer.<locals>.print_":
        return None
    if isinstance(x, types.FunctionType) and x.__module__ in ("collections", "datetime"):
        return None  # a method of a class that is given, by its class
    if isinstance(x, types.GenericAlias):
        return escape(x.__origin__, depth + 1)
    if isinstance(x, types.UnionType):  # `int | str`, for isinstance
        return escape(x.__args__, depth + 1)
    if type(x).__module__ in ("_hashlib", "_blake2", "re", "_sre"):
        return None
    return f"{type(x)} {str(x)[:80]}"


def names_of(facade):
    """Return what a module of scripts offers, also where a weakened policy has put a real one."""
    return vars(facade) if isinstance(facade, types.ModuleType) else object.__getattribute__(facade, "_names")


def fingerprint() -> object:
    """Return what no script may have changed."""
    return (
        {name: {n: id(v) for n, v in names_of(facade).items()} for name, facade in facades.MODULES.items()},
        {name: id(value) for name, value in ORIGINAL_BUILTINS().items()},
        {cls.__name__: sorted(vars(cls)) for cls in (*VIEWS, facades.Facade, guards.ScriptType, run.Run, Exception, ValueError)},
        len(jail._CALLS), sys.getrecursionlimit(),
    )  # fmt: skip


def weaken(how: str) -> None:
    """Take one guard away, to see that the corpus notices."""
    if how == "getattr":
        namespace.Language.builtins = classmethod(lambda cls: ORIGINAL_BUILTINS() | {"getattr": getattr, "got": got})
    elif how == "type":
        namespace.Language.builtins = classmethod(lambda cls: ORIGINAL_BUILTINS() | {"type": type, "got": got})
    elif how == "modules":
        for name in ("json", "re", "datetime", "statistics", "random", "base64", "string", "uuid"):
            facades.MODULES[name] = sys.modules[name]
        facades.MODULES |= {"os": sys.modules["os"]}
        policy.Policy.visit_ImportFrom = RestrictingNodeTransformer.visit_ImportFrom
    elif how == "shims":
        for name in ("json", "collections"):
            shim = types.ModuleType(name)
            vars(shim).update(object.__getattribute__(facades.MODULES[name], "_names"))
            facades.MODULES[name] = shim
        policy.Policy.visit_ImportFrom = RestrictingNodeTransformer.visit_ImportFrom
    elif how == "names":
        policy.Policy.check_name = lambda *_, **__: None
    elif how == "attributes":
        policy.Policy.visit_Attribute = RestrictingNodeTransformer.node_contents_visit
    elif how == "writes":
        real = namespace.Language.namespace
        namespace.Language.namespace = classmethod(lambda cls, extra: real(extra) | {"_write_": lambda owner: owner})

    elif how == "spelling":
        spelling.Verb = lambda name, call: call
    elif how == "patterns":
        policy.Policy._check_attribute = lambda *_: None
    elif how == "pattern names":
        for node in ("MatchStar", "MatchAs", "MatchMapping"):
            setattr(policy.Policy, f"visit_{node}", RestrictingNodeTransformer.node_contents_visit)
    elif how == "methods":
        policy.METHODS = AnyName()
    elif how == "bases":
        guards._BASES = AnyBase()
    elif how == "hidden":
        guards.HIDDEN = frozenset()
    elif how == "builtins":
        namespace.Language.builtins = classmethod(
            lambda cls: (
                ORIGINAL_BUILTINS() | {n: getattr(builtins, n) for n in ("setattr", "delattr", "id")} | {"got": got}
            )
        )
    elif how == "static imports":
        policy.Policy.visit_Import = policy.Policy.visit_ImportFrom = RestrictingNodeTransformer.check_import_names
    elif how == "helpers":
        policy.Policy.visit_Import = policy.Policy.visit_ImportFrom = RestrictingNodeTransformer.node_contents_visit
        library._Live.__getattr__ = facade.Facade.__getattr__
    elif how in REAL:
        module, names = REAL[how]
        real = sys.modules[module]
        module = module.replace("hostd.sandbox.api", "hostd.api")
        facades.MODULES[module] = facades.MODULES[module].joined({n: getattr(real, n) for n in names.split()})


class AnyName:
    """Holds every name."""

    def __contains__(self, name):
        return True


class AnyBase:
    """Every class may be a base."""

    def __iter__(self):
        return iter([Exception, str, dict, int, object, api.NotAllowed, collections.abc.Mapping])


REAL = {
    # guard: (module, names that a script would get as they are)
    "operator": ("operator", "attrgetter methodcaller setitem iadd"),
    "functools": ("functools", "wraps update_wrapper total_ordering lru_cache cached_property singledispatch"),
    "copy": ("copy", "copy deepcopy dispatch_table"),
    "decimal": ("decimal", "getcontext localcontext"),
    "fractions": ("fractions", "Fraction Decimal"),
    "calendar": ("calendar", "calendar setfirstweekday day_name MONDAY"),
    "textwrap": ("textwrap", "wrap TextWrapper"),
    "string": ("string", "capwords Formatter Template"),
    "html": ("html", "escape"),
    "uuid": ("uuid", "uuid1 uuid4 UUID NAMESPACE_DNS"),
    "flags": ("re", "I M IGNORECASE A RegexFlag Pattern Match"),
    "typing": ("typing", "Any Optional Union NamedTuple ForwardRef get_type_hints"),
    "abc": ("collections.abc", "Mapping"),
    "hostd": ("hostd.sandbox.api", "Handle Host Instance"),
    "zones": ("zoneinfo", "ZoneInfo TZPATH reset_tzpath"),
    "random": ("random", "seed Random"),
    "json": ("json", "dumps dump loads"),
}


escapes: list[str] = []
OUTSIDE = ("open", "socket.", "subprocess.", "os.", "ctypes.", "shutil.", "tempfile.", "glob.", "mmap.", "code.__new__")
"""How the names of those of Python's audit events begin that tell of an effect outside the plan (PEP 578)."""
CODECS = str(Path(encodings.__file__).parent)
examining: list[object] = []


def watch(event: str, args: tuple[object, ...]) -> None:
    """Take what a probe does outside its plan for an escape, also where no jail hinders it.

    Python itself looks for the file of what it cannot parse, which has none, and for the codec of an encoding that it does not know.
    """
    is_of_python = bool(args) and (args[0] == policy.FILENAME or str(args[0]).startswith(CODECS))
    if examining and event.startswith(OUTSIDE) and not is_of_python:
        escapes.append(f"the audit event {event}")


def got(x: object) -> None:
    """Judge what a probe has reached."""
    why = escape(x)
    if why is not None:
        escapes.append(why)


ORIGINAL_BUILTINS = namespace.Language.builtins
GIVEN = given()


class Probe(msgspec.Struct):
    load: frames.Load
    event: frames.Event


class Verdict(msgspec.Struct):
    escapes: list[str]
    refused: list[frames.Finding]
    result: frames.Result | None


def answered(path, verb="value", of="", about="", more=None, actions=None) -> list[object]:
    """Answer what a probe asks, as an honest host does: a search finds the event's own instance, and its study."""
    del about
    match verb:
        case "marks":
            return [{"Seen": f"of {of[:8]}"}, ["TRIAL7"]]
        case "find":
            return [0, 2]
        case "found":
            return [msgspec.to_builtins(EVENT[-1].instance), dict(FOUND)][path[1] :]
        case "delivered_to":
            return [more["destination"] == "archive"]
        case "state":
            return [{"kept": ["x"]}]
        case "product":
            return [500, 1000 * len(actions)]
        case "members" | "first" | "origins":
            return []
        case "pixels":
            return [msgspec.to_builtins(frames.PixelFacts(0, 4095, 7.5, (3, 1), 2048, is_blank=False))]
        case _:
            return [f"fetched {path}"]


FOUND = {
    "level": "study", "id": "a study", "patient_id": "0042", "study_instance_uid": "1.2", "series_instance_uid": "",
    "count": 3, "tags": {0x00080060: ("CS", ["CT"])}, "known": [0x00080060],
}  # fmt: skip
EVENT: list[frames.Event] = []


def examine(probe: Probe) -> Verdict:
    """Run one script and say what it got."""
    escapes.clear()
    EVENT.append(probe.event)
    before = fingerprint()
    refused, result = [], None
    examining.append(probe)
    try:
        loaded = script.Script(probe.load)
        result = loaded.run(probe.event, answered)
    except script.RefusedScriptError as error:
        refused = error.problems
    finally:
        examining.clear()
    if fingerprint() != before:
        escapes.append("something that all scripts share was changed")
    return Verdict(list(escapes), refused, result)


def main(descriptor: int, how: str) -> None:
    """Answer probes until the connection ends."""
    facades.preload()
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda _: None
    namespace.Language.builtins = classmethod(lambda cls: ORIGINAL_BUILTINS() | {"got": got})
    weaken(how)
    channel = Channel(socket.socket(fileno=descriptor), Probe, max_receive=frames.MAX_FRAME)
    sys.addaudithook(watch)
    if how == WITHOUT_JAIL:
        resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))  # for the machine's sake: it keeps nothing in
    else:
        layers = jail.enter(memory_bytes=512 << 20, open_files=descriptor + 1, file_bytes=0)
        assert layers["seccomp"], layers
    while True:
        channel.send(examine(channel.receive()))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
