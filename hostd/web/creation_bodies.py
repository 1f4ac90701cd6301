"""Bodies of `/tools/create-dicom`: tags, what is to be in the instance, and how both are to be understood."""

from __future__ import annotations

from typing import Any

from hostd.web.errors import USE_CONTENT, WebError, bad_request
from hostd.web.json_data_sets import Reading
from hostd.web.requested import tag_of

PIXEL_DATA = 0x7FE00010
_DOCUMENT = 0x00420011
_OPTIONS = frozenset({"Content", "Encapsulate", "Force", "InterpretBinaryTags", "Parent", "PrivateCreator", "Tags"})


def in_full(given: dict[str, Any]) -> dict[str, Any]:
    """Return a body with `Tags` and `Content`: older clients write tags without `Tags`, and what is in an instance among them."""
    options = {name: value for name, value in given.items() if name in _OPTIONS}
    if "Tags" not in given:
        options |= {"Tags": {name: value for name, value in given.items() if name not in _OPTIONS}, "Force": True}
    if not isinstance(wanted := options["Tags"], dict):
        raise bad_request('"Tags" must be an object')
    interprets = given.get("InterpretBinaryTags", True) is not False
    inside = {
        name: value
        for name, value in wanted.items()
        if interprets and _is_content(name, value, is_older="Tags" not in given)
    }
    if inside and "Content" not in options:
        options["Content"] = next(iter(inside.values()))
        options["Tags"] = {name: value for name, value in wanted.items() if name not in inside}
    elif any(tag_of(name) == PIXEL_DATA for name in wanted):
        raise use_content()
    return options


def _is_content(name: str, value: Any, *, is_older: bool) -> bool:
    """Tell whether a tag is what an instance is made around: an encapsulated PDF, and in the older form a picture."""
    if not isinstance(value, str) or not value.startswith(("data:application/pdf;", "data:image/")):
        return False
    tag = tag_of(name)
    return tag == _DOCUMENT if value.startswith("data:application/pdf;") else is_older and tag == PIXEL_DATA


def reading(given: dict[str, Any]) -> Reading:
    """Return how its tags are read. Raises `WebError`."""
    for name, kind in (("InterpretBinaryTags", bool), ("PrivateCreator", str)):
        if name in given and not isinstance(given[name], kind):
            raise bad_request(f'"{name}" is {"true or false" if kind is bool else "a text"}')
    decodes = given.get("InterpretBinaryTags", True)
    return Reading("data URI" if decodes else "as it is", given.get("PrivateCreator"))


def use_content() -> WebError:
    """Return the error of a picture among the tags."""
    return WebError(400, USE_CONTENT, 'a picture is given as "Content"')
