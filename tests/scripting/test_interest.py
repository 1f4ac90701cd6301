"""`handles = {...}`: a script is not asked about what does not concern it, and its cursor passes."""

import pytest
from pydicom.data import get_testdata_file
from scripts_kit import arrive, handler
from typer.testing import CliRunner

from hostd.archive import tables as t
from hostd.archive.records import Event
from hostd.cli import build
from hostd.config.sections import Script
from hostd.scripting.interest import concerns
from hostd.scripting.loading import Names, load_frame
from hostd.scripting.runtime import RefusedScriptError, ScriptWorker

ASKED = handler("print(instance.tags.Modality, instance.tags.text('PatientID'))")


def skipped(bench, name="a.py"):
    return bench.known(name).skipped


def test_only_what_it_handles_is_run_and_the_rest_is_counted_and_passed(bench):
    bench.start()
    bench.put("a.py", 'handles = {"Modality": ["CT", "PT"]}\n' + ASKED)
    for modality in ("CT", "MR", "MR", "PT", "US", "CT", "MR"):
        bench.arrive(tags={"Modality": modality})
    bench.until_passed("a.py")
    assert bench.logged() == ["CT P1", "PT P1", "CT P1"]
    assert skipped(bench) == 4


def test_the_place_and_the_count_hold_over_a_restart(bench):
    bench.start()
    bench.put("a.py", 'handles = {"Modality": ["CT"]}\n' + ASKED)
    bench.arrive(3, tags={"Modality": "MR"})
    bench.until_passed("a.py")
    bench.stop()
    bench.arrive(2, tags={"Modality": "MR"})
    bench.arrive(tags={"Modality": "CT"})
    bench.start()
    bench.until_passed("a.py")
    assert (bench.logged(), skipped(bench)) == (["CT P1"], 5)


def test_what_is_passed_leaves_no_row_of_a_run(bench):
    bench.start()
    bench.put("a.py", 'handles = {"Modality": ["US"]}\n' + handler("1 / 0"))
    bench.arrive(5)
    bench.until_passed("a.py")
    assert bench.logged() == []
    assert skipped(bench) == 5


def event_of(bench, **tags):
    arrive(bench.archive, f"1.2.3.9.{len(bench.rows(t.event))}", tags=tags)
    row = next(row for row in reversed(bench.rows(t.event)) if row.kind == "stored_instance")
    return Event(row.number, row.kind, row.subject, row.blob, row.content, row.header, None, row.at)


@pytest.mark.parametrize(
    ("handles", "tags", "asked"),
    [
        ({"Modality": ["CT"]}, {}, True),
        ({"Modality": ["MR"]}, {}, False),
        ({"Modality": ["CT"], "PatientID": ["P2"]}, {}, False),
        ({"Modality": ["CT"], "PatientID": ["P2", "P1"]}, {}, True),
        ({"ImageType": ["LOCALIZER"]}, {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, True),
        ({"StationName": [""]}, {}, True),
        ({"StationName": [""]}, {"StationName": "S1"}, False),
        ({"StationName": [""]}, {"StationName": ""}, True),
        ({"InstanceNumber": ["7"]}, {"InstanceNumber": 7}, True),
        ({"InstanceNumber": ["7"]}, {"InstanceNumber": 70}, False),
        ({"Modality": ["ct"]}, {}, False),
        ({"NoSuchKeyword": ["x"]}, {}, True),
        ({}, {}, True),
        (None, {}, True),
    ],
)
def test_an_element_must_have_one_of_its_texts(bench, handles, tags, asked):
    assert concerns(handles, event_of(bench, **tags)) is asked


def test_where_the_header_cannot_tell_the_script_is_asked(bench):
    assert concerns({"PatientComments": ["x"]}, event_of(bench, PatientComments="y" * 10_000)) is True
    assert concerns({"Modality": ["MR"]}, Event(1, "stored_instance", "i", None, None, None, None, 1.0)) is True
    assert concerns({"Modality": ["MR"]}, Event(1, "stored_instance", "i", None, None, b"\xc1", None, 1.0)) is True


GOOD = {
    'handles = {"Modality": ["CT"]}': {"Modality": ["CT"]},
    'handles = {"Modality": "CT", "StationName": ("A", "")}': {"Modality": ["CT"], "StationName": ["A", ""]},
    'handles: dict[str, list[str]] = {"Modality": ["CT"]}': {"Modality": ["CT"]},
    "x = 1": None,
    "handles = {}": {},
}

BAD = {
    'handles = {"Modalty": ["CT"]}': "no element has the keyword 'Modalty'; did you mean Modality?",
    'handles = {"Modality": [CT]}': "read before the script runs",
    'handles = dict(Modality=["CT"])': "read before the script runs",
    'handles = {**{"Modality": ["CT"]}}': "read before the script runs",
    'handles = {"Modality": [1]}': "read before the script runs",
    'handles = {"Modality": []}': "name at least one",
    'handles = {"PixelData": ["x"]}': "is not compared with texts",
    'handles = {"Modality": ["CT"]}\nhandles = {"Modality": ["MR"]}': "set once, at the top level",
    'if 1:\n    handles = {"Modality": ["CT"]}': "set once, at the top level",
    'def f():\n    global handles\n    handles = {"Modality": ["CT"]}': "set once, at the top level",
}


def start(source):
    worker = ScriptWorker.start(load_frame("a.py", source, Script(), Names(), str))
    worker.stop()
    return worker.ready.handles


@pytest.mark.parametrize(("source", "declared"), GOOD.items(), ids=GOOD)
def test_a_declaration_is_read_from_the_text(source, declared):
    assert start(source) == declared


@pytest.mark.parametrize(("source", "says"), BAD.items(), ids=BAD)
def test_a_declaration_that_cannot_be_read_is_refused_with_its_line(source, says):
    with pytest.raises(RefusedScriptError, match="line") as refused:
        start(source)
    assert says in str(refused.value)


def test_a_rehearsal_says_that_the_script_is_not_asked(tmp_path):
    script = tmp_path / "a.py"
    script.write_text('handles = {"Modality": ["MR"]}\n' + ASKED)
    file = get_testdata_file("CT_small.dcm", download=False)
    result = CliRunner().invoke(build(), ["try", str(script), file])
    assert result.exit_code == 0, result.output
    assert "the script is not asked" in result.output
    script.write_text('handles = {"Modality": ["CT"]}\n' + ASKED)
    assert "not asked" not in CliRunner().invoke(build(), ["try", str(script), file]).output
