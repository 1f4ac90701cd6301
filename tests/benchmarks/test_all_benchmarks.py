"""`python -m benchmarks` names every benchmark that writes a section, with arguments that it takes."""

import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks
from benchmarks.__main__ import every

FOLDER = Path(benchmarks.__file__).parent


@pytest.mark.parametrize("name", every())
def test_each_takes_the_arguments_that_it_is_given(name):
    text = (FOLDER / name / "__main__.py").read_text()
    assert all(f'"{argument}"' in text for argument in every()[name][1] if argument.startswith("--"))


def test_it_lists_them_by_default():
    said = subprocess.run(
        [sys.executable, "-m", "benchmarks"], capture_output=True, text=True, check=True, cwd=FOLDER.parent
    )
    assert all(f"python -m benchmarks.{name} " in said.stdout for name in every())
