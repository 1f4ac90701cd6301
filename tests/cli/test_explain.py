import json

import pytest
from typer.testing import CliRunner

from hostd.archive import deliveries, events, filterings, instances, retrievals
from hostd.archive.filterings import Filtering, FilterRun
from hostd.archive.records import Attempt
from hostd.archive.retrievals import Sent
from hostd.cli import build
from hostd.cli.explain import _run_lines
from hostd.dicom.retrieve import Wanted
from hostd.testing.made import arrive

SOP = "1.2.3.4.5"


def run(config, *arguments):
    return CliRunner().invoke(build(), [*arguments, "--config", str(config)])


@pytest.fixture
def sent(archive):
    """Two instances of a study; one was sent, and refused."""
    arrive(archive, SOP)
    arrive(archive, "1.2.3.4.6")

    def unit(connection):
        (stored,) = instances.by_sop_instance_uid(connection, SOP)
        number, _ = deliveries.ask(
            connection, instance=stored.id, sop_instance_uid=SOP, sop_class_uid="1.2", destination="modality:archive",
            content=stored.received_sha256, blob=stored.blob.name, now=1.0,
        )  # fmt: skip
        deliveries.claim(connection, "modality:archive", 1, 2.0, 1)
        deliveries.finish(connection, Attempt(number, 1, 3.0, "failed", "0xA900: no [P1]", 0xA900, 0.5), 1)

    archive.writer.do(unit)
    return archive


def test_one_instance_is_told_in_lines(config, sent):
    said = run(config, "explain", SOP).output
    assert "is SOP Instance UID of 1 instance" in said
    assert "stored instance by C-STORE from CT1 in Explicit VR Little Endian" in said
    assert "delivery 1 to modality:archive: failed" in said
    assert "0xA900: no [P1]" in said
    (told,) = [line for line in said.splitlines() if "delivery failed" in line and "event" in line]
    assert told.endswith("delivery failed to modality:archive (event 6)")


def test_a_study_says_how_many_of_how_many_arrived(config, sent):
    said = run(config, "explain", "1.2.3").output
    assert "of 2 instances" in said
    assert "modality:archive: 0 of 2 delivered (1 failed)" in said


def test_machines_get_json_without_phi_when_asked(config, sent):
    result = run(config, "explain", SOP, "--json", "--no-phi")
    facts = json.loads(result.stdout)
    assert facts["instances"][0]["other_deliveries"][0]["attempts"][0]["status"] == 0xA900
    assert "P1" not in result.stdout
    assert "P1" in run(config, "explain", SOP, "--json").stdout


def test_without_phi_not_even_the_name_that_was_asked_for_is_repeated(config, sent):
    assert "what was asked for is Patient ID of 2 instances" in run(config, "explain", "P1", "--no-phi").output
    assert "P1" not in run(config, "explain", "P1", "--no-phi").output
    assert "P1" not in run(config, "explain", "P1", "--no-phi", "--json").output
    assert "P1 is Patient ID of 2 instances" in run(config, "explain", "P1").output
    assert f"{SOP} is SOP Instance UID" in run(config, "explain", SOP, "--no-phi").output


def test_who_got_it_by_c_move_and_c_get_is_told_with_when_and_how_it_went(config, sent):
    def retrieve(connection):
        (one,) = instances.by_sop_instance_uid(connection, SOP)
        wanted = Wanted("STUDY", None, ("1.2.3",), (), ())
        for number, (kind, to, outcome) in enumerate(
            (("get", "caller:WS1", "delivered"), ("move", "modality:x", "failed")), 1
        ):
            begun = retrievals.begin(
                connection, kind=kind, at=10.0, calling_aet="WS1", ip="192.0.2.7", association=4, destination=to,
                wanted=wanted, count=1, node="node",
            )  # fmt: skip
            answer = {"delivered": ("0x0000", 0, "1.2.840.10008.1.2.1"), "failed": ("no [P1]", 0xA700, None)}[outcome]
            retrievals.note(connection, begun, [Sent(one.id, SOP, outcome, answer[0], 11.0 + number, *answer[1:])])

    sent.writer.do(retrieve)
    said = run(config, "explain", SOP).output
    assert "retrieval 1, C-GET by WS1 (192.0.2.7) to caller:WS1, association 4: delivered in Explicit VR Little" in said
    assert "retrieval 2, C-MOVE by WS1 (192.0.2.7) to modality:x, association 4: failed, no [P1]" in said
    shown = run(config, "explain", SOP, "--no-phi").output
    assert ("P1" in shown, "association 4: failed, status 0xA700" in shown) == (False, True)
    (one,) = json.loads(run(config, "explain", SOP, "--json").stdout)["instances"]
    assert [(told["kind"], told["at"]) for told in one["retrieved"]] == [
        ("C-GET", "1970-01-01T00:00:12.000+00:00"), ("C-MOVE", "1970-01-01T00:00:13.000+00:00"),
    ]  # fmt: skip
    assert "retrieval" not in run(config, "explain", "1.2.3.4.6").output


def test_an_unknown_name_is_one_line_and_exit_code_1(config, sent):
    result = run(config, "explain", "9.9.9")
    assert result.exit_code == 1
    assert "nothing is known of '9.9.9'" in result.stderr


def test_instances_are_listed_and_the_unrouted_chosen(config, sent):
    everything = json.loads(run(config, "instances", "--json").stdout)
    assert {one["sop_instance_uid"] for one in everything} == {SOP, "1.2.3.4.6"}
    unrouted = json.loads(run(config, "instances", "--unrouted", "--json").stdout)
    assert [one["sop_instance_uid"] for one in unrouted] == ["1.2.3.4.6"]
    assert "1.2.3.4.6" in run(config, "instances", "--unrouted").output
    assert "P1" not in run(config, "instances").output


def test_a_discarded_instance_is_told_with_script_version_and_reason(config, archive):
    arrive(archive, SOP)
    with archive.read() as connection:
        event = events.get(connection, 1)
        header = event.header.replace(SOP.encode(), b"1.2.3.4.9")
    run_of = FilterRun("a.py", "v" * 64, "done", "discard", {"reason": "not [P1]"}, (), (), None, 1.0, 0.1)
    filtering = Filtering("discarded_instance", header, "hash", event.origin, 1.0, (run_of,))
    archive.writer.do(lambda c: filterings.enter(c, filtering, "an-id"))
    said = run(config, "explain", "1.2.3.4.9").output
    assert "1.2.3.4.9: not stored\n" in said
    assert "discarded instance by C-STORE from CT1" in said
    assert f"a.py version {'v' * 12}: done" in said
    assert "discard reason not [P1]: done" in said
    assert "P1" not in run(config, "explain", "1.2.3.4.9", "--no-phi", "--json").stdout


def test_what_a_filter_changed_is_not_routed_by_that(config, archive):
    arrive(archive, SOP)
    with archive.read() as connection:
        event = events.get(connection, 1)
    run_of = FilterRun("a.py", "v", "done", "accept", {"set": ["PatientID"]}, (), (), None, 1.0, 0.1)
    filtering = Filtering("filtered_instance", event.header, "hash", event.origin, 1.0, (run_of,))
    archive.writer.do(lambda c: filterings.enter(c, filtering, event.subject))
    assert SOP in run(config, "instances", "--unrouted").output


def test_pixels_among_what_was_read_have_no_value_beside_those_that_were_told():
    run = {
        "script": "a.py", "version": "f" * 64, "outcome": "done", "seconds": 0.1, "at": "2026-01-01T00:00:00+00:00",
        "tags_read": {"pixels": None, "Modality": ["CT"], "ImageComments": None},
        "asked": [{"verb": "pixels", "min": 0, "max": 9, "is_blank": False}], "actions": [],
    }  # fmt: skip
    assert list(_run_lines(run))[1:] == [
        "  read pixels, Modality=CT, ImageComments=?",
        "  asked verb pixels, min 0, max 9, is_blank False",
    ]
