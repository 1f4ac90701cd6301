import json
from datetime import datetime

import pytest
import typer
from typer.testing import CliRunner

from hostd.archive import associations as rows
from hostd.cli.associations import associations
from hostd.errors import NodeError

app = typer.Typer()
app.command()(associations)


@pytest.fixture
def filled(archive):
    def unit(connection):
        common = {"called_aet": "HOSTD", "ip": "192.0.2.1", "port": 4000, "facts": {}}
        ending = {"reason": "[red]why", "ended_at": 1001.0, "received": 3, "stored": 2, "size": 99}
        for at, aet, ended, failed in (
            (1000.0, "CT1", "released", 0),
            (1002.0, "MR1", "aborted", 0),
            (1004.0, "CT1", "released", 1),
        ):
            number = rows.open_row(connection, at=at, calling_aet=aet, **common)
            rows.close_row(connection, number, ended=ended, failed=failed, **ending)

    archive.writer.do(unit)


def run(config, *arguments):
    return CliRunner().invoke(app, [*arguments, "--config", str(config)])


def numbers(result):
    assert result.exit_code == 0, result.output
    return [row["id"] for row in json.loads(result.stdout)]


def test_they_are_listed_from_a_running_node_and_chosen(config, filled):
    assert numbers(run(config, "--json")) == [3, 2, 1]
    assert numbers(run(config, "--json", "--failed")) == [3, 2]
    assert numbers(run(config, "--json", "--from", "CT1")) == [3, 1]
    assert numbers(run(config, "--json", "--from", "CT1", "--limit", "1")) == [3]


def test_times_are_iso_8601_with_their_zone(config, filled):
    row = json.loads(run(config, "--json", "--limit", "1").stdout)[0]
    assert datetime.fromisoformat(row["at"]).timestamp() == 1004.0
    assert datetime.fromisoformat(row["at"]).tzinfo is not None


def test_people_get_a_table(config, filled):
    result = run(config)
    assert result.exit_code == 0
    assert "MR1 192.0.2.1:4000" in result.stdout
    assert "[red]why" in result.stdout  # what a peer said is no markup


def test_none_is_said_in_words(config, archive):
    assert "no association" in run(config).stdout
    assert numbers(run(config, "--json")) == []


def test_a_folder_where_nothing_has_run_is_a_problem(config):
    result = run(config)
    assert isinstance(result.exception, NodeError)  # hostd.cli.main says it in one line, exit code 2


def test_a_wrong_limit_is_exit_code_2(config, filled):
    assert run(config, "--limit", "0").exit_code == 2
