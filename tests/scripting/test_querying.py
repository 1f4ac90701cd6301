"""`host.query` and `host.retrieve` in scripts: who may, what is asked, what is recorded, and that no rehearsal asks anybody."""

import pytest
from scripts_kit import handler, resolve

from hostd.archive import events, tasks
from hostd.archive import tables as t
from hostd.config.sections import Script
from hostd.errors import DestinationFault
from hostd.sandbox import acts, frames
from hostd.scripting import honesty
from hostd.scripting.asking import Means
from hostd.scripting.host import Limits, ScriptHost
from hostd.scripting.loading import Names, load_frame
from hostd.scripting.replay import Replayer
from hostd.scripting.runtime import ScriptWorker

PREFETCHES = handler(
    "for prior in host.query('pacs', 'study', PatientID=instance.patient_id):",
    "    print(prior.StudyInstanceUID, prior.get('StudyDate', 'never'), prior.PatientName, prior.Modality)",
    "    host.retrieve('pacs', study=prior.StudyInstanceUID)",
)
EXPLICIT = "1.2.840.10008.1.2.1"
MATCHES = [
    {0x0020000D: ("UI", ["1.2.3"]), 0x00080020: ("DA", ["20240101"]), 0x00100010: ("PN", ["Müller^Jörg"])},
    {0x0020000D: ("UI", ["1.2.4"]), 0x00080020: ("DA", [""]), 0x00420011: ("OB", [b"\0\1"])},
]


@pytest.fixture
def asked():
    return []


@pytest.fixture
def outside(bench, asked):
    """A bench whose scripts may ask an archive that answers."""

    def query(modality, question, limit):
        question.encode(EXPLICIT)
        asked.append((modality, question, limit))
        if question.keys.get(0x00100020) == "NOBODY":
            raise DestinationFault("the modality pacs: could not connect")
        return MATCHES[:limit]

    def start():
        bench.host = ScriptHost(
            bench.archive, bench.folder, entries=bench.entries, names=Names(["archive"], modalities=["pacs"]),
            means=Means(resolve, query=query), isolation="required", limits=Limits(2), launcher=bench.launcher, rescan_s=60, check_file=lambda _path: None,
        )  # fmt: skip
        bench.host.start()
        return bench

    bench.start = start
    return bench


def run(bench, text, **entry):
    bench.may("a.py", may=["query", "retrieve"], **entry)
    bench.write("a.py", text)
    bench.start()
    bench.arrive()
    bench.until_passed("a.py")


def test_matches_are_read_as_tags_are_and_recorded_with_the_run(outside, asked):
    run(outside, PREFETCHES)
    assert outside.logged("a.py") == ["1.2.3 20240101 Müller^Jörg None", "1.2.4 never None None"]
    ((modality, question, limit),) = asked
    assert (modality, question.level, limit) == ("pacs", "study", 100)
    assert question.keys[0x00100020] == "P1"
    assert question.keys[0x0020000D] == question.keys[0x00081030] == ""
    (row,) = outside.rows(t.run)
    assert row.asked == [
        {
            "verb": "query", "modality": "pacs", "level": "study", "keys": {"PatientID": "P1"}, "limit": 100,
            "answers": [
                {"0020000d": ["UI", ["1.2.3"]], "00080020": ["DA", ["20240101"]], "00100010": ["PN", ["Müller^Jörg"]]},
                {"0020000d": ["UI", ["1.2.4"]], "00080020": ["DA", [""]], "00420011": ["OB", []]},
            ],
        }
    ]  # fmt: skip


def test_a_retrieve_is_a_task_of_its_modality(outside):
    run(outside, PREFETCHES)
    with outside.archive.read() as connection:
        found = {one.details["study"]: one for one in tasks.listing(connection)}
    assert found.keys() == {"1.2.3", "1.2.4"}
    assert {(one.verb, one.queue, one.state) for one in found.values()} == {("retrieve", "retrieve:pacs", "waiting")}


def test_the_same_question_is_asked_once(outside, asked):
    run(outside, handler(*["print(len(host.query('pacs', 'study', PatientID='A', limit=1)))"] * 3))
    assert outside.logged("a.py") == ["1", "1", "1"]
    assert len(asked) == 1


def test_a_replay_answers_from_the_record_and_asks_nobody(outside, asked):
    run(outside, PREFETCHES)
    with outside.archive.read() as connection:
        past = events.latest(connection, {"stored_instance"}, 10)

    def start(text):
        frame = load_frame("a.py", text, Script(may=["query", "retrieve"]), Names(modalities=["pacs"]), resolve)
        return lambda: ScriptWorker.start(frame)

    def replayed(text):
        replayer = Replayer(
            start(text), file_of=outside.archive.blobs.path, read=outside.archive.read, destinations=resolve,
            time_limit_s=60.0,
        )  # fmt: skip
        return [one.outcome for one in replayer.replay(past)]

    (same,) = replayed(PREFETCHES)
    assert same.error is None
    assert same.plan == ("retrieve study 1.2.3 from pacs", "retrieve study 1.2.4 from pacs")
    assert same.log[0] == ("info", "1.2.3 20240101 Müller^Jörg None")
    (other,) = replayed(handler("host.query('pacs', 'patient', PatientID='X')"))
    assert "a rehearsal asks nobody outside" in other.error
    assert len(asked) == 1


def test_no_answer_is_an_error_that_the_script_can_catch(outside):
    run(
        outside,
        handler(
            "try:", "    host.query('pacs', 'study', PatientID='NOBODY')", "except ValueError as e:", "    print(e)"
        ),
    )
    assert outside.logged("a.py") == ["the modality pacs: could not connect"]


def test_one_run_asks_so_many_questions(outside, asked):
    run(outside, handler("for n in range(21):", "    host.query('pacs', 'study', PatientID=str(n))"))
    assert len(asked) == 20 * 2, "the event is tried twice"
    assert "may ask other archives 20 questions" in outside.rows(t.run)[-1].error


@pytest.mark.parametrize("verb", ["query('pacs', 'study')", "retrieve('pacs', study='1.2')"])
def test_without_the_capability_nothing_is_asked(outside, asked, verb):
    outside.write("a.py", handler(f"host.{verb}"))
    outside.start()
    outside.arrive()
    outside.until_passed("a.py")
    name = verb.partition("(")[0]
    assert f'may = ["{name}"] under [scripts."a.py"]' in outside.rows(t.run)[-1].error
    assert asked == []


REFUSED = {
    "host.query('pac', 'study')": "no modality is called 'pac'; there are: pacs; did you mean pacs?",
    "host.query('pacs', 'image')": "level must be one of patient, study, series, instance",
    "host.query('pacs', 'study', limit=0)": "limit must be a whole number",
    "host.query('pacs', 'study', PatientIdentifier='1')": "no element has the keyword 'PatientIdentifier'",
    "host.query('pacs', 'study', PatientID=1)": "PatientID must be a text",
    "host.query('pacs', 'study', PatientID='1' * 1025)": "up to 1024 characters",
    "host.query('pacs', 'study', NumberOfStudyRelatedSeries='many')": "(0020,1206) cannot be 'many'",
    "host.retrieve('pacs', study='1.2.*')": "study is named by its UID, not by '1.2.*'",
    "host.retrieve('pacs', study='')": "study is named by its UID",
    "host.retrieve('pacs', study='1.2', series='1\\\\2')": "series is named by its UID",
    "host.retrieve('pacs', study='1.2', instance='1.3')": "by the UIDs of its study and series, too",
    "host.retrieve('pacs', study=None)": "study must be a text",
}


def test_what_cannot_be_asked_is_an_error_that_says_why(outside, asked):
    lines = [
        part for line in REFUSED for part in ("try:", f"    {line}", "    print('done')", "except Exception as e:", "    print(e)")
    ]  # fmt: skip
    run(outside, handler(*lines))
    logged = outside.logged("a.py")
    assert len(logged) == len(REFUSED)
    assert [(said, says) for said, says in zip(logged, REFUSED.values(), strict=True) if says not in said] == []
    assert asked == []
    assert outside.rows(t.task) == []


def test_an_answer_that_is_too_large_is_an_error_and_nothing_is_recorded(outside, monkeypatch):
    monkeypatch.setattr("hostd.scripting.querying.MAX_BYTES", 100)
    run(outside, PREFETCHES)
    assert "ask for less, by keys or limit" in outside.rows(t.run)[-1].error
    assert outside.rows(t.task) == []


@pytest.mark.parametrize(
    ("verb", "more", "may", "is_fine"),
    [
        ("query", {"modality": "pacs"}, ["query"], True),
        ("query", {"modality": "pacs"}, [], False),
        ("query", {"modality": "other"}, ["query"], False),
        ("http_get", {"target": "registry"}, ["http"], True),
        ("http_get", {"target": "registry"}, ["query"], False),
        ("find", {}, [], True),
    ],
)
def test_a_worker_that_was_taken_over_asks_nobody_outside(verb, more, may, is_fine):
    names = Names(modalities=["pacs"], targets=["registry"])
    frame = load_frame("a.py", "", Script(may=may), names, resolve)
    assert (honesty.dishonest_question(frames.Question(1, verb, [], more=more), frame) is None) is is_fine


@pytest.mark.parametrize(
    ("modality", "may", "is_fine"), [("pacs", ["retrieve"], True), ("x", ["retrieve"], False), ("pacs", [], False)]
)
def test_a_worker_that_was_taken_over_has_nothing_sent(modality, may, is_fine):
    frame = load_frame("a.py", "", Script(may=may), Names(modalities=["pacs"]), resolve)
    event = frames.Event(1, "on_start", 0.0)
    result = frames.Result(1, [acts.Retrieve(modality, "1.2")], [], [])
    assert (honesty.dishonest(result, event, frame, set()) is None) is is_fine
