"""What a worker sends becomes a plan about this event's instance, or a script's error; never anything else."""

import json
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostd.archive import pending
from hostd.archive.plans import PlannedDelete, PlannedForward, PlannedTranscode
from hostd.archive.records import Blob, Event, Origin
from hostd.dicom import syntaxes
from hostd.errors import ConfigurationError, NotFoundError, ScriptError
from hostd.sandbox import frames
from hostd.sandbox.channel import encoded
from hostd.scripting.plan import as_frames_event, resolve
from hostd.scripting.travelling import travelling
from hostd.testing.made import header
from hostd.transcoding.receipt import Receipt
from hostd.transcoding.transform import RunTool, Transcode, Transform

J2K, J2K91 = syntaxes.JPEG2000_LOSSLESS.uid, syntaxes.JPEG2000.uid
HEADER = header()
HERE = HEADER.identity.instance


def event(**changes):
    facts = {
        "number": 7, "kind": "stored_instance", "subject": HERE, "blob": "node/one", "content": "c", "header": HEADER.encode(),
        "origin": Origin("dicom", calling_aet="CT1", modality="ct1"), "at": 1.7e9,
    }  # fmt: skip
    return Event(**(facts | changes))


def destinations(name):
    if name in {"archive", "ct1", "None"}:
        return f"modality:{name}"
    if name == "both":
        raise ConfigurationError("'both' is both a modality and a peer")
    raise NotFoundError(f"there is no destination {name!r}")


def tools(name, args):
    if name != "crop":
        raise ScriptError(f"there is no tool {name!r}")
    return RunTool(name, tuple(args))


def plan(*actions, **changes):
    return resolve(actions, event(**changes), destinations)


def test_an_event_becomes_what_the_worker_gets():
    sent = as_frames_event(event())
    assert (sent.id, sent.handler, sent.instance.id) == (7, "on_stored_instance", HERE)
    assert sent.instance.origin == frames.Origin("dicom", calling_aet="CT1", modality="ct1")
    assert sent.instance.transfer_syntax.keyword == "ExplicitVRLittleEndian"
    own = event(kind="start", subject="a.py", blob=None, header=None, origin=None)
    assert (own.handler, as_frames_event(own).instance) == ("on_start", None)


def test_a_receipt_goes_with_the_event_and_is_none_without_a_transcode():
    assert as_frames_event(event()).instance.receipt is None
    facts = Receipt(
        "made",
        "",
        "a",
        "b",
        "1.2.840.10008.1.2",
        J2K,
        codec="imagecodecs",
        verified_by="openjpeg",
        bytes_before=30,
        bytes_after=20,
    )
    sent = as_frames_event(event(receipt=facts.to_dict())).instance.receipt
    assert (sent.outcome, sent.reason, sent.codec, sent.ratio, sent.verified_by) == (
        "made",
        "",
        "imagecodecs",
        1.5,
        "openjpeg",
    )
    assert (sent.source_syntax.keyword, sent.result_syntax.keyword) == ("ImplicitVRLittleEndian", "JPEG2000Lossless")
    kept = as_frames_event(
        event(receipt=pending.kept(Blob("n/x", 7, "ab", "1.2.840.10008.1.2.1"), "why"))
    ).instance.receipt
    assert (kept.outcome, kept.reason, kept.ratio, kept.result_syntax.keyword) == (
        "kept original",
        "why",
        1.0,
        "ExplicitVRLittleEndian",
    )


def test_a_forward_of_the_instance_changes_nothing_on_the_way():
    (forward,) = plan(frames.Forward(HERE, "archive", priority="stat", not_before=5.0))
    assert (forward.destination, forward.transform, forward.skip) == ("modality:archive", "", None)
    assert (forward.priority, forward.not_before) == (30, 5.0)


def test_a_forward_of_a_handle_carries_the_transform():
    made, forward = plan(frames.Transcode(HERE, J2K), frames.Forward(0, "archive"))
    assert isinstance(made, PlannedTranscode)
    assert Transform.parse(forward.transform) == Transform.into(J2K)


def test_what_must_not_be_sent_unchanged_stays_so_along_a_chain_of_handles():
    actions = (
        frames.Transcode(HERE, J2K, or_original=False),
        frames.Transcode(0, syntaxes.EXPLICIT_LE.uid),
        frames.Forward(1, "archive"),
        frames.Forward(1, "archive", syntax=J2K),
    )
    *_, first, second = plan(*actions)
    assert Transform.parse(first.transform).is_strict
    assert Transform.parse(second.transform) == Transform.into(J2K, or_original=False)


def test_nothing_goes_back_to_where_it_came_from_unless_asked():
    (there,) = plan(frames.Forward(HERE, "ct1"))
    assert "came from modality:ct1" in there.skip
    (back,) = plan(frames.Forward(HERE, "ct1", back=True))
    assert back.skip is None
    (other,) = plan(frames.Forward(HERE, "None"), origin=Origin("dicom"))
    assert other.skip is None  # an unknown sender is not the modality that is called "None"


def test_content_that_was_refused_is_not_sent():
    (forward,) = plan(frames.Forward(HERE, "archive", back=True), blob=None)
    assert "refused" in forward.skip


@pytest.mark.parametrize("after", [None, "delivered"])
def test_a_delete_keeps_what_it_waits_for(after):
    (delete,) = plan(frames.Delete(HERE, after))
    assert delete.after == after


def test_a_delete_may_name_the_deliveries_before_it():
    *_, delete = plan(frames.Forward(HERE, "archive"), frames.Transcode(HERE, J2K), frames.Delete(HERE, [0]))
    assert delete.after == (0,)


BAD = {
    "no such destination": (frames.Forward(HERE, "nowhere", line=3), "line 3: there is no destination 'nowhere'"),
    "two destinations of that name": (frames.Forward(HERE, "both", line=3), "line 3: 'both' is both"),
    "another instance": (frames.Forward("other", "archive"), "only the instance of the event"),
    "a handle of nothing": (frames.Forward(0, "archive"), "not of this run"),
    "a negative handle": (frames.Forward(-1, "archive"), "not of this run"),
    "lossy by syntax": (frames.Transcode(HERE, J2K91), "JPEG2000 may lose information"),
    "loss without loss": (frames.Transcode(HERE, J2K, quality=80, line=3), "line 3: JPEG2000Lossless is lossless"),
    "loss without loss, not saying how much": (frames.Transcode(HERE, J2K, lossy=True), "JPEG2000Lossless is lossless"),
    "more than the best": (frames.Transcode(HERE, J2K91, quality=101, line=3), "line 3: quality is 101"),
    "two measures": (frames.Transcode(HERE, J2K91, quality=5, near=1), "exactly one"),
    "another's measure": (frames.Transcode(HERE, J2K91, near=1, line=3), "line 3: near can be asked of"),
    "a ratio of nothing": (frames.Transcode(HERE, J2K91, ratio=float("nan")), "ratio is nan"),
    "lossy on the way": (frames.Forward(HERE, "archive", syntax=J2K91), "may lose information"),
    "an unknown syntax": (frames.Transcode(HERE, "1.2.3"), "no transfer syntax has the UID"),
    "never": (frames.Forward(HERE, "archive", not_before=float("nan")), "is not a time"),
    "for ever": (frames.Forward(HERE, "archive", not_before=float("inf")), "is not a time"),
    "before all time": (frames.Forward(HERE, "archive", not_before=-1.0), "is not a time"),
    "a delivery that is none": (frames.Delete(HERE, [0]), "no delivery of this run"),
    "deleting something else": (frames.Delete("other"), "only the instance of the event"),
}


@pytest.mark.parametrize(("action", "reason"), BAD.values(), ids=BAD)
def test_what_cannot_be_carried_out_is_an_error_of_the_script(action, reason):
    with pytest.raises(ScriptError, match=reason):
        plan(action)


@pytest.mark.parametrize(
    ("asked", "step"),
    [
        ({"quality": 80}, Transcode(J2K91, quality=80)),
        ({"ratio": 12.5}, Transcode(J2K91, ratio=12.5)),
        ({"lossy": True}, Transcode(J2K91, quality=90)),
        ({"lossy": True, "quality": 7}, Transcode(J2K91, quality=7)),
        ({"quality": 80, "or_original": False}, Transcode(J2K91, quality=80)),
    ],
)
def test_what_is_to_lose_information_is_carried_out_as_it_was_asked(asked, step):
    _, forward = plan(frames.Transcode(HERE, J2K91, **asked), frames.Forward(0, "archive"))
    assert Transform.parse(forward.transform).steps == (step,)


def test_a_chain_of_handles_keeps_the_loss_and_what_came_after_it():
    *_, forward = plan(
        frames.Transcode(HERE, J2K, or_original=False), frames.Transcode(0, J2K91, quality=80), frames.Transcode(1, J2K),
        frames.Forward(2, "archive", syntax=syntaxes.EXPLICIT_LE.uid),
    )  # fmt: skip
    assert Transform.parse(forward.transform).steps == (
        Transcode(J2K91, quality=80), Transcode(syntaxes.EXPLICIT_LE.uid),
    )  # fmt: skip


def test_a_script_has_no_instance_to_act_upon_when_it_starts():
    with pytest.raises(ScriptError, match="only the instance of the event"):
        plan(frames.Delete("a.py"), kind="start", subject="a.py", header=None, blob=None)


NUMBERS = st.integers(-2, 4) | st.sampled_from([2**63, 2**64 - 1, -(2**63)])
SOURCES = st.sampled_from([HERE, "other", "", "a.py", "\0"]) | NUMBERS
UIDS = st.sampled_from([J2K, syntaxes.EXPLICIT_LE.uid, syntaxes.JPEG2000.uid, "1.2.3", "", "x" * 5000])
FLOATS = st.none() | st.floats()
LINES = st.integers(-(2**40), 2**40)
ACTIONS = st.one_of(
    st.builds(
        frames.Transcode, SOURCES, UIDS, quality=st.none() | NUMBERS | st.integers(1, 100), ratio=FLOATS, near=st.none() | NUMBERS,
        or_original=st.booleans(), lossy=st.booleans(), line=LINES,
    ),
    st.builds(frames.Transcode, SOURCES, UIDS, or_original=st.booleans()),
    st.builds(
        frames.Forward, SOURCES, st.sampled_from(["archive", "ct1", "both", "", "modality:archive", "\ud7ff"]),
        priority=st.sampled_from(["low", "normal", "high", "stat"]), not_before=FLOATS, syntax=st.none() | UIDS,
        again=st.booleans(), back=st.booleans(), line=LINES,
    ),
    st.builds(frames.RunTool, SOURCES, st.sampled_from(["crop", "rm", "", "\0"]), st.lists(st.text(max_size=3), max_size=3), LINES),
    st.builds(frames.Delete, st.sampled_from([HERE, "other"]), st.sampled_from([None, "delivered", "committed"]) | st.lists(NUMBERS)),
)  # fmt: skip
HONEST = st.sampled_from([
    frames.RunTool(HERE, "crop"), frames.Transcode(HERE, J2K), frames.Forward(HERE, "archive"), frames.Forward(0, "archive"),
])  # fmt: skip
"""Without some of these nearly every plan is refused, and what is entered would never be looked at."""
DECODER = msgspec.msgpack.Decoder(list[frames.Action])


@settings(max_examples=300, deadline=None)
@given(st.lists(HONEST | ACTIONS, max_size=6) | st.lists(HONEST, max_size=4), st.booleans())
def test_hostile_actions_become_a_plan_about_this_instance_or_an_error(actions, has_instance):
    sent = DECODER.decode(msgspec.msgpack.encode(actions))
    happened = event() if has_instance else event(header=None, blob=None, origin=None)
    try:
        planned = resolve(sent, happened, destinations, tools)
    except ScriptError:
        return
    assert has_instance or not planned
    assert [one.position for one in planned] == list(range(len(sent)))
    for one in planned:
        json.dumps(one.inputs, allow_nan=False)
        assert isinstance(one.inputs["x"], int) or one.inputs["x"] == HERE
        if isinstance(one, PlannedForward):
            assert one.destination in {"modality:archive", "modality:ct1"}
            transform = Transform.parse(one.transform)
            for step in transform.steps:
                if isinstance(step, Transcode):
                    assert syntaxes.by_uid(step.to).is_lossy == (step.options is not None)
                else:
                    assert isinstance(step, RunTool)
                    assert step.name == "crop"
        if isinstance(one, PlannedDelete) and isinstance(one.after, tuple):
            assert all(isinstance(planned[at], PlannedForward) and at < one.position for at in one.after)


def test_an_event_is_encoded_once_for_all_scripts_and_anew_when_its_row_says_more():
    row = event()
    told, body = travelling(row)
    assert (told, body) == (as_frames_event(row), encoded(as_frames_event(row)))
    assert travelling(row)[1] is body
    changed = replace(row, subject="another")
    assert travelling(changed)[0].instance.id == "another"
