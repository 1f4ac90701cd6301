"""Every decodable source against every encodable target, judged by decoders that are not hostd's.

`python tests/transcoding/matrix.py` runs all of it and writes the tables of docs/transcoding.md.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import conformity
import numpy as np
import pydicom
import pytest
from judges import FURTHER, all_judged, name_of
from transcoding_images import JUDGES, done, header, pixels_of, shared, shipped

from hostd.dicom.syntaxes import (
    ALL,
    EXPLICIT_BE,
    EXPLICIT_LE,
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
    JPEG_BASELINE,
    JPEG_XL_RECOMPRESSION,
    TransferSyntax,
)
from hostd.errors import CannotTranscodeError
from hostd.transcoding import registry
from hostd.transcoding.codecs._imagecodecs import HAS_PRECISION, NEWER
from hostd.transcoding.options import EncodeOptions
from hostd.transcoding.source import NATIVE

DOCUMENT = Path(__file__).parents[2] / "docs" / "transcoding.md"
QUALITY = EncodeOptions(quality=90)
TARGETS = [s for s in ALL if s in NATIVE or registry.encoders(s)]
SOURCES = [s for s in ALL if s in (*NATIVE, EXPLICIT_BE) or registry.decoders(s)]

REAL = {
    ".": ["MR_small_implicit.dcm", "rtdose_1frame.dcm"],
    ".1": ["CT_small.dcm", "examples_palette.dcm", "SC_rgb_small_odd.dcm", "SC_ybr_full_422_uncompressed.dcm", "liver_1frame.dcm"],
    ".1.99": ["image_dfl.dcm"],
    ".2": ["MR_small_bigendian.dcm", "SC_rgb_small_odd_big_endian.dcm"],
    ".4.50": ["SC_rgb_dcmtk_+eb+cy+np.dcm", "SC_rgb_jpeg_app14_dcmd.dcm", "SC_rgb_small_odd_jpeg.dcm"],
    ".4.51": ["JPGExtended.dcm", ("other", "jpeg_extended_rgb_51.dcm")],
    ".4.57": [("other", "jpeg_lossless_57.dcm")],
    ".4.70": ["SC_rgb_jpeg_gdcm.dcm", ("wg04", "MR3_JPLL")],
    ".4.80": ["MR_small_jpeg_ls_lossless.dcm"],
    ".4.81": ["JPEGLSNearLossless_16.dcm", "SC_rgb_jls_lossy_line.dcm"],
    ".4.90": ["MR_small_jp2klossless.dcm", "GDCMJ2K_TextGBR.dcm"],
    ".4.91": ["SC_rgb_gdcm_KY.dcm", "JPEG2000.dcm"],
    ".4.111": [("other", "jpegxl_recompression_111_27frames.dcm")],
    ".4.201": [("other", "HTJ2KLossless_08_RGB.dcm")],
    ".4.202": [("htj2k", "CT1_JPH")],
    ".4.203": [("other", "HTJ2K_08_RGB.dcm")],
    ".5": ["MR_small_RLE.dcm", "SC_rgb_rle_2frame.dcm"],
    ".8.1": [("other", "liver_nonbyte_aligned_deflate.dcm")],
}  # fmt: skip
"""The end of a UID → real files, those that every machine has first."""
ROOT = "1.2.840.10008.1.2"

LOSSY_BOUNDS = {".4.50": 1, ".4.51": 1, ".4.53": 1, ".4.55": 1, ".4.81": 0, ".4.91": 1, ".4.112": 1, ".4.203": 1}
"""By how much two decoders may differ in any sample of a lossy codestream: a rounding, and none where T.87 leaves no choice."""


@dataclass(frozen=True)
class Source:
    """A file, or how one is made of a real one where no real one of that syntax is at hand."""

    name: str
    syntax: TransferSyntax
    content: bytes


@cache
def sources(syntax: TransferSyntax, *, only_shipped: bool = False) -> tuple[Source, ...]:
    """Return the sources of that syntax; what is not on this machine is left out."""
    suffix = syntax.uid.removeprefix(ROOT) or "."
    found = []
    for name in REAL.get(suffix, []):
        if only_shipped and not isinstance(name, str):
            continue
        try:
            path = shipped(name) if isinstance(name, str) else shared(*name)
        except pytest.skip.Exception:
            continue
        found.append(Source(path.name, syntax, path.read_bytes()))
    return tuple(found) or tuple(_made(syntax))


def _made(syntax: TransferSyntax) -> list[Source]:
    flags = {".4.53": "+es", ".4.55": "+ep"}.get(syntax.uid.removeprefix(ROOT))
    colour, grey = shipped("SC_rgb_dcmtk_+eb+cy+np.dcm"), shipped("CT_small.dcm")
    if flags:
        return _by_dcmtk(colour, flags, syntax)
    if syntax == JPEG_XL_RECOMPRESSION:
        return [Source(f"{colour.name}, recompressed", syntax, done(colour.read_bytes(), syntax)[0])]
    plain, _ = done(colour.read_bytes(), EXPLICIT_LE)
    if syntax == HTJ2K_LOSSLESS_RPCL and not registry.encoders(syntax):
        return [Source(f"{colour.name}, as RPCL", syntax, _with_tile_length(done(plain, HTJ2K_LOSSLESS)[0]))]
    options = QUALITY if syntax.is_lossy else None
    made = []
    for name, content in ((grey.name, grey.read_bytes()), (colour.name, plain)):
        try:
            made.append(Source(f"{name}, encoded by hostd", syntax, done(content, syntax, options)[0]))
        except CannotTranscodeError:
            continue
    return made


def _with_tile_length(content: bytes) -> bytes:
    """Return a .201 of one frame as .202: OpenJPH orders by RPCL anyway, and what else PS3.5 §10.18 asks for is the TLM marker."""
    ds = pydicom.dcmread(io.BytesIO(content))
    (frame,) = pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1)
    tile = frame.index(b"\xff\x90")
    assert frame[frame.index(b"\xff\x52") + 5] == 2, "not in RPCL order"
    length = frame[tile + 6 : tile + 10]  # Psot
    ds.PixelData = pydicom.encaps.encapsulate([frame[:tile] + b"\xff\x55\0\x08\0\x40" + length + frame[tile:]])
    ds.file_meta.TransferSyntaxUID = HTJ2K_LOSSLESS_RPCL.uid
    result = io.BytesIO()
    ds.save_as(result)
    return result.getvalue()


def _by_dcmtk(colour: Path, flags: str, syntax: TransferSyntax) -> list[Source]:
    if shutil.which("dcmcjpeg") is None:
        return []
    with tempfile.TemporaryDirectory() as folder:
        plain, made = Path(folder) / "plain", Path(folder) / "made"
        plain.write_bytes(done(colour.read_bytes(), EXPLICIT_LE)[0])
        subprocess.run(["dcmcjpeg", flags, plain, made], check=True, capture_output=True, timeout=60)
        assert str(header(made.read_bytes()).file_meta.TransferSyntaxUID) == syntax.uid
        return [Source(f"{colour.name}, encoded by dcmcjpeg", syntax, made.read_bytes())]


def check(source: Source, target: TransferSyntax, folder: Path) -> str:
    """Transcode and have the result judged. Returns "exact", "as said" (lossy) or the refusal; asserts everything else."""
    if source.syntax == target:
        return "same"
    lossless_way = not target.is_lossy or (source.syntax, target) in (
        (JPEG_BASELINE, JPEG_XL_RECOMPRESSION),
        (JPEG_XL_RECOMPRESSION, JPEG_BASELINE),
    )
    try:
        made, facts = done(source.content, target, None if lossless_way else QUALITY)
    except CannotTranscodeError as error:
        return f"refused: {error}"
    before, after = header(source.content), header(made)
    assert after.file_meta.TransferSyntaxUID == target.uid
    assert (after.Rows, after.Columns, after.get("NumberOfFrames", 1)) == (
        before.Rows,
        before.Columns,
        before.get("NumberOfFrames", 1),
    )
    _conforms(source, made, folder)
    found = judged_or_inside(made, target, folder)
    if lossless_way:
        assert after.SOPInstanceUID == before.SOPInstanceUID
        assert facts.pixel_hash_before == facts.pixel_hash_after
        if target != JPEG_BASELINE:  # what .111 holds is compared below, as a lossy codestream that two decoders read
            for program, samples in found.items():
                assert np.array_equal(samples, reference_of(source)), f"{program} finds other pixels"
            return "exact"
    else:
        assert after.SOPInstanceUID != before.SOPInstanceUID
        assert after.LossyImageCompression == "01"
    own = pixels_of(done(made, EXPLICIT_LE)[0])
    bound = LOSSY_BOUNDS.get(target.uid.removeprefix(ROOT), 0)
    for program, samples in found.items():
        assert np.abs(samples.astype("i8") - own).max() <= bound, f"{program} finds other pixels than hostd"
    return "exact" if lossless_way else "as said"


def _conforms(source: Source, made: bytes, folder: Path) -> None:
    """Have dcmftest and dciodvfy look at a result, where they are installed; what they say of its source too is not its fault."""
    if conformity.missing():
        return
    before = conformity.errors(source.content, folder)
    if before is not None:
        after = conformity.errors(made, folder)
        assert after is not None, "dciodvfy dies of the result"
        assert not after - before


@cache
def reference_of(source: Source) -> np.ndarray:
    """Return the samples of a source, decoded once."""
    if source.syntax == EXPLICIT_LE:
        return pixels_of(source.content)
    return pixels_of(done(source.content, EXPLICIT_LE)[0])


def judged_or_inside(made: bytes, target: TransferSyntax, folder: Path) -> dict[str, np.ndarray]:
    """Return what each independent decoder finds; of .111 in the JPEG inside, and without any hostd's own decoder."""
    if target == JPEG_XL_RECOMPRESSION:
        made = done(made, JPEG_BASELINE)[0]
    return all_judged(made, folder) or {"hostd": pixels_of(done(made, EXPLICIT_LE)[0])}


def difference(source: Source, folder: Path) -> dict[str, int]:
    """Return by how much hostd and each independent decoder differ on a lossy source."""
    return {
        program: int(np.abs(samples.astype("i8") - reference_of(source)).max())
        for program, samples in all_judged(source.content, folder).items()
    }


# -- the document ------------------------------------------------------------------------------------------------------


def libraries() -> list[str]:
    """Return the table of what decodes, encodes and judges each syntax, line by line."""
    lines = ["## Which library", "", "| transfer syntax | decoded by | encoded by | judged by |", "|---|---|---|---|"]
    for syntax in ALL:
        if syntax not in SOURCES and syntax not in TARGETS:
            continue
        own = ["hostd"]
        decoders = own if syntax in (*NATIVE, EXPLICIT_BE) else [codec.NAME for codec in registry.decoders(syntax)]
        encoders = own if syntax in NATIVE else [codec.NAME for codec in registry.encoders(syntax)]
        judges = [name_of(by[syntax.uid]) for by in (JUDGES, FURTHER) if syntax.uid in by]
        judge = "dcmdjpeg, as the JPEG inside" if syntax == JPEG_XL_RECOMPRESSION else ", ".join(judges)
        judge = judge if encoders else "-"
        cells = (f"{syntax.name} ({_short(syntax)})", ", ".join(decoders), ", ".join(encoders) or "-", judge)
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def tables(folder: Path) -> str:
    """Run everything and return the generated part of the document."""
    lines = libraries()
    lines += ["", "## From each to each", ""]
    lines += [
        LEGEND,
        "",
        "| source | " + " | ".join(map(_short, TARGETS)) + " |",
        "|---" * (len(TARGETS) + 1) + "|",
    ]
    reasons: dict[str, int] = {}
    for syntax in SOURCES:
        for source in sources(syntax):
            cells = []
            for target in TARGETS:
                said = check(source, target, folder)
                if said.startswith("refused: "):
                    cells.append(str(reasons.setdefault(said.removeprefix("refused: "), len(reasons) + 1)))
                else:
                    cells.append({"exact": "=", "as said": "~", "same": ""}[said])
            lines.append(f"| {_short(syntax)} {source.name} | " + " | ".join(cells) + " |")
    lines += ["", "Refused because:", "", *(f"{number}. {reason}" for reason, number in reasons.items())]
    lines += [
        "",
        "## How decoders differ on lossy sources",
        "",
        "The largest difference of any sample between hostd and each independent decoder, over whole images.",
        "",
        "| syntax | file | difference | bound |",
        "|---|---|---|---|",
    ]
    for syntax in SOURCES:
        suffix = syntax.uid.removeprefix(ROOT)
        if suffix in LOSSY_BOUNDS:
            for source in sources(syntax):
                found = ", ".join(f"{program}: {most}" for program, most in difference(source, folder).items())
                lines.append(f"| {suffix} | {source.name} | {found} | {LOSSY_BOUNDS[suffix]} |")
    return "\n".join(lines) + "\n"


def _short(syntax: TransferSyntax) -> str:
    return syntax.uid.removeprefix(ROOT) or "implicit"


def main() -> None:
    """Write the generated part of the document."""
    if not HAS_PRECISION:
        sys.exit(f"the table is that of a whole installation, which needs {NEWER}")
    if absent := [program for program in {*conformity.TOOLS, *FURTHER.values()} if shutil.which(program) is None]:
        sys.exit(f"the table is that of all judges; not installed: {', '.join(sorted(absent))}")
    written = DOCUMENT.read_text("utf-8").partition(MARK)[0]
    with tempfile.TemporaryDirectory() as folder:
        DOCUMENT.write_text(written + MARK + "\n\n" + tables(Path(folder)), "utf-8")


LEGEND = (
    "`=` the same pixels, found by the decoder that judges · `~` with loss, and it finds the same pixels as hostd's · "
    "number: refused, see below. Several judges must all find the same. Of every result dcmftest and dciodvfy report no error "
    "that they do not report of its source."
)
MARK = "<!-- What follows is written by `python tests/transcoding/matrix.py`. -->"

if __name__ == "__main__":
    main()
