"""`modify`: what is set and removed, in which character set, and which identifiers follow."""

from __future__ import annotations

import io
import tracemalloc

import msgspec
import numpy as np
import pytest
from editing_kit import KEY, changed, charset_file, content, done, instance, item, read, terms
from hypothesis import given, settings
from hypothesis import strategies as st
from transcoding_images import IMPLICIT, big_endian, saved, shared

from hostd.editing import paths
from hostd.editing.terms import ChangedAlike, EditJob
from hostd.editing.worker import edit
from hostd.errors import CannotEditError, CannotTranscodeError
from hostd.transcoding import edits
from hostd.transcoding import elements as el
from hostd.transcoding.edits import Modify
from hostd.transcoding.source import open_source

UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")


def renewed(step, before=None):
    """Return which of the instance's UIDs are new."""
    before = before or instance()
    after = changed(step, before)
    return {keyword for keyword in UIDS if after[keyword].value != before[keyword].value}


# -- values --


def test_attributes_are_set_and_removed_and_nothing_else_changes():
    before = instance()
    after = changed(
        Modify(set={"InstitutionName": "Clinic", "PatientWeight": 70.5}, remove=("StudyDescription",)), before
    )
    assert (after.InstitutionName, after.PatientWeight) == ("Clinic", 70.5)
    assert "StudyDescription" not in after
    ours = {"InstitutionName", "PatientWeight", "StudyDescription", "SOPInstanceUID", "OriginalAttributesSequence"}
    for element in before:
        assert element.keyword in ours or after[element.tag] == element


@pytest.mark.parametrize(
    ("key", "look"),
    [
        ("PatientComments", lambda ds: ds.PatientComments),
        ("0010,4000", lambda ds: ds.PatientComments),
        ("(0010,4000)", lambda ds: ds.PatientComments),
        ("00104000", lambda ds: ds.PatientComments),
        ("RequestAttributesSequence[0].StudyDescription", lambda ds: ds.RequestAttributesSequence[0].StudyDescription),
        ("RequestAttributesSequence[2].StudyDescription", lambda ds: ds.RequestAttributesSequence[2].StudyDescription),
        (
            "RequestAttributesSequence[*].ScheduledProtocolCodeSequence[0].CodeMeaning",
            lambda ds: ds.RequestAttributesSequence[1].ScheduledProtocolCodeSequence[0].CodeMeaning,
        ),
        ('0019,xx0C,"ACME"', lambda ds: ds.private_block(0x0019, "ACME")[0x0C].value),
        ('0029,xx01,"NEWCOMER"', lambda ds: ds.private_block(0x0029, "NEWCOMER")[0x01].value),
    ],
)
def test_every_way_to_name_an_attribute(key, look):
    before = instance(RequestAttributesSequence=[item(StudyDescription="a"), item(StudyDescription="b")])
    before.private_block(0x0019, "OTHER", create=True).add_new(0x0C, "LO", "other")
    before.private_block(0x0019, "ACME", create=True).add_new(0x0C, "LO", "old")
    if "NEWCOMER" in key:
        unknown = changed(Modify(set={key: "x"}), before).private_block(0x0029, "NEWCOMER")[0x01]
        assert (unknown.VR, unknown.value) == ("UN", b"x\0")
        before.private_block(0x0029, "NEWCOMER", create=True).add_new(0x01, "SH", "old")
    after = changed(Modify(set={key: "new"}), before)
    assert look(after) == "new"
    assert after.private_block(0x0019, "OTHER")[0x0C].value == "other"


def test_a_path_is_removed_from_every_item():
    before = instance(
        RequestAttributesSequence=[item(StudyDescription="a", AccessionNumber="1"), item(StudyDescription="b")]
    )
    after = changed(Modify(remove=("RequestAttributesSequence[*].StudyDescription",)), before)
    assert [list(one.keys()) for one in after.RequestAttributesSequence] == [[0x00080050], []]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"PatientNam": "x"}, "PatientName"),
        ({"Modality": "no lower case"}, "Modality"),
        ({"StudyDate": "2024-01-01"}, "StudyDate"),
        ({"AccessionNumber": "12345678901234567"}, "AccessionNumber"),
        ({"AccessionNumber": 123}, "give it as text"),
        ({"InstanceNumber": "one"}, "InstanceNumber"),
        ({"SeriesNumber": 1.5}, "text"),
        ({"PatientName": ["a", "b"]}, "at most 1"),
        ({"StudyInstanceUID": "1.2.x"}, "StudyInstanceUID"),
        ({"RequestAttributesSequence": "x"}, "sequence"),
        ({"RequestAttributesSequence[5].StudyDescription": "x"}, r"\[0\]"),
        ({"PatientName[0].PatientID": "x"}, "no sequence"),
        ({"PatientName.PatientID": "x"}, "Sequence"),
        ({"RequestAttributesSequence[0]": "x"}, "item"),
        ({"Rows": 5}, "pixels"),
        ({"PixelData": "x"}, "pixels"),
        ({"SOPClassUID": "1.2.3"}, "SOPClassUID"),
        ({"0002,0010": "1.2"}, "not an attribute"),
        ({"0019,0010": "ACME"}, "creator"),
        ({"IconImageSequence": 5}, "sequence"),
        ({"SpecificCharacterSet": "ISO_IR 100"}, "ISO_IR 192"),
        ({"ModalityLUTType": "\x07"}, "ModalityLUTType"),
        ({"PatientWeight": float("nan")}, "PatientWeight"),
        ({"SmallestImagePixelValue": 70000}, "no number"),
        ({"FrameIncrementPointer": "x"}, "no tag"),
        ({"FrameIncrementPointer": '0019,xx0C,"ACME"'}, "no tag"),
        ({"EncapsulatedDocument": "data:application/pdf,AQ"}, "base64"),
        ({"EncapsulatedDocument": 5}, "one text"),
        ({"RedPaletteColorLookupTableData": "data:;base64,AQID"}, "2 bytes"),
    ],
)
def test_what_cannot_be_set_is_refused_with_its_name(values, message):
    with pytest.raises(CannotEditError, match=message):
        done(Modify(set=values), instance())


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SpecificCharacterSet"])
def test_what_makes_it_an_instance_cannot_be_removed(keyword):
    with pytest.raises(CannotEditError, match=keyword):
        done(Modify(remove=(keyword,)), instance())


def test_numbers_that_are_text_stay_text():
    after = changed(Modify(set={"PatientID": "00123", "AccessionNumber": "0010"}), instance(PatientID="x"))
    assert (after.PatientID, after.AccessionNumber) == ("00123", "0010")


def test_sequences_are_set_as_items():
    code = {"CodeValue": "T-D1100", "CodingSchemeDesignator": "SRT", "CodeMeaning": "Head"}
    after = changed(Modify(set={"ProcedureCodeSequence": [code, code], "ReferencedStudySequence": []}), instance())
    assert [one.CodeMeaning for one in after.ProcedureCodeSequence] == ["Head", "Head"]
    assert len(after.ReferencedStudySequence) == 0


def test_what_is_private_is_set_in_the_block_and_vr_that_it_has():
    before = instance(RequestAttributesSequence=[item(StudyDescription="a")])
    for ds in (before, before.RequestAttributesSequence[0]):
        ds.private_block(0x0009, "ACME", create=True).add_new(0x10, "SH", "old")
    for private in ("keep", "remove"):
        after = changed(Modify(set={"0009,1010": "new", "0009,1020": "more"}, private=private), before)
        assert (after[0x00090010].value, after[0x00091010].VR, after[0x00091010].value) == ("ACME", "SH", "new")
        assert (after[0x00091020].VR, after[0x00091020].value) == ("UN", b"more")
        assert (0x00091010 in after.RequestAttributesSequence[0]) == (private == "keep")
    with pytest.raises(CannotEditError, match="no private creator"):
        changed(Modify(set={"0011,1010": "x"}), before)


def test_binary_values_are_set_by_text_or_data_uri():
    values = {
        "FrameIncrementPointer": "0018,1063\\0054,0080", "EncapsulatedDocument": "data:application/pdf;base64,AQID",
        '0009,xx11,"ACME"': "data:;base64,AQI=", "RedPaletteColorLookupTableData": "data:;base64,AQIDBA==",
    }  # fmt: skip
    after = changed(Modify(set=values), instance())
    assert after.FrameIncrementPointer == [0x00181063, 0x00540080]
    assert after.EncapsulatedDocument == b"\1\2\3\0"
    assert after.private_block(0x0009, "ACME")[0x11].value == b"\1\2"
    assert after.RedPaletteColorLookupTableData == b"\1\2\3\4"


def test_private_attributes_go_but_for_those_to_keep():
    before = instance(RequestAttributesSequence=[item(StudyDescription="a")])
    before.RequestAttributesSequence[0].private_block(0x0019, "ACME", create=True).add_new(1, "LO", "x")
    for name in ("ACME", "OTHER"):
        before.private_block(0x0019, name, create=True).add_new(0x0C, "LO", name)
    after = changed(Modify(private="remove", keep=('0019,xx0C,"OTHER"',)), before)
    assert [one.tag for one in after if one.tag.is_private] == [0x00190011, 0x0019110C]
    assert list(after.RequestAttributesSequence[0].keys()) == [0x00081030]


# -- character sets --


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("chrH31.dcm", "Yamada^Taro=山田^次郎=やまだ^じろう"),
        ("chrH32.dcm", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^次郎"),
        ("chrI2.dcm", "Hong^Gildong=洪^吉洞=홍^길동"),
        ("chrGreek.dcm", "Διονυσιος"),
        ("chrRuss.dcm", "Жуков^Лев"),
        ("chrGerm.dcm", "Äneas^Rüdiger"),
        ("chrX2.dcm", "Wang^XiaoDong=王^小东"),
    ],
)
def test_a_text_is_written_in_the_instances_own_character_set(file, text):
    raw = with_uids(charset_file(file))
    after = changed(Modify(set={"PatientName": text}), raw)
    assert str(after.PatientName) == text
    assert after.get("SpecificCharacterSet") == read(raw).SpecificCharacterSet


@pytest.mark.parametrize(
    "file", ["chrH31.dcm", "chrH32.dcm", "chrI2.dcm", "chrGreek.dcm", "chrArab.dcm", "chrFren.dcm"]
)
def test_a_text_that_does_not_fit_brings_all_texts_to_unicode(file):
    raw = with_uids(charset_file(file))
    before = read(raw)
    after = changed(Modify(set={"PatientComments": "Ω山Ж홍ä"}), raw)
    assert after.SpecificCharacterSet == "ISO_IR 192"
    assert after.PatientComments == "Ω山Ж홍ä"
    assert str(after.PatientName) == str(before.PatientName)


def test_a_text_in_an_item_with_its_own_character_set_is_widened_too():
    japanese = open_source(io.BytesIO(charset_file("chrH31.dcm")), must_decode=False).header
    own = {tag: japanese[tag] for tag in (0x00080005, 0x00100010)}
    greek = open_source(io.BytesIO(with_uids(charset_file("chrGreek.dcm"))), must_decode=False).header
    raw = content(el.with_items(greek, 0x00321064, [own, {0x00100010: greek[0x00100010]}]), IMPLICIT)
    before, after = read(raw), changed(Modify(set={"PatientComments": "Ω山Ж홍ä"}), raw)
    for number in range(2):
        items = [ds.RequestedProcedureCodeSequence[number] for ds in (before, after)]
        assert str(items[0].PatientName) == str(items[1].PatientName)
        assert "SpecificCharacterSet" not in items[1]


def test_plain_text_gets_the_character_set_that_it_needs():
    after = changed(Modify(set={"PatientName": "Müller^Jörg"}), instance())
    assert (after.SpecificCharacterSet, str(after.PatientName)) == ("ISO_IR 192", "Müller^Jörg")


def test_bytes_that_are_not_of_their_character_set_are_not_guessed_at():
    raw = content(instance()).replace(b"General Hospital", b"G\xe4neral Hospital")
    with pytest.raises(CannotEditError, match="0008,0080"):
        done(Modify(set={"PatientName": "山"}), raw)
    assert b"G\xe4neral" in done(Modify(set={"PatientName": "A"}), raw)[0]


@given(
    st.text(
        st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp"), exclude_characters="\\^="),
        max_size=60,
    )
)
@settings(max_examples=60, deadline=None)
def test_any_text_reads_back_as_it_was_set(text):
    assert changed(Modify(set={"PatientID": "7", "StudyDescription": text}), instance()).StudyDescription == text


def with_uids(raw):
    """Return one of pydicom's files as an instance that has what it must have, its texts untouched."""
    source = open_source(io.BytesIO(raw), must_decode=False)
    header = source.header
    for tag, uid in (
        (0x00080018, "1.2.3.4"),
        (0x0020000D, "1.2.3.5"),
        (0x0020000E, "1.2.3.6"),
        (0x00080016, "1.2.840.10008.5.1.4.1.1.7"),
    ):
        header = el.with_text(header, tag, b"UI", uid)
    return content(header, source.syntax.uid)


# -- identifiers --


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Modify(set={"StudyDescription": "x"}), {"SOPInstanceUID"}),
        (Modify(set={"PatientName": "x"}), {"SOPInstanceUID"}),
        (Modify(set={"PatientID": "x"}), set(UIDS)),
        (Modify(set={"PatientID": "00123"}), {"SOPInstanceUID"}),
        (Modify(set={"IssuerOfPatientID": "x"}), set(UIDS)),
        (Modify(set={"StudyInstanceUID": "1.2.3"}), set(UIDS) - {"FrameOfReferenceUID"}),
        (Modify(set={"SeriesInstanceUID": "1.2.3"}), {"SOPInstanceUID", "SeriesInstanceUID"}),
        (Modify(set={"PatientID": "x"}, keep_uids=True), set()),
        (Modify(set={"PatientID": "x"}, keep=("StudyInstanceUID",)), set(UIDS) - {"StudyInstanceUID"}),
        (Modify(set={"PatientID": "x"}, keep=UIDS), set()),
    ],
)
def test_what_is_below_a_changed_identifier_is_new(step, expected):
    assert renewed(step) == expected


def test_what_is_set_is_what_stands_there():
    after = changed(Modify(set={"StudyInstanceUID": "1.2.3", "SOPInstanceUID": "1.2.4"}), instance())
    assert (after.StudyInstanceUID, after.SOPInstanceUID, after.file_meta.MediaStorageSOPInstanceUID) == (
        "1.2.3",
        "1.2.4",
        "1.2.4",
    )


def test_a_study_stays_together_and_its_references_hold():
    one, two = instance(1), instance(2, series="1.2.826.0.1.5.8")
    two.ReferencedSeriesSequence = [item(SeriesInstanceUID=one.SeriesInstanceUID, ReferencedInstanceSequence=[])]
    two.ReferencedSeriesSequence[0].ReferencedInstanceSequence = [
        item(ReferencedSOPClassUID=one.SOPClassUID, ReferencedSOPInstanceUID=one.SOPInstanceUID)
    ]
    step = Modify(set={"PatientID": "NEW"})
    first, second = changed(step, one), changed(step, two)
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.FrameOfReferenceUID == second.FrameOfReferenceUID
    referred = second.ReferencedSeriesSequence[0]
    assert referred.SeriesInstanceUID == first.SeriesInstanceUID != second.SeriesInstanceUID
    assert referred.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert referred.ReferencedInstanceSequence[0].ReferencedSOPClassUID == one.SOPClassUID


CT = "1.2.840.10008.5.1.4.1.1.2"


def referring(number=1, *uids, **keywords):
    """Return an instance that refers to instances, to its own study as one, and to a procedure step, all of one patient."""
    ds = instance(number, **keywords)
    ds.ReferencedImageSequence = [item(ReferencedSOPClassUID=CT, ReferencedSOPInstanceUID=uid) for uid in uids]
    ds.ReferencedStudySequence = [item(ReferencedSOPInstanceUID=ds.StudyInstanceUID)]
    ds.ReferencedPerformedProcedureStepSequence = [item(ReferencedSOPInstanceUID="1.2.9.1")]
    ds.StudiesContainingOtherReferencedInstancesSequence = [
        item(StudyInstanceUID=uid, ReferencedSeriesSequence=[item(SeriesInstanceUID=f"{uid}.7")])
        for uid in (ds.StudyInstanceUID, "1.2.77")
    ]
    return ds


def referred(ds):
    others = ds.StudiesContainingOtherReferencedInstancesSequence
    return (
        [one.ReferencedSOPInstanceUID for one in ds.ReferencedImageSequence],
        ds.ReferencedStudySequence[0].ReferencedSOPInstanceUID,
        [(one.StudyInstanceUID, one.ReferencedSeriesSequence[0].SeriesInstanceUID) for one in others],
        ds.ReferencedPerformedProcedureStepSequence[0].ReferencedSOPInstanceUID,
    )


def of_job(*uids):
    """Return the terms of a job that is about instances with these UIDs."""
    everything = {*uids, "9.9.9", "1.2.77", "1.2.77.7"}
    return msgspec.structs.replace(terms(), changed_alike=ChangedAlike.of(everything, {*uids}))


def test_what_is_modified_by_itself_leaves_all_references_but_those_to_itself():
    before = referring(2, f"{instance().SeriesInstanceUID}.1", "9.9.9")
    after = changed(Modify(of=""), before)
    assert after.SOPInstanceUID != before.SOPInstanceUID
    assert referred(after) == referred(before)
    after = changed(Modify(set={"StudyInstanceUID": "1.2.3"}, of=""), before)
    images, study, others, step = referred(after)
    assert (images, study, step) == (referred(before)[0], "1.2.3", "1.2.9.1")
    assert others == [("1.2.3", after.SeriesInstanceUID), ("1.2.77", "1.2.77.7")]


@pytest.mark.parametrize("level", ["series", "study", "patient"])
def test_a_job_changes_references_to_what_it_is_about_and_no_others(level):
    one = instance(1)
    two = referring(2, one.SOPInstanceUID, "9.9.9")
    given = of_job(one.SOPInstanceUID, two.SOPInstanceUID, one.SeriesInstanceUID, one.StudyInstanceUID)
    step = Modify(set={"StudyDescription": "new"}, level=level, of="job")
    first, second = changed(step, one, given), changed(step, two, given)
    assert first.SOPInstanceUID != one.SOPInstanceUID
    assert first.SeriesInstanceUID == second.SeriesInstanceUID != one.SeriesInstanceUID
    assert (second.StudyInstanceUID == two.StudyInstanceUID) == (level == "series")
    assert second.FrameOfReferenceUID == two.FrameOfReferenceUID
    assert referred(second) == (
        [first.SOPInstanceUID, "9.9.9"],
        second.StudyInstanceUID,
        [(second.StudyInstanceUID, second.SeriesInstanceUID), ("1.2.77", "1.2.77.7")],
        "1.2.9.1",
    )
    again = changed(msgspec.structs.replace(step, of="another job"), one, given)
    assert again.SOPInstanceUID != first.SOPInstanceUID


def test_several_studies_that_become_one_are_referred_to_as_that_one():
    before = referring(1)
    given = of_job(before.StudyInstanceUID, "1.2.77")
    step = Modify(set={"StudyInstanceUID": "1.2.3"}, level="series", of="job")
    others = referred(changed(step, before, given))[2]
    assert [study for study, _ in others] == ["1.2.3", "1.2.3"]


def test_what_lost_information_before_is_referred_to_by_what_it_was():
    """B refers to A, and both are made anew by a codec, with identifiers of their own, before they are modified."""
    lossy = referring(1, "1.2.5.1", SOPInstanceUID="2.25.5")
    lossy.SourceImageSequence = [item(ReferencedSOPInstanceUID="1.2.5.2")]
    step = Modify(level="study", of="job", source="1.2.5.2")
    after = changed(step, lossy, of_job("1.2.5.1", "1.2.5.2"))
    other = changed(
        msgspec.structs.replace(step, source="1.2.5.1"), instance(2, SOPInstanceUID="2.25.6"), of_job("1.2.5.1")
    )
    assert referred(after)[0] == [other.SOPInstanceUID]
    assert after.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.5.2"
    assert after.SOPInstanceUID not in {"2.25.5", "1.2.5.2"}


@pytest.mark.parametrize("of", [None, "", "job"])
def test_a_uid_that_is_set_inside_a_sequence_stands_as_it_was_given(of):
    before = referring(1, "9.9.9", "9.9.9")
    values = {
        "ReferencedImageSequence[1].ReferencedSOPInstanceUID": "1.2.3.4",
        "SourceImageSequence": [{"ReferencedSOPInstanceUID": "1.2.3.5"}],
    }
    after = changed(Modify(set=values, of=of, level="study"), before)
    assert referred(after)[0][1] == "1.2.3.4"
    assert after.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.5"


@given(st.sets(st.text("12", min_size=1, max_size=4)), st.sets(st.text("12", min_size=1, max_size=4)))
def test_what_is_changed_alike_is_told_from_what_is_not(alike, others):
    found = ChangedAlike.of(alike | others, alike)
    assert {uid for uid in alike | others if uid in found} == alike
    assert len(found.digests) <= len(alike | others) // 2


def test_an_identifier_that_is_kept_is_kept_where_it_is_referred_to():
    one = instance(1)
    two = instance(2, ReferencedImageSequence=[item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2")])
    two.ReferencedImageSequence[0].ReferencedSOPInstanceUID = one.SOPInstanceUID
    after = changed(Modify(set={"PatientID": "NEW"}, keep=("SOPInstanceUID",)), two)
    assert after.ReferencedImageSequence[0].ReferencedSOPInstanceUID == one.SOPInstanceUID
    assert (after.SOPInstanceUID, after.StudyInstanceUID != two.StudyInstanceUID) == (two.SOPInstanceUID, True)


def test_instances_with_different_comments_stay_in_one_series():
    results = [
        changed(Modify(set={"PatientID": "NEW", "ImageComments": str(number)}), instance(number)) for number in range(2)
    ]
    assert len({ds.SeriesInstanceUID for ds in results}) == 1
    assert len({ds.SOPInstanceUID for ds in results}) == 2


def test_new_uids_are_a_function_of_source_change_and_key():
    step = Modify(set={"PatientID": "NEW"})
    again = Modify(set={"PatientID": "NEW"})
    other = Modify(set={"PatientID": "NEW", "PatientName": "x"})
    uid = changed(step, instance()).SOPInstanceUID
    assert changed(again, instance(), terms(days=5)).SOPInstanceUID == uid
    assert changed(other, instance()).SOPInstanceUID != uid
    assert changed(step, instance(2)).SOPInstanceUID != uid
    assert changed(step, instance(), terms(key=KEY[::-1])).SOPInstanceUID != uid


# -- what was there before --


def test_what_was_replaced_is_recorded_and_what_was_removed_is_not():
    after = changed(Modify(set={"PatientID": "NEW", "PatientComments": "new"}, remove=("InstitutionName",)), instance())
    recorded = after.OriginalAttributesSequence[0]
    assert recorded.ModifyingSystem == "hostd at home"
    assert recorded.AttributeModificationDateTime == "20260101120000+0000"
    assert recorded.ReasonForTheAttributeModification == "COERCE"
    values = recorded.ModifiedAttributesSequence[0]
    assert (values.PatientID, values.StudyInstanceUID) == ("00123", "1.2.826.0.1.5")
    assert "InstitutionName" not in values
    assert "PatientComments" not in values
    assert b"General Hospital" not in done(Modify(remove=("InstitutionName",)), instance())[0]


def test_a_record_is_appended_and_can_be_left_out():
    once = done(Modify(set={"PatientID": "A"}), instance())[0]
    twice = changed(Modify(set={"PatientID": "B"}), once)
    assert [one.ModifiedAttributesSequence[0].PatientID for one in twice.OriginalAttributesSequence] == ["00123", "A"]
    without = changed(Modify(set={"PatientID": "B"}, remove=("OriginalAttributesSequence",)), once)
    assert "OriginalAttributesSequence" not in without


def test_a_signature_over_what_is_changed_goes():
    before = instance()
    before.add_new(0xFFFAFFFA, "SQ", [item(MACIDNumber=1)])
    assert 0xFFFAFFFA not in changed(Modify(set={"PatientID": "A"}), before)


# -- pixels and memory --


@pytest.mark.parametrize("name", ["CT1_UNC", "CT1_J2KR", "MR1_RLE", "NM1_JPLL", "VL1_J2KI", "MR3_JPLY"])
def test_pixel_data_is_copied_untouched(name):
    raw = shared("wg04", name).read_bytes()
    after, facts = done(Modify(set={"PatientID": "NEW"}), raw)
    assert facts.pixel_hash_before == facts.pixel_hash_after != ""
    assert read(after).PixelData == read(raw).PixelData
    assert read(after).file_meta.TransferSyntaxUID == read(raw).file_meta.TransferSyntaxUID


def test_other_encodings_keep_their_values():
    big = instance()
    big.PixelData = np.frombuffer(big.PixelData, "<u2").byteswap().tobytes()
    for raw in (saved(instance(), IMPLICIT), big_endian(big), saved(instance(), "1.2.840.10008.1.2.1.99")):
        after = changed(Modify(set={"PatientID": "NEW"}), raw)
        assert (after.PatientID, after.Rows, str(after.PatientName)) == ("NEW", 8, "Doe^Jane")
        assert after.PixelData == instance().PixelData


def test_an_instance_of_a_syntax_that_hostd_does_not_decode_is_edited_too():
    video = instance(SOPClassUID="1.2.840.10008.5.1.4.1.1.77.1.4.1")
    del video.PixelData
    raw = content(video).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.4.102\0")
    raw = raw.replace(b"UI\x14\0" + b"1.2.840.10008.1.2.4.102\0", b"UI\x18\0" + b"1.2.840.10008.1.2.4.102\0")
    stream = (
        b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff"
        b"\xfe\xff\0\xe0\0\0\0\0"
        b"\xfe\xff\0\xe0\x08\0\0\0mpeg-4!!"
        b"\xfe\xff\xdd\xe0\0\0\0\0"
    )
    after, facts = done(Modify(set={"PatientID": "NEW"}), raw + stream)
    assert after.endswith(stream)
    assert facts.pixel_hash_after.startswith("raw:")
    with pytest.raises(CannotTranscodeError, match="ends inside"):
        done(Modify(set={"PatientID": "NEW"}), raw + stream[:-10])


def test_memory_is_that_of_the_header_not_of_the_pixels(tmp_path):
    raw = content(instance(Rows=8192, Columns=10240))
    at = raw.index(b"\xe0\x7f\x10\0OW")
    size = 160 << 20
    source, result = (tmp_path / "in.dcm").open("w+b"), (tmp_path / "out.dcm").open("w+b")
    source.write(raw[: at + 8] + size.to_bytes(4, "little"))
    source.truncate(at + 12 + size)
    with source, result:
        edit(EditJob(Modify(set={"PatientID": "warm"}), terms()), io.BytesIO(content(instance())), io.BytesIO())
        tracemalloc.start()
        edit(EditJob(Modify(set={"PatientID": "NEW"}), terms()), source, result)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert result.seek(0, 2) > size
    assert peak < 80 << 20  # room for what may follow the pixels is set aside


# -- texts --


@given(st.lists(st.sampled_from(["PatientName", "PatientID", "StudyDate", "Modality"]), max_size=4))
def test_one_change_has_one_text(keywords):
    one = Modify(set=dict.fromkeys(keywords, "A"), remove=tuple(keywords))
    other = Modify(set=dict.fromkeys(reversed(keywords), "A"), remove=tuple(reversed(keywords)))
    assert edits.canonical(one) == edits.canonical(other)


@given(st.text(max_size=40))
def test_any_text_is_a_path_or_is_refused(text):
    try:
        path = paths.parse(text)
    except CannotEditError:
        return
    assert paths.parse(paths.shown(path)) == path
