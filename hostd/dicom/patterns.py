"""Sets of UIDs as people write them: by UID, by name, with the wildcards `*` and `?`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import translate

from pydicom._uid_dict import UID_dictionary

from hostd.dicom import syntaxes
from hostd.dicom.identity import is_uid
from hostd.errors import ConfigurationError

_OF_UIDS = re.compile(r"[0-9.*?]+")
_WRITTEN = re.compile(r"[A-Za-z0-9.*?_-]+")
_SOP_CLASSES = {
    keyword.lower(): uid
    for uid, (_, kind, _, _, keyword) in UID_dictionary.items()
    if kind in {"SOP Class", "Meta SOP Class"}
}
STANDARD_UIDS = frozenset(UID_dictionary)
"""All UIDs that PS3.6 Annex A gives a meaning."""


@dataclass(frozen=True, slots=True)
class UidPatterns:
    """A set of UIDs: those of `texts`, in which `*` stands for any characters and `?` for one."""

    texts: tuple[str, ...]
    _expression: re.Pattern[str]

    @classmethod
    def of(cls, texts: Iterable[str]) -> UidPatterns:
        """Return the set of these UIDs and patterns of UIDs."""
        plain = tuple(dict.fromkeys(texts))
        return cls(plain, re.compile("|".join(map(translate, plain)) if plain else r"(?!)"))

    def __contains__(self, uid: str) -> bool:
        return self._expression.fullmatch(uid) is not None


def transfer_syntaxes(names: Iterable[str]) -> UidPatterns:
    """Return the transfer syntaxes that a person named by UID, keyword, short name, or with wildcards in a UID or keyword.

    Raises `ConfigurationError` for a name that means none.
    """
    return UidPatterns.of(uid for name in names for uid in _meant(name, _syntax, _SYNTAX_KEYWORDS))


def sop_classes(names: Iterable[str]) -> UidPatterns:
    """Return the SOP classes that a person named by UID, keyword, or with wildcards in a UID or keyword.

    Raises `ConfigurationError` for a name that means none.
    """
    return UidPatterns.of(uid for name in names for uid in _meant(name, _sop_class, _SOP_CLASSES))


_SYNTAX_KEYWORDS = {syntax.keyword.lower(): syntax.uid for syntax in syntaxes.ALL}


def _meant(name: str, one: Callable[[str], str], keywords: dict[str, str]) -> list[str]:
    if not _WRITTEN.fullmatch(name):
        raise ConfigurationError(f"{name[:64]!r} is no UID and no name: write a UID or a keyword, `*` and `?` allowed")
    if "*" not in name and "?" not in name:
        return [one(name)]
    if _OF_UIDS.fullmatch(name):
        return [name]
    expression = re.compile(translate(name.lower()))
    found = [uid for keyword, uid in keywords.items() if expression.fullmatch(keyword)]
    if not found:
        raise ConfigurationError(f"no keyword of the standard is like {name!r}")
    return found


def _syntax(name: str) -> str:
    try:
        return name if is_uid(name) else syntaxes.lookup(name).uid
    except syntaxes.UnknownSyntaxError as error:
        raise ConfigurationError(str(error)) from error


def _sop_class(name: str) -> str:
    if is_uid(name):
        return name
    found = _SOP_CLASSES.get(name.lower())
    if found is None:
        near = get_close_matches(name.lower(), _SOP_CLASSES, n=1, cutoff=0.5)
        hint = f"; did you mean {UID_dictionary[_SOP_CLASSES[near[0]]][4]}?" if near else ""
        raise ConfigurationError(f"no SOP class is called {name!r}{hint}")
    return found
