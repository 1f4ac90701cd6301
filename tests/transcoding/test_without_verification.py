"""Without verification nothing is decoded again: the result is the same, and its receipt says that nothing is proven."""

from __future__ import annotations

import io

import pytest
from transcoding_images import header, image, saved, shipped

from hostd.dicom.syntaxes import (
    DEFLATED_FRAMES,
    ENCAPSULATED_UNCOMPRESSED,
    EXPLICIT_LE,
    IMPLICIT_LE,
    JPEG2000,
    JPEG2000_LOSSLESS,
    JPEG_XL_RECOMPRESSION,
    RLE_LOSSLESS,
)
from hostd.errors import WrongPixelsError
from hostd.transcoding import copying, recoding
from hostd.transcoding.codecs import imagecodecs_jpeg2000
from hostd.transcoding.options import EncodeOptions
from hostd.transcoding.pool import CodecPool
from hostd.transcoding.receipt import NOT_VERIFIED
from hostd.transcoding.transcode import transcode


def both(content, target, options=None):
    """Transcode with and without verification."""
    made = []
    for verify in (True, False):
        result = io.BytesIO()
        facts = transcode(io.BytesIO(content), target, result, options, verify=verify)
        made.append((result.getvalue(), facts))
    return made


def encoded(target, **kind):
    result = io.BytesIO()
    transcode(io.BytesIO(saved(image(rows=40, columns=50, **kind))), target, result)
    return result.getvalue()


def native(**kind):
    return saved(image(rows=40, columns=50, **kind))


WAYS = {
    "encode": lambda: (native(), JPEG2000_LOSSLESS, None),
    "encode with loss": lambda: (native(), JPEG2000, EncodeOptions(quality=80)),
    "decode": lambda: (encoded(RLE_LOSSLESS), EXPLICIT_LE, None),
    "decode and encode": lambda: (encoded(RLE_LOSSLESS), JPEG2000_LOSSLESS, None),
    "copy": lambda: (native(), IMPLICIT_LE, None),
    "reframe": lambda: (native(frames=2), DEFLATED_FRAMES, None),
    "reframe to uncompressed": lambda: (encoded(ENCAPSULATED_UNCOMPRESSED, frames=2), EXPLICIT_LE, None),
    "recompress": lambda: (shipped("SC_rgb_small_odd_jpeg.dcm").read_bytes(), JPEG_XL_RECOMPRESSION, None),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_result_is_the_same_and_the_receipt_says_that_it_is_not_proven(way):
    (proven, with_proof), (unproven, without) = both(*WAYS[way]())
    assert proven == unproven
    assert with_proof.verified_by not in ("", NOT_VERIFIED)
    assert with_proof.pixel_hash_after
    assert without.verified_by == NOT_VERIFIED
    assert without.pixel_hash_after == ""
    assert without.pixel_hash_before == with_proof.pixel_hash_before
    assert (without.codec, without.codec_version) == (with_proof.codec, with_proof.codec_version)


@pytest.mark.parametrize("way", WAYS)
def test_nothing_that_was_written_is_decoded(way, monkeypatch):
    content, target, options = WAYS[way]()

    def never(*_, **__):
        raise AssertionError("the result was looked at")

    for module, name in (
        (recoding._Encoding, "_verify"),
        (recoding, "_hash_of"),
        (recoding, "_second_opinion"),
        (copying, "open_source"),
    ):
        monkeypatch.setattr(module, name, never)
    monkeypatch.setattr(copying.jpegxl, "jpeg_of", never)
    assert transcode(io.BytesIO(content), target, io.BytesIO(), options, verify=False).verified_by == NOT_VERIFIED


def test_a_wrong_codec_is_found_out_only_by_verification(monkeypatch):
    honest = imagecodecs_jpeg2000.encode

    def lie(frame, kind):
        wrong = frame.copy()
        wrong[0, 0] ^= 1
        return honest(wrong, kind)

    monkeypatch.setattr(imagecodecs_jpeg2000, "encode", lie)
    with pytest.raises(WrongPixelsError):
        transcode(io.BytesIO(native()), JPEG2000_LOSSLESS, io.BytesIO())
    result = io.BytesIO()
    transcode(io.BytesIO(native()), JPEG2000_LOSSLESS, result, verify=False)
    assert header(result.getvalue()).file_meta.TransferSyntaxUID == JPEG2000_LOSSLESS.uid


def test_the_switch_reaches_the_codec_process(tmp_path):
    source = tmp_path / "source.dcm"
    source.write_bytes(native())
    pool = CodecPool(workers=1)
    try:
        unproven = pool.transcode(source, JPEG2000_LOSSLESS, tmp_path / "unproven", verify=False)
        proven = pool.transcode(source, JPEG2000_LOSSLESS, tmp_path / "proven")
    finally:
        pool.close()
    assert (unproven.verified_by, unproven.pixel_hash_after) == (NOT_VERIFIED, "")
    assert unproven.result_sha256 == proven.result_sha256
    assert proven.pixel_hash_after == proven.pixel_hash_before == unproven.pixel_hash_before
