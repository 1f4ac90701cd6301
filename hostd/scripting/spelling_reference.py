"""Writes the generated parts of docs/orthanc-spelling.md: `python -m hostd.scripting.spelling_reference`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from hostd.sandbox.orthanc import callbacks, routes, spelling
from hostd.scripting.reference import with_parts

COMMAND = "python -m hostd.scripting.spelling_reference"


def render(page: str) -> str:
    """Return the page with its generated parts as they are to be. Raises `KeyError` for a part that does not exist."""
    return with_parts(page, PARTS)


def _callbacks() -> str:
    rows = [
        f"| `{name}({', '.join(callback.parameters)})` | {', '.join(f'`{one}`' for one in callback.handlers)} | {callback.remark} |"
        for name, callback in callbacks.CALLBACKS.items()
    ]
    return "\n".join(["| callback | called by | remarks |", "|---|---|---|", *rows, ""])


def _functions() -> str:
    sections = []
    for name, function in {**spelling.FUNCTIONS, **spelling.PLAIN}.items():
        also = [f", `{alias}`" for alias, of in spelling.ALIASES.items() if of == name]
        sections.append(f"### `{name}({_signature(function)})`{''.join(also)}\n\n{inspect.getdoc(function)}\n")
    return "\n".join(sections)


def _routes() -> str:
    rows = [f"| `{one.method} {one.pattern.replace('{}', '…')}` | {one.does} |" for one in routes.ROUTES]
    return "\n".join(["| route | what it does |", "|---|---|", *rows, ""])


def _missing() -> str:
    names: dict[str, list[str]] = {}
    for name, why in (callbacks.WITHOUT_COUNTERPART | spelling.WITHOUT_COUNTERPART | routes.INSTEAD).items():
        names.setdefault(why, []).append(f"`{name}`")
    rows = [f"| {', '.join(named)} | {why} |" for why, named in names.items()]
    return "\n".join(["| not here | why, and what instead |", "|---|---|", *rows, ""])


def _signature(function: Callable[..., object]) -> str:
    """Return the parameters as Lua's documentation names them, without the session."""
    shown = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name != "session":
            first, *rest_of_name = parameter.name.split("_")
            name = first + "".join(word.capitalize() for word in rest_of_name)
            shown.append(name if parameter.default is parameter.empty else f"{name}={parameter.default!r}")
    return ", ".join(shown)


PARTS: Mapping[str, Callable[[], str]] = {
    "callbacks": _callbacks,
    "functions": _functions,
    "routes": _routes,
    "missing": _missing,
}
"""Name of a part → what writes it."""


def main(arguments: list[str]) -> None:
    """Bring the page up to date: the one named, or docs/orthanc-spelling.md of the current folder."""
    page = Path(arguments[0] if arguments else "docs/orthanc-spelling.md")
    page.write_text(render(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
