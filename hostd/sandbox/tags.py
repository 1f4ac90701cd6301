"""The elements of a data set as a script reads them, by keyword, tag or private creator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hostd.sandbox import frames
from hostd.sandbox.read_only import ReadOnly
from hostd.sandbox.run import Run
from hostd.sandbox.values import convert

_Elements = Mapping[int, Sequence[Any]]
_PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_set = object.__setattr__


class Tags(ReadOnly):
    """The elements of a data set, or of an item of a sequence.

    - `tags.PatientID`: the value, None when the element is absent or empty. A keyword that the standard does not have is an
      error that names the nearest one.
    - `tags.get("PatientID", default)`: the same, with a default for absent or empty.
    - `"PatientID" in tags`: whether the element is there, also if it is empty.
    - `tags[0x00180050]`: by tag, as by keyword.
    - `tags.private("CREATOR", 0x10)`: a private element by its creator.
    - `tags.text("SliceThickness")`: as text, as it stands in the file; '' when absent or empty.

    One value is given as itself, several as a tuple, whatever the standard's multiplicity; the items of a sequence always
    as a tuple of `Tags`. DS is float, IS is int, names and dates are texts with parts (`PersonName`, `DateText`), bulk data
    is bytes, all other text is str without padding. A value too large to come with the event is fetched when it is first
    read: up to 1 MiB each and 8 MiB a run, otherwise `ValueTooLarge`. Pixel data is never given.
    """

    __slots__ = ("_elements", "_of", "_path", "_run", "_within")
    _elements: _Elements | bytes
    _of: str
    _path: tuple[int, ...]
    _run: Run
    _within: str

    def __init__(
        self, run: Run, elements: _Elements | bytes, path: tuple[int, ...] = (), within: str = "", of: str = ""
    ) -> None:
        _set(self, "_run", run)
        _set(self, "_of", of)
        _set(self, "_elements", elements)
        _set(self, "_path", path)
        _set(self, "_within", within)

    def __getattr__(self, keyword: str) -> Any:
        return self._value(self._run.world.tag(keyword))

    def __getitem__(self, tag: int | str) -> Any:
        return self._value(self._tag(tag))

    def __contains__(self, tag: int | str) -> bool:
        number = self._tag(tag)
        self._note(number)
        return number in self._decoded()

    def get(self, tag: int | str, default: Any = None) -> Any:
        """Return the value of a keyword or tag, or the default when the element is absent or empty."""
        value = self._value(self._tag(tag))
        return default if value is None else value

    def text(self, tag: int | str) -> str:
        """Return the value as text: as it stands in the file, several joined by a backslash; '' when absent or empty."""
        number = self._tag(tag)
        vr, raw = self._raw(number)
        if vr == "SQ" or any(isinstance(value, (bytes, dict)) for value in raw):
            raise ValueError(f"{self._run.world.name(number)} has VR {vr}, which has no text")
        return "\\".join(str(value) for value in raw)

    def private(self, creator: str, element: int, group: int | None = None) -> Any:
        """Return the value of a private element (PS3.5 §7.8.1), None when absent or empty.

        `creator` is the text that reserves the block, `element` the last two digits of the tag: 0x10 for (0019,xx10).
        Without a `group`, the first odd group is taken in which the creator has that element.
        """
        if not isinstance(creator, str) or isinstance(element, bool) or not isinstance(element, int):
            raise TypeError(
                'a private element is read by its creator and a number: tags.private("SIEMENS CSA HEADER", 0x10)'
            )
        if not 0 <= element <= 0xFF:
            raise ValueError(f"{element:#x} is not the number of an element within a private block: 0x00 to 0xFF")
        wanted = str.__str__(creator).strip(" ")
        self._run.note(f"{self._within}private {wanted[:64].encode('utf-8', 'replace').decode()!r} {element:02X}")
        elements = self._decoded()
        for tag in sorted(elements):
            odd, block = tag >> 16, tag & 0xFFFF
            if odd % 2 == 0 or not 0x10 <= block <= 0xFF or (group is not None and odd != group):
                continue
            if [str(value).strip(" ") for value in elements[tag][1] or ()] == [wanted]:
                found = odd << 16 | block << 8 | element
                if found in elements:
                    return self._convert(found, *self._raw(found, note=False))
        return None

    def __repr__(self) -> str:
        return f"<tags: {len(self._decoded())} elements>"

    def _decoded(self) -> _Elements:
        """Return the elements, which are decoded when one is asked for first."""
        if isinstance(self._elements, bytes):
            _set(self, "_elements", frames.unpacked(self._elements))
        assert not isinstance(self._elements, bytes)
        return self._elements

    def _tag(self, tag: int | str) -> int:
        if isinstance(tag, str):
            return self._run.world.tag(str.__str__(tag))
        if isinstance(tag, bool) or not isinstance(tag, int) or not 0 <= tag <= 0xFFFFFFFF:
            raise TypeError('an element is named by its keyword ("PatientID") or its tag (0x00100020)')
        return int(tag)

    def _note(self, tag: int) -> None:
        self._run.note(self._within + self._run.world.name(tag))

    def _raw(self, tag: int, *, note: bool = True) -> tuple[str, list[Any]]:
        """Return VR and values as they stand in the file; no values when absent or empty."""
        if note:
            self._note(tag)
        if tag in _PIXEL_DATA:
            raise ValueError(
                "pixel data is not given to scripts; see instance.has_pixels, instance.frames and the tags"
            )
        elements = self._decoded()
        if tag not in elements:
            return "", []
        vr, values = elements[tag]
        if values is None:
            values = self._run.fetch((*self._path, tag), self._of)
        return vr, [] if list(values) == [""] else list(values)

    def _value(self, tag: int) -> Any:
        return self._convert(tag, *self._raw(tag))

    def _convert(self, tag: int, vr: str, raw: list[Any]) -> Any:
        if not raw:
            return None
        name = self._run.world.name(tag)
        if vr == "SQ":
            within = f"{self._within}{name}."
            return tuple(
                Tags(self._run, item, (*self._path, tag, index), within, self._of) for index, item in enumerate(raw)
            )
        values = tuple(convert(vr, value, name) for value in raw)
        return values[0] if len(values) == 1 else values
