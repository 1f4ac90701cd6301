"""Transfer syntaxes against pydicom's own table, and the names that people give them."""

import pytest
from pydicom.uid import UID, UID_dictionary

from hostd.dicom.syntaxes import ALL, UnknownSyntaxError, by_uid, lookup, short_names


@pytest.mark.parametrize("syntax", ALL, ids=lambda syntax: syntax.uid)
def test_each_is_as_the_standard_has_it(syntax):
    uid = UID(syntax.uid)
    if uid not in UID_dictionary:
        pytest.skip(f"pydicom does not know {syntax.uid}")
    assert UID_dictionary[uid][1] == "Transfer Syntax"
    assert syntax.is_implicit_vr == uid.is_implicit_VR
    assert syntax.is_little_endian == uid.is_little_endian
    assert syntax.is_deflated == uid.is_deflated or "Deflate" in syntax.name


def test_uids_and_names_are_unique():
    assert len({syntax.uid for syntax in ALL}) == len(ALL)
    assert len({syntax.keyword for syntax in ALL}) == len(ALL)


def test_a_short_name_is_always_lossless():
    assert {name: syntax.uid.removeprefix("1.2.840.10008.1.2") for name, syntax in short_names().items()} == {
        "implicit": "", "explicit": ".1", "deflated": ".1.99", "jpeg-lossless": ".4.70", "jpegls": ".4.80",
        "j2k": ".4.90", "jxl": ".4.110", "htj2k": ".4.202", "rle": ".5",
    }  # fmt: skip
    assert not any(syntax.is_lossy for syntax in short_names().values())


@pytest.mark.parametrize("name", ["j2k", "J2K", "JPEG2000Lossless", "jpeg2000lossless", "1.2.840.10008.1.2.4.90"])
def test_a_syntax_is_found_by_any_of_its_names(name):
    assert lookup(name).uid == "1.2.840.10008.1.2.4.90"


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(UnknownSyntaxError, match=r"did you mean.*j2k"):
        lookup("j2kk")


def test_an_unknown_uid_is_taken_for_encapsulated_and_left_alone():
    unknown = by_uid("1.2.3.4")
    assert (unknown.uid, unknown.is_encapsulated, unknown.is_compressed, unknown.short) == ("1.2.3.4", True, True, None)
