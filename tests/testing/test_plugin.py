"""The plug-in for people who write scripts: its documentation runs as written, and it is in nobody's way."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent.parent
PLUGIN = "hostd.testing.plugin"


def pytest(folder, *options, plugin=PLUGIN):
    """Run pytest in a folder, with no plug-in but ours."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", plugin, "--basetemp", "temporary", *options],
        cwd=folder, env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip


def test_the_example_of_the_documentation_runs_as_written(tmp_path):
    page = (REPOSITORY / "docs" / "testing.md").read_text()
    script, tests = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "route.py").write_text(script)
    (tmp_path / "test_route.py").write_text(tests)
    ran = pytest(tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "9 passed" in ran.stdout


def test_a_script_that_does_otherwise_fails_the_example(tmp_path):
    page = (REPOSITORY / "docs" / "testing.md").read_text()
    script, tests = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "route.py").write_text(
        script.replace("<=", "<").replace("1.5", "0.5").replace('to="ai"', 'to="archive"')
    )
    (tmp_path / "test_route.py").write_text(tests)
    ran = pytest(tmp_path, "-k", "thin_slices or other_modalities")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "1 failed, 3 passed" in ran.stdout


def test_it_imports_nothing_of_hostd_until_a_test_asks(tmp_path):
    (tmp_path / "test_other.py").write_text(
        "import sys\n\ndef test_it():\n"
        "    heavy = {'pydicom', 'numpy', 'sqlalchemy', 'pydantic', 'pynetdicom', 'msgspec', 'structlog'}\n"
        "    assert not heavy & sys.modules.keys()\n"
        "    assert {name for name in sys.modules if name.partition('.')[0] == 'hostd'} == "
        "{'hostd', 'hostd.testing', 'hostd.testing.plugin'}\n"
    )
    ran = pytest(tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_pytest_finds_it_where_hostd_is_installed():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {PLUGIN: PLUGIN}
