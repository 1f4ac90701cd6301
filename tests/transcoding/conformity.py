"""What dcmftest and dciodvfy say against a file."""

from __future__ import annotations

import io
import shutil
import subprocess
import zlib
from functools import lru_cache

import pydicom
from pydicom.filereader import read_preamble
from pydicom.filewriter import write_file_meta_info

TOOLS = ("dcmftest", "dciodvfy")
_ROOT = "1.2.840.10008.1.2"
_DEFLATED, _EXPLICIT = f"{_ROOT}.1.99", f"{_ROOT}.1"
_OLDER = {
    # dciodvfy (2022) knows none of these and takes their fragments for uncompressed data, so that it is shown the same data
    # set under the name of the syntax it knows that is nearest in what it allows of the header.
    f"{_ROOT}.1.98": f"{_ROOT}.5", f"{_ROOT}.8.1": f"{_ROOT}.5",
    f"{_ROOT}.4.110": f"{_ROOT}.4.80", f"{_ROOT}.4.111": f"{_ROOT}.4.50", f"{_ROOT}.4.112": f"{_ROOT}.4.91",
    f"{_ROOT}.4.201": f"{_ROOT}.4.90", f"{_ROOT}.4.202": f"{_ROOT}.4.90", f"{_ROOT}.4.203": f"{_ROOT}.4.91",
}  # fmt: skip
NOT_YET_KNOWN = frozenset({
    # PS3.3 §C.7.6.3.1.2 defines XYB since 2024d, two years after the dciodvfy of Debian 12.
    "Error - Unrecognized enumerated value <XYB> for value 1 of attribute <Photometric Interpretation>",
})  # fmt: skip
"""Errors that are the tool's age."""


def missing() -> list[str]:
    """Return the tools that are not installed."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


@lru_cache(maxsize=2)  # a source, and the result that is compared with it
def errors(content: bytes, folder) -> frozenset[str] | None:
    """Return the errors of a file; None when dciodvfy itself dies of it, as it does of uncompressed samples of 32 bits."""
    file = folder / "conformity.dcm"
    file.write_bytes(content)
    tested = subprocess.run(["dcmftest", file], capture_output=True, text=True, timeout=60, check=False)
    found = set() if tested.stdout.startswith("yes: ") else {f"dcmftest: {tested.stdout}{tested.stderr}"}
    file.write_bytes(_as_known(content))
    checked = subprocess.run(
        ["dciodvfy", file], capture_output=True, text=True, errors="replace", timeout=60, check=False
    )
    if checked.returncode < 0:
        return None
    found |= {line for line in (checked.stdout + checked.stderr).splitlines() if "Error" in line}
    return frozenset(found - NOT_YET_KNOWN)


def _as_known(content: bytes) -> bytes:
    """Return the file in a transfer syntax that dciodvfy can read, its data set as it is, or inflated by zlib."""
    source = io.BytesIO(content)
    read_preamble(source, force=False)
    meta = pydicom.filereader._read_file_meta_info(source)
    rest = source.read()
    syntax = str(meta.TransferSyntaxUID)
    if syntax == _DEFLATED:
        meta.TransferSyntaxUID, rest = _EXPLICIT, zlib.decompress(rest, -15)
    elif syntax in _OLDER:
        meta.TransferSyntaxUID = _OLDER[syntax]
    else:
        return content
    result = io.BytesIO()
    result.write(bytes(128) + b"DICM")
    write_file_meta_info(result, meta)
    return result.getvalue() + rest
