"""What the recipes ask for: each from an event to its plan."""

import os

import msgspec
import pytest
import requests
from channels_kit import HookServer
from peer_kit import SAMPLES, LiveNode, sample, until
from ports import free_port
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from recipe_kit import NOW, recipe

from hostd.sandbox import frames
from hostd.scripting import made
from hostd.scripting.plan import as_frames_event

CT, REPORT, JPEG = "CT_small.dcm", "test-SR.dcm", "JPEG2000.dcm"
J2K = "1.2.840.10008.1.2.4.90"


@pytest.fixture
def write(tmp_path):
    """Write a file with attributes changed, those removed that are None."""

    def written(name=CT, **keywords):
        ds = dcmread(sample(name))
        for keyword, value in keywords.items():
            if value is None:
                del ds[keyword]
            else:
                setattr(ds, keyword, value)
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.dcm"
        ds.save_as(path)
        return path

    return written


def test_the_called_ae_title_says_where_and_the_ai_server_comes_first():
    with recipe("route-by-called-ae") as route:
        assert route.on("stored_instance", sample(CT), called_aet="STROKE") == [
            "forward to modality:ai with priority stat",
            "forward to modality:archive",
        ]
        assert route.on("conflicting_instance", sample(CT), called_aet="RESEARCH") == ["forward to modality:research"]
        assert route.on("stored_instance", sample(CT), called_aet="HOSTD") == ["forward to modality:archive"]
        assert route.on("stored_instance", sample(CT)) == ["forward to modality:archive"]


def test_each_sender_has_its_folder():
    with recipe("write-to-disk") as write_to_disk:
        assert write_to_disk.on("stored_instance", sample(CT), calling_aet="CT1") == ["forward to folder:ct1"]
        assert write_to_disk.on("stored_instance", sample(CT), calling_aet="MR1") == ["forward to folder:patients"]
        assert write_to_disk.on("stored_instance", sample(REPORT)) == ["forward to folder:patients"]


def test_what_is_changed_is_sent_and_the_original_waits_for_it():
    with recipe("change-and-forward") as change:
        modified, forwarded, deleted = change.on("stored_instance", sample(CT))
    assert modified.startswith(
        "modify (set RequestAttributesSequence, StationName; remove InstitutionAddress, OperatorsName; "
    )
    assert forwarded == "forward to modality:archive, after modify, or not at all"
    assert deleted == "delete once 1 named deliveries have arrived"


def test_filters_discard_refuse_and_let_pass(write):
    with recipe("filters") as filters:
        assert filters.judges("filter_received_instance", sample(CT)) == []
        assert filters.judges("filter_received_instance", write(Modality="KO")) == [
            "discard it: this modality is not kept here"
        ]
        (refused,) = filters.judges("filter_received_instance", write(PatientID=""))
        assert refused.startswith("refuse it with 0xA900")
        clean = write(BurnedInAnnotation="NO")
        assert filters.judges("filter_outgoing_instance", clean, destination="teaching") == []
        assert filters.judges("filter_outgoing_instance", sample(CT), destination="archive") == []
        assert filters.judges("filter_outgoing_instance", sample(CT), destination="teaching") == [
            "discard it: text may be burned into it"
        ]
        for aet, said in [("OTHER", []), ("WORKSTATION", ["70531000 is not told"])]:
            origin = frames.Origin("dicom", calling_aet=aet)
            query = frames.FindQuery("study", {0x70531000: ("UN", [""])}, origin)
            assert filters.judges("filter_find", query=query) == said
        for method, user, said in [
            ("GET", None, 0),
            ("DELETE", "admin", 0),
            ("DELETE", "guest", 1),
            ("DELETE", None, 1),
        ]:
            request = frames.HttpRequest(method, "/instances/x", "192.0.2.1", user, {})
            assert len(filters.judges("filter_http_request", request=request)) == said


def test_only_images_on_which_there_is_something_to_see_are_sent(write):
    blank = write(PixelData=bytes(2 * 128 * 128))
    speck = write(PixelData=bytes(2 * 128 * 128 - 2) + b"\1\0")
    cut_off = write(PixelData=bytes(100))
    with recipe("drop-blank-images") as drop:
        assert drop.on("stored_instance", blank) == ["delete once all its deliveries have arrived"]
        assert drop.log == ["there is nothing to see on it"]
        for file in (sample(CT), sample(JPEG), speck, sample(REPORT)):
            assert drop.on("conflicting_instance", file) == ["forward to modality:archive"]
        assert drop.on("stored_instance", cut_off) == ["forward to modality:archive"]
        assert "kept, for the pixels cannot be read: the pixel data has 100 bytes" in drop.log[0]


def test_a_new_study_is_labelled_with_its_sender(write):
    with recipe("label-by-sender") as label:
        plan = label.on("new_study", write(AccessionNumber=""))
        assert [line for line in plan if "no-order" in line]
        assert [line for line in plan if "BegunAt" in line]
        assert not [line for line in plan if "from-" in line], "a file comes from nobody"
        assert not [line for line in label.on("new_study", write(AccessionNumber="7")) if "no-order" in line]


def test_a_stable_study_sends_what_is_new_of_it_changed(write):
    first, second = (
        write(SOPInstanceUID="1.2.3.1", InstanceNumber="1"),
        write(SOPInstanceUID="1.2.3.2", InstanceNumber="2"),
    )
    with recipe("stable-studies") as stable:
        plan = stable.on("stable_study", first, second)
        assert (
            plan
            == [
                "modify (set StudyDescription), when a delivery needs it",
                "forward an instance of the study to modality:archive, after modify, or not at all",
            ]
            * 2
        )
        assert stable.log == ["a study of 2 instances is complete; 2 are new"]
        assert stable.on("stable_series", first, second) == []
        assert stable.log == ["a series of 2 instances is complete: CT"]


def number(code, value):
    item = Dataset()
    item.ValueType, item.ConceptNameCodeSequence, item.MeasuredValueSequence = (
        "NUM",
        Sequence([Dataset()]),
        Sequence([Dataset()]),
    )
    item.ConceptNameCodeSequence[0].CodeValue, item.MeasuredValueSequence[0].NumericValue = code, value
    return item


def test_the_numbers_of_a_dose_report_are_noted(write):
    container, text = Dataset(), Dataset()
    container.ValueType, text.ValueType = "CONTAINER", "TEXT"
    container.ContentSequence = Sequence([number("113830", "12.5"), number("113830", "3.25"), number("999", "1")])
    with recipe("dose-reports") as dose:
        plan = dose.on(
            "stored_instance", write(REPORT, ContentSequence=Sequence([text, container, number("113813", "480")]))
        )
        assert len(plan) == 3
        assert "MeanCTDIvol" in plan[0]
        assert "DLPTotal" in plan[1]
        assert "registry" in plan[2]
        assert dose.on("stored_instance", sample(REPORT)) == []
        assert dose.on("stored_instance", sample(CT)) == []
        assert "not asked" in dose.log[0]


def test_each_destination_gets_its_transfer_syntax():
    with recipe("syntax-per-destination") as each:
        plan = each.on("stored_instance", sample(CT))
        assert [line for line in plan if line.startswith("forward")] == [
            "forward to modality:archive in JPEG 2000 Lossless, or as it is where that cannot be done",
            "forward to modality:workstation in Explicit VR Little Endian, or as it is where that cannot be done",
            "forward to peer:backup",
        ]
        assert each.on("stored_instance", sample(REPORT)) == [
            "forward to modality:archive", "forward to modality:workstation", "forward to peer:backup",
        ]  # fmt: skip


def test_ultrasound_is_blanked_and_nothing_else(write):
    with recipe("blank-image-area") as blank:
        assert blank.on("stored_instance", write(Modality="US")) == [
            "redact 1 region, when a delivery needs it",
            "forward to modality:archive, after redact, or not at all",
        ]
        assert blank.on("stored_instance", sample(CT)) == ["forward to modality:archive"]


def test_a_program_works_on_images_alone():
    with recipe("run-a-program") as program:
        assert program.on("stored_instance", sample(CT)) == [
            "have the tool despeckle make something of it, when a delivery needs it",
            "forward to modality:archive, after despeckle, or not at all",
        ]
        assert program.on("stored_instance", sample(REPORT)) == []


def test_what_becomes_smaller_is_kept_so_and_what_does_not_stays(write):
    compressed = [
        "transcode to JPEG 2000 Lossless, when a delivery needs it",
        "forward to modality:archive in JPEG 2000 Lossless, or as it is where that cannot be done",
    ]
    with recipe("compress-and-replace") as compress:
        replaced = [*compressed, "replace the file of the instance, its original kept as a version"]
        assert compress.on("stored_instance", sample(CT)) == replaced
        noise = write(PixelData=os.urandom(128 * 128 * 2))
        assert compress.on("stored_instance", noise) == compressed
        damaged = write(PhotometricInterpretation="NOTHING")
        assert compress.on("stored_instance", damaged) == compressed
        assert compress.on("stored_instance", sample(JPEG)) == ["forward to modality:archive"]


def test_the_report_counts_by_sender_and_begins_anew():
    with recipe("daily-report") as report:
        report.on("association_closed", sample(CT))
        report.on("association_closed", sample(CT), sample(REPORT))
        assert report.state == {"stored": {"REHEARSAL": 3}}
        assert report.on("report", sample(CT))[0] == "notify office: REHEARSAL: 3 stored, 0 failed"
        assert report.state == {}
        assert report.on("report", sample(CT)) == ["notify office: Nothing has arrived since the last report."]


def test_every_old_study_waits_for_the_archives_promise():
    sought = []
    study = frames.Level("study", "an-id", "0042", "1.2", "", 3, {}, [])

    def answer(question):
        found = {"find": [1, 1], "found": [msgspec.to_builtins(study)]}
        sought.append(question.more)
        return frames.Answer(question.id, found[question.verb])

    with recipe("delete-old-studies") as clean:
        event = as_frames_event(made.event((clean.script,), "clean", NOW)[0])
        result = clean.worker.run(event, time_limit_s=20.0, answer=answer, given={"an-id"})
    assert result.failure is None
    (deleted,) = result.actions
    assert (deleted.x, deleted.after) == ("an-id", "committed")
    assert (sought[0]["level"], sought[0]["delivered_to"]) == ("study", "archive")
    assert sought[0]["stored_before"] == NOW - 14 * 86_400


def test_what_waits_for_an_archive_that_is_down_goes_to_the_second_one(tmp_path):
    second = LiveNode(tmp_path / "second", aet="SECOND")
    more = (
        f'[modalities.archive]\naet = "ARCHIVE"\nhost = "127.0.0.1"\nport = {free_port()}\n'
        f'[modalities.second]\naet = "SECOND"\nhost = "127.0.0.1"\nport = {second.port}\n'
        '[notify.duty]\nurl = "http://127.0.0.1:9/"\n'
        '[scripts."redirect.py"]\nchannels = ["duty"]\n'
    )
    script = (SAMPLES / "second-archive" / "redirect.py").read_text()
    node = LiveNode(tmp_path / "node", {"redirect.py": script}, more)
    try:
        requests.post(f"{node.url}/instances", data=sample(CT).read_bytes(), timeout=60).raise_for_status()
        until(lambda: len(second.instances()) == 1, "the second archive has it", 90)
    finally:
        node.stop()
        second.stop()


def test_where_nobody_commits_old_studies_go_once_the_archive_has_had_them_and_not_before(tmp_path):
    archive = LiveNode(tmp_path / "archive", aet="ARCHIVE")
    port = archive.port
    archive.stop()
    # As the recipe says for an archive without storage commitment, and not at three in the morning but at once, of whatever age.
    script = (
        (SAMPLES / "delete-old-studies" / "clean.py").read_text().replace('@cron("0 3 * * *")', "@every(seconds=1)")
    )
    script = script.replace("import cron", "import every").replace(', after="committed"', "")
    more = (
        f'[modalities.archive]\naet = "ARCHIVE"\nhost = "127.0.0.1"\nport = {port}\n'
        '[scripts."clean.py"]\nmay = ["delete"]\nconfig = { days = 0 }\n'
    )
    node = LiveNode(tmp_path / "node", {"clean.py": script}, more)
    restarted = None
    try:
        requests.post(f"{node.url}/instances", data=sample(CT).read_bytes(), timeout=60).raise_for_status()

        def looked():
            with node.archive.read() as connection:
                rows = connection.exec_driver_sql("SELECT log FROM run WHERE log LIKE '%0 studies of before%'").all()
            return len(rows) >= 2

        until(looked, "it has looked twice, and found nothing to delete", 60)
        assert len(node.instances()) == 1
        restarted = LiveNode(tmp_path / "archive", aet="ARCHIVE", port=port)
        until(lambda: len(restarted.instances()) == 1, "the archive has it", 60)
        until(lambda: node.instances() == [], "it is deleted", 60)
    finally:
        node.stop()
        if restarted is not None:
            restarted.stop()


def test_what_is_compressed_takes_the_place_of_its_original_here_and_reaches_the_archive(tmp_path):
    archive = LiveNode(tmp_path / "archive", aet="ARCHIVE")
    more = (
        f'[modalities.archive]\naet = "ARCHIVE"\nhost = "127.0.0.1"\nport = {archive.port}\n'
        '[scripts."compress.py"]\nmay = ["replace"]\nconfig = { ratio = 1.1 }\n'
    )
    script = (SAMPLES / "compress-and-replace" / "compress.py").read_text()
    node = LiveNode(tmp_path / "node", {"compress.py": script}, more)
    try:
        original = dcmread(sample(CT))
        requests.post(f"{node.url}/instances", data=sample(CT).read_bytes(), timeout=60).raise_for_status()
        until(lambda: node.instance(original.SOPInstanceUID).blob.transfer_syntax == J2K, "it is replaced", 60)
        until(lambda: archive.instance(original.SOPInstanceUID), "it arrives", 60)
        kept = dcmread(node.path(original.SOPInstanceUID))
        assert (kept.pixel_array == original.pixel_array).all()
        assert archive.instance(original.SOPInstanceUID).blob.transfer_syntax == J2K
    finally:
        node.stop()
        archive.stop()


def test_the_registry_is_told_and_its_answer_stands_with_the_report(tmp_path, write):
    report = write(REPORT, ContentSequence=Sequence([number("113813", "480")]))
    script = (SAMPLES / "dose-reports" / "dose.py").read_text()
    with HookServer() as registry:
        more = f'[targets.registry]\nurl = "http://127.0.0.1:{registry.port}/"\n[scripts."dose.py"]\nmay = ["http"]\n'
        node = LiveNode(tmp_path / "node", {"dose.py": script}, more)
        try:
            requests.post(f"{node.url}/instances", data=report.read_bytes(), timeout=60).raise_for_status()

            def noted():
                (instance,) = node.instances()
                return instance.metadata.get("RegistryStatus")

            assert until(noted, "the answer is noted", 60) == "200"
            assert node.instances()[0].metadata["DLPTotal"] == "480.0"
        finally:
            node.stop()
    assert registry.bodies[0]["values"] == {"DLPTotal": [480.0]}
