import json

import pytest
from typer.testing import CliRunner

from hostd.archive import events
from hostd.archive import scripts as rows
from hostd.cli.scripts import app


@pytest.fixture
def archive(archive):
    archive.writer.do(lambda c: [events.append(c, "stored_instance", f"i{n}", 1.0) for n in range(5)])
    return archive


def run(config, *arguments, **other):
    return CliRunner().invoke(app, [*arguments, "--config", str(config)], **other)


def found(archive, name):
    with archive.read() as connection:
        return rows.find(connection, name)


def listed(config):
    result = run(config, "--json")
    assert result.exit_code == 0, result.output
    return {row["name"]: row for row in json.loads(result.stdout)}


def test_each_tells_how_far_it_is_and_what_is_wrong(config, archive):
    version = rows.Version("0123456789abcdef" * 4, "source", ("on_stored_instance",))

    def unit(connection):
        rows.meet(connection, "late.py", 1.0, from_beginning=True)
        cursor, _ = rows.accept(connection, "late.py", version, 1.0)  # its `start` is the sixth event
        rows.advance(connection, "late.py", cursor.token, after=0, to=2)
        rows.finish_out_of_order(connection, "late.py", cursor.token, 4)
        rows.meet(connection, "broken.py", 1.0, from_beginning=False)
        rows.refuse(connection, "broken.py", "line 1: [red]bad")

    archive.writer.do(unit)
    scripts = listed(config)
    assert (scripts["late.py"]["state"], scripts["late.py"]["behind"]) == ("running", 3)
    assert scripts["late.py"]["version"] == version.hash
    assert (scripts["broken.py"]["state"], scripts["broken.py"]["behind"]) == ("broken", 0)
    assert scripts["broken.py"]["error"] == "line 1: [red]bad"
    text = run(config, "list").stdout
    assert "0123456789ab " in text
    assert version.hash not in text
    assert "line 1: [red]bad" in text


def test_a_new_one_begins_at_the_beginning_once_that_is_confirmed(config, archive):
    result = run(config, "start", "new.py", "--from-beginning", input="y\n")
    assert result.exit_code == 0
    assert "5 events" in result.output
    assert found(archive, "new.py").cursor.low_water == 0
    assert listed(config)["new.py"]["behind"] == 5


def test_yes_does_not_ask(config, archive):
    assert run(config, "start", "new.py", "--from-beginning", "--yes").exit_code == 0
    assert found(archive, "new.py").cursor.low_water == 0


def test_no_changes_nothing(config, archive):
    result = run(config, "start", "new.py", "--from-beginning", input="n\n")
    assert result.exit_code == 1
    assert found(archive, "new.py") is None


def test_a_known_one_goes_on_where_it_stopped(config, archive):
    archive.writer.do(lambda c: rows.meet(c, "known.py", 1.0, from_beginning=False))
    result = run(config, "start", "known.py", "--from-beginning", "--yes")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert found(archive, "known.py").cursor.low_water == 5


@pytest.mark.parametrize("arguments", [["new.py"], ["new", "--from-beginning"], ["../new.py", "--from-beginning"]])
def test_what_is_not_meant_is_exit_code_2(config, archive, arguments):
    assert run(config, "start", *arguments, "--yes").exit_code == 2
    assert listed(config) == {}


def test_none_is_said_in_words(config, archive):
    assert "no script" in run(config).stdout
