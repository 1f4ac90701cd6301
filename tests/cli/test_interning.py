"""What has a new path for each file keeps none of those that are gone."""

import subprocess
import sys

_PATHS = """
import sys, uuid
from pathlib import Path
from hostd.cli.interning import keep_no_paths
if sys.argv[1] == "kept none":
    keep_no_paths()
def make():
    for _ in range(5000):
        path = Path("/data") / uuid.uuid4().hex / "file.dcm"
        assert str(path).startswith("/data/") and path.suffix == ".dcm" and path.parent.parent == Path("/data")
make()
before = sys.getallocatedblocks()
make()
print(sys.getallocatedblocks() - before)
"""


def blocks_left(how):
    ended = subprocess.run([sys.executable, "-c", _PATHS, how], check=True, timeout=120, capture_output=True, text=True)
    return int(ended.stdout)


def test_paths_that_are_gone_leave_nothing():
    assert blocks_left("kept none") < 500


def test_python_itself_keeps_them_only_where_this_is_for():
    assert (blocks_left("as it is") >= 5000) is (sys.version_info[:2] == (3, 12))
