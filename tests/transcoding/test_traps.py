"""What other transcoders get wrong: each trap with a real or a made file, judged by decoders that are not hostd's."""

from __future__ import annotations

import io
import re
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
import rle.utils
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from transcoding_images import (
    big_endian,
    done,
    header,
    image,
    judged,
    pixels_of,
    refusal,
    saved,
    shared,
    shipped,
    with_codestreams,
)

from hostd.dicom.syntaxes import (
    ALL,
    DEFLATED,
    DEFLATED_FRAMES,
    ENCAPSULATED_UNCOMPRESSED,
    EXPLICIT_LE,
    HTJ2K,
    HTJ2K_LOSSLESS,
    IMPLICIT_LE,
    JPEG2000,
    JPEG2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    JPEG_LS_NEAR,
    JPEG_XL,
    JPEG_XL_LOSSLESS,
    JPEG_XL_RECOMPRESSION,
    RLE_LOSSLESS,
)
from hostd.transcoding import pixels, registry
from hostd.transcoding.codecs._imagecodecs import HAS_PRECISION, NEWER
from hostd.transcoding.options import EncodeOptions
from hostd.transcoding.source import open_source

LOSSLESS = [syntax for syntax in ALL if syntax.is_encapsulated and not syntax.is_lossy and registry.encoders(syntax)]
LOSSY = [JPEG_BASELINE, JPEG_EXTENDED, JPEG_LS_NEAR, JPEG2000, HTJ2K, JPEG_XL, JPEG_XL_RECOMPRESSION]
GOOD = EncodeOptions(quality=90)


def name(syntax):
    return syntax.keyword


def rgb(**facts):
    return image(rows=40, columns=50, spp=3, allocated=8, stored=8, **facts)


def same_pixels(content, expected, folder):
    """Assert that an independent decoder finds these samples, or hostd's own where there is none."""
    found = judged(content, folder)
    samples = found[0] if found else pixels_of(done(content, EXPLICIT_LE)[0])
    assert np.array_equal(samples, expected)


# -- arrangement of samples --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", LOSSLESS, ids=name)
@pytest.mark.parametrize("allocated", [8, 16])
def test_planar_configuration_1_is_not_scrambled(target, allocated, tmp_path):
    before = saved(image(rows=40, columns=50, spp=3, allocated=allocated, stored=allocated, planar=1, frames=2))
    after, _ = done(before, target)
    if target is not ENCAPSULATED_UNCOMPRESSED and target is not DEFLATED_FRAMES:
        assert header(after).PlanarConfiguration == 0
    same_pixels(after, pixels_of(before), tmp_path)


@pytest.mark.parametrize("target", LOSSLESS, ids=name)
def test_samples_that_do_not_end_at_their_lowest_bit_are_shifted_down_and_the_header_says_so(target, tmp_path):
    stored = 8 if target is HTJ2K_LOSSLESS else 12  # on Python 3.11 HTJ2K is written of 8 and 16 bits
    samples = np.random.default_rng(1).integers(0, 1 << stored, (1, 40, 50))
    ds = image(samples << 4, stored=16)
    ds.BitsStored, ds.HighBit = stored, stored + 3
    before = saved(ds)
    after, facts = done(before, target)
    if target in (ENCAPSULATED_UNCOMPRESSED, DEFLATED_FRAMES):
        assert header(after).HighBit == stored + 3
        expected = samples << 4
    else:
        assert (header(after).BitsStored, header(after).HighBit) == (stored, stored - 1)
        expected = samples
    same_pixels(after, expected, tmp_path)
    assert facts.pixel_hash_before == facts.pixel_hash_after
    assert facts.pixel_hash_before == done(saved(image(samples, stored=stored)), IMPLICIT_LE)[1].pixel_hash_after


def test_signed_samples_that_do_not_end_at_their_lowest_bit_keep_their_sign():
    samples = np.array([[[-2048, -1, 0, 2047]]])
    ds = image(samples << 4, stored=16, signed=True)
    ds.BitsStored, ds.HighBit = 12, 15
    back, _ = done(done(saved(ds), RLE_LOSSLESS)[0], EXPLICIT_LE)
    assert np.array_equal(pixels_of(back), samples)


@pytest.mark.parametrize("target", LOSSLESS, ids=name)
def test_signed_samples_keep_their_sign(target, tmp_path):
    samples = np.random.default_rng(2).integers(-32768, 32768, (1, 40, 50))
    ds = image(samples, stored=16, signed=True)
    if target is JPEG_XL_LOSSLESS:
        assert "signed" in refusal(saved(ds), target)
        return
    same_pixels(done(saved(ds), target)[0], samples, tmp_path)


def with_overlays(frames=1, rows=9, columns=7):
    random = np.random.default_rng(3)
    samples = random.integers(0, 4096, (frames, rows, columns))
    planes = random.integers(0, 2, (2, frames, rows, columns))
    ds = image(samples | planes[0] << 12 | planes[1] << 15, stored=16)
    ds.BitsStored, ds.HighBit = 12, 11
    _describe_overlays(ds)
    return saved(ds), samples, planes


def _describe_overlays(ds):
    rows, columns = ds.Rows, ds.Columns
    for group, bit in ((0x6000, 12), (0x6002, 15)):
        ds.add_new((group, 0x0010), "US", rows)
        ds.add_new((group, 0x0011), "US", columns)
        ds.add_new((group, 0x0040), "CS", "G")
        ds.add_new((group, 0x0050), "SS", [1, 1])
        ds.add_new((group, 0x0100), "US", 16)
        ds.add_new((group, 0x0102), "US", bit)


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("target", [RLE_LOSSLESS, JPEG_LS_LOSSLESS, JPEG2000_LOSSLESS], ids=name)
def test_overlays_in_unused_bits_are_taken_out_into_overlay_data(target, frames):
    before, samples, planes = with_overlays(frames, rows=40, columns=37)
    after = header(done(before, target)[0])
    for group, plane in ((0x6000, planes[0]), (0x6002, planes[1])):
        assert after[group, 0x0100].value == 1
        assert after[group, 0x0102].value == 0
        packed = np.packbits(plane.ravel(), bitorder="little").tobytes()
        assert after[group, 0x3000].value == packed + bytes(len(packed) % 2)
    assert np.array_equal(pixels_of(done(done(before, target)[0], EXPLICIT_LE)[0]), samples)


def test_overlays_in_unused_bits_stay_where_bytes_are_copied():
    before, _, _ = with_overlays()
    for target in (IMPLICIT_LE, DEFLATED):
        assert (
            pydicom.dcmread(io.BytesIO(done(before, target)[0])).PixelData
            == pydicom.dcmread(io.BytesIO(before)).PixelData
        )


def test_overlays_in_the_unused_bits_of_rle_are_taken_out_of_it():
    _, samples, planes = with_overlays()
    ds = image(samples | planes[0] << 12 | planes[1] << 15, stored=16)
    ds.BitsStored, ds.HighBit = 12, 11
    _describe_overlays(ds)
    raw = (samples | planes[0] << 12 | planes[1] << 15).astype("<u2").tobytes()
    encoded = rle.utils.encode_pixel_data(raw, byteorder="<", rows=9, columns=7, samples_per_pixel=1, bits_allocated=16)
    made = with_codestreams(ds, [encoded], syntax=RLE_LOSSLESS.uid)
    after = pydicom.dcmread(io.BytesIO(done(made, EXPLICIT_LE)[0]))
    assert np.array_equal(after.pixel_array, samples[0])
    assert np.array_equal(after.overlay_array(0x6002), planes[1][0])


# -- single bits, many bits, no bits -----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [JPEG2000_LOSSLESS, HTJ2K_LOSSLESS, DEFLATED_FRAMES], ids=name)
@pytest.mark.parametrize(("frames", "columns"), [(1, 48), (3, 37)])
def test_single_bits_go_through_codecs_that_have_them_and_come_back_byte_for_byte(target, frames, columns, tmp_path):
    bits = np.random.default_rng(4).integers(0, 2, (frames, 41, columns), "u1")
    ds = image(bits, allocated=8, stored=8)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 1, 1, 0
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    ds.PixelData = packed + bytes(len(packed) % 2)
    if target is HTJ2K_LOSSLESS and not any(
        not c.why_not(_pixels(ds), target, None) for c in registry.encoders(target)
    ):
        assert "8 and 16 bits only" in refusal(saved(ds), target)
        return
    after, _ = done(saved(ds), target)
    assert header(after).BitsAllocated == 1
    same_pixels(after, bits, tmp_path)
    assert pydicom.dcmread(io.BytesIO(done(after, EXPLICIT_LE)[0])).PixelData == ds.PixelData


def _pixels(ds):
    return pixels.describe(open_source(io.BytesIO(saved(ds))).header, encapsulated=False)


@pytest.mark.parametrize(
    "target", [RLE_LOSSLESS, JPEG_LOSSLESS_SV1, JPEG_LS_LOSSLESS, JPEG_XL_LOSSLESS, ENCAPSULATED_UNCOMPRESSED], ids=name
)
def test_single_bits_are_left_as_they_are_by_the_others(target):
    content = shipped("liver_1frame.dcm").read_bytes()
    assert "1" in refusal(content, target)


def test_real_deflated_segmentations_come_out_as_they_are_uncompressed():
    for content in (shared("other", "liver_deflate.dcm"), shared("other", "liver_nonbyte_aligned_deflate.dcm")):
        ds = pydicom.dcmread(content)
        frames = [zlib_bits(frame, ds) for frame in pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=3)]
        after, _ = done(content.read_bytes(), EXPLICIT_LE)
        assert np.array_equal(pixels_of(after), frames)
        again, _ = done(after, DEFLATED_FRAMES)
        assert np.array_equal(pixels_of(done(again, EXPLICIT_LE)[0]), frames)


def zlib_bits(frame, ds):
    raw = np.frombuffer(zlib.decompress(frame, -15), "u1")
    return np.unpackbits(raw, bitorder="little")[: ds.Rows * ds.Columns].reshape(ds.Rows, ds.Columns)


def test_doses_of_32_bits_go_deflated_and_nowhere_else(tmp_path):
    content = shipped("rtdose.dcm").read_bytes()
    for target in (DEFLATED, DEFLATED_FRAMES, ENCAPSULATED_UNCOMPRESSED):
        same_pixels(done(content, target)[0], pixels_of(content), tmp_path)
    for target in (RLE_LOSSLESS, JPEG_LOSSLESS_SV1, JPEG_LS_LOSSLESS, JPEG2000_LOSSLESS, JPEG_XL_LOSSLESS):
        assert "32" in refusal(content, target)


@pytest.mark.parametrize(
    ("plain", "rle"), [("rtdose.dcm", "rtdose_rle.dcm"), ("rtdose_1frame.dcm", "rtdose_rle_1frame.dcm")]
)
def test_rle_of_32_bits_is_read_all_the_same(plain, rle):
    after, _ = done(shipped(rle).read_bytes(), EXPLICIT_LE)
    assert np.array_equal(pixels_of(after), pixels_of(shipped(plain).read_bytes()))


def test_float_pixels_go_between_uncompressed_syntaxes_only():
    content = shared("other", "parametric_map_float.dcm").read_bytes()
    before = pydicom.dcmread(io.BytesIO(content))
    after = pydicom.dcmread(io.BytesIO(done(content, DEFLATED)[0]))
    assert after.FloatPixelData == before.FloatPixelData
    for target in LOSSLESS:
        assert "floating point" in refusal(content, target)


@pytest.mark.parametrize("report", ["reportsi.dcm", "test-SR.dcm", "waveform_ecg.dcm"])
def test_what_has_no_pixels_changes_its_header_and_nothing_else(report):
    before = shipped(report)
    for target in (IMPLICIT_LE, DEFLATED):
        after, _ = done(before.read_bytes(), target)
        back, _ = done(after, EXPLICIT_LE)
        expected, found = pydicom.dcmread(before), pydicom.dcmread(io.BytesIO(back))
        assert [element for element in found if element.tag.is_private is False] == [
            element for element in expected if element.tag.is_private is False and element.tag != 0xFFFCFFFC
        ]
    assert "no pixel data" in refusal(before.read_bytes(), RLE_LOSSLESS)


# -- big endian --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("big", "little"),
    [
        ("MR_small_bigendian.dcm", "MR_small.dcm"),
        ("MR_small_expb.dcm", "MR_small.dcm"),
        ("SC_rgb_small_odd_big_endian.dcm", "SC_rgb_small_odd.dcm"),
        ("rtdose_expb.dcm", "rtdose.dcm"),
        ("rtdose_expb_1frame.dcm", "rtdose_1frame.dcm"),
        ("liver_expb_1frame.dcm", "liver_1frame.dcm"),
    ],
)
@pytest.mark.parametrize("target", [EXPLICIT_LE, IMPLICIT_LE, DEFLATED_FRAMES], ids=name)
def test_big_endian_images_have_the_pixels_of_their_little_endian_twins(big, little, target, tmp_path):
    after, _ = done(shipped(big).read_bytes(), target)
    same_pixels(after, pixels_of(shipped(little).read_bytes()), tmp_path)


def test_big_endian_frames_that_begin_inside_a_word_are_found():
    samples = np.arange(27).reshape(3, 3, 3)  # three frames of nine bytes
    ds = image(samples, allocated=8, stored=8)
    ds["PixelData"].VR = "OW"
    raw = samples.astype("u1").tobytes() + b"\0"
    ds.PixelData = b"".join(raw[i : i + 2][::-1] for i in range(0, 28, 2))
    encoded, _ = done(big_endian(ds), RLE_LOSSLESS)
    assert np.array_equal(pixels_of(done(encoded, EXPLICIT_LE)[0]), samples)


def test_real_big_endian_colours_and_segments_agree_with_pydicom_and_dcmtk(tmp_path):
    content = shared("other", "big_endian_rgb16_2frames.dcm").read_bytes()
    same_pixels(done(content, JPEG_LS_LOSSLESS)[0], pydicom.dcmread(io.BytesIO(content)).pixel_array, tmp_path)
    content = shared("other", "big_endian_seg_1bit.dcm").read_bytes()
    same_pixels(done(content, DEFLATED_FRAMES)[0], pydicom.dcmread(io.BytesIO(content)).pixel_array, tmp_path)


def doses(samples):
    ds = image(samples, allocated=32, stored=32)
    ds["PixelData"].VR = "OW"
    return ds


SMOOTH = (np.add.outer(np.arange(30), np.arange(40)) * 70001 + 5)[None]
NOISE = np.random.default_rng(9).integers(0, 1 << 32, (1, 30, 40))


@pytest.mark.parametrize("samples", [SMOOTH, NOISE, np.full((1, 30, 40), 70000), np.zeros((1, 4, 4), int)])
def test_big_endian_samples_of_32_bits_are_words_of_16_bits_as_the_standard_has_it(samples):
    """PS3.5 (2016b) §6.2: OW needs byte swapping within each word."""
    ds = doses(samples)
    ds.PixelData = samples.astype("<u4").view("<u2").astype(">u2").tobytes()
    for target in (EXPLICIT_LE, DEFLATED_FRAMES):
        after, facts = done(big_endian(ds), target)
        assert np.array_equal(pixels_of(done(after, IMPLICIT_LE)[0]), samples)
        assert not facts.note


@pytest.mark.skipif(shutil.which("dcmconv") is None, reason="dcmconv (dcmtk) is not on the PATH")
def test_big_endian_doses_that_dcmtk_wrote_are_those_it_was_given(tmp_path):
    made = tmp_path / "big.dcm"
    subprocess.run(["dcmconv", "+tb", shipped("rtdose.dcm"), made], check=True, timeout=60)
    after, facts = done(made.read_bytes(), EXPLICIT_LE)
    assert np.array_equal(pixels_of(after), pixels_of(shipped("rtdose.dcm").read_bytes()))
    assert not facts.note


def test_big_endian_samples_that_were_turned_whole_are_read_so_and_the_receipt_says_it():
    ds = doses(SMOOTH)
    ds.PixelData = SMOOTH.astype(">u4").tobytes()
    made = big_endian(ds)
    for content, expected in (
        (made, SMOOTH),
        (shipped("rtdose_expb.dcm").read_bytes(), pixels_of(shipped("rtdose.dcm").read_bytes())),
    ):
        for target in (EXPLICIT_LE, ENCAPSULATED_UNCOMPRESSED):
            after, facts = done(content, target)
            assert np.array_equal(pixels_of(done(after, IMPLICIT_LE)[0]), expected)
            assert "turned whole" in facts.note


def test_every_number_of_a_big_endian_header_is_turned_by_its_vr():
    numbers = {
        "OW": (0x00281201, struct.pack(">3H", 1, 2, 3), struct.pack("<3H", 1, 2, 3)),
        "OF": (0x00720067, struct.pack(">2f", 1.5, -2), struct.pack("<2f", 1.5, -2)),
        "OL": (0x00660040, struct.pack(">2I", 1, 70000), struct.pack("<2I", 1, 70000)),
        "OD": (0x00720073, struct.pack(">d", 2.5), struct.pack("<d", 2.5)),
        "OV": (0x00720081, struct.pack(">Q", 1 << 40), struct.pack("<Q", 1 << 40)),
        "OB": (0x00420011, b"\1\2\3\4", b"\1\2\3\4"),
    }
    inner = Dataset()
    inner.WaveformBitsAllocated = 16
    inner.add_new(0x54001010, "OW", struct.pack(">4h", -1, 2, -3, 4))
    ds = image(rows=1, columns=2)
    ds.WaveformSequence = Sequence([inner])
    ds.add_new(0x00189301, "FD", 3.25)
    ds.add_new(0x00280009, "AT", 0x00181063)
    ds.add_new(0x60003000, "OW", struct.pack(">2H", 0x1234, 5))
    for vr, (tag, value, _) in numbers.items():
        ds.add_new(tag, vr, value)
    ds.PixelData = struct.pack(">2H", 7, 4000)
    after = pydicom.dcmread(io.BytesIO(done(big_endian(ds), EXPLICIT_LE)[0]))
    for vr, (tag, _, value) in numbers.items():
        assert after[tag].value == value, vr
    assert after.WaveformSequence[0][0x54001010].value == struct.pack("<4h", -1, 2, -3, 4)
    assert after.WaveformSequence[0].WaveformBitsAllocated == 16
    assert after[0x00189301].value == 3.25
    assert after[0x00280009].value == 0x00181063
    assert after[0x60003000].value == struct.pack("<2H", 0x1234, 5)
    assert after.pixel_array.tolist() == [[7, 4000]]


# -- colour ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("target", "options", "said"), [
    (JPEG2000_LOSSLESS, None, "YBR_RCT"), (HTJ2K_LOSSLESS, None, "YBR_RCT"), (JPEG2000, GOOD, "YBR_ICT"), (HTJ2K, GOOD, "YBR_ICT"),
    (RLE_LOSSLESS, None, "RGB"), (JPEG_LOSSLESS_SV1, None, "RGB"), (JPEG_LS_LOSSLESS, None, "RGB"), (JPEG_XL_LOSSLESS, None, "RGB"),
    (JPEG_BASELINE, GOOD, "YBR_FULL_422"), (JPEG_XL_RECOMPRESSION, GOOD, "YBR_FULL_422"), (JPEG_XL, GOOD, "XYB"),
])  # fmt: skip
def test_rgb_is_decorrelated_and_the_header_says_how(target, options, said):
    after, _ = done(saved(rgb()), target, options)
    assert header(after).PhotometricInterpretation == said
    assert header(done(after, EXPLICIT_LE)[0]).PhotometricInterpretation == "RGB"


def test_the_multi_component_transform_makes_colour_smaller():
    grey = np.random.default_rng(5).integers(0, 200, (1, 64, 64, 1))
    coloured = saved(image(np.concatenate([grey, grey + 9, grey + 3], axis=3), allocated=8, stored=8))
    separate = imagecodecs.jpeg2k_encode(
        pixels_of(coloured)[0].copy(), level=0, codecformat="j2k", reversible=True, mct=False
    )
    assert len(done(coloured, JPEG2000_LOSSLESS)[0]) < 0.7 * len(separate)


def test_subsampled_uncompressed_colour_is_spread_over_its_pixels(tmp_path):
    content = shipped("SC_ybr_full_422_uncompressed.dcm").read_bytes()
    for target in (RLE_LOSSLESS, JPEG2000_LOSSLESS, JPEG_LOSSLESS_SV1, JPEG_LS_LOSSLESS):
        after, _ = done(content, target)
        assert header(after).PhotometricInterpretation == "YBR_FULL"
        found, _ = judged(after, tmp_path)
        assert np.array_equal(found, pixels_of(content))
    copied, _ = done(content, ENCAPSULATED_UNCOMPRESSED)
    assert header(copied).PhotometricInterpretation == "YBR_FULL_422"
    assert np.array_equal(judged(copied, tmp_path)[0], pixels_of(content))


@pytest.mark.parametrize("name_", ["SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_rgb_dcmtk_+eb+cy+s2.dcm", "SC_rgb_dcmtk_+eb+cy+n1.dcm",
    "SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_jpeg_dcmtk.dcm", "SC_rgb_small_odd_jpeg.dcm", "SC_rgb_jpeg_app14_dcmd.dcm",
    "SC_jpeg_no_color_transform.dcm", "SC_jpeg_no_color_transform_2.dcm", "examples_ybr_color.dcm"])  # fmt: skip
def test_jpeg_colours_come_out_as_rgb_whatever_the_markers_say(name_):
    path = shipped(name_)
    after, _ = done(path.read_bytes(), EXPLICIT_LE)
    assert header(after).PhotometricInterpretation == "RGB"
    ds = pydicom.dcmread(path)
    frame = next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=int(ds.get("NumberOfFrames", 1))))
    jpeg = imagecodecs.jpeg8_decode(frame)  # libjpeg's own reading of the markers
    if "no_color" not in name_ and "cr.dcm" not in name_:
        assert np.abs(pixels_of(after)[0].astype(int) - jpeg).max() <= 1
    else:
        raw = imagecodecs.jpeg8_decode(frame, colorspace="rgb", outcolorspace="rgb")
        assert np.array_equal(pixels_of(after)[0], raw)


@pytest.mark.parametrize("target", LOSSLESS, ids=name)
def test_palette_indices_stay_as_they_are_and_are_never_compressed_with_loss(target, tmp_path):
    content = shipped("examples_palette.dcm").read_bytes()
    after, _ = done(content, target)
    assert header(after).PhotometricInterpretation == "PALETTE COLOR"
    assert header(after).RedPaletteColorLookupTableData == header(content).RedPaletteColorLookupTableData
    same_pixels(after, pixels_of(content), tmp_path)
    for lossy in LOSSY:
        assert "palette" in refusal(content, lossy, GOOD)


def test_jpeg_ls_by_plane_is_read_alike_by_both_libraries():
    ds = pydicom.dcmread(shared("other", "JLSN_RGB_ILV0.dcm"), force=True)
    (frame,) = pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1)
    made = with_codestreams(
        image(rows=256, columns=256, spp=3, allocated=8, stored=8), [frame], syntax=JPEG_LS_NEAR.uid
    )
    stream = registry.decoders(JPEG_LS_NEAR)[0].inspect(
        frame, pixels.describe(open_source(io.BytesIO(made)).header, encapsulated=True), JPEG_LS_NEAR
    )
    one, other = (codec.decode(stream) for codec in registry.decoders(JPEG_LS_NEAR))
    assert np.array_equal(one, other)
    assert np.array_equal(pixels_of(done(made, EXPLICIT_LE)[0])[0], one)


# -- lengths and structure ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", LOSSLESS, ids=name)
def test_odd_lengths_are_padded_and_frames_are_found_by_their_table(target, tmp_path):
    # Pyjpegls, the encoder on Python 3.11, gives small images of noise too small a buffer; this is a slope.
    samples = np.stack([(np.add.outer(np.arange(33), np.arange(33)) + 7 * frame) % 256 for frame in range(3)])
    before = saved(image(samples, allocated=8, stored=8))
    after, _ = done(before, target)
    ds = pydicom.dcmread(io.BytesIO(after))
    offsets = pydicom.encaps.parse_basic_offsets(ds.PixelData)
    assert len(offsets) == 3
    assert all(len(fragment) % 2 == 0 for fragment in pydicom.encaps.generate_fragments(ds.PixelData))
    same_pixels(after, pixels_of(before), tmp_path)


def test_what_trails_the_pixels_is_left_out_and_said():
    ds = image(rows=4, columns=4)
    before = saved(ds)
    expected = pixels_of(before)
    ds.PixelData += bytes(4)
    after, facts = done(saved(ds), RLE_LOSSLESS)
    assert facts.note == "4 bytes after the last frame of the source were left out"
    assert np.array_equal(pixels_of(done(after, EXPLICIT_LE)[0]), expected)
    assert not done(before, RLE_LOSSLESS)[1].note


def test_short_pixel_data_is_refused_whatever_the_target():
    for target in LOSSLESS:
        assert "need" in refusal(saved(image(PixelData=bytes(20))), target)


def test_many_fragments_that_are_frames_are_not_joined_into_one():
    frames = [done(saved(image(seed=n)), RLE_LOSSLESS)[0] for n in range(3)]
    streams = [fragments_of(content)[0] for content in frames]
    made = with_codestreams(image(), streams, syntax=RLE_LOSSLESS.uid)
    assert "NumberOfFrames is 1" in refusal(made, EXPLICIT_LE)
    unmarked = with_codestreams(image(frames=2), [bytes(70)] * 3, syntax=ENCAPSULATED_UNCOMPRESSED.uid, table=False)
    assert "no offset table" in refusal(unmarked, EXPLICIT_LE)


def test_a_result_over_4_gib_is_refused_uncompressed_before_anything_is_decoded():
    ds = image(rows=40, columns=50)
    (stream,) = fragments_of(done(saved(ds), JPEG_LOSSLESS_SV1)[0])
    ds.NumberOfFrames = 4
    ds.Rows = ds.Columns = 32768
    large = stream.replace(struct.pack(">2H", 40, 50), struct.pack(">2H", 32768, 32768), 1)
    assert "over the 4 GiB" in refusal(with_codestreams(ds, [large] * 4, syntax=JPEG_LOSSLESS_SV1.uid), EXPLICIT_LE)


def test_a_jpeg_whose_differences_leave_the_range_is_read_modulo():
    """T.81 §H.1.2.1 counts modulo 2^16; ultrasound systems use it (see reference, the modulo trap)."""
    true = np.random.default_rng(6).integers(0, 4096, (40, 50))
    beyond = (true + 4096 * np.random.default_rng(7).integers(0, 3, true.shape) + 30720) % 65536
    stream = bytearray(imagecodecs.jpeg8_encode(beyond.astype("u2"), lossless=True, predictor=1, bitspersample=16))
    at = stream.index(b"\xff\xc3")
    assert stream[at + 4] == 16
    stream[at + 4] = 12  # the first sample is predicted as 2^11 instead of 2^15: the 30720 above
    made = with_codestreams(image(true[None], stored=12), [bytes(stream)], syntax=JPEG_LOSSLESS_SV1.uid)
    assert np.array_equal(pixels_of(done(made, EXPLICIT_LE)[0])[0], true)


def test_group_lengths_and_trailing_padding_are_left_out():
    ds = image()
    ds.add_new(0x00080000, "UL", 12345)
    ds.add_new(0xFFFCFFFC, "OB", bytes(64))
    after = header(done(saved(ds), RLE_LOSSLESS)[0])
    assert 0x00080000 not in after
    assert 0xFFFCFFFC not in after


# -- headers -----------------------------------------------------------------------------------------------------------


def raw_elements(content):
    """Return tag → bytes as they stand in the file, of all elements but sequences and what says how the samples are laid out."""
    ds = pydicom.dcmread(io.BytesIO(content))
    left_out = {0x7FE00010, 0x00280004, 0x00280006, 0xFFFCFFFC}
    return {
        tag: ds.get_item(tag).value or b""
        for tag in ds.keys() - left_out
        if pydicom.datadict.dictionary_has_tag(tag) and pydicom.datadict.dictionary_VR(tag) != "SQ"
    }


@pytest.mark.parametrize("name_", ["chrH31.dcm", "chrH32.dcm", "chrI2.dcm", "chrX1.dcm", "chrX2.dcm", "chrFrenMulti.dcm",
    "chrJapMulti.dcm", "chrKoreanMulti.dcm", "chrArab.dcm", "chrRuss.dcm"])  # fmt: skip
def test_text_in_any_character_set_keeps_its_bytes_through_every_kind_of_syntax(name_):
    source = pydicom.data.get_charset_files(name_)[0]
    ds = pydicom.dcmread(source)
    picture = image(rows=40, columns=40, spp=3, allocated=8, stored=8)
    for element in picture:  # real text, around an image that can be compressed
        if element.tag.group in (0x0028, 0x7FE0):
            ds[element.tag] = element
    ds.SOPClassUID, ds.SOPInstanceUID = picture.SOPClassUID, "1.2.3.4.5"
    before = saved(ds)
    wanted = raw_elements(before)
    assert wanted[0x00100010] == pydicom.dcmread(source).get_item(0x00100010).value
    made = before
    for target in (IMPLICIT_LE, JPEG2000_LOSSLESS, DEFLATED, RLE_LOSSLESS, JPEG_LOSSLESS_SV1, EXPLICIT_LE):
        made, _ = done(made, target)
        assert raw_elements(made) == wanted, target.keyword
        assert header(made).PatientName == pydicom.dcmread(source).PatientName


@pytest.mark.parametrize("name_", ["chrSQEncoding.dcm", "chrSQEncoding1.dcm"])
def test_text_in_sequences_with_a_character_set_of_their_own_is_left_alone(name_):
    source = pydicom.data.get_charset_files(name_)[0]
    first = next(target for target in (EXPLICIT_LE, IMPLICIT_LE) if target.uid != header_of(source).TransferSyntaxUID)
    made, _ = done(Path(source).read_bytes(), first)
    for target in (DEFLATED, IMPLICIT_LE if first is EXPLICIT_LE else EXPLICIT_LE):
        made, _ = done(made, target)
    names = [
        [str(e.value) for e in pydicom.dcmread(file).iterall() if e.VR == "PN"] for file in (source, io.BytesIO(made))
    ]
    assert names[0] == names[1] != []


def header_of(source):
    return pydicom.dcmread(source, stop_before_pixels=True).file_meta


def nested(depth, *, undefined):
    """Return sequences inside one another, written as they are, so that nothing else has to be able to nest them so deep."""
    value = struct.pack("<HH2sH", 0x0008, 0x0104, b"LO", 10) + b"innermost "
    for _ in range(depth):
        if undefined:
            value = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + value + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
            value += struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
            value = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF) + value
        else:
            value = struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value
            value = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, len(value)) + value
    content = saved(image(rows=40, columns=40))
    at = content.index(b"\xe0\x7f\x10\x00")
    return content[:at] + value + content[at:]


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("target", [JPEG2000_LOSSLESS, IMPLICIT_LE], ids=name)
def test_deeply_nested_sequences_come_through_or_are_refused_in_words(target, undefined):
    shallow, _ = done(nested(20, undefined=undefined), target)
    assert b"innermost " in shallow
    assert pixels_of(done(shallow, EXPLICIT_LE)[0]).shape == (1, 40, 40)
    for depth in (70, 3000):
        content = nested(depth, undefined=undefined)
        if undefined or (target is IMPLICIT_LE and depth == 3000):
            assert re.search("nested (too|more than)", refusal(content, target))
        else:  # where nothing has to be looked into, whatever the depth
            assert b"innermost " in done(content, target)[0]


# -- codestreams that header or decoder contradict ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "codec"), [("J2K_pixelrep_mismatch.dcm", "pylibjpeg"), ("JLSL_16_15_1_1F.dcm", "pyjpegls")]
)
def test_the_codestreams_sign_and_precision_are_trusted_and_the_headers_sign_is_what_values_mean(
    place, codec, tmp_path
):
    path = shipped(place)
    ds = pydicom.dcmread(path)
    after, facts = done(path.read_bytes(), EXPLICIT_LE)
    for keyword in ("BitsStored", "HighBit", "PixelRepresentation", "BitsAllocated"):
        assert header(after)[keyword].value == ds[keyword].value, keyword
    assert np.array_equal(pixels_of(after)[0], pydicom.pixels.pixel_array(path, decoding_plugin=codec))
    again, twice = done(after, RLE_LOSSLESS)
    assert twice.pixel_hash_after == facts.pixel_hash_after
    same_pixels(again, pixels_of(after), tmp_path)


@pytest.mark.parametrize("bits", [8, 12])
def test_htj2k_with_loss_stays_within_the_range_of_its_samples(bits):
    """imagecodecs' decoder lets what lies beyond wrap round (255 becomes 0); it must not be the one that reads it."""
    if bits == 12 and not HAS_PRECISION:
        pytest.skip(f"needs {NEWER}")
    top = (1 << bits) - 1
    board = np.where(np.add.outer(np.arange(64), np.arange(64)) % 2, top, 0)[None]
    ds = image(board, allocated=8 if bits == 8 else 16, stored=bits)
    after, facts = done(saved(ds), HTJ2K, EncodeOptions(quality=80))
    assert "imagecodecs" not in facts.verified_by
    found = pixels_of(done(after, EXPLICIT_LE)[0]).astype(int)
    assert found.min() >= 0
    assert found.max() <= top
    assert np.abs(found - board).max() < top // 4


def test_a_real_htj2k_with_loss_is_what_openjpeg_reads(tmp_path):
    content = shared("other", "HTJ2K_08_RGB.dcm").read_bytes()
    assert [codec.NAME for codec in registry.decoders(HTJ2K)] == ["pylibjpeg-openjpeg"]
    assert np.array_equal(pixels_of(done(content, EXPLICIT_LE)[0]), judged(content, tmp_path)[0])


# -- pairs that need no samples ----------------------------------------------------------------------------------------


def fragments_of(content):
    ds = pydicom.dcmread(io.BytesIO(content))
    count = int(ds.get("NumberOfFrames", 1))
    return list(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=count))


def test_jpeg_goes_into_jpeg_xl_and_comes_out_bit_by_bit():
    before = shipped("examples_ybr_color.dcm").read_bytes()
    recompressed, facts = done(before, JPEG_XL_RECOMPRESSION)
    assert header(recompressed).PhotometricInterpretation == "YBR_FULL_422"
    assert header(recompressed).SOPInstanceUID == header(before).SOPInstanceUID
    assert facts.verified_by == "every JPEG restored bit by bit and compared"
    assert len(recompressed) < len(before)
    back, _ = done(recompressed, JPEG_BASELINE)
    assert [f.rstrip(b"\0") for f in fragments_of(back)] == [f.rstrip(b"\0") for f in fragments_of(before)]
    decoded = pixels_of(done(recompressed, EXPLICIT_LE)[0])
    assert np.array_equal(decoded, pixels_of(done(before, EXPLICIT_LE)[0]))


def test_a_real_recompressed_jpeg_is_restored():
    back, _ = done(shared("other", "jpegxl_recompression_111_27frames.dcm").read_bytes(), JPEG_BASELINE)
    assert len(fragments_of(back)) == 27
    assert all(frame.startswith(b"\xff\xd8") for frame in fragments_of(back))


def test_lossless_jpeg_with_predictor_1_is_relabelled_to_any_predictor():
    before = shipped("SC_rgb_jpeg_gdcm.dcm").read_bytes()
    after, facts = done(before, JPEG_LOSSLESS)
    assert fragments_of(after) == fragments_of(before)
    assert facts.verified_by == "codestreams unchanged"


def test_frames_move_between_raw_syntaxes_without_being_looked_into():
    before = saved(image(rows=4, columns=4, frames=3, spp=3, planar=1, stored=16))
    moved = before
    for target in (ENCAPSULATED_UNCOMPRESSED, DEFLATED_FRAMES, IMPLICIT_LE, DEFLATED, EXPLICIT_LE):
        moved, facts = done(moved, target)
        assert facts.codec == "none"
        assert header(moved).PlanarConfiguration == 1
    assert pydicom.dcmread(io.BytesIO(moved)).PixelData == pydicom.dcmread(io.BytesIO(before)).PixelData


# -- lossy -------------------------------------------------------------------------------------------------------------


def test_lossless_keeps_the_uid_and_lossy_gets_one_of_its_own_with_where_it_comes_from():
    ds = image(rows=40, columns=40, ImageType=["ORIGINAL", "PRIMARY", "AXIAL"], DerivationDescription="earlier")
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    before = saved(ds)
    assert header(done(before, JPEG2000_LOSSLESS)[0]).SOPInstanceUID == "1.2.3.4.5"
    after, facts = done(before, JPEG2000, EncodeOptions(quality=50))
    made = header(after)
    assert made.SOPInstanceUID.startswith("2.25.")
    assert made.file_meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID
    (source,) = made.SourceImageSequence
    assert (source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID) == (ds.SOPClassUID, "1.2.3.4.5")
    assert made.DerivationCodeSequence[0].CodeValue == "113040"
    assert list(made.ImageType) == ["DERIVED", "PRIMARY", "AXIAL"]
    assert made.DerivationDescription.startswith("earlier; Compressed with loss to JPEG 2000")
    assert made.LossyImageCompression == "01"
    assert made.LossyImageCompressionMethod == "ISO_15444_1"
    size = sum(map(len, fragments_of(after)))
    assert float(made.LossyImageCompressionRatio) == pytest.approx(3200 / size, rel=0.01)
    assert "PSNR" in facts.verified_by


def test_a_second_loss_is_appended_to_the_first():
    once, _ = done(saved(rgb()), JPEG_BASELINE, GOOD)
    for target in (JPEG2000, JPEG_LS_NEAR):
        twice = header(done(once, target, GOOD)[0])
        assert len(twice.LossyImageCompressionRatio) == 2
        assert twice.LossyImageCompressionMethod[0] == "ISO_10918_1"
        assert [item.ReferencedSOPInstanceUID for item in twice.SourceImageSequence] == [
            "1.2.3.4.5",
            header(once).SOPInstanceUID,
        ]
    for target in (EXPLICIT_LE, RLE_LOSSLESS):
        assert header(done(once, target)[0]).LossyImageCompression == "01"


def test_the_uid_of_a_lossy_result_follows_from_what_its_pixels_depend_on():
    def uid(content, target=JPEG2000, **options):
        return header(done(content, target, EncodeOptions(**options))[0]).SOPInstanceUID

    one, other = saved(image(rows=40, columns=40)), saved(image(rows=40, columns=40, seed=1))
    assert uid(one, quality=50) == uid(one, quality=50)
    different = {uid(one, quality=50), uid(one, quality=51), uid(other, quality=50), uid(one, JPEG_LS_NEAR, quality=50)}
    assert len(different) == 4
    keys = bytes(32), b"1" * 32
    with_keys = {uid(content, quality=50, identity=key) for content in (one, other) for key in keys}
    assert len(with_keys) == 2  # the caller's key stands for the file
    assert not with_keys & different


@pytest.mark.parametrize(("target", "options", "says"), [
    (JPEG2000, {}, "exactly one"), (JPEG2000, {"quality": 50, "ratio": 5}, "exactly one"), (JPEG2000, {"quality": 0}, "1 to 100"),
    (JPEG2000, {"quality": 101}, "1 to 100"), (JPEG_BASELINE, {"ratio": 5}, "give"), (JPEG2000, {"near": 2}, "give"),
    (JPEG2000, {"ratio": 1}, "above 1"), (JPEG_LS_NEAR, {"near": 256}, "1 to 255"), (JPEG2000, {"quality": 5, "identity": b"x"}, "32 bytes"),
    (JPEG2000_LOSSLESS, {"quality": 50}, "loses nothing"),
])  # fmt: skip
def test_options_that_do_not_suit_are_refused(target, options, says):
    assert says in refusal(saved(image(rows=40, columns=40)), target, EncodeOptions(**options))


def test_near_is_kept_sample_by_sample(tmp_path):
    before = saved(image(rows=40, columns=40))
    for near in (1, 7, 100):
        after, facts = done(before, JPEG_LS_NEAR, EncodeOptions(near=near))
        found, _ = judged(after, tmp_path)
        assert np.abs(found.astype(int) - pixels_of(before)).max() <= near
        assert "largest error" in facts.verified_by


def test_a_ratio_is_reached_as_gdcm_reads_it_too(tmp_path):
    before = shipped("CT_small.dcm").read_bytes()
    after, _ = done(before, JPEG2000, EncodeOptions(ratio=10))
    assert 128 * 128 * 2 / sum(map(len, fragments_of(after))) == pytest.approx(10, rel=0.1)
    assert judged(after, tmp_path)[0].shape == (1, 128, 128)


@pytest.mark.parametrize("target", LOSSY, ids=name)
def test_more_quality_is_nearer_and_larger(target, tmp_path):
    ramp = np.add.outer(np.arange(64), 2 * np.arange(80)) % 256
    ramp[20:40, 30:50] = 200
    ramp = np.clip(ramp + np.random.default_rng(8).integers(-9, 9, ramp.shape), 0, 255)
    before = saved(image(ramp[None], allocated=8, stored=8))
    sizes, errors = [], []
    for quality in (10, 60, 95):
        after, _ = done(before, target, EncodeOptions(quality=quality))
        found = judged(after, tmp_path)
        samples = found[0] if found else pixels_of(done(after, EXPLICIT_LE)[0])
        sizes.append(sum(map(len, fragments_of(after))))
        errors.append(float(((samples.astype(float) - pixels_of(before)) ** 2).mean()))
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 8


def test_jpeg_of_10_bits_becomes_one_of_12_and_says_so(tmp_path):
    before = saved(image(np.full((1, 40, 40), 1023), stored=10))
    after, _ = done(before, JPEG_EXTENDED, GOOD)
    assert (header(after).BitsStored, header(after).HighBit) == (12, 11)
    assert np.abs(judged(after, tmp_path)[0].astype(int) - 1023).max() <= 8


def test_signed_samples_near_the_end_of_their_range_are_not_turned_by_near_lossless():
    samples = np.array([[[-2048, -2047] * 20] * 40])
    assert "turn their sign" in refusal(
        saved(image(samples, stored=12, signed=True)), JPEG_LS_NEAR, EncodeOptions(near=3)
    )
    middle = saved(image(samples + 1000, stored=12, signed=True))
    back = pixels_of(done(done(middle, JPEG_LS_NEAR, EncodeOptions(near=3))[0], EXPLICIT_LE)[0])
    assert np.abs(back - (samples + 1000)).max() <= 3


def test_a_loss_after_a_loss_in_the_same_syntax_is_appended_in_its_order():
    once, _ = done(saved(rgb()), JPEG_BASELINE, EncodeOptions(quality=95))
    twice, _ = done(once, JPEG_BASELINE, EncodeOptions(quality=20))
    first, second = header(once), header(twice)
    assert list(second.LossyImageCompressionMethod) == ["ISO_10918_1", "ISO_10918_1"]
    assert second.LossyImageCompressionRatio[0] == first.LossyImageCompressionRatio
    assert second.LossyImageCompressionRatio[1] > first.LossyImageCompressionRatio
    assert second.SOPInstanceUID != first.SOPInstanceUID


def lossy_elsewhere(**elements):
    """Return an image that another program compressed with loss, with what its header says of that."""
    ramp = (np.add.outer(np.arange(64), np.arange(64)) % 4096).astype("u2")
    stream = imagecodecs.jpeg2k_encode(ramp, level=40, codecformat="j2k", reversible=False, bitspersample=12)
    return with_codestreams(image(rows=64, columns=64, **elements), [stream], syntax=JPEG2000.uid), len(stream)


@pytest.mark.parametrize(
    ("said", "methods", "ratios"),
    [
        ({}, ["ISO_15444_1"], ["own"]),
        ({"LossyImageCompression": "01"}, ["ISO_15444_1"], ["own"]),
        ({"LossyImageCompressionMethod": "ISO_15444_1"}, ["ISO_15444_1"], ["own"]),
        ({"LossyImageCompressionRatio": "9.5"}, ["ISO_15444_1"], [9.5]),
        ({"LossyImageCompressionRatio": ["4", "9.5"]}, ["", "ISO_15444_1"], [4, 9.5]),
        (
            {"LossyImageCompressionMethod": ["ISO_10918_1", "ISO_15444_1"], "LossyImageCompressionRatio": "4"},
            ["ISO_10918_1", "ISO_15444_1"],
            [4],
        ),
    ],
)
def test_each_ratio_of_compression_stands_beside_its_method(said, methods, ratios):
    """PS3.3 §C.7.6.1.1.5.2: their values correspond in order."""
    content, size = lossy_elsewhere(**said)
    expected = [pytest.approx(64 * 64 * 2 / size, rel=0.01) if ratio == "own" else ratio for ratio in ratios]
    plain, _ = done(content, EXPLICIT_LE)
    assert header(plain).LossyImageCompression == "01"
    assert values(plain, "LossyImageCompressionMethod") == methods
    assert values(plain, "LossyImageCompressionRatio") == expected
    for source in (plain, content):
        again, _ = done(source, JPEG_LS_NEAR, GOOD)
        assert values(again, "LossyImageCompressionMethod") == [*methods, "ISO_14495_1"]
        found = values(again, "LossyImageCompressionRatio")
        assert found[: len(expected)] == expected
        assert found[len(expected) : -1] == [""] * (len(methods) - len(expected))
        assert float(found[-1]) > 1


def values(content, keyword):
    found = header(content)[keyword].value
    return list(found) if isinstance(found, pydicom.multival.MultiValue) else [found]


def functional(**places):
    """Return an enhanced CT of two frames; `places` are the items of its functional groups."""
    ds = image(rows=40, columns=40, frames=2, ImageType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    kind = pydicom.Dataset()
    kind.FrameType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    ds.SharedFunctionalGroupsSequence = [places.get("shared", pydicom.Dataset())]
    ds.SharedFunctionalGroupsSequence[0].CTImageFrameTypeSequence = [kind]
    ds.PerFrameFunctionalGroupsSequence = places.get("frames", [pydicom.Dataset(), pydicom.Dataset()])
    return ds


def derivation():
    source = pydicom.Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.3.9"
    item = pydicom.Dataset()
    item.DerivationDescription, item.SourceImageSequence = "earlier", [source]
    groups = pydicom.Dataset()
    groups.DerivationImageSequence = [item]
    return groups


@pytest.mark.parametrize("where", ["nowhere", "shared", "frames"])
def test_the_functional_groups_say_what_their_frames_are_derived_from(where):
    places = {"shared": derivation()} if where == "shared" else {}
    if where == "frames":
        places = {"frames": [derivation(), pydicom.Dataset()]}
    made = header(done(saved(functional(**places)), JPEG2000, EncodeOptions(quality=50))[0])
    shared, frames = made.SharedFunctionalGroupsSequence[0], made.PerFrameFunctionalGroupsSequence
    assert shared.CTImageFrameTypeSequence[0].FrameType[0] == made.ImageType[0] == "DERIVED"
    groups = list(frames) if where == "frames" else [shared]
    assert [len(group.DerivationImageSequence) for group in groups] == {
        "nowhere": [1], "shared": [2], "frames": [2, 1],
    }[where]  # fmt: skip
    assert not any("DerivationImageSequence" in one for one in ([shared] if where == "frames" else frames))
    for group in groups:
        last = group.DerivationImageSequence[-1]
        assert last.DerivationCodeSequence[0].CodeValue == "113040"
        assert last.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.3.4.5"
        assert last.SourceImageSequence[0].PurposeOfReferenceCodeSequence[0].CodeValue == "121320"
    (study,) = made.SourceImageEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert (study.StudyInstanceUID, series.SeriesInstanceUID) == ("1.2.3", "1.2.3.4")
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3.4.5"


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not on the PATH")
@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "examples_rgb_color.dcm", "enhanced, in the shared group", "enhanced, in the frames"]
)
def test_dciodvfy_finds_nothing_in_a_lossy_result_that_it_does_not_find_in_its_source(name, tmp_path):
    def errors(content):
        path = tmp_path / "file.dcm"
        path.write_bytes(content)
        run = subprocess.run(["dciodvfy", str(path)], capture_output=True, timeout=60, check=False)
        said = run.stderr.decode(errors="replace").splitlines()
        assert said
        return {line for line in said if line.startswith("Error")}

    made = {"enhanced, in the shared group": {}, "enhanced, in the frames": {"frames": [derivation(), derivation()]}}
    before = saved(functional(**made[name])) if name in made else shipped(name).read_bytes()
    after, _ = done(before, JPEG2000, EncodeOptions(quality=80))
    assert errors(after) - errors(before) == set()
