"""What scripts read, ask for and are refused, each line of the public interface, in a real jailed worker."""

import pytest
from sandbox_support import make_event, make_instance, make_load

from hostd.sandbox import api, frames
from hostd.sandbox.script import Script

VALUES = {
    "tags.PatientID": "'0042'",
    "tags.AccessionNumber": "'00123'",
    "tags.Modality": "'CT'",
    "tags.ImageType": "('ORIGINAL', 'PRIMARY', '')",
    "tags.SliceThickness": "1.5",
    "tags.ImagePositionPatient": "(-1.0, 20.0, 0.5)",
    "tags.KVP": "(None, 120.0)",
    "tags.InstanceNumber": "7",
    "tags.Rows": "512",
    "tags.DimensionIndexPointer": "2097202",
    "tags.InstitutionName": "None",
    "tags.PatientAge": "None",
    "tags.get('PatientAge', 'x')": "'x'",
    "tags.get('InstitutionName')": "None",
    "tags.get('Modality', 'x')": "'CT'",
    "tags.get(0x00080060)": "'CT'",
    "'PatientAge' in tags": "True",
    "'StudyID' in tags": "False",
    "0x00080060 in tags": "True",
    "tags[0x00180050]": "1.5",
    "tags['Modality']": "'CT'",
    "tags[0x00110010]": "None",
    "tags.text('SliceThickness')": "'1.50'",
    "tags.text('SpacingBetweenSlices')": "'1,5'",
    "tags.text('ImagePositionPatient')": "'-1\\\\2e1\\\\.5'",
    "tags.text('InstitutionName')": "''",
    "tags.text('StudyID')": "''",
    "tags.text('Rows')": "'512'",
    "tags.private('ACME 1.0', 0x10)": "2.5",
    "tags.private('ACME 1.0', 0x11)": "b'\\x01\\x02'",
    "tags.private('ACME 1.0', 0x10, group=0x0019)": "'second'",
    "tags.private('ACME 1.0', 0x12)": "None",
    "tags.private('NOBODY', 0x10)": "None",
    "tags.PatientName": "'Yamada^Tarou^M^Dr.^Jr.=山田^太郎=やまだ^たろう'",
    "tags.PatientName.family_name": "'Yamada'",
    "tags.PatientName.given_name": "'Tarou'",
    "tags.PatientName.middle_name": "'M'",
    "tags.PatientName.prefix": "'Dr.'",
    "tags.PatientName.suffix": "'Jr.'",
    "tags.PatientName.ideographic.family_name": "'山田'",
    "tags.PatientName.phonetic.given_name": "'たろう'",
    "tags.ReferringPhysicianName.given_name": "''",
    "tags.ReferringPhysicianName.phonetic": "''",
    "tags.StudyDate": "'20240131'",
    "str(tags.StudyDate.date)": "'2024-01-31'",
    "str(tags.SeriesDate.date)": "'2024-01-31'",
    "str(tags.StudyTime.time)": "'14:23:59.123000'",
    "str(tags.SeriesTime.time)": "'14:00:00'",
    "str(tags.AcquisitionDateTime.datetime)": "'2024-01-31 14:23:59.500000+01:00'",
    "len(tags.ReferencedImageSequence)": "2",
    "tags.ReferencedImageSequence[1].ReferencedSOPInstanceUID": "'1.10'",
    "tags.SourceImageSequence": "None",
    "tags.ImageComments": "'fetched [2113536]'",
    "tags.RescaleSlope": "1.0",
    "instance.id": "'11111111-22222222-33333333-44444444-55555555'",
    "instance.patient_id": "'0042'",
    "instance.sop_class": "'1.2.840.10008.5.1.4.1.1.2'",
    "instance.transfer_syntax.keyword": "'ExplicitVRLittleEndian'",
    "(instance.transfer_syntax.is_compressed, instance.transfer_syntax.is_lossy)": "(False, False)",
    "(instance.has_pixels, instance.frames, instance.size)": "(True, 1, 1000)",
    "(instance.origin.kind, instance.origin.calling_aet, instance.origin.modality)": "('dicom', 'CT1', 'ct1')",
    "(instance.origin.username, instance.origin.association)": "(None, 5)",
    "(instance.receipt.outcome, instance.receipt.reason, instance.receipt.codec)": "('made', '', 'imagecodecs')",
    "(instance.receipt.ratio, instance.receipt.verified_by, instance.receipt)": "(2.5, 'openjpeg', <receipt: made>)",
    "(instance.receipt.source_syntax, instance.receipt.result_syntax)": "(ImplicitVRLittleEndian, ExplicitVRLittleEndian)",
    "[type(one) for one in host.find('study', Modality='CT')]": "['Instance', 'Study']",
    "[(one.id, one.count, one.tags.Modality, list(one.instances), one.first) for one in host.find('study') if type(one) == 'Study']": "[('a study', 3, 'CT', [], None)]",
    "(host.delivered_to(instance, 'archive'), host.delivered_to(instance, 'ai'))": "(True, False)",
    "(host.transcode(instance, 'j2k').size, host.transcode(instance, 'j2k').ratio)": "(500, 2.0)",
    "host.transcode(host.transcode(instance, 'j2k'), 'rle').ratio": "4.0",
    "host.state": "{'kept': ['x']}",
    "(instance.metadata, instance.labels)": "({'Seen': 'of 11111111'}, ('TRIAL7',))",
    "(instance.pixels.min, instance.pixels.max, instance.pixels.mean)": "(0, 4095, 7.5)",
    "(instance.pixels.histogram, instance.pixels.bin_width, instance.pixels.is_blank)": "((3, 1), 2048, False)",
    "(instance.pixels, bool(instance.pixels))": "(<pixels>, True)",
    "host.find('instance')[0].pixels.max": "4095",
    "str(host.now())": "'2023-11-14 22:13:20+00:00'",
    "host.config": "{'limit': 3}",
}


@pytest.mark.parametrize(("expression", "shown"), VALUES.items(), ids=VALUES)
def test_a_value_is_what_the_interface_says(run, expression, shown):
    result, log = run(f"tags = instance.tags\nprint(repr({expression}))", config={"limit": 3})
    assert result.failure is None, result.failure
    assert log == [shown]


REFUSALS = {
    "instance.tags.PatientNam": ("UnknownKeyword", "did you mean PatientName?"),
    "instance.tags.get('PatientNam')": ("UnknownKeyword", "did you mean PatientName?"),
    "'PatientNam' in instance.tags": ("UnknownKeyword", "did you mean PatientName?"),
    "instance.tags.SpacingBetweenSlices": ("ValueError", "SpacingBetweenSlices has VR DS, but '1,5' is not a number"),
    "instance.tags.AcquisitionNumber": ("ValueError", "AcquisitionNumber has VR IS, but 'seven' is not a whole number"),
    "instance.tags.AcquisitionDate.date": ("ValueError", "'yesterday' is not a date"),
    "instance.tags[1.5]": ("TypeError", "an element is named by its keyword"),
    "instance.tags[-1]": ("TypeError", "an element is named by its keyword"),
    "instance.tags.PixelData": ("ValueError", "pixel data is not given to scripts"),
    "instance.tags.text('ReferencedImageSequence')": ("ValueError", "has no text"),
    "instance.tags.private('ACME 1.0', 0x1010)": ("ValueError", "within a private block"),
    "host.forward(instance, to='archiv')": ("ValueError", "there are: archive, ai; did you mean archive?"),
    "host.forward(instance, to='ai')": ("NotAllowed", 'destinations = ["archive", "ai"] under [scripts."x.py"]'),
    "host.forward(instance, to=3)": ("TypeError", "a destination is named by a text"),
    "host.forward('x', to='archive')": (
        "TypeError",
        "takes an instance or the handle of a product, not 'x'",
    ),
    "host.forward(None, to='archive')": ("TypeError", "not None"),
    "host.forward(host.forward(instance, to='archive'), to='archive')": ("TypeError", "a delivery cannot be sent on"),
    "host.forward(instance, to='archive', priority='urgent')": ("ValueError", 'priority must be "low"'),
    "host.forward(instance, to='archive', syntax='JPEG2000')": ("ValueError", 'say "j2k"'),
    "host.forward(instance, to='archive', not_before=-1)": ("ValueError", "not_before must be an aware datetime"),
    "host.transcode(instance, 'jpeg2k')": ("ValueError", "no transfer syntax is called 'jpeg2k'"),
    "host.transcode(instance, 'JPEG2000')": ("ValueError", 'JPEG2000 may lose information: say "j2k"'),
    "host.transcode(instance, 'HTJ2K')": ("ValueError", 'say "htj2k"'),
    "host.transcode(instance, 'JPEGXL')": ("ValueError", 'say "jxl"'),
    "host.transcode(instance, 'JPEG2000', quality=80)": ("NotAllowed", 'may = ["lossy"] under [scripts."x.py"]'),
    "host.transcode(instance, 'JPEG2000', lossy=True)": ("NotAllowed", 'may = ["lossy"] under [scripts."x.py"]'),
    "host.transcode(instance, 'j2k', quality=0)": ("ValueError", "quality must be a whole number from 1 to 100"),
    "host.transcode(instance, 'j2k', quality=80.5)": ("ValueError", "quality must be a whole number from 1 to 100"),
    "host.transcode(instance, 'j2k', near=0)": ("ValueError", "near must be a whole number from 1 to 255"),
    "host.transcode(instance, 'JPEG2000', quality=80, ratio=5)": ("ValueError", "one of quality, ratio and near"),
    "host.delete(instance)": ("NotAllowed", 'may = ["delete"] under [scripts."x.py"]'),
    "host.delete(instance, after='now')": ("TypeError", "after must be"),
    "host.delete(host.transcode(instance, 'j2k'))": ("TypeError", "host.delete takes the instance"),
    "host.retry(instance)": ("TypeError", "takes the delivery or the destination that an event is about"),
    "host.hold(host.forward(instance, to='archive'))": ("TypeError", "takes the delivery or the destination"),
    "host.discard(instance)": ("NotAllowed", 'may = ["delete"] under [scripts."x.py"]'),
    "host.redirect(instance, to='ai')": ("NotAllowed", 'destinations = ["archive", "ai"] under [scripts."x.py"]'),
    "host.declare_stable(instance)": ("TypeError", "takes a series, study or patient"),
    "host.find('image')": ("ValueError", "level must be one of instance, series, study, patient"),
    "host.find('study', limit=1001)": ("ValueError", "limit must be a whole number from 1 to 1000"),
    "host.find('study', PatientID=7)": ("TypeError", "PatientID must be a text, not 7"),
    "host.find('study', delivered_to='archiv')": ("ValueError", "did you mean archive?"),
    "host.find('study', stored_before='now')": ("ValueError", "stored_before must be an aware datetime"),
    "host.delivered_to('x', 'archive')": ("TypeError", "host.delivered_to takes an instance"),
    "host.state = {}": ("TypeError", "read-only"),
    "host.set_metadata(instance, 'a b', 'x')": ("ValueError", 'the key of a metadata has 1 to 64 letters, digits, "_"'),
    "host.set_metadata(instance, 'ModifiedFrom', 'x')": ("ValueError", "ModifiedFrom is kept by hostd itself"),
    "host.set_metadata(instance, 'k', 7)": ("TypeError", "a metadata must be a text, not 7"),
    "host.set_metadata(instance, 'k', 'x' * 4001)": ("ValueError", "up to 4000 characters, and this one 4001"),
    "host.label(host.transcode(instance, 'j2k'), 'x')": ("TypeError", "a product has none until it is stored"),
    "host.label(instance)": ("ValueError", "name 1 to 20 labels, not 0"),
    "host.unlabel(instance, ('a', 'b'))": ("TypeError", "a label must be a text, not a tuple"),
    "instance.labels = ()": ("TypeError", "read-only"),
    "instance.pixels = None": ("TypeError", "read-only"),
    "instance.pixels.is_blank = True": ("TypeError", "read-only"),
    "instance.pixels[0]": ("TypeError", "not subscriptable"),
    "instance.pixels.median": ("AttributeError", ""),
    "host.find('study')[1].pixels": ("AttributeError", ""),
    "host.log('x', 'loud')": ("ValueError", "level must be one of debug, info, warning, error"),
    "host.x": ("AttributeError", ""),
    "instance.patient_id = 'x'": ("TypeError", "read-only"),
    "instance.nothing": ("AttributeError", ""),
}


@pytest.mark.parametrize(("statement", "type_", "says"), [(s, *e) for s, e in REFUSALS.items()], ids=REFUSALS)
def test_a_refusal_says_what_to_do(run, statement, type_, says):
    result, _ = run(statement)
    assert result.failure is not None
    assert (result.failure.type, result.failure.line) == (type_, 2)
    assert says in result.failure.message
    assert result.actions == []


def test_a_refusal_names_the_capabilities_that_the_script_already_has(run):
    result, _ = run("host.transcode(instance, 'JPEG2000', quality=80)", may=["delete"])
    assert 'may = ["delete", "lossy"]' in result.failure.message


def test_actions_enter_the_plan_in_order_with_their_lines(run):
    result, _ = run(
        "small = host.transcode(instance, 'j2k')\n"
        "sent = host.forward(small, to='archive', priority='stat', not_before=host.now(), syntax='explicit', again=True, back=True)\n"
        "host.delete(instance, after=[sent])\n"
        "host.delete(instance)\n"
        "host.transcode(instance, 'JPEG2000', quality=80, or_original=False)",
        may=["delete", "lossy"],
    )
    identity = "11111111-22222222-33333333-44444444-55555555"
    assert result.actions == [
        frames.Transcode(identity, "1.2.840.10008.1.2.4.90", line=2),
        frames.Forward(0, "archive", "stat", 1_700_000_000.0, "1.2.840.10008.1.2.1", True, True, 3),
        frames.Delete(identity, [1], 4),
        frames.Delete(identity, "delivered", 5),
        frames.Transcode(identity, "1.2.840.10008.1.2.4.91", quality=80, or_original=False, line=6),
    ]


def test_loss_may_be_asked_for_in_each_way(run):
    asked = ("lossy=True", "quality=1", "ratio=20", "lossy=True, quality=100")
    result, _ = run("\n".join(f"host.transcode(instance, 'JPEG2000', {how})" for how in asked), may=["lossy"])
    assert [(one.quality, one.ratio, one.near, one.lossy) for one in result.actions] == [
        (None, None, None, True), (1, None, None, False), (None, 20.0, None, False), (100, None, None, True),
    ]  # fmt: skip


def test_what_was_read_of_pixels_is_in_the_record_and_asked_once_a_run(run):
    result, log = run("print(instance.pixels)\nprint(instance.tags.Modality)")
    assert (result.tags_read, log) == (["Modality"], ["<pixels>", "CT"])
    result, _ = run("instance.pixels.mean\ninstance.pixels.is_blank")
    assert result.tags_read == ["pixels"]


def test_without_pixel_data_nobody_is_asked():
    asked = []
    loaded = Script(make_load("def on_stored_instance(instance, host):\n    print(instance.pixels)\n"))
    event = frames.Event(1, "on_stored_instance", 0.0, make_instance(has_pixels=False))
    result = loaded.run(event, lambda *question: asked.append(question))
    assert (result.failure, result.log, result.tags_read, asked) == (None, [("info", "None")], [], [])


def test_a_script_can_catch_that_pixels_are_not_known():
    source = """
from hostd.api import Instance, Pixels, PixelsUnknown as Unknown

def on_stored_instance(instance: Instance, host):
    facts: Pixels | None = instance.pixels
    try:
        facts.max
    except Unknown as unknown:
        print(unknown, isinstance(facts, Pixels), issubclass(Unknown, ValueError))
    try:
        facts.min
    except PixelsUnknown as unknown:
        print(unknown)
"""

    def refuse(path, verb="value", of="", *more):
        assert (path, verb, of) == ([], "pixels", "")
        raise ValueError("no decoder")

    result = Script(make_load(source)).run(make_event(), refuse)
    assert (result.failure, result.tags_read) == (None, ["pixels"])
    assert [text for _, text in result.log] == ["no decoder True True", "no decoder"]


def test_a_failed_run_has_no_plan(run):
    result, log = run("host.forward(instance, to='archive')\nprint('before')\n1 / 0")
    assert result.actions == []
    assert log == ["before"]
    assert (result.failure.type, result.failure.line, result.failure.traceback) == (
        "ZeroDivisionError",
        4,
        [(4, "on_stored_instance")],
    )


def test_a_traceback_has_the_frames_of_the_script_only(harness):
    verdict = harness.examine(
        "def inner(tags):\n    return tags.Nothing\ndef on_stored_instance(instance, host):\n    for _ in map(inner, [instance.tags]):\n        pass\n"
    )
    assert verdict.result.failure.traceback == [(4, "on_stored_instance"), (2, "inner")]


def test_names_of_tags_are_recorded_and_never_values(run):
    result, _ = run(
        "tags = instance.tags\ntags.PatientID\ntags.get('Modality')\n'StudyID' in tags\ntags.private('ACME 1.0', 0x10)\n"
        "tags.ReferencedImageSequence[0].ReferencedSOPInstanceUID\ntags[0x00110011]"
    )
    assert result.tags_read == [
        "PatientID", "Modality", "StudyID", "private 'ACME 1.0' 10", "ReferencedImageSequence",
        "ReferencedImageSequence.ReferencedSOPInstanceUID", "(0011,0011)",
    ]  # fmt: skip


def test_a_long_log_is_cut_and_says_so(run):
    result, log = run("for i in range(100000):\n    print('a line of the log', i)", max_log_bytes=1000)
    assert result.failure is None
    assert sum(map(len, log[:-1])) <= 1000
    assert "cut" in log[-1]
    assert len(log) < 100


def test_log_lines_have_their_level(run):
    result, _ = run("host.log('a', level='warning')\nhost.log(3)\nprint('b', 'c', sep='-')")
    assert result.log == [("warning", "a"), ("info", "3"), ("info", "b-c")]


def test_one_run_may_ask_for_so_many_actions(run):
    result, log = run(
        "try:\n    for i in range(10):\n        host.transcode(instance, 'rle')\nexcept TooManyActions as e:\n    print(e)",
        max_actions=4,
    )
    assert len(result.actions) == 4
    assert "4 actions" in log[0]


def test_nothing_of_an_earlier_event_can_be_used(harness):
    source = (
        "kept = []\n"
        "def on_start(host):\n    kept.append(host)\n"
        "def on_stored_instance(instance, host):\n"
        "    print(len(kept))\n    kept.append(instance)\n    kept[0].forward(instance, to='archive')\n"
    )
    script = Script(make_load(source))
    script.run(make_event(handler="on_start", instance=False), list)
    result = script.run(make_event(), list)
    assert result.log == [("info", "1")]
    assert (result.failure.type, result.actions) == ("RuntimeError", [])
    assert "earlier event" in result.failure.message


def test_a_value_that_did_not_travel_is_asked_for_once_by_its_path():
    asked = []

    def ask(path):
        asked.append(path)
        return [{0x00080060: ["CS", ["MR"]], 0x00204000: ["LT", None]}] if len(path) == 1 else ["far"]

    body = "    s = instance.tags.ReferencedPerformedProcedureStepSequence[0]\n    print(s.Modality, s.ImageComments, s.ImageComments)\n"
    result = Script(make_load(f"def on_stored_instance(instance, host):\n{body}")).run(make_event(), ask)
    assert result.log == [("info", "MR far far")]
    assert asked == [[0x00081111], [0x00081111, 0, 0x00204000]]


def test_every_event_documents_itself_and_names_its_handler():
    assert set(api.HANDLERS) == {
        "on_stored_instance",
        "on_received_again",
        "on_conflicting_instance",
        *(f"on_{what}_{level}" for what in ("new", "stable") for level in ("series", "study", "patient")),
        *(
            f"on_{what}_{level}"
            for what in ("updated", "deleted")
            for level in ("instance", "series", "study", "patient")
        ),
        "on_association_closed",
        "on_delivery_done",
        "on_delivery_failed",
        "on_action_done",
        "on_job_submitted",
        "on_job_succeeded",
        "on_job_failed",
        "on_transcode_failed",
        "on_destination_down",
        "on_destination_up",
        "on_script_parked",
        "on_disk_low",
        "on_disk_recovered",
        "on_source_silent",
        "on_start",
        "on_stop",
    }
    assert api.parameters(api.StoredInstance) == ["instance", "host"]
    assert api.parameters(api.StableSeries) == ["series", "host"]
    assert api.parameters(api.Start) == ["host"]
    assert all(event.__doc__ and not event.__doc__.startswith(event.__name__ + "(") for event in api.EVENTS)


def test_everything_a_script_can_touch_is_documented():
    for cls in (
        api.Host,
        api.Instance,
        api.Tags,
        api.Origin,
        api.Receipt,
        api.Series,
        api.Study,
        api.Patient,
        api.Instances,
        api.Association,
        api.TransferSyntax,
        api.PersonName,
        api.DateText,
    ):
        for name, member in vars(cls).items():
            if not name.startswith("_"):
                assert member.__doc__, f"{cls.__name__}.{name}"


NOT_KEPT = {
    "host.state['x'] = instance": ("TypeError", "state['x'] is a Instance, which cannot be kept"),
    "host.state[1] = 2": ("TypeError", "state has a key that is no text"),
    "host.state['x'] = float('nan')": ("TypeError", "which cannot be kept"),
    "host.state['x'] = 'y' * 70000": ("ValueError", "and 64 KiB can be kept"),
    "host.state['x'] = host.state": ("ValueError", "nested too deep"),
    "host.state['x'] = chr(0xD800)": ("ValueError", "half a character"),
}


@pytest.mark.parametrize(("statement", "type_", "says"), [(s, *e) for s, e in NOT_KEPT.items()], ids=NOT_KEPT)
def test_what_cannot_be_kept_fails_the_run(run, statement, type_, says):
    result, _ = run(f"host.forward(instance, to='archive')\n{statement}")
    assert (result.failure.type, says in result.failure.message) == (type_, True), result.failure
    assert (result.actions, result.state) == ([], None)


def test_what_a_script_keeps_goes_with_its_result_only_when_it_was_changed(run):
    assert run("host.state['n'] = 1")[0].state == {"kept": ["x"], "n": 1}
    assert run("host.state['kept'].append('y')")[0].state == {"kept": ["x", "y"]}
    assert run("host.state['kept'] = ['x']")[0].state is None
    assert run("print(host.state)")[0].state is None
    assert run("host.state.clear()")[0].state == {}
    assert run("host.state['n'] = 1\n1 / 0")[0].state is None
