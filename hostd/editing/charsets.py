"""Text in the character set of an instance (PS3.3 §C.12.1.1.2, PS3.5 §6.1), read and written by pydicom's codecs."""

from __future__ import annotations

import codecs
import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom import config
from pydicom.charset import convert_encodings, encode_string, python_encoding
from pydicom.valuerep import PersonName
from pydicom.values import convert_PN, convert_single_string, convert_text

from hostd.errors import CannotEditError
from hostd.transcoding import elements as el

SPECIFIC_CHARACTER_SET = 0x00080005
UTF8 = "ISO_IR 192"
TEXT_VRS = frozenset((b"LO", b"LT", b"PN", b"SH", b"ST", b"UC", b"UT"))
"""VRs whose text is in the Specific Character Set (PS3.5 §6.1.2.3)."""
UNSPLIT_VRS = frozenset((b"LT", b"ST", b"UR", b"UT"))
"""VRs that have one value, in which a backslash is a backslash."""


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """A Specific Character Set as it stands in a data set."""

    terms: tuple[str, ...] = ()

    @classmethod
    def of(cls, elements: el.Elements, around: CharacterSet | None = None) -> CharacterSet:
        """Return the character set of a data set, or of an item inside of one that is `around` it."""
        if SPECIFIC_CHARACTER_SET not in elements:
            return around or cls()
        text = el.text(elements, SPECIFIC_CHARACTER_SET)
        return cls(tuple(term.strip() for term in text.split("\\"))) if text else cls()

    def decode(self, raw: bytes, vr: bytes) -> str:
        """Return a text without padding, its values parted by backslashes. Raises `ValueError` when the bytes are not of this set."""
        with _strictly():
            encodings = self._encodings()
            if vr == b"PN":
                return _joined(convert_PN(raw, encodings))
            if vr in UNSPLIT_VRS:
                return str(convert_single_string(raw, encodings)).rstrip(" \0")
            return _joined(convert_text(raw, encodings))

    def encode(self, text: str, vr: bytes) -> bytes | None:
        """Return a text as bytes without padding; None when this character set cannot say it."""
        if self._begins_plain and any("\x7f" < character < "\u0100" for character in text):
            return None  # pydicom takes the default repertoire for Latin-1
        values = [text] if vr in UNSPLIT_VRS else text.split("\\")
        try:
            with _strictly():
                encodings = self._encodings()
                raw = b"\\".join(_encoded(value, vr, encodings) for value in values)
            # Some of the codecs replace what they cannot say; what is read again decides.
            return raw if self.decode(raw, vr) == text.rstrip(" ") else None
        except ValueError:
            return None

    @property
    def _begins_plain(self) -> bool:
        return not self.terms or self.terms[0] in ("", "ISO_IR 6")

    def _encodings(self) -> list[str]:
        if self._begins_plain and len(self.terms) < 2:
            return ["ascii"]
        try:
            return convert_encodings(list(self.terms))
        except LookupError as error:
            raise ValueError(f"the Specific Character Set {chr(92).join(self.terms)!r} is not known") from error


def widened(elements: el.Elements, around: CharacterSet | None = None) -> el.Elements:
    """Return a data set with all of its texts in UTF-8, those of items too.

    Raises `CannotEditError` for a text that is not of the character set that the instance says.
    """
    own = CharacterSet.of(elements, around)
    result = dict(elements)
    for tag, element in elements.items():
        vr = element.vr or el.implied_vr(tag, signed=False)
        if vr == b"SQ":
            items = [el.without(widened(item, own), SPECIFIC_CHARACTER_SET) for item in el.items(element)]
            result = el.with_items(result, tag, items)
        elif (vr in TEXT_VRS and not element.value.isascii()) or (vr in TEXT_VRS and b"\x1b" in element.value):
            try:
                raw = own.decode(element.value, vr).encode("utf-8")
            except ValueError as error:
                raise CannotEditError(
                    f"({tag >> 16:04X},{tag & 0xFFFF:04X}) is not of the Specific Character Set that the instance says, so its texts "
                    "cannot be brought to UTF-8, which the new value needs"
                ) from error
            result[tag] = el.Element(tag, vr, raw + b" " * (len(raw) % 2))
    return el.with_text(result, SPECIFIC_CHARACTER_SET, b"CS", UTF8)


def warm_up() -> None:
    """Load the codec of every character set, which Python does on first use."""
    for encoding in {*python_encoding.values(), "ascii", "utf-8", "latin-1"}:
        codecs.lookup(encoding)
    for term in python_encoding:
        for vr in (b"LO", b"PN"):
            CharacterSet((term,)).encode("A^B", vr)
            CharacterSet(("", term)).encode("\u5c71\u7530^A", vr)


def _encoded(value: str, vr: bytes, encodings: Sequence[str]) -> bytes:
    return PersonName(value).encode(encodings) if vr == b"PN" else encode_string(value, encodings)


def _joined(values: object) -> str:
    if isinstance(values, str | PersonName):
        return str(values).rstrip(" \0")
    if isinstance(values, Sequence):
        return "\\".join(str(value) for value in values).rstrip(" \0")
    return ""


@contextlib.contextmanager
def _strictly() -> Iterator[None]:
    """Have pydicom raise for what it would otherwise replace."""
    settings = config.settings
    reading, writing = settings.reading_validation_mode, settings.writing_validation_mode
    settings.reading_validation_mode = settings.writing_validation_mode = config.RAISE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        settings.reading_validation_mode, settings.writing_validation_mode = reading, writing
