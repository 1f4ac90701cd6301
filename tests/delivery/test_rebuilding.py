"""An index made anew of the files: every instance is found again, nothing is told, and no file is lost."""

import hashlib
import os
import shutil

import pytest
from delivery_kit import Node, small_file

from hostd.archive import attachments, events, instances
from hostd.archive import scripts as script_rows
from hostd.archive.archive import Archive
from hostd.archive.attachments import Attachment
from hostd.archive.database import INDEX
from hostd.archive.levels import next_due
from hostd.archive.rebuilding import UNREADABLE, rebuild
from hostd.archive.records import Blob
from hostd.archive.verifying import verify
from hostd.config.place import Place
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


@pytest.mark.parametrize("on_conflict", ["newest", "first", "refuse"])
def test_other_content_of_one_identity_is_current_or_a_version_as_on_conflict_has_it(node, on_conflict):
    content = small_file(PatientComments="first")
    first = node.receive(content)
    path = node.archive.blobs.path(first.blob.name)
    later = path.with_name("f" * 32)
    later.write_bytes(content.replace(b"first", b"other"))
    repeat = path.with_name("e" * 32)
    shutil.copy(path, repeat)
    lose_index(node)
    os.utime(later, ns=(later.stat().st_atime_ns, path.stat().st_mtime_ns + 2))
    os.utime(repeat, ns=(later.stat().st_atime_ns, path.stat().st_mtime_ns + 1))
    found = rebuild(node.folder.data, on_conflict=on_conflict)
    assert (found.instances, found.versions, len(found.repeats)) == (1, 1, 1)
    assert (node.folder.data / UNREADABLE / f"node_{path.parent.name}_{'e' * 32}").exists()
    node.open()
    with node.archive.read() as connection:
        current = node.archive.blobs.path(instances.get(connection, first.id).blob.name)
    assert current == (later if on_conflict == "newest" else path)
    assert later.exists()
    assert path.exists()


def test_what_was_made_to_be_sent_takes_no_place_of_what_was_received(node):
    content = small_file(PatientComments="first")
    first = node.receive(content)
    made = node.archive.blobs.vacant(is_product=True).path
    made.write_bytes(content.replace(b"first", b"other"))
    lose_index(node)
    found = rebuild(node.folder.data)
    assert (found.instances, found.versions) == (1, 1)
    node.open()
    with node.archive.read() as connection:
        assert instances.get(connection, first.id).blob == first.blob


def test_what_holds_no_instance_is_put_aside_where_no_sweep_finds_it(node):
    node.receive(small_file())
    (node.folder.data / "blobs" / "node" / "00" / "junk").write_bytes(b"junk")
    lose_index(node)
    found = rebuild(node.folder.data)
    assert (found.instances, list(found.unreadable)) == (1, ["node/00/junk"])
    assert (node.folder.data / UNREADABLE / "node_00_junk").read_bytes() == b"junk"
    node.open()


@pytest.mark.parametrize("content", [b"a report" * 1000, small_file(PatientComments="attached")], ids=["text", "DICOM"])
def test_what_was_attached_is_put_aside_whole(node, content):
    received = node.receive(small_file())
    file = node.archive.blobs.create_attached()
    file.write(content)
    file.seal()
    file.close()
    blob = Blob(file.name, len(content), hashlib.sha256(content).hexdigest(), "")
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    attached = Attachment("report", blob.name, blob.size, md5, blob.size, md5, is_compressed=False)

    def attach(connection):
        instances.add_blob(connection, blob, 0.0)
        attachments.put(connection, "instance", received.id, attached)

    node.archive.writer.do(attach, blobs=[blob.name])
    lose_index(node)
    found = rebuild(node.folder.data)
    assert (found.instances, list(found.unreadable)) == (1, [blob.name])
    assert (node.folder.data / UNREADABLE / blob.name.replace("/", "_")).read_bytes() == content
    assert verify(node.folder.data).is_sound
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


@pytest.fixture
def on_postgresql(tmp_path, postgresql_url):
    (tmp_path / "a").mkdir()
    made = Node(Place(tmp_path / "a", tmp_path / "blobs", postgresql_url), "a")
    yield made
    made.close()


@pytest.mark.postgresql
def test_files_of_an_index_in_postgresql_are_verified(on_postgresql):
    node, place = on_postgresql, on_postgresql.folder
    received = [node.receive(small_file()) for _ in range(3)]
    assert verify(place).is_sound
    paths = [node.archive.blobs.path(one.blob.name) for one in received]
    paths[0].unlink()
    paths[1].chmod(0o600)
    paths[1].write_bytes(b"other")
    stray, fresh = paths[2].with_name("stray"), paths[2].with_name("fresh")
    stray.write_bytes(b"x")
    fresh.write_bytes(b"x")  # is being received, perhaps by another node
    os.utime(stray, (0, 0))
    found = verify(place)
    assert found.missing == [received[0].blob.name]
    assert found.changed.keys() == {received[1].blob.name}
    assert found.orphans == [str(stray.relative_to(place.blobs))]
    assert (found.files, found.index) == (1, [])


@pytest.mark.postgresql
def test_an_index_in_postgresql_is_made_anew_where_no_node_runs_and_nothing_is_overwritten(
    on_postgresql, postgresql_server
):
    node, place = on_postgresql, on_postgresql.folder
    received = [node.receive(small_file(PatientName="Doe^J")) for _ in range(3)]
    junk = node.archive.blobs.path(received[0].blob.name).with_name("junk")
    junk.write_bytes(b"junk")
    with pytest.raises(NodeError, match="a node runs on"):
        rebuild(place)
    other = Place(place.data.with_name("b"), place.blobs, place.database)
    with pytest.raises(NodeError, match=r"nodes run on the database \(a\)"):
        rebuild(other)
    node.archive.close()
    with pytest.raises(NodeError, match="the database has an index"):
        rebuild(place)
    postgresql_server.emptied()
    found = rebuild(place)
    assert (found.instances, found.versions, found.repeats) == (3, 0, [])
    assert list(found.unreadable) == [str(junk.relative_to(place.blobs))]
    assert (place.data / UNREADABLE / "_".join(junk.relative_to(place.blobs).parts)).read_bytes() == b"junk"
    assert verify(place).is_sound
    node.open()
    with node.archive.read() as connection:
        assert instances.count(connection) == 3
        assert instances.get(connection, received[0].id).blob == received[0].blob
        assert events.count_after(connection, 0) == 0
        assert next_due(connection) is None
    assert node.receive(small_file()).id


@pytest.mark.postgresql
def test_a_database_without_an_index_cannot_be_verified(tmp_path, postgresql_server):
    name, url = postgresql_server.empty_database()
    try:
        with pytest.raises(NodeError, match="the database has no index yet"):
            verify(Place(tmp_path, tmp_path / "blobs", url))
    finally:
        postgresql_server.drop(name)
