"""`anonymize`: the Basic Application Level Confidentiality Profile and its options (PS3.15 §E.2, §E.3), one instance."""

from __future__ import annotations

from hostd.editing import burned_in, paths, profile
from hostd.editing.cleaning import Cleaner
from hostd.editing.modify import removed, with_values
from hostd.editing.terms import Project, Terms
from hostd.errors import CannotEditError
from hostd.transcoding import elements as el
from hostd.transcoding.edits import Anonymize

_PATIENT_NAME, _PATIENT_ID = 0x00100010, 0x00100020
_REMOVED, _METHOD, _METHOD_CODES = 0x00120062, 0x00120063, 0x00120064
_BURNED_IN, _LONGITUDINAL = 0x00280301, 0x00280303
_TEMPORAL = {"shift": "MODIFIED", "keep": "UNMODIFIED", "remove": "REMOVED"}


def anonymize(everything: el.Elements, step: Anonymize, terms: Terms, *, has_pixels: bool) -> el.Elements:
    """Return the data set, without its pixel data, de-identified.

    Raises `CannotEditError` when text may be burned into the pixels and nobody said that it is not.
    """
    project = terms.project
    if project is None:
        raise CannotEditError(f"the project {step.project!r} is not in the configuration")
    if has_pixels and not (step.redacted or step.allow_burned_in or project.allow_burned_in):
        burned_in.refuse(everything)
    result = Cleaner(project, terms, everything).cleaned(everything)
    for tag in (_PATIENT_NAME, _PATIENT_ID):
        if tag not in _named(project.keep):
            result = el.with_text(result, tag, b"PN" if tag == _PATIENT_NAME else b"LO", terms.pseudonym)
    result = with_values(
        result, [(_owned(paths.parse(key), everything), text) for key, text in project.replace.items()]
    )
    for path in map(paths.parse, project.remove):
        if len(path) > 1:
            result = removed(result, path)
    return _with_statement(result, step, project)


def _owned(path: paths.Path, everything: el.Elements) -> paths.Path:
    """Return the path of a private attribute that is named by its tag as that of its creator's, whose block may be gone."""
    tag = path[0].tag
    creator = el.text(everything, tag & 0xFFFF0000 | tag >> 8 & 0xFF) if tag >> 16 & 1 else ""
    if path[0].creator is not None or not creator:
        return path
    return (paths.Node(tag & 0xFFFF00FF, creator), *path[1:])


def _with_statement(result: el.Elements, step: Anonymize, project: Project) -> el.Elements:
    """Say in the instance what was done (PS3.15 §E.1.1, PS3.3 §C.7.1.1, §C.7.6.1.1)."""
    codes = profile.method_codes(project, pixels_cleaned=step.redacted)
    known = [
        item for item in _items(result, _METHOD_CODES) if el.text(item, 0x00080100) not in {code for code, _ in codes}
    ]
    result = el.with_text(result, _REMOVED, b"CS", "YES")
    result = el.with_text(result, _METHOD, b"LO", "hostd: PS3.15 2026c Table E.1-1")
    result = el.with_items(result, _METHOD_CODES, [*known, *(el.code_item(code, meaning) for code, meaning in codes)])
    result = el.with_text(result, _LONGITUDINAL, b"CS", _TEMPORAL[project.dates])
    if step.redacted:
        result = el.with_text(result, _BURNED_IN, b"CS", "NO")
    return result


def _named(keys: tuple[str, ...]) -> frozenset[int]:
    nodes = [paths.parse(key) for key in keys]
    return frozenset(path[0].tag for path in nodes if len(path) == 1 and path[0].creator is None)


def _items(elements: el.Elements, tag: int) -> list[el.Elements]:
    return el.items(elements[tag]) if tag in elements and elements[tag].value else []
