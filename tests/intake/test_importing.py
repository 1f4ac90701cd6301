"""Imports on both databases: files are taken, by the side of a node too, and found to be there the second time."""

import pytest

from hostd.archive import events, instances
from hostd.archive.archive import Archive
from hostd.intake.importing import Importer, Terms
from hostd.testing.clock import ManualClock
from hostd.testing.instances import made, write

BOTH_DATABASES = True


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    return [write(made(number, pixels=True, elements={}), folder / str(number), None) for number in range(3)]


def imported(place, files, **terms):
    importer = Importer(place, "node", ManualClock(), Terms(**terms))
    try:
        return [one.became for one in importer.take(files)]
    finally:
        importer.close()


def test_without_a_node(place, files):
    assert imported(place, files) == ["stored"] * 3
    assert imported(place, files) == ["already stored"] * 3


def test_what_is_stored_and_has_no_file_any_more_is_taken_again(place, files):
    assert imported(place, files) == ["stored"] * 3
    node = Archive(place, "node", ManualClock())
    with node.read() as connection:
        lost, *_ = [node.blobs.path(one.blob.name) for one in instances.page(connection)]
    node.close()
    lost.unlink()
    again = [
        write(made(number, pixels=True, elements={}), files[0].parent / f"again{number}", None) for number in range(3)
    ]
    assert sorted(imported(place, again)) == ["already stored", "already stored", "stored"]
    assert imported(place, again) == ["already stored"] * 3


def test_beside_a_node_which_is_told_where_events_are_raised(place, files):
    node = Archive(place, "node", ManualClock())
    seen = node.bulletin.seen("event")
    try:
        assert imported(place, files, raises_events=True) == ["stored"] * 3
        if node.is_shared:  # on SQLite it looks by itself, now and then
            assert node.bulletin.wait("event", seen, 60) > seen
        with node.read() as connection:
            assert len(events.after(connection, 0, ["stored_instance"], 10)) == 3
            assert all(node.blobs.path(one.blob.name).exists() for one in instances.page(connection))
    finally:
        node.close()
