"""A query finds what matches, all of it and each once, begins where an index promises least, and takes a page at a time."""

import random
import re
import threading

import pytest
import sqlalchemy as sa
from test_cost_of_receiving import explained

from hostd.archive import answering, instances, labels, queries, related
from hostd.archive import tables as t
from hostd.archive.catalogue import row as catalogue_row
from hostd.archive.queries import Query, keywords_of
from hostd.dicom.element_values import known_vr
from hostd.dicom.identity import Identity
from hostd.dicom.main_tags import main_keywords
from hostd.dicom.matching import matcher

BOTH_DATABASES = True
NAMES = [
    "Müller^Jörg",
    "MULLER^ANNA",
    "Smith^John",
    "SMITHERS",
    "",
    "山田^太郎",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "x" * 70 + "1",
    "x" * 70 + "2",
    "100%_",
]
MODALITIES = ["CT", "MR", "US", "CT", ""]
TAGS = {keyword: tag for level in queries.ORDER for keyword, tag in main_keywords(level).items()}


def fill(archive, *, patients=12, seed=1, per_series=3):
    """Enter rows as they would stand after their arrival."""
    pick = random.Random(seed)
    entered = []
    for patient in range(patients):
        of_patient = {"PatientID": f"P{patient % 10}x{patient}", "PatientName": pick.choice(NAMES)}
        for study in range(pick.randrange(1, 3)):
            uid = f"1.2.{patient}.{study}"
            of_study = {
                "StudyInstanceUID": uid, "StudyDate": pick.choice(["20200101", "2020.01.02", "20210515", "", "19991231"]),
                "AccessionNumber": pick.choice(["A1", "a1", "A12", "B1", ""]), "StudyDescription": pick.choice(["Thorax", "HEAD", ""]),
            }  # fmt: skip
            for series in range(pick.randrange(1, 4)):
                of_series = {"SeriesInstanceUID": f"{uid}.{series}", "Modality": pick.choice(MODALITIES)}
                for number in range(pick.randrange(1, per_series + 1)):
                    sop = f"{uid}.{series}.{number}"
                    own = {"SOPInstanceUID": sop, "InstanceNumber": str(number)}
                    made = [of_patient, of_study, of_series, own]
                    attributes = {
                        level: {keyword: text for keyword, text in one.items() if text}
                        for level, one in zip(queries.ORDER, made, strict=True)
                    }
                    entered.append((Identity(of_patient["PatientID"], uid, f"{uid}.{series}", sop), attributes))
    archive.writer.do(lambda c: enter(c, entered))
    return entered


def enter(connection, entered):
    rows = {"patient": {}, "study": {}, "series": {}}
    blobs, members = [], []
    for number, (identity, attributes) in enumerate(entered):
        for level, found in rows.items():
            found[getattr(identity, level)] = catalogue_row(identity, level, attributes[level])
        name = f"made/{number}"
        blobs.append({"name": name, "size": 1, "sha256": "x", "transfer_syntax": "1.2", "created_at": 1.0})
        members.append({
            "id": identity.instance, "patient": identity.patient, "study": identity.study, "series": identity.series,
            "patient_id": identity.patient_id, "study_instance_uid": identity.study_instance_uid,
            "series_instance_uid": identity.series_instance_uid, "sop_instance_uid": identity.sop_instance_uid,
            "sop_class_uid": f"1.2.{number % 2}", "attributes": attributes, "blob": name, "received_sha256": "x",
            "origin": {"kind": "import"}, "metadata": {}, "received_at": 1.0, "told": number,
        })  # fmt: skip
    connection.execute(sa.insert(t.blob), blobs)
    connection.execute(sa.insert(t.instance), members)
    for level, found in rows.items():
        connection.execute(sa.insert(getattr(t, level)), list(found.values()))


def expected(entered, level, keys, *, is_exact):
    """Return the identifiers that match, by looking at everything."""
    matchers = {
        keyword: matcher(known_vr(TAGS.get(keyword, 0x00080061)), text, is_exact=is_exact)
        for keyword, text in keys.items()
    }
    above = queries.ORDER[: queries.ORDER.index(level) + 1]
    found = set()
    for identity, attributes in entered:
        merged = {keyword: text for one in above for keyword, text in attributes[one].items()}
        modalities = {of["series"].get("Modality", "") for other, of in entered if other.study == identity.study} - {""}
        merged["ModalitiesInStudy"] = "\\".join(modalities)
        merged = attributes["instance"] | attributes["series"] | attributes["study"] | merged
        if all(one is None or one.matches(merged.get(keyword, "")) for keyword, one in matchers.items()):
            found.add(getattr(identity, level))
    return found


def ids(archive, level, keys, *, is_exact=False, **more):
    found_keys = {
        TAGS.get(keyword, 0x00080061): (known_vr(TAGS.get(keyword, 0x00080061)), text) for keyword, text in keys.items()
    }
    asked = answering.asked(level, found_keys, is_exact=lambda _vr: is_exact, files="never", **more)
    return [one.found.id for page in answering.answers(archive, asked) for one in page]


CHOICES = {
    "PatientName": ["mul*", "*smith*", "Müller^Jörg", "SMITH*", "*^*", "?mith*", "x*", "x" * 70 + "1", "*%*", "*_", "*太*", "nobody", "=山田*", "==やまだ*", "Yamada^Ta???", "*Tarou", "=山田^太郎", "Yamada^Tarou^=*=や*"],
    "PatientID": ["P1x1", "P1*", "*x1", "P?x1\\P2x2", "p1x1"],
    "StudyDate": ["20200101", "20200101-20201231", "-20201231", "20200102-", "2020*", "-"],
    "AccessionNumber": ["A1", "A*", "B1\\A12", "*1"],
    "StudyInstanceUID": ["1.2.1.0", "1.2.1.0\\1.2.2.0\\1.2.3.1\\9.9"],
    "StudyDescription": ["thorax", "*EA*"],
    "ModalitiesInStudy": ["CT", "MR\\US", "C*", "OT"],
    "Modality": ["CT", "MR\\US", "C*"],
    "SeriesInstanceUID": ["1.2.1.0.0\\1.2.4.0.0"],
    "SOPInstanceUID": ["1.2.1.0.0.0\\1.2.4.0.0.0"],
    "InstanceNumber": ["1", "01", "7"],
}  # fmt: skip


@pytest.mark.parametrize("size", [2, 500])
def test_a_query_finds_what_looking_at_everything_would(archive, monkeypatch, size):
    monkeypatch.setattr(queries, "PAGE", size)
    monkeypatch.setattr(queries, "_FIRST_PAGE", min(size, 3))
    monkeypatch.setattr(queries, "_VALUES", size)
    entered = fill(archive)
    pick = random.Random(size)
    answered = 0
    for _ in range(120 if size > 2 else 60):
        level = pick.choice(queries.ORDER)
        known = [
            keyword
            for keyword in CHOICES
            if not (keyword in related.LISTS and level == "patient")
            and not (keyword == "Modality" and level == "study")
        ]
        keys = {
            keyword: pick.choice(CHOICES[keyword])
            for keyword in pick.sample(known, pick.randrange(min(3, len(known) + 1)))
        }
        is_exact = pick.random() < 0.3
        found = ids(archive, level, keys, is_exact=is_exact)
        assert len(found) == len(set(found)), (level, keys)
        assert set(found) == expected(entered, level, keys, is_exact=is_exact), (level, keys, is_exact)
        answered += bool(found)
    assert answered > 10


def test_keys_of_lower_levels_find_what_has_one_below_that_they_match_all(archive):
    made = [
        Identity("P1", "1.2.1", "1.2.1.1", "1.2.1.1.1"),
        Identity("P1", "1.2.1", "1.2.1.2", "1.2.1.2.1"),
        Identity("P2", "1.2.2", "1.2.2.1", "1.2.2.1.1"),
    ]
    series = [{"Modality": "CT", "SeriesNumber": "1"}, {"Modality": "MR", "SeriesNumber": "2"}, {"Modality": "MR"}]
    entered = [
        (
            one,
            {
                "patient": {"PatientID": one.patient_id},
                "study": {"StudyInstanceUID": one.study_instance_uid},
                "series": {"SeriesInstanceUID": one.series_instance_uid, **of},
                "instance": {"SOPInstanceUID": one.sop_instance_uid},
            },
        )
        for one, of in zip(made, series, strict=True)
    ]
    archive.writer.do(lambda c: enter(c, entered))
    one, two = made[0], made[2]
    archive.writer.do(lambda c: labels.add(c, "study", one.study, ["seen"]))
    for keys in (
        {"SeriesInstanceUID": "1.2.1.1"},
        {"SeriesInstanceUID": "1.2.1.2"},
        {"SOPInstanceUID": "1.2.1.2.1"},
        {"SeriesNumber": "2"},
        {"Modality": "MR", "SeriesNumber": "2"},
        {"SeriesInstanceUID": "1.2.1.*", "PatientID": "P1"},
    ):
        assert ids(archive, "study", keys) == [one.study], keys
        assert ids(archive, "patient", keys) == [one.patient], keys
    assert sorted(ids(archive, "patient", {"Modality": "MR"})) == sorted([one.patient, two.patient])
    assert ids(archive, "series", {"SOPInstanceUID": "1.2.1.2.1"}) == [made[1].series]
    assert ids(archive, "patient", {"Modality": "CT", "SeriesNumber": "2"}) == []
    assert ids(archive, "study", {"SeriesInstanceUID": "1.2.1.2", "PatientID": "P2"}) == []
    assert ids(archive, "study", {"SeriesNumber": "2"}, within={"study": [two.study]}) == []
    assert ids(archive, "study", {"SeriesInstanceUID": "1.2.*"}, labels=["seen"]) == [one.study]


def test_within_and_labels_narrow_what_is_found(archive):
    entered = fill(archive)
    one, other = entered[0][0], entered[-1][0]
    assert set(ids(archive, "series", {}, within={"study": [one.study]})) == {
        i.series for i, _ in entered if i.study == one.study
    }
    assert set(ids(archive, "instance", {}, within={"patient": [one.patient], "series": [one.series]})) == {
        i.instance for i, _ in entered if i.series == one.series
    }
    archive.writer.do(lambda c: labels.add(c, "study", one.study, ["a", "b"]))
    archive.writer.do(lambda c: labels.add(c, "study", other.study, ["b"]))
    every = {identity.study for identity, _ in entered}
    assert ids(archive, "study", {}, labels=["a"]) == [one.study]
    assert set(ids(archive, "study", {}, labels=["b"])) == {one.study, other.study}
    assert ids(archive, "study", {}, labels=["a", "b"]) == [one.study]
    assert set(ids(archive, "study", {}, labels=["a", "b"], labelling="Any")) == {one.study, other.study}
    assert set(ids(archive, "study", {}, labels=["a", "b"], labelling="None")) == every - {one.study, other.study}


def test_what_is_below_is_counted_and_listed(archive):
    entered = fill(archive)
    one = entered[0][0]
    mine = [(identity, attributes) for identity, attributes in entered if identity.study == one.study]
    with archive.read() as connection:
        counted = related.counts(connection, "study", [one.study], related.COUNTS)
        listed = related.lists(connection, [one.study], related.LISTS)
        of_patient = related.counts(connection, "patient", [one.patient], related.COUNTS)
    assert counted == {one.study: {
        "NumberOfStudyRelatedSeries": str(len({i.series for i, _ in mine})), "NumberOfStudyRelatedInstances": str(len(mine)),
    }}  # fmt: skip
    assert set(of_patient[one.patient]) == {
        f"NumberOfPatientRelated{what}" for what in ("Studies", "Series", "Instances")
    }
    assert listed[one.study]["ModalitiesInStudy"] == sorted(
        {a["series"]["Modality"] for _, a in mine if "Modality" in a["series"]}
    )
    assert listed[one.study]["SOPClassesInStudy"]


def test_who_cancels_is_heeded_between_two_pages(archive, monkeypatch):
    monkeypatch.setattr(queries, "_FIRST_PAGE", 2)
    fill(archive)

    class StopError(Exception):
        pass

    heeded = []

    def heed():
        heeded.append(1)
        if len(heeded) > 3:
            raise StopError

    with pytest.raises(StopError):
        list(queries.pages(archive, Query("instance"), heed=heed))


def test_no_connection_is_held_while_somebody_takes_a_page(archive, monkeypatch):
    monkeypatch.setattr(queries, "PAGE", 2)
    monkeypatch.setattr(queries, "_FIRST_PAGE", 2)
    fill(archive)

    def held():
        return archive._reading.pool.checkedout() - len(archive._readers._idle)

    taken, always = 0, held()
    for _ in queries.pages(archive, Query("instance")):
        assert held() == always
        taken += 1
    assert taken > 5


WALKS = {
    "PatientName": "ix_patient_name_key_id",
    "PatientID": "ix_patient_patient_id_key_id",
    "StudyDate": "ix_study_date_key_id",
    "AccessionNumber": "ix_study_accession_number_key_id",
    "StudyInstanceUID": "ix_study_study_instance_uid_id",
    "ModalitiesInStudy": "ix_series_modality_key_study_id",
    "Modality": "ix_series_modality_key_study_id",
    "SeriesInstanceUID": "ix_series_series_instance_uid_id",
    "SOPInstanceUID": "ix_instance_sop_instance_uid",
}


@pytest.mark.sqlite_only
def test_every_query_walks_an_index(archive):
    fill(archive)
    for keyword, index in WALKS.items():
        levels = [
            level
            for level in queries.ORDER
            if keyword in keywords_of(level) or (keyword in related.LISTS and level != "patient")
        ]
        for level in levels:
            with explained(archive._reading) as plans:
                for text in CHOICES[keyword]:
                    ids(archive, level, {keyword: text})
            steps = [step for found in plans.values() for step in found]
            assert any(index in step for step in steps), (level, keyword, plans)
            for step in steps:
                assert not re.match(r"SCAN (patient|study|series|instance)(?! USING)", step), (level, keyword, plans)
            looked = [step for step in steps if step.startswith("SCAN")]
            assert all(
                ("COVERING INDEX" in step or "USING INDEX" in step or "CONSTANT" in step or "anon" in step)
                for step in looked
            ), plans


@pytest.mark.postgresql
def test_every_query_can_walk_an_index_of_postgresql(archive):
    if archive.place.database is None:
        pytest.skip("this is about PostgreSQL")
    fill(archive)
    mine = threading.get_ident()
    for keyword, index in WALKS.items():
        for level in queries.ORDER:
            if keyword not in keywords_of(level) and (keyword not in related.LISTS or level == "patient"):
                continue
            made = []

            def note(_connection, _cursor, statement, parameters, *_, made=made):
                if threading.get_ident() == mine:  # and not the thread that keeps the node's lease
                    made.append((statement, parameters))

            sa.event.listen(archive._reading, "before_cursor_execute", note)
            ids(archive, level, {keyword: CHOICES[keyword][0]})
            sa.event.remove(archive._reading, "before_cursor_execute", note)
            with archive.read() as connection:
                connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
                steps = [
                    row[0]
                    for statement, parameters in made
                    if statement.startswith("SELECT")
                    for row in connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
                ]
            assert any(index in step for step in steps), (level, keyword, steps)
            assert not [step for step in steps if "Seq Scan" in step], (level, keyword, steps)


def test_an_instance_that_comes_is_found_at_once_and_one_that_goes_is_not(archive):
    fill(archive, patients=2)
    found = ids(archive, "instance", {})
    archive.writer.do(lambda c: instances.hide(c, found[0], 1.0))
    assert ids(archive, "instance", {}) == found[1:]
