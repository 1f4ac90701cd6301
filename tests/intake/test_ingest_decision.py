"""What is transcoded on ingest, as Orthanc decides it (its IngestTranscoding, IngestTranscodingOfUncompressed, …OfCompressed)."""

import msgspec
import pytest

from hostd.archive.records import Origin
from hostd.dicom import syntaxes
from hostd.dicom.syntaxes import lookup
from hostd.intake.ingest import Policy, Rule, decide, is_video
from hostd.testing.made import CT_IMAGE_STORAGE, header

J2K, EXPLICIT, DEFLATED = lookup("j2k"), lookup("explicit"), lookup("deflated")
DICOM = Origin("dicom", calling_aet="CT1", called_aet="HOSTD", modality="ct")


def of(syntax, **changes):
    uid = syntax if "." in syntax else lookup(syntax).uid
    return msgspec.structs.replace(header(), transfer_syntax=uid, **changes)


@pytest.mark.parametrize(
    ("source", "changes", "policy", "taken", "reason"),
    [
        ("implicit", {}, Policy(J2K), True, ""),
        ("explicit", {}, Policy(J2K), True, ""),
        ("ExplicitVRBigEndian", {}, Policy(J2K), True, ""),
        ("rle", {}, Policy(J2K), True, ""),
        ("JPEGBaseline8Bit", {}, Policy(J2K), True, ""),
        ("j2k", {}, Policy(EXPLICIT), True, ""),
        ("j2k", {}, Policy(J2K), False, "already"),
        ("explicit", {}, Policy(), False, "nothing is transcoded"),
        # gates: uncompressed is .2, .2.1 and .2.2 only; a deflated data set counts as compressed
        ("implicit", {}, Policy(J2K, of_uncompressed=False), False, "of_uncompressed"),
        ("explicit", {}, Policy(J2K, of_uncompressed=False), False, "of_uncompressed"),
        ("ExplicitVRBigEndian", {}, Policy(J2K, of_uncompressed=False), False, "of_uncompressed"),
        ("deflated", {}, Policy(J2K, of_uncompressed=False), True, ""),
        ("rle", {}, Policy(J2K, of_uncompressed=False), True, ""),
        ("deflated", {}, Policy(J2K, of_compressed=False), False, "of_compressed"),
        ("rle", {}, Policy(J2K, of_compressed=False), False, "of_compressed"),
        (
            "EncapsulatedUncompressedExplicitVRLittleEndian",
            {},
            Policy(J2K, of_compressed=False),
            False,
            "of_compressed",
        ),
        ("explicit", {}, Policy(J2K, of_compressed=False), True, ""),
        # what is left alone
        ("1.2.840.113619.5.2", {}, Policy(J2K), False, "not known"),
        ("1.2.840.10008.1.2.6.1", {}, Policy(J2K), False, "not known"),  # RFC 2557
        ("MPEG4HP41", {}, Policy(EXPLICIT), False, "video"),
        ("HEVCMP51", {}, Policy(J2K), False, "video"),
        # without pixels
        ("implicit", {"has_pixels": False}, Policy(J2K), False, "no pixel data"),
        ("implicit", {"has_pixels": False}, Policy(EXPLICIT), True, ""),
        ("implicit", {"has_pixels": False}, Policy(DEFLATED), True, ""),
    ],
)
def test_what_is_brought_to_the_target_and_why_not(source, changes, policy, taken, reason):
    decision = decide(of(source, **changes), DICOM, policy)
    assert decision.target == (policy.target if taken else None)
    assert (decision.reason == "") == taken
    assert reason in decision.reason


def test_the_product_of_a_script_is_never_transcoded_on_ingest():
    assert decide(of("explicit"), Origin("script"), Policy(J2K)).reason == "it is the product of a script"
    for kind in ("dicom", "http", "import"):
        assert decide(of("explicit"), Origin(kind), Policy(J2K)).target == J2K


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({"calling_aet": "CT1"}, True),
        ({"calling_aet": "ct1"}, False),
        ({"called_aet": "HOSTD"}, True),
        ({"called_aet": "OTHER"}, False),
        ({"modality": "ct"}, True),
        ({"modality": "mr"}, False),
        ({"sop_class": CT_IMAGE_STORAGE}, True),
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.4"}, False),
        ({"calling_aet": "CT1", "called_aet": "OTHER"}, False),
        ({"calling_aet": "CT1", "called_aet": "HOSTD", "modality": "ct", "sop_class": CT_IMAGE_STORAGE}, True),
    ],
)
def test_a_rule_fits_when_all_that_it_names_is_so(rule, fits):
    decision = decide(of("implicit"), DICOM, Policy(J2K, rules=(Rule(EXPLICIT, **rule),)))
    assert decision.target == (EXPLICIT if fits else J2K)


def test_the_first_rule_that_fits_decides():
    rules = (Rule(None, calling_aet="MR1"), Rule(None, calling_aet="CT1"), Rule(EXPLICIT, called_aet="HOSTD"))
    assert decide(of("implicit"), DICOM, Policy(J2K, rules=rules)).reason == "a rule keeps it as received"
    assert (
        decide(of("implicit"), Origin("dicom", calling_aet="X", called_aet="HOSTD"), Policy(J2K, rules=rules)).target
        == EXPLICIT
    )
    assert decide(of("implicit"), Origin("http"), Policy(J2K, rules=rules)).target == J2K


def test_a_rule_that_names_a_caller_does_not_fit_what_came_by_http():
    assert decide(of("implicit"), Origin("http"), Policy(rules=(Rule(J2K, calling_aet="CT1"),))).target is None


def test_the_gates_hold_for_rules_too():
    policy = Policy(rules=(Rule(J2K, calling_aet="CT1"),), of_uncompressed=False)
    assert "of_uncompressed" in decide(of("implicit"), DICOM, policy).reason
    assert policy.targets == {J2K}


def test_video_is_exactly_mpeg_and_hevc():
    assert {s.keyword[:4] for s in syntaxes.ALL if is_video(s)} == {"MPEG", "HEVC"}
    assert not [s.keyword for s in syntaxes.ALL if s.keyword.startswith(("MPEG", "HEVC")) and not is_video(s)]
