"""One image in another transfer syntax: decided by the pair, cheapest way first. Runs inside the worker.

Frames go through one at a time, so memory is bounded by a few frames. `copying` has the ways that touch no sample,
`recoding` those that decode and encode.
"""

from __future__ import annotations

from enum import Enum
from typing import BinaryIO

from hostd.dicom.syntaxes import (
    EXPLICIT_BE,
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
    JPEG_BASELINE,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_SV1,
    JPEG_XL_RECOMPRESSION,
    LOSSLESS_INSTEAD,
    TransferSyntax,
)
from hostd.errors import CannotTranscodeError
from hostd.transcoding import copying, pixels, recoding, registry
from hostd.transcoding import elements as el
from hostd.transcoding.options import EncodeOptions
from hostd.transcoding.pixels import PixelHash
from hostd.transcoding.receipt import Facts
from hostd.transcoding.source import NATIVE, RAW_FRAMES, READ_NATIVE, Source, open_frames, open_source, unsupported
from hostd.transcoding.writing import begin, end, settle

SUBSETS = {(JPEG_LOSSLESS_SV1, JPEG_LOSSLESS), (HTJ2K_LOSSLESS_RPCL, HTJ2K_LOSSLESS)}
"""(From, to): every codestream of the one is one of the other too."""
RECOMPRESSIONS = {(JPEG_BASELINE, JPEG_XL_RECOMPRESSION), (JPEG_XL_RECOMPRESSION, JPEG_BASELINE)}
"""(From, to): the same JPEG, so that nothing more is lost unless options ask for it."""
_TOO_DEEP = "its sequences are nested too deep to be read"


def transcode(
    source: BinaryIO,
    target: TransferSyntax,
    result: BinaryIO,
    options: EncodeOptions | None = None,
    *,
    verify: bool = True,
    has_receipt: bool = True,
) -> Facts:
    """Write the image of `source` to `result` in the target syntax, and return what proves it.

    Without `options` nothing is lost and the SOP instance keeps its UID; with them the target loses information, and the
    result is a derived image with a UID of its own. `result` is an empty file that can be read and sought. Without `verify` it
    is not decoded again and compared, which the facts say; where there is no receipt to come, they may be without pixel hashes. Raises `CannotTranscodeError` with the reason, and
    `WrongPixelsError` when a codec's result differs; `result` is worth nothing then.
    """
    try:
        return _transcode(source, target, result, options, verify=verify, has_receipt=has_receipt)
    except RecursionError as error:
        raise CannotTranscodeError(_TOO_DEEP) from error


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


def check_target(target: TransferSyntax, options: EncodeOptions | None = None, *, is_bit_exact: bool = False) -> None:
    """Raise `CannotTranscodeError` when hostd writes no such target here, or not with these options.

    `is_bit_exact`: what the target may lose is lost already, so that nothing needs to be asked for.
    """
    if options is not None and not target.is_lossy:
        lossy = [keyword for keyword, short in LOSSLESS_INSTEAD.items() if short == target.short]
        instead = f" (for a lossy result name {lossy[0]})" if lossy else ""
        raise CannotTranscodeError(
            f"{target} loses nothing, so that there is nothing to choose; leave quality, ratio and near out{instead}"
        )
    if target not in NATIVE:
        _require_encoder(target, options, is_bit_exact=is_bit_exact)


def foresee(source: BinaryIO, target: TransferSyntax, options: EncodeOptions | None = None) -> str:
    """Return in words what `transcode` would do, as far as the header tells. Raises `CannotTranscodeError` likewise."""
    try:
        opened = open_source(source)
        way = _way(opened, target, options)
        if way is Way.ENCODE and not opened.is_encapsulated:
            recoding.able(open_frames(opened).decoded, target, options)
    except RecursionError as error:
        raise CannotTranscodeError(_TOO_DEEP) from error
    return "decode and encode" if way is Way.ENCODE and opened.syntax.is_compressed else way.value


class Way(Enum):
    """What is done to bring an image from one syntax to another, in words."""

    HEADER = "write another header; there is no pixel data"
    COPY = "write another header around the same pixel bytes"
    RELABEL = "keep the codestreams bit by bit"
    REFRAME = "frame the same frames anew"
    DECODE = "decode"
    ENCODE = "encode"


def _transcode(
    source: BinaryIO,
    target: TransferSyntax,
    result: BinaryIO,
    options: EncodeOptions | None,
    *,
    verify: bool,
    has_receipt: bool,
) -> Facts:
    opened = open_source(source)
    match _way(opened, target, options):
        case Way.HEADER:
            return _reencode_header(opened, target, result)
        case Way.COPY:
            return copying.copy_pixels(opened, target, result, verify=verify)
        case Way.RELABEL:
            return copying.relabel(opened, target, result, verify=verify)
        case Way.REFRAME:
            return copying.reframe(opened, target, result, verify=verify)
        case Way.DECODE:
            return recoding.decode(opened, target, result, verify=verify, has_receipt=has_receipt)
        case Way.ENCODE:
            return recoding.encode(opened, target, result, source, options, verify=verify)


def _way(opened: Source, target: TransferSyntax, options: EncodeOptions | None) -> Way:
    """Decide by the pair. Raises `CannotTranscodeError` when nothing may or can be done."""
    pair = opened.syntax, target
    if opened.syntax == target and options is None:
        raise CannotTranscodeError(f"the instance is in {target} already")
    is_bit_exact = pair in RECOMPRESSIONS and options is None
    check_target(target, options, is_bit_exact=is_bit_exact)
    if opened.pixel is None:
        _refuse_without_pixels(opened, target)
        return Way.HEADER
    if opened.syntax in READ_NATIVE and target in NATIVE:
        return Way.COPY
    if pair in SUBSETS or is_bit_exact:
        return Way.RELABEL
    if _holds_raw_frames(opened) and target in (*NATIVE, *RAW_FRAMES):
        return Way.REFRAME
    return Way.DECODE if target in NATIVE else Way.ENCODE


def _require_encoder(target: TransferSyntax, options: EncodeOptions | None, *, is_bit_exact: bool) -> None:
    if target == EXPLICIT_BE:
        raise CannotTranscodeError(f"{target} is retired: hostd reads it and does not write it")
    if not registry.encoders(target):
        raise CannotTranscodeError(unsupported(f"{target} cannot be written by hostd", target))
    if target.is_lossy and not is_bit_exact:
        if options is None:
            lossless = LOSSLESS_INSTEAD.get(target.keyword)
            raise CannotTranscodeError(
                f"{target} may lose information; a quality (or what it has instead) must be asked for"
                + (f", or {lossless}, which loses nothing" if lossless else "")
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


def _refuse_without_pixels(source: Source, target: TransferSyntax) -> None:
    if target not in NATIVE:
        raise CannotTranscodeError("the instance has no pixel data, so there is nothing to compress")
    if pixels.ROWS in source.header:
        # Damage can swallow the pixel data; a result without it must not be called the same image.
        raise CannotTranscodeError("the header describes an image, but there is no pixel data")


def _reencode_header(source: Source, target: TransferSyntax, result: BinaryIO) -> Facts:
    end(source, target, begin(source, target, result, source.header), None)
    settle(result)
    return Facts("", "", "none", "", "no pixel data")
