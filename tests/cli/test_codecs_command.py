"""`hostd codecs` lists the tools of the configuration beside the libraries."""

import json

import pytest
from typer.testing import CliRunner

from hostd.cli import build

TOOLS = """
[tools.shell]
command = ["/bin/sh", "{input}", "{output}"]
encodes = ["j2k"]

[tools.gone]
command = ["/nowhere/gone", "{input}", "{output}"]
"""


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "hostd.toml"
    file.write_text(TOOLS)
    file.chmod(0o600)
    return file


def ran(*arguments):
    result = CliRunner().invoke(build(), ["codecs", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_tools_are_listed_with_what_they_make_and_whether_they_are_there(config):
    text = ran("--config", config)
    assert "tool:shell" in text
    assert "its program /nowhere/gone is not there" in text
    assert "for scripts only" in text


def test_a_machine_reads_them_beside_the_libraries(config):
    (j2k,) = [row for row in json.loads(ran("--config", config, "--json")) if row["short"] == "j2k"]
    assert j2k["encode"][-1]["library"] == "tool:shell"
    assert all(not codec["library"].startswith("tool:") for codec in j2k["decode"])


def test_without_a_configuration_there_are_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "tool:" not in ran()
