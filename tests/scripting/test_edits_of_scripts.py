"""`host.modify`, `host.anonymize`, `host.redact`: what a script may ask for, and that the host judges it again; values are shown nowhere."""

import re

import pytest
from scripts_kit import handler

from hostd.archive.plans import PlannedEdit
from hostd.archive.records import Event, Origin
from hostd.config.projects import Project
from hostd.editing import projects
from hostd.errors import CannotTranscodeError, ConfigurationError, ScriptError
from hostd.sandbox import frames
from hostd.scripting.honesty import dishonest
from hostd.scripting.plan import resolve
from hostd.scripting.rehearsal import sentence
from hostd.scripting.runtime import ScriptWorker
from hostd.scripting.vocabulary import vocabulary
from hostd.testing.made import header
from hostd.transcoding.edits import Anonymize, Modify, Redact
from hostd.transcoding.transform import Transcode, Transform, told

HEADER = header()
HERE = HEADER.identity.instance
KEYWORDS, SYNTAXES, LOSSLESS_OF = vocabulary()
PROJECTS = projects.configured({"TRIAL7": Project(patient_prefix="T7-")})
SECRET = "Doe^Jane"
JPEG, JPEG_LOSSLESS, J2K = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.90"


def load(source, **changes):
    facts = {
        "name": "x.py", "source": source, "keywords": KEYWORDS, "syntaxes": SYNTAXES, "lossless_of": LOSSLESS_OF,
        "destinations": ["archive"], "known_destinations": ["archive"], "may": ["modify", "anonymize"], "projects": list(PROJECTS),
    }  # fmt: skip
    return frames.Load(**(facts | changes))


def event():
    instance = frames.Instance(
        id=HERE, sop_instance_uid="1.1", sop_class="1.2", series_instance_uid="1.3", study_instance_uid="1.4", patient_id="p",
        transfer_syntax=SYNTAXES["explicit"], has_pixels=True, frames=1, size=9, origin=frames.Origin("dicom"), tags=frames.packed({}),
    )  # fmt: skip
    return frames.Event(1, "on_stored_instance", 1.7e9, instance)


def ran(*lines, **changes):
    worker = ScriptWorker.start(load(handler(*lines), **changes))
    try:
        return worker.run(event(), time_limit_s=60.0, answer=lambda question: frames.Answer(question.id))
    finally:
        worker.stop()


def planned(*actions):
    happened = Event(7, "stored_instance", HERE, "n/one", "c", HEADER.encode(), Origin("dicom"), 1.7e9)
    return resolve(
        actions, happened, lambda name: f"modality:{name}", projects=lambda name: projects.step_of(PROJECTS, name)
    )


def test_a_chain_of_edits_is_a_chain_of_steps():
    result = ran(
        "blank = host.redact(instance, [(0, 0, 10, 5)])",
        f"named = host.modify(blank, set={{'PatientName': '{SECRET}', 'OtherPatientIDsSequence': [{{'PatientID': '7'}}]}}, remove=('InstitutionName',))",
        "host.forward(host.anonymize(named, 'TRIAL7'), to='archive')",
    )
    assert result.failure is None
    *edits, forward = planned(*result.actions)
    assert all(isinstance(edit, PlannedEdit) for edit in edits)
    steps = Transform.parse(forward.transform).steps
    assert steps == (
        Redact(((0, 0, 10, 5),)),
        Modify(set={"OtherPatientIDsSequence": [{"PatientID": "7"}], "PatientName": SECRET}, remove=("InstitutionName",)),
        Anonymize("TRIAL7", redacted=True, rules=PROJECTS["TRIAL7"].fingerprint()),
    )  # fmt: skip
    transform = Transform(steps)
    assert transform.required == transform  # P7: nothing of it may be left out
    assert [sentence(action) for action in (*edits, forward)] == [
        "redact 1 region, when a delivery needs it",
        "modify (set OtherPatientIDsSequence, PatientName; remove InstitutionName), when a delivery needs it",
        "anonymize for the project TRIAL7, when a delivery needs it",
        "forward to modality:archive, after redact and modify and anonymize for TRIAL7, or not at all",
    ]
    assert SECRET not in str([edit.inputs for edit in edits])


def test_only_what_was_redacted_before_counts_as_redacted():
    *_, forward = planned(
        frames.Anonymize(HERE, "TRIAL7"), frames.Redact(0, [(0, 0, 1, 1)]), frames.Forward(1, "archive")
    )
    assert Transform.parse(forward.transform).steps[0].redacted is False


def test_equal_edits_are_one_text_and_a_shown_one_has_no_values():
    one = Modify(set={"PatientName": SECRET, "PatientID": "7"}, remove=("B", "A"))
    other = Modify(set={"PatientID": "7", "PatientName": SECRET}, remove=("A", "B"))
    text = Transform((one, Transcode(J2K))).canonical()
    assert text == Transform((other, Transcode(J2K))).canonical()
    assert Transform.parse(text).canonical() == text
    assert told(text) == '{"verb":"modify"}\n{"verb":"transcode","to":"1.2.840.10008.1.2.4.90"}'
    with pytest.raises(CannotTranscodeError) as unknown:
        Transform.parse(text.replace("keep", "kept").replace('"remove"', '"of a later release"'))
    assert SECRET not in str(unknown.value)


def test_a_redacted_image_is_foreseen_in_the_lossless_syntax_of_its_kind():
    redacted = Transform((Redact(((0, 0, 1, 1),)), Modify(remove=("InstitutionName",))))
    assert (redacted.syntax_of(JPEG), redacted.syntax_of(J2K)) == (JPEG_LOSSLESS, J2K)


REFUSED = {
    "modify without the capability": ("host.modify(instance, remove=['PatientName'])", {"may": []}, "NotAllowed", r'may = \["modify"\]'),
    "redact without it": ("host.redact(instance, [(0, 0, 1, 1)])", {"may": ["anonymize"]}, "NotAllowed", "modify"),
    "anonymize without its own": ("host.anonymize(instance, 'TRIAL7')", {"may": ["modify"]}, "NotAllowed", "anonymize"),
    "an unknown project": ("host.anonymize(instance, 'TRIAL8')", {}, "ValueError", "there are: TRIAL7; did you mean TRIAL7"),
    "nothing to do": ("host.modify(instance)", {}, "ValueError", "nothing is to be modified"),
    "one name for a list": ("host.modify(instance, remove='PatientName')", {}, "TypeError", "list of names"),
    "bytes": ("host.modify(instance, set={'PatientName': b'x'})", {}, "TypeError", "a bytes"),
    "a truth": ("host.modify(instance, set={'PatientName': True})", {}, "TypeError", "a bool"),
    "no number": ("host.modify(instance, set={'PatientWeight': 1e999})", {}, "TypeError", "a float"),
    "too much": ("host.modify(instance, set={'ImageComments': 'x' * 40000})", {}, "ValueError", "more than 32 KiB"),
    "too deep": ("x = []", "for _ in range(20):", "    x = [x]", "host.modify(instance, set={'A': x})", {}, "ValueError", "nested"),
    "half a character": (r"host.modify(instance, set={'PatientName': '\ud800'})", {}, "ValueError", "surrogate"),
    "no region": ("host.redact(instance, [])", {}, "ValueError", "1 to 100"),
    "an empty region": ("host.redact(instance, [(0, 0, 0, 1)])", {}, "ValueError", "width and height over 0"),
    "half a region": ("host.redact(instance, [(0, 0)])", {}, "ValueError", "whole numbers"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_a_script_is_told_what_it_may_not(case):
    *lines, facts, kind, reason = case
    failure = ran(*lines, **facts).failure
    assert (failure.type, failure.line) == (kind, 1 + len(lines))
    assert re.search(reason, failure.message)


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (
            frames.Modify(HERE, {"PatientNam": SECRET}, line=3),
            "line 3: no attribute is called 'PatientNam'; did you mean PatientName",
        ),
        (frames.Modify(HERE, {"PatientName": True}, line=3), "line 3: this is not what modify takes"),
        (frames.Modify(HERE, {"PatientName": float("nan")}), "infinite or none"),
        (frames.Modify(HERE, {"Rows": 5}), "how the pixels are to be read"),
        (frames.Modify(HERE, {"ImageComments": "x" * 70_000}), "more than 32 KiB"),
        (frames.Modify(HERE, remove=["PatientName"] * 1001), "up to 1000 names"),
        (frames.Redact(HERE, [(0, 0, -1, 1)]), "this is not what redact takes"),
        (frames.Redact(HERE, [(0, 0, 1, 1)] * 101), "1 to 100 regions"),
        (frames.Anonymize(HERE, "TRIAL8"), r"no \[projects.TRIAL8\].*Known projects: TRIAL7"),
        (frames.Modify("other", remove=["PatientName"]), "only the instance of the event"),
        (frames.Anonymize(0, "TRIAL7"), "the handle is not of this run"),
    ],
)
def test_the_host_trusts_no_action_that_a_worker_sends(action, reason):
    with pytest.raises(ScriptError, match=reason) as refused:
        planned(action)
    assert SECRET not in str(refused.value)


def test_a_chain_that_is_too_long_to_be_kept_is_refused():
    long = [frames.Modify(max(0, n - 1) if n else HERE, {"ImageComments": "x" * 30_000}) for n in range(3)]
    with pytest.raises(ScriptError, match="64 KiB are possible"):
        planned(*long)


@pytest.mark.parametrize(
    ("action", "may"),
    [
        (frames.Modify(HERE), "anonymize"),
        (frames.Redact(HERE, [(0, 0, 1, 1)]), "anonymize"),
        (frames.Anonymize(HERE, "TRIAL7"), "modify"),
        (frames.Anonymize(HERE, "TRIAL8"), "anonymize"),
    ],
)
def test_a_worker_that_takes_what_its_script_may_not_is_dishonest(action, may):
    result = frames.Result(1, [action], [], [])
    assert "may not take" in dishonest(result, event(), load("", may=[may]), set())


def test_a_node_without_projects_refuses_them():
    happened = Event(7, "stored_instance", HERE, "n/one", "c", HEADER.encode(), Origin("dicom"), 1.7e9)
    with pytest.raises(ScriptError, match="the configuration has none"):
        resolve([frames.Anonymize(HERE, "TRIAL7")], happened, str)


def test_a_project_that_names_no_attribute_is_refused_when_it_is_read():
    with pytest.raises(
        ConfigurationError, match=r"projects.T.keep: .*PatientNam.*; projects.T.replace: .*private block"
    ):
        projects.configured({"T": Project(keep=("PatientNam",), replace={"0019,0010": "y"})})
