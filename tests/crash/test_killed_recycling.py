"""What makes room is killed with -9 in its middle: nothing is gone that is owed, promised or protected, and files, rows and sums agree (P1, P3, P4)."""

import subprocess
import sys

import pytest
import sqlalchemy as sa
from node_kit import (
    NodeProcess,
    Place,
    check_senders,
    make_instances,
    sending,
    upload,
    wait_until,
)

from hostd.archive import deliveries, holding, instances, labels, promises, retention
from hostd.archive import tables as t
from hostd.archive.archive import attach
from hostd.archive.verifying import verify
from hostd.config.place import Place as Where
from hostd.dicom.identity import orthanc_id
from hostd.testing.instances import changed, made, write
from hostd.testing.made import promise

EACH = 25
"""Instances of each patient: more than one unit of the writer deletes."""
KEPT = ("OWED", "PROMISED", "PROTECTED")
OPTIONS = ("--housekeeping", "0.2")

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request):
    """Return where the index of a node is: None for beside its files, or the URL of a database."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgresql_url")


def where(place):
    return place.data if place.database is None else Where(place.data, place.data / "blobs", place.database)


def rows(place, query):
    with place.index() as connection:
        return connection.execute(query).all()


def owe(connection, one):
    deliveries.ask(
        connection, instance=one.id, sop_instance_uid=one.sop_instance_uid, sop_class_uid=one.sop_class_uid,
        destination="modality:archive", content=one.received_sha256, blob=one.blob.name, now=0.0,
    )  # fmt: skip


def filled(tmp_path, database, more):
    """Return the place of a node that holds three patients of whom something must stay, and two others, which came first."""
    place = Place(tmp_path, "full", archive_port=1, database=database, more=more)  # where nobody takes anything
    with NodeProcess(place) as node:
        for patient in ("FIRST", "SECOND", *KEPT):
            for one in make_instances(EACH, patient=patient, side=8):
                assert upload(place, one).status_code == 200
        assert node.stop() == 0
    with attach(where(place), writes=True) as connection:
        for hold, patient in ((owe, "OWED"), (promise, "PROMISED")):
            hold(connection, instances.having(connection, patient_id=patient)[EACH // 2])
        assert retention.protect(connection, orthanc_id("PROTECTED"), 0.0, is_protected=True)
    return place


def of_patients(place):
    """Return how many instances of each patient there are."""
    query = sa.select(t.instance.c.patient_id, sa.func.count()).group_by(t.instance.c.patient_id)
    return dict(tuple(row) for row in rows(place, query))


def check(place, ever):
    """Check what must hold at any moment; the node runs not. `ever` are the UIDs of all that was acknowledged."""
    present = of_patients(place)
    assert present["PROTECTED"] == EACH
    [(open_,)] = rows(place, sa.select(sa.func.count()).where(t.delivery.c.state.in_(["waiting", "sending", "failed"])))
    assert open_ == 1, "what is owed is owed still"
    with place.index() as connection:
        held = holding.held(connection)
        size, patients = (
            connection.execute(query).scalar_one()
            for query in (
                sa.select(sa.func.coalesce(sa.func.sum(t.blob.c.size), 0)).where(~t.blob.c.released),
                sa.select(sa.func.count()).select_from(t.patient),
            )
        )
        [promised] = connection.execute(sa.select(t.promise.c.instance)).scalars()
        assert promises.holders(connection, promised)
        for must_stay in (promised, connection.execute(sa.select(t.delivery.c.instance)).scalar_one()):
            assert instances.get(connection, must_stay) is not None
    assert (held.size, held.patients) == (size, patients)
    assert patients == len(present), "each patient that is listed has an instance"
    for level in (t.series, t.study, t.patient):
        column = t.instance.c[level.name]
        assert not rows(place, sa.select(level.c.id).where(~sa.exists().where(column == level.c.id)))
    here = {row.sop_instance_uid for row in rows(place, sa.select(t.instance.c.sop_instance_uid))}
    of_deleted = sa.select(t.event.c.subject).where(t.event.c.kind == "deleted_instance")
    told = [row.subject for row in rows(place, of_deleted)]
    assert len(told) == len(set(told)) == len(ever) - len(here), "each that is gone was told as deleted, once"
    assert here <= ever
    assert held.recycled_instances in (0, len(told))
    found = verify(where(place))
    assert found.is_sound, found


def stopped(place, *options):
    """Start the node, wait until nothing is left in its trash that was recycled, and stop it: what a kill left over is gone."""
    with NodeProcess(place, *OPTIONS, *options) as node:
        wait_until(
            "all that was let go is removed", lambda: not rows(place, sa.select(t.blob.c.name).where(t.blob.c.recycled))
        )
        assert node.stop() == 0


def uids(place):
    return {row.sop_instance_uid for row in rows(place, sa.select(t.instance.c.sop_instance_uid))}


@pytest.mark.parametrize(
    ("point", "count"),
    [
        ("a part of a patient is recycled, not committed", 1),
        ("a part of a patient is recycled, not committed", 2),
        ("a part of a patient is recycled", 1),
        ("a part of a patient is recycled", 3),
        ("collected, not unlinked", 1),
        ("directory synced", 2),
    ],
)
def test_recycling_is_whole_or_goes_on_wherever_the_kill_falls(tmp_path, database, point, count):
    place = filled(tmp_path, database, '[storage]\nmax_patients = 5\nwhen_full = "recycle"\n')
    ever, acknowledged = uids(place), set()
    record = tmp_path / "reached"
    new = make_instances(EACH, patient="NEW", side=8)
    with sending(place, new, 2, acknowledged) as senders:
        with NodeProcess(place, *OPTIONS, "--kill", point, count, record) as node:
            node.wait_killed()
        assert record.read_text() == point
        with NodeProcess(place, *OPTIONS) as node:
            wait_until("all are acknowledged", lambda: len(acknowledged) == EACH or check_senders(senders))
            assert node.stop() == 0
    stopped(place)
    check(place, ever | acknowledged)
    assert of_patients(place) == dict.fromkeys(("SECOND", *KEPT, "NEW"), EACH)


@pytest.mark.parametrize("point", ["some are deleted by age, not committed", "some are deleted by age"])
@pytest.mark.parametrize("count", [1, 3])
def test_deleting_by_age_goes_on_after_a_kill_and_spares_who_must_stay(tmp_path, database, point, count):
    place = filled(tmp_path, database, '[retention.old]\nkeep_days = 30\nlabel = "old"\n')
    ever = uids(place)
    with attach(where(place), writes=True) as connection:
        connection.execute(sa.update(t.instance).values(received_at=0.0))
        for patient in ("FIRST", *KEPT):
            labels.add(connection, "patient", orthanc_id(patient), ["old"])
        connection.execute(sa.delete(t.installation).where(t.installation.c.name == "last purge"))
    record = tmp_path / "reached"
    with NodeProcess(place, *OPTIONS, "--kill", point, count, record) as node:
        node.wait_killed()
    assert record.read_text() == point
    stopped(place)
    check(place, ever)
    with attach(where(place), writes=True) as connection:  # an hour later
        connection.execute(sa.delete(t.installation).where(t.installation.c.name == "last purge"))
    with NodeProcess(place, *OPTIONS) as node:
        left = {"SECOND": EACH, "PROTECTED": EACH, "OWED": 1, "PROMISED": 1}
        wait_until("the old ones are gone", lambda: of_patients(place) == left)
        assert node.stop() == 0
    check(place, ever)


@pytest.mark.parametrize("least", [5, 30])
def test_an_import_that_makes_room_and_is_killed_goes_on(tmp_path, database, least):
    place = filled(tmp_path, database, '[storage]\nmax_patients = 5\nwhen_full = "recycle"\n')
    ever = uids(place)
    folder = tmp_path / "old"
    folder.mkdir()
    for number in range(4 * EACH):
        elements = {"PatientID": f"OLD{number // EACH}", "StudyInstanceUID": f"1.2.{number // EACH}"}
        ds = changed(made(number, pixels=True, elements={}), elements | {"SeriesInstanceUID": f"1.3.{number // EACH}"})
        ever.add(str(ds.SOPInstanceUID))
        write(ds, folder / f"{number:04}", None)
    command = [sys.executable, "-m", "hostd", "import", folder, "--workers", "1", "--config", place.config]
    with subprocess.Popen(command) as killed:
        try:
            wait_until("it makes room", lambda: recycled(place) >= least, pause_s=0.002)
        finally:
            killed.kill()
    stopped(place)
    assert len(of_patients(place)) <= 5
    done = subprocess.run(command, timeout=120, check=False)
    assert done.returncode == 0
    stopped(place)
    assert recycled(place) == len(ever) - 5 * EACH
    check(place, ever)


def recycled(place):
    with place.index() as connection:
        return holding.held(connection).recycled_instances
