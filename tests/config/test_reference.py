from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from hostd.config.problems import model_at
from hostd.config.reference import COMMAND, EXAMPLE, main, render
from hostd.config.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def every_setting():
    for section in Settings.model_fields:
        model = model_at(Settings, (section,)) or model_at(Settings, (section, "x"))
        for name, field in model.model_fields.items():
            yield pytest.param(section, name, field, id=f"{section}.{name}")


def test_the_page_is_what_the_models_say():
    assert PAGE.read_text(encoding="utf-8") == render(), f"docs/configuration.md is old: run `{COMMAND}`"


@pytest.mark.parametrize(("section", "name", "field"), [*every_setting()])
def test_every_setting_is_described_and_on_the_page(section, name, field):
    assert field.description
    assert field.description.endswith(".")
    table = render().split(f"## [{section}")[1].split("\n## [")[0]
    assert f"| `{name}` |" in table


def test_the_example_is_a_configuration():
    settings = Settings(**tomllib.loads(EXAMPLE))
    assert settings.destinations_of("compress.py") == ("archive",)
    assert settings.peers["buffer"].url == "https://buffer.example/"


def test_the_page_is_written_where_it_is_told(tmp_path):
    main([str(tmp_path / "page.md")])
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == render()
