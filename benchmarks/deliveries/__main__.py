"""`python -m benchmarks.deliveries`: measure sending beside Orthanc, and write the section "Deliveries" of docs/performance.md."""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from benchmarks import document, machine
from benchmarks.deliveries import turns
from benchmarks.deliveries.turns import HOSTD_ROUTES, LUA_ROUTES, Turn

SECTION = "deliveries"
_SIDE = 512


def main() -> None:
    """Measure, print, and with `--write` write the section."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deliveries", description=__doc__)
    parser.add_argument("--instances", type=int, default=200, help="how many in a turn (default 200)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each way takes its turn (default 3)")
    parser.add_argument("--write", action="store_true", help="write the section into the page")
    parser.add_argument("--page", type=Path, default=document.PAGE, help="the page (default docs/performance.md)")
    asked = parser.parse_args()
    for program in ("storescp", "Orthanc"):
        if shutil.which(program) is None:
            parser.error(f"{program} is not on the PATH")
    files = made(asked.instances)
    text = section([turns.taken(files) for _ in range(asked.rounds)], len(files), sum(map(len, files)))
    print(text)  # noqa: T201 - what the command is for
    if asked.write:
        document.write_section(asked.page, SECTION, text)


def section(rounds: list[dict[str, Turn]], count: int, size: int) -> str:
    """Return the section, of rounds with so many instances of so many bytes in all."""
    lines = []
    for way in rounds[0]:
        wall = statistics.median(one[way].wall for one in rounds)
        cpu = statistics.median(one[way].cpu for one in rounds)
        lines.append(f"| {way} | {count / wall:.0f} | {size / wall / (1 << 20):.0f} | {1e3 * cpu / count:.2f} |")
    routed = statistics.median(one[LUA_ROUTES].wall / one[HOSTD_ROUTES].wall for one in rounds)
    return f"""## Deliveries

Made by `python -m benchmarks.deliveries`; see `benchmarks/README.md`. {count} CT images of {size / count / (1 << 20):.2f} MiB, the median of
{len(rounds)} rounds. From reception through a script to delivery hostd was **{routed:.1f} times** as fast as Orthanc with a Lua script (median of
the rounds).

Machine: {machine.described()}; load average {os.getloadavg()[0]:.1f} at the end.

| way | instances/s | MiB/s | ms of CPU an instance |
|---|---|---|---|
{chr(10).join(lines)}

CPU time is that of the sender alone. hostd's figures include the record of every answer, on stable storage.
"""


def made(count: int) -> list[bytes]:
    """Return the images of one CT series, each of half a megabyte and with pixels of its own."""
    study, series = generate_uid(), generate_uid()
    return [_made(seed, study, series) for seed in range(count)]


def _made(seed: int, study: str, series: str) -> bytes:
    data_set = Dataset()
    data_set.SOPClassUID, data_set.SOPInstanceUID = CTImageStorage, generate_uid()
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = study, series
    data_set.PatientID, data_set.Modality, data_set.InstanceNumber = "BENCHMARK", "CT", seed
    data_set.Rows = data_set.Columns = _SIDE
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit, data_set.PixelRepresentation = 16, 12, 11, 0
    pixels = np.random.default_rng(seed).integers(0, 4096, (_SIDE, _SIDE), dtype=np.uint16)
    data_set.PixelData = pixels.tobytes()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    written = DicomBytesIO()
    data_set.save_as(written, enforce_file_format=True)
    return bytes(written.getvalue())


if __name__ == "__main__":
    main()
