"""Real files that the tests look for too, where they are: beside the checkout, or beside one of the folders that it is in."""

from __future__ import annotations

from pathlib import Path


def _shared(*parts: str) -> Path:
    ways = [folder.joinpath("shared", "data", *parts) for folder in Path(__file__).resolve().parents[2:]]
    return next((way for way in ways if way.exists()), ways[0])


CT = _shared("wg04", "CT1_UNC")
"""A CT of NEMA's WG-04, uncompressed, with 255 elements; not everywhere there."""
