"""Streams that were cut off, damaged or made to do harm: an error or the same pixels, in bounded time and memory, and the pool lives."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames
from transcoding_images import done, image, pixels_of, saved, shipped, with_codestreams

from hostd.dicom import part10
from hostd.dicom.syntaxes import ALL, DEFLATED, DEFLATED_FRAMES, EXPLICIT_LE, JPEG_BASELINE, JPEG_XL, RLE_LOSSLESS
from hostd.errors import TranscodeError
from hostd.transcoding import registry
from hostd.transcoding.options import EncodeOptions
from hostd.transcoding.pool import CodecPool

ENCODED = [s for s in ALL if s.is_encapsulated and registry.encoders(s)]


@pytest.fixture(scope="module")
def pool():
    made = CodecPool(workers=2, time_limit_s=20)
    yield made
    made.close()


def ramp(rows=64, columns=80):
    values = np.add.outer(np.arange(rows), 2 * np.arange(columns)) % 256
    return image(values[None], allocated=8, stored=8)


def encoded(syntax):
    """Return header and codestream of a small image in that syntax."""
    content, _ = done(saved(ramp()), syntax, EncodeOptions(quality=90) if syntax.is_lossy else None)
    ds = pydicom.dcmread(io.BytesIO(content))
    (frame,) = generate_frames(ds.PixelData, number_of_frames=1)
    return content, frame


def with_frame(syntax, frame):
    return with_codestreams(ramp(), [frame], syntax=syntax.uid)


def outcome(pool, content, folder, number):
    """Return the pixels that the pool makes of a file, or the error; whatever else is raised fails the test."""
    source, result = folder / f"{number}.dcm", folder / f"{number}.out"
    source.write_bytes(content)
    try:
        pool.transcode(source, EXPLICIT_LE, result)
    except TranscodeError as error:
        assert not result.exists()
        return error
    return pixels_of(result.read_bytes())


@pytest.mark.parametrize("syntax", ENCODED, ids=lambda s: s.keyword)
def test_a_truncated_frame_is_an_error_or_the_same_pixels(syntax, pool, tmp_path):
    content, frame = encoded(syntax)
    expected = pixels_of(done(content, EXPLICIT_LE)[0])
    for number, part in enumerate((0.02, 0.1, 0.5, 0.9, 0.99)):
        cut = frame[: int(len(frame) * part)]
        for ending in (b"", b"\xff\xd9"):
            found = outcome(pool, with_frame(syntax, cut + ending), tmp_path, f"{number}{len(ending)}")
            is_marked = ending and registry.decoders(syntax)[0].begins_frame is not None
            if isinstance(found, TranscodeError) or np.array_equal(found, expected):
                continue
            # With its end marker put back, a codestream of blocks that stand alone says nothing of those it lost.
            assert is_marked
            assert syntax.is_lossy or "JPEG" in syntax.keyword or "J2K" in syntax.keyword


@pytest.mark.parametrize("syntax", ENCODED, ids=lambda s: s.keyword)
def test_flipped_bytes_are_an_error_or_an_image_of_that_size_and_the_pool_lives(syntax, pool, tmp_path):
    content, frame = encoded(syntax)
    random = np.random.default_rng(len(frame))
    for number in range(10):
        damaged = bytearray(frame)
        reach = 100 if number % 2 else len(frame)  # heads and bodies
        for _ in range(3):
            damaged[random.integers(0, min(reach, len(frame)))] = random.integers(0, 256)
        found = outcome(pool, with_frame(syntax, bytes(damaged)), tmp_path, number)
        assert isinstance(found, TranscodeError) or found.shape == (1, 64, 80)
    assert isinstance(outcome(pool, content, tmp_path, "good"), np.ndarray)


@pytest.mark.parametrize(
    "syntax", [s for s in ENCODED if registry.decoders(s)[0].begins_frame], ids=lambda s: s.keyword
)
def test_a_small_stream_that_declares_an_enormous_image_is_an_error_without_much_memory(syntax, pool, tmp_path):
    _, frame = encoded(syntax)
    ds = ramp()
    ds.Rows = ds.Columns = 60000
    huge = with_codestreams(ds, [frame], syntax=syntax.uid)
    assert isinstance(outcome(pool, huge, tmp_path, "header"), TranscodeError)
    for size in (b"\x00\x40\x00\x50", b"\x00\x00\x00\x50\x00\x00\x00\x40"):  # rows and columns; or as SIZ has them
        if size in frame[:200]:
            large = b"\xea\x60\xea\x60" if len(size) == 4 else b"\x00\x00\xea\x60" * 2
            both = with_codestreams(ds, [frame.replace(size, large, 1)], syntax=syntax.uid)
            assert isinstance(outcome(pool, both, tmp_path, "both"), TranscodeError)


def test_deflated_bombs_are_cut_short(pool, tmp_path):
    bomb = zlib.compress(bytes(1 << 28), 9, wbits=-15)
    assert isinstance(outcome(pool, with_frame(DEFLATED_FRAMES, bomb), tmp_path, "frame"), TranscodeError)
    deflated = done(saved(ramp()), DEFLATED)[0]
    start = part10.data_set_offset(io.BytesIO(deflated)).offset
    plain = zlib.decompress(deflated[start:], wbits=-15)
    made = deflated[:start] + zlib.compress(plain + bytes(100 << 20), 9, wbits=-15)
    assert "follow the pixel data" in str(outcome(pool, made, tmp_path, "data set"))


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.99])
def test_a_deflated_data_set_that_is_cut_off_or_damaged_is_refused(cut, pool, tmp_path):
    content = shipped("image_dfl.dcm").read_bytes()
    assert isinstance(outcome(pool, content[: int(len(content) * cut)], tmp_path, cut), TranscodeError)
    damaged = bytearray(content)
    damaged[int(len(content) * cut) :] = bytes(len(content) - int(len(content) * cut))
    assert isinstance(outcome(pool, bytes(damaged), tmp_path, -cut), TranscodeError)


def test_wrong_frame_counts_are_refused_by_every_codec(pool, tmp_path):
    for syntax in ENCODED:
        _, frame = encoded(syntax)
        for declared, given in ((2, 1), (1, 3), (3, 2)):
            ds = ramp()
            ds.NumberOfFrames = declared
            made = with_codestreams(ds, [frame] * given, syntax=syntax.uid)
            assert isinstance(outcome(pool, made, tmp_path, syntax.keyword), TranscodeError), (syntax, declared, given)


def test_a_codestream_of_another_kind_is_refused():
    frames = {syntax: encoded(syntax)[1] for syntax in ENCODED}
    for syntax in (RLE_LOSSLESS, JPEG_XL, JPEG_BASELINE):
        for other, frame in frames.items():
            if registry.decoders(other)[0] is not registry.decoders(syntax)[0]:
                with pytest.raises(TranscodeError):
                    done(with_frame(syntax, frame), EXPLICIT_LE)
