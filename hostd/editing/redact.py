"""`redact`: rectangles blanked in every frame, in any syntax that hostd decodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

from hostd.dicom.syntaxes import ENCAPSULATED_UNCOMPRESSED, EXPLICIT_BE, EXPLICIT_LE, TransferSyntax
from hostd.editing import uids
from hostd.editing.terms import Terms
from hostd.errors import CannotEditError, CannotTranscodeError, WrongPixelsError
from hostd.transcoding import edits
from hostd.transcoding import elements as el
from hostd.transcoding.edits import Redact, Region
from hostd.transcoding.pixels import PixelHash, Pixels
from hostd.transcoding.receipt import Facts
from hostd.transcoding.recoding import encode_frames, write_native
from hostd.transcoding.source import NATIVE, EncapsulatedFrames, NativeFrames, Source, open_frames, open_source

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame

_SOP_CLASS, _SOP_INSTANCE, _IMAGE_TYPE = 0x00080016, 0x00080018, 0x00080008
_DERIVATION, _SOURCE_IMAGES, _DERIVATION_CODES, _PURPOSE = 0x00082111, 0x00082112, 0x00089215, 0x0040A170
_BURNED_IN = 0x00280301
_OF_PIXELS = (
    0x00280106, 0x00280107, 0x00280108, 0x00280109, 0x00280110, 0x00280111, 0x00880200, 0xFFFAFFFA, 0x4FFE0001,
    0x00287FE0, 0x00080058,
)  # fmt: skip
"""Smallest and largest values, a reduced picture, signatures, and where the untouched pixels can be had: not true, or not blank."""


def redact(file: BinaryIO, result: BinaryIO, step: Redact, terms: Terms) -> Facts:
    """Write the image with its regions blanked, and return what proves that nothing else of it changed.

    It is written in its own syntax where that loses nothing and hostd encodes it, else in the lossless one of its kind, or
    uncompressed; the note says so. Raises `CannotTranscodeError` and `WrongPixelsError`.
    """
    source = open_source(file)
    if source.pixel is None:
        raise CannotEditError("the instance has no pixel data, so that there is nothing to redact")
    frames = open_frames(source)
    _refuse(step.regions, frames.pixels)
    blank = _Blank(step.regions, frames.decoded, source.header)
    targets = _targets(source, frames)
    said = []
    for target in targets:
        result.seek(0)
        result.truncate()
        try:
            return _written(source, target, result, step, terms, blank)
        except CannotTranscodeError as error:
            said.append(f"{target}: {error}")
    raise CannotEditError(f"the redacted image cannot be written: {'; '.join(said)}")


def _written(
    source: Source, target: TransferSyntax, result: BinaryIO, step: Redact, terms: Terms, blank: _Blank
) -> Facts:
    frames = BlankedFrames(open_frames(source), blank)
    header = _header(source, step, terms)
    if target in NATIVE:
        facts = write_native(source, frames, target, result, header)
    else:
        facts = encode_frames(source, frames, target, result, header)
    before, after = _proven(source, result, blank)
    count = frames.decoded.frames
    proof = f"{count} frame{'s' if count > 1 else ''} compared: blank in {len(step.regions)} region(s), equal everywhere else"
    notes = [facts.note] if facts.note else []
    if target != source.syntax:
        notes.append(f"was {source.syntax.name}, is {target.name} without further loss")
    return Facts(before, after, facts.codec, facts.codec_version, proof, "; ".join(notes))


def _targets(source: Source, frames: NativeFrames | EncapsulatedFrames) -> list[TransferSyntax]:
    own = source.syntax
    first = own if not own.is_lossy else edits.LOSSLESS_KIN.get(own, EXPLICIT_LE)
    if own == EXPLICIT_BE:
        first = EXPLICIT_LE
    last = EXPLICIT_LE if frames.decoded.native_bytes < el.UNDEFINED else ENCAPSULATED_UNCOMPRESSED
    return list(dict.fromkeys((first, last)))


def _refuse(regions: Sequence[Region], pixels: Pixels) -> None:
    if not regions:
        raise CannotEditError("no region is given, so that there is nothing to redact")
    for x, y, width, height in regions:
        if x + width > pixels.columns or y + height > pixels.rows:
            raise CannotEditError(
                f"the region ({x}, {y}, {width}, {height}) is not inside the image, which has {pixels.columns} columns and {pixels.rows} rows"
            )
    if pixels.overlays:
        raise CannotEditError(
            "an overlay lies in the bits of the samples, which redacting does not blank; transcode the image first"
        )


class _Blank:
    """What black is in one image, and where it is to be."""

    def __init__(self, regions: Sequence[Region], described: Pixels, header: el.Elements) -> None:
        self.regions = regions
        self.described = described
        self.value = _black(described, header)

    def applied(self, frame: Frame) -> Frame:
        """Return a copy of a frame in canonical form with the regions blanked."""
        blanked = frame.copy()
        for x, y, width, height in self.regions:
            blanked[y : y + height, x : x + width] = self.value
        return blanked


def _black(described: Pixels, header: el.Elements) -> int | tuple[int, int, int]:
    """Return the sample, or samples, that mean black (PS3.3 §C.7.6.3.1.2)."""
    low = -(1 << described.bits_stored - 1) if described.is_signed else 0
    high = low + (1 << described.bits_stored) - 1
    match described.photometric:
        case "MONOCHROME1":
            return high
        case "MONOCHROME2":
            return low
        case "PALETTE COLOR":
            return _darkest(header)
        case "RGB":
            return low, low, low
        case "YBR_FULL":
            return low, low + (1 << described.bits_stored - 1), low + (1 << described.bits_stored - 1)
    raise CannotEditError(f"what black is in {described.photometric} is not known")


def _darkest(header: el.Elements) -> int:
    """Return the pixel value that the palette shows darkest (PS3.3 §C.7.6.3.1.5)."""
    sums: list[int] | None = None
    first = 0
    for descriptor_tag, table_tag in ((0x00281101, 0x00281201), (0x00281102, 0x00281202), (0x00281103, 0x00281203)):
        if descriptor_tag not in header or table_tag not in header:
            raise CannotEditError("the image's palette is absent or in segments, so what is black in it is not known")
        raw = header[descriptor_tag].value
        entries, first, bits = (int.from_bytes(raw[at : at + 2], "little") for at in (0, 2, 4))
        entries = entries or 1 << 16
        table = header[table_tag].value
        size = 1 if bits == 8 and len(table) < 2 * entries else 2
        colours = [
            int.from_bytes(table[at : at + size], "little") for at in range(0, min(len(table), size * entries), size)
        ]
        sums = colours if sums is None else [total + colour for total, colour in zip(sums, colours, strict=False)]
    if not sums:
        raise CannotEditError("the image's palette is empty, so what is black in it is not known")
    return first + sums.index(min(sums))


class BlankedFrames:
    """The frames of a source with regions blanked, as far as an encoder needs them."""

    def __init__(self, frames: NativeFrames | EncapsulatedFrames, blank: _Blank) -> None:
        self._frames = frames
        self._blank = blank
        self.pixels, self.decoded, self.end, self.note = frames.pixels, frames.decoded, frames.end, frames.note
        self.ratio = frames.ratio

    @property
    def is_reversible(self) -> bool:
        """Tell whether the source lost nothing."""
        return self._frames.is_reversible

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._frames:
            yield self._blank.applied(frame)

    def overlay(self, bit: int) -> Iterator[Frame]:
        """Yield an overlay that lies in that bit of the samples."""
        return self._frames.overlay(bit)


def _proven(source: Source, result: BinaryIO, blank: _Blank) -> tuple[str, str]:
    """Read the result again and compare it with the source, frame by frame. Raises `WrongPixelsError`."""
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    frames, written = open_frames(source), open_frames(open_source(result))
    before, after = PixelHash(frames.decoded), PixelHash(written.decoded)
    for number, (old, new) in enumerate(zip(frames, written, strict=True), 1):
        inside = np.zeros(old.shape[:2], dtype=bool)
        for x, y, width, height in blank.regions:
            inside[y : y + height, x : x + width] = True
        if old.shape != new.shape or not np.array_equal(old[~inside], new[~inside]):
            raise WrongPixelsError(f"frame {number} differs from the original outside of the redacted regions")
        if not bool(np.all(new[inside] == np.asarray(blank.value))):
            raise WrongPixelsError(f"frame {number} is not blank inside of the redacted regions")
        before.add(old)
        after.add(new)
    return before.hexdigest(), after.hexdigest()


def _header(source: Source, step: Redact, terms: Terms) -> el.Elements:
    """Say what was done (PS3.3 §C.7.6.1.1.2, §C.12.4), and who the result is."""
    header = el.without(source.header, *_OF_PIXELS)
    original = el.with_text({}, 0x00081150, b"UI", el.text(header, _SOP_CLASS))
    original = el.with_text(original, 0x00081155, b"UI", el.text(header, _SOP_INSTANCE))
    original = el.with_item(original, _PURPOSE, el.code_item("121322", "Source image for image processing operation"))
    header = el.with_item(header, _SOURCE_IMAGES, original)
    header = el.with_item(header, _DERIVATION_CODES, el.code_item("113047", "Pixel by pixel mask"))
    known = header[_DERIVATION].value.rstrip(b" \0") if _DERIVATION in header else b""
    text = b"; ".join(filter(None, (known, b"Regions blanked by hostd")))
    if len(text) > 1024:
        text = b"Regions blanked by hostd"
    header = header | {_DERIVATION: el.Element(_DERIVATION, b"ST", text + b" " * (len(text) % 2))}
    values = el.text(header, _IMAGE_TYPE).split("\\")
    values[0] = "DERIVED"
    header = el.with_text(header, _IMAGE_TYPE, b"CS", "\\".join(values if len(values) > 1 else [*values, "SECONDARY"]))
    if step.no_text_left:
        header = el.with_text(header, _BURNED_IN, b"CS", "NO")
    scope = f"instance\0{edits.canonical(step)}"
    uid = uids.new_uid(terms.key, scope, el.text(source.header, _SOP_INSTANCE))
    return el.with_text(header, _SOP_INSTANCE, b"UI", uid)
