"""What turns stored samples into shades (PS3.3 §C.11.1, §C.11.2, §C.7.6.3.1): rescale or Modality LUT, window or VOI LUT.

Runs inside the worker. What a frame of a multi-frame image has of its own (PS3.3 §C.7.6.16) goes before what all share, and that
before what stands at the top.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hostd.errors import CannotTranscodeError
from hostd.transcoding import elements as el

if TYPE_CHECKING:
    from typing import Any

    import numpy as np

    from hostd.transcoding.codecs import Frame

    Shades = np.ndarray[Any, np.dtype[np.floating[Any]]]

_SHARED, _PER_FRAME = 0x52009229, 0x52009230
_TRANSFORMATION, _VOI = 0x00289145, 0x00289132
_INTERCEPT, _SLOPE, _MODALITY_LUT = 0x00281052, 0x00281053, 0x00283000
_CENTER, _WIDTH, _FUNCTION, _VOI_LUT = 0x00281050, 0x00281051, 0x00281056, 0x00283010
_LUT_DESCRIPTOR, _LUT_DATA = 0x00283002, 0x00283006
_SIGMOID_SLOPE = -4


@dataclass(frozen=True, slots=True)
class Window:
    """A VOI window: the values around `center` that are told apart. `function` is LINEAR, LINEAR_EXACT or SIGMOID."""

    center: float
    width: float
    function: str = "LINEAR"

    def shades(self, values: Shades) -> Shades:
        """Return values as shades from 0 to 1 (PS3.3 §C.11.2.1.2, §C.11.2.1.3)."""
        import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

        if self.function == "SIGMOID":
            exponent = np.clip(_SIGMOID_SLOPE * (values - self.center) / self.width, -700, 700)
            sigmoid: Shades = 1 / (1 + np.exp(exponent))
            return sigmoid
        center, width = (
            (self.center, self.width) if self.function == "LINEAR_EXACT" else (self.center - 0.5, self.width - 1)
        )
        linear: Shades = (
            np.clip((values - center) / width + 0.5, 0, 1) if width > 0 else (values > center).astype(values.dtype)
        )
        return linear


@dataclass(frozen=True)
class Lut:
    """A lookup table (PS3.3 §C.11.1.1): what lies below `first` has the first value, what lies above the last."""

    first: int
    table: Frame
    bits: int

    def apply(self, values: Frame | Shades) -> Frame:
        """Return the values that the table has for these."""
        import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

        places = np.clip(np.rint(values).astype("i8") - self.first, 0, len(self.table) - 1)
        found: Frame = self.table[places]
        return found


@dataclass(frozen=True)
class Grey:
    """How the samples of one frame become values, and these shades; what there is not is None."""

    slope: float
    intercept: float
    modality_lut: Lut | None
    window: Window | None
    voi_lut: Lut | None

    def values(self, samples: Frame) -> Shades:
        """Return stored samples as what they mean (PS3.3 §C.11.1)."""
        import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

        if self.modality_lut is not None:
            return self.modality_lut.apply(samples).astype("f4")
        as_float: Shades = samples.astype("f4" if samples.dtype.itemsize <= 2 else "f8")
        scaled: Shades = as_float * np.float32(self.slope) + np.float32(self.intercept)
        return scaled

    def asked(self, center: float | None, width: float | None, function: str, values: Shades) -> Window:
        """Return the window that is asked for; what is not asked for is as the frame itself has it, else of the least to the greatest value."""
        if center is not None and width is not None:
            return Window(center, width, function)
        low, high = float(values.min()), float(values.max())
        own = self.window or Window((low + high + 1) / 2, high - low + 1)
        return replace(
            own, center=own.center if center is None else center, width=own.width if width is None else width
        )

    def shades(self, values: Shades, window: Window | None) -> Shades:
        """Return values as shades from 0 to 1: by `window`, else as the frame itself has it, else from the least to the greatest."""
        import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

        chosen = window or self.window
        if chosen is not None:
            return chosen.shades(values)
        if self.voi_lut is not None:
            looked_up: Shades = self.voi_lut.apply(values).astype("f4") / ((1 << self.voi_lut.bits) - 1)
            return looked_up
        low, high = float(values.min()), float(values.max())
        stretched: Shades = (values - low) / (high - low) if high > low else np.zeros_like(values)
        return stretched


def grey_of(header: el.Elements, frame: int, *, signed: bool) -> Grey:
    """Return how a frame (from 0) is to be shown. Raises `CannotTranscodeError` for what cannot be read."""
    try:
        rescaled = _first_with((_SLOPE,), _levels(header, frame, _TRANSFORMATION))
        modality = _lut(header, _MODALITY_LUT, signed=signed)
        slope, intercept = _number(rescaled, _SLOPE, 1.0), _number(rescaled, _INTERCEPT, 0.0)
        windowed = _first_with((_CENTER, _WIDTH), _levels(header, frame, _VOI))
        voi = _lut(_first_with((_VOI_LUT,), _levels(header, frame, _VOI)), _VOI_LUT, signed=signed)
        return Grey(slope or 1.0, intercept, modality, _window(windowed), voi)
    except (ValueError, struct.error) as error:
        raise CannotTranscodeError(f"what the header says of how to show it cannot be read: {error}") from error


def _levels(header: el.Elements, frame: int, macro: int) -> Iterator[el.Elements]:
    """Yield the elements that a macro may be in: those of the frame, those that all frames share, and those at the top."""
    for sequence, number in ((_PER_FRAME, frame), (_SHARED, 0)):
        if sequence not in header:
            continue
        items = el.items(header[sequence])
        if number < len(items) and macro in items[number]:
            yield from el.items(items[number][macro])[:1]
    yield header


def _first_with(tags: tuple[int, ...], levels: Iterator[el.Elements]) -> el.Elements:
    return next((level for level in levels if all(tag in level and level[tag].value for tag in tags)), {})


def _number(level: el.Elements, tag: int, absent: float) -> float:
    text = el.text(level, tag).split("\\")[0].strip()
    return float(text) if text else absent


def _window(level: el.Elements) -> Window | None:
    if not level:
        return None
    center, width = _number(level, _CENTER, 0.0), _number(level, _WIDTH, 0.0)
    function = el.text(level, _FUNCTION).split("\\")[0].strip() or "LINEAR"
    return Window(center, width, function) if width >= 1 or (function != "LINEAR" and width > 0) else None


def _lut(level: el.Elements, sequence: int, *, signed: bool) -> Lut | None:
    if sequence not in level or not level[sequence].value:
        return None
    items = el.items(level[sequence])
    if not items or _LUT_DESCRIPTOR not in items[0] or _LUT_DATA not in items[0]:
        return None
    return table_of(items[0][_LUT_DESCRIPTOR].value, items[0][_LUT_DATA].value, signed=signed)


def table_of(descriptor: bytes, data: bytes, *, signed: bool) -> Lut:
    """Return a table of its descriptor and data. Raises `CannotTranscodeError` when they do not agree."""
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    entries, first, bits = struct.unpack("<HhH" if signed else "<HHH", descriptor[:6])
    entries = entries or 1 << 16
    if not 1 <= bits <= 16:
        raise CannotTranscodeError(f"a lookup table of {bits} bits cannot be")
    wide = len(data) >= 2 * entries
    table = np.frombuffer(data, "<u2" if wide else "u1")[:entries]
    if len(table) < entries:
        raise CannotTranscodeError(f"a lookup table should have {entries} entries, and has {len(table)}")
    return Lut(first, table, bits)
