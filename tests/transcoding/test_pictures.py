"""Pictures that are no DICOM, read by a codec worker: their samples, and what is none."""

import io
import struct
import tempfile

import imagecodecs
import numpy as np
import pytest

from hostd.errors import CannotTranscodeError
from hostd.transcoding.codecs._jpeg import baseline_photometric
from hostd.transcoding.messages import Picture, ReadPicture
from hostd.transcoding.pool import CodecPool


@pytest.fixture(scope="module")
def pool():
    made = CodecPool(workers=1)
    yield made
    made.close()


def read(pool, form, content):
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as result:
        source.write(content)
        source.seek(0)
        picture = pool.read_picture(source, ReadPicture(form), result)
        result.seek(0)
        return picture, result.read()


SAMPLES = {
    "grey": np.arange(12, dtype="u1").reshape(3, 4),
    "deep": (np.arange(12, dtype="u2") * 5000).reshape(3, 4),
    "colour": np.arange(36, dtype="u1").reshape(3, 4, 3),
    "deep colour": (np.arange(36, dtype="u2") * 1000).reshape(3, 4, 3),
}


@pytest.mark.parametrize("sort", SAMPLES)
def test_a_png_has_the_samples_that_it_was_made_of(pool, sort):
    samples = SAMPLES[sort]
    picture, found = read(pool, "png", imagecodecs.png_encode(samples))
    bits = 8 * samples.dtype.itemsize
    assert picture == Picture(3, 4, 3 if samples.ndim == 3 else 1, bits)
    assert found == samples.astype(f"<u{bits // 8}").tobytes()


def test_what_is_transparent_is_left_out(pool):
    for samples in (2, 4):
        whole = np.arange(12 * samples, dtype="u1").reshape(3, 4, samples)
        picture, found = read(pool, "png", imagecodecs.png_encode(whole))
        kept = whole[..., :3] if samples == 4 else whole[..., :1]
        assert picture.samples == kept.shape[2]
        assert found == kept.tobytes()


def test_a_jpeg_is_red_green_and_blue(pool):
    red = np.zeros((16, 16, 3), "u1")
    red[..., 0] = 200
    picture, found = read(pool, "jpeg", imagecodecs.jpeg8_encode(red, level=95))
    assert picture == Picture(16, 16, 3, 8, "YBR_FULL_422")
    assert np.abs(np.frombuffer(found, "u1").reshape(red.shape).astype(int) - red).max() < 8


def jpeg(process, *components, more=b""):
    """Return the segments of a JPEG codestream; a component is its identifier and its sampling."""
    frame = struct.pack(">BHHB", 8, 16, 16, len(components)) + b"".join(bytes([*one, 0]) for one in components)
    return (
        b"\xff\xd8"
        + more
        + bytes([0xFF, process])
        + struct.pack(">H", len(frame) + 2)
        + frame
        + b"\xff\xda\0\2\xff\xd9"
    )


JFIF = b"\xff\xe0\0\x10JFIF\0" + bytes(9)
ADOBE_RGB = b"\xff\xee\0\x0eAdobe" + bytes(7)
WHOLE, HALVED = ((1, 0x11), (2, 0x11), (3, 0x11)), ((1, 0x21), (2, 0x11), (3, 0x11))


@pytest.mark.parametrize(("codestream", "photometric"), [
    (jpeg(0xC0, (1, 0x11)), "MONOCHROME2"), (jpeg(0xC0, *WHOLE, more=JFIF), "YBR_FULL"), (jpeg(0xC0, *HALVED), "YBR_FULL_422"),
    (jpeg(0xC0, *WHOLE, more=ADOBE_RGB), "RGB"), (jpeg(0xC0, (82, 0x11), (71, 0x11), (66, 0x11)), "RGB"),
    (jpeg(0xC1, (1, 0x11)), ""), (jpeg(0xC2, *WHOLE), ""), (jpeg(0xC3, (1, 0x11)), ""), (b"\xff\xd8\xff", ""),
])  # fmt: skip
def test_a_codestream_of_jpeg_baseline_is_known_with_its_colours(codestream, photometric):
    assert baseline_photometric(codestream) == photometric


@pytest.mark.parametrize("form", ["png", "jpeg"])
@pytest.mark.parametrize("content", [b"", b"x" * 100, imagecodecs.png_encode(np.zeros((9, 9), "u1"))[:-20]])
def test_what_is_none_is_told_and_the_worker_goes_on(pool, form, content):
    with pytest.raises(CannotTranscodeError):
        read(pool, form, content)
    assert read(pool, "png", imagecodecs.png_encode(SAMPLES["grey"]))[1] == SAMPLES["grey"].tobytes()


def test_one_that_is_too_large_is_refused(pool):
    content = io.BytesIO(imagecodecs.png_encode(np.zeros((20_000, 20_000), "u1"), level=1)).getvalue()
    with pytest.raises(CannotTranscodeError, match="larger"):
        read(pool, "png", content)
