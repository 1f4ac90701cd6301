"""A configuration file in a folder of the test."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostd.config.settings import Settings, load


class Config:
    """`hostd.toml` in a folder that only we may write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "hostd.toml"

    def write(self, text: str) -> Path:
        self.path.write_text(text, encoding="utf-8")
        self.path.chmod(0o600)
        return self.path

    def load(self, text: str, **environ: str) -> Settings:
        return load(self.write(text), environ=environ)


@pytest.fixture
def config(tmp_path):
    return Config(tmp_path)
