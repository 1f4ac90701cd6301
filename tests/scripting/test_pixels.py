"""What a script is told of pixels: worked out by the codec processes when it asks, and recorded as what it read."""

import threading

import pytest
from scripts_kit import handler, resolve

from hostd.archive import events
from hostd.archive import tables as t
from hostd.archive.history import of
from hostd.archive.telling import plain
from hostd.config.sections import Script
from hostd.config.settings import Settings
from hostd.errors import CannotTranscodeError, CodecCrashedError
from hostd.sandbox.frames import PixelFacts
from hostd.scripting.configured import Configuration
from hostd.scripting.loading import Names, load_frame
from hostd.scripting.measuring import Measurements
from hostd.scripting.replay import Replayer
from hostd.scripting.runtime import ScriptWorker
from hostd.transcoding import public

FACTS = PixelFacts(0, 9, 4.5, (1, 2), 5, is_blank=False)
SAYS = (
    "try:",
    "    print(instance.pixels.max)",
    "except PixelsUnknown as unknown:",
    "    print(unknown)",
)
"""Lines of a handler: print the greatest value, or why it is not known."""


def pixels(*values, **more):
    """Return the elements of an image of one row, of 16 bits."""
    image = {
        "Rows": 1, "Columns": len(values), "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16,
        "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0,
        "PixelData": b"".join(value.to_bytes(2, "little") for value in values),
    }  # fmt: skip
    return image | more


class Measuring:
    """Stands in for the codec processes, and counts what it is asked."""

    def __init__(self, answer=FACTS):
        self.answer = answer
        self.files = []

    def __call__(self, file):
        self.files.append(file)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def measuring(bench):
    bench.measure = Measuring()
    bench.start()
    return bench.measure


def past(bench):
    with bench.archive.read() as connection:
        return events.latest(connection, ["stored_instance"], 5)


def replayed(bench, source):
    """Return what comes of a script on what was stored."""
    load = load_frame("a.py", source, Script(may=["delete"]), Names(["archive"]), resolve)
    replayer = Replayer(
        lambda: ScriptWorker.start(load), file_of=bench.archive.blobs.path, read=bench.archive.read, destinations=resolve,
        time_limit_s=60.0, script="a.py",
    )  # fmt: skip
    return [one.outcome for one in replayer.replay(past(bench))]


def test_the_codec_processes_tell_what_a_stored_image_comes_to(bench):
    bench.start()
    facts = "p = instance.pixels"
    shown = "print(p.min, p.max, p.mean, p.bin_width, sum(p.histogram), p.is_blank)"
    bench.put("a.py", handler(facts, shown))
    bench.arrive(tags=pixels(7, 4000, 2, 3))
    bench.arrive(tags=pixels(7, 7))
    bench.until_passed("a.py")
    assert bench.logged("a.py") == ["2 4000 1003.0 16 4 False", "7 7 7.0 1 2 True"]
    assert [row.error for row in bench.rows(t.run)] == [None, None]


def test_what_was_read_of_pixels_is_in_the_record_of_the_run(bench, measuring):
    bench.put("a.py", handler("print(instance.pixels.is_blank, instance.tags.Modality)"))
    identifier = bench.arrive(tags=pixels(1))
    bench.until_passed("a.py")
    (run,) = bench.rows(t.run)
    assert run.tags_read == ["pixels", "Modality"]
    assert run.asked == [{"verb": "pixels", "min": 0, "max": 9, "mean": 4.5, "is_blank": False}]
    with bench.archive.read() as connection:
        history = of(connection, identifier)
    told = {phi: plain([history], phi=phi)["instances"][0]["events"][0]["runs"][0] for phi in (True, False)}
    assert told[True]["asked"] == run.asked
    assert (told[False]["tags_read"], told[False]["asked"]) == (["pixels", "Modality"], ["pixels"])


def test_nothing_is_decoded_for_a_script_that_does_not_ask(bench, measuring):
    bench.put("a.py", handler("print(bool(instance.pixels), instance.has_pixels)"))
    bench.arrive(tags=pixels(1))
    bench.arrive()
    bench.until_passed("a.py")
    assert bench.logged("a.py") == ["True True", "False False"]
    assert measuring.files == []
    assert [(run.tags_read, run.asked) for run in bench.rows(t.run)] == [([], []), ([], [])]


def test_several_scripts_that_ask_cost_one_decode(bench, measuring):
    for name in ("a.py", "b.py"):
        bench.put(name, handler("instance.pixels.min", "print(instance.pixels.max)"))
    bench.arrive(tags=pixels(1))
    for name in ("a.py", "b.py"):
        bench.until_passed(name)
        assert bench.logged(name) == ["9"]
    assert len(measuring.files) == 1


@pytest.mark.parametrize(
    "error",
    [
        CannotTranscodeError("floating point pixel data is left as it is"),
        CodecCrashedError("the codec worker died on this file (ended by SIGSEGV)"),
        CodecCrashedError("the codec took longer than it may, and was ended"),
    ],
    ids=lambda error: str(error)[:20],
)
def test_a_script_can_catch_why_pixels_are_not_known(bench, measuring, error):
    measuring.answer = error
    bench.put("a.py", handler(*SAYS))
    bench.arrive(tags=pixels(1))
    bench.until_passed("a.py")
    assert bench.logged("a.py") == [f"the pixels cannot be read: {error}"]
    (run,) = bench.rows(t.run)
    assert (run.outcome, run.tags_read, run.asked) == ("done", ["pixels"], [{"verb": "pixels", "error": str(error)}])


def test_a_script_that_does_not_catch_it_fails_by_that_name(bench, measuring):
    measuring.answer = CannotTranscodeError("no decoder")
    bench.attempts = 1
    bench.put("a.py", handler("host.forward(instance, to='archive')", "instance.pixels.is_blank"))
    bench.arrive(tags=pixels(1))
    bench.until(lambda: bench.rows(t.run, outcome="parked"))
    (run,) = bench.rows(t.run, outcome="parked")
    assert run.error == "PixelsUnknown: the pixels cannot be read: no decoder (line 3)"
    assert bench.rows(t.delivery) == []


def test_a_file_that_is_gone_by_now_is_such_a_reason(bench, measuring):
    bench.arrive(tags=pixels(1))
    (event,) = past(bench)
    bench.put("a.py", handler(*SAYS, event="on_received_again"))
    bench.archive.blobs.path(event.blob).unlink()
    bench.count -= 1
    bench.arrive(tags=pixels(1))
    bench.until_passed("a.py")
    assert bench.logged("a.py") == ["the file cannot be read: what this event was about is no longer kept"]
    assert measuring.files == []


def test_instances_of_a_level_and_those_that_are_found_have_pixels_and_levels_have_none(bench, measuring):
    lines = (
        "print(study.first.pixels.max, [one.pixels.min for one in study.instances])",
        "print([one.pixels.mean for one in host.find('instance', StudyInstanceUID='1.2.3')])",
        "print([one.pixels.mean for found in host.find('study') for one in found.instances])",
        "print(hasattr(study, 'pixels'))",
    )
    bench.put("a.py", "def on_new_study(study, host):\n" + "".join(f"    {line}\n" for line in lines))
    bench.arrive(tags=pixels(1))
    bench.until_passed("a.py")
    assert bench.logged("a.py") == ["9 [0]", "[4.5]", "[4.5]", "False"]
    assert len(measuring.files) == 1


# -- rehearsal --------------------------------------------------------------------------------------------------------

DROPS = handler("if instance.pixels.is_blank:", "    host.delete(instance)")


def test_a_replay_finds_the_same_facts_and_says_when_the_file_is_gone(bench):
    bench.arrive(tags=pixels(5, 5))
    bench.arrive(tags=pixels(5, 6))
    before = replayed(bench, DROPS)
    assert [(one.plan, one.error, one.tags_read) for one in before] == [
        (("delete once all its deliveries have arrived",), None, ("pixels",)),
        ((), None, ("pixels",)),
    ]
    bench.archive.blobs.path(past(bench)[0].blob).unlink()
    gone, kept = replayed(bench, DROPS)
    assert gone.error.startswith("PixelsUnknown: the file cannot be read: what this event was about is no longer kept")
    assert (kept.plan, kept.error) == ((), None)


def test_a_rehearsal_has_the_limits_of_the_node(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(public, "measure", lambda file, **limits: asked.append((file, limits)) or FACTS)
    node = Configuration(Settings(transcoding={"memory_mb": 300, "time_limit_s": 7}), None)
    assert node.measure(tmp_path) == FACTS
    assert asked == [(tmp_path, {"memory_bytes": 300 << 20, "time_limit_s": 7.0})]


# -- once -------------------------------------------------------------------------------------------------------------


def test_those_who_ask_for_one_file_at_one_time_wait_for_one_decode(tmp_path):
    begun, go_on = threading.Event(), threading.Event()
    asked = []

    def slow(file):
        asked.append(file)
        begun.set()
        assert go_on.wait(60)
        return FACTS

    known = Measurements(slow)
    got = []
    threads = [threading.Thread(target=lambda: got.append(known(tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert begun.wait(60)
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert got == [FACTS] * 4
    assert asked == [tmp_path]


def test_only_what_was_asked_for_last_is_kept_and_no_failure(tmp_path):
    measured = Measuring()
    known = Measurements(measured, most=2)
    for name in ("a", "b", "a", "c", "a", "b"):
        known(tmp_path / name)
    assert [file.name for file in measured.files] == ["a", "b", "c", "b"]
    measured.answer = CodecCrashedError("killed")
    for _ in range(2):
        with pytest.raises(CodecCrashedError):
            known(tmp_path / "d")
    measured.answer = FACTS
    assert known(tmp_path / "d") == FACTS
