"""What the installed imagecodecs can do; found out by its version, so that it need not be loaded."""

from __future__ import annotations

from importlib import metadata

NEWER = "imagecodecs>=2026.10.10, which needs Python 3.12 or later"


def _version() -> tuple[int, ...]:
    try:
        text = metadata.version("imagecodecs")
    except metadata.PackageNotFoundError:
        return ()
    return tuple(int(part) for part in text.split(".") if part.isdigit())


HAS_PRECISION = _version() >= (2026, 10)
"""Whether JPEG-LS and HTJ2K encoders take the bits of a sample, and the HTJ2K encoder an order of progression."""
