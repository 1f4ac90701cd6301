"""Sets of UIDs as people write them."""

import pytest

from hostd.dicom import patterns
from hostd.dicom.patterns import UidPatterns
from hostd.errors import ConfigurationError

J2K = "1.2.840.10008.1.2.4.90"
CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.mark.parametrize(
    ("names", "inside", "outside"),
    [
        (["j2k"], [J2K], ["1.2.840.10008.1.2.4.91"]),
        (["JPEG2000Lossless"], [J2K], ["1.2.840.10008.1.2"]),
        (["1.2.840.10008.1.2.4.9?"], [J2K, "1.2.840.10008.1.2.4.91"], ["1.2.840.10008.1.2.4.9", "1.2.840.10008.1.2.4.900"]),
        (["jpeg2000*"], [J2K, "1.2.840.10008.1.2.4.91"], ["1.2.840.10008.1.2.4.50"]),
        (["1.2.840.10008.1.*"], [J2K, "1.2.840.10008.1.2"], ["1.2.840.113619.5.2"]),
        (["1.2.752.24.3.7.6"], ["1.2.752.24.3.7.6"], ["1x2.752.24.3.7.6", "1.2.752.24.3.7.6.1"]),
        ([], [], [J2K, ""]),
        (["*"], [J2K, "9.9"], []),
    ],
)  # fmt: skip
def test_transfer_syntaxes_are_named_by_uid_keyword_short_name_and_wildcards(names, inside, outside):
    found = patterns.transfer_syntaxes(names)
    assert [uid for uid in (*inside, *outside) if uid in found] == inside


def test_sop_classes_are_named_by_uid_keyword_and_wildcards():
    assert CT in patterns.sop_classes(["CTImageStorage"])
    assert CT in patterns.sop_classes(["*ImageStorage"])
    assert CT not in patterns.sop_classes(["MR*", "1.2.840.10008.5.1.4.1.1.4"])


@pytest.mark.parametrize("name", ["jpeg2001", "jpq*", "../x", "[0-9]", "", "1.2.840 .1"])
def test_what_means_nothing_is_refused_with_its_reason(name):
    with pytest.raises(ConfigurationError, match=r"called|like|no UID and no name"):
        patterns.transfer_syntaxes([name])


def test_the_nearest_sop_class_is_named():
    with pytest.raises(ConfigurationError, match="did you mean CTImageStorage"):
        patterns.sop_classes(["CTImagesStorage"])


def test_a_pattern_is_compared_as_a_whole():
    assert "1.2.3" not in UidPatterns.of(["1.2"])
    assert "1.2" not in UidPatterns.of(["1.2.3"])
