"""docs/performance.md: sections between markers, each written by its own benchmark; what stands around them is kept.

Beside it is a file of JSON with what each section says of its targets, of which the table at the top of the page is made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import pictures
from benchmarks.figures import Section, Table, Target

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
SUMMARY = "summary"
_INTRODUCTION = """# Performance

How fast hostd is, how much it needs, and what of that was aimed at and is missed. Every figure was measured by a command of `benchmarks/`
that its section names, with the machine, how busy it was, and the rounds; do not edit between the markers. What is compared was measured
side by side, alternating, in one run: such ratios say more than rates and milliseconds, which belong to the machine that is named. They are
not independent of it either: how long a disk takes to sync, how many processors there are and who else uses them move some of them by half.
"""


def begin_marker(section: str) -> str:
    """Return the line before a section."""
    return f"<!-- begin: {section} -->"


def end_marker(section: str) -> str:
    """Return the line after a section."""
    return f"<!-- end: {section} -->"


def with_section(page: str, section: str, text: str) -> str:
    """Return the page with that section put in place of the earlier one, or at the end; a summary comes first.

    Raises `ValueError` for odd markers.
    """
    begin, end = begin_marker(section), end_marker(section)
    block = f"{begin}\n{text.strip()}\n{end}\n"
    if (page.count(begin), page.count(end)) == (0, 0):
        page = page or _INTRODUCTION
        if section == SUMMARY:
            before, marker, rest = page.partition("<!-- begin: ")
            return f"{before.rstrip()}\n\n{block}\n{marker}{rest}"
        return f"{page.rstrip()}\n\n{block}"
    if (page.count(begin), page.count(end)) != (1, 1) or page.index(begin) > page.index(end):
        raise ValueError(f"the markers of the section {section!r} are not one pair; mend the page by hand")
    return page[: page.index(begin)] + block + page[page.index(end) + len(end) :].removeprefix("\n")


def write(path: Path, section: Section) -> bool:
    """Write a section into the page, which is made if it is not there, with its picture and the summary.

    Tell whether a picture could be drawn, where the section has one.
    """
    picture = path.with_name(f"{path.stem}-{section.name}.svg")
    is_drawn = section.picture is None or pictures.draw(section.picture, picture)
    said = section.markdown(picture.name if section.picture is not None and is_drawn else "")
    page = with_section(path.read_text(encoding="utf-8") if path.exists() else "", section.name, said)
    known = known_of(path) | {section.name: section.as_json()}
    facts_path(path).write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    path.write_text(with_section(page, SUMMARY, summary(known)), encoding="utf-8")
    return is_drawn


def facts_path(page: Path) -> Path:
    """Return where the targets of a page's sections are."""
    return page.with_suffix(".json")


def known_of(page: Path) -> dict[str, Any]:
    """Return what is known of the sections of a page, by their names."""
    path = facts_path(page)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def summary(known: Mapping[str, Any]) -> str:
    """Return the table of all targets, of what is known of each section."""
    rows, reached = [], 0
    for facts in known.values():
        link = f"[{facts['title']}](#{facts['title'].lower().replace(' ', '-')})"
        for target in map(Target.from_json, facts["targets"]):
            reached += target.is_reached
            rows.append((link, *target.row(), f"`{facts['command']}`"))
    text = (
        f"{reached} of {len(rows)} are reached. Measured is the median, or the mean over several images, and in brackets what is smallest and"
        " largest. More on each, and the machine, is in its section; `python -m benchmarks --write` measures all of them anew."
    )
    return (
        "## What is aimed at, and what is reached\n\n"
        + Table(("section", "target", "aimed at", "measured", "reached", "command"), rows, text=text).markdown()
    )
