"""docs/several-machines.md says what is so."""

import re
from pathlib import Path

import pytest

from hostd.archive import jobs, leases, postgresql
from hostd.archive.writer import _PAUSES_S
from hostd.config.settings import load

PAGE = Path(__file__).parents[2] / "docs" / "several-machines.md"


@pytest.fixture(scope="module")
def text():
    return PAGE.read_text()


def test_its_configuration_is_one(text, tmp_path):
    (example,) = re.findall(r"^       (\[node\].*?)\n\n", text, re.MULTILINE | re.DOTALL)
    password = tmp_path / "password"
    password.write_text("geheim\n")
    config = tmp_path / "hostd.toml"
    config.write_text(re.sub(r'"/run/secrets/[^"]*"', f'"{password}"', re.sub(r"^ +", "", example, flags=re.MULTILINE)))
    config.chmod(0o600)
    node = load(config, environ={}).node
    assert node.place.database == "postgresql+psycopg://hostd:geheim@db.example/hostd"
    assert node.place.blobs == Path("/mnt/images/hostd")


def test_its_times_are_those_of_the_code(text):
    assert f"for {leases.SECONDS:.0f} seconds" in text
    assert f"After at most {leases.SECONDS + leases.LOOK_S:.0f} seconds others hold its leases" in text
    assert f"waited for up to {postgresql._IDLE_S} seconds" in text
    assert postgresql._POOL + postgresql._OVERFLOW + 2 <= 30
    assert "up to 30 connections a node" in text
    assert "about eight seconds" in text
    assert round(sum(_PAUSES_S)) == 8


def test_it_names_what_is_leased(text):
    sources = "".join(path.read_text() for path in (PAGE.parents[1] / "hostd").rglob("*.py"))
    kinds = set(re.findall(r'(?:_lease|_what) = f"([a-z]+):\{', sources)) | {
        prefix.removesuffix(":") for prefix in (leases.NODE, jobs.LEASE)
    }
    assert kinds == set(re.findall(r"`([a-z]+):…`", text))
