"""Every attribute of a data set and of its items, at any depth, through the table."""

from __future__ import annotations

from functools import lru_cache

from pydicom.datadict import keyword_for_tag, tag_for_keyword

from hostd.editing import dates, paths, profile, uids, words
from hostd.editing.charsets import TEXT_VRS, CharacterSet
from hostd.editing.profile import Action
from hostd.editing.terms import Project, Terms
from hostd.errors import CannotEditError
from hostd.transcoding import elements as el

_MAX_DEPTH = 64
_FIRST_GROUP = 0x0008
"""What stands in lower groups belongs to commands, file heads and directories."""
_CODE_VALUE, _CODE_SCHEME, _CODE_MEANING = 0x00080100, 0x00080102, 0x00080104
_CODE_VALUES = frozenset((_CODE_VALUE, 0x00080119, 0x00080120))
_CODE_FACTS = frozenset((_CODE_SCHEME, 0x00080103))
_PATIENT_AGE = 0x00101010
_OLDEST = 90
_TEXT_VALUE = 0x0040A160
_NAMING = frozenset((
    0x00100020, 0x00101000, 0x00080050, 0x00080080, 0x00080081, 0x00081040, 0x00081010, 0x00100021, 0x00101040, 0x00102154,
    0x00380010, 0x00321064,
))  # fmt: skip
"""Identifiers and places, whose words no description may repeat; so may those of any person's name."""
_TEMPORAL = frozenset((b"DA", b"DT", b"TM"))
_DUMMIES = {
    b"AE": b"REMOVED ", b"AS": b"000Y", b"CS": b"REMOVED ", b"DA": b"19000101", b"DS": b"0 ", b"DT": b"19000101000000", b"IS": b"0 ",
    b"LO": b"REMOVED ", b"LT": b"REMOVED ", b"PN": b"REMOVED ", b"SH": b"REMOVED ", b"ST": b"REMOVED ", b"TM": b"000000",
    b"UC": b"REMOVED ", b"UI": b"2.25.0", b"UR": b"urn:removed ", b"UT": b"REMOVED ", b"US": bytes(2), b"SS": bytes(2), b"AT": bytes(4),
    b"UL": bytes(4), b"SL": bytes(4), b"FL": bytes(4), b"FD": bytes(8), b"UV": bytes(8), b"SV": bytes(8), b"OB": bytes(2),
    b"OW": bytes(2), b"UN": bytes(2), b"OL": bytes(4), b"OF": bytes(4), b"OD": bytes(8), b"OV": bytes(8),
}  # fmt: skip


class Cleaner:
    """Cleans the data sets of one instance for one project."""

    def __init__(self, project: Project, terms: Terms, everything: el.Elements) -> None:
        self._project = project
        self._terms = terms
        self._enabled = profile.enabled(project)
        self._table = profile.table()
        self._kept = [path[0] for path in map(paths.parse, project.keep) if len(path) == 1]
        self._removed = [path[0] for path in map(paths.parse, project.remove) if len(path) == 1]
        self._identifying = _identifying(everything, CharacterSet())
        given = {paths.parse(key)[0].tag: text for key, text in project.replace.items()}
        self._replaced = {
            was: text for tag, text in given.items() if _is_uid(tag) and (was := el.text(everything, tag))
        }

    def cleaned(
        self,
        elements: el.Elements,
        characters: CharacterSet | None = None,
        *,
        depth: int = 0,
        is_text_suspect: bool = False,
    ) -> el.Elements:
        """Return what of a data set or item stays. `is_text_suspect`: all of its texts are to be cleaned, as of descriptions."""
        if depth > _MAX_DEPTH:
            raise CannotEditError(f"sequences are nested more than {_MAX_DEPTH} deep")
        characters = CharacterSet.of(elements, characters)
        kept = {tag for node in self._kept if (tag := node.find(elements)) is not None}
        removed = {tag for node in self._removed if (tag := node.find(elements)) is not None}
        scope = _Scope(self, characters, depth, is_text_suspect, _has_standard_code(elements))
        result: el.Elements = {}
        for tag, original in elements.items():
            if tag >> 16 & 1 or tag in removed:
                continue
            element = _interpreted(original)
            action = Action.KEEP if tag in kept else self._action(tag, element)
            if (done := scope.done(element, action, is_asked=tag in kept)) is not None:
                result[tag] = done
        return result | self._private(elements, kept - removed, scope)

    def _action(self, tag: int, element: el.Element) -> Action:
        """Return what becomes of a public attribute."""
        rule = self._table.get(tag)
        if tag >> 16 < _FIRST_GROUP or (rule is None and not _is_known(tag)):
            # Besides low groups: what no edition knows, and the repeating groups of curves and overlays.
            return Action.REMOVE
        return rule.action(self._enabled) if rule is not None else self._unlisted(tag, element)

    def _unlisted(self, tag: int, element: el.Element) -> Action:
        """Return what becomes of an attribute that the table leaves alone, but whose kind of value it does not."""
        vr = element.vr or el.implied_vr(tag, signed=False)
        if tag == _TEXT_VALUE:
            return Action.CLEAN if {"structured", "descriptors"} & {*self._enabled} else Action.DUMMY
        if vr in _TEMPORAL:
            return {"shift": Action.SHIFT, "keep": Action.KEEP, "remove": Action.DUMMY}[self._project.dates]
        return Action.EMPTY if vr == b"PN" else Action.KEEP

    def _private(self, elements: el.Elements, kept: set[int], scope: _Scope) -> el.Elements:
        """Return the private attributes that stay, with the creators of their blocks (PS3.15 §E.3.10)."""
        safe = profile.safe_private() if self._project.retain_safe_private else {}
        result: el.Elements = {}
        for tag, element in elements.items():
            if not tag >> 16 & 1 or tag & 0xFFFF < 0x1000:
                continue
            creator_tag = tag & 0xFFFF0000 | tag >> 8 & 0xFF
            creator = el.text(elements, creator_tag)
            vr = safe.get((tag >> 16, tag & 0xFF, creator))
            if creator_tag not in elements or (vr is None and tag not in kept):
                continue
            own = element.vr if element.vr not in (None, b"UN") else vr or element.vr
            done = scope.done(
                el.Element(tag, own, element.value, element.is_undefined_length),
                Action.KEEP,
                is_asked=tag in kept,
                is_private=True,
            )
            if done is not None:
                result[tag] = done
                result[creator_tag] = elements[creator_tag]
        return result

    def uid(self, element: el.Element) -> el.Element:
        """Return a UI element with the project's UIDs; what the project replaces is the same wherever it stands."""
        return uids.mapped(element, lambda old: self._replaced.get(old) or uids.new_uid(self._terms.key, "uid", old))

    @property
    def days(self) -> int:
        """By how many days dates move."""
        return self._terms.days

    @property
    def dates(self) -> str:
        """What the project does with dates."""
        return self._project.dates

    @property
    def identifying(self) -> frozenset[str]:
        """Words that no description may keep."""
        return self._identifying

    def without_options(self, tag: int) -> Action:
        """Return what the basic profile does."""
        rule = self._table.get(tag)
        return rule.without_options if rule else Action.DUMMY


class _Scope:
    """One data set or item that is being cleaned."""

    def __init__(
        self, cleaner: Cleaner, characters: CharacterSet, depth: int, is_text_suspect: bool, has_standard_code: bool
    ) -> None:
        self._cleaner = cleaner
        self._characters = characters
        self._depth = depth
        self._is_text_suspect = is_text_suspect
        self._has_standard_code = has_standard_code

    def done(
        self, element: el.Element, action: Action, *, is_asked: bool = False, is_private: bool = False
    ) -> el.Element | None:
        """Return what becomes of one attribute; None: it goes."""
        vr = element.vr or el.implied_vr(element.tag, signed=False)
        if action in (Action.KEEP, Action.REFERENCES):
            if action is Action.REFERENCES and vr == b"SQ":
                return self._items(element, suspect=True)
            return self._kept(element, vr, is_asked=is_asked, is_private=is_private)
        if action is Action.CLEAN:
            return self._items(element, suspect=True) if vr == b"SQ" else self._described(element, vr)
        return self._replaced(element, vr, action)

    def _replaced(self, element: el.Element, vr: bytes, action: Action) -> el.Element | None:
        match action:
            case Action.REMOVE:
                return None
            case Action.EMPTY:
                return el.Element(element.tag, vr, b"")
            case Action.SHIFT:
                return self._shifted(element, vr)
            case Action.UID if vr == b"UI":
                return self._cleaner.uid(element)
        return _dummy(element.tag, vr)

    def _kept(self, element: el.Element, vr: bytes, *, is_asked: bool, is_private: bool) -> el.Element | None:
        if vr == b"SQ":
            return self._items(element, suspect=self._is_text_suspect and not is_asked)
        if is_asked or (vr == b"UN" and element.is_undefined_length):
            return element if is_asked else None
        if is_private:
            return self._private(element, vr)
        if element.tag == _PATIENT_AGE:
            return _capped_age(element)
        is_local_meaning = element.tag == _CODE_MEANING and not self._has_standard_code
        return (
            self._described(element, vr) if vr in TEXT_VRS and (self._is_text_suspect or is_local_meaning) else element
        )

    def _private(self, element: el.Element, vr: bytes) -> el.Element | None:
        if vr in _TEMPORAL and self._cleaner.dates != "keep":
            return self._shifted(element, vr) if self._cleaner.dates == "shift" else None
        if vr == b"UI":
            return self._cleaner.uid(element)
        return None if vr in (b"PN", b"UN") else element

    def _items(self, element: el.Element, *, suspect: bool) -> el.Element:
        items = [
            self._cleaner.cleaned(item, self._characters, depth=self._depth + 1, is_text_suspect=suspect)
            for item in el.items(element)
        ] if element.value else []  # fmt: skip
        return el.with_items({}, element.tag, items)[element.tag]

    def _shifted(self, element: el.Element, vr: bytes) -> el.Element | None:
        meant = profile.table()[element.tag].vr if element.tag in profile.table() else vr.decode("ascii")
        text = dates.shifted(meant, element.value.decode("latin-1").strip(" \0"), self._cleaner.days)
        if text is None:
            return self.done(element, self._cleaner.without_options(element.tag))
        return el.with_text({}, element.tag, vr, text)[element.tag]

    def _described(self, element: el.Element, vr: bytes) -> el.Element | None:
        """Return a description with what is known to be medical; codes of the standard's schemes stay."""
        fallback = self._cleaner.without_options(element.tag)
        if self._has_standard_code and element.tag in _CODE_VALUES:
            return element
        if element.tag in _CODE_FACTS:
            return element if self._has_standard_code else _dummy(element.tag, vr)
        if vr not in TEXT_VRS or vr == b"PN":
            return self.done(element, fallback) if fallback != Action.CLEAN else None
        try:
            text = words.cleaned(self._characters.decode(element.value, vr), self._cleaner.identifying)
        except ValueError:
            text = ""
        if not text:
            return self.done(element, fallback)
        return el.with_text({}, element.tag, vr, text)[element.tag]


def _interpreted(element: el.Element) -> el.Element:
    """Return a public element of VR UN as what its tag is (PS3.5 §6.2.2), so that a sequence is not passed over."""
    return el.Element(element.tag, None, element.value) if element.vr == b"UN" and _is_known(element.tag) else element


@lru_cache(maxsize=4096)
def _is_known(tag: int) -> bool:
    """Tell whether the standard has the attribute; the repeating groups of curves and overlays do not count."""
    return tag_for_keyword(keyword_for_tag(tag)) == tag


def _is_uid(tag: int) -> bool:
    return el.implied_vr(tag, signed=False) == b"UI"


def _has_standard_code(elements: el.Elements) -> bool:
    return el.text(elements, _CODE_SCHEME) in words.standard_schemes()


def _dummy(tag: int, vr: bytes) -> el.Element | None:
    """Return a value that says nothing (PS3.15 §E.1.1); of a sequence one item that says nothing."""
    if vr != b"SQ":
        return el.Element(tag, vr, _DUMMIES[vr])
    return el.with_items({}, tag, [_dummy_item(tag)])[tag]


def _dummy_item(tag: int) -> el.Elements:
    code = el.with_text({}, _CODE_VALUE, b"SH", "121106")
    code = el.with_text(code, _CODE_SCHEME, b"SH", "DCM")
    code = el.with_text(code, 0x00080104, b"LO", "Comment")
    if tag in (0x0040A730, 0x0040B020):  # Content Sequence, Waveform Annotation Sequence
        item = el.with_text({}, 0x0040A010, b"CS", "CONTAINS")
        item = el.with_text(item, 0x0040A040, b"CS", "TEXT")
        item = el.with_items(item, 0x0040A043, [code])
        return el.with_text(item, _TEXT_VALUE, b"UT", "REMOVED")
    if tag == 0x00700001:  # Graphic Annotation Sequence
        return el.with_text({}, 0x00700002, b"CS", "REMOVED")
    return code


def _capped_age(element: el.Element) -> el.Element:
    """Return an age in years of at most 90: who is older is too easily found."""
    text = element.value.decode("latin-1").strip(" \0")
    if text[:-1].isdigit() and text.endswith("Y") and int(text[:-1]) > _OLDEST:
        return el.with_text({}, element.tag, b"AS", f"{_OLDEST:03}Y")[element.tag]
    return element


def _identifying(elements: el.Elements, around: CharacterSet, depth: int = 0) -> frozenset[str]:
    """Return the words of all names and identifiers of an instance, in lower case."""
    if depth > _MAX_DEPTH:
        raise CannotEditError(f"sequences are nested more than {_MAX_DEPTH} deep")
    characters = CharacterSet.of(elements, around)
    found: set[str] = set()
    for tag, original in elements.items():
        element = _interpreted(original)
        vr = element.vr or el.implied_vr(tag, signed=False)
        if vr == b"SQ" and element.value:
            for item in el.items(element):
                found |= _identifying(item, characters, depth + 1)
        elif vr == b"PN" or tag in _NAMING:
            try:
                found |= words.words_of(characters.decode(element.value, vr))
            except ValueError:
                found |= words.words_of(element.value.decode("latin-1"))
    return frozenset(found)
