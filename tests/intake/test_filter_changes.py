"""What filters want changed: written into the stored file, the old values recorded, everything else byte for byte as it was."""

import io
from pathlib import Path

import pytest
from pydicom import dcmread, dcmwrite
from pydicom.data import get_testdata_file
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from hostd.archive import instances
from hostd.archive import tables as t
from hostd.archive.filterings import FilterRun
from hostd.archive.records import Origin
from hostd.errors import FilterRefusedError
from hostd.intake.filtering import Changes, Opinion, combine
from hostd.intake.intake import Intake

PATIENT_ID, ISSUER, NAME, ADDRESS, SOP_INSTANCE = 0x00100020, 0x00100021, 0x00100010, 0x00101040, 0x00080018
SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


def run(verb=None, outcome="done", error=None, inputs=None):
    return FilterRun("pad.py", "v1", outcome, verb, inputs or {}, ("PatientID",), (), error, 1.0, 0.1)


class Says:
    """Filters that say one thing."""

    def __init__(self, *opinions):
        self.opinions = opinions
        self.seen = []

    def received(self, header, origin, file):
        self.seen.append((header, origin, file.stat().st_size))
        return combine(self.opinions) if self.opinions else None


def changing(remove=(), **values):
    chosen = {tag_for_keyword(name): tuple(value) for name, value in values.items()}
    return Says(Opinion("accept", run("accept"), Changes(chosen, frozenset(remove))))


def dataset(syntax=ExplicitVRLittleEndian, **elements):
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3.4"
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.3", "1.2.3.5"
    made.PatientID, made.PatientName, made.PatientAddress = "42", "A^B", "Street 1"
    made.Rows = made.Columns = 4
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation, made.SamplesPerPixel = 15, 1, 1
    made.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    made.add_new(0x00091001, "LO", "private")
    made.add_new(0x00090010, "LO", "CREATOR")
    made.PixelData = bytes(range(32))
    made["PixelData"].VR = "OW"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID, made.file_meta.MediaStorageSOPInstanceUID = made.SOPClassUID, "1.2.3.4"
    return made


def as_file(made):
    out = io.BytesIO()
    dcmwrite(out, made, enforce_file_format=True)
    return out.getvalue()


def send(archive, content, filters, on_conflict="newest"):
    intake = Intake(archive, on_conflict=on_conflict, name_sender=lambda _: None, filters=filters)
    reception = intake.receive_file(origin=Origin("http", ip="10.0.0.1"))
    reception.write(content)
    return reception.finish()


def stored(archive, received):
    with archive.read() as connection:
        instance = instances.get(connection, received.instance)
    return instance, archive.blobs.path(instance.blob.name)


def files(archive):
    return list(archive.blobs.names())


def rows(archive, table, **where):
    with archive.read() as connection:
        query = table.select().where(*(table.c[name] == value for name, value in where.items()))
        return connection.execute(query).all()


def records(read):
    return [item.ModifiedAttributesSequence[0] for item in read.get("OriginalAttributesSequence", [])]


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_in_every_encoding_elements_change_the_record_is_kept_and_the_rest_is_as_it_was(archive, syntax):
    original = dataset(syntax)
    content = as_file(original)
    filters = changing([ADDRESS], PatientID=["0000000042"], IssuerOfPatientID=["SITE"], SmallestImagePixelValue=[-5],
                       SeriesNumber=[7], ImageType=["DERIVED", "SECONDARY"], RescaleSlope=[0.5])  # fmt: skip
    received = send(archive, content, filters)
    instance, path = stored(archive, received)
    read = dcmread(path)
    assert (read.PatientID, read.IssuerOfPatientID, read.SeriesNumber, read.RescaleSlope) == (
        "0000000042",
        "SITE",
        7,
        0.5,
    )
    assert (list(read.ImageType), read.SmallestImagePixelValue) == (["DERIVED", "SECONDARY"], -5)
    assert "PatientAddress" not in read
    (item,) = read.OriginalAttributesSequence
    assert (item.ModifyingSystem, item.ReasonForTheAttributeModification) == ("hostd", "COERCE")
    assert item.SourceOfPreviousValues is None or item.SourceOfPreviousValues == ""
    assert item.AttributeModificationDateTime.endswith("+0000")
    (before,) = records(read)
    assert (before.PatientID, before.PatientAddress) == ("42", "Street 1")
    assert before["IssuerOfPatientID"].is_empty
    assert read.file_meta.TransferSyntaxUID == syntax
    assert read.PixelData == original.PixelData
    for element in original:
        if element.tag not in (PATIENT_ID, ADDRESS) and not element.tag.is_private:
            assert read[element.tag].value == element.value
    assert read[0x00091001].value in ("private", b"private ")
    assert instance.patient_id == "0000000042"
    assert received.instance == instance.id
    assert list(read.keys()) == sorted(read.keys())
    assert files(archive) == [instance.blob.name]
    assert instance.blob.size == path.stat().st_size


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "MR_small_RLE.dcm", "CT_small.dcm", "MR_small_jpeg_ls_lossless.dcm"])
def test_pixels_and_all_other_elements_stay_byte_for_byte(archive, name):
    content = Path(str(get_testdata_file(name, download=False))).read_bytes()
    _, path = stored(archive, send(archive, content, changing(PatientName=["New^Name"])))
    changed = path.read_bytes()
    at = content.index(b"\xe0\x7f\x10\x00O")
    assert changed.endswith(content[at:])
    before, after = dcmread(io.BytesIO(content)), dcmread(path)
    assert changed[:128] == content[:128]
    del after.OriginalAttributesSequence
    for read in (before, after):
        del read.PatientName
        for tag in [tag for tag in read.keys() if tag.element == 0]:  # noqa: SIM118 - iterating gives elements
            del read[tag]
    assert before == after
    assert before.file_meta == after.file_meta


def test_a_repeat_is_known_by_what_was_received_and_changes_nothing(archive):
    content = as_file(dataset())
    first = send(archive, content, changing(PatientID=["X"]))
    again = send(archive, content, changing(PatientID=["X"]))
    assert (first.outcome, again.outcome) == ("stored", "already stored")
    assert len(files(archive)) == 1
    assert [row.kind for row in rows(archive, t.event) if not row.kind.startswith("new_")] == [
        "filtered_instance", "stored_instance", "filtered_instance", "received_again",
    ]  # fmt: skip


def test_what_is_so_already_is_stored_as_it_came_without_a_record(archive):
    content = as_file(dataset())
    _, path = stored(archive, send(archive, content, changing([0x00104000], PatientID=["42"])))
    assert path.read_bytes() == content


def test_a_new_sop_instance_uid_is_in_the_file_meta_too(archive):
    received = send(archive, as_file(dataset()), changing(SOPInstanceUID=["1.9.9"]))
    instance, path = stored(archive, received)
    read = dcmread(path)
    assert read.SOPInstanceUID == read.file_meta.MediaStorageSOPInstanceUID == instance.sop_instance_uid == "1.9.9"
    assert records(read)[0].SOPInstanceUID == "1.2.3.4"


@pytest.mark.parametrize("is_undefined", [True, False])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_what_others_changed_before_stays_recorded(archive, syntax, is_undefined):
    item, earlier = Dataset(), Dataset()
    earlier.PatientID = "first"
    item.ModifiedAttributesSequence, item.ModifyingSystem = Sequence([earlier]), "PACS"
    original = dataset(syntax, OriginalAttributesSequence=Sequence([item]))
    original["OriginalAttributesSequence"].is_undefined_length = is_undefined
    _, path = stored(archive, send(archive, as_file(original), changing(PatientID=["third"])))
    read = dcmread(path)
    assert [record.PatientID for record in records(read)] == ["first", "42"]
    assert read.OriginalAttributesSequence[0].ModifyingSystem == "PACS"


def test_a_sequence_can_be_removed_and_is_recorded_whole(archive):
    inside = Dataset()
    inside.ReferencedSOPInstanceUID = "1.7"
    original = dataset(ReferencedStudySequence=Sequence([inside]))
    _, path = stored(archive, send(archive, as_file(original), changing([0x00081110])))
    read = dcmread(path)
    assert "ReferencedStudySequence" not in read
    assert records(read)[0].ReferencedStudySequence[0].ReferencedSOPInstanceUID == "1.7"


@pytest.mark.parametrize(
    ("character_set", "name"),
    [("ISO_IR 100", "Ä^B"), ("ISO_IR 192", "山田^太郎"), ("GB18030", "王^小东"), ("ISO_IR 101", "Żółw")],
)
def test_text_is_written_in_the_character_set_of_the_instance(archive, character_set, name):
    original = dataset(SpecificCharacterSet=character_set)
    _, path = stored(archive, send(archive, as_file(original), changing(PatientName=[name])))
    assert dcmread(path).PatientName == name


@pytest.mark.parametrize("character_set", ["", "ISO_IR 100", "\\ISO 2022 IR 87", "ISO_IR 13"])
def test_text_that_the_character_set_does_not_have_is_refused_and_nothing_stays(archive, character_set):
    original = dataset(SpecificCharacterSet=character_set.split("\\"))
    with pytest.raises(FilterRefusedError) as refused:
        send(archive, as_file(original), changing(PatientName=["山田^太郎"]))
    assert refused.value.status == 0xA700
    assert "山田" not in str(refused.value)
    assert files(archive) == []
    (failed,) = rows(archive, t.run)
    assert (failed.outcome, failed.script) == ("failed", "pad.py")
    assert "character set" in failed.error
    assert [row.kind for row in rows(archive, t.event)] == ["refused_instance"]


def test_an_instance_that_would_not_be_one_any_more_is_refused(archive):
    with pytest.raises(FilterRefusedError):
        send(archive, as_file(dataset()), changing([SOP_INSTANCE]))
    assert files(archive) == []


def test_a_data_set_that_is_not_as_its_syntax_says_is_refused_when_it_is_to_be_changed(archive):
    content = as_file(dataset(ExplicitVRLittleEndian))
    at = content.index(b"\x10\x00\x40\x10LO")
    with pytest.raises(FilterRefusedError):
        send(archive, content[: at + 4] + b"ZZ" + content[at + 6 :], changing(PatientID=["X"]))
    assert files(archive) == []


# -- discards and refusals


def test_a_discard_is_a_row_before_it_is_answered_and_nothing_is_stored(archive):
    filters = Says(Opinion("discard", run("discard", inputs={"reason": "not ours"}), reason="not ours"))
    received = send(archive, as_file(dataset()), filters)
    assert received.outcome == "filtered out"
    assert files(archive) == []
    (event,) = rows(archive, t.event)
    assert (event.kind, event.subject, event.study, event.blob) == (
        "discarded_instance",
        received.instance,
        "1.2.3",
        None,
    )
    assert event.origin["ip"] == "10.0.0.1"
    ((kept,), (action,)) = rows(archive, t.run), rows(archive, t.action)
    assert (kept.script, kept.version, kept.event) == ("pad.py", "v1", event.number)
    assert (action.verb, action.inputs) == ("discard", {"reason": "not ours"})
    assert rows(archive, t.instance) == []


def test_when_the_row_of_a_discard_cannot_be_written_it_is_not_answered_with_success(archive, monkeypatch):
    filters = Says(Opinion("discard", run("discard"), reason="not ours"))

    def fail(_unit, **_options):
        raise OSError("the disk is full")

    monkeypatch.setattr(archive.writer, "do", fail)
    with pytest.raises(OSError, match="the disk is full"):
        send(archive, as_file(dataset()), filters)


def test_a_refusal_leaves_no_row_and_no_file_and_tells_the_sender_why(archive):
    filters = Says(Opinion("refuse", run(), reason="come back later", status=0xA700))
    with pytest.raises(FilterRefusedError, match=r"filter pad\.py: come back later") as refused:
        send(archive, as_file(dataset()), filters)
    assert refused.value.status == 0xA700
    assert files(archive) == rows(archive, t.event) == rows(archive, t.run) == []


def test_a_failure_is_a_row_once_and_its_inside_is_not_told_to_the_sender(archive):
    filters = Says(Opinion("refuse", run(outcome="failed", error="ValueError: secret"), reason="ValueError: secret"))
    for _ in range(3):
        with pytest.raises(FilterRefusedError) as refused:
            send(archive, as_file(dataset()), filters)
        assert "secret" not in str(refused.value)
    (failed,) = rows(archive, t.run)
    assert (failed.outcome, failed.error) == ("failed", "ValueError: secret")
    archive.clock.advance(3601)
    with pytest.raises(FilterRefusedError):
        send(archive, as_file(dataset()), filters)
    assert len(rows(archive, t.run)) == 2


def test_filters_that_let_all_pass_leave_no_row_and_the_file_as_it_came(archive):
    content = as_file(dataset())
    filters = Says(Opinion("accept", run()))
    _, path = stored(archive, send(archive, content, filters))
    assert path.read_bytes() == content
    assert [row.kind for row in rows(archive, t.event) if not row.kind.startswith("new_")] == ["stored_instance"]
    (header, origin, size) = filters.seen[0]
    assert (header.patient_id, origin.ip, size) == ("42", "10.0.0.1", len(content))
