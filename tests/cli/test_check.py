"""`hostd check` and `hostd try`: what is said of a script before it runs anywhere."""

import json
from pathlib import Path

import pytest
import typer
from pydicom.data import get_testdata_file
from typer.testing import CliRunner

from hostd.cli import check
from hostd.errors import HostdError

app = typer.Typer()
app.command()(check.check)
app.command("try")(check.try_)

CT = get_testdata_file("CT_small.dcm", download=False)
CONFIGURATION = """
[modalities.archive]
aet = "ARCHIVE"
host = "127.0.0.1"
port = 11112

[peers.ai]
url = "http://127.0.0.1:1/"

[tools.crop]
command = ["/usr/bin/true", "{input}", "{output}"]
reads = ["explicit"]

[scripts."may.py"]
may = ["delete"]
destinations = ["archive"]
time_limit_s = 2
"""
GOOD = """\
def on_stored_instance(instance, host):
    print(instance.tags.Modality)
    host.forward(host.transcode(instance, "j2k"), to="archive", priority="high")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def configured(folder):
    (folder / "hostd.toml").write_text(CONFIGURATION)
    return folder


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def script(folder, text, name="a.py"):
    (folder / name).write_text(text)
    return name


# -- check ------------------------------------------------------------------------------------------------------------


def test_a_good_script_is_good(configured):
    result = run("check", script(configured, GOOD))
    assert (result.exit_code, result.stdout) == (0, "a.py: good (on_stored_instance)\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def on_stored_instnace(instance, host): pass\n", "a.py:1: no event of this release calls on_stored_instnace; did you mean on_stored_instance?"),
        ("def on_stored_instance(instance, host):\n    instance.tags.PatentID\n", "a.py:2: no element has the keyword 'PatentID'; did you mean PatientID?"),
        ("def on_stored_instance(instance, host):\n    host.forward(instance, to='archiv')\n",
         "a.py:2: no destination is called 'archiv' in hostd.toml; did you mean archive? Otherwise add [modalities.archiv] or [peers.archiv] or [dicomweb.archiv] or [folders.archiv]; there are: ai, archive"),
        ("def on_start(host):\n    host.run_tool('crp', None)\n",
         "a.py:2: no tool is called 'crp' in hostd.toml; did you mean crop? Otherwise add [tools.crp]; there are: crop"),
        ("def on_start(host):\n    host.notify('ops', 'x')\n", "a.py:2: no channel is called 'ops' in hostd.toml; add [notify.ops]"),
        ("def on_start(host):\n    host.http_get('reg')\n", "a.py:2: no target is called 'reg' in hostd.toml; add [targets.reg]"),
        ("def on_start(host):\n    host.anonymize(None, 'T')\n", "a.py:2: no project is called 'T' in hostd.toml; add [projects.T]"),
        ("def on_start(host):\n    host.delete(None)\n", 'a.py:2: this script may not delete; this line of the configuration would allow it: may = ["delete"] under [scripts."a.py"]'),
        ("def on_start(host):\n    host.forward(None, destnation='ai')\n", "a.py:2: host.forward has no 'destnation'"),
        ("x = 1\nimport os\n", "a.py:2: module `os`"),
        ("def on_stored_instance(instance, host)\n    pass\n", "a.py:1: "),
        ("def on_stored_instance(instance): pass\n", "a.py:1: on_stored_instance is called with (instance, host)"),
        ("x = 1\ndef on_stored_instance(instance, host):\n    yield host.label(instance, 'x')\n",
         "a.py:2: on_stored_instance contains `yield`, so that a call of it does nothing"),
        ("@every(minutes=5)\ndef tidy(host):\n    for one in ():\n        yield one\n", "tidy contains `yield`"),
        ("x = 1 / 0\n", "a.py:1: the script failed while it was loaded: ZeroDivisionError"),
        ("", "a.py:1: a.py is empty"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_file_and_line(configured, text, said):
    result = run("check", script(configured, text))
    assert result.exit_code == 1
    assert said in result.stderr


def test_a_destination_that_this_script_is_not_given_is_a_fault(configured):
    text = "def on_stored_instance(instance, host):\n    host.forward(instance, to='ai')\n"
    result = run("check", script(configured, text, "may.py"))
    assert result.exit_code == 1
    assert 'destinations = ["archive", "ai"] under [scripts."may.py"]' in result.stderr


def test_without_a_configuration_no_destination_is_known_and_check_says_what_to_add(folder):
    result = run("check", script(folder, GOOD))
    assert result.exit_code == 1
    assert "a.py:3: no destination is called 'archive' in hostd.toml; add [modalities.archive]" in result.stderr
    assert "there is no hostd.toml in this folder" in result.stderr


def test_a_configuration_elsewhere_can_be_named(configured):
    (configured / "hostd.toml").rename(configured / "other.toml")
    assert run("check", script(configured, GOOD), "--config", "other.toml").exit_code == 0


def test_several_scripts_are_checked_and_one_bad_one_decides(configured):
    script(configured, "def on_start(host) pass", "bad.py")
    result = run("check", "bad.py", script(configured, GOOD))
    assert result.exit_code == 1
    assert "a.py: good" in result.stdout
    assert "bad.py:1:" in result.stderr


def test_the_findings_can_be_had_as_json(configured):
    result = run("check", "--json", script(configured, GOOD + "    instance.tags.PatentID\n"))
    (report,) = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (report["script"], report["ok"], report["handlers"]) == ("a.py", False, ["on_stored_instance"])
    assert [(f["kind"], f["name"], f["line"]) for f in report["findings"] if f["message"]] == [
        ("unknown_keyword", "PatentID", 4)
    ]
    assert ("keyword", "Modality", 2) in [(f["kind"], f["name"], f["line"]) for f in report["findings"]]


def test_a_script_without_a_handler_is_pointed_out(configured):
    result = run("check", script(configured, "x = 1\n"))
    assert result.exit_code == 0
    assert "no handler, so nothing would call it" in result.stdout


def test_a_script_that_is_not_there_is_a_usage_error(configured):
    assert run("check", "none.py").exit_code == 2


@pytest.mark.parametrize("sample", ["auto-forwarding/forward.py", "jpeg2000-compression/compress.py"])
def test_the_samples_are_good(sample, monkeypatch):
    path = Path(__file__).parents[2] / "samples" / sample
    monkeypatch.chdir(path.parent)
    result = run("check", path.name)
    assert (result.exit_code, result.stderr) == (0, "")


# -- try --------------------------------------------------------------------------------------------------------------


def test_a_rehearsal_shows_plan_and_log_and_changes_nothing(configured):
    before = sorted(configured.iterdir())
    result = run("try", script(configured, GOOD), CT)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{CT}: on_stored_instance",
        "  would transcode to JPEG 2000 Lossless, when a delivery needs it",
        "  would forward to modality:archive with priority high in JPEG 2000 Lossless, or as it is where that cannot be done",
        "  log info: CT",
    ]
    assert sorted(configured.iterdir()) == [configured / "a.py", *before]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("host.forward(instance, to='ai')", "would forward to peer:ai\n"),
        ("host.forward(instance, to='ai', syntax='rle')", "would forward to peer:ai in RLE Lossless, or as it is"),
        ("host.forward(host.transcode(instance, 'rle', or_original=False), to='ai')", "in RLE Lossless, or not at all"),
        ("pass", "would do nothing"),
        ("host.log('x\\x1b[31m', 'error')", "log error: x\\x1b[31m"),
    ],
)
def test_each_action_is_said_in_words(configured, line, said):
    result = run("try", script(configured, f"def on_stored_instance(instance, host):\n    {line}\n"), CT)
    assert result.exit_code == 0
    assert said in result.stdout


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("host.delete(instance, after=None)", "would delete at once"),
        ("host.delete(instance)", "would delete once all its deliveries have arrived"),
        (
            "host.delete(instance, after=[host.forward(instance, to='archive')])",
            "would delete once 1 named deliveries have arrived",
        ),
    ],
)
def test_deletes_are_said_in_words(configured, line, said):
    text = f"def on_stored_instance(instance, host):\n    {line}\n"
    assert said in run("try", script(configured, text, "may.py"), CT).stdout


def test_a_script_can_be_tried_without_a_configuration(folder):
    result = run(
        "try", script(folder, "def on_stored_instance(instance, host):\n    print(instance.sop_instance_uid)\n"), CT
    )
    assert result.exit_code == 0
    assert "log info: 1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322" in result.stdout


def test_without_a_configuration_try_says_which_destination_to_add(folder):
    result = run("try", script(folder, GOOD), CT)
    assert result.exit_code == 1
    assert "failed: no destination is called 'archive' in hostd.toml; add [modalities.archive]" in result.stdout
    assert "(line 3)" in result.stdout


def test_a_failing_run_shows_its_line_and_what_it_had_said(configured):
    result = run(
        "try", script(configured, "def on_stored_instance(instance, host):\n    print('so far')\n    1 / 0\n"), CT
    )
    assert result.exit_code == 1
    assert "log info: so far" in result.stdout
    assert "failed: ZeroDivisionError: division by zero (line 3)" in result.stdout


def test_a_file_that_is_not_dicom_fails_and_the_others_go_on(configured):
    (configured / "notes.txt").write_text("not an image")
    result = run("try", script(configured, GOOD), "notes.txt", CT)
    assert result.exit_code == 1
    assert "notes.txt: on_stored_instance\n  failed: this is not a DICOM file" in result.stdout
    assert "log info: CT" in result.stdout


def test_a_script_that_never_ends_is_killed_and_the_next_file_has_a_new_worker(configured):
    text = (
        "def on_stored_instance(instance, host):\n    while instance.tags.Modality == 'CT': pass\n    print('ended')\n"
    )
    other = get_testdata_file("MR_small.dcm", download=False)
    result = run("try", script(configured, text, "may.py"), CT, other)
    assert result.exit_code == 1
    assert "failed: may.py was killed after 2 s" in result.stdout
    assert "log info: ended" in result.stdout


def test_other_events_can_be_rehearsed(configured):
    name = script(configured, "def on_start(host): print('hello')\n")
    assert "log info: hello" in run("try", name, CT, "--event", "on_start").stdout
    result = run("try", name, CT, "--event", "received_again")
    assert "failed: the script has no on_received_again; it has on_start" in result.stdout
    assert (
        "there is no event 'nothing'; there are: stored_instance" in run("try", name, CT, "--event", "nothing").stdout
    )


def test_try_names_the_event_that_a_script_is_for(configured):
    file = script(configured, "def on_new_study(study, host):\n    print(study.study_instance_uid)\n")
    assert (
        "the script has no on_stored_instance; it has on_new_study; say --event new_study"
        in run("try", file, CT).stdout
    )
    assert run("try", file, CT, "--event", "new_study").exit_code == 0


def test_the_rehearsal_can_be_had_as_json(configured):
    result = run("try", "--json", script(configured, GOOD), CT)
    (rehearsal,) = json.loads(result.stdout)
    assert (rehearsal["file"], rehearsal["handler"], rehearsal["error"]) == (CT, "on_stored_instance", None)
    assert rehearsal["log"] == [{"level": "info", "text": "CT"}]
    assert rehearsal["tags_read"] == ["Modality"]
    assert len(rehearsal["plan"]) == 2


def test_a_script_that_does_not_compile_cannot_be_tried(configured):
    result = run("try", script(configured, "import os\n"), CT)
    assert isinstance(result.exception, HostdError)
    assert "a.py: line 1: module `os`" in str(result.exception)


def test_a_large_value_can_be_read_in_a_rehearsal(configured, tmp_path):
    from pydicom import dcmread  # noqa: PLC0415 - only here

    dataset = dcmread(CT)
    dataset.ImageComments = "x" * 5000
    dataset.save_as(tmp_path / "large.dcm")
    text = "def on_stored_instance(instance, host):\n    print(len(instance.tags.ImageComments))\n"
    assert "log info: 5000" in run("try", script(configured, text), "large.dcm").stdout


def test_a_script_is_tried_on_files_of_a_sender(tmp_path):
    script = tmp_path / "a.py"
    script.write_text(
        "def on_stored_instance(instance, host):\n    print(instance.origin.calling_aet, instance.origin.modality)\n"
    )
    file = str(get_testdata_file("CT_small.dcm", download=False))
    assert "log info: CT1 ct1" in run("try", str(script), file, "--calling-aet", "CT1", "--sender", "ct1").output
    assert "log info: None None" in run("try", str(script), file).output
