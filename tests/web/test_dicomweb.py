"""DICOMweb: what is given by Accept, streamed and whole; what is taken part by part, and what is said of each."""

import io
from email import message_from_bytes
from email.policy import HTTP
from xml.etree import ElementTree as ET

import imagecodecs
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import get_frame
from pydicom.uid import generate_uid
from web_support import Face, changed, dicom_file, is_orthanc_error, open_files_below

from hostd.errors import StorageError
from hostd.intake.intake import Intake
from hostd.transcoding.pool import CodecPool
from hostd.web.dicomweb.multipart import Begin, Data, End, MultipartError, Part, Reader, length_of, written

EXPLICIT, J2K, BASELINE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.50"


@pytest.fixture(scope="module")
def pool():
    pool = CodecPool(workers=1)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def face(tmp_path_factory, pool):
    face = Face(tmp_path_factory.mktemp("dicomweb"), artist=pool, transcoder=pool, limit=64 << 20)
    yield face
    face.close()


def uids(content):
    dataset = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
    return dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID


def url_of(content):
    study, series, instance = uids(content)
    return f"/dicom-web/studies/{study}/series/{series}/instances/{instance}"


def stored(client, *names):
    """Store files, and return them."""
    contents = [dicom_file(name) for name in names]
    for content in contents:
        assert client.post("/instances", content=content).status_code == 200
    return contents


def parts_of(answer):
    """Return the parts of an answer: media type and content of each."""
    assert answer.status_code == 200, answer.text
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = message_from_bytes(head + answer.content, policy=HTTP)
    assert message.is_multipart()
    found = [
        (part["content-type"], part.get_payload(decode=True), int(part["content-length"]))
        for part in message.iter_parts()
    ]
    assert all(len(content) == length for _, content, length in found)
    return [(str(media_type).replace('"', ""), content) for media_type, content, _ in found]


def body_of(*contents, media_type="application/dicom", boundary="bound"):
    parts = [
        b"--%b\r\nContent-Type: %b\r\n\r\n%b\r\n" % (boundary.encode(), media_type.encode(), one) for one in contents
    ]
    return b"".join(parts) + f"--{boundary}--".encode()


def stow(client, body, path="/dicom-web/studies", **headers):
    content_type = 'multipart/related; type="application/dicom"; boundary=bound'
    return client.post(path, content=body, headers={"Content-Type": content_type, **headers})


# -- retrieving instances ---------------------------------------------------------------------------------------------


def test_a_study_a_series_and_an_instance_are_given_as_parts(client):
    (content,) = stored(client, "CT_small.dcm")
    other = changed(content, SOPInstanceUID="1.2.3.77", SeriesInstanceUID="1.2.3.78")
    client.post("/instances", content=other)
    study, series, instance = uids(content)
    path = f"/dicom-web/studies/{study}"
    for below, expected in [
        ("", {content, other}),
        (f"/series/{series}", {content}),
        (f"/series/{series}/instances/{instance}", {content}),
    ]:
        answer = client.get(path + below)
        assert answer.headers["content-type"].startswith('multipart/related; type="application/dicom"; boundary=')
        parts = parts_of(answer)
        assert {media_type for media_type, _ in parts} == {"application/dicom"}
        assert {content for _, content in parts} == expected
        assert int(answer.headers["content-length"]) == len(answer.content)
    assert is_orthanc_error(client.get("/dicom-web/studies/1.2"), 404, 17)
    assert is_orthanc_error(client.get(f"{path}/series/1.2"), 404, 17)


def test_one_instance_is_given_by_itself_to_who_wants_that(client):
    (content,) = stored(client, "CT_small.dcm")
    answer = client.get(url_of(content), headers={"Accept": "application/dicom"})
    assert (answer.content, answer.headers["content-type"]) == (content, "application/dicom")


@pytest.mark.parametrize(
    ("accept", "syntax"),
    [
        ("", EXPLICIT), ("*/*", EXPLICIT), ("multipart/related", EXPLICIT), ('multipart/related; type="application/dicom"', EXPLICIT),
        ('multipart/related; type="application/dicom"; transfer-syntax=*', J2K),
        (f'multipart/related; type="application/dicom"; transfer-syntax={J2K}', J2K),
        (f'multipart/related; type="application/dicom"; transfer-syntax={BASELINE}, multipart/related; type="application/dicom"; transfer-syntax=*;q=0.5', J2K),
        ('multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.80', "1.2.840.10008.1.2.4.80"),
        ("multipart/related; type=application/dicom; transfer-syntax=1.2.840.10008.1.2", "1.2.840.10008.1.2"),
    ],
)  # fmt: skip
def test_the_transfer_syntax_is_the_one_that_is_accepted(client, accept, syntax):
    (content,) = stored(client, "MR_small_jp2klossless.dcm")
    ((_, given),) = parts_of(client.get(url_of(content), headers={"Accept": accept}))
    dataset, original = (pydicom.dcmread(io.BytesIO(one)) for one in (given, content))
    assert dataset.file_meta.TransferSyntaxUID == syntax
    assert dataset.SOPInstanceUID == original.SOPInstanceUID
    assert (dataset.pixel_array == original.pixel_array).all()
    assert (given == content) == (syntax == J2K)


@pytest.mark.parametrize(
    "accept",
    [
        "text/html", "image/jpeg", "application/zip", 'multipart/related; type="application/octet-stream"',
        f'multipart/related; type="application/dicom"; transfer-syntax={BASELINE}', f"application/dicom; transfer-syntax={BASELINE}",
        'multipart/related; type="application/dicom"; transfer-syntax=nonsense', "application/dicom;q=0",
    ],
)  # fmt: skip
def test_what_cannot_be_given_without_loss_is_406(face, client, accept):
    (content,) = stored(client, "CT_small.dcm")
    assert is_orthanc_error(client.get(url_of(content), headers={"Accept": accept}), 406, 34)
    assert open_files_below(face.archive.data / "blobs") == []


def test_what_was_deleted_is_not_there(client):
    (content,) = stored(client, "rtplan.dcm")
    assert client.get(url_of(content)).status_code == 200
    client.delete(f"/instances/{client.post('/instances', content=content).json()['ID']}")
    for below in ("", "/metadata", "/frames/1", "/rendered", "/bulkdata/7FE00010"):
        assert is_orthanc_error(client.get(url_of(content) + below), 404, 17)


# -- metadata and bulk data -------------------------------------------------------------------------------------------


def test_metadata_are_the_elements_with_large_values_by_their_address(client):
    (content,) = stored(client, "CT_small.dcm")
    answer = client.get(url_of(content) + "/metadata")
    assert answer.headers["content-type"] == "application/dicom+json"
    (model,) = answer.json()
    assert model["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "CompressedSamples^CT1"}]}
    bulk = model["7FE00010"]
    assert bulk == {"vr": "OW", "BulkDataURI": f"http://localhost:8042{url_of(content)}/bulkdata/7FE00010"}
    pixels = pydicom.dcmread(io.BytesIO(content)).PixelData
    assert parts_of(client.get(bulk["BulkDataURI"])) == [("application/octet-stream", pixels)]
    assert client.get(bulk["BulkDataURI"], headers={"Accept": "application/octet-stream"}).content == pixels
    study, series, _ = uids(content)
    for path in (f"/dicom-web/studies/{study}/metadata", f"/dicom-web/studies/{study}/series/{series}/metadata"):
        assert model in client.get(path).json()
    assert is_orthanc_error(client.get(url_of(content) + "/metadata", headers={"Accept": "text/html"}), 406, 34)


def test_metadata_are_what_pydicom_makes_of_the_same_file(client):
    for name in ("CT_small.dcm", "rtplan.dcm", "test-SR.dcm", "waveform_ecg.dcm", "examples_palette.dcm"):
        (content,) = stored(client, name)
        (model,) = client.get(url_of(content) + "/metadata").json()
        theirs = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True).to_json_dict(
            bulk_data_threshold=1024, bulk_data_element_handler=lambda _: "bulk"
        )
        for tag, attribute in theirs.items():
            assert normal(model[tag]) == normal(attribute), (name, tag)


@pytest.mark.parametrize("syntax", [EXPLICIT, "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"])
@pytest.mark.parametrize(("tag", "vr", "width"), [(0x7FE00008, "OF", 4), (0x7FE00009, "OD", 8)])
def test_floating_point_pixel_data_are_a_value_as_others_are(client, syntax, tag, vr, width):
    dataset = pydicom.dcmread(io.BytesIO(dicom_file("CT_small.dcm")))
    del dataset.PixelData
    numbers = np.arange(32 * 64, dtype=f"<f{width}")
    is_little = syntax != "1.2.840.10008.1.2.2"
    dataset.add_new(tag, vr, (numbers if is_little else numbers.byteswap()).tobytes())
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.file_meta.TransferSyntaxUID = syntax
    out = io.BytesIO()
    pydicom.dcmwrite(out, dataset, implicit_vr=syntax == "1.2.840.10008.1.2", little_endian=is_little)
    path = client.post("/instances", content=out.getvalue()).json()["Path"]
    (model,) = client.get(url_of(out.getvalue()) + "/metadata").json()
    assert "7FE00010" not in model
    assert model[f"{tag:08X}"]["vr"] == vr
    address = model[f"{tag:08X}"]["BulkDataURI"]
    assert parts_of(client.get(address)) == [("application/octet-stream", numbers.tobytes())]
    assert is_orthanc_error(client.get(url_of(out.getvalue()) + "/bulkdata/7FE00010"), 404, 17)
    assert client.get(f"{path}/content/{tag >> 16:04x}-{tag & 0xFFFF:04x}").content == numbers.tobytes()
    number = f"{tag >> 16:04x},{tag & 0xFFFF:04x}"
    name = {8: "FloatPixelData", 9: "DoubleFloatPixelData"}[tag & 0xFFFF]
    shown = client.get(f"{path}/tags").json()
    assert shown[number] == {"Name": name, "Type": "Null", "Value": None}
    assert "7fe0,0010" not in shown


@pytest.mark.parametrize(
    ("name", "vr"),
    [
        ("CT_small.dcm", "OW"),
        ("MR_small_jp2klossless.dcm", "OB"),
        ("SC_rgb_small_odd_big_endian.dcm", "OW"),
        ("JPEG2000.dcm", "OB"),
        ("MR_small_implicit.dcm", "OW"),
        ("image_dfl.dcm", "OB"),
    ],
)
def test_pixel_data_have_the_vr_of_the_file_and_encapsulated_ones_ob_whatever_that_says(client, name, vr):
    (content,) = stored(client, name)
    assert client.get(url_of(content) + "/metadata").json()[0]["7FE00010"]["vr"] == vr


def test_a_sequence_is_not_bulk_data(client):
    item = pydicom.Dataset()
    item.CodeValue = "1"
    content = changed(dicom_file("CT_small.dcm"), ProcedureCodeSequence=[item], SOPInstanceUID="1.2.3.79")
    assert client.post("/instances", content=content).status_code == 200
    assert is_orthanc_error(client.get(url_of(content) + "/bulkdata/00081032"), 404, 17)
    assert parts_of(client.get(url_of(content) + "/bulkdata/00081032/0/00080100"))[0][1] == b"1 "


XML = 'multipart/related; type="application/dicom+xml"'
MODEL = {"n": "http://dicom.nema.org/PS3.19/models/NativeDICOM"}


def test_metadata_of_a_series_are_those_of_each_instance_whatever_they_have_in_common(face, client):
    """What is as in the instance before is not written anew; what says where a value is, also in an item, is of each alone."""
    large = bytes(range(256)) * 8
    study, series = generate_uid(), generate_uid()
    contents = []
    for number in range(6):
        dataset = pydicom.dcmread(io.BytesIO(dicom_file("CT_small.dcm")))
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = study, series, generate_uid()
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.InstanceNumber, dataset.PatientName = number, ("Döe^Jörg" if number % 2 else "Doe^John")
        dataset.SpecificCharacterSet = "ISO_IR 192" if number % 3 else "ISO_IR 100"
        item = pydicom.Dataset()
        item.add_new(0x00420011, "OB", large)  # the same in each, and too large to stand there itself
        dataset.add_new(0x00420011, "OB", large)
        dataset.ContentSequence = [item]
        if number != 3:
            dataset.ImageComments = f"of {number // 2}"
        if number == 4:
            dataset.PixelRepresentation = 0
        content = io.BytesIO()
        dataset.save_as(content)
        contents.append(content.getvalue())
        assert client.post("/instances", content=contents[-1]).status_code == 200
    alone = [client.get(url_of(content) + "/metadata").json()[0] for content in contents]
    together = client.get(f"/dicom-web/studies/{study}/series/{series}/metadata").json()
    assert sorted(together, key=str) == sorted(alone, key=str)
    addresses = [one[tag]["BulkDataURI"] for one in together for tag in ("00420011", "7FE00010")]
    addresses += [one["0040A730"]["Value"][0]["00420011"]["BulkDataURI"] for one in together]
    assert len(set(addresses)) == 18
    assert client.get(addresses[-1]).status_code == 200


def test_metadata_are_given_in_xml_a_part_for_each_instance(client):
    contents = stored(client, "CT_small.dcm", "MR_small.dcm")
    content = contents[0]
    path = url_of(content) + "/metadata"
    (model,) = client.get(path).json()
    for accept in (XML, "multipart/related", f"text/html, {XML}", f"{XML}; transfer-syntax=*"):
        ((media_type, document),) = parts_of(client.get(path, headers={"Accept": accept}))
        assert media_type == "application/dicom+xml"
        root = ET.fromstring(document)
        assert [one.get("vr") for one in root] == [one["vr"] for one in model.values()]
        private = root.find("n:DicomAttribute[@privateCreator='GEMS_IMAG_01']", MODEL)
        assert private.get("tag") == "00270006"  # (0027,1006), without the number of its block (PS3.19 Table A.1.5-2)
        family = root.find("n:DicomAttribute[@keyword='PatientName']/n:PersonName/n:Alphabetic/n:FamilyName", MODEL)
        assert family.text == "CompressedSamples"
        bulk = root.find("n:DicomAttribute[@tag='7FE00010']/n:BulkData", MODEL).get("uri")
        assert bulk == model["7FE00010"]["BulkDataURI"]
        assert client.get(bulk).status_code == 200
    alone = client.get(path, headers={"Accept": "application/dicom+xml"})
    assert (alone.headers["content-type"], alone.content) == ("application/dicom+xml", document)
    assert client.get(path, headers={"Accept": f"{XML};q=0.5, application/dicom+json"}).json() == [model]
    study = f"/dicom-web/studies/{uids(content)[0]}/metadata"
    every = [document for _, document in parts_of(client.get(study, headers={"Accept": XML}))]
    assert document in every
    assert len(every) == len(client.get(study).json())
    wrong = 'multipart/related; type="application/dicom"'
    assert is_orthanc_error(client.get(path, headers={"Accept": wrong}), 406, 34)


def test_what_is_found_is_given_in_xml_too_and_of_nothing_nothing(client):
    stored(client, "CT_small.dcm", "MR_small.dcm")
    for path in ("/dicom-web/studies?includefield=StudyDescription", "/dicom-web/instances"):
        found = client.get(path).json()
        parts = parts_of(client.get(path, headers={"Accept": XML}))
        assert len(parts) == len(found) > 1
        for (media_type, document), model in zip(parts, found, strict=True):
            assert media_type == "application/dicom+xml"
            told = {
                one.get("tag"): [value.text for value in one.findall("n:Value", MODEL)]
                for one in ET.fromstring(document)
            }
            assert told.keys() == model.keys()
            assert told["0020000D"] == model["0020000D"]["Value"]
            assert told["00081190"] == model["00081190"]["Value"]
    nothing = client.get("/dicom-web/studies?PatientID=nobody", headers={"Accept": XML})
    assert (nothing.status_code, nothing.content) == (204, b"")
    for accept in ("application/dicom+xml", "text/html", 'multipart/related; type="application/dicom"'):
        assert is_orthanc_error(client.get("/dicom-web/studies", headers={"Accept": accept}), 406, 34)
    assert is_orthanc_error(client.get("/dicom-web/studies?Nope=1", headers={"Accept": XML}), 400, 27)


def test_parameters_that_are_of_every_request_are_no_keys(client):
    stored(client, "CT_small.dcm")
    plain = client.get("/dicom-web/studies").json()
    assert client.get("/dicom-web/studies?accept=application/dicom%2Bjson&charset=utf-8").json() == plain
    xml = client.get("/dicom-web/studies", params={"accept": XML})
    assert xml.headers["content-type"].startswith('multipart/related; type="application/dicom+xml"')
    assert is_orthanc_error(client.get("/dicom-web/studies?accept=text/html"), 406, 34)


def test_a_comma_parts_values_of_uids_and_codes(client):
    ct, mr, _ = stored(client, "CT_small.dcm", "MR_small.dcm", "rtplan.dcm")
    for key in ("ModalitiesInStudy=CT,MR", "00080061=CT%5CMR", f"StudyInstanceUID={uids(ct)[0]},{uids(mr)[0]}"):
        found = {one["0020000D"]["Value"][0] for one in client.get(f"/dicom-web/studies?{key}").json()}
        assert found >= {uids(ct)[0], uids(mr)[0]}, key
    assert {one["00080060"]["Value"][0] for one in client.get("/dicom-web/series?Modality=CT,MR").json()} == {
        "CT",
        "MR",
    }


def test_attributes_in_sequences_are_told_with_their_sequence_and_match_nothing(client):
    item = pydicom.Dataset()
    item.ScheduledProcedureStepID = "step"
    content = changed(
        dicom_file(),
        RequestAttributesSequence=[item],
        StudyInstanceUID="1.2.3.82",
        SeriesInstanceUID="1.2.3.83",
        SOPInstanceUID="1.2.3.84",
    )
    assert client.post("/instances", content=content).status_code == 200
    path = "/dicom-web/series?SeriesInstanceUID=1.2.3.83"
    for name in ("00400275.00400009", "RequestAttributesSequence.ScheduledProcedureStepID"):
        answer = client.get(f"{path}&includefield={name}")
        assert answer.json()[0]["00400275"]["Value"] == [{"00400009": {"vr": "SH", "Value": ["step"]}}]
        assert "warning" not in answer.headers
        answer = client.get(f"{path}&{name}=other")
        assert len(answer.json()) == 1
        assert "RequestAttributesSequence" in answer.headers["warning"]
    for wrong in ("00400275.Nope", "Nope.00400009", "PatientID.00400009", "00400275."):
        assert is_orthanc_error(client.get(f"{path}&includefield={wrong}"), 400, 27)
        assert is_orthanc_error(client.get(f"{path}&{wrong}=x"), 400, 27)


def test_a_count_is_no_key_and_that_is_said(client):
    stored(client, "CT_small.dcm")
    answer = client.get("/dicom-web/studies?NumberOfStudyRelatedInstances=10")
    assert len(answer.json()) == len(client.get("/dicom-web/studies").json())
    assert "NumberOfStudyRelatedInstances" in answer.headers["warning"]
    assert "warning" not in client.get("/dicom-web/studies?NumberOfStudyRelatedInstances=").headers


def normal(attribute):
    """Return an attribute without what two models may say otherwise: where large values are, and text of numbers."""
    if "BulkDataURI" in attribute:
        return {"vr": attribute["vr"], "bulk": True}
    values = attribute.get("Value")
    if attribute["vr"] == "SQ":
        return [{tag: normal(one) for tag, one in item.items()} for item in values or ()]
    if attribute["vr"] in {"DS", "IS", "FL", "FD"}:
        return [float(value) if value is not None else None for value in values or ()]
    return attribute if values or "InlineBinary" in attribute else {"vr": attribute["vr"]}


@pytest.mark.parametrize(
    ("path", "status", "number"),
    [
        ("/bulkdata/00081140/%C2%B2/00081150", 404, 17),
        ("/bulkdata/00081140/" + "9" * 5000 + "/00081150", 404, 17),
        ("/frames/%C2%B2", 400, 8),
        ("/frames/" + "9" * 5000, 400, 8),
        ("/rendered?viewport=" + "9" * 5000 + ",1", 400, 3),
        ("/rendered?viewport=%C2%B2,1", 400, 3),
    ],
)
def test_numbers_that_are_none_or_too_long_are_refused(client, path, status, number):
    (content,) = stored(client, "CT_small.dcm")
    assert is_orthanc_error(client.get(url_of(content) + path), status, number)


def test_parameters_of_media_types_are_those_of_http(client):
    stored(client, "CT_small.dcm")
    for parameters in (
        "q*=utf-8''1",
        "q*=utf-8''0",
        "a*=b; a*0*=c; a*" + "9" * 5000 + "=d",
        'a="\\"; q=0, text/html;"',
    ):
        answer = client.get("/dicom-web/studies", headers={"Accept": f"application/dicom+json; {parameters}"})
        assert answer.status_code == 200, parameters
    refused = client.get("/dicom-web/studies", headers={"Accept": 'application/dicom+json; a="\\"," ; q=0'})
    assert is_orthanc_error(refused, 406, 34)


def test_bulk_data_of_encoded_pixels_are_the_frames(client):
    (content,) = stored(client, "SC_rgb_rle_2frame.dcm")
    parts = parts_of(client.get(url_of(content) + "/bulkdata/7FE00010"))
    assert [media_type for media_type, _ in parts] == ["image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5"] * 2
    refused = client.get(url_of(content) + "/bulkdata/7FE00010", headers={"Accept": "application/octet-stream"})
    assert is_orthanc_error(refused, 406, 34)
    for nowhere in ("00100010/0", "7FE00010/9", "00400275", "x"):
        assert client.get(f"{url_of(content)}/bulkdata/{nowhere}").status_code in {400, 404}
    (value,) = parts_of(client.get(url_of(content) + "/bulkdata/00080018"))
    assert value[1].rstrip(b"\0").decode() == uids(content)[2]


# -- frames and pictures ----------------------------------------------------------------------------------------------


def test_frames_are_given_uncompressed_unless_their_own_form_is_wanted(client):
    (content,) = stored(client, "SC_rgb_rle_2frame.dcm")
    dataset = pydicom.dcmread(io.BytesIO(content))
    path = url_of(content) + "/frames"
    plain = [
        ("application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1", frame.tobytes())
        for frame in dataset.pixel_array
    ]
    for accept in (
        "",
        "*/*",
        'multipart/related; type="application/octet-stream"',
        "multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1",
    ):
        assert parts_of(client.get(f"{path}/1,2", headers={"Accept": accept})) == plain
    assert parts_of(client.get(f"{path}/2,1")) == plain[::-1]
    single = client.get(f"{path}/2", headers={"Accept": "application/octet-stream"})
    assert single.content == plain[1][1]
    own = [get_frame(dataset.PixelData, number, number_of_frames=2) for number in range(2)]
    for accept in (
        'multipart/related; type="image/dicom-rle"',
        "multipart/related; transfer-syntax=*",
        "*/*; transfer-syntax=*",
    ):
        assert [frame for _, frame in parts_of(client.get(f"{path}/1,2", headers={"Accept": accept}))] == own
    assert client.get(f"{path}/1", headers={"Accept": "image/dicom-rle"}).content == own[0]


@pytest.mark.parametrize(
    ("below", "default"), [("frames/1", "application/octet-stream"), ("bulkdata/7FE00010", "image/jp2")]
)
def test_pixels_are_given_in_a_form_that_is_accepted_or_not_at_all(client, below, default):
    (content,) = stored(client, "MR_small_jp2klossless.dcm")
    dataset = pydicom.dcmread(io.BytesIO(content))
    octets, own = "application/octet-stream", "image/jp2"
    bodies = {octets: dataset.pixel_array.tobytes(), own: get_frame(dataset.PixelData, 0, number_of_frames=1)}
    path = f"{url_of(content)}/{below}"
    for accept, media_type in (
        ("", default), ("*/*", default), ("multipart/related", default),
        (f'multipart/related; type="{octets}"', octets), (f'multipart/related; type="{own}"', own),
        (f'multipart/related; type="{own}"; transfer-syntax={J2K}', own), ('multipart/related; type="image/*"', own),
        (f"multipart/related; transfer-syntax={J2K}", own), (f"*/*; transfer-syntax={EXPLICIT}", octets),
        (f'multipart/related; type="text/plain", multipart/related; type="{own}"; q=0.1', own),
    ):  # fmt: skip
        ((named, body),) = parts_of(client.get(path, headers={"Accept": accept}))
        assert (named.partition(";")[0], body) == (media_type, bodies[media_type]), accept
        if accept:
            ((named, body),) = parts_of(client.get(path, params={"accept": accept}, headers={"Accept": "text/html"}))
            assert (named.partition(";")[0], body) == (media_type, bodies[media_type]), accept
    for accept, media_type in (
        (octets, octets),
        (own, own),
        ("image/*", own),
        (f"image/*; transfer-syntax={J2K}", own),
    ):
        answer = client.get(path, headers={"Accept": accept})
        assert (answer.headers["content-type"].partition(";")[0], answer.content) == (media_type, bodies[media_type])
    for accept in (
        'multipart/related; type="image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.50', "text/html", "video/*",
        'multipart/related; type="video/mpeg"', f'multipart/related; type="{own}"; transfer-syntax=1.2.840.10008.1.2.4.91',
    ):  # fmt: skip
        assert is_orthanc_error(client.get(path, headers={"Accept": accept}), 406, 34), accept


def test_other_bulk_data_are_octets_for_who_accepts_them(client):
    (content,) = stored(client, "CT_small.dcm")
    octets = "application/octet-stream"
    for tag, value in (("00080018", b"1."), ("7FE00010", pydicom.dcmread(io.BytesIO(content)).PixelData)):
        path = f"{url_of(content)}/bulkdata/{tag}"
        for accept in ("", "multipart/related", f'multipart/related; type="{octets}"; transfer-syntax=*'):
            assert parts_of(client.get(path, headers={"Accept": accept}))[0][1].startswith(value)
        for accept in (octets, "application/*"):
            assert client.get(path, headers={"Accept": accept}).content.startswith(value)
        for accept in (
            "image/jp2",
            'multipart/related; type="image/jpeg"',
            f"multipart/related; transfer-syntax={J2K}",
        ):
            assert is_orthanc_error(client.get(path, headers={"Accept": accept}), 406, 34)


@pytest.mark.parametrize("name", ["MR_small_bigendian.dcm", "image_dfl.dcm", "MR_small_implicit.dcm"])
def test_frames_that_are_not_encapsulated_are_said_to_be_in_explicit_little_endian(client, name):
    (content,) = stored(client, name)
    dataset = pydicom.dcmread(io.BytesIO(content))
    frame = dataset.pixel_array.astype(dataset.pixel_array.dtype.newbyteorder("<")).tobytes()
    said = "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    for accept in ("", 'multipart/related; type="application/octet-stream"', "multipart/related; transfer-syntax=*"):
        assert parts_of(client.get(url_of(content) + "/frames/1", headers={"Accept": accept})) == [(said, frame)]


@pytest.mark.parametrize(
    ("media_type", "decode"),
    [
        ("image/jp2", imagecodecs.jpeg2k_decode),
        ("image/jls", imagecodecs.jpegls_decode),
        ("image/jpeg", imagecodecs.jpeg8_decode),
    ],
)
def test_frames_are_encoded_without_loss_where_that_is_accepted(client, media_type, decode):
    (content,) = stored(client, "CT_small.dcm")
    answer = client.get(url_of(content) + "/frames/1", headers={"Accept": f'multipart/related; type="{media_type}"'})
    ((named, frame),) = parts_of(answer)
    assert named.startswith(f"{media_type}; transfer-syntax=")
    expected = pydicom.dcmread(io.BytesIO(content)).pixel_array
    assert (decode(frame).astype(expected.dtype) == expected).all()
    lossy = f'multipart/related; type="image/jpeg"; transfer-syntax={BASELINE}'
    assert is_orthanc_error(client.get(url_of(content) + "/frames/1", headers={"Accept": lossy}), 406, 34)


def test_frames_that_are_not_there_are_refused(client):
    (content,) = stored(client, "CT_small.dcm")
    path = url_of(content) + "/frames"
    assert is_orthanc_error(client.get(f"{path}/2"), 404, 17)
    for wrong in ("0", "x", "1,,2", "1-2", "-1"):
        assert is_orthanc_error(client.get(f"{path}/{wrong}"), 400, 8)
    (plan,) = stored(client, "rtplan.dcm")
    assert is_orthanc_error(client.get(url_of(plan) + "/frames/1"), 415, 23)


def test_pictures_are_rendered_as_the_parameters_have_it(client):
    (content,) = stored(client, "examples_ybr_color.dcm")
    path = url_of(content)
    answer = client.get(f"{path}/rendered")
    assert answer.headers["content-type"] == "image/jpeg"
    assert imagecodecs.jpeg8_decode(answer.content).shape == (240, 320, 3)
    assert client.get(f"{path}/frames/1/rendered").content == answer.content
    assert client.get(f"{path}/frames/7/rendered").content != answer.content
    small = client.get(f"{path}/rendered?viewport=32,32&quality=50", headers={"Accept": "image/png"})
    assert imagecodecs.png_decode(small.content).shape == (24, 32, 3)
    (ct,) = stored(client, "CT_small.dcm")
    two = client.get(url_of(ct) + "/rendered?window=0,1,linear-exact", headers={"Accept": "image/png"})
    assert set(np.unique(imagecodecs.png_decode(two.content))) <= {0, 128, 255}
    for wrong in ("window=1", "window=1,0", "window=a,b", "window=1,2,none", "viewport=1", "viewport=0,1", "quality=0"):
        assert client.get(url_of(ct) + f"/rendered?{wrong}").status_code == 400
    assert is_orthanc_error(client.get(f"{path}/rendered", headers={"Accept": "image/gif"}), 406, 34)


def test_as_many_frames_as_only_a_header_claims_are_no_bulk_data(client):
    claiming = changed(dicom_file("JPEG2000.dcm"), NumberOfFrames=2**31 - 1, SOPInstanceUID="2.25.7")
    path = client.post("/instances", content=claiming).json()["ID"]
    found = client.get(f"/instances/{path}/simplified-tags").json()
    study, series = found["StudyInstanceUID"], found["SeriesInstanceUID"]
    url = f"/dicom-web/studies/{study}/series/{series}/instances/2.25.7/bulkdata/7FE00010"
    assert is_orthanc_error(client.get(url), 415, 23)


def test_a_viewport_may_name_a_part_of_the_image_and_turn_it_about(client):
    (ct,) = stored(client, "CT_small.dcm")

    def drawn(viewport):
        answer = client.get(f"{url_of(ct)}/rendered?viewport={viewport}", headers={"Accept": "image/png"})
        assert answer.status_code == 200, answer.text
        return imagecodecs.png_decode(answer.content)

    whole = drawn("128,128")
    assert (drawn("32,16,10,20,32,16") == whole[20:36, 10:42]).all()
    assert (drawn("32,16,10,20,-32,16") == whole[20:36, 10:42][:, ::-1]).all()
    assert (drawn("32,16,10,20,32,-16") == whole[20:36, 10:42][::-1]).all()
    assert (drawn("28,108,100,20") == whole[20:, 100:]).all()
    assert (drawn("128,128,,,-128") == whole[:, ::-1]).all()
    assert (drawn("3,2,10.5,20,2,1.5") == whole[20:22, 10:13]).all()
    assert drawn("64,64,0,0,32,16").shape == (32, 64)
    for wrong in (
        "32,16,100,20,32,16", "32,16,-1,0", "32,16,128,0", "32,16,0,0,0,1", "32,16,0,0,nan,1", "32,16,inf", "32,16,x",
        "32,16,0,0,1,1,1", "32", "32,,0", ",", "1e9,1",
    ):  # fmt: skip
        assert is_orthanc_error(client.get(f"{url_of(ct)}/rendered?viewport={wrong}"), 400, 3), wrong


@pytest.mark.parametrize("center", ["nan", "inf", "-inf", "1e400", "1e39"])
def test_a_window_is_of_numbers_that_pictures_can_be_made_by(client, center):
    (ct,) = stored(client, "CT_small.dcm")
    path = client.post("/instances", content=ct).json()["Path"]
    wado = f"/wado?requestType=WADO&objectUID={uids(ct)[2]}"
    for center_of, width_of in ((center, "10"), ("10", center)):
        for asked in (
            f"{url_of(ct)}/rendered?window={center_of},{width_of}",
            f"{url_of(ct)}/rendered?window={center_of},{width_of},sigmoid",
            f"{wado}&windowCenter={center_of}&windowWidth={width_of}",
            f"{path}/rendered?window-center={center_of}&window-width={width_of}",
        ):
            assert client.get(asked).status_code == 400, asked
    assert client.get(f"{path}/rendered?window-center={center}").status_code == 400


def test_wado_uri_gives_an_instance_or_a_picture(client):
    (content,) = stored(client, "MR_small_jp2klossless.dcm")
    study, series, instance = uids(content)
    path = f"/wado?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}"
    assert client.get(path).headers["content-type"] == "image/jpeg"
    given = client.get(f"{path}&contentType=application/dicom")
    assert pydicom.dcmread(io.BytesIO(given.content)).file_meta.TransferSyntaxUID == EXPLICIT
    assert client.get(f"{path}&contentType=application/dicom&transferSyntax={J2K}").content == content
    assert is_orthanc_error(client.get(f"{path}&contentType=application/dicom&transferSyntax={BASELINE}"), 406, 34)
    small = client.get(f"{path}&contentType=image/png&columns=16&windowCenter=600&windowWidth=1600")
    assert imagecodecs.png_decode(small.content).shape == (16, 16)
    assert client.get("/wado?requestType=WADO").status_code == 400
    assert is_orthanc_error(client.get("/wado?requestType=WADO&objectUID=1.2"), 404, 17)
    assert is_orthanc_error(client.get(f"/wado?requestType=WADO&objectUID={instance}&studyUID=1.2"), 404, 17)


# -- storing ----------------------------------------------------------------------------------------------------------


def sequence(answer, tag):
    return [
        {key: value["Value"][0] for key, value in item.items()} for item in answer.json().get(tag, {}).get("Value", [])
    ]


def test_instances_are_stored_and_each_is_named_in_the_answer(make_face):
    client = make_face().client()
    contents = [dicom_file(name) for name in ("CT_small.dcm", "MR_small.dcm")]
    answer = stow(client, body_of(*contents))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom+json")
    assert sequence(answer, "00081199") == [
        {"00081150": pydicom.dcmread(io.BytesIO(one)).SOPClassUID, "00081155": uids(one)[2], "00081190": f"http://localhost:8042{url_of(one)}"}
        for one in contents
    ]  # fmt: skip
    assert len(client.get("/instances").json()) == 2
    assert client.get(url_of(contents[0]), headers={"Accept": "application/dicom"}).content == contents[0]
    again = stow(client, body_of(contents[0]))
    assert (again.status_code, len(sequence(again, "00081199"))) == (200, 1)
    assert again.json()["00081190"]["Value"] == [f"http://localhost:8042/dicom-web/studies/{uids(contents[0])[0]}"]


def test_what_fails_is_named_with_its_reason_and_the_rest_is_stored(make_face):
    client = make_face(on_conflict="refuse").client()
    content = dicom_file()
    conflicting = changed(content, PatientName="Other")
    answer = stow(client, body_of(content, b"no DICOM", conflicting, b"", dicom_file("MR_small.dcm")))
    assert answer.status_code == 202
    assert [item["00081155"] for item in sequence(answer, "00081199")] == [
        uids(content)[2],
        uids(dicom_file("MR_small.dcm"))[2],
    ]
    assert [(item["00081155"], item["00081197"]) for item in sequence(answer, "00081198")] == [
        (uids(content)[2], 0x0111)
    ]
    assert sequence(answer, "0008119A") == [{"00081197": 0xC000}] * 2
    assert len(client.get("/instances").json()) == 2

    other_study = stow(client, body_of(content), path="/dicom-web/studies/1.2.3")
    assert other_study.status_code == 409
    assert [item["00081197"] for item in sequence(other_study, "00081198")] == [0xA900]
    assert stow(client, body_of(b"x", media_type="application/dicom+json")).status_code == 409


def test_a_full_disk_is_said_of_each_instance(make_face, tmp_path):
    face = make_face()

    class Full(Intake):
        def _commit(self, *_):
            raise StorageError("the disk is full")

    intake = Full(face.archive, on_conflict="newest", name_sender=lambda _: None)
    other = make_face(intake=intake)
    answer = stow(other.client(), body_of(dicom_file()))
    assert answer.status_code == 409
    assert [item["00081197"] for item in sequence(answer, "00081198")] == [0xA700]


def test_one_instance_may_come_by_itself(make_face):
    client = make_face().client()
    answer = client.post("/dicom-web/studies", content=dicom_file(), headers={"Content-Type": "application/dicom"})
    assert (answer.status_code, len(sequence(answer, "00081199"))) == (200, 1)


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("multipart/related; type=application/dicom", b"", 400), ("text/plain", b"x", 415), ("multipart/form-data; boundary=bound", b"x", 415),
        ("multipart/related; type=application/dicom; boundary=bound", b"", 400),
        ("multipart/related; type=application/dicom; boundary=bound", b"--bound--", 400),
        ("multipart/related; type=application/dicom; boundary=bound", b"--bound\r\n\r\n", 400),
        ("multipart/related; type=application/dicom; boundary=bound", b"x" * 100_000, 400),
        ('multipart/related; type="application/dicom+json"; boundary=bound', b"x", 415), ("application/dicom", b"", 400),
        ("multipart/related; type=application/dicom; boundary=" + "b" * 201, b"x", 400),
        ("multipart/related; type=application/dicom; boundary*=utf-8''bound", b"x", 400),
        ("multipart/related; type*=utf-8''application/dicom; boundary*0*=a; boundary*=b; boundary*" + "9" * 5000 + "=c", b"x", 400),
    ],
)  # fmt: skip
def test_a_body_that_is_none_is_refused(make_face, content_type, body, status):
    face = make_face()
    answer = face.client().post("/dicom-web/studies", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status, answer.text
    assert face.files() == []


def test_a_body_that_ends_too_early_or_is_too_large_leaves_what_was_whole(make_face):
    face = make_face(limit=100_000)
    client = face.client()
    body = body_of(dicom_file(), dicom_file("MR_small.dcm"))
    cut = stow(client, body[:-2000])
    assert is_orthanc_error(cut, 400, 8)
    assert "1 instances" in cut.json()["Details"]
    assert len(client.get("/instances").json()) == len(face.files()) == 1
    large = stow(client, body_of(*[dicom_file("MR_small.dcm")] * 12))
    assert is_orthanc_error(large, 413, 8)
    gone = stow(client, body, **{"Content-Encoding": "br"})
    assert gone.status_code == 400


# -- parts ------------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.binary(max_size=60) | st.sampled_from([b"\r\n", b"--b", b"\r\n--", b"\r\n--bx", b"\r\n\r\n", b"\r"]), min_size=1, max_size=5),
    st.integers(1, 40),
    st.sampled_from([b"", b"preamble\r\n"]),
)  # fmt: skip
def test_what_is_written_is_read_again_however_it_is_cut(contents, size, preamble):
    boundary = "bound-of-the-test"
    parts = [Part("application/dicom", [content], len(content)) for content in contents]
    body = preamble + b"".join(written(parts, boundary)) + b"epilogue"
    assert len(body) == length_of(parts, boundary) + len(preamble) + len(b"epilogue")
    reader, read = Reader(boundary), []
    for begin in range(0, len(body), size):
        for what in reader.feed(body[begin : begin + size]):
            if isinstance(what, Begin):
                assert what.headers["content-type"] == "application/dicom"
                read.append(b"")
            elif isinstance(what, Data):
                read[-1] += what.piece
            else:
                assert isinstance(what, End)
    reader.end()
    assert read == contents


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([b"--b", b"\r\n", b"--", b"a: b", b"x" * 9000, b"\0\xff", b"\r\n--b"]), max_size=12),
    st.integers(1, 7),
)
def test_whatever_comes_is_read_or_refused(pieces, size):
    reader, body = Reader("b"), b"".join(pieces)
    try:
        for begin in range(0, len(body), size):
            list(reader.feed(body[begin : begin + size]))
            assert len(reader._buffer) < 20_000
        reader.end()
    except MultipartError:
        return
    assert reader.is_done
