"""The flame graph of a receiving node is drawn, where py-spy is installed and may look at a process."""

import shutil
import sys
from pathlib import Path

import pytest

from benchmarks.profile.__main__ import profile
from benchmarks.receive.made import Size

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(
        not Path(sys.executable).with_name("py-spy").exists() or shutil.which("storescu") is None,
        reason="py-spy or DCMTK is not installed",
    ),
]


def test_a_flame_graph_shows_where_instances_are_received(tmp_path):
    picture = tmp_path / "node.svg"
    try:
        sample = profile(picture, Size("small", 60, 60, 1, 60), 1, everything=True)
    except RuntimeError as error:
        if "Permission" not in str(error):
            raise
        pytest.skip("py-spy may not look at other processes here")
    assert sample.instances == 60
    assert "hostd/scp/conversation.py" in picture.read_text()
