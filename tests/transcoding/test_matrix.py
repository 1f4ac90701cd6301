"""Any source to any target: a covering part in every run, the whole as a marked one."""

from __future__ import annotations

import re
import shutil

import conformity
import pytest
from judges import FURTHER, all_judged
from matrix import DOCUMENT, LOSSY_BOUNDS, MARK, ROOT, SOURCES, TARGETS, check, difference, libraries, sources, tables
from transcoding_images import SHARED, done, image, saved

from hostd.dicom.syntaxes import ALL, JPEG2000
from hostd.transcoding import registry
from hostd.transcoding.codecs._imagecodecs import HAS_PRECISION, NEWER
from hostd.transcoding.options import EncodeOptions

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
        found = difference(file, tmp_path)
        if not found:
            pytest.skip(f"{FURTHER[syntax.uid]} is not on the PATH")
        for program, most in found.items():
            assert most <= LOSSY_BOUNDS[named(syntax)], (file.name, program)


@pytest.mark.skipif(bool(conformity.missing()), reason=f"not on the PATH: {conformity.missing()}")
def test_dcmftest_and_dciodvfy_would_report_what_is_wrong_with_a_result(tmp_path):
    content = done(saved(image(rows=40, columns=40)), JPEG2000, EncodeOptions(quality=90))[0]
    known = conformity.errors(content, tmp_path)
    said = b"\x28\x00\x10\x21CS\x02\x0001"  # Lossy Image Compression: 01
    wrong = content.replace(said, said[:-1] + b"7")
    assert wrong != content
    assert any("Lossy Image Compression" in error for error in conformity.errors(wrong, tmp_path) - known)
    beheaded = content.replace(b"DICM", b"XXXX", 1)
    with pytest.raises(Exception, match="DICM"):
        conformity.errors(beheaded, tmp_path)


@pytest.mark.parametrize("uid", FURTHER)
def test_each_further_judge_is_another_program_than_the_encoder_and_finds_what_was_encoded(uid, tmp_path):
    if shutil.which(FURTHER[uid]) is None:
        pytest.skip(f"{FURTHER[uid]} is not on the PATH")
    syntax = next(s for s in ALL if s.uid == uid)
    if not registry.encoders(syntax):
        pytest.skip(f"{syntax} is not encoded by this installation")
    content = saved(image(rows=40, columns=50, allocated=8, stored=8))
    made, _ = done(content, syntax, EncodeOptions(quality=90) if syntax.is_lossy else None)
    assert FURTHER[uid] in all_judged(made, tmp_path)


@pytest.mark.matrix
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("source", SOURCES, ids=named)
def test_the_whole_matrix(source, tmp_path):
    for file in sources(source):
        for target in TARGETS:
            check(file, target, tmp_path)


def generated():
    return DOCUMENT.read_text("utf-8").partition(MARK)[2]


def test_the_document_has_a_row_for_every_syntax_that_is_decoded_or_encoded():
    for syntax in ALL:
        if registry.decoders(syntax) or registry.encoders(syntax):
            assert f"| {syntax.name} ({named(syntax)}) |" in generated()


@pytest.mark.skipif(not HAS_PRECISION, reason=f"the table is that of a whole installation, which needs {NEWER}")
def test_the_document_names_the_libraries_and_judges_that_there_are():
    assert "\n".join(libraries()) in generated()


@pytest.mark.matrix
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not HAS_PRECISION, reason=f"the table is that of a whole installation, which needs {NEWER}")
def test_the_document_is_what_the_whole_matrix_gives(tmp_path):
    absent = [program for program in {*conformity.TOOLS, *FURTHER.values()} if shutil.which(program) is None]
    if absent or not SHARED.exists():
        pytest.skip(f"the table is that of all judges and samples; missing: {', '.join(sorted(absent)) or SHARED}")
    assert generated().strip() == tables(tmp_path).strip()
