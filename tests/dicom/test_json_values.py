"""Values in the DICOM JSON Model (PS3.18 §F.2.3): the frequent kinds, which are told in one go, are told as each would be alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostd.dicom import json_model
from hostd.dicom.element_values import TEXT
from hostd.dicom.json_model import to_json

TEXTS = st.sampled_from(["", "a", "7", "-0.50", "1e5", "1e999", "nan", "9007199254740993", "00012", " 3", "é"])
KINDS = dict.fromkeys(sorted(TEXT), TEXTS) | {
    "US": st.integers(0, 65535),
    "SS": st.integers(-32768, 32767),
    "UL": st.integers(0, (1 << 32) - 1),
    "SL": st.integers(-(1 << 31), (1 << 31) - 1),
    "UV": st.integers(0, (1 << 64) - 1),
    "SV": st.integers(-(1 << 63), (1 << 63) - 1),
    "FD": st.floats(),
    "AT": st.integers(0, (1 << 32) - 1),
}


def alone(vr, value):
    if vr in {"IS", "DS"}:
        return json_model._number(vr, value) if value else None
    return json_model._json_value(vr, value) if value != "" else None


@settings(deadline=None)
@given(
    st.sampled_from(list(KINDS)).flatmap(lambda vr: st.tuples(st.just(vr), st.none() | st.lists(KINDS[vr], max_size=4)))
)
def test_every_value_is_told_as_its_vr_has_it(element):
    vr, values = element
    expected = {"vr": vr}
    if values is None:
        expected["BulkDataURI"] = "/bulk"
    elif values:
        expected["Value"] = [alone(vr, value) for value in values]
    told = to_json({0x00100010: element}, lambda path: "/bulk")["00100010"]
    assert repr(told) == repr(expected)


@pytest.mark.parametrize(
    ("vr", "values", "expected"),
    [
        ("US", [0, 7], [0, 7]),
        ("LO", ["a", "", "b"], ["a", None, "b"]),
        ("DS", ["1.50", "", "12"], [1.5, None, 12]),
        ("IS", ["007", "x"], [7, "x"]),
        ("PN", ["Yamada^Tarou=山田^太郎"], [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}]),
    ],
)
def test_values_of_each_kind(vr, values, expected):
    assert to_json({0x0020000D: (vr, values)}, lambda path: "") == {"0020000D": {"vr": vr, "Value": expected}}


def test_elements_stand_in_the_order_of_their_tags():
    elements = {0x00200013: ("IS", ["1"]), 0x00081140: ("SQ", [{0x00081155: ("UI", ["1.2"])}]), 0x00080060: ("CS", [])}
    assert list(to_json(elements, lambda path: "")) == ["00080060", "00081140", "00200013"]
