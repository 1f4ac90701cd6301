"""Orthanc's spelling: its callbacks get what Lua's get, and its functions make the plan that hostd's own verbs make."""

import msgspec
import pytest
from sandbox_support import make_event, make_instance, make_load

from hostd.dicom.identity import Identity
from hostd.dicom.main_tags import main_keywords
from hostd.sandbox import acts, api, filters, frames
from hostd.sandbox.orthanc import callbacks, routes, spelling
from hostd.sandbox.orthanc.resources import MAIN_TAGS
from hostd.sandbox.script import RefusedScriptError, Script

ID = make_instance().id
WHO = Identity("0042", "1.2", "1.2.3", "1.2.3.4")
EVERYTHING = ["delete", "modify", "tools", "anonymize", "filters", "store", "replace", "lossy"]


def body(text, head="def OnStoredInstance(instanceId, tags, metadata, origin):"):
    lines = "\n    ".join(text.strip("\n").splitlines())
    return f"{head}\n    {lines}\n"


def marked(path, verb="value", of="", about="", more=None, actions=None):
    match verb:
        case "marks":
            return [{"noted": "before"}, ["TRIAL7"]]
        case "state":
            return [{"counts": {"CT": "7"}}]
        case "find":
            SOUGHT.append(more)
            return [1, 1]
        case "found":
            return [msgspec.to_builtins(level_event().level)] if path == [1, 0] else []
        case _:
            return []


SOUGHT = []


def run(source, event=None, ask=marked, **load):
    load = {"may": EVERYTHING, "destinations": ["archive", "ai"], "tools": ["despeckle"]} | load
    return Script(make_load(source, **load)).run(event or make_event(), ask)


def plan(text, **more):
    result = run(body(text), **more)
    assert result.failure is None, result.failure
    return result.actions


def said(text, **more):
    result = run(body(text), **more)
    assert result.failure is None, result.failure
    return [line for _, line in result.log]


def failure(text, **more):
    result = run(body(text), **more)
    assert result.failure is not None
    assert result.actions == []
    return result.failure


# -- what callbacks are given -----------------------------------------------------------------------------------------

VALUES = {
    "instanceId": repr(ID),
    "tags['PatientID']": "'0042'",
    "tags.PatientID": "'0042'",
    "tags['AccessionNumber']": "'00123'",
    "tags['ImageType']": "'ORIGINAL\\\\PRIMARY\\\\'",
    "tags['SliceThickness']": "'1.50'",
    "tags['InstitutionName']": "''",
    "tags['StudyID']": "None",
    "tags['Rows']": "'512'",
    "tags['ReferencedImageSequence'][1]['ReferencedSOPInstanceUID']": "'1.10'",
    "tags['PixelData']": "None",
    "tags[0x00091111]": "None",
    "tags.get('StudyID', 'x')": "'x'",
    "('Modality' in tags, 'StudyID' in tags)": "(True, False)",
    "dict(tags.items())['Modality']": "'CT'",
    "'PixelData' in tags.keys()": "False",
    "metadata['RemoteAET']": "'CT1'",
    "metadata.CalledAET": "'HOSTD'",
    "metadata['RemoteIP']": "'192.0.2.9'",
    "metadata['Origin']": "'DicomProtocol'",
    "metadata['TransferSyntax']": "'1.2.840.10008.1.2.1'",
    "metadata['SopClassUid']": "'1.2.840.10008.5.1.4.1.1.2'",
    "metadata['ReceptionDate']": "'20231114T221320'",
    "(metadata['HttpUsername'], metadata['ModifiedFrom'], 'ModifiedFrom' in metadata)": "(None, None, False)",
    "(metadata['noted'], 'noted' in metadata, metadata.keys()[-1])": "('before', True, 'noted')",
    "origin['RequestOrigin']": "'DicomProtocol'",
    "(origin.RemoteAet, origin.CalledAet, origin.RemoteIp, origin.Username)": "('CT1', 'HOSTD', '192.0.2.9', None)",
    "sorted(origin)": "['CalledAet', 'RemoteAet', 'RemoteIp', 'RequestOrigin']",
    "GetOrthancConfiguration()": "{'limit': 3}",
    'ParseJson(\'{"PatientID": "00123", "n": [1, null]}\')': "{'PatientID': '00123', 'n': [1, None]}",
    "DumpJson({'PatientID': '00123', 'Date': '20200101'})": '\'{"PatientID": "00123", "Date": "20200101"}\'',
    "DumpJson(origin)": '\'{"RequestOrigin": "DicomProtocol", "RemoteIp": "192.0.2.9", "RemoteAet": "CT1", "CalledAet": "HOSTD"}\'',
    "ParseJson(None)": "None",
}


def test_a_callback_is_given_what_orthanc_gives():
    lines = said("\n".join(f"print(repr({expression}))" for expression in VALUES), config={"limit": 3})
    assert dict(zip(VALUES, lines, strict=True)) == VALUES


def test_tables_are_read_only_and_a_keyword_that_is_none_is_an_error():
    assert failure("tags['PatientID'] = 'x'").type == "TypeError"
    assert failure("origin.RemoteAet = 'x'").type == "TypeError"
    assert "did you mean PatientName?" in failure("print(tags['PatientNam'])", may=[]).message


def test_tables_are_printed_recursively():
    lines = said("PrintRecursive({'a': {'b': 1}, 'c': [2, 3]})\nPrintRecursive(tags['ReferencedImageSequence'], 1)")
    assert lines == ["a:", "    b: 1", "c:", "    [1]: 2", "    [2]: 3", "[1]:", "…"]


def test_as_in_lua_a_callback_may_take_less_than_it_is_given():
    head = "def OnStoredInstance(instanceId):"
    assert run(body("print(instanceId)", head)).log == [("info", ID)]
    assert run(body("print(len(given))", "def OnStoredInstance(*given):")).log == [("info", "4")]
    with pytest.raises(RefusedScriptError) as refused:
        Script(make_load("def OnStoredInstance(a, b, c, d, e):\n    pass\n"))
    assert "is called with (instanceId, tags, metadata, origin)" in refused.value.problems[0].message


def test_other_content_under_a_known_uid_goes_the_same_way():
    result = run(body("SendToPeer(instanceId, 'archive')"), make_event(handler="on_conflicting_instance"))
    assert [action.to for action in result.actions] == ["archive"]
    own = (
        body("SendToPeer(instanceId, 'archive')") + "\ndef on_conflicting_instance(instance, host):\n    print('own')\n"
    )
    assert run(own, make_event(handler="on_conflicting_instance")).log == [("info", "own")]


# -- plans ------------------------------------------------------------------------------------------------------------


def test_sending_makes_the_plan_that_forward_makes():
    (there, here) = plan("SendToModality(instanceId, 'archive')\nSendToPeer(instanceId, 'ai')")
    assert (there.x, there.to, there.line) == (ID, "archive", 2)
    assert (here.x, here.to, here.line) == (ID, "ai", 3)


def test_a_name_of_a_modality_and_a_peer_is_the_one_that_the_function_says():
    both = ["modality:archive", "peer:archive"]
    actions = plan(
        "SendToModality(instanceId, 'archive')\nSendToPeer(instanceId, 'archive')",
        destinations=both, known_destinations=both,
    )  # fmt: skip
    assert [action.to for action in actions] == both


def test_a_delete_that_is_chained_on_a_send_waits_for_it():
    (sent, deleted) = plan("Delete(SendToModality(instanceId, 'archive'))")
    assert isinstance(sent, frames.Forward)
    assert (deleted.x, deleted.after, deleted.line) == (ID, [0], 2)


@pytest.mark.parametrize(
    "text",
    [
        "Delete(SendToPeer(SendToModality(instanceId, 'archive'), 'ai'))",
        "SendToModality(instanceId, 'archive')\nSendToPeer(instanceId, 'ai')\nDelete(instanceId)",
        "Delete(instanceId)\nSendToModality(instanceId, 'archive')\nSendToPeer(instanceId, 'ai')",
        "Delete(SendToModality(instanceId, 'archive'))\nDelete(SendToPeer(instanceId, 'ai'))",
        "RestApiDelete('/instances/' + instanceId)\nRestApiPost('/modalities/archive/store', instanceId)\nRestApiPost('/peers/ai/store', instanceId)",
    ],
)
def test_a_delete_waits_for_all_that_the_run_sends_of_the_instance_in_whatever_order(text):
    (*sent, deleted) = plan(text)
    assert [one.to for one in sent] == ["archive", "ai"]
    assert deleted.after == [0, 1]


def test_a_delete_of_what_is_not_sent_is_done_at_once():
    (deleted,) = plan("Delete(instanceId)")
    assert (deleted.x, deleted.after) == (ID, None)


def test_what_is_modified_is_sent_and_the_original_waits_for_its_delivery():
    (modify, sent, deleted) = plan(
        "Delete(SendToModality(ModifyInstance(instanceId, {'StationName': 'X', 'PatientID': 123, 'StudyID': '00123'},"
        " ['InstitutionName'], True), 'archive'))\nDelete(instanceId)"
    )
    assert modify.set == {"StationName": "X", "PatientID": "123", "StudyID": "00123"}
    assert (modify.remove, modify.private, modify.keep_uids) == (["InstitutionName"], "remove", False)
    assert (sent.x, sent.to) == (0, "archive")
    assert (deleted.x, deleted.after, deleted.line) == (ID, [1], 3)


def test_what_is_modified_is_stored_unless_it_is_deleted():
    (_, sent, kept) = plan("SendToModality(ModifyInstance(instanceId, {'StudyID': '1'}), 'archive')")
    assert isinstance(kept, acts.Store)
    assert (sent.x, kept.x, kept.line) == (0, 0, 2)
    assert [type(one) for one in plan("ModifyInstance(instanceId, {'StudyID': '1'})")] == [frames.Modify, acts.Store]
    text = "made = RestApiPost(f'/instances/{instanceId}/modify', DumpJson({'Replace': {'StudyID': '7'}}))\n"
    (_, sent, kept) = plan(
        text + "new = ParseJson(RestApiPost('/instances', made))['ID']\nSendToPeer(new, 'archive')\nDelete(instanceId)"
    )[:3]
    assert (type(kept), sent.x) == (acts.Store, 0)


def test_what_is_compressed_without_loss_takes_the_place_of_its_original():
    text = "made = RestApiPost(f'/instances/{instanceId}/modify', DumpJson({'Transcode': 'j2k', 'Keep': ['SOPInstanceUID'], 'Force': True}))\n"
    (transcode, replace) = plan(text + "RestApiPost('/instances', made)")
    assert isinstance(replace, acts.Replace)
    assert (replace.x, replace.product, replace.line) == (ID, 0, 2)
    lossy = "made = RestApiPost(f'/instances/{instanceId}/modify', DumpJson({'Transcode': 'JPEGBaseline8Bit', 'LossyQuality': 80}))\n"
    (transcode, store) = plan(lossy + "RestApiPost('/instances', made)")
    assert (transcode.quality, type(store)) == (80, acts.Store)


@pytest.mark.parametrize(
    "text",
    [
        "ModifyInstance(instanceId, {'StudyID': '1'})\nDelete(instanceId)",
        "made = RestApiPost(f'/instances/{instanceId}/modify', DumpJson({'Transcode': 'j2k'}))\nRestApiPost('/instances', made)\nDelete(instanceId)",
    ],
)
def test_an_original_is_not_deleted_before_what_takes_its_place_is_stored(text):
    assert "on_action_done" in failure(text).message


def test_deleting_what_was_made_deletes_nothing():
    actions = plan("Delete(SendToModality(ModifyInstance(instanceId, {'StudyID': '1'}, [], False), 'archive'))")
    assert [type(action) for action in actions] == [frames.Modify, frames.Forward]
    assert [type(action) for action in plan("Delete(ModifyInstance(instanceId, {'StudyID': '1'}))")] == [frames.Modify]


def test_what_nothing_would_come_of_fails():
    wrong = failure("CallSystem(instanceId, 'despeckle', [])")
    assert "nothing would come of what CallSystem makes in line 2" in wrong.message


def test_a_tool_is_run_under_its_name_in_the_configuration():
    (tool, sent) = plan("SendToPeer(CallSystem(instanceId, '/opt/bin/despeckle', [3, 'x']), 'archive')")
    assert (tool.name, tool.args, sent.x) == ("despeckle", ["3", "x"], 0)


def test_a_modify_of_the_rest_api_is_sent_on():
    (modify, sent) = plan(
        "made = RestApiPost('/instances/' + instanceId + '/modify', DumpJson({'Replace': {'StudyID': '7'}, 'Keep': ['SOPInstanceUID'], 'Force': True}))\n"
        "RestApiPost('/modalities/archive/store-straight', made)"
    )
    assert (modify.set, modify.keep_uids, sent.x) == ({"StudyID": "7"}, True, 0)
    (transcode, sent) = plan(
        "SendToModality(RestApiPost('/instances/' + instanceId + '/modify', DumpJson({'Transcode': '1.2.840.10008.1.2.4.90'})), 'archive')"
    )
    assert (transcode.to, transcode.or_original, sent.x) == ("1.2.840.10008.1.2.4.90", False, 0)


def test_a_sequence_is_replaced_as_a_list_of_dicts():
    (modify, _, _) = plan(
        "SendToPeer(ModifyInstance(instanceId, {'RequestAttributesSequence': [{'ScheduledProcedureStepID': 7}]}), 'archive')"
    )
    assert modify.set == {"RequestAttributesSequence": [{"ScheduledProcedureStepID": "7"}]}


def test_the_store_routes_take_an_identifier_a_list_or_an_object():
    (first, second, third) = plan(
        "RestApiPost('/modalities/archive/store', instanceId)\n"
        "RestApiPost('/peers/ai/store', DumpJson([instanceId]))\n"
        "RestApiPost('/peers/ai/store', DumpJson({'Resources': [instanceId], 'Synchronous': False, 'Priority': 2, 'Transcode': 'j2k'}))"
    )
    assert (first.to, second.to) == ("archive", "ai")
    assert (third.priority, third.syntax) == ("high", "1.2.840.10008.1.2.4.90")
    assert "LocalAet" in failure("RestApiPost('/peers/ai/store', DumpJson({'Resources': [], 'LocalAet': 'X'}))").message


def test_metadata_and_labels_are_noted_by_their_routes():
    (noted, dropped, label, unlabel) = plan(
        "RestApiPut(f'/instances/{instanceId}/metadata/2000', '1.5')\n"
        "RestApiDelete(f'/instances/{instanceId}/metadata/noted')\n"
        "RestApiPut(f'/instances/{instanceId}/labels/DOSE', '')\n"
        "RestApiDelete(f'/instances/{instanceId}/labels/TRIAL7')\n"
    )
    assert (noted.x, noted.key, noted.value, noted.line) == (ID, "2000", "1.5", 2)
    assert (dropped.key, dropped.value) == ("noted", None)
    assert (label.labels, unlabel.labels) == (["DOSE"], ["TRIAL7"])
    assert said(
        "print(RestApiGet(f'/instances/{instanceId}/labels'), RestApiGet(f'/instances/{instanceId}/metadata/noted'))"
    ) == ['["TRIAL7"] before']
    assert (
        "no metadata"
        in failure("RestApiPut(f\"/instances/{ModifyInstance(instanceId, {'StudyID': '1'})}/metadata/x\", 'y')").message
    )


def test_what_is_found_can_be_acted_upon():
    SOUGHT.clear()
    (sent, deleted) = plan(
        "query = {'Level': 'Study', 'Query': {'PatientID': '0042', 'StudyDate': '*'}, 'Labels': ['OLD'], 'Limit': 5}\n"
        "for study in ParseJson(RestApiPost('/tools/find', DumpJson(query))):\n"
        "    SendToPeer(study, 'archive')\n    Delete(study)\n"
        "(expanded,) = ParseJson(RestApiPost('/tools/find', DumpJson({**query, 'Expand': True})))\n"
        "assert expanded['MainDicomTags']['StudyDescription'] == 'Knee'\n"
    )
    assert (sent.x, deleted.x, deleted.after) == (WHO.study, WHO.study, [0])
    assert (SOUGHT[0]["level"], SOUGHT[0]["keys"], SOUGHT[0]["label"], SOUGHT[0]["limit"]) == (
        "study", {"PatientID": "0042"}, "OLD", 5,
    )  # fmt: skip
    for body_of_it, why in [
        ("{'Level': 'Study', 'Query': {'PatientName': 'A*'}}", "without wildcards"),
        ("{'Level': 'Thing', 'Query': {}}", "Level is one of"),
        ("{'Level': 'Study', 'Query': {'delivered_to': 'archive'}}", "no element has the keyword"),
        ("{'Level': 'Study', 'Query': {}, 'Since': 4}", "Since cannot be asked for"),
        ("{'Level': 'Study', 'Query': {}, 'Labels': ['A', 'B']}", "one label"),
    ]:
        assert why in failure(f"RestApiPost('/tools/find', DumpJson({body_of_it}))").message


def test_keys_and_values_are_what_the_script_keeps():
    result = run(
        body(
            "print(GetKeyValue('counts', 'CT'), GetKeyValue('counts', 'MR'), GetKeyValue('none', 'x'))\n"
            "StoreKeyValue('counts', 'MR', '1')\nStoreKeyValue('new', 'k', 'v')\nDeleteKeyValue('counts', 'CT')\nDeleteKeyValue('none', 'x')"
        )
    )
    assert result.failure is None, result.failure
    assert result.log == [("info", "7 None None")]
    assert result.state == {"counts": {"MR": "1"}, "new": {"k": "v"}}
    assert failure("StoreKeyValue('counts', 'CT', 8)").type == "TypeError"


def test_other_systems_are_asked_and_told_by_the_names_of_targets():
    def web(path, verb="value", of="", about="", more=None, actions=None):
        assert (verb, more) == ("http_get", {"target": "registry", "path": "doses?limit=1"})
        return [STATUS[0], '{"count": 3}']

    granted = {"may": ["http"], "targets": ["registry"]}
    text = "print(HttpGet('registry/doses?limit=1'))"
    for status, line in [(200, '{"count": 3}'), (404, "None")]:
        STATUS[:] = [status]
        assert said(text, ask=web, **granted) == [line]
    (post, put) = plan(
        "HttpPost('registry/doses', DumpJson({'uid': '1.2'}))\nHttpPut('registry/doses/7', {'uid': '1.3'})", **granted
    )
    assert (post.verb, post.target, post.path, post.line) == ("post", "registry", "doses", 2)
    assert (put.verb, put.path) == ("put", "doses/7")
    assert "[targets.registry]" in failure("HttpPost('https://registry/doses', '{}')", **granted).message
    assert "a setting of the target" in failure("HttpGet('registry/x', {'Authorization': 'x'})", **granted).message
    assert failure("HttpGet('registry/x')", may=[], targets=["registry"]).type == "NotAllowed"


STATUS = []


def test_quiet_time_can_be_ended():
    source = "def OnUpdatedStudy(studyId):\n    SetStableStatus(studyId, True)\n"
    (declared,) = run(source, level_event(handler="on_updated_study"), answers).actions
    assert declared.x == WHO.study
    refused = run(source.replace("True", "False"), level_event(handler="on_updated_study"), answers).failure
    assert "[stable]" in refused.message


def test_one_project_is_what_orthancs_anonymize_means():
    (anonymize, sent) = plan(
        "SendToPeer(RestApiPost('/instances/' + instanceId + '/anonymize', '{}'), 'archive')", projects=["TRIAL7"]
    )
    assert (anonymize.project, sent.x) == ("TRIAL7", 0)
    assert (
        "host.anonymize"
        in failure("RestApiPost('/instances/' + instanceId + '/anonymize', '{}')", projects=["A", "B"]).message
    )


REFUSALS = {
    "SendToModality(None, 'archive')": ("TypeError", "not None"),
    "SendToModality('', 'archive')": ("ValueError", "found by /tools/find"),
    "SendToModality(Delete(instanceId), 'archive')": ("TypeError", "Delete passes nothing on"),
    "SendToModality('no-such-id', 'archive')": ("ValueError", f"this event is about {ID}"),
    "SendToModality(instanceId, 'archiv')": ("ValueError", "did you mean archive?"),
    "SendToModality(instanceId, None)": ("TypeError", "a destination is named by a text"),
    "SendToModality(instanceId, 'archive', 'ME')": ("ValueError", "calling_aet"),
    "SendToModality(instanceId)": ("TypeError", "SendToModality() missing 1 required positional argument"),
    "ModifyInstance(instanceId, 'x')": ("TypeError", "a dict from keywords to values"),
    "ModifyInstance(instanceId, {'PatientID': True})": ("TypeError", "a text or a number, not True"),
    "ModifyInstance(instanceId, {}, 'x')": ("TypeError", "a list of keywords"),
    "CallSystem(instanceId, 'despeckle')": ("TypeError", "CallSystem() missing"),
    "CallSystem(instanceId, 'rm', [])": ("ValueError", "no tool is called 'rm'"),
    "RestApiGet('/studies/x')": ("ValueError", "there is no study 'x' in what this event is about"),
    "RestApiGet('/studies/%s' % RestApiGet('/instances/x'))": ("ValueError", "there is no instance 'x'"),
    "RestApiGet(''.join(['/sys', 'tem']))": ("ValueError", "GET /system is not answered to scripts: a script has its own settings"),
    "RestApiPut(str('/x'), '')": ("ValueError", "docs/orthanc-spelling.md"),
    "RestApiGet(7)": ("TypeError", "a route is a text"),
    "ParseJson(instanceId)": ("JSONDecodeError", ""),
    "RestApiGet('/instances/' + instanceId + '/study')\nRestApiGet('/studies/' + ParseJson(RestApiGet('/instances/' + instanceId + '/study'))['ID'] + '/series')": (
        "ValueError", "OnStableStudy",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "wrong"), REFUSALS.items(), ids=REFUSALS)
def test_what_cannot_be_done_says_why(text, wrong):
    found = failure(text)
    assert found.type == wrong[0]
    assert wrong[1] in found.message
    assert found.line == 2 or "\n" in text


@pytest.mark.parametrize(
    ("text", "capability"),
    [
        ("Delete(instanceId)", "delete"),
        ("SendToPeer(ModifyInstance(instanceId, {'StudyID': '1'}), 'archive')", "modify"),
        (
            "RestApiPost('/instances', RestApiPost(f'/instances/{instanceId}/modify', DumpJson({'Transcode': 'j2k'})))",
            "replace",
        ),
        ("SendToPeer(CallSystem(instanceId, 'despeckle', []), 'archive')", "tools"),
    ],
)
def test_it_may_do_nothing_that_a_script_of_hostds_may_not(text, capability):
    refused = failure(text, may=[])
    assert refused.type == "NotAllowed"
    assert f'may = ["{capability}"]' in refused.message
    assert refused.line == 2


def test_nothing_acts_outside_of_a_callback():
    with pytest.raises(RefusedScriptError) as refused:
        Script(make_load(body("pass") + f"SendToModality('{ID}', 'archive')\n"))
    assert "call it in a callback" in refused.value.problems[0].message
    kept = body("global kept\nkept = SendToPeer(instanceId, 'archive')") + "\nkept = None\n"
    script = Script(make_load(kept + "\ndef on_received_again(instance, host):\n    SendToPeer(kept, 'archive')\n"))
    script.run(make_event(), lambda *_: [])
    again = script.run(make_event(2, "on_received_again"), lambda *_: [])
    assert "call it in a callback" in again.failure.message
    source = "kept = None\n" + body("global kept\nif kept:\n    Delete(kept)\nkept = SendToPeer(instanceId, 'archive')")
    script = Script(make_load(source, may=["delete"]))
    assert script.run(make_event(), lambda *_: []).failure is None
    assert "of an earlier event" in script.run(make_event(2), lambda *_: []).failure.message


# -- levels -----------------------------------------------------------------------------------------------------------

MEMBER = make_instance(id=WHO.instance)


def level_event(level="study", handler=None):
    ids = {"study": WHO.study, "series": WHO.series, "patient": WHO.patient}
    attributes = {
        0x00081030: ("LO", ["Knee"]), 0x00080050: ("SH", []), 0x00100010: ("PN", ["Doe^J"]), 0x0020000D: ("UI", ["1.2"]),
    }  # fmt: skip
    sent = frames.Level(
        level, ids[level], "0042", "" if level == "patient" else "1.2", "1.2.3" if level == "series" else "",
        1, attributes, sorted(attributes), new=1, occurrence=1,
    )  # fmt: skip
    return frames.Event(1, handler or f"on_stable_{level}", 1.7e9, level=sent)


def answers(path, verb="value", of="", about="", more=None, actions=None):
    match verb:
        case "members":
            return [] if of else [[0, msgspec.to_builtins(MEMBER)]]
        case "origins":
            return [msgspec.to_builtins(MEMBER.origin)]
        case _:
            return [f"fetched {path} of {of}"]


def test_a_stable_study_is_known_with_all_that_is_in_it():
    source = body(
        """
print(studyId, tags['StudyDescription'], tags['PatientName'], tags['SliceThickness'], metadata['RemoteAET'])
study = ParseJson(RestApiGet('/studies/' + studyId))
print(study['MainDicomTags'], study['PatientMainDicomTags'], study['Series'])
series = ParseJson(RestApiGet(f"/series/{study['Series'][0]}"))
print(series['Instances'], series['ParentStudy'] == studyId, series['MainDicomTags']['Modality'])
for one in ParseJson(RestApiGet(f'/studies/{studyId}/instances')):
    print(RestApiGet(f"/instances/{one['ID']}/metadata/RemoteAET"))
    print(ParseJson(RestApiGet(f"/instances/{one['ID']}/simplified-tags"))['SliceThickness'])
    print(ParseJson(RestApiGet(f"/instances/{one['ID']}/tags"))['0010,0020'])
    print(ParseJson(RestApiGet(f"/instances/{one['ID']}/tags?short"))['0010,0020'])
    SendToModality(one['ID'], 'archive')
Delete(studyId)
""",
        "def OnStableStudy(studyId, tags, metadata):",
    )
    result = run(source, level_event(), answers)
    assert result.failure is None, result.failure
    assert [line for _, line in result.log] == [
        f"{WHO.study} Knee Doe^J None CT1",
        "{'StudyDescription': 'Knee', 'AccessionNumber': '', 'StudyInstanceUID': '1.2'} {'PatientName': 'Doe^J'} ['"
        + WHO.series
        + "']",
        f"['{WHO.instance}'] True CT",
        "CT1",
        "1.50",
        "{'Name': 'PatientID', 'Type': 'String', 'Value': '0042'}",
        "0042",
    ]
    (sent, deleted) = result.actions
    assert (sent.x, deleted.x, deleted.after) == (WHO.instance, WHO.study, [0])


def test_a_whole_study_is_sent_and_deleted_as_one():
    result = run("def OnStableStudy(studyId):\n    Delete(SendToPeer(studyId, 'archive'))\n", level_event(), answers)
    (sent, deleted) = result.actions
    assert (sent.x, deleted.x, deleted.after) == (WHO.study, WHO.study, [0])


def test_a_deleted_study_says_what_it_was():
    source = "def OnDeletedStudy(studyId):\n    print(ParseJson(RestApiGet('/studies/' + studyId))['ParentPatient'])\n"
    result = run(source, level_event(handler="on_deleted_study"))
    assert result.failure is None, result.failure
    assert result.log == [("info", WHO.patient)]


def test_every_callback_is_called_by_its_event():
    for name, callback in callbacks.CALLBACKS.items():
        for handler in callback.handlers:
            assert handler in api.HANDLERS or handler in filters.FILTERS or name == callbacks.HEARTBEAT
            if handler in filters.FILTERS or name == callbacks.HEARTBEAT:
                continue
            level = handler.rpartition("_")[2]
            event = level_event(level, handler) if level in ("study", "series", "patient") else make_event(1, handler)
            event = make_event(1, handler, instance=False) if name in ("Initialize", "Finalize") else event
            source = f"def {name}({', '.join(callback.parameters)}):\n    print('{name}')\n"
            script = Script(make_load(source))
            assert set(script.handlers) == set(callback.handlers)
            assert script.run(event, answers).log == [("info", name)]


def test_the_heart_beats_as_often_as_the_settings_say():
    source = "def OnHeartBeat():\n    print('beat')\n    SendToPeer('x', 'archive')\n"
    script = Script(make_load(source, config={"LuaHeartBeatPeriod": 60}))
    (schedule,) = script.schedules
    assert (schedule.function, schedule.every_s, schedule.line) == ("OnHeartBeat", 60.0, 1)
    assert script.handlers == ["OnHeartBeat"]
    beaten = script.run(make_event(1, "OnHeartBeat", instance=False), marked)
    assert beaten.log == [("info", "beat")]
    assert "this event is about no instance" in beaten.failure.message
    for config in ({}, {"LuaHeartBeatPeriod": 0}, {"LuaHeartBeatPeriod": "60"}):
        with pytest.raises(RefusedScriptError) as refused:
            Script(make_load(source, config=config))
        assert "LuaHeartBeatPeriod = 60" in refused.value.problems[0].message


# -- filters ----------------------------------------------------------------------------------------------------------


def judge(source, handler="filter_received_instance", **question):
    instance = None if "request" in question else question.pop("instance", make_instance())
    return Script(make_load(source, may=["filters"])).judge(
        frames.Filter(1, handler, instance=instance, **question), lambda *_: []
    )


@pytest.mark.parametrize(
    ("returned", "verdict"),
    [
        ("True", "accept"),
        ("False", "discard"),
        ("dicom['Modality'] == 'CT'", "accept"),
        ("origin['RemoteAet'] == 'OTHER'", "discard"),
        ("info['HasPixelData'] and info.TransferSyntaxUID == '1.2.840.10008.1.2.1'", "accept"),
    ],
)
def test_a_filter_of_what_is_received(returned, verdict):
    found = judge(f"def ReceivedInstanceFilter(dicom, origin, info):\n    return {returned}\n")
    assert (found.failure, found.verdict) == (None, verdict)


@pytest.mark.parametrize("returned", ["None", "1", "'yes'", "[]"])
def test_a_filter_that_says_neither_fails_so_that_the_sender_keeps_it(returned):
    found = judge(f"def ReceivedInstanceFilter(dicom, origin, info):\n    return {returned}\n")
    assert found.failure.type == "TypeError"
    assert "returns True or False" in found.failure.message


def test_a_filter_by_status_is_for_what_comes_by_dicom():
    source = "def ReceivedCStoreInstanceFilter(dicom, origin):\n    return 0xA700\n"
    refused = judge(source)
    assert (refused.verdict, refused.status) == ("refuse", 0xA700)
    assert judge(source, instance=make_instance(origin=frames.Origin("http"))).verdict == "accept"
    assert judge(source.replace("0xA700", "0")).verdict == "accept"
    assert judge(source.replace("0xA700", "0xB000")).failure.type == "ValueError"
    assert judge(source.replace("0xA700", "True")).failure.type == "TypeError"
    both = source + "def ReceivedInstanceFilter(dicom):\n    return False\n"
    assert judge(both).verdict == "discard"


def test_filters_of_what_goes_out_and_of_requests():
    source = "def OutgoingCStoreInstanceFilter(dicom, destination):\n    return destination['Name'] != 'archive'\n"
    assert judge(source, "filter_outgoing_instance", destination="archive").verdict == "discard"
    assert judge(source, "filter_outgoing_instance", destination="ai").verdict == "accept"
    source = "def OutgoingCStoreInstanceFilter(dicom, destination):\n    return (destination.RemoteAet, destination['RemoteIp']) == ('PACS', '192.0.2.7')\n"
    reached = {"destination": "archive", "destination_aet": "PACS", "destination_host": "192.0.2.7"}
    assert judge(source, "filter_outgoing_instance", **reached).verdict == "accept"
    assert judge(source, "filter_outgoing_instance", destination="archive").verdict == "discard"
    source = "def IncomingHttpRequestFilter(method, uri, ip, username, httpHeaders):\n    return method == 'GET' and httpHeaders['x-from'] == 'me'\n"
    request = frames.HttpRequest("GET", "/instances", "192.0.2.1", "me", {"x-from": "me"})
    assert judge(source, "filter_http_request", request=request).verdict == "accept"
    other = judge(source, "filter_http_request", request=frames.HttpRequest("DELETE", "/instances/x", None, None, {}))
    assert (other.verdict, other.status) == ("refuse", 403)


def test_a_filter_acts_upon_nothing():
    found = judge("def ReceivedInstanceFilter(dicom, origin):\n    SendToPeer('x', 'archive')\n    return True\n")
    assert "call it in a callback" in found.failure.message


def test_a_filter_needs_its_capability():
    with pytest.raises(RefusedScriptError) as refused:
        Script(make_load("\ndef ReceivedInstanceFilter(dicom):\n    return True\n"))
    (problem,) = refused.value.problems
    assert (problem.line, 'may = ["filters"]' in problem.message) == (2, True)


# -- what is read before a script runs --------------------------------------------------------------------------------


def findings(source, **load):
    try:
        return Script(make_load(source, may=EVERYTHING, **load)).findings
    except RefusedScriptError as error:
        return error.problems


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("RestApiGet('/system')", "GetOrthancConfiguration"),
        ("RestApiPost('/tools/create-dicom', '{}')", "makes no instances"),
        ("RestApiGet('/patients/' + instanceId + '/protected')", "GET /patients/…/protected is not answered"),
        ("RestApiGet(f'/jobs/{instanceId}')", "hostd retries deliveries"),
        ("RestApiPut('/modalities/x', '')", "PUT /modalities/x is not answered"),
        ("HttpDelete('http://x/')", "delete nothing elsewhere"),
        ("SetHttpTimeout(3)", "settings of each destination"),
    ],
)
def test_what_has_no_counterpart_is_reported_before_the_script_runs(text, says):
    (problem,) = [one for one in findings(body(text)) if one.kind == "problem"]
    assert (problem.line, says in problem.message) == (2, True), problem.message


@pytest.mark.parametrize(
    "text",
    [
        "RestApiGet('/instances/' + instanceId + '/tags?simplify')",
        "RestApiGet(f'/series/{instanceId}')",
        "RestApiGet('/instances/' + instanceId + what)",
        "RestApiGet(base + '/system')",
        "RestApiGet('/' + what)",
        "RestApiPost('/modalities/' + what, instanceId)",
        "RestApiPost('/' + what + '/archive/store', instanceId)",
        "def HttpDelete(x):\n    pass\nHttpDelete('x')",
    ],
)
def test_what_may_be_answered_is_not_reported(text):
    assert [one for one in findings(body(text)) if one.kind == "problem"] == []


def test_what_nothing_calls_is_reported_with_what_does():
    (told,) = [
        one for one in findings("def IncomingWorklistRequestFilter(q, o):\n    pass\n") if one.kind == "unknown_handler"
    ]
    assert "there is no worklist" in told.message


def test_destinations_and_tags_are_read_from_the_text():
    found = findings(body("SendToModality(instanceId, 'nowhere')\nprint(tags['PatientNam'])\nprint(tags.StudyDat)"))
    kinds = [(one.kind, one.line, one.name) for one in found]
    assert ("destination", 2, "nowhere") in kinds
    assert ("unknown_keyword", 3, "PatientNam") in kinds
    assert ("unknown_keyword", 4, "StudyDat") in kinds
    assert ("handler", 1, "OnStoredInstance") in kinds


def test_a_callback_that_yields_is_refused_and_one_that_gives_a_generator_fails():
    (problem,) = findings(body("yield 1"))
    assert (problem.line, problem.name) == (1, "OnStoredInstance")
    script = Script(
        make_load(
            body("return (SendToModality(instanceId, name) for name in ['archive'])"),
        )
    )
    assert "returned a generator" in script.run(make_event(), lambda *_: []).failure.message


def test_one_event_is_handled_in_one_spelling():
    source = body("pass") + "\ndef on_stored_instance(instance, host):\n    pass\n"
    (problem,) = [one for one in findings(source) if one.kind == "problem"]
    assert "keep one of them" in problem.message


def test_a_script_of_hostds_spelling_has_none_of_the_names():
    source = "def on_stored_instance(instance, host):\n    SendToModality(instance.id, 'archive')\n"
    (problem,) = [one for one in findings(source) if one.kind == "problem"]
    assert "docs/from-orthanc.md" in problem.message
    source = "call = 'x'\ndef on_stored_instance(instance, host):\n    f = Delete\n"
    assert Script(make_load(source)).run(make_event(), lambda *_: []).failure.type == "NameError"


# -- the tables of the module -----------------------------------------------------------------------------------------


def test_the_main_tags_are_those_of_the_index():
    for kind, keywords in MAIN_TAGS.items():
        assert set(keywords) == set(main_keywords(kind)), kind


def test_identifiers_are_those_of_the_index():
    source = body(
        "for level in ['patient', 'study', 'series']:\n    print(ParseJson(RestApiGet(f'/instances/{instanceId}/{level}'))['ID'])"
    )
    assert [line for _, line in run(source).log] == [WHO.patient, WHO.study, WHO.series]


def test_every_function_and_route_says_what_it_does():
    for name in (*spelling.FUNCTIONS, *spelling.PLAIN):
        assert ({**spelling.FUNCTIONS, **spelling.PLAIN})[name].__doc__
    assert all(route.does for route in routes.ROUTES)
    assert len({(route.method, route.pattern) for route in routes.ROUTES}) == len(routes.ROUTES)


def archive(path, verb="value", of="", about="", more=None, actions=None):
    """Answer as a host does whose PACS has two studies."""
    if verb != "query":
        return marked(path, verb, of, about, more, actions)
    SOUGHT.append(more)
    return [{0x0020000D: ("UI", [f"1.2.{number}"]), 0x00080020: ("DA", ["20240101"])} for number in (7, 8)]


ASK = "made = ParseJson(RestApiPost('/modalities/pacs/query', DumpJson({'Level': 'LEVEL'})))\n"


def asking(text, **more):
    return run(
        body(text), ask=archive, **{"may": ["query", "retrieve"], "modalities": ["pacs"], "aets": ["HOSTD"]} | more
    )


def test_other_archives_are_queried_and_retrieved_from_by_their_routes():
    result = asking(
        "asked = DumpJson({'Level': 'Study', 'Query': {'PatientID': tags['PatientID'], 'StudyDate': ''}, 'Normalize': False})\n"
        "made = ParseJson(RestApiPost('/modalities/pacs/query', asked))\n"
        "answers = ParseJson(RestApiGet(made['Path'] + '/answers'))\n"
        "first = ParseJson(RestApiGet(f\"/queries/{made['ID']}/answers/{answers[0]}/content?simplify\"))\n"
        "print(answers, first['StudyInstanceUID'], first['StudyDate'])\n"
        "RestApiPost(made['Path'] + '/answers/1/retrieve', 'HOSTD')\n"
        "RestApiPost(made['Path'] + '/retrieve', '')\n"
        "RestApiPost('/modalities/pacs/move', DumpJson({'Level': 'Series', 'TargetAet': 'HOSTD', 'Resources': "
        "[{'StudyInstanceUID': '1.2', 'SeriesInstanceUID': '1.3'}]}))\n"
    )
    assert result.failure is None, result.failure
    assert (SOUGHT[-1]["modality"], SOUGHT[-1]["level"]) == ("pacs", "study")
    assert [text for _, text in result.log] == ["['0', '1'] 1.2.7 20240101"]
    assert [(one.modality, one.study, one.series) for one in result.actions] == [
        ("pacs", "1.2.8", ""), ("pacs", "1.2.7", ""), ("pacs", "1.2.8", ""), ("pacs", "1.2", "1.3"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("RestApiPost('/queries/query-1/retrieve', '')", "this run has made no query 'query-1'"),
        ("RestApiPost('/modalities/pacs/query', DumpJson({'Level': 'Studies'}))", "Level is one of Patient, Study"),
        ("RestApiPost('/modalities/pacs/query', DumpJson({'Level': 'Study', 'Query': {'limit': '1'}}))", "no element has the keyword"),
        (
            ASK.replace("LEVEL", "Study") + "RestApiPost(made['Path'] + '/retrieve', 'WORKSTATION')",
            "a script has things sent here alone, to HOSTD, not to 'WORKSTATION'",
        ),
        (
            ASK.replace("LEVEL", "Patient") + "RestApiPost(made['Path'] + '/answers/0/retrieve', '')",
            "patients are not sent whole here",
        ),
        ("RestApiPost('/modalities/other/query', DumpJson({'Level': 'Study'}))", "no modality is called 'other'"),
    ],
)  # fmt: skip
def test_what_an_archive_cannot_be_asked_by_a_route_fails_with_the_reason(text, says):
    result = asking(text)
    assert says in result.failure.message
    assert result.actions == []
