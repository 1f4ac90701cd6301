"""Writes the generated parts of docs/scripts.md from what scripts see: `python -m hostd.scripting.reference`.

A part stands between two comments; everything else of the page is written by hand.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from hostd.config.sections import Script
from hostd.sandbox import api
from hostd.sandbox import filters as declared
from hostd.sandbox.features import FEATURES, Feature
from hostd.sandbox.schedules import DECORATORS

COMMAND = "python -m hostd.scripting.reference"

_PART = re.compile(r"(<!-- part: (\w+)[^\n]* -->\n).*?(<!-- end -->)", re.DOTALL)


def render(page: str) -> str:
    """Return the page with its generated parts as they are to be. Raises `KeyError` for a part that does not exist."""
    return with_parts(page, PARTS)


def with_parts(page: str, parts: Mapping[str, Callable[[], str]]) -> str:
    """Return a page with its generated parts as `parts` write them, each named after its opening comment."""
    return _PART.sub(lambda found: f"{found[1]}\n{parts[found[2]]()}\n{found[3]}", page)


def handlers() -> str:
    """Return the events, a section each."""
    return "\n".join(
        f"### `def {name}({', '.join(api.parameters(event))})`\n\n{_text(event)}\n"
        for name, event in api.HANDLERS.items()
    )


def host() -> str:
    """Return what `host` offers, a section each."""
    return "\n".join(
        f"### `host.{_signature(name)}`\n\n{_text(member)}\n" for name, member in _members(api.Host).items()
    )


def filters() -> str:
    """Return the filters and what they are given, a section each."""
    sections = [
        f"### `def {name}({', '.join(declared.parameters(kind))})`\n\n{_text(kind)}\n"
        for name, kind in declared.FILTERS.items()
    ]
    sections += [
        f"### `host.{_signature(name, declared.FilterHost)}`\n\n{_text(member)}\n"
        for name, member in _members(declared.FilterHost).items()
        if name not in vars(api.Host)
    ]
    rows = [f"| `request.{name}` | {_text(value)} |" for name, value in _members(declared.Request).items()]
    return "\n".join([*sections, "### `request`\n", "| | |", "|---|---|", *rows, ""])


def schedules() -> str:
    """Return the decorators of functions that run by the clock, a section each."""
    return "\n".join(
        f"### `@{name}({', '.join(_parameters(decorator))})`\n\n{_text(decorator)}\n"
        for name, decorator in DECORATORS.items()
    )


def subjects() -> str:
    """Return what the subjects of events and their parts offer, a table each."""
    views: dict[str, type] = {
        "instance": api.Instance,
        "instance.transfer_syntax": api.TransferSyntax,
        "instance.origin": api.Origin,
        "instance.pixels": api.Pixels,
        "series": api.Series,
        "study": api.Study,
        "patient": api.Patient,
        "association": api.Association,
        "delivery": api.EndedDelivery,
        "action": api.EndedAction,
        "failure": api.FailedTranscode,
        "job": api.Job,
        "destination": api.Destination,
        "parked": api.ParkedScript,
        "disk": api.Disk,
        "source": api.Source,
    }
    tables = []
    for name, view in views.items():
        rows = [f"| `{name}.{member}` | {_text(value)} |" for member, value in _members(view).items()]
        tables.append("\n".join(["| | |", "|---|---|", *rows, ""]))
    return "\n".join(tables)


def tags() -> str:
    """Return how elements are read."""
    return _text(api.Tags) + "\n"


def pixels() -> str:
    """Return what is told of pixels."""
    return _text(api.Pixels) + "\n"


def limits() -> str:
    """Return the settings of a script's entry."""
    rows = []
    for name, field in Script.model_fields.items():
        default = "absent" if field.default is None else f"`{_toml(field.default)}`"
        rows.append(f"| `{name}` | {default} | {field.description} |")
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows, ""])


MODULES = (
    "base64", "bisect", "calendar", "collections", "collections.abc", "copy", "datetime", "decimal", "fractions", "functools", "hashlib", "heapq", "hostd.api", "html", "itertools", "json", "math", "operator", "random", "re", "statistics", "string", "textwrap", "time", "typing", "unicodedata", "uuid", "zoneinfo",
)  # fmt: skip
"""What scripts can import. The list itself is the sandbox's; a test holds this one to it."""


def modules() -> str:
    """Return the modules that scripts can import."""
    return ", ".join(f"`{name}`" for name in MODULES) + "\n"


def language() -> str:
    """Return the table of the language."""
    rows = [
        f"| {feature.name} | {f'no: {feature.refused}' if feature.refused else 'yes'} |".replace(
            " | yes", f" | yes{_since(feature)}"
        )
        for feature in FEATURES
    ]
    return "\n".join(["| Python has | scripts have it |", "|---|---|", *rows, ""])


def _since(feature: Feature) -> str:
    return f" (Python 3.{feature.since})" if feature.since > _OLDEST else ""


_OLDEST = 11
"""The oldest Python that hostd runs on is 3.11."""

PARTS: Mapping[str, Callable[[], str]] = {
    "handlers": handlers,
    "host": host,
    "filters": filters,
    "schedules": schedules,
    "subjects": subjects,
    "tags": tags,
    "pixels": pixels,
    "language": language,
    "modules": modules,
    "limits": limits,
}
"""Name of a part → what writes it."""


def _members(view: type) -> dict[str, object]:
    """Return the public methods and properties of a class, in the order in which it and those it is made from declare them."""
    declared = {name: member for one in reversed(view.__mro__) for name, member in vars(one).items()}
    return {name: member for name, member in declared.items() if not name.startswith("_") and inspect.getdoc(member)}


def _signature(name: str, view: type = api.Host) -> str:
    member = getattr(view, name)
    if isinstance(member, property):
        return name
    return f"{name}({', '.join(_parameters(member)[1:])})"


def _parameters(function: Callable[..., object]) -> list[str]:
    parameters = list(inspect.signature(function).parameters.values())
    return [str(parameter.replace(annotation=parameter.empty)) for parameter in parameters]


def _text(thing: object) -> str:
    documentation = inspect.getdoc(thing)
    assert documentation, f"{thing} is public and says nothing of itself"
    return documentation


def _toml(value: object) -> str:
    match value:
        case str():
            return f'"{value}"'
        case tuple():
            return "[]"
        case dict():
            return "{}"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def main(arguments: list[str]) -> None:
    """Bring the page up to date: the one named, or docs/scripts.md of the current folder."""
    page = Path(arguments[0] if arguments else "docs/scripts.md")
    page.write_text(render(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
