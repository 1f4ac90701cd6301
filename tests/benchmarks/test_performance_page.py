"""docs/performance.md says of each section by which command, on which machine and in how many rounds it was measured; its summary is true."""

import re

import pytest

from benchmarks import document
from benchmarks.__main__ import KNOWN
from benchmarks.figures import Target

TEXT = document.PAGE.read_text(encoding="utf-8")
FACTS = document.known_of(document.PAGE)
NAMES = [name for name in re.findall(r"<!-- begin: (\S+) -->", TEXT) if name != document.SUMMARY]


def section_of(name):
    begin, end = document.begin_marker(name), document.end_marker(name)
    assert TEXT.count(begin) == TEXT.count(end) == 1
    return TEXT[TEXT.index(begin) + len(begin) : TEXT.index(end)].strip()


def test_the_summary_is_that_of_the_sections():
    assert section_of(document.SUMMARY) == document.summary(FACTS)
    assert TEXT.index(document.begin_marker(document.SUMMARY)) < TEXT.index(document.begin_marker(NAMES[0]))


def test_every_section_has_its_facts_and_none_is_left_of_another():
    assert set(NAMES) == FACTS.keys()


@pytest.mark.parametrize("name", NAMES)
def test_a_section_names_its_command_its_machine_and_its_rounds(name):
    section, facts = section_of(name), FACTS[name]
    assert section.startswith(f"## {facts['title']}\n")
    rounds = f"{facts['rounds']} round{'' if facts['rounds'] == 1 else 's'}"
    assert f"Made by `{facts['command']}` in {rounds}; see `benchmarks/README.md`." in section
    assert f"\nMachine: {facts['machine']}." in section
    assert re.fullmatch(r".+, \d+ cores; Python 3\.\d+\.\d+; hostd .+", facts["machine"])


@pytest.mark.parametrize("name", NAMES)
def test_the_command_of_a_section_is_one_that_there_is(name):
    (of,) = re.findall(r"python -m benchmarks\.(\w+)", FACTS[name]["command"])
    assert of in KNOWN
    assert "--quick" not in FACTS[name]["command"], "its figures mean nothing"


@pytest.mark.parametrize("name", NAMES)
def test_a_section_has_the_targets_that_the_summary_has(name):
    section = section_of(name)
    rows = [" | ".join(map(str, Target.from_json(one).row())) for one in FACTS[name]["targets"]]
    assert [row for row in rows if f"| {row} |" not in section] == []
    for one in FACTS[name]["targets"]:
        assert one["reached"] == Target.from_json(one).is_reached


@pytest.mark.parametrize("name", NAMES)
def test_tables_are_whole_and_pictures_are_there(name):
    lines = section_of(name).splitlines()
    heads = [number for number, line in enumerate(lines) if re.fullmatch(r"\|([ -]*-[-: ]*\|)+", line)]
    for at in heads:
        assert lines[at + 1].startswith("|"), f"a table is empty: {lines[at - 1]}"
        end = next((n for n in range(at, len(lines)) if not lines[n].startswith("|")), len(lines))
        assert {line.count("|") for line in lines[at - 1 : end]} == {lines[at].count("|")}, lines[at - 1]
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", section_of(name)):
        assert document.PAGE.with_name(picture).exists()
