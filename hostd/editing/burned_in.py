"""Whether text may be burned into the pixels (PS3.15 §E.3.1): a header cannot be cleaned of what the image itself says."""

from __future__ import annotations

from hostd.errors import CannotEditError
from hostd.transcoding import elements as el

_MODALITY, _CLASS, _STATEMENT = 0x00080060, 0x00080016, 0x00280301
_MODALITIES = frozenset(("US", "IVUS", "SC", "ES", "XC", "OT", "GM", "SM", "DOC"))
_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.3.1", "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.77.1.1", "1.2.840.10008.5.1.4.1.1.77.1.4",
)  # fmt: skip
"""Ultrasound, Secondary Capture and its kin, endoscopy and photography: what such devices make commonly has text in it."""
_OVERLAY_ROWS, _OVERLAY_BIT, _OVERLAY_DATA = 0x0010, 0x0102, 0x3000
_WAY_OUT = "redact the regions that could hold it first, or allow burned-in text for the project or in this call"


def refuse(header: el.Elements) -> None:
    """Raise `CannotEditError` when text is in the pixels, or may be and the instance does not say."""
    statement = el.text(header, _STATEMENT).upper()
    if statement == "YES":
        raise CannotEditError(f"text is burned into the pixels (BurnedInAnnotation YES); {_WAY_OUT}")
    if overlay := _overlay_in_samples(header):
        raise CannotEditError(f"an overlay ({overlay:04X}) is in the bits of the pixels, and may hold text; {_WAY_OUT}")
    if statement == "NO":
        return
    modality, sop_class = el.text(header, _MODALITY).upper(), el.text(header, _CLASS)
    if modality in _MODALITIES or any(sop_class == known or sop_class.startswith(known + ".") for known in _CLASSES):
        raise CannotEditError(
            f"the instance does not say whether text is burned into its pixels (BurnedInAnnotation), and with {modality or 'its class'} "
            f"it may be; {_WAY_OUT}"
        )


def _overlay_in_samples(header: el.Elements) -> int | None:
    for group in range(0x6000, 0x6020, 2):
        base = group << 16
        if base | _OVERLAY_ROWS in header and base | _OVERLAY_DATA not in header:
            try:
                position = el.number(header, base | _OVERLAY_BIT)
            except ValueError:
                position = 1
            if position:
                return group
    return None
