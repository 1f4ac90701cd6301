"""Which text of a script is to run: what its file holds, what people decided, and what the node gave up, weighed as values."""

from __future__ import annotations

from dataclasses import dataclass

from hostd.archive.scripts import KnownScript


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to run: the text of the `file`, or else the `stored` version, or, with neither, nothing.

    `waiting` is the hash of the file's text when it is not taken; `releases`: once the file's text runs, nothing is pinned any more.
    """

    file: bool = False
    stored: str | None = None
    waiting: str | None = None
    releases: bool = False


def choose(known: KnownScript, text: str, *, manual: bool) -> Choice:
    """Decide for a script whose file holds the text of that hash. With `manual` an edit waits until it is deployed."""
    if known.disabled:
        return Choice(waiting=known.waiting)
    choice = _wanted(known, text, manual=manual)
    if known.parked is not None and known.parked == (text if choice.file else choice.stored):
        return Choice(waiting=choice.waiting)
    return choice


def _wanted(known: KnownScript, text: str, *, manual: bool) -> Choice:
    if known.pinned is not None and text != known.pinned and (manual or text == known.pinned_over):
        return Choice(stored=known.pinned, waiting=text)
    if manual and text not in (known.version, known.approved):
        return Choice(stored=known.version, waiting=text)
    return Choice(file=True, releases=known.pinned is not None)
