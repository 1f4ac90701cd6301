"""Facades of the modules that work on text and bytes."""

from __future__ import annotations

import base64
import builtins
import hashlib
import html
import json
import re
import string
import textwrap
import unicodedata
import uuid
from collections.abc import Callable
from typing import Any

from hostd.sandbox.facades.facade import Facade, Inert, offer

_ITS_OWN = "imported by the module for its own use"
_FILES = "reads or writes files"


def _checked(name: str, text: object) -> str:
    """Return a text as such. A script's own object would be handed what the library keeps for itself."""
    if not isinstance(text, str):
        raise TypeError(f"{name} takes a text, not a {type(text).__name__}")
    return str.__str__(text)


# -- json: the hooks and classes of the real functions take code that is called with the encoder's own objects ----------


def _dumps(
    value: Any,
    *,
    indent: int | None = None,
    sort_keys: bool = False,
    ensure_ascii: bool = True,
    separators: tuple[str, str] | None = None,
    default: Callable[[Any], Any] | None = None,
) -> str:
    return json.dumps(
        value, indent=indent, sort_keys=sort_keys, ensure_ascii=ensure_ascii, separators=separators, default=default
    )


def _loads(text: str | bytes) -> Any:
    return json.loads(text)


# -- hashlib: by function, without the constructors' switches ----------------------------------------------------------

_HASHES = [
    "md5",
    "sha1",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "sha3_224",
    "sha3_256",
    "sha3_384",
    "sha3_512",
    "blake2b",
    "blake2s",
]


def _hash(name: str) -> Callable[[bytes], Any]:
    constructor = getattr(hashlib, name)
    constructor(b"").hexdigest()  # OpenSSL loads its providers at the first use

    def make(content: bytes = b"") -> Any:
        return constructor(content, usedforsecurity=False)

    return make


# -- textwrap: its functions hand tables of their own to whatever they take for a text ----------------------------------


def _wrap(text: str, width: int = 70, *, initial_indent: str = "", subsequent_indent: str = "") -> list[str]:
    return textwrap.wrap(
        _checked("wrap", text), width, initial_indent=initial_indent, subsequent_indent=subsequent_indent
    )


def _fill(text: str, width: int = 70, *, initial_indent: str = "", subsequent_indent: str = "") -> str:
    return "\n".join(_wrap(text, width, initial_indent=initial_indent, subsequent_indent=subsequent_indent))


def _shorten(text: str, width: int, *, placeholder: str = " [...]") -> str:
    return textwrap.shorten(_checked("shorten", text), width, placeholder=_checked("shorten", placeholder))


def _dedent(text: str) -> str:
    return textwrap.dedent(_checked("dedent", text))


def _indent(text: str, prefix: str) -> str:
    return textwrap.indent(_checked("indent", text), _checked("indent", prefix))


def _capwords(text: str, sep: str | None = None) -> str:
    return string.capwords(_checked("capwords", text), sep)


def _html_escape(text: str, quote: bool = True) -> str:
    return html.escape(_checked("escape", text), quote)


def _html_unescape(text: str) -> str:
    return html.unescape(_checked("unescape", text))


# -- uuid: the real objects carry an enumeration, whose members lead to their class -------------------------------------


class Uuid(str):
    """A UUID as text, with its number: `f"2.25.{uuid.uuid4().int}"` is a DICOM UID (PS3.5 §B.2)."""

    __slots__ = ()

    @property
    def int(self) -> builtins.int:
        """The UUID as a number of 128 bits."""
        return uuid.UUID(str.__str__(self)).int

    @property
    def hex(self) -> str:
        """The UUID as 32 hexadecimal digits."""
        return uuid.UUID(str.__str__(self)).hex

    @property
    def bytes(self) -> builtins.bytes:
        """The UUID as 16 bytes."""
        return uuid.UUID(str.__str__(self)).bytes


def _uuid(text: str) -> Uuid:
    return Uuid(uuid.UUID(_checked("UUID", text)))


def _uuid4() -> Uuid:
    return Uuid(uuid.uuid4())


def _uuid3(namespace: str, name: str) -> Uuid:
    return Uuid(uuid.uuid3(uuid.UUID(_checked("uuid3", namespace)), _checked("uuid3", name)))


def _uuid5(namespace: str, name: str) -> Uuid:
    return Uuid(uuid.uuid5(uuid.UUID(_checked("uuid5", namespace)), _checked("uuid5", name)))


_FLAGS = [
    "A",
    "ASCII",
    "DOTALL",
    "I",
    "IGNORECASE",
    "L",
    "LOCALE",
    "M",
    "MULTILINE",
    "NOFLAG",
    "S",
    "U",
    "UNICODE",
    "VERBOSE",
    "X",
]
_NAMESPACES = ["NAMESPACE_DNS", "NAMESPACE_OID", "NAMESPACE_URL", "NAMESPACE_X500"]

MODULES: dict[str, Facade] = {
    "base64": offer(
        "base64", base64,
        "a85decode a85encode b16decode b16encode b32decode b32encode b32hexdecode b32hexencode b64decode b64encode b85decode b85encode "
        "decodebytes encodebytes standard_b64decode standard_b64encode urlsafe_b64decode urlsafe_b64encode z85decode@3.13 z85encode@3.13",
        withheld={_FILES: "decode encode main test", _ITS_OWN: "MAXBINSIZE MAXLINESIZE bytes_types"},
    ),
    "hashlib": offer(
        "hashlib", hashlib, "", own={name: _hash(name) for name in _HASHES},
        withheld={
            _FILES: "file_digest", "takes any name, and loads what has it; call the algorithm by its function": "new",
            "of no use without `new`": "algorithms_available algorithms_guaranteed",
            "for passwords, which a script does not keep": "pbkdf2_hmac scrypt", "gives as many bytes as it is told": "shake_128 shake_256",
        },
    ),
    "html": offer("html", html, "", own={"escape": _html_escape, "unescape": _html_unescape}, withheld={}),
    "json": offer(
        "json", json, "JSONDecodeError", own={"dumps": _dumps, "loads": _loads},
        withheld={
            _FILES: "dump load", "a class that is given code to call; `dumps` takes default=": "JSONDecoder JSONEncoder",
            _ITS_OWN: "detect_encoding",
        },
    ),
    "re": offer(
        "re", re, "compile error escape findall finditer fullmatch match search split sub subn PatternError@3.13",
        # Flags are given as integers: the real ones are members of an enumeration, which lead to its class.
        own={**{name: int(getattr(re, name)) for name in _FLAGS}, "Match": Inert("re.Match", re.Match), "Pattern": Inert("re.Pattern", re.Pattern)},
        withheld={
            "writes to standard output": "DEBUG", "an enumeration, whose members lead to their class": "RegexFlag T TEMPLATE",
            "changes what the whole process shares": "purge", "undocumented": "Scanner template",
        },
    ),
    "string": offer(
        "string", string, "ascii_letters ascii_lowercase ascii_uppercase digits hexdigits octdigits printable punctuation whitespace",
        own={"capwords": _capwords},
        withheld={"reads any attribute of what it formats; use an f-string": "Formatter Template"},
    ),
    "textwrap": offer(
        "textwrap", textwrap, "", own={"dedent": _dedent, "fill": _fill, "indent": _indent, "shorten": _shorten, "wrap": _wrap},
        withheld={"its attributes are the library's own tables; use the functions": "TextWrapper"},
    ),
    "unicodedata": offer(
        "unicodedata", unicodedata,
        "bidirectional category combining decimal decomposition digit east_asian_width is_normalized lookup mirrored name normalize numeric "
        "unidata_version",
        withheld={"an older edition of the same": "UCD ucd_3_2_0"},
    ),
    "uuid": offer(
        "uuid", uuid, "",
        own={"UUID": _uuid, "uuid3": _uuid3, "uuid4": _uuid4, "uuid5": _uuid5, **{name: Uuid(getattr(uuid, name)) for name in _NAMESPACES}},
        withheld={
            "tells the machine's address": "getnode uuid1", "an enumeration, whose members lead to their class": "SafeUUID",
            _ITS_OWN: "Enum RESERVED_FUTURE RESERVED_MICROSOFT RESERVED_NCS RFC_4122 bytes_ int_ main",
        },
    ),
}  # fmt: skip
