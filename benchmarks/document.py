"""docs/performance.md: sections between markers, each written by its own benchmark; what stands around them is kept."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"
_INTRODUCTION = """# Performance

Every figure here was measured by a command of `benchmarks/`, which names it; do not edit between the markers. Ratios come
first: they were measured side by side in one run and hold elsewhere, milliseconds belong to the machine that is named.
"""


def begin_marker(section: str) -> str:
    """Return the line before a section."""
    return f"<!-- begin: {section} -->"


def end_marker(section: str) -> str:
    """Return the line after a section."""
    return f"<!-- end: {section} -->"


def with_section(page: str, section: str, text: str) -> str:
    """Return the page with that section put in place of the earlier one, or at the end. Raises `ValueError` for odd markers."""
    begin, end = begin_marker(section), end_marker(section)
    block = f"{begin}\n{text.strip()}\n{end}\n"
    if (page.count(begin), page.count(end)) == (0, 0):
        return f"{(page or _INTRODUCTION).rstrip()}\n\n{block}"
    if (page.count(begin), page.count(end)) != (1, 1) or page.index(begin) > page.index(end):
        raise ValueError(f"the markers of the section {section!r} are not one pair; mend the page by hand")
    return page[: page.index(begin)] + block + page[page.index(end) + len(end) :].removeprefix("\n")


def write_section(path: Path, section: str, text: str) -> None:
    """Write a section into the page, which is made if it is not there."""
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(with_section(page, section, text), encoding="utf-8")
