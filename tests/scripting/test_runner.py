"""Every script sees every event, and the effects of one run enter exactly once (P2), with real jailed workers."""

import os
import signal
import threading
import time

import pytest
from scripts_kit import FORWARD, Fails, handler

from hostd.archive import cursors, scripts, states
from hostd.archive import tables as t
from hostd.archive.records import Origin
from hostd.errors import StorageError
from hostd.scripting import execution, lane

PRINT_UID = handler("print(instance.sop_instance_uid)")


def test_a_run_leaves_its_plan_its_log_and_what_it_read(bench):
    bench.write(
        "a.py",
        handler("print(instance.tags.Modality)", "host.log('careful', 'warning')", "host.forward(instance, to='ai')"),
    )
    bench.start()
    instance = bench.arrive()
    bench.until_passed("a.py")
    (run,) = bench.rows(t.run)
    assert (run.outcome, run.error, run.tags_read) == ("done", None, ["Modality"])
    assert run.log == [["info", "CT"], ["warning", "careful"]]
    (action,) = bench.rows(t.action)
    (delivery,) = bench.rows(t.delivery)
    assert (delivery.instance, delivery.destination, delivery.action, delivery.script) == (
        instance,
        "peer:ai",
        action.id,
        "a.py",
    )
    assert action.inputs["line"] == 4


def test_a_run_that_only_changed_its_state_leaves_no_row(bench):
    bench.start()
    bench.put("a.py", handler("host.state['n'] = host.state.get('n', 0) + 1"))
    bench.arrive(20)
    bench.until_passed("a.py")
    with bench.archive.read() as connection:
        assert states.get(connection, "a.py") == states.State(20, {"n": 20})
    assert bench.rows(t.run) == []


def test_runs_without_effect_that_wait_for_the_writer_are_noted_together(bench, monkeypatch):
    genuine_execute, genuine_note, runs, noted = lane.execute, cursors.advance_through, [], []

    def run(*arguments, **more):
        runs.append(1)
        return genuine_execute(*arguments, **more)

    def note(connection, script, token, steps):
        ends = time.monotonic() + 60
        while len(runs) < 20 and time.monotonic() < ends:  # the writer is busy for as long as the script runs
            time.sleep(0.01)
        noted.append(len(steps))
        return genuine_note(connection, script, token, steps)

    monkeypatch.setattr(lane, "execute", run)
    monkeypatch.setattr(lane.cursors, "advance_through", note)
    bench.may("a.py", start="beginning")
    bench.arrive(20)
    bench.write("a.py", handler("instance.tags.Modality"))
    bench.start()
    bench.until_passed("a.py")
    assert sum(noted) == len(runs) == 20
    assert len(noted) <= 3


def test_a_run_that_did_and_said_nothing_leaves_no_row(bench):
    bench.write("a.py", handler("instance.tags.Modality"))
    bench.start()
    bench.arrive(3)
    bench.until_passed("a.py")
    assert bench.rows(t.run) == []


def test_events_are_taken_in_order_and_each_once(bench):
    bench.write("a.py", PRINT_UID)
    bench.start()
    bench.arrive(150)
    bench.until_passed("a.py")
    assert bench.logged() == [f"1.2.3.4.{n}" for n in range(1, 151)]


def test_a_new_script_starts_at_now_or_at_the_beginning(bench):
    bench.arrive(2)
    bench.may("all.py", start="beginning")
    bench.write("all.py", PRINT_UID)
    bench.write("new.py", PRINT_UID)
    bench.start()
    bench.arrive()
    bench.until_passed("all.py")
    bench.until_passed("new.py")
    assert bench.logged("all.py") == ["1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"]
    assert bench.logged("new.py") == ["1.2.3.4.3"]


def test_a_restart_goes_on_where_it_stopped(bench):
    bench.write("a.py", PRINT_UID)
    bench.start()
    bench.arrive()
    bench.until_passed("a.py")
    bench.stop()
    bench.arrive(2)
    bench.start()
    bench.until_passed("a.py")
    assert bench.logged() == ["1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"]


def test_the_node_stops_after_the_run_that_is_going_on(bench, monkeypatch):
    begun, goes_on, real = threading.Event(), threading.Event(), lane.execute

    def execute(*arguments, **named):
        begun.set()
        assert goes_on.wait(60)
        return real(*arguments, **named)

    monkeypatch.setattr(lane, "execute", execute)
    bench.write("a.py", FORWARD)
    bench.start()
    bench.arrive(2)
    assert begun.wait(60)
    (one,) = bench.host._runners.values()
    stopping = threading.Thread(target=bench.stop)
    stopping.start()
    bench.until(lambda: one._stopping)
    goes_on.set()
    stopping.join(60)
    assert len(bench.rows(t.delivery)) == 1
    assert bench.known("a.py").state == "running", "it goes on at the next start"


# -- failures ---------------------------------------------------------------------------------------------------------

FAILS_ON_TWO = handler("if instance.sop_instance_uid == '1.2.3.4.2':", "    1 / 0", "print(instance.sop_instance_uid)")


def test_an_event_that_fails_is_parked_and_the_script_goes_on(bench):
    bench.write("a.py", FAILS_ON_TWO)
    bench.start()
    bench.arrive(3)
    bench.until_passed("a.py")
    assert bench.logged() == ["1.2.3.4.1", "1.2.3.4.3"]
    failed, parked = [run for run in bench.rows(t.run) if run.error]
    assert (failed.outcome, parked.outcome, failed.event) == ("failed", "parked", parked.event)
    assert parked.error == "ZeroDivisionError: division by zero (line 3)"


def test_failures_are_counted_over_restarts(bench, monkeypatch):
    monkeypatch.setattr(lane, "FIRST_PAUSE_S", 60.0)  # the first failure is the last before the restart
    bench.attempts = 3
    bench.write("a.py", handler("1 / 0"))
    bench.start()
    bench.arrive()
    bench.until(lambda: len(bench.rows(t.run)) == 1)
    bench.stop()
    assert len(bench.rows(t.run)) == 1
    monkeypatch.setattr(lane, "FIRST_PAUSE_S", 0.05)
    bench.start()
    bench.until_passed("a.py")
    assert [run.outcome for run in bench.rows(t.run)] == ["failed", "failed", "parked"]


def test_what_a_failed_run_asked_for_does_not_happen(bench):
    bench.write("a.py", handler("host.forward(instance, to='archive')", "print('said')", "1 / 0"))
    bench.start()
    bench.arrive()
    bench.until_passed("a.py")
    assert bench.rows(t.delivery) == bench.rows(t.action) == []
    assert bench.logged() == ["said", "said"]


def test_a_plan_that_cannot_be_carried_out_is_a_failure_with_the_line(bench):
    bench.may("a.py", may=["lossy"])
    bench.write("a.py", handler("host.transcode(instance, 'JPEG2000', near=1)"))
    bench.start()
    bench.arrive()
    bench.until_passed("a.py")
    assert {run.error.partition(" of ")[0] for run in bench.rows(t.run)} == {"line 2: near can be asked"}


def test_a_script_that_never_ends_is_killed_and_its_event_parked(bench):
    bench.may("a.py", time_limit_s=2)
    bench.write("a.py", handler("while instance.sop_instance_uid == '1.2.3.4.1': pass", "print('ended')"))
    bench.start()
    bench.arrive(2)
    bench.until_passed("a.py")
    *lost, done = bench.rows(t.run)
    assert [run.outcome for run in lost] == ["failed", "parked"]
    assert "killed after 2 s" in lost[0].error
    assert done.log == [["info", "ended"]]


def test_a_script_may_use_so_much_memory_and_no_more(bench):
    bench.may("a.py", memory_mb=96)
    bench.write("a.py", handler("x = 'x' * (200 << 20)"))
    bench.start()
    bench.arrive()
    bench.until_passed("a.py")
    assert "emory" in bench.rows(t.run)[0].error


def test_a_worker_that_is_killed_is_replaced_and_the_event_run_again(bench):
    bench.write("a.py", FORWARD)
    bench.start()
    bench.arrive()
    bench.until_passed("a.py")
    os.kill(bench.host._runners["a.py"]._running.worker.pid, signal.SIGKILL)
    bench.arrive()
    bench.until_passed("a.py")
    assert [run.outcome for run in bench.rows(t.run)] == ["done", "failed", "done"]
    assert len(bench.rows(t.delivery)) == 2


def test_one_scripts_trouble_does_not_delay_another(bench):
    bench.may("stuck.py", time_limit_s=20)
    bench.write("stuck.py", handler("while True: pass"))
    bench.write("works.py", FORWARD)
    bench.start()
    bench.arrive(5)
    bench.until_passed("works.py")
    assert len(bench.rows(t.delivery, script="works.py")) == 5
    for one in bench.host._runners.values():  # the node would wait for the limit; a test need not
        if one.name == "stuck.py":
            os.kill(one._running.worker.pid, signal.SIGKILL)


def test_limits_of_the_scripts_entry_apply(bench):
    bench.may("a.py", max_actions=2, log_kb=1, destinations=["modality:archive"], config={"n": 5})
    bench.write("a.py", handler(
        "try:", "    host.forward(instance, to='ai')", "except NotAllowed as error:", "    print(error)",
        "print(host.config['n'])", "for i in range(host.config['n']): host.forward(instance, to='archive')",
    ))  # fmt: skip
    bench.start()
    bench.arrive()
    bench.until_passed("a.py")
    run = bench.rows(t.run)[0]
    assert 'destinations = ["archive", "ai"] under [scripts."a.py"]' in run.log[0][1]
    assert run.log[1] == ["info", "5"]
    assert "TooManyActions" in run.error


# -- commits that fail ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [True, False], ids=["not committed", "committed without an answer"])
def test_a_run_whose_plan_could_not_be_committed_has_its_effects_once(bench, monkeypatch, before):
    bench.write("a.py", FORWARD)
    bench.start()
    fails = Fails(bench.archive, StorageError("the disk is full"), before=before).install(monkeypatch)
    bench.arrive(3)
    bench.until_passed("a.py")
    assert fails.failed.is_set()
    assert len(bench.rows(t.delivery)) == len(bench.rows(t.action)) == len(bench.rows(t.run)) == 3


def test_a_plan_that_the_index_refuses_is_parked_and_the_script_goes_on(bench, monkeypatch):
    bench.attempts = 1
    bench.write("a.py", FORWARD)
    bench.start()
    Fails(bench.archive, ValueError("odd"), before=True).install(monkeypatch)
    bench.arrive(2)
    bench.until_passed("a.py")
    parked, done = bench.rows(t.run)
    assert (parked.outcome, parked.error, done.outcome) == ("parked", "the plan could not be entered: odd", "done")


def test_an_event_that_hostd_itself_stumbles_over_is_parked(bench, monkeypatch):
    bench.attempts = 1
    bench.write("a.py", FORWARD)
    bench.start()
    seen, genuine = threading.Event(), execution.travelling

    def stumble(event):
        if not seen.is_set():
            seen.set()
            raise RuntimeError("a bug")
        return genuine(event)

    monkeypatch.setattr(execution, "travelling", stumble)
    bench.arrive(2)
    bench.until_passed("a.py")
    assert [run.error for run in bench.rows(t.run)] == ["hostd failed: RuntimeError: a bug", None]


def test_a_run_under_a_stale_token_is_discarded(bench, monkeypatch):
    # Otherwise the host, which notices within seconds, takes the script up again while this looks.
    monkeypatch.setattr("hostd.scripting.host.orders.decided", lambda _connection: ())
    begun, may_end, execute = threading.Event(), threading.Event(), lane.execute

    def hold(*arguments, **named):
        begun.set()
        assert may_end.wait(60)
        return execute(*arguments, **named)

    monkeypatch.setattr(lane, "execute", hold)
    bench.write("a.py", FORWARD)
    bench.start()
    bench.until(lambda: (known := bench.known("a.py")) and known.state == "running")
    bench.arrive()
    assert begun.wait(60)
    before = bench.known("a.py")
    with bench.archive.read() as connection:
        version = scripts.get_version(connection, "a.py", before.version)
    bench.archive.writer.do(lambda c: scripts.accept(c, "a.py", version, 1.0))
    may_end.set()
    bench.until(lambda: bench.host._runners["a.py"].version is None)
    assert bench.rows(t.delivery) == bench.rows(t.run) == []
    assert bench.known("a.py").cursor.low_water == before.cursor.low_water


# -- what plans mean --------------------------------------------------------------------------------------------------


def test_a_second_script_shares_an_open_delivery(bench):
    bench.write("a.py", FORWARD)
    bench.write("b.py", FORWARD)
    bench.start()
    bench.arrive()
    bench.until_passed("a.py")
    bench.until_passed("b.py")
    (delivery,) = bench.rows(t.delivery)
    assert sorted(action.result["absorbed"] for action in bench.rows(t.action)) == [False, True]
    assert {action.result["delivery"] for action in bench.rows(t.action)} == {delivery.id}


@pytest.mark.parametrize(("back", "sent"), [(False, 0), (True, 1)])
def test_nothing_goes_back_to_where_it_came_from_unless_asked(bench, back, sent):
    bench.write("a.py", handler(f"host.forward(instance, to='ct1', back={back})"))
    bench.start()
    bench.arrive(origin=Origin("dicom", calling_aet="CT1", modality="ct1"))
    bench.until_passed("a.py")
    assert len(bench.rows(t.delivery)) == sent
    (action,) = bench.rows(t.action)
    assert action.state == ("done" if back else "skipped")


def test_a_delete_at_once_hides_the_instance_and_keeps_what_is_on_its_way(bench):
    bench.may("a.py", may=["delete"])
    bench.write("a.py", handler("host.delete(instance, after=None)", "host.forward(instance, to='archive')"))
    bench.start()
    bench.arrive()
    bench.until(lambda: bench.rows(t.instance) == [] and bench.rows(t.delivery))
    bench.until_passed("a.py")
    assert [(a.verb, a.state) for a in bench.rows(t.action)] == [("delete", "done"), ("forward", "done")]
    kinds = [event.kind for event in bench.rows(t.event)]
    assert kinds[-4:] == ["deleted_instance", "deleted_series", "deleted_study", "deleted_patient"]


def test_a_delete_after_delivery_waits(bench):
    bench.may("a.py", may=["delete"])
    bench.write("a.py", handler("host.forward(instance, to='archive')", "host.delete(instance)"))
    bench.start()
    bench.arrive()
    bench.until_passed("a.py")
    (delete,) = bench.rows(t.action, verb="delete")
    (waits,) = bench.rows(t.waiting_delete)
    assert (delete.state, waits.delivery) == ("open", bench.rows(t.delivery)[0].id)
    assert len(bench.rows(t.instance)) == 1


def test_a_delete_after_named_deliveries_waits_for_those(bench):
    bench.may("a.py", may=["delete"])
    bench.write(
        "a.py",
        handler(
            "first = host.forward(instance, to='archive')",
            "host.forward(instance, to='ai')",
            "host.delete(instance, after=[first])",
        ),
    )
    bench.start()
    bench.arrive()
    bench.until_passed("a.py")
    (archive,) = bench.rows(t.delivery, destination="modality:archive")
    assert [waits.delivery for waits in bench.rows(t.waiting_delete)] == [archive.id]


def test_a_delete_after_delivery_of_what_was_never_sent_is_held(bench):
    bench.may("a.py", may=["delete"])
    bench.write("a.py", handler("host.delete(instance)"))
    bench.start()
    bench.arrive()
    bench.until_passed("a.py")
    (delete,) = bench.rows(t.action)
    assert delete.state == "held"
    assert "nothing was forwarded" in delete.result["reason"]
    assert len(bench.rows(t.instance)) == 1


def test_a_delete_needs_the_capability_and_the_refusal_names_the_line(bench):
    bench.write("a.py", handler("host.delete(instance)"))
    bench.start()
    bench.arrive()
    bench.until_passed("a.py")
    assert 'may = ["delete"] under [scripts."a.py"]' in bench.rows(t.run)[0].error
    assert len(bench.rows(t.instance)) == 1


# -- values that did not travel ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_a_large_value_is_fetched_when_it_is_read(bench):
    bench.write("a.py", handler("print(len(instance.tags.ImageComments), instance.tags.ImageComments[-3:])"))
    bench.start()
    bench.arrive(tags={"ImageComments": "x" * 100_000 + "end"})
    bench.until_passed("a.py")
    assert bench.logged() == ["100003 end"]


def test_a_value_over_a_mebibyte_is_too_large(bench):
    bench.write("a.py", handler("try:", "    instance.tags.PixelPaddingText", "except UnknownKeyword as error:", "    print('unknown')",
                                "try:", "    instance.tags.EncapsulatedDocument", "except ValueTooLarge as error:", "    print(error)"))  # fmt: skip
    bench.start()
    bench.arrive(tags={"EncapsulatedDocument": b"x" * ((1 << 20) + 2)})
    bench.until_passed("a.py")
    assert bench.logged()[0] == "unknown"
    assert "1 MiB" in bench.logged()[1]


def test_pixel_data_is_never_given(bench):
    bench.write(
        "a.py", handler("try:", "    instance.tags.PixelData", "except ValueError as error:", "    print(error)")
    )
    bench.start()
    bench.arrive(tags={"Rows": 1, "Columns": 1, "BitsAllocated": 8, "PixelRepresentation": 0, "PixelData": b"\1\0"})
    bench.until_passed("a.py")
    assert "pixel data is not given to scripts" in bench.logged()[0]


def test_a_file_that_is_gone_is_an_error_in_the_script(bench):
    bench.write(
        "a.py", handler("try:", "    instance.tags.ImageComments", "except ValueError as error:", "    print(error)")
    )
    bench.start()
    bench.until(lambda: (known := bench.known("a.py")) and known.state == "running")
    bench.stop()
    bench.arrive(tags={"ImageComments": "x" * 5000})
    bench.archive.blobs.unlink(bench.rows(t.blob)[0].name)
    bench.start()
    bench.until_passed("a.py")
    assert "the file cannot be read" in bench.logged()[0]
