"""`modify`: attributes set and removed, and identifiers that stay consistent over all instances of a study (PS3.3 §C.12.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pydicom.datadict import dictionary_has_tag, dictionary_VR

from hostd.editing import paths, values
from hostd.editing.charsets import SPECIFIC_CHARACTER_SET, UTF8, CharacterSet, widened
from hostd.editing.identifiers import ORIGINAL, OWN_UIDS, SERIES, SOP, STUDY, Renewal, mapped
from hostd.editing.paths import EVERY, Path
from hostd.editing.terms import Terms
from hostd.editing.values import NeedsUnicodeError, Place
from hostd.errors import CannotEditError
from hostd.transcoding import edits
from hostd.transcoding import elements as el
from hostd.transcoding.edits import Modify

_SOP_CLASS = 0x00080016
_MODIFIED = 0x04000550
_SIGNATURES = (0xFFFAFFFA, 0x4FFE0001)
_FIXED_GROUP = 0x0028
_PIXEL_NUMBERS = frozenset((0x0002, 0x0004, 0x0006, 0x0008, 0x0010, 0x0011, 0x0100, 0x0101, 0x0102, 0x0103))
_MUST_STAY = frozenset((_SOP_CLASS, SOP, STUDY, SERIES, SPECIFIC_CHARACTER_SET))


def modify(everything: el.Elements, step: Modify, terms: Terms) -> el.Elements:
    """Return the data set, without its pixel data, after that step. Raises `CannotEditError` and `CannotTranscodeError`."""
    change = _Change.of(step)
    before = everything
    if "SpecificCharacterSet" in step.set or _needs_unicode(everything, change):
        everything = before = widened(everything)
    result = el.without(everything, *_SIGNATURES)  # a signature over what is changed is not true any more
    if step.private == "remove":
        result = _without_private(result, change)
    for path in change.removed:
        if path not in change.kept:
            result = removed(result, path)
    before_setting, result = result, _all_set(result, change.set)
    if not step.keep_uids:
        # What was set stands as it was given, also where it is a UID.
        renewal = Renewal(before, result, step, change.top_set, change.keeps, terms)
        result = _all_set(mapped(before_setting, renewal.maps()), change.set)
    return result if ORIGINAL in change.top_removed else _recorded(before, result, change, terms)


def with_values(elements: el.Elements, wanted: Sequence[tuple[Path, edits.Value]]) -> el.Elements:
    """Return the elements with these values set, in UTF-8 where their character set cannot say them. Raises `CannotEditError`."""
    try:
        return _all_set(elements, wanted)
    except NeedsUnicodeError:
        return _all_set(widened(elements), wanted)


def refuse_impossible(step: Modify) -> None:
    """Raise `CannotEditError` for what can be done to no instance at all: it names no attribute, or one that may not be changed."""
    _Change.of(step)


def refuse_removal(path: Path) -> None:
    """Raise `CannotEditError` for an attribute that may not be removed."""
    refuse_change(path)
    if len(path) == 1 and path[0].tag in _MUST_STAY:
        raise CannotEditError(f"{paths.shown(path)} cannot be removed: without it this is no instance")


def refuse_values(wanted: Mapping[str, edits.Value]) -> None:
    """Raise `CannotEditError` for a value that its attribute has in no instance at all (PS3.5 §6.2).

    Private attributes are left to the instance: it may say itself which VR they have.
    """
    unicode = CharacterSet((UTF8,))
    for key, value in wanted.items():
        node = paths.parse(key)[-1]
        if node.tag >> 16 & 1 or not dictionary_has_tag(node.tag):
            continue
        refused: list[CannotEditError] = []
        signs = (False, True) if "SS" in dictionary_VR(node.tag) else (False,)
        for is_signed in signs:
            try:
                values.element(node.tag, value, Place({}, unicode, is_signed), name=key)
            except NeedsUnicodeError as error:
                raise CannotEditError(f"{key} has characters that no character set can say") from error
            except CannotEditError as error:
                refused.append(error)
        if len(refused) == len(signs):
            raise refused[0]


@dataclass(frozen=True, slots=True)
class _Change:
    """A step with its paths read."""

    set: list[tuple[Path, edits.Value]]
    removed: list[Path]
    kept: list[Path]
    top_set: frozenset[int] = field(init=False)
    top_removed: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "top_set", frozenset(path[0].tag for path, _ in self.set if len(path) == 1))
        object.__setattr__(self, "top_removed", frozenset(path[0].tag for path in self.removed if len(path) == 1))

    @classmethod
    def of(cls, step: Modify) -> _Change:
        """Read the paths. Raises `CannotEditError` for what may not be changed."""
        wanted = [(paths.parse(key), value) for key, value in step.set.items() if key != "SpecificCharacterSet"]
        if (charset := step.set.get("SpecificCharacterSet", UTF8)) != UTF8:
            raise CannotEditError(
                f"SpecificCharacterSet can be set to {UTF8!r} only, and not {charset!r}: all texts follow it"
            )
        gone = [paths.parse(key) for key in step.remove]
        for path, _ in wanted:
            refuse_change(path)
        for path in gone:
            refuse_removal(path)
        return cls(wanted, gone, [paths.parse(key) for key in step.keep])

    def keeps(self, tag: int) -> bool:
        """Tell whether an attribute of the data set is to be kept."""
        return any(len(path) == 1 and path[0].creator is None and path[0].tag == tag for path in self.kept)


def refuse_change(path: Path) -> None:
    """Raise `CannotEditError` for an attribute that may be neither set nor removed."""
    tag = path[-1].tag
    is_description = len(path) == 1 and tag >> 16 == _FIXED_GROUP and tag & 0xFFFF in _PIXEL_NUMBERS
    if tag in el.PIXEL_TAGS or is_description or (len(path) == 1 and tag >> 16 == 0x7FE0):
        raise CannotEditError(f"{paths.shown(path)} says how the pixels are to be read; it cannot be changed by itself")
    if tag == _SOP_CLASS and len(path) == 1:
        raise CannotEditError("SOPClassUID cannot be changed: the other attributes follow it")
    if tag >> 16 < 0x0008 or tag & 0xFFFF == 0 or (tag >> 16 >= 0xFFFA and tag not in _SIGNATURES):
        raise CannotEditError(f"{paths.shown(path)} is not an attribute of a data set")
    if tag >> 16 & 1 and path[-1].creator is None and 0x10 <= tag & 0xFFFF <= 0xFF:
        raise CannotEditError(f"{paths.shown(path)} reserves a private block; name its elements by creator instead")


# -- setting and removing ----------------------------------------------------------------------------------------------


def _needs_unicode(everything: el.Elements, change: _Change) -> bool:
    try:
        _all_set(everything, change.set)
    except NeedsUnicodeError:
        return True
    return False


def _all_set(elements: el.Elements, wanted: Sequence[tuple[Path, edits.Value]]) -> el.Elements:
    for path, value in wanted:
        elements = _set(elements, path, value, CharacterSet.of(elements), paths.shown(path))
    return elements


def _set(
    elements: el.Elements, path: Path, value: edits.Value, characters: CharacterSet, name: str, *, signed: bool = False
) -> el.Elements:
    node = path[0]
    signed = el.number(elements, el.PIXEL_REPRESENTATION) == 1 if el.PIXEL_REPRESENTATION in elements else signed
    characters = CharacterSet.of(elements, characters)
    elements, tag = _with_block(elements, node)
    if len(path) == 1:
        place = Place(elements, characters, signed)
        return elements | {tag: values.element(tag, value, place, name=name, creator=node.creator)}

    def into(item: el.Elements) -> el.Elements:
        return _set(item, path[1:], value, characters, name, signed=signed)

    return _in_items(elements, tag, node.index, into, name, may_append=True)


def _with_block(elements: el.Elements, node: paths.Node) -> tuple[el.Elements, int]:
    """Return the elements with a private block for the attribute, where it needs one that is not there, and its tag."""
    tag = node.find(elements)
    if tag is not None:
        return elements, tag
    group, creator = node.tag >> 16, node.creator or ""
    taken = {number for number, _ in paths.creators(elements, group)}
    taken |= {found >> 8 & 0xFF for found in elements if found >> 16 == group and found & 0xFFFF > 0xFF}
    free = next((number for number in range(0x10, 0x100) if number not in taken), None)
    if free is None:
        raise CannotEditError(f"the private group {group:04X} has no block left for {creator!r}")
    if not creator.isascii():
        raise CannotEditError(f"the private creator {creator!r} has characters beyond ASCII")
    return el.with_text(elements, group << 16 | free, b"LO", creator), node.tag | free << 8


def removed(elements: el.Elements, path: Path) -> el.Elements:
    """Return the elements without what is at that path."""
    tag = path[0].find(elements)
    if tag is None or tag not in elements:
        return elements
    if len(path) == 1:
        return el.without(elements, tag)
    name = paths.shown(path)
    return _in_items(elements, tag, path[0].index, lambda item: removed(item, path[1:]), name, may_append=False)


def _in_items(
    elements: el.Elements,
    tag: int,
    index: int | None,
    change: Callable[[el.Elements], el.Elements],
    name: str,
    *,
    may_append: bool,
) -> el.Elements:
    known = elements.get(tag)
    if known is not None and (known.vr or el.implied_vr(tag, signed=False)) not in (b"SQ", b"UN"):
        raise CannotEditError(f"{name}: {values.tag_name(tag)} is no sequence in this instance")
    items = sequence_items(known) if known is not None and known.value else []
    if index == EVERY:
        return el.with_items(elements, tag, [change(item) for item in items]) if items else elements
    assert index is not None
    if index >= len(items):
        if not may_append:
            return elements
        if index > len(items):
            raise CannotEditError(
                f"{name}: {values.tag_name(tag)} has {len(items)} items, so the next one is [{len(items)}]"
            )
        items.append({})
    items[index] = change(items[index])
    return el.with_items(elements, tag, items)


def sequence_items(element: el.Element) -> list[el.Elements]:
    """Return the items of a sequence, one of VR UN too, which is in implicit VR (PS3.5 §6.2.2)."""
    return el.items(el.Element(element.tag, None, element.value) if element.vr == b"UN" else element)


def _without_private(elements: el.Elements, change: _Change, depth: int = 0) -> el.Elements:
    """Return the elements without private ones but those to be kept, and, of the data set itself, those that are set, for their VR."""
    stay = change.kept if depth else [*change.kept, *(path for path, _ in change.set)]
    kept = {path[0].find(elements) for path in stay if len(path) == 1}
    blocks = {tag & 0xFFFF0000 | tag >> 8 & 0xFF for tag in kept if tag is not None and tag >> 16 & 1}
    result: el.Elements = {}
    for tag, element in elements.items():
        if tag >> 16 & 1 and tag not in kept and tag not in blocks:
            continue
        if (element.vr or el.implied_vr(tag, signed=False)) == b"SQ" and element.value:
            items = el.items(element)
            cleaned = [_without_private(item, change, depth + 1) for item in items]
            if cleaned != items:
                result = el.with_items(result, tag, cleaned)
                continue
        result[tag] = element
    return result


# -- what was there before -------------------------------------------------------------------------------------------


def _recorded(before: el.Elements, result: el.Elements, change: _Change, terms: Terms) -> el.Elements:
    """Append what was replaced to the Original Attributes Sequence (PS3.3 §C.12.1.1.9).

    What was removed is not recorded: it was to be gone.
    """
    replaced = {
        tag: element
        for tag, element in before.items()
        if tag in result
        and result[tag].value != element.value
        and tag not in (ORIGINAL, SPECIFIC_CHARACTER_SET)
        and (tag in change.top_set or tag in OWN_UIDS or any(path[0].find(before) == tag for path, _ in change.set))
    }
    if not replaced:
        return result
    for tag in [tag for tag in replaced if tag >> 16 & 1]:
        creator = tag & 0xFFFF0000 | tag >> 8 & 0xFF
        if creator in before:
            replaced[creator] = before[creator]
    characters = CharacterSet.of(result)
    system = characters.encode(terms.system, b"LO") or b"hostd"
    item = el.with_text({}, 0x04000564, b"LO", "")
    item = el.with_text(item, 0x04000562, b"DT", terms.at)
    item[0x04000563] = el.Element(0x04000563, b"LO", system + b" " * (len(system) % 2))
    item = el.with_text(item, 0x04000565, b"CS", "COERCE")
    item = el.with_items(item, _MODIFIED, [replaced])
    return el.with_item(result, ORIGINAL, item)
