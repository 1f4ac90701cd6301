"""What keeps a node from starting, and what does not."""

import pytest

from hostd.config.settings import Settings
from hostd.startup import startup_problems


@pytest.fixture
def scripts(tmp_path):
    folder = tmp_path / "scripts"
    folder.mkdir(mode=0o755)
    return folder


def problems(scripts):
    return startup_problems(Settings(node={"data": scripts.parent / "data", "scripts": scripts}))


@pytest.mark.parametrize(
    ("name", "target"),
    [(".#forward.py", "user@host.12:3"), ("x.py", "nowhere.py"), ("x.py", "x.py"), ("_x.py", "_x.py")],
)
def test_a_link_that_leads_nowhere_keeps_no_node_from_starting(scripts, name, target):
    (scripts / name).symlink_to(target)
    assert problems(scripts) == []


@pytest.mark.parametrize(("name", "count"), [("x.py", 1), (".x.py", 0), ("_x.py", 0)])
def test_a_script_that_others_may_write_does_and_what_is_no_script_does_not(scripts, name, count):
    (scripts / name).write_text("")
    (scripts / name).chmod(0o666)
    assert len(problems(scripts)) == count


def test_a_link_to_a_script_that_others_may_write_does(scripts, tmp_path):
    (tmp_path / "real.py").write_text("")
    (tmp_path / "real.py").chmod(0o666)
    (scripts / "x.py").symlink_to(tmp_path / "real.py")
    assert len(problems(scripts)) == 1
