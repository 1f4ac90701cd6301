import pytest

from hostd.archive.archive import Archive
from hostd.clock import SystemClock


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "hostd.toml"
    file.write_text('[node]\ndata = "./data"\n')
    (tmp_path / "data").mkdir(mode=0o700)
    return file


@pytest.fixture
def archive(config):
    archive = Archive(config.parent / "data", "test", SystemClock())
    yield archive
    archive.close()
