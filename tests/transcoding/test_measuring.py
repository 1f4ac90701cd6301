"""What the samples of an image come to, against numpy and pydicom alone, whatever the image is stored as."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.pixels import convert_color_space
from transcoding_images import big_endian, done, image, instance_file, pixels_of, saved, shipped, with_codestreams

from hostd.dicom.syntaxes import ALL, DEFLATED, JPEG_BASELINE, lookup
from hostd.errors import CannotTranscodeError
from hostd.sandbox.frames import MAX_BINS
from hostd.transcoding import measuring, registry
from hostd.transcoding.measuring import measure
from hostd.transcoding.options import EncodeOptions

KINDS = {
    "12 of 16 bits": {},
    "signed 12 of 16 bits": {"signed": True},
    "16 bits": {"stored": 16},
    "signed 16 bits": {"stored": 16, "signed": True},
    "8 bits": {"allocated": 8, "stored": 8},
    "5 of 8 bits": {"allocated": 8, "stored": 5},
    "signed 8 bits": {"allocated": 8, "stored": 8, "signed": True},
    "32 bits": {"allocated": 32, "stored": 32},
    "signed 32 bits": {"allocated": 32, "stored": 32, "signed": True},
    "20 of 32 bits": {"allocated": 32, "stored": 20},
    "colours": {"spp": 3, "allocated": 8, "stored": 8},
    "colours by plane": {"spp": 3, "allocated": 8, "stored": 8, "planar": 1},
    "colours of 16 bits": {"spp": 3, "stored": 16},
    "many frames": {"frames": 5},
    "palette": {"allocated": 8, "stored": 8, "PhotometricInterpretation": "PALETTE COLOR"},
    "inverse": {"PhotometricInterpretation": "MONOCHROME1", "RescaleSlope": "2", "RescaleIntercept": "-1024"},
}


def measured(content):
    return measure(io.BytesIO(content))


def refusal(content):
    with pytest.raises(CannotTranscodeError) as caught:
        measured(content)
    return str(caught.value)


def assert_facts(facts, values):
    """Hold the facts to what numpy says of the values."""
    values = np.asarray(values, "i8").ravel()
    assert (facts.min, facts.max) == (values.min(), values.max())
    assert facts.mean == pytest.approx(values.mean())
    assert len(facts.histogram) <= MAX_BINS
    edges = facts.min + facts.bin_width * np.arange(len(facts.histogram) + 1)
    assert edges[-2] <= facts.max < edges[-1]
    expected = [((values >= low) & (values < high)).sum() for low, high in pairwise(edges)]
    assert list(facts.histogram) == expected
    assert facts.bin_width == 1 or len(facts.histogram) > MAX_BINS // 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_facts_are_those_of_the_stored_values(kind):
    content = saved(image(rows=20, columns=30, **KINDS[kind]))
    facts = measured(content)
    assert_facts(facts, pixels_of(content))
    assert not facts.is_blank


def test_an_image_is_seen_in_parts_and_all_of_it(monkeypatch):
    monkeypatch.setattr(measuring, "_PART", 7)
    for kind in ("12 of 16 bits", "signed 32 bits", "colours", "many frames"):
        content = saved(image(**KINDS[kind]))
        assert_facts(measured(content), pixels_of(content))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(-(1 << 15), (1 << 15) - 1), min_size=12, max_size=12),
    st.sampled_from([16, 32]),
    st.booleans(),
)
def test_whatever_the_values_are(values, allocated, padded):
    samples = np.array(values).reshape(2, 3, 2)
    ds = image(samples, allocated=allocated, stored=allocated, signed=True)
    if padded:
        ds.add_new("PixelPaddingValue", "SS", values[0])
    facts = measured(saved(ds))
    assert_facts(facts, samples)
    left = set(values) - ({values[0]} if padded else set())
    assert facts.is_blank == (len(left) <= 1)


@pytest.mark.parametrize("syntax", [s for s in ALL if registry.encoders(s) and not s.is_lossy], ids=lambda s: s.keyword)
def test_the_syntax_makes_no_difference(syntax):
    for kind in ("signed 12 of 16 bits", "colours"):
        content = saved(image(rows=40, columns=50, frames=2, **KINDS[kind]))
        try:
            encoded, _ = done(content, syntax)
        except CannotTranscodeError:  # it is in that syntax already, or it has no such images
            continue
        assert measured(encoded) == measured(content)


def test_big_endian_is_read_too():
    ds = image(stored=16)
    ds.PixelPaddingValue = 300
    little = measured(saved(ds))
    ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
    assert measured(big_endian(ds)) == little


def test_single_bits_are_0_and_1():
    content = shipped("liver_1frame.dcm").read_bytes()
    facts = measured(content)
    assert_facts(facts, pixels_of(content))
    assert (facts.min, facts.max, len(facts.histogram)) == (0, 1, 2)


def test_colours_are_red_green_and_blue_however_they_are_stored():
    noise = np.random.default_rng(3).integers(0, 256, (2, 8, 10, 3)).astype("u1")
    ybr = image(noise, allocated=8, stored=8, PhotometricInterpretation="YBR_FULL")
    expected = convert_color_space(noise, "YBR_FULL", "RGB")
    facts = measured(saved(ybr))
    assert (facts.min, facts.max) == (expected.min(), expected.max())
    assert facts.mean == pytest.approx(expected.mean(), abs=0.01)

    halved = image(rows=6, columns=8, frames=1, spp=3, allocated=8, stored=8)
    halved.PhotometricInterpretation = "YBR_FULL_422"
    halved.PixelData = halved.PixelData[: 6 * 8 * 2]
    spread = convert_color_space(pixels_of(saved(halved)).astype("u1"), "YBR_FULL", "RGB")
    assert measured(saved(halved)).mean == pytest.approx(spread.mean(), abs=0.01)


def test_black_is_black_in_ybr_too():
    black = np.zeros((1, 4, 4, 3), "u1")
    black[..., 1:] = 128
    facts = measured(saved(image(black, allocated=8, stored=8, PhotometricInterpretation="YBR_FULL")))
    assert (facts.min, facts.max, facts.mean, facts.histogram, facts.is_blank) == (0, 0, 0.0, (48,), True)


def test_jpeg_colours_are_what_a_viewer_shows():
    content = saved(image(np.full((1, 16, 16, 3), (200, 30, 90)), allocated=8, stored=8))
    encoded, _ = done(content, JPEG_BASELINE, EncodeOptions(quality=100))
    facts = measured(encoded)
    assert facts.min == pytest.approx(30, abs=3)
    assert facts.max == pytest.approx(200, abs=3)


# -- blank ------------------------------------------------------------------------------------------------------------


def blank(samples, **more):
    return measured(saved(image(np.asarray(samples), **more))).is_blank


def test_blank_is_one_value_in_all_frames():
    zeros = np.zeros((3, 4, 5))
    assert blank(zeros)
    assert blank(zeros + 7)
    assert blank(zeros - 7, signed=True)
    assert not blank(np.concatenate([zeros, zeros + 1])), "frames differ"
    one = zeros.copy()
    one[2, 3, 4] = 1
    assert not blank(one), "one pixel differs"
    assert blank(zeros, allocated=32, stored=32)
    assert not blank(one, allocated=32, stored=32)


def test_blank_is_one_colour():
    grey = np.full((1, 4, 5, 3), 9)
    eight = {"allocated": 8, "stored": 8}
    assert blank(grey, **eight)
    green = grey.copy()
    green[..., 1] = 200
    assert blank(green, **eight)
    assert blank(green, **eight, planar=1)
    green[0, 1, 1, 1] = 201
    assert not blank(green, **eight)


def test_padding_does_not_count_for_blank():
    padded = np.full((1, 4, 5), 100)
    padded[0, 0, :] = 3000
    assert not blank(padded)
    assert blank(padded, PixelPaddingValue=3000)
    assert blank(padded, PixelPaddingValue=2990, PixelPaddingRangeLimit=3005)
    assert blank(padded, PixelPaddingValue=3005, PixelPaddingRangeLimit=2990)
    assert not blank(padded, PixelPaddingValue=2990)
    assert blank(np.full((1, 4, 5), 3000), PixelPaddingValue=3000), "nothing but padding"
    facts = measured(saved(image(padded, PixelPaddingValue=3000)))
    assert facts.max == 3000, "as a value it counts as any other"


@pytest.mark.parametrize("vr", ["US", "SS"])
def test_padding_below_0_is_understood_in_both_vrs(vr):
    padded = np.full((1, 4, 5), 100)
    padded[0, 0, :] = -2000
    ds = image(padded, stored=16, signed=True)
    ds.add_new("PixelPaddingValue", vr, -2000 if vr == "SS" else 65536 - 2000)
    assert measured(saved(ds)).is_blank


# -- what cannot be measured ------------------------------------------------------------------------------------------


def test_why_pixels_cannot_be_read_is_said():
    assert (
        refusal(instance_file("1.2.840.10008.5.1.4.1.1.88.11", lookup("explicit").uid))
        == "the instance has no pixel data"
    )
    floating = image()
    del floating.PixelData
    floating.FloatPixelData = bytes(4 * 5 * 7)
    assert "floating point pixel data" in refusal(saved(floating))
    assert "hostd does not decode them" in refusal(
        with_codestreams(image(), [b"\0\0\1\xb3"], syntax="1.2.840.10008.1.2.4.100")
    )
    assert "bytes, but 1 frames" in refusal(saved(image(PixelData=bytes(10))))
    assert "codestream" in refusal(with_codestreams(image(), [b"no image"]))
    assert refusal(b"no DICOM file" * 100)
    odd = image()
    odd.SamplesPerPixel = 2
    assert "SamplesPerPixel is 2" in refusal(saved(odd))


def test_a_shipped_file_has_the_facts_that_its_pixels_have():
    path = shipped("CT_small.dcm")
    ds = pydicom.dcmread(path)
    facts = measured(path.read_bytes())
    assert_facts(facts, ds.pixel_array)
    assert measured(done(path.read_bytes(), DEFLATED)[0]) == facts
