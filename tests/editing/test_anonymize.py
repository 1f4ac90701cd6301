"""De-identification: who, when and which stay consistent, the rest goes; and it fails rather than let something through."""

from __future__ import annotations

import io
import shutil
import subprocess
from datetime import date

import numpy as np
import pydicom
import pytest
from editing_kit import KEY, changed, charset_file, content, done, instance, item, project, read, terms
from hypothesis import given, settings
from hypothesis import strategies as st
from transcoding_images import EXPLICIT, IMPLICIT, big_endian, saved, shared

from hostd.archive import pseudonyms
from hostd.archive.archive import Archive
from hostd.archive.job_uids import JobUids
from hostd.archive.pseudonyms import IndexPseudonyms
from hostd.editing.dates import days_for, shifted
from hostd.editing.editor import Editor
from hostd.editing.terms import Project
from hostd.errors import CannotEditError, CannotTranscodeError
from hostd.testing.clock import ManualClock
from hostd.transcoding import elements as el
from hostd.transcoding.edits import Anonymize, Modify, Redact
from hostd.transcoding.transcode import pixel_hash

STEP = Anonymize("TRIAL7")


@pytest.fixture
def archive(tmp_path):
    (tmp_path / "data").mkdir()
    opened = Archive(tmp_path / "data", "node", ManualClock())
    yield opened
    opened.close()


def editor(pool, archive, *projects, key=KEY):
    named = {project.name: project for project in projects or (Project("TRIAL7", patient_prefix="T7-"),)}
    return Editor(
        pool, key, IndexPseudonyms(archive, key), named, JobUids(archive), ManualClock(), system="hostd at home"
    )


def test_instances_of_a_series_stay_one_series_and_refer_to_each_other():
    first, second = instance(1), instance(2)
    second.ReferencedImageSequence = [
        item(ReferencedSOPClassUID=first.SOPClassUID, ReferencedSOPInstanceUID=first.SOPInstanceUID)
    ]
    one, two = (changed(STEP, ds, project()) for ds in (first, second))
    assert (one.StudyInstanceUID, one.SeriesInstanceUID) == (two.StudyInstanceUID, two.SeriesInstanceUID)
    assert one.FrameOfReferenceUID == two.FrameOfReferenceUID != first.FrameOfReferenceUID
    assert two.ReferencedImageSequence[0].ReferencedSOPInstanceUID == one.SOPInstanceUID != first.SOPInstanceUID
    assert two.ReferencedImageSequence[0].ReferencedSOPClassUID == first.SOPClassUID
    assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID


def test_a_uid_that_is_replaced_is_replaced_where_it_is_referred_to():
    before = instance(FrameOfReferenceUID="1.2.9")
    before.StudiesContainingOtherReferencedInstancesSequence = [
        item(StudyInstanceUID=uid) for uid in (before.StudyInstanceUID, "1.2.77")
    ]
    before.ReferencedImageSequence = [item(ReferencedSOPInstanceUID=before.SOPInstanceUID)]
    replaced = {"StudyInstanceUID": "1.2.3.999", "SOPInstanceUID": "1.2.3.1000"}
    after, plain = changed(STEP, before, project(replace=replaced)), changed(STEP, before, project())
    ours, other = after.StudiesContainingOtherReferencedInstancesSequence
    assert after.StudyInstanceUID == ours.StudyInstanceUID == "1.2.3.999"
    assert after.ReferencedImageSequence[0].ReferencedSOPInstanceUID == after.SOPInstanceUID == "1.2.3.1000"
    assert after.SeriesInstanceUID == plain.SeriesInstanceUID
    assert other.StudyInstanceUID == plain.StudiesContainingOtherReferencedInstancesSequence[1].StudyInstanceUID


def test_another_key_gives_other_uids():
    one = changed(STEP, instance(), project())
    two = changed(STEP, instance(), terms(Project("TRIAL7"), key=bytes(32)))
    assert one.SOPInstanceUID != two.SOPInstanceUID
    assert one.StudyInstanceUID != two.StudyInstanceUID


def test_dates_move_together_and_times_stay():
    ds = instance(AcquisitionDateTime="20240229101112.5+0100", PatientBirthDate="19501224")
    after = changed(STEP, ds, project())
    assert (after.StudyDate, after.SeriesDate, after.StudyTime) == ("20231121", "20231122", "101112")
    assert after.AcquisitionDateTime == "20231121101112.5+0100"
    assert after.PatientBirthDate == ""
    assert after.LongitudinalTemporalInformationModified == "MODIFIED"


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("DA", "20240301", "20240229"),
        ("DA", "2024.03.01", "20240229"),
        ("DA", "20240301\\20240101", "20240229\\20231231"),
        ("DT", "2024", "2024"),
        ("DT", "20240301120000.123456-0500", "20240229120000.123456-0500"),
        ("DA", "20241399", None),
        ("DA", "Jane Doe", None),
        ("DT", "19", None),
        ("DA", "00010101", None),
        ("TM", "101112.5", "101112.5"),
        ("TM", "noon", None),
    ],
)
def test_a_date_moves_or_is_none(vr, value, expected):
    assert shifted(vr, value, -1) == expected


@given(st.dates(min_value=date(100, 1, 1)), st.text(max_size=20))
def test_every_date_of_a_patient_moves_back_by_the_same_days(day, patient):
    days = days_for(KEY, patient, "")
    assert -3680 < days <= -30
    moved = shifted("DA", f"{day.year:04}{day.month:02}{day.day:02}", days)
    assert moved is not None
    assert shifted("DA", moved, -days) == f"{day.year:04}{day.month:02}{day.day:02}"


def test_what_is_no_date_does_not_stay_for_that():
    raw, _ = done(STEP, content(instance()).replace(b"20240229", b"JaneDoe "), project())
    assert b"JaneDoe" not in raw


def test_the_result_says_what_was_done():
    after = changed(STEP, instance(), project(clean_descriptors=True, retain_device_identity=True))
    assert (after.PatientIdentityRemoved, after.PatientID, str(after.PatientName)) == ("YES", "P1", "P1")
    assert [code.CodeValue for code in after.DeidentificationMethodCodeSequence] == [
        "113100",
        "113105",
        "113107",
        "113109",
    ]
    assert "IssuerOfPatientID" not in after
    assert "SourceApplicationEntityTitle" not in after.file_meta


def test_descriptions_go_or_keep_only_medical_words():
    assert "StudyDescription" not in changed(STEP, instance(), project())
    after = changed(STEP, instance(), project(clean_descriptors=True))
    assert after.StudyDescription == "CT THORAX"
    assert after.SeriesDescription == "Thorax 5mm for"


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=5, max_size=12))
@settings(max_examples=30, deadline=None)
def test_a_name_never_stays_in_a_description(name):
    ds = instance(
        PatientName=name.replace("\\", "").replace("=", ""),
        SeriesDescription=f"Thorax {name} 5mm"[:60].replace("\\", ""),
    )
    ds.SpecificCharacterSet = "ISO_IR 192"
    after = changed(STEP, ds, project(clean_descriptors=True))
    assert not {word.lower() for word in str(ds.PatientName).split()} & {
        word.lower() for word in after.SeriesDescription.split()
    }


def test_structured_content_goes_or_is_cleaned_item_by_item():
    report = instance(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR")
    del report.PixelData
    code = item(CodeValue="121106", CodingSchemeDesignator="DCM", CodeMeaning="Comment")
    local = item(CodeValue="DOE1", CodingSchemeDesignator="99HOME", CodeMeaning="Jane Doe's finding")
    report.ContentSequence = [
        item(ValueType="TEXT", ConceptNameCodeSequence=[code], TextValue="Jane Doe has contrast in the left lung"),
        item(ValueType="PNAME", ConceptNameCodeSequence=[local], PersonName="Miller^Ann"),
        item(ValueType="UIDREF", UID="1.2.826.0.1.5.7.2"),
        item(ValueType="CONTAINER", ContentSequence=[item(ValueType="TEXT", TextValue="Doe, once more")]),
    ]
    gone, facts = done(STEP, report, project())
    assert facts.verified_by == "no pixel data"
    for text in (b"Doe", b"Miller", b"lung"):
        assert text not in gone
    raw, _ = done(STEP, report, project(clean_structured_content=True))
    for text in (b"Doe", b"DOE", b"Miller", b"1.2.826"):
        assert text not in raw
    kept = read(raw).ContentSequence
    assert kept[0].TextValue == "has contrast in the left lung"
    assert kept[0].ConceptNameCodeSequence[0].CodeMeaning == "Comment"
    assert len(kept) == 4


def test_text_of_presentation_states_goes_or_is_cleaned():
    state = instance(SOPClassUID="1.2.840.10008.5.1.4.1.1.11.1", Modality="PR")
    del state.PixelData
    text = item(UnformattedTextValue="Jane Doe: contrast here", AnchorPoint=[1.0, 2.0])
    state.GraphicAnnotationSequence = [item(GraphicLayer="A", TextObjectSequence=[text])]
    assert b"Doe" not in done(STEP, state, project())[0]
    kept = (
        changed(STEP, state, project(clean_graphics=True, clean_descriptors=True))
        .GraphicAnnotationSequence[0]
        .TextObjectSequence[0]
    )
    assert kept.UnformattedTextValue == "contrast"
    assert kept.AnchorPoint == [1.0, 2.0]


def test_overlays_and_curves_and_what_nobody_knows_go():
    ds = instance()
    ds.add_new(0x60000010, "US", 8)
    ds.add_new(0x60000022, "LO", "Jane Doe")
    ds.add_new(0x60003000, "OW", b"Jane Doe")
    ds.add_new(0x50003000, "OW", b"Jane Doe")
    ds.add_new(0x00107777, "UN", b"Jane Doe")
    ds.StudyDescription = "CT"
    ds.PatientName = "X"
    raw, _ = done(STEP, ds, project())
    assert b"Jane" not in raw
    assert not [one for one in read(raw) if one.tag.group in (0x5000, 0x6000) or one.tag == 0x00107777]


def test_a_sequence_that_is_written_as_unknown_is_cleaned_too():
    inside = el.with_text({}, 0x00100010, b"PN", "Doe^Jane")
    value = el.encode({0x00180012: el.with_items({}, 0x00180012, [inside])[0x00180012]}, implicit=True)[8:]
    head = b"\x18\0\x12\0UN\0\0" + len(value).to_bytes(4, "little")
    undefined = b"\x18\0\x12\0UN\0\0\xff\xff\xff\xff" + value + b"\xfe\xff\xdd\xe0\0\0\0\0"
    ds = instance()
    del ds.PatientName, ds.StudyDescription
    raw = content(ds)
    at = raw.index(b"\x20\0\x0d\0UI")
    for hidden in (head + value, undefined):
        assert b"Jane" not in done(STEP, raw[:at] + hidden + raw[at:], project())[0]


def test_private_attributes_go_but_for_the_safe_ones():
    ds = instance()
    block = ds.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", "1000")
    block.add_new(0x08, "LO", "Jane Doe")
    other = ds.private_block(0x0019, "ACME", create=True)
    other.add_new(0x0C, "LO", "Jane Doe")
    assert not [one for one in changed(STEP, ds, project()) if one.tag.is_private]
    raw, _ = done(STEP, ds, project(retain_safe_private=True))
    kept = read(raw)
    assert kept.private_block(0x0019, "SIEMENS MR HEADER")[0x0C].value == 1000
    assert len([one for one in kept if one.tag.is_private]) == 2
    assert b"ACME" not in raw
    asked = changed(STEP, ds, project(keep=('0019,xx0C,"ACME"',)))
    assert asked.private_block(0x0019, "ACME")[0x0C].value == "Jane Doe"


def test_a_project_decides_what_else_stays_goes_or_is_replaced():
    after = changed(
        STEP,
        instance(),
        project(keep=("InstitutionName",), remove=("Modality",), replace={"ClinicalTrialProtocolID": "TRIAL7"}),
    )
    assert (after.InstitutionName, after.ClinicalTrialProtocolID) == ("General Hospital", "TRIAL7")
    assert "Modality" not in after


def test_what_is_private_or_in_another_character_set_is_replaced_too():
    before = instance(InstitutionName="General")
    before.private_block(0x0009, "ACME", create=True).add_new(0x10, "LO", "secret")
    replaced = {"0009,1010": "new", '0011,xx01,"OTHER"': "made", "PatientComments": "山"}
    after = changed(STEP, before, project(replace=replaced, keep=("InstitutionName",)))
    assert after.private_block(0x0009, "ACME")[0x10].value == b"new\0"
    assert after.private_block(0x0011, "OTHER")[0x01].value == b"made"
    assert (after.PatientComments, after.InstitutionName) == ("山", "General")
    assert after.SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.parametrize("keep", [(), ("AnatomicRegionSequence",)])
def test_what_is_to_go_from_inside_sequences_goes(keep):
    deep = item(CodeValue="T-1", CodingSchemeDesignator="SRT", CodeMeaning="Left")
    codes = [item(CodeValue="T-D3000", CodingSchemeDesignator="SRT", CodeMeaning="Chest") for _ in range(2)]
    codes[0].AnatomicRegionModifierSequence = [deep]
    removed = (
        "AnatomicRegionSequence[1].CodeMeaning",
        "AnatomicRegionSequence[*].AnatomicRegionModifierSequence[*].CodeMeaning",
    )
    after = changed(STEP, instance(AnatomicRegionSequence=codes), project(keep=keep, remove=removed))
    first, second = after.AnatomicRegionSequence
    assert (first.CodeMeaning, "CodeMeaning" in second) == ("Chest", False)
    assert [one.keyword for one in first.AnatomicRegionModifierSequence[0]] == ["CodeValue", "CodingSchemeDesignator"]


def test_a_patient_over_ninety_is_ninety():
    after = changed(STEP, instance(PatientAge="101Y"), project(retain_patient_characteristics=True))
    assert (after.PatientAge, after.PatientSex) == ("090Y", "F")


# -- burned-in text --


@pytest.mark.parametrize("modality", ["US", "SC", "ES", "XC", "OT"])
def test_what_may_have_text_in_it_and_does_not_say_is_refused(modality):
    with pytest.raises(CannotEditError, match="redact"):
        done(STEP, instance(Modality=modality), project())
    done(STEP, instance(Modality=modality, BurnedInAnnotation="NO"), project())
    done(STEP, instance(Modality=modality), project(allow_burned_in=True))
    done(Anonymize("TRIAL7", allow_burned_in=True), instance(Modality=modality), project())


def test_a_secondary_capture_by_class_is_refused_whatever_its_modality():
    with pytest.raises(CannotEditError, match="BurnedInAnnotation"):
        done(STEP, instance(SOPClassUID="1.2.840.10008.5.1.4.1.1.7.2"), project())


def test_burned_in_text_is_refused_until_it_is_redacted():
    ds = instance(BurnedInAnnotation="YES")
    with pytest.raises(CannotEditError, match="burned into"):
        done(STEP, ds, project())
    redacted, _ = done(Redact(((0, 0, 8, 2),)), ds)
    after = changed(Anonymize("TRIAL7", redacted=True), redacted, project())
    assert after.BurnedInAnnotation == "NO"
    assert "113101" in [code.CodeValue for code in after.DeidentificationMethodCodeSequence]
    assert ds.SOPInstanceUID not in str(after)


def test_an_overlay_in_the_samples_is_refused():
    ds = instance()
    ds.add_new(0x60000010, "US", 8)
    ds.add_new(0x60000102, "US", 12)
    with pytest.raises(CannotEditError, match="6000"):
        done(STEP, ds, project())


# -- the whole of it, in a worker, with the index --


def test_a_patient_is_the_same_over_instances_restarts_and_nodes(tmp_path, edit_pool):
    (tmp_path / "data").mkdir()
    results = []
    for start in range(2):
        archive = Archive(tmp_path / "data", "node", ManualClock())
        for number in range(2):
            source, result = tmp_path / f"{start}{number}.dcm", tmp_path / f"{start}{number}.out"
            source.write_bytes(content(instance(number)))
            editor(edit_pool, archive).edit(STEP, source, result)
            results.append(pydicom.dcmread(result))
        archive.close()
    assert len({(ds.PatientID, ds.StudyInstanceUID, ds.StudyDate) for ds in results}) == 1
    assert len({ds.SOPInstanceUID for ds in results}) == 2
    assert results[0].PatientID.startswith("T7-")
    assert results[0].StudyDate != "20240229"


def test_patients_and_projects_are_told_apart(archive, edit_pool, tmp_path):
    edits = editor(edit_pool, archive, Project("TRIAL7"), Project("OTHER"))
    seen = set()
    for number, (step, values) in enumerate(
        [
            (STEP, {}),
            (STEP, {"PatientID": "00124"}),
            (STEP, {"IssuerOfPatientID": "ELSEWHERE"}),
            (Anonymize("OTHER"), {}),
        ]
    ):
        source = tmp_path / f"{number}.dcm"
        source.write_bytes(content(instance(**values)))
        receipt = edits.edit(step, source, tmp_path / f"{number}.out")
        ds = pydicom.dcmread(tmp_path / f"{number}.out")
        seen.add((ds.PatientID, ds.StudyDate))
        assert receipt.result_syntax == EXPLICIT
        assert receipt.pixel_hash_before == receipt.pixel_hash_after != ""
    assert len({patient for patient, _ in seen}) == 4
    assert len({day for _, day in seen}) == 4


def test_two_patients_never_share_a_pseudonym(archive, monkeypatch):
    """Where two would get the same, the second gets its next one."""
    monkeypatch.setattr(pseudonyms, "_pseudonym", lambda key, project, patient_id, issuer, number: f"SAME{number}")
    given = IndexPseudonyms(archive, KEY)
    assert [given.of("A", patient, "") for patient in ("1", "2", "1", "2")] == ["SAME0", "SAME1", "SAME0", "SAME1"]
    assert given.of("B", "1", "") == "SAME0"


@pytest.mark.parametrize(
    ("step", "values", "message"),
    [
        (Anonymize("NONE"), {}, r"\[projects.NONE\]"),
        (STEP, {"PatientID": ""}, "PatientID"),
        (STEP, {"Modality": "US"}, "redact"),
    ],
)
def test_what_cannot_be_done_says_why_and_leaves_nothing(archive, edit_pool, tmp_path, step, values, message):
    (tmp_path / "a.dcm").write_bytes(content(instance(**values)))
    with pytest.raises(CannotEditError, match=message):
        editor(edit_pool, archive).edit(step, tmp_path / "a.dcm", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_text_in_japanese_is_changed_inside_the_jail(edit_pool, archive, tmp_path):
    """Every codec of a character set is loaded before the jail closes."""
    (tmp_path / "a.dcm").write_bytes(charset_file("chrH32.dcm"))
    editor(edit_pool, archive).edit(
        Modify(set={"PatientName": "Yamada^Jiro=山田^次郎"}), tmp_path / "a.dcm", tmp_path / "out"
    )
    assert pydicom.dcmread(tmp_path / "out").PatientName.ideographic == "山田^次郎"


# -- real files --

REAL = ["CT1_UNC", "CT1_J2KR", "MR1_RLE", "NM1_JPLL", "MR3_JLSL", "MR1_JPLY"]


@pytest.mark.parametrize("name", REAL)
def test_real_files_keep_their_pixels_and_lose_their_names(name):
    path = shared("wg04", name)
    before = pydicom.dcmread(path)
    raw, _ = done(STEP, path.read_bytes(), project(allow_burned_in=True))
    assert pixel_hash(io.BytesIO(raw)) == pixel_hash(io.BytesIO(path.read_bytes()))
    for keyword in (
        "PatientName",
        "PatientID",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "SOPInstanceUID",
        "AccessionNumber",
    ):
        value = str(before.get(keyword, ""))
        assert not value or value.encode() not in raw


@pytest.mark.parametrize("name", ["CT1_UNC", "MR1_RLE", "NM1_JPLL", "US1_UNC"])
def test_dciodvfy_finds_no_error_that_the_source_had_not(name, tmp_path):
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (dicom3tools) is not on the PATH")
    path = shared("wg04", name)
    raw, _ = done(STEP, path.read_bytes(), project(allow_burned_in=True))
    (tmp_path / "out.dcm").write_bytes(raw)

    def errors(file):
        run = subprocess.run(["dciodvfy", "-new", str(file)], capture_output=True, text=True, timeout=60, check=False)
        return {line for line in (run.stdout + run.stderr).splitlines() if line.startswith("Error")}

    assert errors(tmp_path / "out.dcm") <= errors(path)


def test_other_encodings_are_read_too():
    ds, big = instance(), instance()
    big.PixelData = np.frombuffer(big.PixelData, "<u2").byteswap().tobytes()
    for raw in (saved(ds, IMPLICIT), big_endian(big), saved(ds, "1.2.840.10008.1.2.1.99")):
        after, _ = done(STEP, raw, project())
        assert b"Jane" not in after
        assert read(after).PatientID == "P1"
        assert pixel_hash(io.BytesIO(after)) == pixel_hash(io.BytesIO(raw))


# -- hostile files --


def test_nesting_without_end_is_refused():
    inside = {}
    for _ in range(80):
        inside = el.with_items({}, 0x00180012, [inside])
    with pytest.raises(CannotTranscodeError, match="nested"):
        done(
            STEP,
            el.with_text(inside, 0x00080016, b"UI", "1.2.3") | el.with_text({}, 0x00080018, b"UI", "1.2.3.4"),
            project(),
        )


@given(st.integers(min_value=0, max_value=2000), st.binary(min_size=1, max_size=6))
@settings(max_examples=150, deadline=None)
def test_a_damaged_file_is_refused_or_cleaned(at, damage):
    raw = bytearray(content(instance()))
    at = 132 + at % (len(raw) - 140)
    raw[at : at + len(damage)] = damage
    try:
        after, _ = done(STEP, bytes(raw), project())
    except CannotTranscodeError:
        return
    pydicom.dcmread(io.BytesIO(after), stop_before_pixels=True)


def test_what_was_asked_for_by_other_rules_is_not_made_by_those_of_now(edit_pool, archive, tmp_path):
    source = tmp_path / "source.dcm"
    source.write_bytes(content(instance()))
    was, now = Project("TRIAL7"), Project("TRIAL7", dates="remove")
    step = Anonymize("TRIAL7", rules=was.fingerprint())
    with pytest.raises(CannotEditError, match="rules of the project TRIAL7 are others now"):
        editor(edit_pool, archive, now).edit(step, source, tmp_path / "result.dcm")
    assert not (tmp_path / "result.dcm").exists()
    assert editor(edit_pool, archive, was).edit(step, source, tmp_path / "result.dcm").outcome == "made"
