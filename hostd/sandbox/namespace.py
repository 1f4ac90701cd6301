"""The names that a script finds without an import, and what `import` gives it."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any, ClassVar

from RestrictedPython.Guards import guarded_iter_unpack_sequence, guarded_unpack_sequence, safe_builtins

from hostd.sandbox import guards
from hostd.sandbox.facades import MODULES
from hostd.sandbox.facades.facade import Facade

_EMPTY = Facade({})


def guarded_import(
    name: str, _globals: object = None, _locals: object = None, wanted: object = (), level: int = 0
) -> Facade:
    """Import a facade. Never a real module. Without `wanted`, `import a.b` gives a bag that holds `b`."""
    if type(name) is str and level == 0:
        # `datetime.strptime` imports this from C, through the script's builtins; a script cannot write the name.
        if name == "_strptime":
            return _EMPTY
        if name in MODULES:
            return MODULES[name] if wanted else within(name, MODULES[name])
    raise ImportError("this module is not offered to scripts")


def within(name: str, facade: Facade) -> Facade:
    """Return what `import a.b` binds to `a`: a bag that leads to the module and to its neighbours that are offered."""
    top, _, rest = name.partition(".")
    if not rest:
        return facade
    siblings = {dotted.partition(".")[2]: one for dotted, one in MODULES.items() if dotted.startswith(f"{top}.")}
    if top not in MODULES:
        return Facade(siblings | {rest: facade})
    return MODULES[top].joined(siblings)


class Language:
    """The names that a script finds."""

    LEFT_OUT: ClassVar = frozenset({
        # These write without asking, tell addresses, or catch what must end a run.
        "setattr", "delattr", "id", "_getattr_", "BaseException", "SystemExit", "KeyboardInterrupt", "GeneratorExit",
        "SystemError", "MemoryError",
    })  # fmt: skip
    ADDED: ClassVar = (
        "all any bin bytes classmethod dict enumerate filter format frozenset iter list map max min next property reversed "
        "set sorted staticmethod sum tuple zip"
    )

    @classmethod
    def builtins(cls) -> dict[str, Any]:
        """Return a fresh dictionary of the builtins of a script."""
        names = {name: value for name, value in safe_builtins.items() if name not in cls.LEFT_OUT}
        names |= {name: getattr(builtins, name) for name in cls.ADDED.split()}
        return names | {
            "getattr": guards.guarded_getattr,
            "hasattr": guards.guarded_hasattr,
            "type": guards.type_name,
            "__import__": guarded_import,
        }

    @classmethod
    def namespace(cls, extra: Mapping[str, object]) -> dict[str, Any]:
        """Return the globals that a script runs in; `extra` are further builtins (print, the API's exceptions, its own import)."""
        return {
            "__builtins__": cls.builtins() | dict(extra),
            "__name__": "script",
            "__metaclass__": guards.make_class,
            "_getattr_": guards.guarded_getattr,
            "_getitem_": guards.guarded_getitem,
            "_getiter_": guards.iterate,
            "_write_": guards.guarded_write,
            "_unpack_sequence_": guarded_unpack_sequence,
            "_iter_unpack_sequence_": guarded_iter_unpack_sequence,
            "_inplacevar_": guards.in_place_name,
            "_inplaceitem_": guards.in_place_item,
            "_inplaceattr_": guards.in_place_attribute,
            "_apply_": guards.apply,
        }
