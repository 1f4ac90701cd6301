"""What nobody waits for is handed to the writer a moment later, in its order, and nothing of it is lost."""

import pytest

from hostd.errors import StorageError
from hostd.scripting import notebook as notebooks
from hostd.scripting.notebook import Notebook


@pytest.fixture
def notebook(archive, monkeypatch):
    monkeypatch.setattr(notebooks, "_AFTER_S", 3600.0)
    made = Notebook(archive)
    yield made
    made.stop()


def test_notes_wait_until_somebody_is_in_a_hurry_and_keep_their_order(notebook):
    done = []
    noted = [notebook.enter(lambda _c, n=n: bool(done.append(n))) for n in range(5)]
    assert done == []
    notebook.hurry()
    assert [one.result(60) for one in noted] == [False] * 5
    assert done == [0, 1, 2, 3, 4]


def test_without_a_hurry_they_are_handed_over_a_moment_later(archive, monkeypatch):
    monkeypatch.setattr(notebooks, "_AFTER_S", 0.01)
    notebook = Notebook(archive)
    try:
        for _ in range(3):
            assert notebook.enter(lambda _c: True).result(60)
    finally:
        notebook.stop()


def test_what_waits_is_committed_when_the_node_stops_and_what_comes_later_at_once(notebook):
    before = notebook.enter(lambda _c: True)
    notebook.stop()
    assert before.result(60)
    assert notebook.enter(lambda _c: True).result(60)


def test_a_note_that_fails_fails_alone(notebook):
    def fails(_connection):
        raise ValueError("odd")

    bad, good = notebook.enter(fails), notebook.enter(lambda _c: True)
    notebook.hurry()
    with pytest.raises(ValueError, match="odd"):
        bad.result(60)
    assert good.result(60)


def test_what_the_writer_does_not_take_is_told_to_whoever_waits(notebook, archive, monkeypatch):
    def refuse(_unit):
        raise StorageError("the node is stopping")

    noted = notebook.enter(lambda _c: True)
    monkeypatch.setattr(archive.writer, "submit", refuse)
    notebook.hurry()
    with pytest.raises(StorageError, match="stopping"):
        noted.result(60)
