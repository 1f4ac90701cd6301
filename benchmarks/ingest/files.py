"""The instances that are transcoded: one CT image again and again, each time with an identity of its own."""

from __future__ import annotations

from pathlib import Path

import pydicom
from pydicom.uid import generate_uid

from benchmarks.receive.made import as_next
from benchmarks.transcode import images
from benchmarks.transcode.images import Image


def made(folder: Path, count: int, parts: int) -> list[Path]:
    """Write so many files, into a folder for each association; return the folders."""
    folder.mkdir(parents=True)
    dataset = pydicom.dcmread(image(folder).path)
    dataset.StudyInstanceUID = generate_uid()
    folders = [folder / f"{part}" for part in range(parts)]
    for one in folders:
        one.mkdir()
        dataset.SeriesInstanceUID = generate_uid()
        for number in range(max(1, count // parts)):
            as_next(dataset, number)
            dataset.save_as(one / f"{number}.dcm", enforce_file_format=True)
    return folders


def image(folder: Path) -> Image:
    """Return the image that they are of, which may be made in that folder."""
    return images.ct(folder)
