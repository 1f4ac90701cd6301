"""Binary values that are given as texts: as the characters are, or in a data URI (RFC 2397)."""

from __future__ import annotations

import base64
import binascii

from pydicom.datadict import private_dictionary_VR

_WIDTHS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


def padded(vr: str, value: bytes) -> bytes:
    """Return a value with an even length. Raises `ValueError` for one that is not of whole numbers of its VR."""
    if len(value) % (width := _WIDTHS.get(vr, 1)):
        raise ValueError(f"has values of {width} bytes, and is of {len(value)}")
    return value + bytes(len(value) % 2)


def data_uri(uri: str) -> tuple[str, bytes]:
    """Return media type and bytes of a data URI. Raises `ValueError`."""
    scheme, _, rest = uri.partition(":")
    said, comma, encoded = rest.partition(",")
    parameters = said.split(";")
    if scheme != "data" or not comma or parameters[-1].strip() != "base64":
        raise ValueError("a data URI is in base64: data:image/png;base64,…")
    try:
        return parameters[0].strip().lower(), base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("the data URI is not in base64") from error


def private_vr(tag: int, creator: str) -> str:
    """Return the VR of a creator's private element, UN for one that no dictionary knows (PS3.5 §6.2.2)."""
    try:
        return str(private_dictionary_VR(tag, creator))
    except KeyError:
        return "UN"
