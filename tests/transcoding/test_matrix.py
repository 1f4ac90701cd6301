"""Any source to any target: a covering part in every run, the whole as a marked one."""

from __future__ import annotations

import re

import pytest
from matrix import DOCUMENT, LOSSY_BOUNDS, MARK, ROOT, SOURCES, TARGETS, check, difference, sources

from hostd.dicom.syntaxes import ALL
from hostd.transcoding import registry

STEP = 4
"""Each source goes to every fourth target, each target is reached from every fourth source."""
PAIRS = [
    (source, target)
    for row, source in enumerate(SOURCES)
    for column, target in enumerate(TARGETS)
    if source != target and (row + column) % STEP == 0
]


def named(syntax):
    return syntax.uid.removeprefix(ROOT) or "implicit"


def test_the_part_that_is_always_run_covers_every_source_and_every_target():
    assert {source for source, _ in PAIRS} == set(SOURCES)
    assert {target for _, target in PAIRS} == set(TARGETS)


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=named)
def test_an_independent_decoder_finds_the_pixels_of_the_source(source, target, tmp_path):
    files = sources(source, only_shipped=True) or sources(source)
    if not files:
        pytest.skip(f"there is no file in {source} here, and no program to make one")
    said = [check(file, target, tmp_path) for file in files]
    for word in said:
        assert not word.startswith("refused") or re.search(r"signed|BitsAllocated|bits?\b|palette|YBR_FULL", word), word


@pytest.mark.parametrize("syntax", [s for s in SOURCES if named(s) in LOSSY_BOUNDS], ids=named)
def test_decoders_agree_on_lossy_sources_within_the_bound(syntax, tmp_path):
    files = sources(syntax)
    if not files:
        pytest.skip(f"there is no file in {syntax} here, and no program to make one")
    for file in files:
        assert difference(file, tmp_path) <= LOSSY_BOUNDS[named(syntax)], file.name


@pytest.mark.matrix
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("source", SOURCES, ids=named)
def test_the_whole_matrix(source, tmp_path):
    for file in sources(source):
        for target in TARGETS:
            check(file, target, tmp_path)


def test_the_document_has_a_row_for_every_syntax_that_is_decoded_or_encoded():
    generated = DOCUMENT.read_text("utf-8").partition(MARK)[2]
    for syntax in ALL:
        if registry.decoders(syntax) or registry.encoders(syntax):
            assert f"| {syntax.name} ({named(syntax)}) |" in generated
