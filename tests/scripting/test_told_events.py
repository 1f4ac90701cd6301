"""Events about deliveries, destinations, scripts and the node, as scripts see them; and what scripts tell people."""

from scripts_kit import FORWARD, KNOWN, arrive, handler, resolve

from hostd.archive import deliveries, events, jobs, leases, notices, occurrences
from hostd.archive import tables as t
from hostd.archive.records import Attempt
from hostd.config.sections import Script
from hostd.scripting.loading import Names, load_frame
from hostd.scripting.plan import MAX_HOPS
from hostd.scripting.rehearsal import rehearse
from hostd.scripting.replay import Replayer
from hostd.scripting.runtime import ScriptWorker

SYNTAX = "1.2.840.10008.1.2.1"
FAILED = "def on_delivery_failed(delivery, host):\n    "


def finish(bench, outcome="failed", answer="0xC000 (no)", status=0xC000):
    """End the delivery that waits, as a courier would."""
    (number,) = [row.id for row in bench.rows(t.delivery) if row.state == "waiting"]

    def end(connection):
        now = bench.archive.clock.now()
        destination = deliveries.get(connection, number).destination
        token = leases.acquire(connection, f"destination:{destination}", "node", now, 60)
        deliveries.claim(connection, destination, token, now, 10)
        assert deliveries.finish(connection, Attempt(number, 1, now, outcome, answer, status, 0.1, SYNTAX), token)

    bench.archive.writer.do(end, topics=("event",))
    return number


def channels(bench, **phi):
    """Have the node have these channels, and the script all of them."""
    bench.entries["x.py"] = Script(channels=tuple(phi))
    bench.host.reconfigure(bench.entries, Names(sorted(KNOWN), channels=phi))


def notified(bench):
    with bench.archive.read() as connection:
        return [one.text for one in reversed(notices.listing(connection))]


def test_a_script_sees_how_a_delivery_ended_with_the_instance_as_it_was(bench):
    bench.start()
    bench.put("forward.py", FORWARD)
    bench.put(
        "x.py",
        FAILED + "host.log((delivery.id, delivery.destination, delivery.state, delivery.answer, delivery.status, "
        "delivery.attempts, delivery.sent_syntax.keyword, delivery.script, delivery.instance.tags.Modality))\n"
        "def on_delivery_done(delivery, host):\n    host.log(f'{delivery.state} {delivery.instance.sop_instance_uid}')\n",
    )
    bench.arrive()
    bench.until(lambda: bench.rows(t.delivery))
    number = finish(bench)
    expected = f"({number}, 'archive', 'failed', '0xC000 (no)', 49152, 1, 'ExplicitVRLittleEndian', 'forward.py', 'CT')"
    bench.until(lambda: bench.logged("x.py") == [expected])
    bench.arrive()
    bench.until(lambda: len(bench.rows(t.delivery)) == 2)
    finish(bench, "warning", "0xB000", 0xB000)
    bench.until(lambda: bench.logged("x.py")[1:] == ["warning 1.2.3.4.2"])


def test_a_script_may_send_elsewhere_what_failed_and_a_chain_of_failures_ends(bench):
    bench.start()
    bench.put("x.py", FORWARD + FAILED + "host.forward(delivery.instance, to='ai')\n")
    bench.arrive()
    for count in range(MAX_HOPS):
        bench.until(lambda count=count: len(bench.rows(t.delivery)) == count + 1)
        finish(bench)
    bench.until_passed("x.py")
    ended = [row for row in bench.rows(t.action) if row.state == "skipped"]
    assert len(bench.rows(t.delivery)) == MAX_HOPS
    assert "followed from one another" in ended[0].result["reason"]


def test_the_configuration_says_after_how_many_hops_a_chain_ends(bench):
    bench.max_hops = 2
    bench.start()
    bench.put("x.py", FORWARD + FAILED + "host.forward(delivery.instance, to='ai')\n")
    bench.arrive()
    for count in range(2):
        bench.until(lambda count=count: len(bench.rows(t.delivery)) == count + 1)
        finish(bench)
    bench.until_passed("x.py")
    (ended,) = [row for row in bench.rows(t.action) if row.state == "skipped"]
    assert len(bench.rows(t.delivery)) == 2
    assert (
        ended.result["reason"]
        == "2 acts of scripts followed from one another already, and nothing follows from this one"
    )


def test_other_events_reach_scripts_with_what_they_tell(bench):
    bench.start()
    bench.put(
        "x.py",
        "def on_destination_down(d, host):\n    host.log(('down', d.name, d.reason, d.since == host.now()))\n"
        "def on_destination_up(d, host):\n    host.log(('up', d.name, d.reason))\n"
        "def on_disk_low(d, host):\n    host.log(('low', d.free_mb, d.limit_mb))\n"
        "def on_disk_recovered(d, host):\n    host.log(('room', d.free_mb))\n"
        "def on_source_silent(s, host):\n    host.log(('silent', s.name, s.since.year))\n"
        "def on_transcode_failed(f, host):\n    host.log(('codec', f.reason, f.during, f.instance.tags.Modality))\n",
    )
    identifier = bench.arrive()
    (row,) = bench.rows(t.instance)

    def happen(connection):
        now = bench.archive.clock.now()
        occurrences.destination_down(connection, "modality:archive", "no route", now)
        occurrences.destination_down(connection, "modality:archive", "no route", now)
        occurrences.destination_up(connection, "modality:archive", now)
        occurrences.destination_up(connection, "modality:archive", now)
        occurrences.disk_low(connection, 5, 10, now)
        occurrences.disk_recovered(connection, 50, 10, now)
        occurrences.watch_source(connection, "ct1", now - 7200, 3600, now)
        occurrences.watch_source(connection, "ct1", now - 7200, 3600, now + 3601)
        occurrences.transcode_failed(
            connection, identifier, now, content=row.received_sha256, blob=row.blob, reason="odd", during="ingest"
        )

    bench.archive.writer.do(happen, topics=("event",))
    bench.until_passed("x.py")
    assert bench.logged("x.py") == [
        "('down', 'archive', 'no route', True)",
        "('up', 'archive', 'no route')",
        "('low', 5, 10)",
        "('room', 50)",
        f"('silent', 'ct1', {_year(bench)})",
        "('codec', 'odd', 'ingest', 'CT')",
    ]


def _year(bench):
    from datetime import UTC, datetime  # noqa: PLC0415

    return datetime.fromtimestamp(bench.archive.clock.now(), UTC).year


def test_a_parked_event_is_told_and_a_script_that_fails_at_that_does_not_go_round(bench):
    bench.start()
    bench.archive.writer.do(lambda c: notices.configure(c, ["default"]))
    bench.put("bad.py", handler("raise ValueError('Muster^Max')"))
    bench.put(
        "x.py",
        "def on_script_parked(parked, host):\n"
        "    host.log((parked.name, parked.handler, parked.event is not None, parked.reason))\n    1 / 0\n",
    )
    bench.arrive()
    bench.until(lambda: [row.outcome for row in bench.rows(t.run, script="x.py")][-1:] == ["parked"])
    assert bench.logged("x.py")[0] == "('bad.py', 'on_stored_instance', True, 'ValueError: Muster^Max (line 2)')"
    bench.until_passed("x.py")
    assert [row.subject for row in bench.rows(t.event, kind="script_parked")] == ["bad.py"]
    assert len(notified(bench)) == 2
    assert not any("Muster" in text for text in notified(bench))


def test_a_past_delivery_can_be_replayed(bench):
    bench.start()
    bench.put("forward.py", FORWARD)
    bench.arrive()
    bench.until(lambda: bench.rows(t.delivery))
    finish(bench)
    source = FAILED + "host.forward(delivery.instance, to='ai')\n"
    with bench.archive.read() as connection:
        past = events.latest(connection, ["delivery_failed"], 10)
    replayer = Replayer(
        lambda: ScriptWorker.start(load_frame("x.py", source, Script(), Names(["archive", "ai"]), resolve)),
        file_of=bench.archive.blobs.path, read=bench.archive.read, destinations=resolve, time_limit_s=60.0,
    )  # fmt: skip
    (replayed,) = replayer.replay(past)
    assert replayed.outcome.plan == ("forward to peer:ai",)


def test_every_such_event_can_be_rehearsed(tmp_path, archive):
    from hostd.scripting.situations import EXAMPLES  # noqa: PLC0415

    source = "".join(f"def on_{kind}(x, host):\n    host.log(repr(x))\n" for kind in EXAMPLES)
    worker = ScriptWorker.start(load_frame("x.py", source, Script(), Names(["archive"]), resolve))
    arrive(archive, "1.2.3.4.5")
    (file,) = (archive.blobs.path(name) for name in archive.blobs.names())
    try:
        for kind in EXAMPLES:
            shown = rehearse(worker, file, kind=kind, now=1.7e9, destinations=resolve, time_limit_s=60.0)
            assert (shown.error, len(shown.log)) == (None, 1)
    finally:
        worker.stop()


# -- notify


def test_a_script_tells_people_by_a_channel_that_it_is_given_and_by_no_other(bench):
    bench.start()
    channels(bench, ops=False)
    bench.host.reconfigure(bench.entries, Names(sorted(KNOWN), channels={"ops": False, "boss": False}))
    bench.put(
        "x.py",
        "def on_stored_instance(instance, host):\n"
        "    for name in ('ops', 'boss', 'opps'):\n"
        "        try:\n            host.notify(name, f'{instance.tags.Modality} came')\n"
        "        except (NotAllowed, ValueError) as error:\n            host.log(error)\n",
    )
    bench.arrive()
    bench.until_passed("x.py")
    refused, unknown = bench.logged("x.py")
    assert 'channels = ["ops", "boss"] under [scripts."x.py"]' in refused
    assert "did you mean ops?" in unknown
    assert notified(bench) == ["CT came"]
    (action,) = bench.rows(t.action)
    assert (action.verb, action.state) == ("notify", "done")


def test_at_most_every_holds_back_by_key_and_the_action_says_so(bench):
    bench.start()
    channels(bench, ops=False)
    bench.put("x.py", handler("host.notify('ops', f'{instance.size}', key='k', at_most_every=3600)"))
    bench.arrive(2)
    bench.until_passed("x.py")
    assert len(notified(bench)) == 1
    first, second = bench.rows(t.action)
    assert (first.state, second.state) == ("done", "skipped")
    assert "at most one of this key every 3600 s" in second.result["reason"]


def test_no_patient_data_goes_to_a_channel_without_phi(bench):
    bench.start()
    channels(bench, ops=False, ward=True)
    bench.put(
        "x.py",
        FORWARD + FAILED + "for name in ('ops', 'ward'):\n        host.notify(name, delivery.answer)\n"
        "def on_received_again(instance, host):\n"
        "    for name in ('ops', 'ward'):\n        host.notify(name, instance.tags.PatientName.family_name[::-1])\n",
    )
    bench.arrive(tags={"PatientName": "Muster^Max", "PatientID": "4711"})
    bench.until(lambda: bench.rows(t.delivery))
    finish(bench, answer="0xC000 (MUSTER, Max (4711) is unknown)")
    bench.until(lambda: len(notified(bench)) == 2)
    assert notified(bench) == ["0xC000 ([…], […] ([…]) is unknown)", "0xC000 (MUSTER, Max (4711) is unknown)"]
    bench.count = 0
    bench.arrive(tags={"PatientName": "Muster^Max", "PatientID": "4711"})
    bench.until(lambda: len(notified(bench)) == 4)
    left_out, kept = notified(bench)[2:]
    assert "retsuM" not in left_out
    assert "PatientName" in left_out
    assert kept == "retsuM"


def test_scripts_of_both_spellings_are_told_of_jobs(bench):
    bench.start()
    said = "(job.type, job.state, job.error_code, job.reason, job.content, job.user_data, job.priority)"
    bench.put(
        "x.py",
        "".join(
            f"def on_job_{what}(job, host):\n    host.log(('{what}', *{said}))\n"
            for what in ("submitted", "succeeded", "failed")
        ),
    )
    bench.put(
        "y.py", "def OnJobSubmitted(jobId):\n    print(jobId)\ndef OnJobFailure(jobId):\n    print('failed', jobId)\n"
    )
    now = bench.archive.clock.now()

    def happen(connection):
        one = jobs.submit(connection, "Archive", {}, now, content={"a": [1]}, user_data="mine", priority=2)
        two = jobs.submit(connection, "Archive", {}, now)
        for _ in range(2):
            job = jobs.claim(connection, "node", now, jobs.Hands(["Archive"]))
            jobs.succeed(connection, job, now) if job.id == one else jobs.fail(connection, job, now, 9, "no route")
        return one, two

    one, two = bench.archive.writer.do(happen, topics=("event",))
    for script in ("x.py", "y.py"):
        bench.until_passed(script)
    assert bench.logged("x.py") == [
        "('submitted', 'Archive', 'pending', 0, '', {'a': [1]}, 'mine', 2)",
        "('submitted', 'Archive', 'pending', 0, '', {}, None, 0)",
        "('succeeded', 'Archive', 'success', 0, '', {'a': [1]}, 'mine', 2)",
        "('failed', 'Archive', 'failure', 9, 'no route', {}, None, 0)",
    ]
    assert bench.logged("y.py") == [one, two, f"failed {two}"]
