"""Value representations by how their values are encoded (PS3.5 §6.2, §7.1.2)."""

from __future__ import annotations

LONG = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"])
"""Those that have a length of 4 bytes in explicit VR."""
LONG_ENCODED = frozenset(vr.encode() for vr in LONG)
BINARY = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "UN"])
"""Those whose values are bytes or words, no text and no single numbers."""
