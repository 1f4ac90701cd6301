"""Descriptions without what could identify somebody (PS3.15 §E.3.5): only words that are known to be medical are kept.

The words are those of the standard's own code meanings, as pydicom carries them. Names and numbers are not among them, and what this
instance itself calls a name or an identifier is taken away even if it is.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import cast

_MORE = Path(__file__).with_name("words.txt")
"""What acquisition and reconstruction are called in series descriptions, beyond the words of the code meanings."""
_WORD = re.compile(r"[0-9]+(?:[.,][0-9]+)?[A-Za-z]*|[A-Za-z][A-Za-z0-9]*")
_MEASURE = re.compile(
    r"([0-9]{1,4}(?:[.,][0-9]{1,3})?)(mm|cm|m|s|ms|min|kv|kvp|ma|mas|t|ml|mg|mgy|hz|khz|mhz|deg|hu)", re.IGNORECASE
)
_NUMBER = re.compile(r"[0-9]{1,4}(?:[.,][0-9]{1,3})?")


@cache
def standard_schemes() -> frozenset[str]:
    """Return the coding schemes whose codes identify nobody."""
    return _of_standard()[0] | {"SRT", "SNM3", "99SDM", "ICD10", "I9C", "I10C", "ICD11", "LN"}


@cache
def vocabulary() -> frozenset[str]:
    """Return all words that may stay, in lower case."""
    return _of_standard()[1] | frozenset(_MORE.read_text("ascii").split())


@cache
def _of_standard() -> tuple[frozenset[str], frozenset[str]]:
    """Return the coding schemes of the standard's codes, and the words of their meanings.

    They are the meanings that `pydicom.sr.codedict` looks up, of which it has no public list. They are read without importing
    `pydicom.sr`, which would keep 10 MiB for them in every process that edits.
    """
    package = find_spec("pydicom.sr")
    found = package and PathFinder.find_spec("pydicom.sr._concepts_dict", package.submodule_search_locations)
    if not found or found.loader is None:
        raise ImportError("this pydicom has no list of concepts")
    module = module_from_spec(found)
    found.loader.exec_module(module)
    schemes = cast("dict[str, dict[str, dict[str, tuple[str, list[int]]]]]", module.concepts)
    meanings = (meaning for scheme in schemes.values() for codes in scheme.values() for meaning, _ in codes.values())
    return frozenset(schemes), frozenset(
        word.lower() for meaning in meanings for word in re.findall(r"[A-Za-z]{3,}", meaning)
    )


def words_of(text: str) -> set[str]:
    """Return the words of a name or an identifier, in lower case."""
    return {word.lower() for word in re.findall(r"\w+", text)}


def cleaned(text: str, identifying: AbstractSet[str]) -> str:
    """Return what of a description may stay, its words with single spaces between; '' when nothing may."""
    found = [match.group() for match in _WORD.finditer(text)]
    kept = [
        word
        for number, word in enumerate(found)
        if word.lower() not in identifying and _may_stay(word, found[number + 1] if number + 1 < len(found) else "")
    ]
    return " ".join(kept)


def _may_stay(word: str, following: str) -> bool:
    if _NUMBER.fullmatch(word):
        return _MEASURE.fullmatch("1" + following) is not None
    return word.lower() in vocabulary() or _MEASURE.fullmatch(word) is not None
