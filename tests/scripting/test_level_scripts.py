"""Scripts about series, studies, patients and associations, with real workers; quiet time passes by a turned clock."""

import json

import pytest
from scripts_kit import handler

from hostd.archive import associations, deliveries, history, instances
from hostd.archive import tables as t
from hostd.archive.records import Attempt, Origin
from hostd.jobs.deleting import go_on
from hostd.jobs.quiet import tell_due


def level_handler(*lines, event="on_stable_series", subject="series"):
    return f"def {event}({subject}, host):\n" + "".join(f"    {line}\n" for line in lines)


def quiet(bench, seconds=60):
    bench.archive.clock.advance(seconds)
    return tell_due(bench.archive)


def delivered(bench, outcome="delivered"):
    """Settle every delivery that waits."""
    now = bench.archive.clock.now()
    for destination in {row.destination for row in bench.rows(t.delivery)}:
        for one in bench.archive.writer.do(lambda c, d=destination: deliveries.claim(c, d, 1, now, 100)):
            settle(bench, one, outcome)


def settle(bench, delivery, outcome):
    attempt = Attempt(delivery.id, 1, bench.archive.clock.now(), outcome, "")
    bench.archive.writer.do(lambda c: deliveries.finish(c, attempt, 1), topics=("event",))


def uids(bench, **where):
    return [row.sop_instance_uid for row in bench.rows(t.delivery, **where)]


READS = level_handler(
    "print(series.id == series.first.tags.get('ImageComments', series.id), series.series_instance_uid, series.study_instance_uid)",
    "print(series.patient_id, series.tags.Modality, series.tags.PatientID, series.tags.SeriesNumber, series.tags.StudyDescription)",
    "print(series.count, len(series.instances), len(series.new_instances), series.occurrence, series.changes, series.labels)",
    "print([i.sop_instance_uid for i in series.instances], [i.tags.InstanceNumber for i in series.new_instances])",
    "print(series.first.sop_instance_uid, series.first.origin.calling_aet, [o.calling_aet for o in series.origins])",
    "print('StudyDate' in series.tags, series)",
)


def test_a_script_reads_a_stable_series(bench):
    bench.write("a.py", READS)
    bench.start()
    bench.arrive(1, tags={"InstanceNumber": 1, "SeriesNumber": 3})
    bench.arrive(1, tags={"InstanceNumber": 2, "SeriesNumber": 3}, origin=Origin("http", username="x"))
    quiet(bench)
    bench.until_passed("a.py")
    assert bench.logged() == [
        "True 1.2.3.4 1.2.3",
        "P1 CT P1 3 None",
        "2 2 2 1 () ()",
        "['1.2.3.4.1', '1.2.3.4.2'] [1, 2]",
        "1.2.3.4.1 CT1 ['CT1', None]",
        "False <series 1.2.3.4>",
    ]


def test_what_is_empty_is_among_the_tags_of_a_level_and_has_no_value(bench):
    lines = (
        "tags = study.tags",
        "print('AccessionNumber' in tags, tags.AccessionNumber, repr(tags.text('AccessionNumber')), 'StudyDate' in tags)",
        "print(tags.StudyDescription)",
    )
    bench.write("a.py", level_handler(*lines, event="on_stable_study", subject="study"))
    lua = "print(repr(tags['AccessionNumber']), tags['StudyDate'])"
    bench.write("b.py", f"def OnStableStudy(studyId, tags, metadata):\n    {lua}\n")
    bench.start()
    bench.arrive(1, tags={"AccessionNumber": "", "StudyDescription": "a\\b"})
    quiet(bench)
    bench.until_passed("a.py")
    bench.until_passed("b.py")
    assert sorted(bench.logged()) == ["'' None", "('a', 'b')", "True None '' False"]


def test_what_comes_late_is_told_again_with_what_is_new(bench):
    bench.write("a.py", level_handler("print(series.occurrence, [i.sop_instance_uid for i in series.new_instances])"))
    bench.start()
    bench.arrive(2)
    quiet(bench)
    bench.arrive(1)
    quiet(bench)
    bench.until_passed("a.py")
    assert bench.logged() == ["1 ['1.2.3.4.1', '1.2.3.4.2']", "2 ['1.2.3.4.3']"]


def test_a_large_series_is_walked_page_by_page(bench):
    bench.write("a.py", level_handler("print([i.tags.InstanceNumber for i in series.instances] == list(range(1, 51)))"))
    bench.start()
    for number in range(1, 51):
        bench.arrive(1, tags={"InstanceNumber": number})
    quiet(bench)
    bench.until_passed("a.py")
    assert bench.logged() == ["True"]


def test_a_large_value_of_an_instance_of_a_series_is_fetched_from_its_own_file(bench):
    bench.write("a.py", level_handler("print([i.tags.ImageComments[:3] for i in series.instances])"))
    bench.start()
    for letter in "ab":
        bench.arrive(1, tags={"ImageComments": letter * 5000})
    quiet(bench)
    bench.until_passed("a.py")
    assert bench.logged() == ["['aaa', 'bbb']"]


def test_an_attribute_that_a_series_does_not_have_is_an_error_that_says_where_it_is(bench):
    lines = ("try:", "    series.tags.SliceThickness", "except UnknownKeyword as error:", "    print(error)")
    bench.write("a.py", level_handler(*lines))
    bench.start()
    bench.arrive()
    quiet(bench)
    bench.until_passed("a.py")
    said = "SliceThickness is not kept of a series; read it from an instance: series.first.tags.get('SliceThickness')"
    assert bench.logged() == [said]


def test_after_a_delete_a_series_can_still_be_read(bench):
    bench.may("a.py", may=["delete"])
    bench.write(
        "a.py",
        handler("host.delete(instance, after=None)")
        + level_handler("print(instance.tags.Modality, instance.size > 0)", event="on_deleted_instance", subject="instance")
        + level_handler("print(series.tags.Modality, series.count, list(series.instances), series.first)", event="on_deleted_series"),
    )  # fmt: skip
    bench.start()
    bench.arrive()
    bench.until(lambda: len(bench.logged()) == 2)
    assert bench.logged() == ["CT True", "CT 0 [] None"]


def test_nothing_is_sent_of_what_was_deleted(bench):
    bench.may("a.py", may=["delete"])
    sends = "host.forward(x, to='archive')"
    bench.write(
        "a.py",
        handler("host.delete(instance, after=None)")
        + level_handler(sends, event="on_deleted_instance", subject="x")
        + level_handler(sends, event="on_deleted_study", subject="x"),
    )
    bench.start()
    bench.arrive()
    bench.until(lambda: len(bench.rows(t.action)) == 3)
    assert [row.state for row in bench.rows(t.action)] == ["done", "skipped", "skipped"]
    assert bench.rows(t.delivery) == []


# -- actions over many ------------------------------------------------------------------------------------------------

FORWARD = level_handler("host.forward(study, to='archive')", event="on_stable_study", subject="study")


def test_a_study_is_forwarded_by_one_action_and_again_only_with_what_the_destination_has_not_had(bench):
    bench.write("a.py", FORWARD)
    bench.start()
    bench.arrive(3)
    quiet(bench)
    bench.until_passed("a.py")
    (action,) = bench.rows(t.action)
    assert (action.state, action.result) == ("done", {"asked": 3, "sender": 0, "absorbed": 0, "had": 0})
    assert uids(bench, action=action.id) == ["1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"]
    delivered(bench)
    bench.arrive(2)
    quiet(bench)
    bench.until_passed("a.py")
    second = bench.rows(t.action)[1]
    assert second.result == {"asked": 2, "sender": 0, "absorbed": 0, "had": 3}
    assert uids(bench, action=second.id) == ["1.2.3.4.4", "1.2.3.4.5"]


def test_what_failed_is_sent_again_and_what_waits_is_not_doubled(bench):
    bench.write("a.py", FORWARD)
    bench.start()
    bench.arrive(1)
    quiet(bench)
    bench.until_passed("a.py")
    delivered(bench, "failed")
    for expected in ({"asked": 2, "absorbed": 0}, {"asked": 1, "absorbed": 2}):
        bench.arrive(1)
        quiet(bench)
        bench.until_passed("a.py")
        result = bench.rows(t.action)[-1].result
        assert {key: result[key] for key in expected} == expected


def test_again_sends_all_of_it_again(bench):
    bench.write("a.py", FORWARD.replace("to='archive'", "to='archive', again=True"))
    bench.start()
    for asked in (1, 2):
        bench.arrive(1)
        quiet(bench)
        bench.until_passed("a.py")
        assert bench.rows(t.action)[-1].result["asked"] == asked
        delivered(bench)


@pytest.mark.parametrize(
    ("back", "expected"), [("", {"asked": 1, "sender": 1}), (", back=True", {"asked": 2, "sender": 0})]
)
def test_each_instance_of_a_study_is_kept_from_the_modality_it_came_from(bench, back, expected):
    bench.write("a.py", FORWARD.replace("to='archive'", f"to='ct1'{back}"))
    bench.start()
    bench.arrive(1, origin=Origin("dicom", calling_aet="CT1", modality="ct1"))
    bench.arrive(1)
    quiet(bench)
    bench.until_passed("a.py")
    result = bench.rows(t.action)[0].result
    assert {key: result[key] for key in expected} == expected


def test_a_study_is_transcoded_instance_by_instance(bench):
    bench.write(
        "a.py",
        level_handler("host.forward(host.transcode(study, 'j2k'), to='archive')", event="on_stable_study", subject="study"),
    )  # fmt: skip
    bench.start()
    bench.arrive(2)
    quiet(bench)
    bench.until_passed("a.py")
    rows = bench.rows(t.delivery)
    assert [(row.sop_instance_uid, row.state) for row in rows] == [
        ("1.2.3.4.1", "preparing"),
        ("1.2.3.4.2", "preparing"),
    ]
    assert "1.2.840.10008.1.2.4.90" in rows[0].transform
    assert rows[0].transform == rows[1].transform


def test_one_instance_of_a_study_can_be_sent_and_what_is_none_of_it_cannot(bench):
    bench.write(
        "a.py",
        level_handler("host.forward(list(study.instances)[1], to='ai')", event="on_stable_study", subject="study"),
    )
    bench.start()
    bench.arrive(3)
    quiet(bench)
    bench.until_passed("a.py")
    assert uids(bench) == ["1.2.3.4.2"]


def test_what_was_deleted_or_replaced_since_the_event_is_left_out(bench):
    bench.write("a.py", FORWARD)
    bench.start()
    bench.until(lambda: (known := bench.known("a.py")) and known.state == "running")
    bench.stop()
    first = bench.arrive(1)
    bench.arrive(2)
    quiet(bench)
    bench.archive.writer.do(lambda c: instances.hide(c, first, bench.archive.clock.now()))
    bench.count = 1
    bench.arrive(1, tags={"ImageComments": "other content of the second"})
    bench.start()
    bench.until_passed("a.py")
    assert uids(bench) == ["1.2.3.4.3"]


DELETE = level_handler(
    "host.forward(study, to='archive')",
    "host.delete(study, after='delivered')",
    event="on_stable_study",
    subject="study",
)


def test_a_study_is_deleted_as_a_whole_once_all_of_it_is_delivered(bench):
    bench.may("a.py", may=["delete"])
    bench.write("a.py", DELETE)
    bench.start()
    bench.arrive(3)
    quiet(bench)
    bench.until_passed("a.py")
    bench.arrive(1)  # came after the event, so it was not meant
    assert (len(bench.rows(t.instance)), bench.rows(t.action)[-1].state) == (4, "open")
    delivered(bench)
    assert [row.sop_instance_uid for row in bench.rows(t.instance)] == ["1.2.3.4.4"]
    assert (bench.rows(t.action)[-1].state, bench.rows(t.action)[-1].result) == (
        "done",
        {"outcome": "deleted", "count": 3},
    )


def test_a_study_of_which_one_delivery_failed_stays_whole_and_the_delete_is_held(bench):
    bench.may("a.py", may=["delete"])
    bench.write("a.py", DELETE)
    bench.start()
    bench.arrive(2)
    quiet(bench)
    bench.until_passed("a.py")
    now = bench.archive.clock.now()
    claimed = bench.archive.writer.do(lambda c: deliveries.claim(c, "modality:archive", 1, now, 10))
    for one, outcome in zip(claimed, ("delivered", "failed"), strict=True):
        settle(bench, one, outcome)
    action = bench.rows(t.action)[-1]
    assert (len(bench.rows(t.instance)), action.state) == (2, "held")
    assert action.result["reason"] == f"delivery {claimed[1].id} is failed"


def test_a_study_of_which_some_was_never_forwarded_is_not_deleted_after_delivery(bench):
    bench.may("a.py", may=["delete"])
    bench.write("a.py", DELETE.replace("host.forward(study", "host.forward(study.first"))
    bench.start()
    bench.arrive(2)
    quiet(bench)
    bench.until_passed("a.py")
    delivered(bench)
    action = bench.rows(t.action)[-1]
    assert (len(bench.rows(t.instance)), action.state) == (2, "held")
    assert "1 of 2 instances were not forwarded" in action.result["reason"]


def test_a_delete_waits_for_the_deliveries_of_a_study_that_it_names(bench):
    bench.may("a.py", may=["delete"])
    lines = (
        "sent = host.forward(study, to='archive')",
        "host.forward(study, to='ai')",
        "host.delete(study, after=[sent])",
    )
    bench.write("a.py", level_handler(*lines, event="on_stable_study", subject="study"))
    bench.start()
    bench.arrive(2)
    quiet(bench)
    bench.until_passed("a.py")
    now = bench.archive.clock.now()
    for one in bench.archive.writer.do(lambda c: deliveries.claim(c, "modality:archive", 1, now, 10)):
        settle(bench, one, "delivered")
    assert bench.rows(t.instance) == []
    assert {row.state for row in bench.rows(t.delivery, destination="peer:ai")} == {"waiting"}


# -- other events -----------------------------------------------------------------------------------------------------


def test_a_script_sees_each_study_begin_and_change(bench):
    bench.write(
        "a.py",
        level_handler("print('new', study.first.sop_instance_uid)", event="on_new_study", subject="study")
        + level_handler("print(study.changes, study.count)", event="on_updated_study", subject="study")
        + level_handler("print(instance.changes, instance.tags.ImageComments)", event="on_updated_instance", subject="instance"),
    )  # fmt: skip
    bench.start()
    bench.arrive(2)
    bench.count = 1
    bench.arrive(1, tags={"ImageComments": "other"})
    bench.until_passed("a.py")
    assert bench.logged() == ["new 1.2.3.4.1", "('content',) other", "('content',) 2"]


def test_a_script_sees_an_association_end(bench):
    bench.write(
        "a.py",
        level_handler(
            "print(association.id, association.calling_aet, association.called_aet, association.ip, association.ended)",
            "print(association.received, association.stored, association.failed, association.bytes)",
            "print((association.ended_at - association.begun_at).total_seconds(), association.reason)",
            event="on_association_closed", subject="association",
        ),
    )  # fmt: skip
    bench.start()
    bench.until(lambda: (known := bench.known("a.py")) and known.state == "running")
    write = bench.archive.writer.do
    number = write(
        lambda c: associations.open_row(c, at=1.0, calling_aet="CT1", called_aet="H", ip="192.0.2.1", port=9, facts={})
    )
    closed = {"ended": "lost", "reason": "gone", "ended_at": 3.0, "received": 5, "stored": 4, "failed": 1, "size": 10}
    write(lambda c: associations.close_row(c, number, **closed), topics=("event",))
    bench.until_passed("a.py")
    assert bench.logged() == [f"{number} CT1 H 192.0.2.1 lost", "5 4 1 10", "2.0 gone"]


def test_the_index_of_an_action_names_what_it_was_about(bench):
    bench.write("a.py", FORWARD)
    bench.start()
    bench.arrive()
    quiet(bench)
    bench.until_passed("a.py")
    (action,) = bench.rows(t.action)
    assert json.dumps(action.inputs["x"]) == json.dumps(bench.rows(t.instance)[0].study)


def test_a_delete_of_many_goes_on_in_units_and_over_a_restart(bench):
    bench.may("a.py", may=["delete"])
    bench.write("a.py", level_handler("host.delete(study, after=None)", event="on_stable_study", subject="study"))
    bench.start()
    bench.arrive(25)
    quiet(bench)
    bench.until_passed("a.py")
    assert (len(bench.rows(t.instance)), bench.rows(t.action)[0].state) == (15, "deleting")
    bench.arrive(1)  # came after the event
    assert go_on(bench.archive) == 2
    assert [row.sop_instance_uid for row in bench.rows(t.instance)] == ["1.2.3.4.26"]
    assert (bench.rows(t.action)[0].state, bench.rows(t.action)[0].result) == (
        "done",
        {"outcome": "deleted", "count": 25},
    )
    assert go_on(bench.archive) == 0


def test_the_history_of_an_instance_has_what_was_done_with_its_study(bench):
    bench.write("a.py", FORWARD)
    bench.start()
    one = bench.arrive(1)
    bench.arrive(1)
    quiet(bench)
    bench.until_passed("a.py")
    with bench.archive.read() as connection:
        told = history.of(connection, one)
    assert [each.event.kind for each in told.events] == ["stored_instance", "stable_study"]
    (action,) = told.events[1].runs[0].actions
    assert (action.verb, action.delivery.delivery.instance, told.others) == ("forward", one, ())
