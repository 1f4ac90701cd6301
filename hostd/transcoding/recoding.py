"""The ways of the transcoder that decode, and encode again.

What is written has been decoded again and compared before, by another library where there is one, unless the caller wants
no proof; a result that differs never leaves this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, BinaryIO, Protocol

from hostd.dicom import part10
from hostd.dicom.syntaxes import TransferSyntax
from hostd.errors import CannotTranscodeError, WrongPixelsError
from hostd.transcoding import elements as el
from hostd.transcoding import fragments, pixels, registry
from hostd.transcoding.closeness import Closeness
from hostd.transcoding.codecs import Codec, CodecError, FrameKind, Stream
from hostd.transcoding.copying import refuse_too_long
from hostd.transcoding.derivation import derived, marked_lossy, new_uid, ratio_at, ratio_text
from hostd.transcoding.options import EncodeOptions
from hostd.transcoding.pixels import PixelHash, Pixels
from hostd.transcoding.receipt import NOT_VERIFIED, Facts
from hostd.transcoding.source import (
    EncapsulatedFrames,
    NativeFrames,
    Source,
    checked_stream,
    decode_with,
    open_frames,
    open_source,
)
from hostd.transcoding.writing import begin, end, pixel_vr, settle, with_image, write_encapsulated_head

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame

_MAX_OVERLAYS = 64 << 20
"""Bytes of overlay planes that may be taken out of the samples; they stand in the header, and so in memory."""


class Frames(Protocol):
    """Frames in canonical form, one after the other, and what is known of them."""

    pixels: Pixels
    decoded: Pixels
    end: int
    note: str
    ratio: float
    """Of the size of the frames uncompressed to that of their codestreams."""

    @property
    def is_reversible(self) -> bool:
        """Tell whether they are what once was acquired, as far as their syntax tells."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...

    def overlay(self, bit: int) -> Iterator[Frame]:
        """Yield an overlay that lies in that bit of the samples, frame by frame."""
        ...


# -- decoding ----------------------------------------------------------------------------------------------------------


def decode(
    source: Source, target: TransferSyntax, result: BinaryIO, *, verify: bool, has_receipt: bool = True
) -> Facts:
    """Write encapsulated pixel data uncompressed. For what has no receipt no more hashes are worked out than prove it."""
    frames = EncapsulatedFrames(source)
    described = frames.decoded
    length = described.native_bytes
    refuse_too_long(length)
    header = with_image(source.header, described, _overlays(frames))
    header = _marked(header, source, frames)
    output = begin(source, target, result, header)
    output.write(el.pixel_head(el.PIXEL_DATA, pixel_vr(described), length + length % 2, implicit=target.is_implicit_vr))
    # A single frame is read back and compared with itself; of several only one is in memory, so their hashes are compared.
    is_single = described.frames == 1
    before = PixelHash(described) if has_receipt or (verify and not is_single) else None
    used: set[str] = set()
    verified: set[str] = set()
    native = pixels.NativeWriter(described)
    verifiers = registry.verifiers(source.syntax)
    for stream in frames.streams():
        frame, codec = decode_with(stream, frames.pixels, frames.codecs)
        used.add(codec.NAME)
        if verify:
            verified.add(_second_opinion(frame, stream, frames.pixels, source.syntax, verifiers, codec))
        if before is not None:
            before.add(frame)
        output.write(native.add(frame))
    output.write(native.close())
    end(source, target, output, frames.end)
    settle(result)
    digest = before.hexdigest() if before is not None else ""
    if not verify:
        return Facts(digest, "", *_named(frames.codecs, used), NOT_VERIFIED, frames.note)
    if not (_holds(result, header, described, frame) if is_single else _hash_of(result) == digest):
        raise WrongPixelsError("the pixels read back differ from those decoded; storage or memory is faulty")
    return Facts(digest, digest, *_named(frames.codecs, used), "; ".join(sorted(verified)), frames.note)


def _holds(result: BinaryIO, header: el.Elements, described: Pixels, frame: Frame) -> bool:
    """Tell whether the only frame of a file, which was written below that header, is that one, so that its pixel hash is too."""
    frames = NativeFrames(open_source(result, known=header))
    return pixels.hashed_facts(frames.decoded) == pixels.hashed_facts(described) and pixels.are_same(
        frames.frame(0), frame
    )


def _hash_of(result: BinaryIO) -> str:
    frames = NativeFrames(open_source(result))
    digest = PixelHash(frames.decoded)
    for frame in frames:
        digest.add(frame)
    return digest.hexdigest()


def _second_opinion(
    frame: Frame, stream: Stream, described: Pixels, syntax: TransferSyntax, codecs: list[Codec], first: Codec
) -> str:
    """Have another library decode a reversible codestream too, which must give the same; say who verified it."""
    if not stream.is_reversible:
        return "lossy codestream: decoded once, libraries may differ by rounding"
    for codec in codecs:
        if codec is first or not _may_see(codec, syntax):
            continue
        try:
            other = pixels.from_stream(codec.decode(stream), stream, described)
        except CodecError:
            continue
        if not pixels.are_same(other, frame):
            raise WrongPixelsError(f"{first.NAME} and {codec.NAME} decode the same codestream to different pixels")
        return f"every frame decoded by {codec.NAME} {registry.version(codec)} too and compared"
    return "no second library decodes it"


def _may_see(codec: Codec, syntax: TransferSyntax) -> bool:
    """Tell whether a codec may be given what strangers wrote, once another has decoded it without complaint."""
    ability = codec.SYNTAXES[syntax]
    return not ability.own_only or ability.second_opinion


# -- encoding ----------------------------------------------------------------------------------------------------------


def encode(
    source: Source,
    target: TransferSyntax,
    result: BinaryIO,
    file: BinaryIO,
    options: EncodeOptions | None,
    *,
    verify: bool,
) -> Facts:
    """Write the frames of the source encoded; `file` is the whole source, as its derived UID depends on it."""
    frames = open_frames(source)
    described = frames.decoded
    codecs = able(described, target, options)
    encoded_as = codecs[0].encoded_as(described, target)
    header = with_image(source.header, encoded_as, _overlays(frames))
    header = _marked(header, source, frames)
    if options is not None:
        # The next encoder is tried where one cannot, and what was lost before depends on who decodes it: all of them matter.
        decoders = frames.codecs if isinstance(frames, EncapsulatedFrames) and not frames.is_reversible else []
        named = [f"{codec.NAME} {registry.version(codec)}" for codec in (*codecs, *decoders)]
        uid = new_uid(file, target, options, named)
        how = f"Compressed with loss to {target.name}, {options.canonical()}, by {named[0]}"
        header = derived(header, source.syntax, target, uid, how)
    kind = FrameKind(target, encoded_as, described.photometric == "RGB", options)
    return _write_encoded(
        source, frames, result, header, _Encoding(kind, described, codecs, registry.verifiers(target), verify)
    )


def encode_frames(
    source: Source, frames: Frames, target: TransferSyntax, result: BinaryIO, header: el.Elements
) -> Facts:
    """Write frames, which were made of those of the source, encoded without loss below that header."""
    described = frames.decoded
    codecs = able(described, target, None)
    encoded_as = codecs[0].encoded_as(described, target)
    header = with_image(header, encoded_as, _overlays(frames))
    header = _marked(header, source, frames)
    kind = FrameKind(target, encoded_as, described.photometric == "RGB", None)
    return _write_encoded(
        source, frames, result, header, _Encoding(kind, described, codecs, registry.verifiers(target), verify=True)
    )


def write_native(
    source: Source, frames: Frames, target: TransferSyntax, result: BinaryIO, header: el.Elements
) -> Facts:
    """Write frames, which were made of those of the source, uncompressed below that header; nothing is read again."""
    described = frames.decoded
    length = described.native_bytes
    refuse_too_long(length)
    header = with_image(header, described, _overlays(frames))
    header = _marked(header, source, frames)
    output = begin(source, target, result, header)
    output.write(el.pixel_head(el.PIXEL_DATA, pixel_vr(described), length + length % 2, implicit=target.is_implicit_vr))
    before = PixelHash(described)
    native = pixels.NativeWriter(described)
    for frame in frames:
        before.add(frame)
        output.write(native.add(frame))
    output.write(native.close())
    end(source, target, output, frames.end)
    settle(result)
    return Facts(before.hexdigest(), before.hexdigest(), "none", "", "", frames.note)


def _write_encoded(source: Source, frames: Frames, result: BinaryIO, header: el.Elements, work: _Encoding) -> Facts:
    described, target, options = work.described, work.kind.syntax, work.kind.options
    extended = fragments.needs_extended_table(described.frame_bytes * described.frames, described.frames)
    extended_at = write_encapsulated_head(source, target, result, header, described.frames if extended else 0)
    writer = fragments.EncapsulatedWriter(result, described.frames, extended_at)
    for encoded in work.encoded(frames):
        writer.write(encoded)
    writer.close()
    end(source, target, result, frames.end)
    if options is not None:
        _write_ratio(result, header, work)
    settle(result)
    return Facts(
        work.before.hexdigest(),
        work.after.hexdigest() if work.verify else "",
        *_named(work.codecs, work.used),
        work.proof(),
        frames.note,
    )


def able(described: Pixels, target: TransferSyntax, options: EncodeOptions | None) -> list[Codec]:
    """Return the codecs that can encode frames of this kind. Raises `CannotTranscodeError` with why none can."""
    willing, reasons = [], []
    for codec in registry.encoders(target):
        reason = codec.why_not(described, target, options)
        if reason:
            reasons.append(reason)
        else:
            willing.append(codec)
    if not willing:
        raise CannotTranscodeError("; ".join(dict.fromkeys(reasons)))
    return willing


@dataclass(slots=True)
class _Encoding:
    """Encodes frame by frame, and proves each if it is to."""

    kind: FrameKind
    described: Pixels
    codecs: list[Codec]
    verifiers: list[Codec]
    verify: bool
    used: set[str] = field(default_factory=set)
    proofs: set[str] = field(default_factory=set)
    uncompressed: int = 0
    compressed: int = 0
    before: PixelHash = field(init=False)
    after: PixelHash = field(init=False)
    closeness: Closeness = field(init=False)

    def __post_init__(self) -> None:
        self.before, self.after = PixelHash(self.described), PixelHash(self.kind.pixels)
        self.closeness = Closeness(self.described, self.kind.syntax)

    def encoded(self, frames: Iterable[Frame]) -> Iterable[bytes]:
        """Yield each frame encoded, after it was decoded again and compared if it is to be."""
        for number, frame in enumerate(frames, 1):
            encoded, codec = self._encode(frame, number)
            if self.verify:
                self.after.add(self._verify(encoded, frame, codec, number))
            self.used.add(codec.NAME)
            self.before.add(frame)
            self.uncompressed += self.described.frame_bytes
            self.compressed += len(encoded)
            yield encoded

    def proof(self) -> str:
        """Say how the result was proven."""
        if not self.verify:
            return NOT_VERIFIED
        words = sorted(self.proofs)
        return "; ".join([*words, str(self.closeness)] if self.kind.options else words)

    def _encode(self, frame: Frame, number: int) -> tuple[bytes, Codec]:
        said = []
        for codec in self.codecs:
            try:
                return codec.encode(frame, self.kind), codec
            except CodecError as error:
                said.append(str(error))
        raise CannotTranscodeError(f"frame {number}: {'; '.join(said)}")

    def _verify(self, encoded: bytes, frame: Frame, encoder: Codec, number: int) -> Frame:
        """Decode what was encoded, and return the decoded frame. Raises `WrongPixelsError` when it is not as it should be."""
        codecs = sorted(self.verifiers, key=lambda codec: (codec.NAME == encoder.NAME, codec is encoder))
        strict = [codec for codec in codecs if not codec.SYNTAXES[self.kind.syntax].own_only]
        name = f"frame {number}, encoded,"
        try:
            stream = checked_stream(encoded, self.kind.pixels, self.kind.syntax, codecs[0], name)
            if not self.kind.is_rgb:
                # Chrominance that was encoded as it was is compared as it is.
                stream = replace(stream, is_colour_transformed=False)
            shape = self.kind.pixels.as_canonical(self.described.photometric)
            opinions = [decode_with(stream, shape, codecs)]
            if opinions[0][1] not in strict:
                # What is good enough only for own codestreams may be lenient: others must be able to read them too.
                opinions.append(decode_with(stream, shape, strict))
        except (CodecError, CannotTranscodeError) as error:
            raise WrongPixelsError(f"{name} cannot be decoded again: {error}") from error
        for seen, codec in opinions:
            self._compare(frame, seen, stream, f"{name} and decoded again by {codec.NAME},")
            self.proofs.add(f"every frame decoded by {codec.NAME} {registry.version(codec)} and compared")
        return opinions[0][0]

    def _compare(self, frame: Frame, seen: Frame, stream: Stream, name: str) -> None:
        """Raise `WrongPixelsError` when what was decoded again is not as it should be."""
        if self.kind.options is None:
            if not stream.is_reversible or not pixels.are_same(seen, frame):
                raise WrongPixelsError(f"{name} differs from the original")
            return
        near = self.kind.options.near
        if near is not None and stream.near > near:
            raise WrongPixelsError(f"{name} has a NEAR of {stream.near}, over the {near} that was asked for")
        self.closeness.add(frame, seen, stream.near, name)


def _marked(header: el.Elements, source: Source, frames: Frames) -> el.Elements:
    """Say in the header what the codestreams of the source lost."""
    return header if frames.is_reversible else marked_lossy(header, source.syntax, frames.ratio)


def _overlays(frames: Frames) -> dict[int, bytes]:
    """Return the planes of overlays that lie in the samples, packed as Overlay Data has them (PS3.5 §8.1.2)."""
    described = frames.pixels
    size = (described.rows * described.columns * described.frames + 7) // 8
    if size * len(described.overlays) > _MAX_OVERLAYS:
        raise CannotTranscodeError("the overlays in unused bits of the samples are too large to be taken out")
    return {group: _packed(frames.overlay(bit)) for group, bit in described.overlays}


def _packed(planes: Iterable[Frame]) -> bytes:
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    return np.packbits(np.concatenate([plane.ravel() for plane in planes]), bitorder="little").tobytes()


def _write_ratio(result: BinaryIO, header: el.Elements, work: _Encoding) -> None:
    stop = result.tell()
    result.seek(part10.data_set_offset(result).offset + ratio_at(header))
    result.write(ratio_text(work.uncompressed / work.compressed))
    result.seek(stop)


def _named(codecs: list[Codec], used: set[str]) -> tuple[str, str]:
    chosen = {codec.NAME: registry.version(codec) for codec in codecs if codec.NAME in used}
    return ", ".join(chosen), ", ".join(chosen.values())
