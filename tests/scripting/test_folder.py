"""The folder of scripts, with the real file system and real notifications."""

import os
import threading
import time

import pytest

from hostd.errors import ConfigurationError
from hostd.scripting.folder import FolderWatch, read_source, scan


class Watched:
    """A watch of a folder, and what it was told, newest last."""

    def __init__(self, folder, rescan_s=30.0):
        self.folder = folder
        self.told = []
        self.answer = True
        self._changed = threading.Condition()
        self.watch = FolderWatch(folder, self._tell, rescan_s=rescan_s, check=lambda _path: None)

    def _tell(self, sources):
        with self._changed:
            self.told.append({name: source.text for name, source in sources.items()})
            self._changed.notify_all()
        return self.answer

    def until(self, wanted, timeout=60.0):
        with self._changed:
            assert self._changed.wait_for(lambda: self.told[-1] == wanted, timeout), self.told


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "scripts"
    made.mkdir()
    return made


@pytest.fixture
def watched(folder):
    (folder / "a.py").write_text("one")
    watching = Watched(folder)
    watching.watch.start()
    assert watching.told == [{"a.py": "one"}]
    yield watching
    watching.watch.stop()


@pytest.fixture
def patience(monkeypatch):
    """Have the watch wait longer for an editor to come to an end than one takes on a busy machine."""
    monkeypatch.setattr("hostd.scripting.folder.DEBOUNCE_S", 1.5)
    monkeypatch.setattr("hostd.scripting.folder._LONGEST_DEBOUNCE_S", 15.0)


def test_a_file_that_is_written_in_place_is_noticed(watched):
    (watched.folder / "a.py").write_text("two")
    watched.until({"a.py": "two"})
    (watched.folder / "b.py").write_text("new")
    watched.until({"a.py": "two", "b.py": "new"})


def test_an_editors_rename_save_is_noticed(watched):
    (watched.folder / "a.py.tmp").write_text("two")
    (watched.folder / "a.py.tmp").replace(watched.folder / "a.py")
    watched.until({"a.py": "two"})


def test_vims_way_of_saving_is_one_change_and_no_disappearance(watched, patience):
    path = watched.folder / "a.py"
    path.rename(watched.folder / "a.py~")
    time.sleep(0.05)
    path.write_text("two")
    (watched.folder / "a.py~").unlink()
    watched.until({"a.py": "two"})
    assert watched.told == [{"a.py": "one"}, {"a.py": "two"}]


def test_a_file_that_is_away_for_a_moment_is_not_reported_as_gone(folder, patience):
    (folder / "a.py").write_text("one")
    watched = Watched(folder)
    watched.watch._look()
    (folder / "a.py").unlink()
    threading.Timer(0.05, lambda: (folder / "a.py").write_text("two")).start()
    watched.watch._look()
    assert watched.told == [{"a.py": "one"}, {"a.py": "two"}]


def test_a_half_written_file_is_read_when_it_is_complete(watched, patience):
    with (watched.folder / "a.py").open("w") as file:
        for part in ("def on_", "start(host):", " pass"):
            file.write(part)
            file.flush()
            time.sleep(0.1)
    watched.until({"a.py": "def on_start(host): pass"})
    assert len(watched.told) == 2


def test_a_file_that_was_emptied_to_be_written_is_no_new_version(folder):
    (folder / "a.py").write_bytes(b"\n \n")
    assert "is empty" in scan(folder)["a.py"].problem


def test_the_swap_of_a_mounted_config_map_is_noticed(tmp_path):
    folder = tmp_path / "mounted"
    for number in (1, 2):
        (folder / f"..{number}").mkdir(parents=True)
        (folder / f"..{number}" / "c.py").write_text(f"version {number}")
    (folder / "..data").symlink_to("..1")
    (folder / "c.py").symlink_to("..data/c.py")
    watched = Watched(folder)
    watched.watch.start()
    try:
        watched.until({"c.py": "version 1"})
        (folder / "..data_tmp").symlink_to("..2")
        (folder / "..data_tmp").replace(folder / "..data")
        watched.until({"c.py": "version 2"})
    finally:
        watched.watch.stop()


def test_reading_scripts_does_not_start_another_look(watched):
    for _ in range(5):
        (watched.folder / "a.py").read_text()
    time.sleep(0.5)
    assert len(watched.told) == 1


def test_a_folder_that_goes_and_comes_back_is_watched_again(folder):
    (folder / "a.py").write_text("one")
    watched = Watched(folder, rescan_s=0.3)
    watched.watch.start()
    try:
        folder.rename(folder.with_name("away"))
        time.sleep(0.8)
        assert watched.told == [{"a.py": "one"}]  # nothing is taken for deleted
        folder.mkdir()
        (folder / "a.py").write_text("two")
        watched.until({"a.py": "two"})
        watched.watch._rescan_s = 1000.0
        time.sleep(0.6)  # the next wait is the long one
        (folder / "a.py").write_text("three")
        watched.until({"a.py": "three"})
    finally:
        watched.watch.stop()


def test_what_could_not_be_dealt_with_is_told_again_although_nothing_changed(folder):
    watched = Watched(folder)
    watched.answer = False
    watched.watch._look()
    watched.answer = True
    watched.watch._look()
    watched.watch._look()
    assert watched.told == [{}, {}]


def test_a_watch_that_was_never_started_can_be_stopped(folder):
    Watched(folder).watch.stop()


def test_a_folder_that_is_not_there_is_an_error_at_the_start(tmp_path):
    with pytest.raises(FileNotFoundError):
        Watched(tmp_path / "none").watch.start()


def test_only_files_that_end_in_py_are_scripts(folder):
    for name in ("a.py", "_lib.py", ".hidden.py", "b.txt", "b.pyc", "with a space.py", "größe.py"):
        (folder / name).write_text("pass")
    (folder / "package.py").mkdir()
    assert scan(folder).keys() == {"a.py", "with a space.py", "größe.py"}


def test_a_script_that_cannot_be_read_says_why(folder):
    (folder / "latin.py").write_bytes("# größe".encode("latin-1"))
    (folder / "large.py").write_bytes(b"#" * ((1 << 20) + 1))
    (folder / "dangling.py").symlink_to("nowhere")
    (folder / "loop.py").symlink_to("loop.py")
    os.mkfifo(folder / "pipe.py")
    (folder / os.fsdecode(b"bad\xff.py")).write_text("pass")
    problems = {name: source.problem for name, source in scan(folder).items()}
    assert "latin.py is not UTF-8 text" in problems["latin.py"]
    assert "too large" in problems["large.py"]
    assert "a link to a file that does not exist" in problems["dangling.py"]
    assert "cannot be read" in problems["loop.py"]
    assert "not a regular file" in problems["pipe.py"]
    assert "name is not UTF-8" in problems["bad\\xff.py"]


def test_a_byte_order_mark_is_not_part_of_the_script(folder):
    (folder / "a.py").write_bytes(b"\xef\xbb\xbfpass")
    assert scan(folder)["a.py"].text == "pass"


def test_a_script_that_others_may_write_is_not_used(folder):
    def refuse(path):
        raise ConfigurationError(f"{path} may be written by other users")

    (folder / "a.py").write_text("pass")
    source = scan(folder, refuse)["a.py"]
    assert source.text == ""
    assert "may be written by other users" in source.problem


def test_a_file_that_is_renamed_away_while_it_is_looked_at_is_not_there(folder):
    def vanish(path):
        path.unlink()
        raise ConfigurationError("cannot be looked at")

    (folder / "a.py").write_text("pass")
    assert scan(folder, vanish) == {}
    with pytest.raises(FileNotFoundError):
        read_source(folder / "a.py")
