"""Lossless there and back, or refused with the reason: the transcoder in this process."""

from __future__ import annotations

import hashlib
import io
import re
import struct

import imagecodecs
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from transcoding_images import (
    EXPLICIT,
    IMPLICIT,
    J2K,
    J2K_LOSSY,
    gdcm_pixels,
    image,
    needs_gdcmconv,
    pixels_of,
    saved,
    shared,
    shipped,
    with_codestreams,
)

from hostd.dicom import part10
from hostd.dicom.syntaxes import (
    ALL,
    DEFLATED,
    ENCAPSULATED_UNCOMPRESSED,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    JPEG2000_LOSSLESS,
    JPEG_PROGRESSIVE,
    JPEG_SPECTRAL,
    by_uid,
)
from hostd.errors import CannotTranscodeError, WrongPixelsError
from hostd.transcoding import fragments
from hostd.transcoding.codecs import imagecodecs_jpeg2000, openjpeg_jpeg2000
from hostd.transcoding.transcode import pixel_hash, transcode


def done(content, target=JPEG2000_LOSSLESS):
    result = io.BytesIO()
    facts = transcode(io.BytesIO(content), target, result)
    return result.getvalue(), facts


def refusal(content, target=JPEG2000_LOSSLESS):
    with pytest.raises(CannotTranscodeError) as caught:
        done(content, target)
    return str(caught.value)


def header(content):
    return pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)


def j2k(frame, **options):
    return imagecodecs.jpeg2k_encode(
        frame, level=0, codecformat=options.pop("codecformat", "j2k"), reversible=True, **options
    )


# -- real files --------------------------------------------------------------------------------------------------------

REAL = ["CT_small.dcm", "MR_small.dcm", "MR_small_padded.dcm", "SC_rgb_small_odd.dcm", "examples_rgb_color.dcm", "examples_palette.dcm", "examples_overlay.dcm"]  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_files_come_back_as_they_were(name):
    before = shipped(name).read_bytes()
    compressed, facts = done(before)
    after, _ = done(compressed, EXPLICIT_LE)
    assert np.array_equal(pixels_of(after), pixels_of(before))
    assert facts.pixel_hash_before == facts.pixel_hash_after == pixel_hash(io.BytesIO(after))


@pytest.mark.parametrize("name", REAL)
def test_gdcm_decodes_what_hostd_encodes_to_the_same_pixels(name, tmp_path):
    needs_gdcmconv()
    source = shipped(name)
    made = tmp_path / "made.dcm"
    made.write_bytes(done(source.read_bytes())[0])
    raw = tmp_path / "raw.dcm"
    gdcm_pixels(made, tmp_path).save_as(raw)
    assert np.array_equal(pixels_of(raw.read_bytes()), pixels_of(source.read_bytes()))


@pytest.mark.parametrize("name", ["CT1", "MR1", "MR3", "NM1", "US1", "VL1"])
def test_wg04_images_have_one_pixel_hash_compressed_by_others_or_not(name, tmp_path):
    plain, compressed = shared("wg04", f"{name}_UNC"), shared("wg04", f"{name}_J2KR")
    decoded, facts = done(compressed.read_bytes(), EXPLICIT_LE)
    assert np.array_equal(pixels_of(decoded), pixels_of(plain.read_bytes()))
    assert "compared" in facts.verified_by
    assert facts.pixel_hash_after == pixel_hash(io.BytesIO(plain.read_bytes()))
    made = tmp_path / "made.dcm"
    made.write_bytes(done(plain.read_bytes())[0])
    with made.open("rb") as file:
        assert pixel_hash(file) == facts.pixel_hash_after


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "MR_small_jp2klossless.dcm", "J2K_pixelrep_mismatch.dcm", "693_J2KI.dcm", "examples_jpeg2k.dcm", "SC_rgb_gdcm_KY.dcm", "GDCMJ2K_TextGBR.dcm"])  # fmt: skip
def test_decoding_agrees_with_pydicom(name):
    path = shipped(name)
    decoded, _ = done(path.read_bytes(), EXPLICIT_LE)
    expected = pydicom.pixels.pixel_array(path, decoding_plugin="pylibjpeg")
    assert np.array_equal(pixels_of(decoded)[0], expected)


def test_a_lossy_image_decoded_keeps_its_mark():
    before = shipped("JPEG2000.dcm").read_bytes()
    for target in (EXPLICIT_LE, IMPLICIT_LE, JPEG2000_LOSSLESS):
        assert header(done(before, target)[0]).LossyImageCompression == "01"


def test_a_lossy_image_that_did_not_say_so_is_marked_when_its_syntax_no_longer_does():
    lossy = imagecodecs.jpeg2k_encode(
        np.arange(64 * 64, dtype="u2").reshape(64, 64) % 4096,
        level=40,
        codecformat="j2k",
        reversible=False,
        bitspersample=12,
    )
    made = with_codestreams(image(rows=64, columns=64), [lossy], syntax=J2K_LOSSY)
    assert header(done(made, EXPLICIT_LE)[0]).LossyImageCompression == "01"
    lossless = with_codestreams(image(rows=5, columns=7), [j2k(np.zeros((5, 7), "u2"), bitspersample=12)])
    assert "LossyImageCompression" not in header(done(lossless, EXPLICIT_LE)[0])


# -- any image ---------------------------------------------------------------------------------------------------------


@st.composite
def images(draw):
    allocated = draw(st.sampled_from([8, 16, 32]))
    spp = draw(st.sampled_from([1, 3]))
    return image(
        rows=draw(st.integers(1, 40)),
        columns=draw(st.integers(1, 40)),
        spp=spp,
        allocated=allocated,
        stored=draw(st.integers(1, allocated)),
        signed=draw(st.booleans()),
        planar=draw(st.integers(0, 1)),
        frames=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 1 << 30)),
    )


@settings(max_examples=150, deadline=None)
@given(images(), st.sampled_from([IMPLICIT, EXPLICIT]), st.sampled_from([IMPLICIT_LE, EXPLICIT_LE]))
def test_any_image_comes_back_exactly_or_is_refused_with_its_reason(ds, syntax, back):
    before = saved(ds, syntax)
    if ds.BitsStored > (23 if ds.SamplesPerPixel == 3 else 24):
        assert "bits a sample" in refusal(before)
        return
    if ds.BitsStored == 1 and ds.SamplesPerPixel == 3:
        return  # the library refuses some of these and not others
    compressed, facts = done(before)
    assert facts.pixel_hash_before == facts.pixel_hash_after
    after, _ = done(compressed, back)
    assert np.array_equal(pixels_of(after), pixels_of(before))
    assert header(after).SOPInstanceUID == "1.2.3.4.5"
    assert header(compressed).PhotometricInterpretation == ("YBR_RCT" if ds.SamplesPerPixel == 3 else "MONOCHROME2")
    assert header(after).PhotometricInterpretation == ("RGB" if ds.SamplesPerPixel == 3 else "MONOCHROME2")


def test_the_pixel_hash_is_what_its_definition_says():
    samples = np.array([[[-3, 5, 7], [0, -1, 2047]]])
    ds = image(samples, stored=12, signed=True)
    expected = hashlib.sha256(struct.pack("<7I", 1, 2, 3, 1, 12, 1, 1) + samples.astype("<i2").tobytes()).hexdigest()
    assert pixel_hash(io.BytesIO(saved(ds))) == expected
    unextended = image(samples & 0xFFF, stored=12)
    unextended.PixelRepresentation = 1
    assert pixel_hash(io.BytesIO(saved(unextended))) == expected


def test_planar_configuration_1_becomes_0_with_the_colours_in_place():
    compressed, _ = done(saved(image(spp=3, allocated=8, stored=8, planar=1)))
    assert header(compressed).PlanarConfiguration == 0
    ds = pydicom.dcmread(io.BytesIO(compressed))
    (codestream,) = pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1)
    assert np.array_equal(
        imagecodecs.jpeg2k_decode(codestream), pixels_of(saved(image(spp=3, allocated=8, stored=8, planar=1)))[0]
    )


def test_ybr_full_stays_ybr_full():
    made = saved(image(spp=3, allocated=8, stored=8, PhotometricInterpretation="YBR_FULL"))
    compressed, _ = done(made)
    assert header(compressed).PhotometricInterpretation == "YBR_FULL"
    after, _ = done(compressed, EXPLICIT_LE)
    assert header(after).PhotometricInterpretation == "YBR_FULL"
    assert np.array_equal(pixels_of(after), pixels_of(made))


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ds", "says"),
    [
        (image(allocated=8, stored=8, PhotometricInterpretation="YBR_FULL_422", spp=3), "odd number of columns"),
        (image(allocated=8, stored=8, PhotometricInterpretation="YBR_RCT", spp=3), "no uncompressed photometric"),
        (image(PhotometricInterpretation="SOMETHING"), "photometric interpretation that hostd transcodes"),
        (image(PhotometricInterpretation="RGB"), "contradicts SamplesPerPixel"),
        (image(HighBit=10), "HighBit is 10"),
        (image(HighBit=16), "HighBit is 16"),
        (image(HighBit=15), "beside BitsStored"),
        (image(BitsAllocated=12), "BitsAllocated is 12"),
        (image(BitsAllocated=64), "BitsAllocated is 64"),
        (image(BitsAllocated=1), "do not describe single bits"),
        (image(allocated=32, stored=32), "up to 24 bits"),
        (image(BitsStored=17, HighBit=16), "cannot be"),
        (image(stored=16, BitsStored=12, HighBit=11), "beside BitsStored"),
        (image(SamplesPerPixel=2), "SamplesPerPixel is 2"),
        (image(PixelRepresentation=2), "PixelRepresentation is 2"),
        (image(spp=3, PlanarConfiguration=7), "PlanarConfiguration is 7"),
        (image(Rows=0), "Rows is 0"),
        (image(NumberOfFrames=2), "need"),
        (image(NumberOfFrames=0), "NumberOfFrames is 0"),
        (image(frames=3, NumberOfFrames=2), "more frames"),
        (image(PixelData=bytes(20)), "need 70"),
    ],
)
def test_what_is_not_transcoded_is_refused_in_plain_words(ds, says):
    assert says in refusal(saved(ds))


def test_missing_elements_are_named():
    for keyword in ("Rows", "BitsStored", "PhotometricInterpretation", "PixelRepresentation"):
        ds = image()
        delattr(ds, keyword)
        assert keyword in refusal(saved(ds))


def test_an_overlay_where_none_can_be_is_refused():
    for bit in (3, 16):
        ds = image()
        ds.add_new(0x60000100, "US", 16)
        ds.add_new(0x60000102, "US", bit)
        assert f"bit {bit}" in refusal(saved(ds))


def test_float_pixels_are_refused_but_copied_between_uncompressed_syntaxes():
    ds = image(allocated=32, stored=32)
    value = ds.PixelData
    del ds.PixelData
    ds.add_new(0x7FE00008, "OF", value)
    made = saved(ds)
    assert "floating point" in refusal(made)
    after, facts = done(made, IMPLICIT_LE)
    assert pydicom.dcmread(io.BytesIO(after)).FloatPixelData == value
    assert facts.pixel_hash_after.startswith("raw:")


UNTOUCHED = [s for s in ALL if re.search(r"MPEG|HEVC|JPIP|JPEG2000MC", s.keyword)] + [
    by_uid("1.2.3.4"),
    by_uid("1.2.840.10008.1.2.7.1"),
]


@pytest.mark.parametrize("syntax", UNTOUCHED, ids=lambda syntax: syntax.uid)
def test_what_hostd_does_not_decode_is_left_as_it_is(syntax):
    made = part10.file_header("1.2.3", "1.2.3.4.5", syntax.uid) + saved(image())[132 + 200 :]
    assert "are kept and forwarded as they are" in refusal(made, EXPLICIT_LE)
    assert syntax.uid in refusal(made, EXPLICIT_LE)
    assert "cannot be written" in refusal(saved(image()), syntax)


def test_lossy_targets_without_options_and_targets_that_are_not_written_are_refused():
    for syntax in ALL:
        if syntax.is_lossy and syntax not in UNTOUCHED and "retired" not in syntax.name:
            assert "must be asked for" in refusal(saved(image()), syntax)
    for retired in (EXPLICIT_BE, JPEG_SPECTRAL, JPEG_PROGRESSIVE):
        assert re.search("does not write it|cannot be written", refusal(saved(image()), retired))
    assert "already" in refusal(saved(image()), EXPLICIT_LE)


def test_an_instance_without_pixels_is_reencoded_but_not_compressed():
    ds = image()
    del ds.PixelData
    assert "describes an image" in refusal(saved(ds), IMPLICIT_LE)
    del ds.Rows
    made = saved(ds)
    assert "no pixel data" in refusal(made)
    after, facts = done(made, IMPLICIT_LE)
    assert header(after).file_meta.TransferSyntaxUID == IMPLICIT
    assert header(after).PatientName == "Doe^Jane"
    assert facts.verified_by == "no pixel data"


# -- the header --------------------------------------------------------------------------------------------------------


def rich():
    ds = image(frames=2)
    ds.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    ds.add_new(0x00100010, "PN", b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B")
    ds.add_new(0x00081030, "LO", b"\xff\xfe not in any character set")
    block = ds.private_block(0x0029, "HOSTD TEST", create=True)
    block.add_new(1, "OB", b"\1\2\3\4")
    block.add_new(2, "LO", "secret")
    item = Dataset()
    item.CodeValue = "1234"
    nested = Dataset()
    nested.CodeMeaning = "nested"
    item.ConceptNameCodeSequence = Sequence([nested])
    ds.ProcedureCodeSequence = Sequence([item, Dataset()])
    ds["ProcedureCodeSequence"].is_undefined_length = True
    item.is_undefined_length_sequence_item = True
    ds.add_new(0x7FE10010, "LO", "HOSTD AFTER")
    ds.add_new(0x7FE11001, "OB", b"kept")
    ds.add_new(0xFFFCFFFC, "OB", bytes(64))
    return ds


def raw_values(ds):
    """Tag → bytes as they stand in the file, the sequence and the pixels left out."""
    return {tag: ds.get_item(tag).value for tag in ds.keys() - {0x00081032, 0x7FE00010}}


@pytest.mark.parametrize("source", [IMPLICIT, EXPLICIT])
def test_values_after_a_round_trip_are_byte_for_byte_as_before(source):
    before = saved(rich(), source)
    compressed, _ = done(before)
    implicit, _ = done(compressed, IMPLICIT_LE)
    after, _ = done(implicit, EXPLICIT_LE)
    wanted = raw_values(pydicom.dcmread(io.BytesIO(before)))
    del wanted[0xFFFCFFFC]
    for content in (compressed, implicit, after):
        assert raw_values(pydicom.dcmread(io.BytesIO(content))) == wanted
        ds = pydicom.dcmread(io.BytesIO(content))
        assert ds.ProcedureCodeSequence[0].ConceptNameCodeSequence[0].CodeMeaning == "nested"
        assert len(ds.ProcedureCodeSequence) == 2
    assert np.array_equal(pixels_of(after), pixels_of(before))


def test_private_elements_of_an_implicit_source_become_un():
    compressed, _ = done(saved(rich(), IMPLICIT))
    assert pydicom.dcmread(io.BytesIO(compressed)).get_item(0x00291002).VR == "UN"


def test_the_file_meta_is_hostds_own_and_keeps_the_source_ae_title():
    ds = image()
    made = part10.file_header(ds.SOPClassUID, ds.SOPInstanceUID, EXPLICIT, source_aet="SCANNER") + saved(ds)[
        132:
    ].split(b"\x08\0\x16\0", 1)[1].join([b"\x08\0\x16\0", b""])
    meta = header(done(made)[0]).file_meta
    assert meta.ImplementationClassUID == part10.IMPLEMENTATION_CLASS_UID
    assert meta.SourceApplicationEntityTitle == "SCANNER"
    assert meta.TransferSyntaxUID == J2K


def with_icon(codestream):
    icon = image(rows=40, columns=40, allocated=8, stored=8)
    del icon.PixelData
    icon.add_new(0x7FE00010, "OB", pydicom.encaps.encapsulate([codestream]))
    icon["PixelData"].is_undefined_length = True
    ds = image()
    ds.IconImageSequence = Sequence([icon])
    return with_codestreams(ds, [j2k(pixels_of(saved(image()))[0].copy(), bitspersample=12)])


def test_a_compressed_icon_is_decoded_when_the_result_is_not_compressed():
    picture = np.arange(1600, dtype="u1").reshape(40, 40)
    for target in (EXPLICIT_LE, IMPLICIT_LE):
        after, _ = done(with_icon(j2k(picture)), target)
        icon = pydicom.dcmread(io.BytesIO(after)).IconImageSequence[0]
        assert icon.PixelData == picture.tobytes()
        assert not icon["PixelData"].is_undefined_length


def test_an_icon_of_no_codec_is_refused_and_one_of_another_codec_is_decoded():
    assert "icon" in refusal(with_icon(b"\xff\xd8\xff no codec does this"), EXPLICIT_LE)
    after, _ = done(with_icon(imagecodecs.jpeg8_encode(np.full((40, 40), 7, "u1"))), EXPLICIT_LE)
    icon = pydicom.dcmread(io.BytesIO(after)).IconImageSequence[0]
    assert icon.PixelData == bytes([7]) * 1600


def test_fragments_that_are_no_pixel_data_are_refused_in_an_uncompressed_result():
    ds = image()
    ds.add_new(0x00291001, "OB", pydicom.encaps.encapsulate([b"abcd"]))
    ds[0x00291001].is_undefined_length = True
    assert "(0029,1001)" in refusal(saved(ds), IMPLICIT_LE)


# -- codestreams -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("MR_small.dcm", IMPLICIT_LE),
        ("MR_small.dcm", DEFLATED),
        ("MR_small.dcm", JPEG2000_LOSSLESS),
        ("MR_small.dcm", ENCAPSULATED_UNCOMPRESSED),
        ("MR_small_RLE.dcm", EXPLICIT_LE),
        ("rtplan.dcm", EXPLICIT_LE),
    ],
)
def test_what_is_written_over_a_longer_file_is_all_that_there_is(name, target):
    content = shipped(name).read_bytes()
    result = io.BytesIO(b"\x08\0\x18\0UI\4\x001.2\0" * 100_000)
    transcode(io.BytesIO(content), target, result)
    assert result.getvalue() == done(content, target)[0]


def test_jp2_boxes_are_stripped():
    frame = pixels_of(saved(image()))[0].copy()
    boxed = j2k(frame, codecformat="jp2", bitspersample=12)
    assert boxed[4:8] == b"jP  "
    after, _ = done(with_codestreams(image(), [boxed]), EXPLICIT_LE)
    assert np.array_equal(pixels_of(after)[0], frame)


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_codestream_is_refused(cut):
    whole = j2k(pixels_of(saved(image(rows=64, columns=64)))[0].copy(), bitspersample=12)
    part = whole[: int(len(whole) * cut)]
    assert refusal(with_codestreams(image(rows=64, columns=64), [part]), EXPLICIT_LE)
    assert refusal(with_codestreams(image(rows=64, columns=64), [part + b"\xff\xd9"]), EXPLICIT_LE)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 30))
def test_a_damaged_file_is_refused_or_gives_the_pixels_that_two_decoders_agree_on(seed):
    random = np.random.default_rng(seed)
    content = bytearray(
        with_codestreams(rich(), [j2k(frame.copy(), bitspersample=12) for frame in pixels_of(saved(rich()))])
    )
    for _ in range(random.integers(1, 6)):
        content[random.integers(0, len(content))] = random.integers(0, 256)
    try:
        after, facts = done(bytes(content), EXPLICIT_LE)
    except (CannotTranscodeError, WrongPixelsError):
        return  # any other exception fails the test
    assert facts.pixel_hash_before == facts.pixel_hash_after == pixel_hash(io.BytesIO(after))


def test_header_and_codestream_that_contradict_are_refused():
    frame = np.zeros((5, 7), "u2")
    assert "contradicts the header" in refusal(with_codestreams(image(rows=6), [j2k(frame)]), EXPLICIT_LE)
    assert "do not fit" in refusal(with_codestreams(image(), [j2k(frame + 5000)]), EXPLICIT_LE)
    assert "differ in sign" in refusal(
        with_codestreams(image(signed=True, stored=16), [j2k(frame + 4000, bitspersample=12)]), EXPLICIT_LE
    )
    rgb = image(spp=3, allocated=8, stored=8)
    plain = j2k(np.zeros((5, 7, 3), "u1"), mct=False)
    assert "no colour transformation" in refusal(with_codestreams(rgb, [plain], photometric="YBR_RCT"), EXPLICIT_LE)


# -- codecs that lie ---------------------------------------------------------------------------------------------------


def test_an_encoder_that_changes_one_sample_is_caught(monkeypatch):
    true = imagecodecs_jpeg2000.encode

    def lying(frame, options):
        wrong = frame.copy()
        wrong[-1, -1] ^= 1
        return true(wrong, options)

    monkeypatch.setattr(imagecodecs_jpeg2000, "encode", lying)
    with pytest.raises(WrongPixelsError, match="frame 1"):
        done(saved(image()))


def test_an_encoder_that_writes_nonsense_is_caught(monkeypatch):
    monkeypatch.setattr(imagecodecs_jpeg2000, "encode", lambda *_: b"nonsense")
    with pytest.raises(WrongPixelsError, match="cannot be decoded"):
        done(saved(image()))


def test_decoders_that_disagree_are_caught(monkeypatch):
    compressed, _ = done(saved(image(rows=40, columns=40)))
    true = openjpeg_jpeg2000.decode
    monkeypatch.setattr(openjpeg_jpeg2000, "decode", lambda stream: true(stream) ^ 1)
    with pytest.raises(WrongPixelsError, match="different pixels"):
        done(compressed, EXPLICIT_LE)


def test_what_imagecodecs_encodes_is_verified_by_openjpeg():
    for side in (1, 8, 40):
        assert "pylibjpeg-openjpeg" in done(saved(image(rows=side, columns=side)))[1].verified_by


def test_beyond_four_gigabytes_the_extended_offset_table_is_used(monkeypatch):
    monkeypatch.setattr(fragments, "needs_extended_table", lambda *_: True)
    before = saved(image(frames=3))
    compressed, _ = done(before)
    ds = pydicom.dcmread(io.BytesIO(compressed))
    assert len(ds.ExtendedOffsetTable) == len(ds.ExtendedOffsetTableLengths) == 24
    tables = (ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths)
    decoded = [
        imagecodecs.jpeg2k_decode(f) for f in pydicom.encaps.generate_frames(ds.PixelData, extended_offsets=tables)
    ]
    assert np.array_equal(decoded, pixels_of(before))
    after, _ = done(compressed, EXPLICIT_LE)
    assert np.array_equal(pixels_of(after), pixels_of(before))
    assert "ExtendedOffsetTable" not in pydicom.dcmread(io.BytesIO(after))


class Counting(io.BytesIO):
    """A file that notes how much each read of it asked for."""

    def __init__(self, content):
        super().__init__(content)
        self.asked = []

    def read(self, size=-1, /):
        self.asked.append(size)
        return super().read(size)


def test_what_follows_the_pixels_is_read_in_no_more_memory_than_it_needs():
    source = Counting(saved(rich()))
    transcode(source, IMPLICIT_LE, io.BytesIO())
    assert source.asked
    assert max(source.asked) < 2 << 20
    assert min(source.asked) >= 0


def test_more_than_can_belong_to_an_image_after_its_pixels_is_refused():
    sparse = io.BytesIO(saved(image()))
    sparse.seek((64 << 20) + 1, io.SEEK_END)
    sparse.write(b"\0")
    with pytest.raises(CannotTranscodeError, match="more than 64 MiB follow the pixel data"):
        transcode(sparse, IMPLICIT_LE, io.BytesIO())
