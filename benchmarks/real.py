"""Real files that the tests look for too, where they are: beside the checkout, or beside one of the folders that it is in."""

from __future__ import annotations

from pathlib import Path


def _shared(*parts: str) -> Path:
    ways = [folder.joinpath("shared", "data", *parts) for folder in Path(__file__).resolve().parents[2:]]
    return next((way for way in ways if way.exists()), ways[0])


UNCOMPRESSED = tuple(_shared("wg04", f"{name}_UNC") for name in ("CT1", "MR1", "MR3", "NM1", "US1", "VL1"))
"""One of each of NEMA's WG-04 that others than hostd take too: CT, MR, nuclear medicine, ultrasound and visible light; 0.5 to 1.1 MB."""
CT = _shared("wg04", "CT1_UNC")
"""A CT of NEMA's WG-04, uncompressed, with 255 elements; not everywhere there."""
