"""What the fixture `hostd` gives: the true sandbox, every event, and peers that do as they are told."""

import pytest

from hostd.errors import ConfigurationError, ScriptError
from hostd.sandbox import api
from hostd.testing.peer import Peer


def body(*lines, handler="on_stored_instance(instance, host)"):
    return f"def {handler}:\n" + "".join(f"    {line}\n" for line in lines)


def test_a_script_runs_in_the_jail_of_a_node(hostd):
    with pytest.raises(ScriptError, match="os"):
        hostd.script("import os\n" + body("pass"))
    script = hostd.script(body("open('/etc/passwd')"))
    assert "NameError" in script.stored(hostd.instance()).error
    assert script._worker.layers["seccomp"]


def test_what_a_script_keeps_is_there_at_the_next_event(hostd):
    script = hostd.script(body("host.state['n'] = host.state.get('n', 0) + 1", "print(host.state['n'])"))
    assert [script.stored(hostd.instance()).log for _ in range(2)] == [("1",), ("2",)]
    assert script.state == {"n": 2}


def test_a_transcode_is_worked_out_and_nothing_else_is_found(hostd):
    lines = (
        "small = host.transcode(instance, 'j2k')",
        "print(small.size > 0, small.ratio > 0)",
        "print(host.find('study'))",
    )
    assert hostd.script(body(*lines)).stored(hostd.instance()).log == ("True True", "()")


def test_what_a_failed_run_asked_for_cannot_be_looked_at(hostd):
    run = hostd.script(body("host.forward(instance, to='archive')", "print(1 / 0)")).stored(hostd.instance())
    assert run.error == "ZeroDivisionError: division by zero (line 3)"
    with pytest.raises(AssertionError, match=r"on_stored_instance failed: ZeroDivisionError.*line 3"):
        assert run.sent_to == ()


def test_a_script_without_end_is_killed_and_the_next_event_finds_a_fresh_one(hostd):
    script = hostd.script(
        "seen = []\n"
        + body("seen.append(1)", "while instance.tags.Modality == 'MR':\n        pass", "print(len(seen))"),
        time_limit_s=2,
    )
    assert script.stored(hostd.instance()).log == ("1",)
    assert script.stored(hostd.instance()).log == ("2",)
    assert "killed after 2 s" in script.stored(hostd.instance(Modality="MR")).error
    assert script.stored(hostd.instance()).log == ("1",)


@pytest.mark.parametrize("handler", api.HANDLERS)
def test_every_event_can_be_raised(hostd, every_handler, handler):
    instances = (
        [hostd.instance(), hostd.instance()] if handler.endswith(("series", "study", "patient")) else [hostd.instance()]
    )
    run = every_handler.on(handler, *instances)
    assert run.error is None
    assert run.log == (handler,)


@pytest.fixture(scope="module")
def every_handler(tmp_path_factory):
    from hostd.testing.bench import Bench  # noqa: PLC0415 - as a script's author would for a fixture of a module

    def text(name, event):
        return body(f"print({name!r})", handler=f"{name}({'subject, ' if event.__struct_fields__ else ''}host)")

    with Bench(tmp_path_factory.mktemp("bench")) as bench:
        yield bench.script("".join(text(*one) for one in api.HANDLERS.items()))


def test_what_runs_by_the_clock_is_run_by_its_name(hostd):
    script = hostd.script("@every(minutes=10)\ndef look(host):\n    print(host.now().minute)\n")
    hostd.clock.advance(120)
    assert script.on("look").log == ("15",)
    assert script.warnings == ()


def test_an_event_tells_what_the_test_says(hostd):
    script = hostd.script(
        body("print(series.occurrence, series.count, [one.calling_aet for one in series.origins])", handler="on_stable_series(series, host)")
        + body("print(destination.name, destination.reason, host.now().hour)", handler="on_destination_down(destination, host)")
        + body("print(source.name)", handler="on_source_silent(source, host)")
    )  # fmt: skip
    assert script.on("stable_series", hostd.instance(calling_aet="CT1"), hostd.instance(), occurrence=3).log == (
        "3 2 ['MODALITY']",
    )
    hostd.clock.advance(3600)
    assert script.on("destination_down", destination="archive", reason="no answer").log == ("archive no answer 23",)
    assert script.on("source_silent", source="ct1").log == ("ct1",)


@pytest.mark.parametrize(
    ("kind", "told", "said"),
    [
        ("stored_thing", {}, "there is no event 'stored_thing'"),
        ("stored_instance", {"colour": 1}, "does not tell colour; it tells nothing besides"),
        ("stable_series", {"colour": 1}, "does not tell colour; it tells .*occurrence"),
        ("new_study", {}, "has no on_new_study; it has on_stored_instance, on_stable_series"),
    ],
)
def test_what_cannot_be_raised_is_said(hostd, kind, told, said):
    script = hostd.script(body("pass") + body("pass", handler="on_stable_series(series, host)"))
    with pytest.raises(ScriptError, match=said):
        script.on(kind, hostd.instance(), **told)
    with pytest.raises(ScriptError, match="give it some"):
        script.on("stored_instance")


def test_instances_are_what_the_test_says(hostd, tmp_path):
    made = hostd.instance(
        Modality="MR", PatientID=None, SliceThickness="1.5", syntax="j2k", calling_aet="MR1", sender="mr1"
    )
    script = hostd.script(
        body(
            "print(instance.tags.Modality, instance.tags.PatientID, instance.tags.SliceThickness, instance.transfer_syntax.keyword)",
            "print(instance.origin.calling_aet, instance.origin.modality, instance.has_pixels, instance.sop_class)",
        )
    )
    assert script.stored(made).log == ("MR None 1.5 JPEG2000Lossless", "MR1 mr1 True 1.2.840.10008.5.1.4.1.1.4")
    again = hostd.instance(made.file, PatientID="P2", syntax="explicit")
    assert script.stored(again).log[0] == "MR P2 1.5 ExplicitVRLittleEndian"
    assert script.stored(hostd.instance(Modality="SR")).log[1].startswith("MODALITY None False")
    with pytest.raises(ValueError, match="did you mean PatientName"):
        hostd.instance(PatientNam="X")


def test_what_a_script_may_do_is_said_as_in_the_configuration(hostd, tmp_path):
    lossy = body("host.forward(host.transcode(instance, 'JPEG2000', quality=80), to='archive')")
    assert "lossy" in hostd.script(lossy).stored(hostd.instance()).error
    assert hostd.script(lossy, may=["lossy"]).stored(hostd.instance()).forwards[0].syntax == "JPEG2000"
    with pytest.raises(ConfigurationError, match="may"):
        hostd.script(lossy, may=["fly"])
    file = tmp_path / "hostd.toml"
    file.write_text(
        '[modalities.pacs]\naet = "P"\nhost = "127.0.0.1"\nport = 104\n[scripts."r.py".config]\nlimit = 3\n'
    )
    file.chmod(0o600)
    (tmp_path / "r.py").write_text(body("host.forward(instance, to='pacs')", "print(host.config['limit'])"))
    run = hostd.script(tmp_path / "r.py", configuration=file).stored(hostd.instance())
    assert (run.sent_to, run.log) == (("pacs",), ("3",))


def test_filters_decide(hostd):
    script = hostd.script(
        body("return host.discard('twice') if destination == 'archive' else None", handler="filter_outgoing_instance(instance, destination, host)")
        + body("return host.refuse(403, 'no') if request.method == 'DELETE' else host.accept()", handler="filter_http_request(request, host)")
        + body("return instance.tags.Nothing", handler="filter_received_instance(instance, host)"),
        may=["filters"],
    )  # fmt: skip
    assert script.outgoing(hostd.instance(), to="archive").verdict == "discard"
    assert script.outgoing(hostd.instance(), to="ai").verdict == "accept"
    refused = script.requested("DELETE", "/instances/1", username="mary")
    assert (refused.verdict, refused.status, refused.reason) == ("refuse", 403, "no")
    failed = script.received(hostd.instance())
    assert (failed.verdict, failed.status) == ("refuse", 0xA700)
    assert "Nothing" in failed.error


def test_a_peer_takes_refuses_and_is_down_as_it_is_told(hostd, tmp_path):
    (tmp_path / "all.py").write_text(body("host.forward(instance, to='archive')"))
    peer = hostd.peer("ARCHIVE", accepts=["explicit"])
    port = peer.port
    peer.refuse(0xC123, when=lambda ds: ds.PatientID == "BAD")
    node = hostd.node(tmp_path / "all.py", destinations={"archive": peer})
    node.receive(hostd.instance(PatientID="BAD"), hostd.instance(PatientID="GOOD", syntax="j2k"))
    (got,) = peer.wait()
    assert (got.dataset.PatientID, got.transfer_syntax, got.calling_aet) == ("GOOD", "explicit", "HOSTD")
    node.until(lambda: "failed" in {one.state for one in node.deliveries()}, "one is refused for good")
    assert peer.refused >= 1
    peer.down()
    node.receive(hostd.instance(PatientID="LATER"))
    node.until(lambda: any(one.attempts or one.state == "waiting" for one in node.deliveries()), "it waits")
    peer.up()
    assert peer.port == port
    assert peer.wait(2)[-1].dataset.PatientID == "LATER"


def test_a_peer_that_got_less_says_how_much():
    with Peer() as peer, pytest.raises(AssertionError, match="got 0 of 2 instances"):
        peer.wait(2, timeout_s=0.01)


def test_what_pixels_come_to_is_that_of_the_file_or_of_what_it_was_made_of(hostd):
    lines = (
        "if instance.pixels is None:",
        "        return print('none')",
        "try:",
        "        p = instance.pixels",
        "        print(p.min, p.max, p.mean, sum(p.histogram), p.is_blank)",
        "except PixelsUnknown as why:",
        "        print(why)",
    )
    script = hostd.script(body(*lines))
    assert script.stored(hostd.instance()).log == ("0 225 56.25 256 False",)
    assert script.stored(hostd.instance(syntax="j2k")).log == ("0 225 56.25 256 False",)
    run = script.stored(hostd.instance(PixelData=bytes(512)))
    assert (run.log, run.tags_read) == (("0 0 0.0 256 True",), ("pixels",))
    assert script.stored(hostd.instance(Modality="SR")).log == ("none",)
    (why,) = script.stored(hostd.instance(BitsAllocated=64)).log
    assert why.startswith("the pixels cannot be read: BitsAllocated is 64")


def test_a_filter_that_asks_for_pixels_is_not_loaded_and_one_that_hides_it_is_told(hostd):
    with pytest.raises(ScriptError, match=r"line 2: a filter decides by the header.*in on_stored_instance"):
        hostd.script(body("it.pixels.min", handler="filter_received_instance(it, host)"), may=["filters"])
    helper = "def least(it):\n    return it.pixels.min\n"
    script = hostd.script(
        helper + body("least(instance)", handler="filter_received_instance(instance, host)"), may=["filters"]
    )
    assert script.received(hostd.instance()).error.startswith("PixelsUnknown: a filter decides by the header")


def test_what_other_archives_have_is_said_by_the_test(hostd):
    script = hostd.script(
        "def on_new_study(study, host):\n"
        "    for one in host.query('archive', 'study', PatientID=study.patient_id, StudyDate='2023*'):\n"
        "        print(one.StudyInstanceUID, one.StudyDate, one.Rows)\n"
        "        host.retrieve('archive', study=one.StudyInstanceUID)\n",
        may=["query", "retrieve"],
    )
    script.has["archive"] = [
        {"PatientID": "A", "StudyInstanceUID": "1.2", "StudyDate": "20230101", "Rows": "512"},
        {"PatientID": "B", "StudyInstanceUID": "1.3"},
    ]
    run = script.on("new_study", hostd.instance(PatientID="A"))
    assert run.log == ("1.2 20230101 None",), "what was not asked for is not said"
    ((modality, study, series, skipped),) = [(r.modality, r.study, r.series, r.skipped) for r in run.retrieves]
    assert (modality, study, series, skipped) == ("archive", "1.2", None, None)
    assert run.plan == ("retrieve study 1.2 from archive",)


def test_a_filter_of_queries_is_asked_about_one(hostd):
    script = hostd.script(
        "def filter_outgoing_find(query, modality, host):\n"
        "    if query.level == 'patient':\n"
        "        return host.refuse(0xA700, modality)\n"
        "    return host.accept(set={'PatientID': query.tags.PatientID + '*'})\n",
        may=["filters"],
    )
    assert script.queried("study", "archive", PatientID="4", StudyDate="2024-").set == {"PatientID": "4*"}
    refused = script.queried("patient", "archive")
    assert (refused.verdict, refused.reason) == ("refuse", "archive")
