"""`[ingest]`: what can be asked for, and what is refused before anything is received."""

from __future__ import annotations

import pytest

from hostd.config.ingest import ingest_target
from hostd.config.problems import InvalidConfigurationError
from hostd.config.settings import Settings, load
from hostd.dicom import syntaxes
from hostd.dicom.loss import EncodeOptions

CT = "1.2.840.10008.5.1.4.1.1.2"
RULE = '[[ingest.rules]]\ncalling_aet = "CT1"\ntranscode_to = "explicit"\n'


def only_problem(config, text, **environ):
    with pytest.raises(InvalidConfigurationError) as caught:
        config.load(text, **environ)
    (problem,) = caught.value.problems
    return problem


def test_by_default_everything_is_kept_as_received():
    ingest = Settings().ingest
    assert (ingest.target, ingest.rules, ingest.of_uncompressed, ingest.of_compressed) == (None, (), True, True)
    assert ingest.ack_budget_s == 5.0
    assert Settings().transcoding.enabled is True


@pytest.mark.parametrize("name", ["j2k", "JPEG2000Lossless", "jpeg2000lossless", "1.2.840.10008.1.2.4.90"])
def test_the_target_is_named_by_uid_keyword_or_short_name(config, name):
    assert config.load(f'[ingest]\ntranscode_to = "{name}"\n').ingest.target == syntaxes.JPEG2000_LOSSLESS


@pytest.mark.parametrize("name", ["", "none", "None"])
def test_as_received_can_be_said(config, name):
    assert config.load(f'[ingest]\ntranscode_to = "{name}"\n').ingest.target is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("j2l", "j2k"),
        ("1.2.3", "no transfer syntax"),
        ("MPEG4HP41", "never written"),
        ("HEVCMP51", "never written"),
        ("JPEGFullProgressionNonHierarchical1012", "never written"),
        ("JPEG2000MC", "never written"),
        ("ExplicitVRBigEndian", "never written"),
        ("JPIPReferenced", "never written"),
    ],
)
def test_a_target_that_cannot_be_is_refused_at_start(config, name, expected):
    problem = only_problem(config, f'[ingest]\nof_compressed = false\ntranscode_to = "{name}"\n')
    assert (problem.key, problem.line) == ("ingest.transcode_to", 3)
    assert expected in problem.message
    problem = only_problem(config, f'{RULE}[[ingest.rules]]\ncalling_aet = "X"\ntranscode_to = "{name}"\n')
    assert (problem.key, problem.line) == ("ingest.rules[1].transcode_to", 6)
    assert expected in problem.message


def test_every_still_image_syntax_that_hostd_writes_may_be_a_target():
    refused = set()
    for syntax in syntaxes.ALL:
        try:
            assert ingest_target(syntax.uid) == syntax
        except ValueError:
            refused.add(syntax.keyword)
    video = {syntax.keyword for syntax in syntaxes.ALL if syntax.keyword.startswith(("MPEG", "HEVC"))}
    assert len(video) == 16
    assert refused == video | {
        "JPEGSpectralSelectionNonHierarchical68", "JPEGFullProgressionNonHierarchical1012", "JPEG2000MC",
        "ExplicitVRBigEndian", "JPEG2000MCLossless", "JPIPReferenced", "JPIPReferencedDeflate",
        "JPIPHTJ2KReferenced", "JPIPHTJ2KReferencedDeflate",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("target", "how", "options"),
    [
        ("JPEGBaseline8Bit", "quality = 90", EncodeOptions(quality=90)),
        ("1.2.840.10008.1.2.4.91", "ratio = 8", EncodeOptions(ratio=8.0)),
        ("JPEGLSNearLossless", "near = 2", EncodeOptions(near=2)),
    ],
)
def test_a_lossy_target_says_how_lossy_in_the_section_and_in_each_rule(config, target, how, options):
    ingest = config.load(f'[ingest]\ntranscode_to = "{target}"\n{how}\n').ingest
    assert (ingest.options, ingest.keep_original) == (options, True)
    lossless = f'{RULE}[[ingest.rules]]\ncalling_aet = "X"\n'
    first, second = config.load(f'{lossless}transcode_to = "{target}"\n{how}\nkeep_original = false\n').ingest.rules
    assert (first.options, first.keep_original) == (None, None)
    assert (second.options, second.keep_original) == (options, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('transcode_to = "JPEGBaseline8Bit"', "quality = 90"),
        ('transcode_to = "JPEG2000"\nquality = 90\nratio = 8', "exactly one"),
        ('transcode_to = "JPEGBaseline8Bit"\nnear = 2', "near can be asked of"),
        ('transcode_to = "JPEGLSNearLossless"\nratio = 2', "a ratio can be asked of"),
        ('transcode_to = "j2k"\nquality = 90', "which JPEG 2000 Lossless (1.2.840.10008.1.2.4.90) is not"),
        ('transcode_to = "none"\nnear = 2', "which none is not"),
    ],
)
def test_loss_is_never_assumed_and_never_meaningless(config, text, expected):
    problem = only_problem(config, f"[ingest]\n{text}\n")
    assert (problem.key, problem.line) == ("ingest", 1)
    assert expected in problem.message
    problem = only_problem(config, f'[[ingest.rules]]\ncalling_aet = "X"\n{text}\n')
    assert (problem.key, problem.line) == ("ingest.rules[0]", 1)
    assert expected in problem.message


@pytest.mark.parametrize("value", ["quality = 0", "quality = 101", "ratio = 1", "near = 0", "near = 256"])
def test_loss_out_of_its_range_is_refused_on_its_line(config, value):
    problem = only_problem(config, f'[ingest]\ntranscode_to = "JPEG2000"\n{value}\n')
    assert (problem.key, problem.line) == (f"ingest.{value.split()[0]}", 3)


def test_rules_are_a_list_of_tables_in_their_order(config):
    text = (
        RULE + '[[ingest.rules]]\nsop_class = "CTImageStorage"\ncalled_aet = "A"\nmodality = "ct"\ntranscode_to = ""\n'
        '[modalities.ct]\naet = "CT"\nhost = "h"\nport = 104\n'
    )
    first, second = config.load(text).ingest.rules
    assert (first.calling_aet, first.target) == ("CT1", syntaxes.EXPLICIT_LE)
    assert (second.sop_class, second.called_aet, second.modality, second.target) == (CT, "A", "ct", None)


@pytest.mark.parametrize(
    ("text", "key", "line", "expected"),
    [
        ('[[ingest.rules]]\ntranscode_to = "j2k"\n', "ingest.rules[0]", 1, "fits everything"),
        ('[[ingest.rules]]\ncalling_aet = "X"\n', "ingest.rules[0].transcode_to", 1, "is missing"),
        (RULE + 'caling_aet = "X"\n', "ingest.rules[0].caling_aet", 4, "did you mean ingest.rules[0].calling_aet"),
        (RULE + 'sop_class = "CTImage"\n', "ingest.rules[0].sop_class", 4, "CTImageStorage"),
        (RULE + 'sop_class = "VerificationSOPClasses"\n', "ingest.rules[0].sop_class", 4, "keyword"),
        (RULE + 'called_aet = "SEVENTEEN_LETTERS"\n', "ingest.rules[0].called_aet", 4, "1 to 16"),
        (RULE + 'modality = "CT"\n', "ingest.rules[0].modality", 4, "sop_class"),
        ('[ingest.rules]\ncalling_aet = "X"\n', "ingest.rules", 1, "each written [[ingest.rules]]"),
        ("[ingest]\nack_budget_s = -1\n", "ingest.ack_budget_s", 2, "greater than or equal to 0"),
        ("[ingest]\nack_budget_s = true\n", "ingest.ack_budget_s", 2, "should be a number"),
    ],
)
def test_a_problem_of_a_rule_names_it_and_its_line(config, text, key, line, expected):
    problem = only_problem(config, text)
    assert (problem.key, problem.line) == (key, line)
    assert expected in problem.message


def test_a_budget_of_nothing_is_a_budget(config):
    assert config.load("[ingest]\nack_budget_s = 0\n").ingest.ack_budget_s == 0


def test_the_environment_sets_the_target_and_the_rules():
    rules = '[{"calling_aet": "CT1", "transcode_to": "explicit"}]'
    ingest = load(None, environ={"HOSTD_INGEST__TRANSCODE_TO": "j2k", "HOSTD_INGEST__RULES": rules}).ingest
    assert ingest.target == syntaxes.JPEG2000_LOSSLESS
    assert ingest.rules[0].calling_aet == "CT1"
