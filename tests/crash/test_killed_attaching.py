"""A node is killed with -9 while a file is attached, replaced, stored otherwise or taken away: it is the old or the new one, whole (P1, P4)."""

from contextlib import suppress

import pytest
import requests
import sqlalchemy as sa
from node_kit import NodeProcess, Place, make_instances, upload, wait_until

from hostd.archive import holding
from hostd.archive import tables as t
from hostd.archive.verifying import verify
from hostd.config.place import Place as Where

OLD, NEW = b"old" * 50_000, b"new" * 60_000
BEFORE_COMMIT = ("file written", "file synced", "directory synced", "attachment changed, not committed")
POINTS = (*BEFORE_COMMIT, "attachment changed")

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request):
    """Return where the index of a node is: None for beside its files, or the URL of a database."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgresql_url")


def held_by(place, path):
    """Return what is attached, None where nothing is; fail where it is not whole."""
    url = f"http://127.0.0.1:{place.http_port}{path}"
    answer = requests.get(f"{url}/data", timeout=60)
    if answer.status_code == 404:
        return None
    assert requests.post(f"{url}/verify-md5", timeout=60).status_code == 200
    return answer.content


def check_agreement(place):
    """Check that files, rows and sums agree; the node runs not."""
    with place.index() as connection:
        size, names = (
            connection.execute(query)
            for query in (sa.select(sa.func.sum(t.blob.c.size)).where(~t.blob.c.released), sa.select(t.blob.c.name))
        )
        assert holding.held(connection).size == size.scalar_one()
        assert place.blob_names() == set(names.scalars())
    found = verify(place.data if place.database is None else Where(place.data, place.data / "blobs", place.database))
    assert found.is_sound, found


@pytest.mark.parametrize(
    ("asked", "before", "after"),
    [("put", None, NEW), ("put", OLD, NEW), ("delete", OLD, None), ("compress", OLD, OLD)],
    ids=["attached", "replaced", "taken away", "compressed"],
)
@pytest.mark.parametrize("point", POINTS)
def test_an_attachment_is_the_old_or_the_new_one_wherever_the_kill_falls(
    tmp_path, database, asked, before, after, point
):
    if asked == "delete" and "attachment" not in point:
        pytest.skip("to take one away makes no file")
    place = Place(tmp_path, "node", database=database)
    record = tmp_path / "reached"
    [made] = make_instances(1, side=8)
    with NodeProcess(place) as node:
        path = f"/studies/{upload(place, made).json()['ParentStudy']}/attachments/report"
        if before is not None:
            assert put(place, path, before).status_code == 200
        assert node.stop() == 0
    with NodeProcess(place, "--kill", point, 1, record) as node:
        with pytest.raises(requests.ConnectionError):  # it was not acknowledged
            ask(place, path, asked)
        node.wait_killed()
    assert record.read_text() == point
    with NodeProcess(place, "--housekeeping", 0.2) as node:
        is_done = point not in BEFORE_COMMIT
        assert held_by(place, path) == (after if is_done else before)
        assert is_compressed(place, path) == (asked == "compress" and is_done)
        assert node.stop() == 0
    check_agreement(place)
    with NodeProcess(place, "--housekeeping", 0.2) as node:  # and the client asks again
        assert ask(place, path, asked).status_code == (404 if asked == "delete" and is_done else 200)
        assert held_by(place, path) == after
        assert is_compressed(place, path) == (asked == "compress")
        assert node.stop() == 0
    check_agreement(place)


def put(place, path, content):
    return requests.put(f"http://127.0.0.1:{place.http_port}{path}", data=content, timeout=60)


def ask(place, path, asked):
    if asked == "put":
        return put(place, path, NEW)
    if asked == "delete":
        return requests.delete(f"http://127.0.0.1:{place.http_port}{path}", timeout=60)
    return requests.post(f"http://127.0.0.1:{place.http_port}{path}/compress", timeout=60)


def is_compressed(place, path):
    answer = requests.get(f"http://127.0.0.1:{place.http_port}{path}/is-compressed", timeout=60)
    return answer.text == "1"


def test_the_file_of_one_that_was_replaced_goes_although_the_kill_falls_in_its_removal(tmp_path, database, monkeypatch):
    monkeypatch.setenv("HOSTD_NODE__TRASH_DAYS", "0")
    place = Place(tmp_path, "node", database=database)
    record = tmp_path / "reached"
    [made] = make_instances(1, side=8)
    with NodeProcess(place) as node:
        path = f"/studies/{upload(place, made).json()['ParentStudy']}/attachments/report"
        assert put(place, path, OLD).status_code == 200
        assert node.stop() == 0
    point = "collected, not unlinked"
    with NodeProcess(place, "--housekeeping", 0.2, "--kill", point, 1, record) as node:
        with suppress(requests.ConnectionError):  # the old file may be collected before the answer is sent
            assert put(place, path, NEW).status_code == 200
        node.wait_killed()
    assert record.read_text() == point
    with NodeProcess(place, "--housekeeping", 0.2) as node:
        assert held_by(place, path) == NEW
        wait_until("the old file is gone", lambda: len(place.blob_names()) == 2)
        assert node.stop() == 0
    check_agreement(place)
