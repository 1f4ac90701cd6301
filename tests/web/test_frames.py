"""/instances/{id}/frames and pictures."""

import gzip
import io

import imagecodecs
import pydicom
import pytest
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import generate_uid
from structlog.testing import capture_logs
from web_support import Face, changed, dicom_file, is_orthanc_error, open_files_below

from hostd.errors import CodecCrashedError
from hostd.transcoding.pool import CodecPool


@pytest.fixture(scope="module")
def face(tmp_path_factory):
    pool = CodecPool(workers=1)
    face = Face(tmp_path_factory.mktemp("frames"), artist=pool)
    yield face
    face.close()
    pool.close()


def stored(client, name):
    return client.post("/instances", content=dicom_file(name)).json()["Path"]


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("SC_rgb_rle_2frame.dcm", "image/dicom-rle"), ("examples_ybr_color.dcm", "image/jpeg"), ("rtdose.dcm", "application/octet-stream"),
        ("JPEG2000.dcm", "image/jp2"), ("SC_rgb_small_odd_big_endian.dcm", "application/octet-stream"),
        ("image_dfl.dcm", "application/octet-stream"), ("liver_1frame.dcm", "application/octet-stream"),
    ],
)  # fmt: skip
def test_a_frame_is_given_as_it_is_stored(client, name, media_type):
    path = stored(client, name)
    dataset = pydicom.dcmread(io.BytesIO(dicom_file(name)))
    count = int(dataset.get("NumberOfFrames", 1))
    assert client.get(f"{path}/frames").json() == list(range(count))
    answer = client.get(f"{path}/frames/{count - 1}/raw")
    assert answer.headers["content-type"] == media_type
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        expected = get_frame(dataset.PixelData, count - 1, number_of_frames=count)
    else:
        pixels = (
            dataset.PixelData if dataset.file_meta.TransferSyntaxUID.is_little_endian else dataset.pixel_array.tobytes()
        )
        size = len(pixels) // count
        expected = pixels[(count - 1) * size : count * size]
    assert answer.content == expected[: len(answer.content)]
    assert len(expected) - len(answer.content) in {0, 1}  # padding of the value, which is of no frame
    assert gzip.decompress(client.get(f"{path}/frames/{count - 1}/raw.gz").content) == answer.content
    assert is_orthanc_error(client.get(f"{path}/frames/{count}/raw"), 400, 3)


def test_pictures_are_drawn_in_the_form_that_is_accepted(face, client):
    path = stored(client, "CT_small.dcm")
    for name in ("preview", "rendered", "image-uint8", "image-uint16", "image-int16"):
        answer = client.get(f"{path}/frames/0/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
        assert imagecodecs.png_decode(answer.content).shape == (128, 128)
        assert client.get(f"{path}/{name}").content == answer.content
        assert name in client.get(f"{path}/frames/0").json()
    answer = client.get(f"{path}/preview?quality=20", headers={"Accept": "image/jpeg"})
    assert answer.headers["content-type"] == "image/jpeg"
    assert len(answer.content) < len(
        client.get(f"{path}/preview", headers={"Accept": "image/*;q=0.1, image/jpeg"}).content
    )
    assert client.get(f"{path}/preview", headers={"Accept": "image/x-portable-arbitrarymap"}).content[:3] == b"P7\n"
    assert is_orthanc_error(client.get(f"{path}/preview", headers={"Accept": "text/html"}), 406, 34)
    assert is_orthanc_error(client.get(f"{path}/image-uint16", headers={"Accept": "image/jpeg"}), 415, 23)
    assert open_files_below(face.archive.data / "blobs") == []


def test_a_rendered_picture_has_the_window_and_size_that_are_asked_for(client):
    path = stored(client, "CT_small.dcm")
    found = imagecodecs.png_decode(client.get(f"{path}/rendered?width=50&height=30").content)
    assert found.shape == (30, 30)
    plain, asked = (
        imagecodecs.png_decode(client.get(f"{path}/rendered{query}").content)
        for query in ("", "?window-center=0&window-width=1")
    )
    assert set(asked.ravel()) == {0, 255} != set(plain.ravel())
    for wrong in (
        "window-center=1&window-width=0",
        "window-width=0",
        "window-width=-5",
        "window-width=nan",
        "width=99999",
        "height=-1",
        "quality=0",
        "quality=x",
    ):
        assert client.get(f"{path}/rendered?{wrong}").status_code == 400


def test_a_window_of_which_one_number_is_asked_for_has_the_other_of_the_header(client):
    content = changed(dicom_file(), WindowCenter=1100, WindowWidth=300, SOPInstanceUID="1.2.3.80")
    path = client.post("/instances", content=content).json()["Path"]
    for part, whole in (
        ("window-center=900", "window-center=900&window-width=300"),
        ("window-width=50", "window-center=1100&window-width=50"),
    ):
        assert client.get(f"{path}/rendered?{part}").content == client.get(f"{path}/rendered?{whole}").content
    dataset = pydicom.dcmread(io.BytesIO(dicom_file("MR_small.dcm")))
    del dataset.WindowCenter, dataset.WindowWidth
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.81"
    bare = io.BytesIO()
    dataset.save_as(bare)
    without = client.post("/instances", content=bare.getvalue()).json()["Path"]
    least, greatest = int(dataset.pixel_array.min()), int(dataset.pixel_array.max())
    own = f"window-center={(least + greatest + 1) / 2}"
    assert (
        client.get(f"{without}/rendered").content
        == client.get(f"{without}/rendered?window-width={greatest - least + 1}").content
    )
    narrow = client.get(f"{without}/rendered?window-width=100").content
    assert narrow == client.get(f"{without}/rendered?{own}&window-width=100").content


@pytest.mark.parametrize(
    ("suffix", "media_type"),
    [("100", "video/mpeg"), ("102.1", "video/mp4"), ("103", "video/mp4"), ("107", "video/mp4")],
)
def test_video_is_one_frame_with_all_its_fragments(client, suffix, media_type):
    content, fragments = video(suffix, [b"\0\0\1\xba" + bytes(60), b"\0\0\1\xba" + b"x" * 30])
    path = client.post("/instances", content=content).json()["Path"]
    assert client.get(f"{path}/frames").json() == [0]
    answer = client.get(f"{path}/frames/0/raw")
    assert (answer.status_code, answer.content) == (200, fragments)
    assert answer.headers["content-type"] == media_type
    assert gzip.decompress(client.get(f"{path}/frames/0/raw.gz").content) == fragments
    assert is_orthanc_error(client.get(f"{path}/frames/1/raw"), 400, 3)
    assert is_orthanc_error(client.get(f"{path}/frames/0/rendered"), 415, 23)
    dataset = pydicom.dcmread(io.BytesIO(content))
    web = f"/dicom-web/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}/instances/{dataset.SOPInstanceUID}"
    for accept in (media_type, f"{media_type}; transfer-syntax=*"):
        assert client.get(f"{web}/frames/1", headers={"Accept": accept}).content == fragments
        assert client.get(f"{web}/bulkdata/7FE00010", headers={"Accept": accept}).content == fragments
    for accept in ("", "*/*", "multipart/related", f'multipart/related; type="{media_type}"'):
        for below in ("frames/1", "bulkdata/7FE00010"):
            answer = client.get(f"{web}/{below}", headers={"Accept": accept})
            assert answer.status_code == 200, (accept, below, answer.text)
            assert answer.headers["content-type"].startswith(f'multipart/related; type="{media_type}"')
            assert fragments in answer.content
    octets = {"Accept": 'multipart/related; type="application/octet-stream"'}
    assert is_orthanc_error(client.get(f"{web}/frames/1", headers=octets), 406, 34)
    assert is_orthanc_error(client.get(f"{web}/frames/2"), 404, 17)


def video(suffix, fragments):
    """Return a file of video, and its stream."""
    dataset = pydicom.dcmread(io.BytesIO(dicom_file("SC_rgb_rle_2frame.dcm")))
    dataset.NumberOfFrames = 30
    dataset.PixelData = encapsulate(fragments, has_bot=False)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.file_meta.TransferSyntaxUID = f"1.2.840.10008.1.2.4.{suffix}"
    out = io.BytesIO()
    dataset.save_as(out)
    return out.getvalue(), b"".join(fragments)


def test_what_has_no_pixels_has_no_pictures(client):
    path = stored(client, "rtplan.dcm")
    assert client.get(f"{path}/frames").json() == [0]
    for name in ("preview", "rendered", "frames/0/raw"):
        assert is_orthanc_error(client.get(f"{path}/{name}"), 415, 23)


@pytest.mark.parametrize("claimed", [2**31 - 1, 10**11])
def test_frames_that_a_header_only_claims_are_not_listed(client, claimed):
    lying = changed(dicom_file(), NumberOfFrames=claimed, SOPInstanceUID="2.25.7", SeriesInstanceUID="2.25.8")
    answer = client.post("/instances", content=lying)
    path, series = answer.json()["Path"], f"/series/{answer.json()['ParentSeries']}"
    for wanted in (f"{path}/frames", f"{path}/numpy", f"{series}/numpy", f"{series}/ordered-slices"):
        refused = client.get(wanted)
        assert is_orthanc_error(refused, 415, 23)
        assert str(claimed) in refused.json()["Details"]
    assert is_orthanc_error(client.get(f"{path}/frames/1/raw"), 415, 23)


class Crashing:
    """Codec workers that die of every file."""

    def draw(self, source, job, result):
        raise CodecCrashedError("it needs more memory than a codec worker may have")


def test_a_codec_that_dies_of_a_file_is_told_and_is_no_fault_of_the_host(tmp_path):
    face = Face(tmp_path, artist=Crashing())
    client = face.client()
    path = stored(client, "CT_small.dcm")
    with capture_logs() as logged:
        for name in ("preview", "rendered", "numpy", "matlab", "frames/0/image-uint8"):
            answer = client.get(f"{path}/{name}")
            assert is_orthanc_error(answer, 500, -1)
            assert answer.json()["Details"] == "it needs more memory than a codec worker may have"
    assert [(one["log_level"], one["reason"]) for one in logged if one["event"] == "request failed"] == [
        ("warning", "it needs more memory than a codec worker may have")
    ] * 5
    assert open_files_below(face.archive.data / "blobs") == []
    face.close()


def test_without_codec_workers_nothing_is_drawn(tmp_path):
    face = Face(tmp_path)
    client = face.client()
    path = stored(client, "CT_small.dcm")
    assert is_orthanc_error(client.get(f"{path}/preview"), 501, 2)
    assert client.get(f"{path}/frames/0/raw").status_code == 200
    face.close()
