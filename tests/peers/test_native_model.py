"""The Native DICOM Model (PS3.19 §A.1) beside what DCMTK's dcm2xml makes of the same files."""

import subprocess
from xml.etree import ElementTree as ET

import pytest
from peer_kit import needs, sample

from hostd.dicom.header import read_elements
from hostd.dicom.json_model import to_xml
from hostd.dicom.part10 import data_set_offset

pytestmark = [pytest.mark.peers, needs("dcm2xml")]

SPACE = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
BULK = {"OB", "OD", "OF", "OL", "OV", "OW", "UN"}
NUMBERS = {"FL", "FD"}


def told(parent):
    """Return the attributes of a data set or item: by tag and creator, VR, values and items. Group lengths and values in bulk are left out."""
    found = {}
    for one in parent.findall(f"{SPACE}DicomAttribute"):
        vr, tag = one.get("vr"), one.get("tag").upper()
        if tag.endswith("0000") or tag.startswith("0002") or vr in BULK:
            continue
        creator = one.get("privateCreator")
        if int(tag[:4], 16) % 2 and not creator:  # whose it is nobody knows, or it is a creator's
            continue
        values = [(value.get("number"), plain(vr, value.text)) for value in one.findall(f"{SPACE}Value") if value.text]
        names = [
            (
                name.get("number"),
                [
                    (group.tag, [(part.tag, (part.text or "").strip()) for part in group if (part.text or "").strip()])
                    for group in name
                ],
            )
            for name in one.findall(f"{SPACE}PersonName")
            if len(name)
        ]
        items = [(item.get("number"), told(item)) for item in one.findall(f"{SPACE}Item")]
        found[tag, creator] = (vr, values, names, items)
    return found


def plain(vr, text):
    return f"{float(text):.6g}" if vr in NUMBERS else text.strip(" ")


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small.dcm",
        "rtplan.dcm",
        "test-SR.dcm",
        "waveform_ecg.dcm",
        "examples_palette.dcm",
        "reportsi.dcm",
    ],
)
def test_a_document_says_what_dcmtks_says(name):
    path = sample(name)
    with path.open("rb") as file:
        start = data_set_offset(file)
        elements, _ = read_elements(
            file,
            offset=start.offset,
            transfer_syntax=start.transfer_syntax_uid,
            max_value=1 << 20,
            max_elements=64 << 20,
        )
    ours = told(ET.fromstring(to_xml(elements, lambda path: "bulk")))
    ran = subprocess.run(["dcm2xml", "-nat", "+Xn", str(path)], capture_output=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    theirs = told(ET.fromstring(ran.stdout))
    assert ours == theirs
    assert len(ours) > 10
