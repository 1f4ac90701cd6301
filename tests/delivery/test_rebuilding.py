"""An index made anew of the files: every instance is found again, nothing is told, and no file is lost."""

import shutil

import pytest
from delivery_kit import small_file

from hostd.archive import events, instances
from hostd.archive import scripts as script_rows
from hostd.archive.archive import Archive
from hostd.archive.database import INDEX
from hostd.archive.levels import next_due
from hostd.archive.rebuilding import UNREADABLE, rebuild
from hostd.archive.verifying import verify
from hostd.errors import NodeError


def lose_index(node):
    node.archive.close()
    for path in node.folder.data.glob(f"{INDEX}*"):
        path.unlink()


def test_every_instance_is_found_again_with_its_content_and_nothing_is_told(node):
    received = [node.receive(small_file(PatientName="Doe^J", StudyDate="20260102")) for _ in range(3)]
    lose_index(node)
    found = rebuild(node.folder.data)
    assert (found.instances, found.versions, found.repeats, found.unreadable) == (3, 0, [], {})
    assert verify(node.folder.data).is_sound
    node.open()
    with node.archive.read() as connection:
        for one in received:
            again = instances.get(connection, one.id)
            assert (again.sop_instance_uid, again.received_sha256, again.blob) == (
                one.sop_instance_uid, one.received_sha256, one.blob,
            )  # fmt: skip
            assert again.attributes == one.attributes
        assert events.count_after(connection, 0) == 0
        assert next_due(connection) is None
        assert script_rows.known(connection) == []
    assert node.receive(small_file()).id  # and life goes on
    with node.archive.read() as connection:
        assert next_due(connection) is not None


def test_other_content_of_one_identity_becomes_a_version_and_the_first_stays_current(node):
    content = small_file(PatientComments="first")
    first = node.receive(content)
    path = node.archive.blobs.path(first.blob.name)
    later = path.with_name("f" * 32)
    later.write_bytes(content.replace(b"first", b"other"))
    repeat = path.with_name("e" * 32)
    shutil.copy(path, repeat)
    lose_index(node)
    found = rebuild(node.folder.data)
    assert (found.instances, found.versions, len(found.repeats)) == (1, 1, 1)
    assert (node.folder.data / UNREADABLE / f"node_{path.parent.name}_{'e' * 32}").exists()
    node.open()
    with node.archive.read() as connection:
        assert instances.get(connection, first.id).blob.name == first.blob.name
    assert later.exists()


def test_what_holds_no_instance_is_put_aside_where_no_sweep_finds_it(node):
    node.receive(small_file())
    (node.folder.data / "blobs" / "node" / "00" / "junk").write_bytes(b"junk")
    lose_index(node)
    found = rebuild(node.folder.data)
    assert (found.instances, list(found.unreadable)) == (1, ["node/00/junk"])
    assert (node.folder.data / UNREADABLE / "node_00_junk").read_bytes() == b"junk"
    node.open()


def test_nothing_is_overwritten_and_no_running_node_is_disturbed(node, tmp_path):
    node.receive(small_file())
    with pytest.raises(NodeError, match="a node runs"):
        rebuild(node.folder.data)
    node.archive.close()
    with pytest.raises(NodeError, match="has an index"):
        rebuild(node.folder.data)
    with pytest.raises(NodeError, match="no files"):
        rebuild(tmp_path / "empty")
    node.archive = Archive(node.folder, "node", node.clock)
