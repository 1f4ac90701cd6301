"""`[projects.NAME]`: what de-identifies is checked when the configuration is read."""

import json

import pytest
from typer.testing import CliRunner

from hostd.cli.config import app
from hostd.config.problems import InvalidConfigurationError
from hostd.config.projects import Project as Section
from hostd.config.settings import load
from hostd.editing import projects
from hostd.editing.terms import Project
from hostd.errors import CannotEditError, ConfigurationError


@pytest.fixture
def written(tmp_path):
    def write(text):
        file = tmp_path / "hostd.toml"
        file.write_text(text)
        file.chmod(0o600)
        return file

    return write


def test_a_project_is_its_name_and_its_options(written):
    text = '[projects.TRIAL7]\npatient_prefix = "T7-"\nkeep = ["PatientSex"]\nreplace = { PatientSex = "O" }\n'
    settings = load(written(text), environ={})
    expected = Project("TRIAL7", patient_prefix="T7-", keep=("PatientSex",), replace={"PatientSex": "O"})
    assert projects.configured(settings.projects) == {"TRIAL7": expected}


def test_every_option_of_the_engine_can_be_configured():
    assert {"name", *Section.model_fields} == {*Project.__struct_fields__}
    assert projects.configured({"x": Section()})["x"] == Project("x")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('dates = "shfit"', "projects.x.dates"),
        ('patient_prefix = "A^B"', "without"),
        ("retain_uid = true", "did you mean projects.x.retain_uids"),
    ],
)
def test_what_is_wrong_is_said_when_it_is_read(written, text, problem):
    with pytest.raises(InvalidConfigurationError, match=problem):
        load(written(f"[projects.x]\n{text}\n"), environ={})


def test_config_check_names_an_attribute_that_does_not_exist(written):
    file = written('[projects.x]\nkeep = ["PatientNam"]\n')
    ran = CliRunner().invoke(app, ["check", str(file), "--json"])
    assert ran.exit_code == 2
    assert "projects.x.keep" in json.loads(ran.stdout)["problems"][0]["message"]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"remove": ("PixelData",)}, "pixels"),
        ({"remove": ("Rows",)}, "pixels"),
        ({"remove": ("SOPClassUID",)}, "SOPClassUID"),
        ({"remove": ("SpecificCharacterSet",)}, "SpecificCharacterSet"),
        ({"remove": ("TransferSyntaxUID",)}, "not an attribute"),
        ({"replace": {"Rows": "5"}}, "pixels"),
        ({"replace": {"0019,0010": "ACME"}}, "private block"),
        ({"replace": {"SpecificCharacterSet": "ISO_IR 192"}}, "SpecificCharacterSet"),
        ({"replace": {"RequestAttributesSequence[0].StudyDescription": "x"}}, "in a sequence"),
        ({"keep": ("AnatomicRegionSequence[0].CodeMeaning",)}, "in a sequence"),
    ],
)
def test_rules_that_cannot_be_followed_are_refused(rules, message):
    with pytest.raises(CannotEditError, match=message):
        projects.refuse_impossible(Project("x", **rules))
    (setting,) = rules
    with pytest.raises(ConfigurationError, match=rf"projects\.x\.{setting}: .*{message}"):
        projects.configured({"x": Section(**rules)})
