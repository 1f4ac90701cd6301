"""`host.run_tool`: only what the configuration gives, checked in the worker and again by the host."""

import re

import pytest
from scripts_kit import handler

from hostd.archive.plans import PlannedForward, PlannedTool
from hostd.archive.records import Event, Origin
from hostd.config import tools as config
from hostd.dicom.syntaxes import JPEG2000_LOSSLESS
from hostd.errors import ScriptError
from hostd.sandbox import frames
from hostd.scripting.honesty import dishonest
from hostd.scripting.plan import resolve
from hostd.scripting.rehearsal import sentence
from hostd.scripting.runtime import ScriptWorker
from hostd.scripting.vocabulary import vocabulary
from hostd.testing.made import header
from hostd.transcoding.tool import configured, step_of
from hostd.transcoding.transform import RunTool, Transcode, Transform

HEADER = header()
HERE = HEADER.identity.instance
KEYWORDS, SYNTAXES, LOSSLESS_OF = vocabulary()
TOOLS = configured({
    "crop": config.Tool(command=("/bin/crop", "{input}", "{output}", "{args}"), args=("[0-9]+", "--[a-z]+")),
    "gdcmconv": config.Tool(command=("/bin/gdcmconv", "{input}", "{output}"), encodes=("j2k",)),
})  # fmt: skip


def load(source, **changes):
    facts = {
        "name": "x.py", "source": source, "keywords": KEYWORDS, "syntaxes": SYNTAXES, "lossless_of": LOSSLESS_OF,
        "destinations": ["archive"], "known_destinations": ["archive"], "may": ["tools"], "tools": list(TOOLS),
    }  # fmt: skip
    return frames.Load(**(facts | changes))


def event():
    instance = frames.Instance(
        id=HERE, sop_instance_uid="1.1", sop_class="1.2", series_instance_uid="1.3", study_instance_uid="1.4", patient_id="p",
        transfer_syntax=SYNTAXES["explicit"], has_pixels=True, frames=1, size=9, origin=frames.Origin("dicom"), tags=frames.packed({}),
    )  # fmt: skip
    return frames.Event(1, "on_stored_instance", 1.7e9, instance)


def ran(line, **changes):
    worker = ScriptWorker.start(load(handler(line), **changes))
    try:
        return worker.run(event(), time_limit_s=60.0, answer=lambda question: frames.Answer(question.id))
    finally:
        worker.stop()


def planned(*actions):
    happened = Event(7, "stored_instance", HERE, "n/one", "c", HEADER.encode(), Origin("dicom"), 1.7e9)
    return resolve(actions, happened, lambda name: f"modality:{name}", lambda name, args: step_of(TOOLS, name, args))


def test_a_tool_gives_a_handle_that_can_be_forwarded():
    result = ran("host.forward(host.run_tool('crop', instance, ['17']), to='archive')")
    assert result.failure is None
    tool, forward = planned(*result.actions)
    assert isinstance(tool, PlannedTool)
    assert Transform.parse(forward.transform).steps == (RunTool("crop", ("17",)),)
    assert "crop" in sentence(tool)
    assert sentence(forward) == "forward to modality:archive, after crop, or not at all"


def test_tools_and_transcodes_make_a_chain():
    actions = (
        frames.RunTool(HERE, "crop", ["--x"]), frames.Transcode(0, JPEG2000_LOSSLESS.uid), frames.RunTool(1, "gdcmconv"),
        frames.Forward(2, "archive"),
    )  # fmt: skip
    *_, forward = planned(*actions)
    assert isinstance(forward, PlannedForward)
    transform = Transform.parse(forward.transform)
    assert transform.steps == (
        RunTool("crop", ("--x",)), Transcode(JPEG2000_LOSSLESS.uid), RunTool("gdcmconv", makes=JPEG2000_LOSSLESS.uid),
    )  # fmt: skip
    assert transform.required == transform  # P7: nothing of it may be left out
    assert transform.syntax_of("1.2.3") == JPEG2000_LOSSLESS.uid


REFUSED = {
    "without the capability": ("host.run_tool('crop', instance)", {"may": []}, "NotAllowed", r'may = \["tools"\]'),
    "a tool that is not there": ("host.run_tool('corp', instance)", {}, "ValueError", "did you mean crop"),
    "no text for a name": ("host.run_tool(5, instance)", {}, "TypeError", "a tool is named by a text, not 5"),
    "one text for a list": ("host.run_tool('crop', instance, '17')", {}, "TypeError", "list of texts"),
    "numbers for texts": ("host.run_tool('crop', instance, [17])", {}, "TypeError", "list of texts"),
    "too many": ("host.run_tool('crop', instance, ['1'] * 11)", {}, "ValueError", "up to 10"),
    "something else": ("host.run_tool('crop', 'x')", {}, "TypeError", "takes an instance or the handle"),
}


@pytest.mark.parametrize(("line", "facts", "kind", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_script_is_told_what_it_may_not(line, facts, kind, reason):
    failure = ran(line, **facts).failure
    assert failure.type == kind
    assert failure.line == 2
    assert re.search(reason, failure.message)


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (frames.RunTool(HERE, "crop", ["-rf"], 3), "line 3: the tool crop may not be given the argument '-rf'"),
        (frames.RunTool(HERE, "gdcmconv", ["17"], 3), "line 3: .*may not be given"),
        (frames.RunTool(HERE, "rm", [], 3), "line 3: there is no tool 'rm'"),
        (frames.RunTool("other", "crop", [], 3), "line 3: only the instance of the event"),
        (frames.RunTool(0, "crop", [], 3), "line 3: the handle is not of this run"),
        (frames.RunTool(HERE, "crop", ["1"] * 99, 3), "line 3: .*up to 10 arguments"),
    ],
)
def test_the_host_trusts_no_action_that_a_worker_sends(action, reason):
    with pytest.raises(ScriptError, match=reason):
        planned(action)


def test_a_node_without_tools_refuses_them():
    happened = Event(7, "stored_instance", HERE, "n/one", "c", HEADER.encode(), Origin("dicom"), 1.7e9)
    with pytest.raises(ScriptError, match="the configuration has none"):
        resolve([frames.RunTool(HERE, "crop")], happened, str)


@pytest.mark.parametrize("changes", [{"may": []}, {"tools": []}])
def test_a_worker_that_takes_what_its_script_may_not_is_dishonest(changes):
    result = frames.Result(1, [frames.RunTool(HERE, "crop")], [], [])
    assert dishonest(result, event(), load("", **changes), set()) == "an action that this script may not take (runtool)"
    assert dishonest(result, event(), load(""), set()) is None
