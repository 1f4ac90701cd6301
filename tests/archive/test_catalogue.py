"""A patient, study or series has a row as long as there is an instance of it, as the one that came last has its attributes."""

import msgspec
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from hostd.archive import catalogue, database, hierarchy, instances, receiving
from hostd.archive import tables as t
from hostd.archive.archive import Archive
from hostd.archive.receiving import Arrival
from hostd.archive.records import Blob, Origin
from hostd.config.place import Place
from hostd.dicom.identity import Identity
from hostd.testing.clock import ManualClock
from hostd.testing.made import EXPLICIT, header

BOTH_DATABASES = True
NAME, DATE, ACCESSION, MODALITY = 0x00100010, 0x00080020, 0x00080050, 0x00080060


def enter(archive, uid, *, patient_id="P1", study="1.2.3", series="1.2.3.4", content="a", **tags):
    texts = {NAME: ("PN", tags.get("name")), DATE: ("DA", tags.get("date")), ACCESSION: ("SH", tags.get("accession"))}
    texts[MODALITY] = ("CS", tags.get("modality"))
    made = header(uid, patient_id=patient_id, study=study, series=series)
    own = {tag: (vr, [text]) for tag, (vr, text) in texts.items() if text}
    made = msgspec.structs.replace(made, tags=made.tags | own)
    blob = Blob(f"made/{uid}/{content}", 4, content, EXPLICIT)
    arrival = Arrival(made, blob, content, Origin("dicom"), archive.clock.now())
    archive.writer.do(lambda c: receiving.take_in(c, arrival, "newest"))
    return made.identity


def rows(archive):
    with archive.read() as connection:
        return {
            level: sorted(map(tuple, connection.execute(sa.select(table.c["id", *NAMES[level]]))))
            for level, table in catalogue.TABLES.items()
        }


NAMES = {
    "patient": ("patient_id_key", "name_key"),
    "study": ("patient", "study_instance_uid", "date_key", "accession_number_key"),
    "series": ("patient", "study", "series_instance_uid", "modality_key"),
}


def test_an_instance_brings_its_patient_study_and_series(archive):
    of = enter(archive, "1.1", name="Müller^Jörg", date="2020.01.31", accession=" A1 ", modality="CT")
    assert rows(archive) == {
        "patient": [(of.patient, "p1", "muller^jorg")],
        "study": [(of.study, of.patient, "1.2.3", "20200131", "a1")],
        "series": [(of.series, of.patient, of.study, "1.2.3.4", "ct")],
    }


def test_they_are_as_the_instance_says_that_came_last(archive):
    enter(archive, "1.1", name="Old", modality="CT")
    enter(archive, "1.2", name="New", modality="MR")
    enter(archive, "1.3", name="New", modality="CT", series="1.2.3.5")
    found = rows(archive)
    assert [row[2] for row in found["patient"]] == ["new"]
    assert sorted(row[4] for row in found["series"]) == ["ct", "mr"]
    enter(archive, "1.1", name="Newest", modality="CT", content="other")
    assert [row[2] for row in rows(archive)["patient"]] == ["newest"]


def test_when_the_one_that_came_last_is_deleted_they_are_as_the_last_that_is_left_says(archive):
    enter(archive, "1.1", name="First", date="20200101", modality="CT")
    enter(archive, "1.2", name="Second", date="20200102", modality="MR")
    enter(archive, "1.3", name="Third", date="20200103", modality="PT", series="1.2.3.5")
    wrong = enter(archive, "1.4", name="Wrong", date="20200104", modality="US")
    first = rows(archive)
    archive.writer.do(lambda c: instances.hide(c, wrong.instance, 1.0))
    found = rows(archive)
    assert found != first
    assert ([row[2] for row in found["patient"]], [row[3] for row in found["study"]]) == (["third"], ["20200103"])
    assert {row[3]: row[4] for row in found["series"]} == {"1.2.3.4": "mr", "1.2.3.5": "pt"}
    with archive.read() as connection:
        for level, table in catalogue.TABLES.items():
            for row in connection.execute(sa.select(table)).all():
                shown = hierarchy.get(connection, level, row.id)
                assert shown.attributes[level] == row.attributes, "what is found and what is shown are the same"


def test_an_earlier_one_that_is_deleted_changes_nothing(archive):
    old = enter(archive, "1.1", name="Old", modality="CT")
    enter(archive, "1.2", name="New", modality="MR")
    before = rows(archive)
    archive.writer.do(lambda c: instances.hide(c, old.instance, 1.0))
    assert rows(archive) == before


def test_they_go_with_their_last_instance(archive):
    of = enter(archive, "1.1")
    enter(archive, "1.2", series="1.2.3.5")
    enter(archive, "1.3", patient_id="P2", study="1.2.4", series="1.2.4.1")
    archive.writer.do(lambda c: instances.hide(c, of.instance, 1.0))
    found = rows(archive)
    assert of.series not in [row[0] for row in found["series"]]
    assert (len(found["patient"]), len(found["study"]), len(found["series"])) == (2, 2, 2)
    for uid, patient_id, study, series in (("1.2", "P1", "1.2.3", "1.2.3.5"), ("1.3", "P2", "1.2.4", "1.2.4.1")):
        one = Identity(patient_id, study, series, uid)
        archive.writer.do(lambda c, one=one: instances.hide(c, one.instance, 1.0))
    assert rows(archive) == {"patient": [], "study": [], "series": []}


def test_what_no_column_of_keys_could_hold_is_cut_and_cleaned(archive):
    enter(archive, "1.1", patient_id="x" * 500 + "\0", name="N\0" * 300)
    (patient,) = rows(archive)["patient"]
    assert patient[1:] == ("x" * 64, "n" * 64)


@pytest.mark.sqlite_only
def test_an_older_index_gets_the_rows_that_it_would_have(tmp_path):
    clock = ManualClock()
    new = Archive(tmp_path, "node", clock)
    for number in range(40):
        enter(
            new, f"1.{number}", patient_id=f"P{number % 7}", study=f"1.2.{number % 7}", series=f"1.3.{number % 14}",
            name=f"Name^{number}", date="20200101", accession=f"A{number}", modality="CT" if number % 14 < 7 else "MR",
        )  # fmt: skip
        clock.advance(1)
    expected = rows(new)
    place = Place.of(tmp_path)
    new.close()
    engine = database.open_engine(place, writes=True)
    config = Config()
    config.set_main_option("script_location", str(database.Path(database.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0022")
        assert not sa.inspect(connection).has_table("patient")
        command.upgrade(config, "head")
    engine.dispose()
    again = Archive(tmp_path, "node", clock)
    assert rows(again) == expected
    with again.read() as connection:
        assert len(expected["series"]) == connection.execute(sa.select(sa.func.count()).select_from(t.series)).scalar()
        (digest,) = connection.execute(sa.select(t.patient.c.digest).limit(1)).one()
    assert len(digest) == 24
    again.close()
