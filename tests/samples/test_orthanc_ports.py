"""Ports of Orthanc's own Lua samples, in its spelling: each is checked, and run from its event to its plan; one to what becomes of it."""

import copy
import json
from pathlib import Path

import pytest
import requests
from peer_kit import LiveNode, sample, until
from ports import free_port
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from test_recipes import hostd

from hostd.config.settings import Settings
from hostd.node import Node

FOLDER = Path(__file__).parent / "ports"
CONFIG = FOLDER / "hostd.toml"
PORTS = sorted(FOLDER.glob("*.py"))


def plans(script, *files, event=None):
    """Return what `hostd try` says for each event: its plan and its log."""
    options = ["--event", event] if event else []
    ran = hostd("try", FOLDER / script, *files, "--config", CONFIG, "--json", *options)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    return [(one["plan"], [line["text"] for line in one["log"]]) for one in json.loads(ran.stdout)]


def written(folder, name, **keywords):
    ds = dcmread(sample("CT_small.dcm"))
    for keyword, value in keywords.items():
        setattr(ds, keyword, value)
    ds.save_as(folder / name)
    return folder / name


def test_hostd_check_finds_them_all_good():
    ran = hostd("check", *PORTS, "--config", CONFIG)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("good (") == len(PORTS) >= 10


GONE = "delete once 1 named deliveries have arrived"
PLANS = {
    "autorouting.py": ["forward to modality:sample", GONE],
    "autorouting_modification.py": [
        "modify (set StationName; remove InstitutionName; remove what is private), when a delivery needs it",
        "forward to modality:sample, after modify, or not at all",
        GONE,
    ],
    "modify_instance_with_sequence.py": [
        "modify (set RequestAttributesSequence), when a delivery needs it",
        "store the product of the instance",
    ],
    "call_tool.py": [
        "have the tool renew make something of it, when a delivery needs it",
        "forward to modality:sample, after renew, or not at all",
    ],
    "automated_jpeg2k.py": [
        "transcode to JPEG 2000 Lossless, when a delivery needs it",
        "forward to modality:sample in JPEG 2000 Lossless, or not at all",
        GONE,
    ],
    "send_to_peer.py": ["forward to peer:buffer", GONE],
    "parse_dose_report.py": [],
}


@pytest.mark.parametrize("script", PLANS)
def test_an_instance_gives_the_plan_that_the_sample_means(script):
    ((plan, _),) = plans(script, sample("CT_small.dcm"))
    assert plan == PLANS[script]


def test_the_conditional_one_routes_by_name_and_lets_go_of_the_rest_also_without_a_name(tmp_path):
    david = written(tmp_path, "david.dcm", PatientName="King^David")
    other = written(tmp_path, "other.dcm", PatientName="Other^One")
    nobody = dcmread(sample("CT_small.dcm"))
    del nobody.PatientName
    nobody.save_as(tmp_path / "nobody.dcm")
    found = [plan for plan, _ in plans("autorouting_conditional.py", david, other, tmp_path / "nobody.dcm")]
    assert found == [["forward to modality:sample", GONE], ["delete at once"], ["delete at once"]]


def test_a_stable_study_is_kept_changed():
    ((plan, _),) = plans("on_stable_study.py", sample("CT_small.dcm"), event="stable_study")
    assert plan == [
        "modify (set StudyDescription), when a delivery needs it",
        "store the product of an instance of the study",
    ]
    ((_, log),) = plans("on_stable_study.py", sample("CT_small.dcm"), event="stable_series")
    assert log[0].endswith("is stable: CT")


def test_what_the_filters_decide(tmp_path):
    picture, report = sample("CT_small.dcm"), sample("test-SR.dcm")
    raw = dcmread(sample("CT_small.dcm"))
    del raw.PixelData
    raw.save_as(tmp_path / "raw.dcm")
    found = [
        plan for plan, _ in plans("filters.py", picture, report, tmp_path / "raw.dcm", event="filter_received_instance")
    ]
    assert found == [[], [], ["discard it: ReceivedInstanceFilter said no"]]


def test_a_dose_report_is_noted_value_by_value(tmp_path):
    report = dcmread(sample("test-SR.dcm"))
    number = Dataset()
    number.ValueType, number.ConceptNameCodeSequence = "NUM", Sequence([Dataset()])
    number.ConceptNameCodeSequence[0].CodeValue = "113830"
    number.MeasuredValueSequence = Sequence([Dataset()])
    number.MeasuredValueSequence[0].NumericValue = "12.5"
    within = Dataset()
    within.ValueType, within.ContentSequence = "CONTAINER", Sequence([number])
    unknown = copy.deepcopy(number)
    unknown.ConceptNameCodeSequence[0].CodeValue = "1"
    report.ContentSequence = Sequence([within, unknown])
    report.save_as(tmp_path / "dose.dcm")
    ((plan, _),) = plans("parse_dose_report.py", tmp_path / "dose.dcm")
    assert len(plan) == 1
    assert "2000" in plan[0]


def test_autorouting_keeps_what_could_not_be_sent_and_lets_go_of_it_when_it_has_arrived(tmp_path):
    """Orthanc's own sample deletes the only copy when the send fails."""
    away = free_port()
    more = (
        f'[modalities.sample]\naet = "SAMPLE"\nhost = "127.0.0.1"\nport = {away}\n'
        '[scripts."autorouting.py"]\nmay = ["delete"]\n'
    )
    router = LiveNode(tmp_path / "router", {"autorouting.py": (FOLDER / "autorouting.py").read_text()}, more)
    archive = None
    try:
        image = sample("CT_small.dcm").read_bytes()
        requests.post(f"{router.url}/instances", data=image, timeout=60).raise_for_status()

        def waits():
            return [one["State"] for one in requests.get(f"{router.url}/deliveries", timeout=60).json()] == ["waiting"]

        until(waits, "it was tried and waits", 60)
        assert len(router.instances()) == 1
        archive = Node(
            Settings(
                node={"data": tmp_path / "archive", "scripts": tmp_path / "none"},
                dicom={"port": away, "aets": ("SAMPLE",)},
                http={"enabled": False},
            ),
            run_scripts=False,
        )
        archive.start()
        until(lambda: archive.facts().instances == 1, "it arrives", 60)
        until(lambda: router.instances() == [], "it is let go", 60)
    finally:
        router.stop()
        if archive is not None:
            archive.stop()


def test_a_changed_instance_takes_the_place_of_its_original_once_it_is_stored(tmp_path):
    name = "modify_instance_with_sequence.py"
    more = f'[scripts."{name}"]\nmay = ["modify", "store", "delete"]\n'
    node = LiveNode(tmp_path / "node", {name: (FOLDER / name).read_text()}, more)
    try:
        original = dcmread(sample("CT_small.dcm"))
        requests.post(f"{node.url}/instances", data=sample("CT_small.dcm").read_bytes(), timeout=60).raise_for_status()

        def others():
            return [one for one in node.instances() if one.sop_instance_uid != original.SOPInstanceUID]

        (kept,) = until(others, "the changed one is stored", 60)
        until(lambda: len(node.instances()) == 1, "the original is let go", 60)
        assert node.instances()[0].sop_instance_uid == kept.sop_instance_uid
        (item,) = dcmread(node.path(kept.sop_instance_uid)).RequestAttributesSequence
        assert (item.RequestedProcedureID, item.ScheduledProcedureStepID) == ("1234", "0007")
    finally:
        node.stop()
