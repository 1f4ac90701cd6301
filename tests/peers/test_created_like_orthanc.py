"""`/tools/create-dicom` of a real Orthanc and of hostd: the same instances of the same requests."""

import base64

import numpy as np
import pytest
import requests
from likeness import pair_of, stop
from peer_kit import PATIENCE_S, needs, sample
from pydicom import dcmread
from pydicom.encaps import generate_frames
from pydicom.filebase import DicomBytesIO

pytestmark = [pytest.mark.peers, needs("Orthanc")]

PDF = b"%PDF-1.4\n" + bytes(range(256)) * 7 + b"x"
IDENTIFIERS = {"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"}
OURS = {"SOPClassUID", "Modality", "ConversionType", "EncapsulatedDocumentLength"}
"""What hostd adds, since it is no instance without."""


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    made = pair_of(
        tmp_path_factory.mktemp("created"),
        sample("examples_rgb_color.dcm").read_bytes(),
        sample("CT_small.dcm").read_bytes(),
    )
    made.names["nowhere"] = "0-0-0-0-0"
    yield made
    stop(made)


def uri(media_type, content):
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


@pytest.fixture(scope="module")
def pictures(both):
    """Pictures of each sort, as data URIs."""
    url = both.orthanc.url
    colour = next(
        one["ID"]
        for one in requests.get(f"{url}/instances?expand", timeout=PATIENCE_S).json()
        if one["ID"] != both.names["instance"]
    )

    def picture(instance, kind, media_type="image/png"):
        path = f"{url}/instances/{instance}/{kind}"
        return uri(media_type, requests.get(path, headers={"Accept": media_type}, timeout=PATIENCE_S).content)

    return {
        "grey": picture(both.names["instance"], "preview"),
        "deep": picture(both.names["instance"], "image-uint16"),
        "colour": picture(colour, "preview"),
        "jpeg": picture(colour, "preview", "image/jpeg"),
        "pdf": uri("application/pdf", PDF),
    }


def created(both, **body):
    """Have it made by both; return Orthanc's instance and hostd's."""
    answers = both.ask("POST /tools/create-dicom", json=body)
    assert [one.status_code for one in answers] == [200, 200], [one.text for one in answers]
    assert answers[0].json().keys() == answers[1].json().keys()
    found = []
    for url, answer in zip(both.urls, answers, strict=True):
        said = answer.json()
        assert said["Status"] == "Success"
        file = requests.get(f"{url}/instances/{said['ID']}/file", timeout=PATIENCE_S).content
        found.append(dcmread(DicomBytesIO(file)))
    return found


def keywords(data_set):
    return {element.keyword for element in data_set}


@pytest.mark.parametrize("sort", ["grey", "deep", "colour", "jpeg", "pdf"])
def test_a_picture_or_pdf_becomes_the_same_instance(both, pictures, sort):
    theirs, ours = created(both, Tags={"PatientID": "x", "PatientName": "Müller^Jörg"}, Content=pictures[sort])
    assert keywords(ours) - OURS == keywords(theirs) - OURS
    assert str(ours.PatientName) == "Müller^Jörg"
    if sort == "pdf":
        assert bytes(ours.EncapsulatedDocument)[: ours.EncapsulatedDocumentLength] == PDF
        assert ours.MIMETypeOfEncapsulatedDocument == theirs.MIMETypeOfEncapsulatedDocument
        assert ours.SOPClassUID == theirs.SOPClassUID
        return
    for keyword in (
        "Rows",
        "Columns",
        "SamplesPerPixel",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PhotometricInterpretation",
    ):
        assert ours[keyword].value == theirs[keyword].value, keyword
    theirs.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    difference = np.abs(ours.pixel_array.astype(int) - theirs.pixel_array.astype(int))
    assert difference.max() <= (3 if sort == "jpeg" else 0)  # two decoders of JPEG may round otherwise


@pytest.mark.parametrize("level", ["patient", "study", "series"])
def test_it_is_attached_to_what_is_there(both, pictures, level):
    theirs, ours = created(both, Parent=both.names[level], Tags={"ImageComments": "added"}, Content=pictures["grey"])
    assert keywords(ours) - OURS == keywords(theirs) - OURS
    inherited = {
        "patient": ["PatientID", "PatientName"],
        "study": ["StudyInstanceUID", "StudyDate", "StudyDescription"],
        "series": ["SeriesInstanceUID", "Modality", "SeriesNumber"],
    }
    for keywords_ in list(inherited.values())[: list(inherited).index(level) + 1]:
        for keyword in keywords_:
            assert ours[keyword].value == theirs[keyword].value, keyword


def test_tags_alone_and_sequences_make_an_instance_too(both):
    body = {
        "PatientID": "z", "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.4", "SOPInstanceUID": "1.2.5",
        "0010-0040": "M", "InstanceNumber": "7", "PatientWeight": "70.5", "RequestAttributesSequence": [{"RequestedProcedureID": "1"}],
    }  # fmt: skip
    theirs, ours = created(both, Tags=body, Force=True)
    assert keywords(ours) - OURS == keywords(theirs) - OURS
    for keyword in ("SOPInstanceUID", "PatientSex", "InstanceNumber", "PatientWeight"):
        assert ours[keyword].value == theirs[keyword].value
    assert ours.RequestAttributesSequence[0].RequestedProcedureID == "1"


def test_several_make_a_series(both, pictures):
    content = [{"Tags": {"InstanceNumber": "5"}, "Content": pictures["grey"]}, {"Content": pictures["grey"]}]
    for url, answer in zip(
        both.urls,
        both.ask("POST /tools/create-dicom", json={"Tags": {"PatientID": "s"}, "Content": content}),
        strict=True,
    ):
        assert answer.status_code == 200, answer.text
        assert answer.json()["Path"] == f"/series/{answer.json()['ID']}"
        found = requests.get(f"{url}/series/{answer.json()['ID']}/instances", timeout=PATIENCE_S).json()
        assert len(found) == 2


OCTETS = "application/octet-stream"


@pytest.mark.parametrize("body", [
    {"Tags": {"0009,0010": "ACME", "0009,1001": "abc"}},
    {"Tags": {"0009-0010": "ACME", "0009-1001": "abc"}, "PrivateCreator": "OTHER"},
    {"Tags": {"0009,0010": "ACME", "0009,1001": uri(OCTETS, b"abc")}},
    {"Tags": {"0011,0011": "x"}},
    {"Tags": {"ImageComments": uri("text/plain", b"hello"), "ICCProfile": uri(OCTETS, b"odd")}},
    {"Tags": {"EncapsulatedDocument": uri(OCTETS, b"hello")}, "InterpretBinaryTags": False},
    {"Tags": {"EncapsulatedDocument": "hello"}},
    {"Tags": {"EncapsulatedDocument": uri("application/pdf", PDF)}},
    {"Tags": {"PatientID": None, "AccessionNumber": ""}},
    {"PatientID": "old", "PatientName": "A^B", "StudyInstanceUID": "1.2.77", "SeriesInstanceUID": "1.2.78", "SOPInstanceUID": "1.2.79"},
    {},
], ids=lambda body: "-".join({**body, **body.get("Tags", {})}) or "nothing")  # fmt: skip
def test_private_and_binary_elements_and_tags_without_tags_are_those_of_orthanc(both, body):
    theirs, ours = created(both, **body)
    said = body.get("Tags", body)
    for element in theirs:
        keyword = element.keyword
        if keyword == "SpecificCharacterSet" or keyword.endswith(("Date", "Time")):
            continue
        if keyword in {"PatientID", *IDENTIFIERS} and keyword not in said:
            assert keyword in ours
        else:
            assert ours[element.tag].value == element.value, element
            assert ours[element.tag].VR == element.VR, element
    added = keywords(ours) - keywords(theirs) - OURS - {"SpecificCharacterSet"}
    assert not [one for one in added if not one.endswith(("Date", "Time"))]


def test_a_private_element_has_its_creator_beside_it(both):
    theirs, ours = created(both, Tags={"0009,1001": "abc"}, PrivateCreator="ACME")
    assert (0x0009, 0x0010) not in theirs  # so that nobody knows whose it is (PS3.5 §7.8.1)
    assert ours[0x00090010].value == "ACME"
    assert ours[0x00091001].value == theirs[0x00091001].value == b"abc\0"
    for element in ("0009,1001", "0009,0100", "0007,1001"):
        for body in ({element: "abc"}, {"OtherPatientIDsSequence": [{element: "abc"}]}):
            answer = requests.post(f"{both.node.url}/tools/create-dicom", json={"Tags": body}, timeout=PATIENCE_S)
            assert (answer.status_code, answer.json()["OrthancStatus"]) == (400, 27)


def test_a_picture_among_tags_without_tags_is_the_content(both, pictures):
    theirs, ours = created(both, PatientID="old", PixelData=pictures["grey"])
    np.testing.assert_array_equal(ours.pixel_array, theirs.pixel_array)


def test_a_private_element_that_is_known_has_its_vr(both):
    body = {"Tags": {"0029,1010": uri(OCTETS, b"CSA\0"), "0029,1008": "IMAGE"}, "PrivateCreator": "SIEMENS CSA HEADER"}
    _, ours = created(both, **body)
    assert [(ours[tag].VR, ours[tag].value) for tag in (0x00290010, 0x00291008, 0x00291010)] == [
        ("LO", "SIEMENS CSA HEADER"), ("CS", "IMAGE"), ("OB", b"CSA\0"),
    ]  # fmt: skip


def test_a_jpeg_is_encapsulated_as_it_is(both, pictures):
    """As by Orthanc 1.12.7 and later; the one beside takes no notice."""
    for sort, photometric in (("jpeg", ("YBR_FULL", "YBR_FULL_422")), ("grey jpeg", ("MONOCHROME2",))):
        grey = requests.get(
            f"{both.orthanc.url}/instances/{both.names['instance']}/preview", headers={"Accept": "image/jpeg"}, timeout=PATIENCE_S
        )  # fmt: skip
        content = pictures["jpeg"] if sort == "jpeg" else uri("image/jpeg", grey.content)
        theirs, ours = created(both, Tags={"PatientID": sort}, Content=content, Encapsulate=True)
        assert ours.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
        assert ours.PhotometricInterpretation in photometric
        (frame,) = generate_frames(ours.PixelData, number_of_frames=1)
        assert frame.rstrip(b"\0") == base64.b64decode(content.partition(",")[2])
        assert (ours.LossyImageCompression, ours.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
        theirs.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
        difference = np.abs(ours.pixel_array.astype(int) - theirs.pixel_array.astype(int))
        assert difference.max() <= 3
    body = {"Tags": {}, "Content": pictures["grey"], "Encapsulate": True}
    answer = requests.post(f"{both.node.url}/tools/create-dicom", json=body, timeout=PATIENCE_S)
    assert (answer.status_code, answer.json()["OrthancStatus"]) == (400, 15)


@pytest.mark.parametrize(("body", "status"), [
    ({"Tags": {"PixelData": uri("image/png", b"x")}}, 2021),
    ({"Tags": {}, "InterpretBinaryTags": "x"}, 8),
    ({"Tags": {}, "PrivateCreator": 5}, 8),
    ({"Tags": {"0009,0010": "ACME", "0009,1002": [{"PatientID": "x"}]}}, 5),
    ({"Tags": {"Nope": "1"}}, 27),
    ({"Tags": "x"}, 8),
    ({"Tags": {"PatientID": 1}}, 5),
    ({"Tags": {}, "Content": 5}, 2023),
    ({"Tags": {}, "Content": "x"}, 15),
    ({"Tags": {}, "Content": "data:text/plain;base64,AAAA"}, 2),
    ({"Tags": {}, "Content": "data:application/pdf;base64,AAAA"}, 15),
    ({"Tags": {"StudyInstanceUID": "1.2"}}, 2020),
    ({"Tags": {"PatientName": "x"}, "Parent": "{study}"}, 2020),
    ({"Tags": {}, "Parent": "{nowhere}"}, 2024),
    ({"Tags": {}, "Parent": "{instance}"}, 2025),
])  # fmt: skip
def test_what_makes_no_instance_is_refused_with_orthancs_number(both, body, status):
    if parent := body.get("Parent"):
        body = body | {"Parent": both.names[parent.strip("{}")]}
    theirs, ours = both.ask("POST /tools/create-dicom", json=body)
    assert theirs.json()["OrthancStatus"] == ours.json()["OrthancStatus"] == status
    assert ours.status_code == 400


@pytest.mark.parametrize(
    "content", ["data:image/png;base64,AAAA", "data:image/jpeg;base64,AAAA", "data:image/png;base64,?"]
)
def test_a_picture_that_is_none_is_the_clients_mistake(both, content):
    theirs, ours = both.ask("POST /tools/create-dicom", json={"Tags": {}, "Content": content})
    assert theirs.status_code >= 400
    assert (ours.status_code, ours.json()["OrthancStatus"]) == (400, 15)


def test_no_picture_at_all_is_no_series(both):
    answer = requests.post(f"{both.node.url}/tools/create-dicom", json={"Tags": {}, "Content": []}, timeout=PATIENCE_S)
    assert (answer.status_code, answer.json()["OrthancStatus"]) == (400, 2023)


@pytest.mark.parametrize("tags", [
    {"Rows": "-1"}, {"Rows": "70000"}, {"Rows": "x"}, {"FrameIncrementPointer": "nothing"}, {"PatientWeight": "heavy"}, {"0002,0010": "1.2"},
    {"PatientName": ["x"]}, {"OtherPatientIDsSequence": "x"}, {"EncapsulatedDocument": "data:x;base64,???"}, {"LargeRedPaletteColorLookupTableData": "abc"}, {"SOPClassUID": "a.b"}, {"PatientID": "x" * 70_000},
])  # fmt: skip
def test_a_value_that_does_not_fit_its_attribute_is_the_clients_mistake(both, tags):
    answer = requests.post(f"{both.node.url}/tools/create-dicom", json={"Tags": tags}, timeout=PATIENCE_S)
    assert answer.status_code == 400, answer.text
