"""Images as arrays of NumPy's: of a real Orthanc and of hostd the same."""

import io

import numpy as np
import pytest
import requests
from likeness import pair_of, stop
from peer_kit import PATIENCE_S, needs, sample
from pydicom import dcmread

pytestmark = [pytest.mark.peers, needs("Orthanc")]

IMAGES = (
    "CT_small.dcm", "MR_small.dcm", "examples_rgb_color.dcm", "SC_rgb_small_odd.dcm", "SC_rgb_rle_2frame.dcm", "MR_small_bigendian.dcm",
    "MR_small_RLE.dcm", "MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jpeg_dcmtk.dcm",
)  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    made = pair_of(tmp_path_factory.mktemp("arrays"), sample("CT_small.dcm").read_bytes())
    yield made
    stop(made)


def alone(name):
    """Return an image that no other of the test is an instance with."""
    image = dcmread(sample(name))
    image.PatientID = name[:60]
    written = io.BytesIO()
    image.save_as(written)
    return written.getvalue()


def array_of(answer):
    assert answer.status_code == 200, answer.text
    return np.load(io.BytesIO(answer.content))


@pytest.mark.parametrize("rescale", ["", "?rescale=0", "?rescale=1"])
@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_the_same_array(both, name, rescale):
    both.names["image"] = both.store(alone(name))["ID"]
    for path in ("numpy", "frames/0/numpy"):
        theirs, ours = map(array_of, both.ask(f"GET /instances/{{image}}/{path}{rescale}"))
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert np.allclose(ours.astype(float), theirs.astype(float), atol=3 if "jpeg" in name else 1e-3)


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small.dcm", "SC_rgb_rle_2frame.dcm", "SC_rgb_small_odd.dcm", "MR_small_RLE.dcm"]
)
def test_a_frame_for_matlab_is_the_same_expression(both, name):
    both.names["image"] = both.store(alone(name))["ID"]
    for path in ("matlab", "frames/0/matlab"):
        both.assert_alike(f"GET /instances/{{image}}/{path}", exactly=True)
    theirs, ours = both.ask("GET /instances/{image}/frames/99/matlab")
    assert (theirs.status_code, ours.status_code) == (400, 400)


def test_colours_for_matlab_are_an_array_of_rows_columns_and_channels(both):
    both.names["image"] = both.store(alone("examples_rgb_color.dcm"))["ID"]
    theirs, ours = (answer.text for answer in both.ask("GET /instances/{image}/matlab"))
    assert ours == theirs.replace("[ 3 240 320 ]", "[ 3 320 240 ]")
    samples = ours.partition("[ ")[2].partition(" ]")[0].split()
    # As MATLAB does: by columns, then with the dimensions turned around.
    array = np.array(samples, "u1").reshape((3, 320, 240), order="F").transpose(2, 1, 0)
    np.testing.assert_array_equal(array, dcmread(sample("examples_rgb_color.dcm")).pixel_array)


def test_a_series_is_the_same_array_in_the_same_order(both):
    image = dcmread(sample("CT_small.dcm"))
    image.SeriesInstanceUID, image.PatientID = "1.2.3", "series"
    for number, at in ((1, 5), (2, 1), (3, 3)):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        image.InstanceNumber, image.ImagePositionPatient = number, [0, 0, at]
        image.PixelData = np.full((128, 128), number, "<i2").tobytes()
        written = io.BytesIO()
        image.save_as(written)
        both.names["slices"] = both.store(written.getvalue())["ParentSeries"]
    for query in ("", "?rescale=0", "?rescale=0&compress=1"):
        found = []
        for answer in both.ask(f"GET /series/{{slices}}/numpy{query}"):
            array = array_of(answer)
            found.append(array[array.files[0]] if "compress" in query else array)
        assert found[0].shape == found[1].shape == (3, 128, 128, 1)
        assert np.array_equal(*found)
        order = found[1][:, 0, 0, 0] - (0 if "rescale" in query else float(image.RescaleIntercept))
        assert list(order) == [2, 3, 1]


def test_what_makes_no_array_is_told(both):
    both.names["report"] = both.store(sample("test-SR.dcm").read_bytes())["ID"]
    for request in ("GET /instances/{report}/numpy", "GET /instances/{nowhere}/numpy", "GET /series/{nowhere}/numpy"):
        theirs, ours = both.ask(request)
        assert theirs.status_code >= 400
        assert ours.status_code in {404, 415}
    url = f"{both.node.url}/instances/{both.names['instance']}"
    assert requests.get(f"{url}/frames/1/numpy", timeout=PATIENCE_S).status_code == 400
    assert requests.get(f"{url}/numpy?rescale=perhaps", timeout=PATIENCE_S).status_code == 400
