"""Names of files made of attributes: none escapes its folder, none is refused by a file system, no two values share one."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostd.dicom.file_paths import MAX_NAME, PathTemplate, numbered, safe_name

PATIENT, SOP = 0x00100020, 0x00080018
TEMPLATE = PathTemplate.parse("{PatientID}/{StudyDate}/{Modality}/{SOPInstanceUID}.dcm")
hostile = st.one_of(
    st.text(),
    st.text(alphabet="./\\ ~_:\0\nCONaux1", max_size=8),
    st.sampled_from(
        ["..", ".", "/", "../..", "CON", "con.txt", "LPT1", "a" * 5000, "é" * 200, "\ud800", "-rf", "~root"]
    ),
)


def test_an_ordinary_instance_has_the_path_that_one_expects():
    values = {PATIENT: "P-17 b", 0x00080020: "20260102", 0x00080060: "CT", SOP: "1.2.3"}
    assert TEMPLATE.render(values, "unknown") == ("P-17 b", "20260102", "CT", "1.2.3.dcm")


def test_what_is_absent_or_blank_is_named_so():
    assert TEMPLATE.render({SOP: "1.2.3", PATIENT: "  "}, "none") == ("none", "none", "none", "1.2.3.dcm")


@given(hostile)
def test_no_value_leaves_its_folder_or_makes_a_name_that_is_refused_anywhere(value):
    names = TEMPLATE.render({PATIENT: value, SOP: value}, "unknown")
    assert len(names) == 4
    for name in names:
        assert name not in {"", ".", ".."}
        assert not name.startswith((".", " "))
        assert not name.endswith((" ", "."))
        assert not set(name) & set('/\\:*?"<>|\0\n')
        assert name.isprintable()
        assert len(name.encode()) <= MAX_NAME
        assert name.split(".")[0].strip().upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT1"}
    assert os.path.normpath("/top/" + "/".join(names)) == "/top/" + "/".join(names)


@given(hostile, hostile)
def test_two_values_are_never_one_name(one, other):
    # The same letters, composed differently, are one text to readers and to some file systems.
    are_one = unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other)
    assert (safe_name(one) == safe_name(other)) == are_one


@given(hostile)
def test_a_safe_name_is_left_as_it_is(value):
    name = safe_name(value)
    assert "~" in name or safe_name(name) == name


@pytest.mark.parametrize("name", ["CON", "nul.dcm", "com1", "..", "a/b", "a:b", "x" * 300, "a.", ".hidden"])
def test_what_was_changed_bears_a_digest(name):
    assert "~" in safe_name(name)


def test_a_number_goes_before_the_ending():
    assert numbered("1.2.3.dcm", 2) == "1.2.3-2.dcm"
    assert numbered("name", 12) == "name-12"


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("", "relative path"),
        ("/{PatientID}.dcm", "relative path"),
        ("a//{PatientID}", "empty names"),
        ("{PatientID}/", "empty names"),
        ("../{PatientID}.dcm", "begin with a dot"),
        (".hostd/{PatientID}.dcm", "begin with a dot"),
        ("{PatientId}.dcm", "did you mean PatientID?"),
        ("{PixelData}.dcm", "no short text"),
        ("{ReferencedImageSequence}", "no short text"),
        ("{PatientID", "belongs to no attribute"),
        ("PatientID}", "belongs to no attribute"),
        ("a:b/{PatientID}", "not safe"),
        ("{}", "no attribute"),
        ("/".join(["{PatientID}"] * 40), "more than 16"),
    ],
)
def test_a_template_that_cannot_be_used_says_why(template, why):
    with pytest.raises(ValueError, match=why.replace("?", r"\?")):
        PathTemplate.parse(template)
