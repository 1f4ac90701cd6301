"""A node may have many files and connections open at one time, whatever its process begins with."""

import resource
import subprocess
import sys

import pytest

_CODE = """
import resource
from hostd.cli.descriptors import allow_many
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
allow_many()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(("soft", "hard", "expected"), [(256, 1000, 1000), (1000, 1000, 1000), (300, None, None)])
def test_it_has_as_many_as_the_system_allows(soft, hard, expected):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    hard = most if hard is None else hard
    expected = min(most, 65_536) if expected is None else expected
    code = _CODE.format(soft=soft, hard=hard)
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert said.split() == [str(expected), str(hard)]
