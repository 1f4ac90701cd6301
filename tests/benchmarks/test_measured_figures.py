"""Figures have their spread, targets say whether they are reached, and a section is the same in Markdown, JSON and as a picture."""

import argparse

import pytest

from benchmarks import command, document
from benchmarks.figures import Dots, Lines, Ratio, Section, Spread, Table, Target


def section(name="one", **more):
    given = {
        "title": "One", "command": "python -m benchmarks.one", "rounds": 3, "how": "How.", "tables": [],
        "targets": [Target("speed", Spread(2.0, 1.5, 2.5), least=1.8)], "machine": "a machine", "load": 0.1,
    }  # fmt: skip
    return Section(name=name, **given | more)


def test_a_spread_is_of_all_or_of_the_middle():
    assert Spread.of([3, 1, 2]) == Spread(2, 1, 3)
    assert Spread.middle([*range(1, 20), 1000]) == Spread(10.5, 3, 18)
    assert Spread.of([3.25, 1, 40]).said() == "3.25 [1.00 to 40.00]"
    assert Spread.of([5.0]).said() == "5.00"


def test_a_ratio_is_taken_round_by_round():
    found = Ratio.between([2, 12, 5], [1, 4, 1])
    assert found == Ratio(3, 2, 5)
    assert found.said() == "**3.00** [2.00 to 5.00]"
    with pytest.raises(ValueError, match="shorter"):
        Ratio.between([1, 2], [1])


@pytest.mark.parametrize(
    ("least", "most", "every", "verdict"),
    [
        (1.9, None, False, "yes"),
        (2.1, None, False, "**no**"),
        (1.9, None, True, "**in the mean only**"),
        (1.4, None, True, "yes"),
        (None, 2.0, False, "yes"),
        (None, 2.0, True, "**in the mean only**"),
        (None, 1.9, True, "**no**"),
    ],
)
def test_a_target_says_whether_it_is_reached(least, most, every, verdict):
    target = Target("speed", Spread(2.0, 1.5, 2.5), least=least, most=most, every=every)
    assert target.verdict == verdict
    assert Target.from_json(target.as_json()) == target


def test_a_target_reads_the_same_in_its_section_and_in_the_summary():
    target = Target("speed", Ratio(12.0, 11.0, 13.0), least=1)
    assert (
        target.row()
        == Target.from_json(target.as_json()).row()
        == ("speed", "at least 1 times", "12.0 [11.0 to 13.0]", "yes")
    )


def test_a_table_has_every_kind_of_cell():
    table = Table(
        ("a", "b", "c", "d"), [("x", None, 3, 12.34), (Spread(1, 0, 2), Ratio(1, 0, 2), "", 0)], "T", "Said.", "Below."
    )
    assert table.markdown() == (
        "### T\n\nSaid.\n\n| a | b | c | d |\n| --- | --- | --- | --- |\n| x | | 3 | 12.3 |\n"
        "| 1.00 [0.00 to 2.00] | **1.00** [0.00 to 2.00] | | 0 |\n\nBelow."
    )
    assert table.as_json()["rows"][1][0] == {"median": 1, "low": 0, "high": 2}


def test_a_section_is_written_with_its_picture_its_facts_and_the_summary(tmp_path):
    pytest.importorskip("matplotlib")
    page = tmp_path / "page.md"
    points = [("a", "hostd", Spread(2.0, 1.0, 3.0)), ("b", "hostd", Spread(8.0, 8.0, 8.0))]
    assert document.write(page, section(picture=Dots(points, "times", [("a", 2.5)]), caption="How fast"))
    assert document.write(page, section("two", title="Two", picture=Lines({"x": [(0, 1), (1, 2)]}, "n", "MiB")))
    text = page.read_text()
    assert "![How fast](page-one.svg)" in text
    assert "| speed | at least 1.8 times | 2.00 [1.50 to 2.50] | yes |" in text
    assert "2 of 2 are reached" in text
    assert text.index("begin: summary") < text.index("begin: one") < text.index("begin: two")
    assert "aimed at" in (tmp_path / "page-one.svg").read_text()
    again = (tmp_path / "page-one.svg").read_bytes()
    document.write(page, section(picture=Dots(points, "times", [("a", 2.5)]), caption="How fast"))
    assert page.read_text() == text
    assert (tmp_path / "page-one.svg").read_bytes() == again, "the same figures give the same file"


def test_what_was_reached_once_is_not_said_of_a_later_run(tmp_path):
    page = tmp_path / "page.md"
    document.write(page, section())
    document.write(page, section(targets=[Target("speed", Spread(1.0, 1.0, 1.0), least=1.8)]))
    assert "0 of 1 are reached" in page.read_text()
    assert document.known_of(page)["one"]["targets"][0]["reached"] is False


def test_a_section_names_the_arguments_that_change_what_is_measured(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(
        "sys.argv", ["x", "--rounds", "7", "--by", "[storage]", "--write", "--page", str(tmp_path / "page.md")]
    )
    parser = command.parser("one", "About.", rounds=3)
    parser.add_argument("--by")
    with command.begun(parser) as (asked, folder):
        assert list(folder.iterdir()) == []
        command.finish(asked, [section()])
    assert not folder.exists()
    assert "Made by `python -m benchmarks.one --rounds 7 --by '[storage]'` in 3 rounds" in capsys.readouterr().out


def test_a_program_that_is_not_there_ends_it_with_a_status_of_its_own(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["x"])
    with pytest.raises(SystemExit) as ended, command.begun(argparse_of("one"), ["sh", "no-such-program"]):
        pass
    assert ended.value.code == command.CANNOT
    assert "no-such-program is not there" in capsys.readouterr().err


def argparse_of(name) -> argparse.ArgumentParser:
    return command.parser(name, "About.")
