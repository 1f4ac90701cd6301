"""Pictures of frames: shades as the standard has them (PS3.3 C.11), colours, sizes, and what cannot be drawn."""

import io
import struct
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from hostd.errors import CannotTranscodeError
from hostd.transcoding import palette
from hostd.transcoding.drawing import draw
from hostd.transcoding.messages import Draw
from hostd.transcoding.pool import CodecPool


def image(pixels, photometric="MONOCHROME2", **elements):
    """Return a DICOM file of these pixels."""
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    samples = 3 if pixels.ndim == 3 and pixels.shape[2] == 3 else 1
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.Rows, dataset.Columns = pixels.shape[:2] if samples == 3 or pixels.ndim == 2 else pixels.shape[1:]
    if samples == 1 and pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = samples, photometric
    if samples == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = 1 if pixels.dtype.kind == "i" else 0
    del dataset.RescaleSlope, dataset.RescaleIntercept
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    out = io.BytesIO()
    dataset.save_as(out)
    return out.getvalue()


def drawn(content, kind="rendered", frame=0, form="png", **asked):
    result = io.BytesIO()
    draw(Draw(frame, kind, form, **asked), io.BytesIO(content), result)
    return imagecodecs.png_decode(result.getvalue()) if form == "png" else result.getvalue()


RAMP = np.arange(0, 2560, 10, dtype="<i2").reshape(16, 16)


def item(**elements):
    found = Dataset()
    for keyword, value in elements.items():
        setattr(found, keyword, value)
    return found


def lut(descriptor, data):
    return Sequence([item(LUTDescriptor=descriptor, LUTData=struct.pack(f"<{len(data)}H", *data))])


def test_a_linear_window_is_as_the_standard_has_it():
    """PS3.3 C.11.2.1.2.1: c 2048, w 4096 gives 0 up to 0 and all at 4095."""
    values = np.array([[-1, 0, 1, 2047, 2048, 4094, 4095, 4096]], dtype="<i2")
    found = drawn(image(values, WindowCenter="2048", WindowWidth="4096"))
    assert found.tolist() == [[0, 0, 0, 127, 128, 255, 255, 255]]


def test_the_modality_is_reckoned_with_before_the_window():
    content = image(RAMP, RescaleSlope="2", RescaleIntercept="-1000", WindowCenter="100", WindowWidth="401")
    values = RAMP.astype("f8") * 2 - 1000
    expected = np.floor(np.clip((values - 99.5) / 400 + 0.5, 0, 1) * 255 + 0.5)
    assert np.abs(drawn(content) - expected).max() <= 1
    assert (drawn(content, window=(100.0, 401.0, "LINEAR")) == drawn(content)).all()


@pytest.mark.parametrize("function", ["SIGMOID", "LINEAR_EXACT"])
def test_other_functions_of_a_window_are_known(function):
    content = image(RAMP, WindowCenter="1000", WindowWidth="500", VOILUTFunction=function)
    part = (RAMP - 1000.0) / 500
    shades = 1 / (1 + np.exp(-4 * part)) if function == "SIGMOID" else np.clip(part + 0.5, 0, 1)
    assert np.abs(drawn(content) - shades * 255).max() <= 1


def test_without_a_window_it_goes_from_the_least_to_the_greatest():
    found = drawn(image(RAMP + 7))
    assert (found.min(), found.max()) == (0, 255)
    assert (np.diff(found.ravel().astype(int)) >= 0).all()
    assert (drawn(image(np.full((4, 4), 9, "<u2"))) == 0).all()


def test_tables_take_the_place_of_rescale_and_window():
    steps = np.array([[0, 1, 2, 3, 9]], dtype="<u2")
    content = image(steps, VOILUTSequence=lut([4, 0, 16], [0, 65535, 32768, 16384]))
    assert drawn(content).tolist() == [[0, 255, 128, 64, 64]]
    content = image(
        steps, ModalityLUTSequence=lut([4, 0, 16], [100, 200, 300, 400]), WindowCenter="250.5", WindowWidth="301"
    )
    assert drawn(content).tolist() == [[0, 85, 170, 255, 255]]


@pytest.mark.parametrize("kind", ["rendered", "preview", "uint16", "int16"])
@pytest.mark.parametrize("signed", [False, True])
def test_bits_that_the_header_does_not_declare_are_not_drawn(kind, signed):
    shown = (RAMP % 2048 - 1024 if signed else RAMP).astype("<i2" if signed else "<u2")
    stray = (shown.view("<u2") & 0x0FFF | 0x5000).view(shown.dtype)
    stored = {"BitsStored": 12, "HighBit": 11}
    assert (drawn(image(stray, **stored), kind) == drawn(image(shown, **stored), kind)).all()
    with pytest.raises(CannotTranscodeError, match="beside BitsStored"):
        drawn(image(stray, **stored), "samples", form="raw")


def test_monochrome1_is_white_where_it_is_low():
    pixels = np.array([[0, 100, 255]], dtype="u1")
    for kind in ("rendered", "preview"):
        assert drawn(image(pixels, "MONOCHROME1"), kind).tolist() == [[255, 155, 0]]
    assert drawn(image(pixels, "MONOCHROME1"), "uint8").tolist() == pixels.tolist()


def test_each_frame_has_its_own_window_and_rescale():
    frames = np.stack([RAMP, RAMP])
    groups = [
        item(
            FrameVOILUTSequence=Sequence([item(WindowCenter=str(center), WindowWidth="100")]),
            PixelValueTransformationSequence=Sequence([item(RescaleIntercept="0", RescaleSlope="1", RescaleType="US")]),
        )
        for center in (500, 2000)
    ]
    content = image(frames, PerFrameFunctionalGroupsSequence=Sequence(groups), WindowCenter="0", WindowWidth="1")
    for frame, center in enumerate((500, 2000)):
        found = drawn(content, frame=frame)
        assert (found[center - 60 > RAMP] == 0).all()
        assert (found[center + 60 < RAMP] == 255).all()
    with pytest.raises(CannotTranscodeError, match="2 frames"):
        drawn(content, frame=2)


def test_samples_are_cut_to_what_a_number_holds():
    pixels = np.array([[-32768, -1, 0, 255, 256, 32767]], dtype="<i2")
    content = image(pixels)
    assert drawn(content, "uint8").tolist() == [[0, 0, 0, 255, 255, 255]]
    assert drawn(content, "uint16").tolist() == [[0, 0, 0, 255, 256, 32767]]
    assert (drawn(content, "int16").view("i2") == pixels).all()


def test_colours_are_red_green_and_blue():
    name = "examples_ybr_color.dcm"
    dataset = pydicom.dcmread(get_testdata_file(name, download=False))
    red, green, blue = (np.uint8([[level] * 2] * 2) for level in (200, 100, 50))
    content = image(np.stack([red, green, blue], axis=-1), "RGB")
    assert drawn(content)[0, 0].tolist() == [200, 100, 50]
    picture = io.BytesIO()
    with Path(get_testdata_file(name, download=False)).open("rb") as file:
        draw(Draw(3, "preview", "png"), file, picture)
    decoded = imagecodecs.png_decode(picture.getvalue())
    assert decoded.shape == (dataset.Rows, dataset.Columns, 3)
    sixteen = np.full((2, 2, 3), 0x1234, "<u2")
    assert drawn(image(sixteen, "RGB"), "preview")[0, 0].tolist() == [0x12] * 3
    assert drawn(image(sixteen, "RGB"), "uint16")[0, 0].tolist() == [0x1234] * 3


def test_a_palette_gives_its_colours_segmented_or_not():
    with Path(get_testdata_file("examples_palette.dcm", download=False)).open("rb") as file:
        content = file.read()
    dataset = pydicom.dcmread(io.BytesIO(content))
    expected = pydicom.pixels.apply_color_lut(dataset.pixel_array, dataset) >> 8
    assert (drawn(content) == expected).all()
    # Two discrete entries, a line of four to 50, and once more the first segment.
    segments = [0, 2, 7, 9, 1, 4, 49, 2, 1, 0, 0]
    assert palette._expanded(struct.pack("<11H", *segments), 8, wide=True) == [7, 9, 19, 29, 39, 49, 7, 9]
    with pytest.raises(CannotTranscodeError, match="round in circles"):
        palette._expanded(struct.pack("<5H", 2, 9, 0, 0, 0), 64, wide=True)


def test_a_picture_fits_into_what_is_asked_for():
    wide = np.tile(np.repeat(np.uint8([0, 255]), 50), (40, 1))
    content = image(wide)
    assert drawn(content, columns=50).shape == (20, 50)
    assert drawn(content, rows=10).shape == (10, 25)
    assert drawn(content, columns=50, rows=10).shape == (10, 25)
    assert drawn(content, columns=200).shape == (80, 200)
    small = drawn(content, columns=10)
    assert (small[:, :5] == 0).all()
    assert (small[:, 5:] == 255).all()
    assert drawn(image(np.uint8([[0, 255], [0, 255]])), columns=1).tolist() == [[128]]


def test_a_jpeg_is_as_good_as_is_asked_and_a_pam_is_exact():
    content = image(RAMP)
    good, bad = (drawn(content, form="jpeg", quality=quality) for quality in (95, 5))
    assert len(bad) < len(good)
    assert np.abs(imagecodecs.jpeg8_decode(good).astype(int) - drawn(content)).max() < 20
    with pytest.raises(CannotTranscodeError, match="16 bits"):
        drawn(content, "uint16", form="jpeg")
    head, _, samples = drawn(content, "int16", form="pam").partition(b"ENDHDR\n")
    assert b"MAXVAL 65535" in head
    assert samples == RAMP.astype(">i2").tobytes()


def test_what_has_no_pixels_cannot_be_drawn():
    with (
        Path(get_testdata_file("rtplan.dcm", download=False)).open("rb") as file,
        pytest.raises(CannotTranscodeError, match="no pixel"),
    ):
        draw(Draw(0, "preview", "png"), file, io.BytesIO())


def test_a_jailed_worker_draws_and_the_host_loads_no_codec(tmp_path):
    pool = CodecPool(workers=1)
    try:
        (tmp_path / "a.dcm").write_bytes(image(RAMP))
        pool.draw(tmp_path / "a.dcm", Draw(0, "preview", "png"), tmp_path / "a.png")
        assert (imagecodecs.png_decode((tmp_path / "a.png").read_bytes()) == drawn(image(RAMP), "preview")).all()
        with pytest.raises(CannotTranscodeError):
            pool.draw(tmp_path / "a.dcm", Draw(1, "preview", "png"), tmp_path / "b.png")
        assert not (tmp_path / "b.png").exists()
    finally:
        pool.close()
    loaded = "import sys, hostd.web.frames; print({'imagecodecs'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout == "set()\n"
    )
