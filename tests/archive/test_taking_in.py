from dataclasses import replace

import pytest
import sqlalchemy as sa

from hostd.archive import events, instances, receiving
from hostd.archive import tables as t
from hostd.archive.records import Current
from hostd.dicom.identity import Identity
from hostd.testing.made import arrival, arrive, header

BOTH_DATABASES = True

A = header().identity.instance
ABOUT_ARRIVALS = ("stored_instance", "received_again", "conflicting_instance")


def log(archive):
    with archive.read() as connection:
        return [(e.kind, e.blob is not None) for e in events.after(connection, 0, ABOUT_ARRIVALS, 100)]


def current(archive):
    with archive.read() as connection:
        instance = instances.get(connection, A)
        assert instances.current(connection, A) == Current(A, instance.blob)
        assert instances.current(connection, "another") is None
        versions = connection.execute(sa.select(t.version.c.blob)).scalars().all()
    return archive.blobs.path(instance.blob.name).read_bytes(), sorted(
        archive.blobs.path(v).read_bytes() for v in versions
    )


def test_the_identifier_is_orthancs():
    # DummyCT.dcm of Orthanc's own tests
    identity = Identity(
        "ozp00SjY2xG",
        "1.2.840.113619.2.176.2025.1499492.7391.1171285944.390",
        "1.2.840.113619.2.176.2025.1499492.7391.1171285944.394",
        "1.2.840.113619.2.176.2025.1499492.7040.1171286242.109",
    )
    assert identity.instance == "66a662ce-7430e543-bad44d47-0dc5a943-ec7a538d"


def test_a_new_instance_is_stored_with_its_event(archive):
    assert arrive(archive) == "stored"
    assert log(archive) == [("stored_instance", True)]


def test_an_identical_repeat_changes_nothing_but_the_log(archive):
    arrive(archive)
    assert arrive(archive) == "already stored"
    assert log(archive) == [("stored_instance", True), ("received_again", True)]
    assert len(list(archive.blobs.names())) == 1


def test_the_newest_becomes_current_and_the_former_stays_as_a_version(archive):
    arrive(archive, content=b"one")
    assert arrive(archive, content=b"two", on_conflict="newest") == "replaced"
    assert current(archive) == (b"two", [b"one"])
    assert log(archive)[-1] == ("conflicting_instance", True)


def test_a_former_content_that_comes_back_is_current_again(archive):
    for content in (b"one", b"two", b"one", b"two", b"one"):
        arrive(archive, content=content)
    assert current(archive) == (b"one", [b"two"])
    archive.collect(trash_seconds=0)
    assert len(list(archive.blobs.names())) == 2


def test_the_first_stays_current_and_the_newcomer_is_a_version(archive):
    arrive(archive, content=b"one")
    assert arrive(archive, content=b"two", on_conflict="first") == "kept as version"
    assert arrive(archive, content=b"two", on_conflict="first") == "already stored"
    assert current(archive) == (b"one", [b"two"])
    assert [kind for kind, _ in log(archive)] == ["stored_instance", "conflicting_instance", "received_again"]


def test_refused_content_is_told_and_not_kept(archive):
    arrive(archive, content=b"one")
    assert arrive(archive, content=b"two", on_conflict="refuse") == "refused"
    assert current(archive) == (b"one", [])
    assert log(archive)[-1] == ("conflicting_instance", False)
    assert len(list(archive.blobs.names())) == 1


@pytest.mark.parametrize("left", [None, b"tw"], ids=["gone", "cut off"])
@pytest.mark.parametrize("on_conflict", ["newest", "first"])
def test_a_repeat_takes_the_place_of_a_file_that_is_not_there_any_more(archive, on_conflict, left):
    arrive(archive, content=b"one")
    arrive(archive, content=b"two", on_conflict=on_conflict)
    for name in list(archive.blobs.names()):
        path = archive.blobs.path(name)
        if path.read_bytes() == b"two":
            path.unlink()
            if left is not None:
                path.write_bytes(left)
    again = replace(arrival(archive, content=b"two"), is_there=archive.blobs.holds)
    outcome = archive.writer.do(lambda c: receiving.take_in(c, again, on_conflict), blobs=[again.blob.name])
    assert outcome == "stored"
    assert current(archive) == ((b"two", [b"one"]) if on_conflict == "newest" else (b"one", [b"two"]))
    assert log(archive)[2:] == [("received_again", True)]
    once_more = replace(arrival(archive, content=b"two"), is_there=archive.blobs.holds)
    assert archive.writer.do(lambda c: receiving.take_in(c, once_more, on_conflict)) == "already stored"


def test_a_lookup_by_sop_instance_uid_may_give_several(archive):
    arrive(archive)
    with archive.read() as connection:
        assert [i.id for i in instances.by_sop_instance_uid(connection, "1.2.3.4.5")] == [A]
        assert instances.by_sop_instance_uid(connection, "9") == []


def test_a_hidden_instance_is_gone_at_once_and_can_come_again(archive):
    arrive(archive)
    assert archive.writer.do(lambda c: instances.hide(c, A, 2.0)) == "deleted"
    assert archive.writer.do(lambda c: instances.hide(c, A, 2.0)) == "gone"
    with archive.read() as connection:
        assert instances.get(connection, A) is None
    assert arrive(archive) == "stored"


def test_a_delete_of_superseded_content_leaves_what_came_later(archive):
    arrive(archive, content=b"one")
    with archive.read() as connection:
        content = instances.get(connection, A).received_sha256
    arrive(archive, content=b"two")
    assert archive.writer.do(lambda c: instances.hide(c, A, 2.0, content=content)) == "superseded"
    assert current(archive)[0] == b"two"


@pytest.mark.parametrize("number", [1, 3])
def test_statistics_count_the_levels(archive, number):
    for index in range(number):
        arrive(archive, f"1.2.3.4.{index}", content=b"x" * 10)
    with archive.read() as connection:
        statistics = instances.statistics(connection)
    assert (statistics.patients, statistics.studies, statistics.series) == (1, 1, 1)
    assert (statistics.instances, statistics.size) == (number, 10 * number)
