"""Filters: asked before something happens, in order, within their time; what they cannot decide is refused."""

import os
import re
import signal
import threading

import pytest
from scripts_kit import KNOWN, resolve

from hostd.archive import tables as t
from hostd.archive.records import Origin
from hostd.archive.scripts import Version
from hostd.config.sections import Script
from hostd.dicom.header import Header
from hostd.dicom.query import Question
from hostd.errors import FilterRefusedError, ScriptError
from hostd.intake.filtering import Changes
from hostd.sandbox import api, filters
from hostd.scripting.filters import Filters
from hostd.scripting.loading import Names, load_frame
from hostd.scripting.runtime import RefusedScriptError, ScriptWorker

RECEIVED = "filter_received_instance"
AT_CT1 = Origin("dicom", calling_aet="CT1")
PATIENT_ID, ISSUER, NAME = 0x00100020, 0x00100021, 0x00100010


def source(*lines, handler=RECEIVED, takes="instance"):
    return f"def {handler}({takes}, host):\n" + "".join(f"    {line}\n" for line in lines)


def header(patient_id="42", *, has_pixels=False):
    return Header(
        patient_id=patient_id, study_instance_uid="1.2", series_instance_uid="1.3", sop_instance_uid="1.4",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2", transfer_syntax="1.2.840.10008.1.2.1", has_pixels=has_pixels, frames=int(has_pixels), size=10,
        tags={PATIENT_ID: ("LO", [patient_id])},
    )  # fmt: skip


def load(name, text, entry=None):
    granted = entry or Script(may=("filters",))
    return ScriptWorker.start(load_frame(name, text, granted, Names(sorted(KNOWN)), resolve))


class Desk:
    """Filters with real workers."""

    def __init__(self, archive):
        self.filters = Filters(archive, time_limit_s=60.0, workers=1)
        self.started = []

    def put(self, name, *lines, entry=None, **how):
        text = source(*lines, **how)
        self.put_text(name, text, entry)

    def put_text(self, name, text, entry=None):
        first = load(name, text, entry)
        waiting = [first]

        def start():
            self.started.append(waiting.pop() if waiting else load(name, text, entry))
            return self.started[-1]

        self.filters.use(name, Version(text, text, tuple(first.ready.handlers)), start)
        for unused in waiting:
            unused.stop()

    def receive(self, tmp_path, **header_facts):
        return self.filters.received(header(**header_facts), AT_CT1, tmp_path / "file")


@pytest.fixture
def desk(archive):
    made = Desk(archive)
    yield made
    made.filters.close()


def test_without_filters_nothing_is_asked(desk, tmp_path):
    assert desk.receive(tmp_path) is None
    assert not desk.filters.has_request_filters()


def test_none_and_accept_let_an_instance_pass_as_it_is(desk, tmp_path):
    desk.put("a.py", "pass")
    desk.put("b.py", "return host.accept()")
    judgement = desk.receive(tmp_path)
    assert (judgement.verdict, judgement.changes) == ("accept", Changes())
    assert not any(run.is_worth_a_row for run in judgement.runs)


def test_a_filter_sees_the_header_as_received_its_origin_and_its_own_settings(desk, tmp_path):
    desk.put(
        "a.py", "host.log(f'{instance.tags.PatientID} {instance.origin.calling_aet} {host.config}')",
        entry=Script(may=("filters",), config={"site": "A"}),
    )  # fmt: skip
    (run,) = desk.receive(tmp_path).runs
    assert run.log == (("info", "42 CT1 {'site': 'A'}"),)
    assert run.tags_read == ("PatientID",)


def test_a_filter_sees_whether_there_are_pixels_and_nothing_of_what_they_come_to(desk, tmp_path):
    desk.put_text(
        "a.py",
        "def ask(it):\n    try:\n        it.pixels.max\n    except PixelsUnknown as why:\n        print(bool(it.pixels), why)\n"
        + source("ask(instance)"),
    )
    (run,) = desk.receive(tmp_path, has_pixels=True).runs
    assert [text for _, text in run.log] == [
        "True a filter decides by the header, while somebody waits: pixels are not looked at for it"
    ]


def test_changes_of_two_filters_add_up_in_the_order_of_file_names(desk, tmp_path):
    desk.put("b.py", "return host.accept(set={'PatientID': 'B', 'IssuerOfPatientID': 'X'}, remove=['PatientAddress'])")
    desk.put("a.py", "return host.accept(set={'PatientID': 'A', 'PatientName': 'N^M'}, remove=['IssuerOfPatientID'])")
    judgement = desk.receive(tmp_path)
    assert [run.script for run in judgement.runs] == ["a.py", "b.py"]
    assert dict(judgement.changes.set) == {PATIENT_ID: ("B",), ISSUER: ("X",), NAME: ("N^M",)}
    assert judgement.changes.remove == {0x00101040}


def test_a_later_filter_sees_the_value_as_received_not_as_changed(desk, tmp_path):
    desk.put("a.py", "return host.accept(set={'PatientID': 'changed'})")
    desk.put("b.py", "host.log(instance.tags.PatientID)")
    assert desk.receive(tmp_path).runs[1].log == (("info", "42"),)


def test_the_first_refusal_wins_and_the_next_filter_is_not_asked(desk, tmp_path):
    desk.put("a.py", "return host.discard('not ours')")
    desk.put("b.py", "return host.refuse(0xA700, 'later')")
    desk.put("c.py", "return host.refuse(0xC001, 'never')")
    judgement = desk.receive(tmp_path)
    assert (judgement.verdict, judgement.script, judgement.status) == ("refuse", "b.py", 0xA700)
    assert [run.script for run in judgement.runs] == ["a.py", "b.py"]
    assert not judgement.has_failed


def test_a_discard_wins_over_changes(desk, tmp_path):
    desk.put("a.py", "return host.accept(set={'PatientID': 'A'})")
    desk.put("b.py", "return host.discard('not ours')")
    judgement = desk.receive(tmp_path)
    assert (judgement.verdict, judgement.script, judgement.reason) == ("discard", "b.py", "not ours")
    assert judgement.changes == Changes()


FAILING = {
    "raises": ("raise ValueError('no')", "ValueError: no (line 3)"),
    "forgets return": ("host.discard('not ours')", "write `return host.discard"),
    "forgets return of changes": ("host.accept(set={'PatientID': '1'})", "write `return host.accept"),
    "returns something else": ("return True", "a filter returns host.accept()"),
    "no action": ("host.forward(instance, to='archive')", "forward"),
    "unknown keyword": ("return host.accept(set={'PatientIdd': '1'})", "did you mean PatientID"),
    "no value of the VR": (
        "return host.accept(set={'PatientBirthDate': 'soon'})",
        "PatientBirthDate cannot have that value",
    ),
    "too many values": ("return host.accept(set={'PatientID': ['1', '2']})", "PatientID has 1 values, not 2"),
    "not a UID": ("return host.accept(set={'StudyInstanceUID': 'x'})", "not a UID"),
    "SOP class": ("return host.accept(set={'SOPClassUID': '1.2'})", "SOPClassUID cannot be changed"),
    "pixels": ("return host.accept(remove=['PixelData'])", "PixelData cannot be changed"),
    "rows": ("return host.accept(set={'Rows': 3})", "Rows cannot be changed"),
    "no number": ("return host.accept(set={'InstanceNumber': 1.5})", "InstanceNumber cannot have that value"),
    "sequence": ("return host.accept(set={'ReferencedStudySequence': '1'})", "has VR SQ"),
    "both": ("return host.accept(set={'PatientID': '1'}, remove=['PatientID'])", "both set and removed"),
    "no reason": ("return host.discard('  ')", "say why"),
    "success is no refusal": ("return host.refuse(0, 'x')", "no status to refuse with"),
}


def test_a_filter_that_fails_refuses_and_its_worker_goes_on(desk, tmp_path):
    cases = [f"if instance.tags.PatientID == {how!r}:\n        {line}" for how, (line, _) in FAILING.items()]
    desk.put("a.py", *cases)
    for how, (_, reason) in FAILING.items():
        judgement = desk.receive(tmp_path, patient_id=how)
        assert (judgement.verdict, judgement.status, judgement.has_failed) == ("refuse", 0xA700, True), how
        (run,) = judgement.runs
        assert run.outcome == "failed"
        assert reason in run.error, how
    assert desk.receive(tmp_path).verdict == "accept"
    assert len(desk.started) == 1


def test_a_filter_that_takes_too_long_refuses_and_its_worker_is_replaced(archive, tmp_path):
    desk = Desk(archive)
    desk.filters.time_limit_s = 0.5
    try:
        desk.put("a.py", "while instance.tags.PatientID == 'slow':", "    pass")
        judgement = desk.receive(tmp_path, patient_id="slow")
        assert (judgement.verdict, judgement.has_failed) == ("refuse", True)
        assert "killed after 0.5 s" in judgement.reason
        desk.filters.time_limit_s = 60.0
        assert desk.receive(tmp_path).verdict == "accept"
        assert len(desk.started) == 2
    finally:
        desk.filters.close()


def test_a_worker_killed_from_outside_in_the_middle_refuses_and_is_replaced(desk, tmp_path):
    desk.put("a.py", "host.log(instance.tags.PatientName)", "while True:", "    pass")
    asked = threading.Event()
    (worker,) = desk.started
    send = worker._send

    def tell(message):
        send(message)
        asked.set()

    worker._send = tell
    killer = threading.Thread(target=lambda: (asked.wait(60), os.kill(worker.pid, signal.SIGKILL)))
    killer.start()
    judgement = desk.receive(tmp_path)
    killer.join()
    assert (judgement.verdict, judgement.status, judgement.has_failed) == ("refuse", 0xA700, True)
    assert "killed from outside" in judgement.reason
    desk.put("a.py", "pass")
    assert desk.receive(tmp_path).verdict == "accept"


def test_a_worker_lost_between_two_instances_costs_one_refusal(desk, tmp_path):
    desk.put("a.py", "pass")
    os.kill(desk.started[0].pid, signal.SIGKILL)
    assert desk.receive(tmp_path).has_failed
    assert desk.receive(tmp_path).verdict == "accept"


def test_another_version_takes_over_and_a_script_without_filters_is_asked_no_more(desk, tmp_path):
    desk.put("a.py", "return host.discard('one')")
    desk.put("a.py", "return host.discard('two')")
    assert desk.receive(tmp_path).reason == "two"
    desk.put("a.py", "pass", handler="on_stored_instance")
    assert desk.receive(tmp_path) is None


def test_what_a_filter_would_decide_is_refused_while_it_cannot_be_loaded(desk, tmp_path):
    desk.filters.block("a.py", "v1", (RECEIVED,), "no memory")
    judgement = desk.receive(tmp_path)
    assert (judgement.verdict, judgement.has_failed) == ("refuse", True)
    assert "no memory" in judgement.reason
    desk.put("a.py", "pass")
    assert desk.receive(tmp_path).verdict == "accept"
    desk.filters.block("a.py", "v1", (RECEIVED,), "a broken edit")
    assert desk.receive(tmp_path).verdict == "accept", "the last good version goes on"


def test_a_script_whose_file_is_gone_filters_no_more(desk, tmp_path):
    desk.put("a.py", "return host.discard('x')")
    desk.filters.withdraw("a.py", "its file is gone")
    assert desk.receive(tmp_path) is None


def test_after_the_stop_what_was_filtered_is_refused(desk, tmp_path):
    desk.put("a.py", "pass")
    desk.filters.close()
    assert desk.receive(tmp_path).has_failed


def test_as_many_are_judged_at_a_time_as_there_are_workers_and_the_others_wait(archive, tmp_path):
    desk = Desk(archive)
    desk.filters._count = 3
    try:
        desk.put("a.py", "return host.accept(set={'PatientID': instance.tags.PatientID + '!'})")
        verdicts = {}

        def judge(number):
            verdicts[number] = desk.receive(tmp_path, patient_id=str(number)).changes.set[PATIENT_ID]

        threads = [threading.Thread(target=judge, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert verdicts == {number: (f"{number}!",) for number in range(20)}
    finally:
        desk.filters.close()
    assert len(desk.started) <= 3


def test_requests_are_judged_by_what_a_filter_sees_of_them(desk, archive):
    desk.put(
        "a.py", "if request.method == 'DELETE' and request.headers.get('x-why') is None:",
        "    return host.refuse(403, f'{request.username} must say why: {request.uri} {request.ip}')",
        handler="filter_http_request", takes="request",
    )  # fmt: skip

    def ask(method, **headers):
        return desk.filters.request(method=method, uri="/a?b=1", ip="10.0.0.1", username="eve", headers=headers)

    assert ask("GET").verdict == "accept"
    refused = ask("DELETE")
    assert (refused.verdict, refused.status, refused.reason) == ("refuse", 403, "eve must say why: /a?b=1 10.0.0.1")
    assert ask("DELETE", **{"x-why": "1"}).verdict == "accept"


def test_a_request_filter_that_fails_refuses_with_503_and_leaves_one_row(desk, archive):
    desk.put("a.py", "return host.discard('x')", handler="filter_http_request", takes="request")
    for _ in range(3):
        judgement = desk.filters.request(method="GET", uri="/", ip=None, username=None, headers={})
        assert (judgement.verdict, judgement.status, judgement.has_failed) == ("refuse", 503, True)
    with archive.read() as connection:
        ((outcome, error),) = connection.execute(t.run.select().with_only_columns(t.run.c.outcome, t.run.c.error)).all()
    assert outcome == "failed"
    assert "a request cannot be discarded" in error


# -- what is taken for a filter at all


@pytest.mark.parametrize(
    "text", [source("pass"), "def other(instance, host): pass\nfilter_received_instance = other\n"]
)
def test_without_the_capability_a_filter_is_refused_with_the_line_that_would_allow_it(text):
    with pytest.raises(RefusedScriptError) as refused:
        load("a.py", text, Script())
    assert 'may = ["filters"] under [scripts."a.py"]' in str(refused.value)


def test_the_line_that_would_allow_it_keeps_what_is_allowed_already():
    with pytest.raises(ScriptError, match='may = \\["delete", "filters"\\]'):
        load("a.py", source("pass"), Script(may=("delete",)))


def test_wrong_parameters_of_a_filter_are_named():
    with pytest.raises(ScriptError, match=r"def filter_outgoing_instance\(instance, destination, host\)"):
        load("a.py", source("pass", handler="filter_outgoing_instance"))


def test_notifications_have_no_verdicts_and_filters_no_actions():
    assert not {"accept", "discard", "refuse"} & set(vars(api.Host))
    assert not {"forward", "transcode", "delete", "now"} & set(vars(filters.FilterHost))


QUERY = Question("study", {0x00100020: "42", 0x00080020: "20240101-20241231", 0x00081030: "", 0x00080061: "CT\\MR"})


def test_a_query_that_goes_out_is_asked_as_the_filters_want_it(desk):
    assert desk.filters.outgoing_find("pacs", QUERY) == QUERY
    desk.put(
        "a.py", "print(query.level, modality, query.tags.PatientID, query.tags.text('StudyDate'), query.tags.ModalitiesInStudy)",
        "return host.accept(set={'PatientID': '0042', 'AccessionNumber': ''}, remove=['StudyDescription'])",
        handler="filter_outgoing_find", takes="query, modality",
    )  # fmt: skip
    changed = desk.filters.outgoing_find("pacs", QUERY)
    assert changed.level == "study"
    assert changed.keys == {
        0x00100020: "0042", 0x00080020: "20240101-20241231", 0x00080061: "CT\\MR", 0x00080050: "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("return host.refuse(0xA700, 'not at night')", "the filter a.py refused the query: not at night"),
        ("return host.accept(set={'QueryRetrieveLevel': 'PATIENT'})", "the level and the character set"),
        ("return host.accept(set={'PatientID': '1' * 2000})", "up to 1024 characters"),
        ("return host.discard('no')", "a query cannot be discarded"),
        ("return query.tags.Unknown", "no element has the keyword"),
        ("raise ValueError('oh')", "failed, so nobody was asked: ValueError: oh"),
    ],
)
def test_a_query_that_a_filter_refuses_or_fails_over_is_not_asked(desk, line, says):
    desk.put("a.py", line, handler="filter_outgoing_find", takes="query, modality")
    with pytest.raises(FilterRefusedError, match=re.escape(says)):
        desk.filters.outgoing_find("pacs", QUERY)


def test_orthancs_filter_of_outgoing_queries_returns_the_query_that_is_asked(desk):
    desk.put_text(
        "a.py",
        "def OutgoingFindRequestFilter(query, modality):\n"
        "    query['0010,0020'] = '00' + query['0010,0020']\n"
        "    del query['0008,1030']\n"
        "    query['0008,0050'] = 'A*'\n"
        "    return query\n",
    )
    changed = desk.filters.outgoing_find("pacs", QUERY)
    assert changed.keys == {
        0x00100020: "0042", 0x00080020: "20240101-20241231", 0x00080061: "CT\\MR", 0x00080050: "A*",
    }  # fmt: skip


ASKER = Origin("dicom", calling_aet="WS1", called_aet="HOSTD", ip="192.0.2.5", modality="ws")


def test_a_query_that_comes_is_answered_as_the_filters_want_it(desk):
    assert desk.filters.find(QUERY, ASKER) == QUERY
    desk.put(
        "a.py", "print(query.level, query.origin.calling_aet, query.origin.modality, query.tags.PatientID)",
        "return host.accept(set={'PatientID': '0042'}, remove=['StudyDescription'])",
        handler="filter_find", takes="query",
    )  # fmt: skip
    changed = desk.filters.find(QUERY, ASKER)
    assert changed.level == "study"
    assert changed.keys == {0x00100020: "0042", 0x00080020: "20240101-20241231", 0x00080061: "CT\\MR"}
    assert desk.filters.outgoing_find("pacs", QUERY) == QUERY


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("return host.refuse(0xA700, 'not you')", "the filter a.py refused the query: not you"),
        ("return host.discard('no')", "a query cannot be discarded"),
        ("raise ValueError('oh')", "failed, so nothing is told: ValueError: oh"),
    ],
)
def test_a_query_that_comes_is_not_answered_where_a_filter_refuses_or_fails(desk, line, says):
    desk.put("a.py", line, handler="filter_find", takes="query")
    with pytest.raises(FilterRefusedError, match=re.escape(says)) as refused:
        desk.filters.find(QUERY, ASKER)
    assert refused.value.status == 0xA700


def test_orthancs_filter_of_incoming_queries_returns_what_is_looked_for(desk):
    desk.put_text(
        "a.py",
        "def IncomingFindRequestFilter(query, origin):\n"
        "    if query['0008,0052'] == 'STUDY' and origin.RemoteAet == 'WS1' and origin.CalledAet == 'HOSTD':\n"
        "        query['0010,0020'] = '00' + query['0010,0020']\n"
        "        del query['0008,1030']\n"
        "    return query\n",
    )
    changed = desk.filters.find(QUERY, ASKER)
    assert changed.keys == {0x00100020: "0042", 0x00080020: "20240101-20241231", 0x00080061: "CT\\MR"}
    desk.put_text(
        "a.py", "def IncomingFindRequestFilter(query, origin):\n    query['0008,0052'] = 'PATIENT'\n    return query\n"
    )
    with pytest.raises(FilterRefusedError, match="cannot change the level"):
        desk.filters.find(QUERY, ASKER)
