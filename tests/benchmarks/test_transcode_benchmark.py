"""The benchmark runs, and the page it writes is whole. What it measures is not tested."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import document
from benchmarks.figures import Ratio
from benchmarks.transcode import report
from benchmarks.transcode.report import SECTION, Run
from benchmarks.transcode.rounds import Cell, Effort, Sample, measured, measured_together, ratio
from benchmarks.transcode.subjects import Task
from hostd.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE, JPEG2000_LOSSLESS, JPEG_LOSSLESS_SV1

REPOSITORY = Path(__file__).resolve().parents[2]


def section_of(page):
    begin, end = document.begin_marker(SECTION), document.end_marker(SECTION)
    assert page.count(begin) == page.count(end) == 1
    return page[page.index(begin) : page.index(end)]


def assert_tables_are_whole(section):
    rows = [line for line in section.splitlines() if line.startswith("|")]
    tables = [number for number, line in enumerate(rows) if set(line) == {"|", "-", " "}]
    assert len(tables) >= 3
    for at, following in zip(tables, [*[n - 1 for n in tables[1:]], len(rows)], strict=True):
        assert following > at + 1, f"a table is empty: {rows[at - 1]}"
        assert {row.count("|") for row in rows[at - 1 : following]} == {rows[at].count("|")}, rows[at - 1]


def test_the_quick_benchmark_measures_a_made_image_and_writes_its_section(tmp_path):
    page = tmp_path / "performance.md"
    page.write_text("# Performance\n\nKept before.\n")
    command = [sys.executable, "-m", "benchmarks.transcode", "--quick", "--write", "--page", str(page)]
    ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=110, check=False)
    assert ran.returncode == 0, ran.stderr
    written = page.read_text()
    assert written.startswith("# Performance\n\nKept before.\n")
    section = section_of(written)
    assert_tables_are_whole(section)
    for syntax in (".70", ".80", ".90"):
        figures = re.search(rf"\| tiny \| `{re.escape(syntax)}` .*", section.partition("### Every syntax")[2])
        assert figures, f"{syntax} was not measured: {ran.stderr}"
        assert len(re.findall(r"\| \d+(?:\.\d+)? (?=\|)", figures[0])) == 5, (
            "encode and decode, each with and without verification"
        )


def test_a_section_is_replaced_and_the_rest_of_the_page_is_kept():
    page = document.with_section("# Performance\n\nBefore.\n", "one", "First.")
    page = document.with_section(page, "two", "Second.")
    again = document.with_section(page, "one", "Third.")
    assert again == page.replace("First.", "Third.")
    with pytest.raises(ValueError, match="not one pair"):
        document.with_section(again + document.end_marker("one"), "one", "Fourth.")


class Copier:
    """Something that takes bytes over as they are, and calls them what it was asked for or not."""

    def __init__(self, name, content):
        self.name, self.content = name, content

    def does(self, task):
        return True

    def run(self, task, result):
        result.write_bytes(self.content)


def test_what_gives_other_pixels_is_named_and_not_measured(tmp_path):
    from benchmarks.transcode import images  # noqa: PLC0415
    from hostd.transcoding.transcode import pixel_hash  # noqa: PLC0415

    image = images.tiny(tmp_path)
    content = image.path.read_bytes()
    with image.path.open("rb") as file:
        pixels = pixel_hash(file)
    subjects = [Copier("right", content), Copier("wrong", content[:-2] + b"\1\1"), Copier("broken", b"nothing")]
    said = []
    task = Task("tiny", IMPLICIT_LE, False, image.path, EXPLICIT_LE)
    right, wrong, broken = measured(task, subjects, Effort(2, 0, 1), pixels, tmp_path, said.append)
    assert (len(right.samples), right.failure) == (2, "")
    assert "pixels differ" in wrong.failure
    assert not wrong.samples
    assert "cannot be read" in broken.failure
    assert len(said) == 2
    assert ratio(right, wrong) is None


def test_what_is_compared_has_its_turn_in_every_round(tmp_path):
    from benchmarks.transcode import images  # noqa: PLC0415
    from benchmarks.transcode.__main__ import IN_TURNS, _groups  # noqa: PLC0415

    class Noting(Copier):
        def run(self, task, result):
            turns.append(task.image)
            super().run(task, result)

    turns = []
    image = images.tiny(tmp_path)
    subject = Noting("one", image.path.read_bytes())
    asked = [(Task(name, IMPLICIT_LE, False, image.path, EXPLICIT_LE), [subject], "") for name in ("a", "b")]
    one, other = measured_together(asked, Effort(3, 0, 1), tmp_path, print)
    assert turns == ["a", "a", "b", "b", "a", "b", "b", "a", "a", "b"]
    assert len(one[0].samples) == len(other[0].samples) == 3
    assert _groups([EXPLICIT_LE, *IN_TURNS, IMPLICIT_LE]) == [[EXPLICIT_LE], [IMPLICIT_LE], list(IN_TURNS)]


def test_a_slow_first_run_does_not_say_how_often_a_sample_repeats(tmp_path):
    from benchmarks.transcode import images  # noqa: PLC0415

    class SlowToStart(Copier):
        def run(self, task, result):
            runs.append(task)
            if len(runs) == 1:
                time.sleep(0.2)
            super().run(task, result)

    runs = []
    image = images.tiny(tmp_path)
    subject = SlowToStart("slow to start", image.path.read_bytes())
    task = Task("tiny", IMPLICIT_LE, False, image.path, EXPLICIT_LE)
    measured(task, [subject], Effort(1, 0.2, 1), "", tmp_path, print)
    assert len(runs) > 2 + 1, "by its first run a sample would be one run"


def test_a_ratio_is_taken_round_by_round():
    task = Task("tiny", IMPLICIT_LE, False, Path("none"), EXPLICIT_LE)
    ours = Cell("ours", task, [Sample(1, 1), Sample(10, 1), Sample(2, 1)])
    theirs = Cell("theirs", task, [Sample(2, 3), Sample(30, 3), Sample(8, 3)])
    found = ratio(ours, theirs)
    assert (found.wall, found.cpu) == (Ratio(3, 2, 4), Ratio(3, 3, 3))


def test_two_workers_are_judged_for_each_syntax_over_all_images():
    def cells(image, syntax, *seconds):
        task = Task(image, syntax, False, Path("none"), syntax)
        return tuple(Cell("", task, [Sample(wall, 0.0)]) for wall in seconds)

    two = [
        cells("CT", JPEG2000_LOSSLESS, 0.2, 0.1), cells("CT", JPEG_LOSSLESS_SV1, 0.2, 0.1), cells("CR", JPEG2000_LOSSLESS, 1.6, 1.0),
    ]  # fmt: skip
    found = list(report.section(Run(1, [], {}, two, {})).targets)
    assert [target.what.split(" ")[0] for target in found] == ["`.90`", "`.70`"]
    assert (round(found[0].measured.median, 2), found[0].measured.low, found[0].verdict) == (
        1.79,
        1.6,
        "**in the mean only**",
    )
    assert found[0].note == "by the clock: CT 2.00, CR 1.60"
    assert found[1].is_reached
