"""What a running script asks beyond its event: what is stored, what was delivered, what a product would be, what it has kept."""

import pytest
import sqlalchemy as sa
from scripts_kit import handler, resolve
from test_level_scripts import delivered, level_handler
from test_plan import HERE, event

from hostd.archive import events, instances, labels, levels, plans, receipts, scripts, searching, states
from hostd.archive import tables as t
from hostd.archive.plans import Plan
from hostd.archive.records import Origin
from hostd.archive.searching import Search, SearchError
from hostd.config.sections import Script
from hostd.errors import InstanceFault
from hostd.sandbox import frames
from hostd.scripting.asking import Beyond, Means
from hostd.scripting.loading import Names, load_frame
from hostd.scripting.plan import as_frames_event
from hostd.scripting.processes import WorkerLost
from hostd.scripting.replay import Replayer
from hostd.scripting.runtime import ScriptWorker
from hostd.scripting.sources import ArchiveSource
from hostd.transcoding.transform import Transform

CT2 = {"StudyInstanceUID": "1.2.9", "SeriesInstanceUID": "1.2.9.1"}


def asks(bench, *lines, event="on_received_again"):
    """Have a script run these lines at an event after all that has come; return what it printed."""
    bench.put("a.py", handler(*lines, event=event))
    bench.count -= 1
    bench.arrive(tags=bench.last)
    bench.until_passed("a.py")
    assert [row.error for row in bench.rows(t.run, script="a.py")] in ([], [None])
    return bench.logged("a.py")


@pytest.fixture
def bench(bench):
    bench.start()
    bench.last = {}
    return bench


def ids(bench, **search):
    with bench.archive.read() as connection:
        return searching.find(connection, Search(**search), time_limit_s=60.0)


def get(bench, identifier):
    with bench.archive.read() as connection:
        return instances.get(connection, identifier)


def test_each_level_is_found_by_its_attributes_label_age_origin_and_deliveries(bench):
    first = bench.arrive()
    bench.archive.clock.advance(100)
    now = bench.archive.clock.now()
    second = bench.arrive(tags=CT2 | {"Modality": "MR"}, origin=Origin("dicom", calling_aet="MR1", modality="mr"))
    one, two = get(bench, first), get(bench, second)
    assert ids(bench, level="instance", keys={"PatientID": "P1"}) == [first, second]
    assert ids(bench, level="study", keys={"StudyInstanceUID": "1.2.9"}) == [two.study]
    assert ids(bench, level="series", keys={"Modality": "MR", "PatientID": "P1"}) == [two.series]
    assert ids(bench, level="patient", keys={"PatientID": "P1"}) == [one.patient]
    assert ids(bench, level="instance", keys={"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, limit=1) == [first]
    assert ids(bench, level="study", keys={"AccessionNumber": ""}) == [one.study, two.study]
    assert ids(bench, level="study", stored_before=now) == [one.study]
    assert ids(bench, level="patient", stored_before=now) == []  # one of its instances is younger
    assert ids(bench, level="series", origin="mr") == ids(bench, level="series", origin="MR1") == [two.series]
    bench.archive.writer.do(lambda c: labels.add(c, "study", two.study, ["TRIAL7"]))
    assert ids(bench, level="study", label="TRIAL7") == [two.study]
    assert ids(bench, level="instance", label="TRIAL7") == []
    with pytest.raises(SearchError, match="a study cannot be found by 'Modality'"):
        ids(bench, level="study", keys={"Modality": "CT"})


def test_what_was_delivered_is_found_by_the_destination_that_has_had_all_of_it(bench):
    bench.put("f.py", handler("if instance.tags.InstanceNumber == 1:", "    host.forward(instance, to='archive')"))
    first = bench.arrive(tags={"InstanceNumber": 1})
    bench.until_passed("f.py")
    assert ids(bench, level="instance", delivered_to="modality:archive") == []
    delivered(bench)
    assert ids(bench, level="instance", delivered_to="modality:archive") == [first]
    assert ids(bench, level="study", delivered_to="modality:archive") == [get(bench, first).study]
    bench.arrive(tags={"InstanceNumber": 2})
    assert ids(bench, level="study", delivered_to="modality:archive") == []


def test_a_search_by_identifier_label_or_age_walks_an_index(bench):
    with bench.archive.read() as connection:
        for search, index in (
            (Search("study", {"PatientID": "P1"}), "ix_patient_patient_id_key_id"),
            (Search("study", {"AccessionNumber": "A1"}), "ix_study_accession_number_key_id"),
            (Search("series", {"SeriesInstanceUID": "1"}), "ix_instance_series_instance_uid"),
            (Search("study", stored_before=1.0), "ix_instance_received_at"),
            (Search("study", label="x"), "ix_instance_study_told"),
        ):
            found = []
            sa.event.listen(connection, "before_cursor_execute", lambda *a, f=found: f.append((a[2], a[3])))
            searching.find(connection, search, time_limit_s=60.0)
            statement, values = found[0]
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
            assert any(index in row[-1] for row in plan), (search, plan)
            assert not any(row[-1].startswith("SCAN") and "INDEX" not in row[-1] for row in plan), (search, plan)


def test_a_script_reads_what_it_finds(bench):
    bench.arrive()
    bench.last = CT2 | {"ImageComments": "c" * 5000}
    bench.arrive(tags=bench.last)
    assert asks(
        bench,
        "for study in host.find('study', PatientID=instance.patient_id):",
        "    print(study.study_instance_uid, study.count, len(study.instances), study.labels, study.tags.PatientID)",
        "    print([one.sop_instance_uid for one in study.instances], study.first.origin.calling_aet, len(study.origins))",
        "found = host.find('instance', StudyInstanceUID='1.2.9')[0]",
        "print(found.sop_instance_uid, found.tags.ImageComments[:3], found.metadata)",
        "print([one.tags.get('ImageComments', '')[:1] for s in host.find('study') for one in s.instances])",
        "print(host.find('series', SeriesInstanceUID='9.9'), len(host.find('patient')), len(host.find('instance', limit=1)))",
    ) == [
        "1.2.3 1 1 () P1",
        "['1.2.3.4.1'] CT1 1",
        "1.2.9 1 1 () P1",
        "['1.2.3.4.2'] CT1 1",
        "1.2.3.4.2 ccc {}",
        "['', 'c']",
        "() 1 1",
    ]
    (run,) = bench.rows(t.run, script="a.py")
    assert [one["found"] for one in run.asked] == [2, 1, 2, 0, 1, 1]


def test_more_is_found_than_goes_into_one_answer(bench):
    bench.arrive(120)
    assert asks(bench, "print(len({one.id for one in host.find('instance', limit=1000)}))") == ["120"]


def test_a_script_acts_upon_what_it_finds(bench):
    bench.may("a.py", may=["delete"])
    old = bench.arrive(2)
    bench.last = CT2
    bench.arrive(tags=bench.last)
    asks(
        bench,
        "study = host.find('study', StudyInstanceUID='1.2.3')[0]",
        "host.label(study, 'old')",
        "host.forward(study, to='archive')",
        "one = list(study.instances)[0]",
        "host.forward(one, to='ai')",
        "host.set_metadata(one, 'k', 'v')",
        "host.forward(host.transcode(one, 'j2k'), to='archive')",
        "found = host.find('instance', SOPInstanceUID='1.2.3.4.2')[0]",
        "host.delete(found, after=None)",
    )
    sent = sorted((row.sop_instance_uid, row.destination, bool(row.transform)) for row in bench.rows(t.delivery))
    assert sent == [
        ("1.2.3.4.1", "modality:archive", False), ("1.2.3.4.1", "modality:archive", True),
        ("1.2.3.4.1", "peer:ai", False), ("1.2.3.4.2", "modality:archive", False),
    ]  # fmt: skip
    assert get(bench, old) is None
    assert [(row.level, row.label) for row in bench.rows(t.label)] == [("study", "old")]


def test_a_study_that_is_old_and_delivered_is_deleted(bench):
    """Recipe 7 of the public interface, but for commitment."""
    bench.put("f.py", handler("host.forward(instance, to='archive')"))
    old = bench.arrive(2)
    bench.until_passed("f.py")
    delivered(bench)
    bench.archive.clock.advance(14 * 86400)
    bench.last = CT2
    young = bench.arrive(tags=bench.last)
    bench.may("a.py", may=["delete"])
    asks(
        bench,
        "import datetime",
        "for study in host.find('study', stored_before=host.now() - datetime.timedelta(days=1), delivered_to='archive'):",
        "    host.delete(study)",
    )
    bench.until(lambda: get(bench, old) is None)
    assert get(bench, young) is not None


def test_what_was_found_at_an_earlier_event_cannot_be_acted_upon(bench):
    bench.put(
        "a.py",
        "kept = []\n" + handler("kept.extend(host.find('instance'))", "print(len(kept))", "host.label(kept[0], 'x')"),
    )
    bench.attempts = 1
    bench.arrive()
    bench.until_passed("a.py")
    bench.arrive()
    bench.until_passed("a.py")
    assert "earlier event" in bench.rows(t.run, script="a.py")[-1].error


def test_a_destination_that_has_had_it_is_known(bench):
    bench.put("f.py", handler("host.forward(instance, to='archive')"))
    bench.arrive(2)
    bench.until_passed("f.py")
    lines = ("study = host.find('study')[0]", "print(host.delivered_to(instance, 'archive'), host.delivered_to(study, 'archive'), host.delivered_to(study, 'ai'))")  # fmt: skip
    assert asks(bench, *lines) == ["False False False"]
    delivered(bench)
    bench.put(
        "a.py",
        level_handler(
            "print(host.delivered_to(series, 'archive'), host.delivered_to(series.first, 'archive'))",
            event="on_updated_series",
        ),
    )
    bench.archive.writer.do(lambda c: labels.add(c, "series", "x", ["y"]))

    series = get(bench, bench.rows(t.instance)[0].id).series
    bench.archive.writer.do(lambda c: levels.level_changed(c, "series", series, 1.0, "labels"), topics=("event",))
    bench.until_passed("a.py")
    assert bench.logged("a.py")[-1] == "True True"


def test_a_destination_that_has_committed_to_keep_all_of_it_is_known(bench):
    bench.put("f.py", handler("host.forward(instance, to='archive')"))
    bench.arrive(2)
    bench.until_passed("f.py")
    delivered(bench)
    asked = "print(*(host.delivered_to(x, 'archive', committed=True) for x in (instance, host.find('study')[0])))"
    assert asks(bench, asked) == ["False False"]
    own = sa.update(t.delivery).where(t.delivery.c.sop_instance_uid == "1.2.3.4.2").values(commitment="committed")
    bench.archive.writer.do(lambda c: c.execute(own))
    bench.count -= 1
    bench.arrive()
    bench.until_passed("a.py")
    assert bench.logged("a.py")[-1] == "True False"


# -- products


def test_what_a_product_would_be_is_worked_out_while_the_script_waits(bench):
    made = []
    bench.stop()
    bench.work_out = lambda stored, transform: made.append((stored.sop_instance_uid, transform)) or 100
    bench.start()
    bench.put(
        "a.py",
        handler(
            "small = host.transcode(instance, 'j2k')",
            "print(small.size, small.ratio == instance.size / 100)",
            "if small.ratio > 1.1:",
            "    host.forward(small, to='archive')",
        ),
    )
    bench.arrive()
    bench.until_passed("a.py")
    assert bench.logged("a.py") == ["100 True"]
    assert made == [("1.2.3.4.1", Transform.into("1.2.840.10008.1.2.4.90"))]
    assert len(bench.rows(t.delivery)) == 1
    assert bench.rows(t.run)[0].asked[0]["size"] == 100


def test_a_product_that_cannot_be_made_is_an_error_that_a_script_can_catch(bench):
    def cannot(_stored, _transform):
        raise InstanceFault("no codec writes that")

    bench.stop()
    bench.work_out = cannot
    bench.start()
    bench.put(
        "a.py",
        handler("try:", "    host.transcode(instance, 'j2k').size", "except ValueError as error:", "    print(error)"),
    )
    bench.arrive()
    bench.until_passed("a.py")
    assert bench.logged("a.py") == ["no codec writes that"]


def test_a_worker_that_has_made_what_its_script_may_not_is_ended():
    worker = ScriptWorker.start(load_frame("x.py", "", Script(), Names(), resolve))
    try:
        question = frames.Question(1, "product", [], actions=[frames.Modify(HERE, {"PatientID": "7"})])
        with pytest.raises(WorkerLost, match="may not take"):
            worker._check(question, as_frames_event(event()))
        worker._check(
            frames.Question(1, "product", [], actions=[frames.Transcode(HERE, "1.2.840.10008.1.2.4.90")]),
            as_frames_event(event()),
        )
    finally:
        worker.stop()


# -- what a script keeps

COUNTS = handler("host.state['n'] = host.state.get('n', 0) + 1", "print(host.state['n'])")


def kept(bench, script="a.py"):
    with bench.archive.read() as connection:
        return states.get(connection, script).value


def test_what_a_script_keeps_outlasts_its_worker_and_its_version(bench):
    bench.put("a.py", COUNTS)
    bench.arrive(3)  # in one batch, the plans of which are not committed one by one
    bench.until_passed("a.py")
    bench.stop()
    bench.start()
    bench.put("a.py", COUNTS + "\n# another version\n")
    bench.arrive()
    bench.until_passed("a.py")
    assert bench.logged("a.py") == ["1", "2", "3", "4"]
    assert kept(bench) == {"n": 4}


def test_what_a_failed_run_changed_is_lost_with_it(bench):
    bench.put("a.py", handler("host.state['n'] = 1", "1 / 0"))
    bench.arrive()
    bench.until_passed("a.py")
    assert kept(bench) == {}


def test_a_conflict_enters_nothing_and_the_event_is_run_again(bench):
    bench.put("a.py", COUNTS)
    bench.arrive()
    bench.until_passed("a.py")
    with bench.archive.read() as connection:
        cursor = scripts.get_cursor(connection, "a.py")

    bench.stop()
    identifier = bench.arrive()
    with bench.archive.read() as connection:
        waiting = next(
            one
            for one in events.after(connection, cursor.low_water, ["stored_instance"], 9)
            if one.subject == identifier
        )
    stale = Plan(
        script="a.py", version="v", event=waiting, sop_instance_uid="", sop_class_uid="", outcome="done", actions=(), tags_read=(),
        log=(("info", "stale"),), error=None, at=1.0, seconds=0.0, state=states.State(0, {"n": 99}),
    )  # fmt: skip
    with pytest.raises(states.StateConflictError):
        bench.archive.writer.do(lambda c: plans.enter(c, stale, cursor.token, after=cursor.low_water))
    bench.start()
    bench.until_passed("a.py")
    assert (kept(bench), bench.logged("a.py")) == ({"n": 2}, ["1", "2"])


def test_a_rehearsal_reads_what_is_kept_and_changes_nothing(bench):
    bench.put("a.py", COUNTS)
    bench.arrive()
    bench.until_passed("a.py")
    with bench.archive.read() as connection:
        past = events.latest(connection, ["stored_instance"], 5)
    load = load_frame("a.py", COUNTS, Script(), Names(sorted(("archive",))), resolve)
    replayer = Replayer(
        lambda: ScriptWorker.start(load), file_of=bench.archive.blobs.path, read=bench.archive.read, destinations=resolve,
        time_limit_s=60.0, script="a.py",
    )  # fmt: skip
    (replayed,) = replayer.replay(past)
    assert replayed.outcome.plan == ("keep for itself: n",)
    assert [text for _, text in replayed.outcome.log] == ["2"]
    assert kept(bench) == {"n": 1}


def test_a_product_is_told_by_its_receipt_in_a_rehearsal_or_not_at_all(bench):
    bench.put("a.py", handler("pass"))
    bench.arrive()
    with bench.archive.read() as connection:
        (past,) = events.latest(connection, ["stored_instance"], 5)
    source = ArchiveSource(past, bench.archive.read, bench.archive.blobs.path)
    beyond = Beyond(
        past, source, bench.archive.read, bench.archive.blobs.path, Means(resolve), lambda: states.State(0, {})
    )
    question = frames.Question(1, "product", [], actions=[frames.Transcode(past.subject, "1.2.840.10008.1.2.4.90")])
    with pytest.raises(Exception, match="was never made here"):
        beyond.answer(question)

    facts = {"bytes_after": 7}
    stored = receipts.StoredReceipt(
        past.blob, Transform.into("1.2.840.10008.1.2.4.90").canonical(), "made", facts, None
    )
    bench.archive.writer.do(lambda c: receipts.note(c, stored, 1.0))
    assert beyond.answer(question)[0] == 7
