"""One image in another transfer syntax: decided by the pair, cheapest way first. Runs inside the worker.

Frames go through one at a time, so memory is bounded by a few frames. `copying` has the ways that touch no sample,
`recoding` those that decode and encode.
"""

from __future__ import annotations

from typing import BinaryIO

from hostd.dicom.syntaxes import (
    EXPLICIT_BE,
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
    JPEG_BASELINE,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_SV1,
    JPEG_XL_RECOMPRESSION,
    TransferSyntax,
)
from hostd.errors import CannotTranscodeError
from hostd.transcoding import copying, pixels, recoding, registry
from hostd.transcoding import elements as el
from hostd.transcoding.options import EncodeOptions
from hostd.transcoding.pixels import PixelHash
from hostd.transcoding.receipt import Facts
from hostd.transcoding.source import NATIVE, RAW_FRAMES, READ_NATIVE, Source, open_frames, open_source, unsupported
from hostd.transcoding.writing import begin, end

SUBSETS = {(JPEG_LOSSLESS_SV1, JPEG_LOSSLESS), (HTJ2K_LOSSLESS_RPCL, HTJ2K_LOSSLESS)}
"""(From, to): every codestream of the one is one of the other too."""
RECOMPRESSIONS = {(JPEG_BASELINE, JPEG_XL_RECOMPRESSION), (JPEG_XL_RECOMPRESSION, JPEG_BASELINE)}


def transcode(
    source: BinaryIO, target: TransferSyntax, result: BinaryIO, options: EncodeOptions | None = None
) -> Facts:
    """Write the image of `source` to `result` in the target syntax, and return what proves it.

    Without `options` nothing is lost and the SOP instance keeps its UID; with them the target loses information, and the
    result is a derived image with a UID of its own. `result` is an empty file that can be read and sought. Raises
    `CannotTranscodeError` with the reason, and `WrongPixelsError` when a codec's result differs; `result` is worth nothing then.
    """
    try:
        return _transcode(source, target, result, options)
    except RecursionError as error:
        raise CannotTranscodeError("its sequences are nested too deep to be read") from error


def pixel_hash(source: BinaryIO) -> str:
    """Return the pixel hash of a file, as `hostd.transcoding.pixels` defines it. Raises `CannotTranscodeError`."""
    opened = open_source(source)
    if opened.pixel is None:
        raise CannotTranscodeError("the instance has no pixel data")
    frames = open_frames(opened)
    digest = PixelHash(frames.decoded)
    for frame in frames:
        digest.add(frame)
    return digest.hexdigest()


def _transcode(source: BinaryIO, target: TransferSyntax, result: BinaryIO, options: EncodeOptions | None) -> Facts:
    opened = open_source(source)
    pair = opened.syntax, target
    if opened.syntax == target and options is None:
        raise CannotTranscodeError(f"the instance is in {target} already")
    if target not in NATIVE:
        _require_encoder(target, options, is_bit_exact=pair in RECOMPRESSIONS and options is None)
    if options is not None and not target.is_lossy:
        raise CannotTranscodeError(f"{target} loses nothing, so that there is nothing to choose; leave the options out")
    if opened.pixel is None:
        return _reencode_header(opened, target, result)
    if opened.syntax in READ_NATIVE and target in NATIVE:
        return copying.copy_pixels(opened, target, result)
    if pair in SUBSETS or (pair in RECOMPRESSIONS and options is None):
        return copying.relabel(opened, target, result)
    if _holds_raw_frames(opened) and target in (*NATIVE, *RAW_FRAMES):
        return copying.reframe(opened, target, result)
    if target in NATIVE:
        return recoding.decode(opened, target, result)
    return recoding.encode(opened, target, result, source, options)


def _require_encoder(target: TransferSyntax, options: EncodeOptions | None, *, is_bit_exact: bool) -> None:
    if target == EXPLICIT_BE:
        raise CannotTranscodeError(f"{target} is retired: hostd reads it and does not write it")
    if not registry.encoders(target):
        raise CannotTranscodeError(unsupported(f"{target} cannot be written by hostd", target))
    if target.is_lossy and not is_bit_exact:
        if options is None:
            raise CannotTranscodeError(
                f"{target} may lose information; a quality (or what it has instead) must be asked for"
            )
        options.check(target)


def _holds_raw_frames(source: Source) -> bool:
    """Tell whether pixel data can be moved as bytes, frame by frame; frames of single bits need to be moved by bits."""
    assert source.pixel is not None
    return (
        (source.syntax in READ_NATIVE or source.syntax in RAW_FRAMES)
        and source.pixel.tag == el.PIXEL_DATA
        and el.number(source.header, pixels.BITS_ALLOCATED) != 1
    )


def _reencode_header(source: Source, target: TransferSyntax, result: BinaryIO) -> Facts:
    if target not in NATIVE:
        raise CannotTranscodeError("the instance has no pixel data, so there is nothing to compress")
    if pixels.ROWS in source.header:
        # Damage can swallow the pixel data; a result without it must not be called the same image.
        raise CannotTranscodeError("the header describes an image, but there is no pixel data")
    end(source, target, begin(source, target, result, source.header), None)
    return Facts("", "", "none", "", "no pixel data")
