"""What is installed does what it says, and what is not is named with what to install."""

from __future__ import annotations

import importlib.metadata
import io
import itertools
import json
import re
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.encaps import generate_frames
from transcoding_images import done, image, pixels_of, refusal, saved, with_codestreams
from typer.testing import CliRunner

from hostd.cli import build
from hostd.dicom import syntaxes
from hostd.dicom.syntaxes import (
    ALL,
    EXPLICIT_LE,
    HTJ2K,
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
    IMPLICIT_LE,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
)
from hostd.errors import CannotTranscodeError, WrongPixelsError
from hostd.transcoding import registry
from hostd.transcoding.codecs import CodecError, imagecodecs_jpeg, imagecodecs_jpegsof3, own_frames, pylibjpeg_rle
from hostd.transcoding.codecs._imagecodecs import HAS_PRECISION, NEWER
from hostd.transcoding.options import EncodeOptions
from hostd.transcoding.source import NATIVE
from hostd.transcoding.transcode import pixel_hash

LOSSLESS = [s for s in ALL if s.is_encapsulated and not s.is_lossy and registry.encoders(s)]
LOSSY = [s for s in ALL if s.is_lossy and registry.encoders(s)]
DECODED = ".1.98 .4.50 .4.51 .4.53 .4.55 .4.57 .4.70 .4.80 .4.81 .4.90 .4.91 .4.110 .4.111 .4.112 .4.201 .4.202 .4.203 .5 .8.1"
ENCODED = ".1.98 .4.50 .4.51 .4.57 .4.70 .4.80 .4.81 .4.90 .4.91 .4.110 .4.111 .4.112 .4.201 .4.202 .4.203 .5 .8.1"
ROOT = "1.2.840.10008.1.2"


def uids(text):
    return {ROOT + suffix for suffix in text.split()}


def test_every_still_image_syntax_is_decoded_and_encoded_but_for_what_python_3_11_lacks():
    assert {s.uid for s in ALL if registry.decoders(s)} == uids(DECODED)
    lacking = set() if HAS_PRECISION else {HTJ2K_LOSSLESS_RPCL.uid}
    assert {s.uid for s in ALL if registry.encoders(s)} == uids(ENCODED) - lacking
    assert {s.uid for s in ALL if registry.what_to_install(s)} == (
        set() if HAS_PRECISION else {s.uid for s in (HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL, HTJ2K)}
    )


@pytest.mark.skipif(HAS_PRECISION, reason="this imagecodecs lacks nothing")
def test_what_the_last_imagecodecs_for_python_3_11_lacks_is_refused_with_what_to_install():
    assert NEWER == "imagecodecs>=2026.10.10, which needs Python 3.12 or later"
    ds = saved(image(rows=40, columns=40))
    rpcl = "High-Throughput JPEG 2000 with RPCL Lossless (1.2.840.10008.1.2.4.202)"
    assert refusal(ds, HTJ2K_LOSSLESS_RPCL) == f"{rpcl} cannot be written by hostd; install {NEWER}"
    bits = f"the installed imagecodecs writes HTJ2K of 8 and 16 bits only, and these samples have 12; install {NEWER}"
    assert refusal(ds, HTJ2K_LOSSLESS) == bits
    assert refusal(ds, HTJ2K, EncodeOptions(quality=90)) == bits
    for stored, allocated in ((8, 8), (16, 16)):
        assert done(saved(image(rows=40, columns=40, stored=stored, allocated=allocated)), HTJ2K_LOSSLESS)
    assert done(ds, JPEG_LS_LOSSLESS)[1].codec == "pyjpegls"


@pytest.mark.skipif(not HAS_PRECISION, reason=f"needs {NEWER}")
def test_htj2k_for_streaming_is_in_rpcl_order_with_tile_part_lengths_by_resolution():
    (frame,) = generate_frames(
        dcmread(io.BytesIO(done(saved(image(rows=100, columns=90)), HTJ2K_LOSSLESS_RPCL)[0])).PixelData,
        number_of_frames=1,
    )
    cod = frame.index(b"\xff\x52")
    assert frame[cod + 5] == 2  # RPCL
    assert b"\xff\x55" in frame[: cod + 80]  # TLM
    assert frame.count(b"\xff\x90") > 1  # a tile-part for each resolution
    assert frame[42] & 0x7F == 11  # Ssiz: 12 bits


@pytest.mark.skipif(not HAS_PRECISION, reason=f"needs {NEWER}")
@pytest.mark.parametrize(("rows", "columns", "levels"), [(2048, 100, 5), (2100, 2050, 6), (4097, 4100, 7)])
def test_the_lowest_resolution_of_htj2k_for_streaming_is_64_at_most(rows, columns, levels):
    blank = image(np.zeros((1, rows, columns), "u1"), allocated=8, stored=8)
    (frame,) = generate_frames(
        dcmread(io.BytesIO(done(saved(blank), HTJ2K_LOSSLESS_RPCL)[0])).PixelData, number_of_frames=1
    )
    assert frame[frame.index(b"\xff\x52") + 9] == levels


@pytest.mark.skipif(not HAS_PRECISION, reason=f"needs {NEWER}")
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 40), (40, 1), (2, 3)])
def test_the_darkest_row_or_column_comes_back_from_htj2k_for_streaming(rows, columns):
    before = saved(image(np.zeros((1, rows, columns), "u1"), allocated=8, stored=8))
    after, facts = done(before, HTJ2K_LOSSLESS_RPCL)
    assert facts.pixel_hash_after == facts.pixel_hash_before
    assert np.array_equal(pixels_of(done(after, EXPLICIT_LE)[0]), pixels_of(before))


def test_htj2k_colours_that_no_transform_ties_together_are_read_and_verified():
    before = saved(image(rows=40, columns=50, spp=3, allocated=8, stored=8, PhotometricInterpretation="YBR_FULL"))
    after, facts = done(done(before, HTJ2K_LOSSLESS)[0], EXPLICIT_LE)
    assert np.array_equal(pixels_of(after), pixels_of(before))
    assert "imagecodecs" in facts.verified_by


def test_hostd_codecs_shows_each_syntax_with_its_libraries_and_versions():
    run = CliRunner().invoke(build(), ["codecs", "--json"])
    assert run.exit_code == 0
    rows = {row["uid"]: row for row in json.loads(run.output)}
    assert rows.keys() == {s.uid for s in ALL}
    rle, packbits = (
        {"library": name, "version": importlib.metadata.version(name)} for name in ("pylibjpeg-rle", "imagecodecs")
    )
    assert rows[RLE_LOSSLESS.uid]["decode"] == [rle]
    assert rows[RLE_LOSSLESS.uid]["encode"] == [packbits, rle]
    for syntax in NATIVE:
        assert rows[syntax.uid]["encode"] == [{"library": "hostd", "version": ""}]
    assert rows[ROOT + ".2"]["decode"]
    assert not rows[ROOT + ".2"]["encode"]
    assert not rows[ROOT + ".4.102"]["decode"]
    table = CliRunner().invoke(build(), ["codecs"]).output
    assert "JPEG Lossless SV1 (jpeg-lossless)" in table
    assert ".4.102.1" in table.partition("Kept and forwarded as they are")[2]


def test_a_library_that_is_not_installed_is_named(monkeypatch):
    for cached in (registry.installed, registry.missing):
        cached.cache_clear()
    version = registry._version
    monkeypatch.setattr(registry, "_version", lambda name: None if name == "pylibjpeg-rle" else version(name))
    try:
        assert "install pylibjpeg-rle>=2.1" in refusal(saved(image()), RLE_LOSSLESS)
    finally:
        monkeypatch.undo()
        for cached in (registry.installed, registry.missing):
            cached.cache_clear()


# -- lossless comes back bit-exact, or is refused with its reason ------------------------------------------------------


@st.composite
def images(draw, most_bits=32):
    bits = draw(st.integers(1, most_bits))
    allocated = draw(st.sampled_from([size for size in (8, 16, 32) if size >= bits]))
    return image(
        rows=draw(st.integers(1, 70)),
        columns=draw(st.integers(1, 70)),
        spp=draw(st.sampled_from([1, 3])),
        allocated=allocated,
        stored=bits,
        signed=draw(st.booleans()),
        planar=draw(st.integers(0, 1)),
        frames=draw(st.integers(1, 5)),
        seed=draw(st.integers(0, 1 << 30)),
    )


def attempt(content, target, options=None):
    """Return result and facts, or the refusal; whatever else is raised fails the test."""
    try:
        return done(content, target, options)
    except CannotTranscodeError as error:
        return error


REASONS = "is defined for|is done|are signed|bits a sample|8 and 16 bits only|cannot encode this frame"


def expected_refusal(ds, target):
    """Tell whether that target may refuse this image; everything else must come back."""
    bits, allocated, samples = ds.BitsStored, ds.BitsAllocated, ds.SamplesPerPixel
    if target in NATIVE or "Uncompressed" in target.keyword or "Deflated" in target.keyword:
        return False
    if "J2K" in target.keyword or "JPEG2000" in target.keyword:
        lacking = "HT" in target.keyword and not HAS_PRECISION and bits not in (8, 16)
        # OpenJPH codes a few images of single bits, all of noise, in a way that nothing decodes: they are refused.
        of_noise = bits == 1 and ("HT" in target.keyword or samples == 3)
        return lacking or bits > (23 if samples == 3 else 24) or of_noise
    if allocated == 32 or ("XL" in target.keyword and ds.PixelRepresentation):
        return True
    if bits < 2:
        return target.keyword not in ("RLELossless", "JPEGXLLossless")
    # pyjpegls gives small images of noise too small a buffer, and is the encoder for those bits on Python 3.11.
    return target is JPEG_LS_LOSSLESS and not HAS_PRECISION and bits not in (8, 16)


@pytest.mark.parametrize("target", LOSSLESS, ids=lambda syntax: syntax.keyword)
def test_one_pixel_in_planes_comes_back(target):
    ds = image(rows=1, columns=1, spp=3, allocated=8, stored=8, planar=1)
    back, _ = done(done(saved(ds), target)[0], EXPLICIT_LE)
    np.testing.assert_array_equal(pixels_of(back), pixels_of(saved(ds)))


@settings(max_examples=250, deadline=None)
@given(images(), st.sampled_from([*LOSSLESS, IMPLICIT_LE, syntaxes.DEFLATED]), st.booleans())
def test_any_image_comes_back_bit_exact_or_is_refused_with_its_reason(ds, target, is_implicit):
    before = saved(ds, IMPLICIT_LE.uid if is_implicit and target is not IMPLICIT_LE else EXPLICIT_LE.uid)
    back = EXPLICIT_LE if is_implicit or target is IMPLICIT_LE else IMPLICIT_LE
    outcome = attempt(before, target)
    if isinstance(outcome, CannotTranscodeError):
        assert expected_refusal(ds, target), outcome
        assert re.search(REASONS, str(outcome)), outcome
        return
    encoded, facts = outcome
    assert facts.pixel_hash_before == facts.pixel_hash_after == pixel_hash(io.BytesIO(before))
    assert facts.pixel_hash_after == pixel_hash(io.BytesIO(encoded))
    assert np.array_equal(pixels_of(done(encoded, back)[0]), pixels_of(before))


@settings(max_examples=80, deadline=None)
@given(images(most_bits=16), st.sampled_from(LOSSY), st.integers(1, 100))
def test_any_image_is_compressed_with_loss_inside_its_bound_or_refused(ds, target, quality):
    outcome = attempt(saved(ds), target, EncodeOptions(quality=quality))
    if isinstance(outcome, CannotTranscodeError):
        assert re.search(
            f"{REASONS}|means nothing|unsigned samples|Baseline needs|one sample|RGB and one|turn their sign",
            str(outcome),
        )
        return
    encoded, facts = outcome
    assert "PSNR" in facts.verified_by or "nothing was lost" in facts.verified_by
    assert pixels_of(done(encoded, EXPLICIT_LE)[0]).shape == pixels_of(saved(ds)).shape


# -- codecs that lie ---------------------------------------------------------------------------------------------------


def test_a_lossy_encoder_that_gives_another_image_is_caught(monkeypatch):
    honest = imagecodecs_jpeg.encode
    monkeypatch.setattr(imagecodecs_jpeg, "encode", lambda frame, kind: honest(frame[::-1].copy(), kind))
    ramp = np.add.outer(np.arange(64) * 3, np.arange(64)) % 256
    with pytest.raises(WrongPixelsError, match="nothing to do with the original"):
        done(saved(image(ramp[None], allocated=8, stored=8)), syntaxes.JPEG_BASELINE, EncodeOptions(quality=90))


@pytest.mark.parametrize("decoder", [imagecodecs_jpeg, imagecodecs_jpegsof3])
def test_what_only_the_lenient_of_two_decoders_reads_is_no_result(monkeypatch, decoder):
    true = decoder.decode
    monkeypatch.setattr(decoder, "decode", lambda stream: true(stream) ^ 1)
    with pytest.raises(WrongPixelsError, match="differs from the original"):
        done(saved(image()), JPEG_LOSSLESS_SV1)


def test_an_encoder_that_refuses_a_frame_gives_way_to_the_next(monkeypatch):
    if len(registry.encoders(JPEG_LS_LOSSLESS)) < 2:
        pytest.skip("there is one JPEG-LS encoder only")
    first, second = registry.encoders(JPEG_LS_LOSSLESS)
    monkeypatch.setattr(first, "encode", lambda *_: (_ for _ in ()).throw(CodecError("not this one")))
    _, facts = done(saved(image(rows=60, columns=60, stored=16)), JPEG_LS_LOSSLESS)
    assert facts.codec == second.NAME


def test_frames_that_are_moved_wrongly_are_caught(monkeypatch):
    true = own_frames.deflate
    monkeypatch.setattr(own_frames, "deflate", lambda raw: true(bytes([raw[0] ^ 1]) + raw[1:]))
    with pytest.raises(WrongPixelsError, match="read back"):
        done(saved(image()), syntaxes.DEFLATED_FRAMES)


def test_rle_is_checked_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(pylibjpeg_rle, "decode", lambda _: pytest.fail("a decoder saw it"))
    good = bytearray(64 + 20)
    good[0], good[4], good[8] = 2, 64, 70
    for at, value, says in (
        (0, 3, "3 segments"),
        (8, 60, "out of order"),
        (8, 200, "out of order"),
        (12, 9, "does not have"),
    ):
        bad = bytearray(good)
        bad[at] = value
        assert says in refusal(with_codestreams(image(), [bytes(bad)], syntax=RLE_LOSSLESS.uid), EXPLICIT_LE)


def runs_of(segment):
    """Return how many bytes each run of a segment stands for, as PS3.5 §G.3.2 reads it, up to the padding."""
    at, lengths = 0, []
    while at < len(segment) - 1:
        head = segment[at]
        assert head != 128, "an encoder writes no run of that kind (PS3.5 §G.3.1)"
        lengths.append(head + 1 if head < 128 else 257 - head)
        at += head + 2 if head < 128 else 2
    assert len(segment) - at in (0, 1)
    return lengths


@settings(max_examples=60, deadline=None)
@given(images(most_bits=16).filter(lambda ds: ds.BitsAllocated <= 16))
def test_no_run_of_rle_crosses_a_row_and_segments_are_even_and_in_order(ds):
    encoded, facts = done(saved(ds), RLE_LOSSLESS)
    assert facts.codec == "imagecodecs"
    assert "pylibjpeg-rle" in facts.verified_by
    for frame in generate_frames(
        dcmread(io.BytesIO(encoded)).PixelData, number_of_frames=int(ds.get("NumberOfFrames", 1))
    ):
        count, *offsets = struct.unpack_from("<16I", frame)
        assert count == ds.SamplesPerPixel * ds.BitsAllocated // 8
        assert offsets[count:] == [0] * (15 - count)
        for begin, end in itertools.pairwise([*offsets[:count], len(frame)]):
            assert begin % 2 == 0
            filled = 0
            for length in runs_of(frame[begin:end]):
                assert filled // ds.Columns == (filled + length - 1) // ds.Columns
                filled += length
            assert filled == ds.Rows * ds.Columns


def test_what_nothing_reads_as_a_stranger_would_is_not_written(monkeypatch):
    monkeypatch.setattr(registry, "decoders", lambda _: [])
    assert registry.encoders(RLE_LOSSLESS) == []
