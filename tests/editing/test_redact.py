"""`redact`: blank inside, equal outside, in every syntax, whatever black is there."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from editing_kit import changed, content, done, terms
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.pixels import pixel_array
from transcoding_images import image, pixels_of, shared

from hostd.dicom.syntaxes import short_names
from hostd.editing import redact
from hostd.editing.terms import EditJob
from hostd.errors import CannotEditError, WrongPixelsError
from hostd.transcoding import registry, transcode
from hostd.transcoding.edits import Redact

REGIONS = ((1, 1, 4, 2), (0, 5, 3, 1))


def inside(shape, regions=REGIONS):
    mask = np.zeros(shape[:2], bool)
    for x, y, width, height in regions:
        mask[y : y + height, x : x + width] = True
    return mask


def frames(raw):
    ds = pydicom.dcmread(io.BytesIO(raw))
    array = ds.pixel_array
    return array if int(ds.get("NumberOfFrames", 1)) > 1 else array[None]


def made(**kinds):
    ds = image(rows=9, columns=11, **kinds)
    ds.SOPClassUID, ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3", "1.2.3.4"
    return ds


@pytest.mark.parametrize("short", sorted(short_names()))
@pytest.mark.parametrize("kinds", [{"frames": 3}, {"spp": 3, "allocated": 8, "stored": 8}], ids=["grey", "colour"])
def test_every_lossless_syntax_stays_what_it_is(short, kinds):
    native = content(made(**kinds))
    encoded = io.BytesIO()
    syntax = short_names()[short]
    if syntax.is_encapsulated and not registry.encoders(syntax):
        pytest.skip(f"no installed codec writes {syntax}")
    if short == "explicit":
        encoded = io.BytesIO(native)
    else:
        transcode.transcode(io.BytesIO(native), syntax, encoded)
    raw, facts = done(Redact(REGIONS), encoded.getvalue())
    after = pydicom.dcmread(io.BytesIO(raw))
    assert after.file_meta.TransferSyntaxUID == syntax.uid
    back = io.BytesIO()
    if short == "explicit":
        back = io.BytesIO(raw)
    else:
        transcode.transcode(io.BytesIO(raw), short_names()["explicit"], back)
    for old, new in zip(frames(native), frames(back.getvalue()), strict=True):
        mask = inside(old.shape)
        assert np.array_equal(old[~mask], new[~mask])
        assert not new[mask].any()
    assert "blank in 2 region(s), equal everywhere else" in facts.verified_by
    assert facts.pixel_hash_before != facts.pixel_hash_after


@pytest.mark.parametrize(
    ("kinds", "photometric", "black"),
    [
        ({}, "MONOCHROME2", 0),
        ({}, "MONOCHROME1", 4095),
        ({"signed": True}, "MONOCHROME2", -2048),
        ({"signed": True}, "MONOCHROME1", 2047),
        ({"spp": 3, "allocated": 8, "stored": 8}, "RGB", 0),
        ({"spp": 3, "allocated": 8, "stored": 8}, "YBR_FULL", (0, 128, 128)),
        ({"spp": 3, "allocated": 8, "stored": 8, "planar": 1}, "RGB", 0),
    ],
)
def test_black_is_what_the_photometric_interpretation_says(kinds, photometric, black):
    ds = made(**kinds)
    ds.PhotometricInterpretation = photometric
    raw, _ = done(Redact(REGIONS), content(ds))
    after = pydicom.dcmread(io.BytesIO(raw))
    shown = pixel_array(after, raw=True)
    assert (shown[inside(shown.shape)] == black).all()


def test_black_in_a_palette_is_its_darkest_colour():
    ds = made(allocated=8, stored=8)
    ds.PhotometricInterpretation = "PALETTE COLOR"
    colours = np.full(256, 60000, "<u2")
    colours[77] = 5
    for colour in ("Red", "Green", "Blue"):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(ds, f"{colour}PaletteColorLookupTableData", colours.tobytes())
    after = changed(Redact(REGIONS), content(ds))
    assert (after.pixel_array[inside(after.pixel_array.shape)] == 77).all()
    del ds.RedPaletteColorLookupTableData
    with pytest.raises(CannotEditError, match="palette"):
        done(Redact(REGIONS), content(ds))


@pytest.mark.parametrize("region", [(0, 0, 12, 1), (0, 0, 1, 10), (11, 0, 1, 1), (0, 9, 1, 1)])
def test_a_region_outside_of_the_image_is_an_error(region):
    with pytest.raises(CannotEditError, match="11 columns and 9 rows"):
        done(Redact((region,)), content(made()))


def test_nothing_to_redact_is_an_error():
    with pytest.raises(CannotEditError, match="no region"):
        done(Redact(()), content(made()))
    ds = made()
    del ds.PixelData
    with pytest.raises(CannotEditError, match="no pixel data"):
        done(Redact(REGIONS), content(ds))


@given(st.integers(0, 10), st.integers(0, 8), st.integers(1, 11), st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_any_region_inside_the_image_is_blanked_and_no_other_is_taken(x, y, width, height):
    source = content(made(frames=2))
    region = (x, y, width, height)
    if x + width > 11 or y + height > 9:
        with pytest.raises(CannotEditError):
            done(Redact((region,)), source)
        return
    raw, _ = done(Redact((region,)), source)
    mask = inside((9, 11), (region,))
    for old, new in zip(pixels_of(source), pixels_of(raw), strict=True):
        assert np.array_equal(old[~mask], new[~mask])
        assert not new[mask].any()


@pytest.mark.parametrize(
    ("name", "syntax"),
    [
        ("MR1_JPLY", "1.2.840.10008.1.2.4.70"),
        ("CT1_JLSN", "1.2.840.10008.1.2.4.80"),
        ("US1_J2KI", "1.2.840.10008.1.2.4.90"),
    ],
)
def test_a_lossy_image_is_kept_without_further_loss(name, syntax):
    raw, facts = done(Redact(((10, 10, 50, 20),)), shared("wg04", name).read_bytes())
    after = pydicom.dcmread(io.BytesIO(raw))
    assert after.file_meta.TransferSyntaxUID == syntax
    assert after.LossyImageCompression == "01"
    assert "without further loss" in facts.note


def test_real_images_are_redacted_in_their_own_syntax():
    for name in ("CT1_J2KR", "MR1_RLE", "NM1_JPLL", "US1_RLE"):
        raw = shared("wg04", name).read_bytes()
        after, facts = done(Redact(((0, 0, 20, 10),)), raw)
        assert (
            pydicom.dcmread(io.BytesIO(after)).file_meta.TransferSyntaxUID
            == pydicom.dcmread(io.BytesIO(raw)).file_meta.TransferSyntaxUID
        )
        assert "compared" in facts.verified_by


def test_the_result_is_a_derived_instance_of_its_own():
    before = made()
    before.add_new(0x00880200, "SQ", [])
    before.SmallestImagePixelValue = 3
    raw, _ = done(Redact(REGIONS, no_text_left=True), content(before))
    after = pydicom.dcmread(io.BytesIO(raw))
    assert after.SOPInstanceUID == after.file_meta.MediaStorageSOPInstanceUID != before.SOPInstanceUID
    assert after.ImageType[0] == "DERIVED"
    assert after.SourceImageSequence[0].ReferencedSOPInstanceUID == before.SOPInstanceUID
    assert after.DerivationDescription == "Regions blanked by hostd"
    assert after.BurnedInAnnotation == "NO"
    assert "IconImageSequence" not in after
    assert "SmallestImagePixelValue" not in after
    assert done(Redact(REGIONS, no_text_left=True), content(before))[0] == raw
    assert "BurnedInAnnotation" not in changed(Redact(REGIONS), content(before))
    assert changed(Redact(((0, 0, 1, 1),)), content(before)).SOPInstanceUID != after.SOPInstanceUID


def test_a_codec_that_changes_what_is_outside_is_found_out(monkeypatch):
    honest = redact._Blank.applied

    def careless(self, frame):
        blanked = honest(self, frame)
        blanked[-1, -1] ^= 1
        return blanked

    monkeypatch.setattr(redact._Blank, "applied", careless)
    with pytest.raises(WrongPixelsError, match="outside"):
        done(Redact(REGIONS), content(made()))


def test_the_worker_redacts_inside_its_jail(edit_pool, tmp_path):
    encoded = io.BytesIO()
    transcode.transcode(io.BytesIO(content(made(frames=2))), short_names()["j2k"], encoded)
    (tmp_path / "in.dcm").write_bytes(encoded.getvalue())
    receipt = edit_pool.carry_out(EditJob(Redact(REGIONS), terms()), tmp_path / "in.dcm", tmp_path / "out.dcm")
    assert receipt.result_syntax == receipt.source_syntax == "1.2.840.10008.1.2.4.90"
    assert "equal everywhere else" in receipt.verified_by


def test_the_same_worker_tells_that_what_was_redacted_is_blank(edit_pool, tmp_path):
    (tmp_path / "in.dcm").write_bytes(content(made()))
    edit_pool.carry_out(EditJob(Redact(((0, 0, 11, 9),)), terms()), tmp_path / "in.dcm", tmp_path / "out.dcm")
    assert [edit_pool.measure(tmp_path / name).is_blank for name in ("in.dcm", "out.dcm")] == [False, True]
