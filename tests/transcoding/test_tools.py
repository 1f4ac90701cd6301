"""An external tool is believed nothing: what it leaves is a result only when it stands up, and the original is never touched."""

import os
import socket
import threading

import pydicom
import pytest
from processes import has_ended
from pydicom.uid import generate_uid
from transcoding_images import EXPLICIT, J2K, shipped

from hostd.config import tools as config
from hostd.dicom import syntaxes
from hostd.dicom.syntaxes import EXPLICIT_LE, JPEG2000, JPEG2000_LOSSLESS, RLE_LOSSLESS
from hostd.errors import CannotTranscodeError, CodecCrashedError, ToolError, TranscodeError, WrongPixelsError
from hostd.transcoding.options import EncodeOptions
from hostd.transcoding.pool import CodecPool
from hostd.transcoding.receipt import Receipt
from hostd.transcoding.tool import configured
from hostd.transcoding.tools import Tools
from hostd.transcoding.transcoder import Transcoder

GOOD = 'cp "$GOOD" "$2"'


@pytest.fixture(scope="module")
def codecs():
    pool = CodecPool(workers=1)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def good(codecs, tmp_path_factory):
    """CT_small.dcm as an honest codec would give it in JPEG 2000."""
    result = tmp_path_factory.mktemp("prepared") / "good.dcm"
    codecs.transcode(shipped("CT_small.dcm"), JPEG2000_LOSSLESS, result)
    return result


class Bench:
    """A file of the archive, and tools that are shell scripts of one line: $1 is their input, $2 their output."""

    def __init__(self, folder, codecs, good):
        self.codecs = codecs
        self.good = good
        self.folder = folder / "tools"
        self.prepared = folder / "prepared"
        self.prepared.mkdir()
        self.source = folder / "source.dcm"
        self.source.write_bytes(shipped("CT_small.dcm").read_bytes())
        self.before = self.source.read_bytes()
        self.result = folder / "result.dcm"
        self.made = []

    def tools(self, line, name="x", **facts):
        line = line.replace("$GOOD", str(self.good)).replace("$PREPARED", str(self.prepared))
        words = ["/bin/sh", "-c", line, "tool", "{input}", "{output}", *facts.pop("words", [])]
        facts = {"reads": [self.good.parent, self.prepared], **facts}
        entry = config.Tool(command=tuple(words), **facts)
        tools = Tools(configured({name: entry}), self.folder, self.codecs, at_once=2)
        self.made.append(tools)
        return tools

    def recode(self, line, *, target=JPEG2000_LOSSLESS, may_be_unverified=True, **facts):
        tools = self.tools(line, **{"encodes": [target.uid], **facts})
        return tools.recode(tools.all["x"], self.source, target, self.result, may_be_unverified=may_be_unverified)

    def run(self, line, *args, **facts):
        return self.tools(line, **facts).run("x", args, self.source, self.result)

    def prepare(self, change=None, of=None, name="made.dcm"):
        ds = pydicom.dcmread(of or self.good)
        if change:
            change(ds)
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        ds.save_as(self.prepared / name)
        return f'cp "$PREPARED/{name}" "$2"'

    def close(self):
        for tools in self.made:
            tools.close()
        assert self.source.read_bytes() == self.before, "the original was touched"
        if self.folder.exists():
            assert list(self.folder.iterdir()) == [], "a temporary folder was left"


@pytest.fixture
def bench(tmp_path, codecs, good):
    made = Bench(tmp_path, codecs, good)
    yield made
    made.close()


def set_to(**elements):
    def change(ds):
        for keyword, value in elements.items():
            setattr(ds, keyword, value)

    return change


def other_pixels(ds):
    ds.PixelData = bytes([ds.PixelData[0] ^ 1]) + ds.PixelData[1:]


# -- as a codec


def test_a_result_that_stands_up_has_a_receipt_as_any_transcode(bench):
    receipt = bench.recode(GOOD)
    assert (receipt.outcome, receipt.codec, receipt.verified_by) == ("made", "tool:x", "pixels and elements compared")
    assert receipt.pixel_hash_before == receipt.pixel_hash_after != ""
    assert (receipt.source_syntax, receipt.result_syntax) == (EXPLICIT, J2K)
    assert receipt.bytes_after == bench.result.stat().st_size
    assert bench.result.read_bytes() == bench.good.read_bytes()
    assert receipt.codec_version.startswith("sha256 ")


BAD = {
    "hangs": ("sleep 600", {"time_limit_s": 0.3}, "took longer than 0.3 s"),
    "hangs with children": ("sleep 600 & sleep 600 & wait", {"time_limit_s": 0.3}, "took longer"),
    "floods its output": ("head -c 30000000 /dev/zero | tr '\\0' x; exit 3", {}, "exit status 3"),
    "writes nothing": ("true", {}, "left no result"),
    "writes an empty file": (': > "$2"', {}, "is empty"),
    "writes garbage": ('head -c 5000 /dev/urandom > "$2"', {}, "cannot be used"),
    "leaves a symbolic link": ('ln -s "$GOOD" "$2"', {}, "symbolic link"),
    "leaves a folder": ('mkdir "$2"', {}, "no file"),
    "leaves a pipe": ('mkfifo "$2"', {}, "no file"),
    "leaves a file nobody may read": (GOOD + '; chmod 000 "$2"; mkdir -p d/e; chmod 000 d; exit 5', {}, "exit status 5"),
    "fails and leaves a good file": (GOOD + "; exit 1", {}, "exit status 1"),
    "dies": ("kill -ABRT $$", {}, "SIGABRT"),
    "writes a file too large": ('exec head -c 3000000 /dev/zero > "$2"', {"max_output_mb": 1}, "max_output_mb"),
    "fills the disk": (
        'n=0; while :; do n=$((n+1)); head -c 900000 /dev/zero > "f$n"; sleep 0.02; done', {"max_output_mb": 1}, "wrote more than",
    ),
    "gives back its input": ('cp "$1" "$2"', {}, "not in JPEG 2000 Lossless"),
    "is cut off": ('head -c 4000 "$GOOD" > "$2"', {}, "cannot be used"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "facts", "reason"), BAD.values(), ids=BAD)
def test_a_tool_that_misbehaves_is_a_clear_error_and_leaves_nothing(bench, line, facts, reason):
    with pytest.raises(ToolError, match=reason) as caught:
        bench.recode(line, **facts)
    assert str(caught.value).startswith("the tool x: ")
    assert len(str(caught.value)) < 600
    assert not bench.result.exists()


LIES = {
    "another patient's file": (set_to(PatientID="OTHER"), "another instance"),
    "another instance": (set_to(SOPInstanceUID="1.2.3"), "another instance"),
    "another class": (set_to(SOPClassUID="1.2.840.10008.5.1.4.1.1.4"), "SOP class"),
    "a changed element": (set_to(PatientName="Somebody^Else"), r"\(0010,0010\) was changed"),
    "a lost element": (lambda ds: delattr(ds, "PatientName"), r"\(0010,0010\) was lost"),
    "an added element": (set_to(AcquisitionComments="hello"), r"\(0018,4000\) was added"),
    "a changed item": (lambda ds: setattr(ds.OtherPatientIDsSequence[1], "PatientID", "X"), r"\(0010,1002\) was changed"),
    "other colours": (set_to(PhotometricInterpretation="MONOCHROME1"), "decoded colours"),
    "no pixel data": (lambda ds: delattr(ds, "PixelData"), "pixel data was lost"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "reason"), LIES.values(), ids=LIES)
def test_a_result_that_is_not_the_same_image_is_refused(bench, change, reason):
    with pytest.raises(ToolError, match=reason):
        bench.recode(bench.prepare(change))
    assert not bench.result.exists()


def test_wrong_pixels_are_found_whatever_the_exit_status_says(bench):
    line = bench.prepare(other_pixels, of=bench.source)
    bench.codecs.transcode(bench.prepared / "made.dcm", JPEG2000_LOSSLESS, bench.prepared / "wrong.dcm")
    with pytest.raises(WrongPixelsError):
        bench.recode('cp "$PREPARED/wrong.dcm" "$2"')
    assert line
    assert not bench.result.exists()


def test_what_another_transfer_syntax_may_change_is_no_difference(bench):
    line = bench.prepare(set_to(DerivationDescription="Lossless JPEG compression", LossyImageCompression="00"))
    assert bench.recode(line).outcome == "made"


def test_a_tool_that_changes_its_input_changes_a_copy(bench):
    assert bench.recode('chmod 600 "$1"; echo changed > "$1"; ' + GOOD).outcome == "made"


def test_children_are_ended_with_the_tool_also_when_it_ends_well(bench):
    with pytest.raises(ToolError, match="exit status 3") as caught:
        bench.recode("sleep 600 & echo child=$!; exit 3")
    child = int(str(caught.value).rpartition("child=")[2])
    assert has_ended(child)  # it was told to end in 600 s


def test_a_child_cannot_leave_the_group_that_is_ended(bench):
    with pytest.raises(ToolError, match=r"exit status 4.*not permitted"):
        bench.recode("setsid -w true || exit 4")


def test_a_program_that_is_not_there_is_named(bench):
    entry = config.Tool(command=("/nowhere/tool", "{input}", "{output}"), encodes=("j2k",))
    tools = Tools(configured({"x": entry}), bench.folder, bench.codecs, at_once=1)
    with pytest.raises(FileNotFoundError, match="/nowhere/tool"):
        tools.run("x", (), bench.source, bench.result)
    transcoder = Transcoder(bench.codecs, tools, "disabled", may_be_unverified=False)
    with pytest.raises(CannotTranscodeError, match="/nowhere/tool is not there"):
        transcoder.transcode(bench.source, JPEG2000_LOSSLESS, bench.result)


def test_what_cannot_be_verified_is_sent_only_as_configured_and_never_replaces(bench):
    def relabel(ds):
        ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.92"

    multi = syntaxes.lookup("JPEG2000MCLossless")
    line = bench.prepare(relabel)
    with pytest.raises(ToolError, match=r"cannot be proven.*no decoder"):
        bench.recode(line, target=multi)
    with pytest.raises(ToolError, match="cannot be proven"):
        bench.recode(line, target=multi, unverified=True, may_be_unverified=False)
    receipt = bench.recode(line, target=multi, unverified=True)
    assert receipt.verified_by.startswith("not verified, as configured")
    assert receipt.pixel_hash_after == ""


# -- the wall


def said(bench, line, **facts):
    with pytest.raises(ToolError) as caught:
        bench.recode(line + "; exit 9", **facts)
    return str(caught.value)


def test_a_tool_has_an_environment_of_its_own(bench, monkeypatch):
    monkeypatch.setenv("HOSTD_SECRET", "hunter2")
    names = {word.partition("=")[0] for word in said(bench, "env").partition("it said: ")[2].split()}
    assert (
        {"HOME", "PATH", "TMPDIR", "LANG"} <= names <= {"HOME", "PATH", "TMPDIR", "LANG", "PWD", "OLDPWD", "_", "SHLVL"}
    )


def test_a_tool_reads_and_writes_nothing_beside_its_own(bench, tmp_path):
    secret = tmp_path / "secret.toml"
    secret.write_text("password = hunter2")
    said_of_it = said(
        bench, f'cat "{secret}"; echo x > "{tmp_path}/new"; cat "{bench.source}" | head -c 9; ls "{tmp_path}"'
    )
    layers = bench.made[-1]._processes.layers
    if not layers["landlock"]:
        pytest.skip("this kernel has no Landlock")
    assert "hunter2" not in said_of_it
    assert said_of_it.count("ermission denied") >= 3
    assert not (tmp_path / "new").exists()


def test_a_tool_has_the_network_only_when_configured(bench):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = f"exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/{listener.getsockname()[1]} && echo connected; exit 9'"
        assert "connected" not in said(bench, line).partition("it said: ")[2].replace("/dev/tcp", "")
        assert "connected" in said(bench, line, network=True)


def test_what_is_known_of_the_patient_is_kept_out_of_the_error(bench):
    text = said(bench, "echo cannot read the image of CompressedSamples^CT1, 1CT1")
    assert "cannot read the image of ***, ***" in text


def test_the_command_is_no_shells_and_placeholders_are_filled_once(bench):
    tools = bench.tools('printf "%s|" "$3" "$4"; exit 9', words=["{0}", "--to={1}"], args=[".*"])
    with pytest.raises(ToolError, match=r"\$\(id\); \{output\}\|--to=\{input\}\|"):
        tools.run("x", ["$(id); {output}", "{input}"], bench.source, bench.result)


def test_tools_end_when_the_node_stops(bench):
    tools = bench.tools("echo up; sleep 600", encodes=["j2k"])
    failures = []

    def wait():
        try:
            tools.recode(tools.all["x"], bench.source, JPEG2000_LOSSLESS, bench.result, may_be_unverified=True)
        except ToolError as error:
            failures.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    while not tools._processes._running:
        assert thread.is_alive()
    tools.close()
    thread.join(60)
    assert failures == ["the tool x: it was ended because the node stops"]
    with pytest.raises(ToolError, match="node stops"):
        tools.run("x", (), bench.source, bench.result)


def test_what_an_earlier_run_left_is_swept_at_the_start(bench):
    left = bench.folder / "0123"
    left.mkdir(parents=True)
    (left / "input.dcm").write_bytes(b"patient data")
    bench.tools("true")
    assert list(bench.folder.iterdir()) == []


# -- the order of codecs and tools


class FakeCodecs:
    def __init__(self, error=None):
        self.error = error
        self.asked = 0

    def transcode(self, source, target, result, options=None):
        self.asked += 1
        if self.error:
            raise self.error
        return Receipt("made", "", "a", "b", EXPLICIT, target.uid, codec="builtin")


ORDERS = [
    ("before", None, GOOD, "builtin", 1),
    ("before", CannotTranscodeError("no"), GOOD, "tool:x", 1),
    ("after", None, GOOD, "tool:x", 0),
    ("after", None, "exit 1", "builtin", 1),
    ("disabled", None, GOOD, "tool:x", 0),
]


@pytest.mark.parametrize(("builtin", "error", "line", "codec", "asked"), ORDERS)
def test_who_is_asked_first_is_as_configured(bench, builtin, error, line, codec, asked):
    fake = FakeCodecs(error)
    transcoder = Transcoder(fake, bench.tools(line, encodes=["j2k"]), builtin, may_be_unverified=False)
    assert transcoder.transcode(bench.source, JPEG2000_LOSSLESS, bench.result).codec == codec
    assert fake.asked == asked


@pytest.mark.parametrize("error", [WrongPixelsError("lied"), CodecCrashedError("died")])
def test_no_tool_is_asked_after_a_codec_that_lied_or_died(bench, error):
    transcoder = Transcoder(FakeCodecs(error), bench.tools(GOOD, encodes=["j2k"]), "before", may_be_unverified=False)
    with pytest.raises(type(error)):
        transcoder.transcode(bench.source, JPEG2000_LOSSLESS, bench.result)
    assert not bench.result.exists()


def test_where_all_fail_each_says_why(bench):
    tools = bench.tools("exit 7", encodes=["j2k"])
    transcoder = Transcoder(FakeCodecs(CannotTranscodeError("no codec")), tools, "before", may_be_unverified=False)
    with pytest.raises(CannotTranscodeError, match=r"no codec; the tool x: it failed \(exit status 7\)"):
        transcoder.transcode(bench.source, JPEG2000_LOSSLESS, bench.result)


def test_tools_that_are_not_for_the_pair_are_not_asked(bench):
    tools = bench.tools(GOOD, encodes=["j2k"], decodes=["rle"])
    transcoder = Transcoder(FakeCodecs(), tools, "disabled", may_be_unverified=False)
    with pytest.raises(CannotTranscodeError, match="no tool of the configuration brings Explicit VR Little Endian"):
        transcoder.transcode(bench.source, JPEG2000_LOSSLESS, bench.result)
    with pytest.raises(CannotTranscodeError, match="no tool of the configuration"):
        transcoder.transcode(bench.source, RLE_LOSSLESS, bench.result)


@pytest.mark.parametrize(("builtin", "asked"), [("before", 1), ("after", 1)])
def test_what_loses_information_is_never_a_tools(bench, builtin, asked):
    fake = FakeCodecs()
    tools = bench.tools(GOOD, encodes=["j2k"])
    Transcoder(fake, tools, builtin, may_be_unverified=False).transcode(
        bench.source, JPEG2000, bench.result, EncodeOptions(quality=80)
    )
    assert fake.asked == asked
    with pytest.raises(CannotTranscodeError, match="tools do nothing that loses"):
        Transcoder(fake, tools, "disabled", may_be_unverified=False).transcode(
            bench.source, JPEG2000, bench.result, EncodeOptions(quality=80)
        )


# -- for scripts


def test_a_result_for_a_script_may_be_another_instance(bench):
    uid = generate_uid()
    receipt = bench.run(bench.prepare(set_to(SOPInstanceUID=uid, AcquisitionComments="burned")))
    assert pydicom.dcmread(bench.result).SOPInstanceUID == uid
    assert "(0018,4000) was added" in receipt.note
    assert "burned" not in receipt.note
    assert receipt.verified_by == "every frame decoded"


def test_a_result_for_a_script_may_be_the_same_image_in_another_syntax(bench):
    receipt = bench.run(GOOD)
    assert (receipt.result_syntax, receipt.verified_by) == (J2K, "pixels and elements compared")


DERIVED = {
    "kept its UID with another header": (set_to(ImageComments="x"), {}, "keeps_identity = true"),
    "kept its UID with other pixels": (other_pixels, {}, "keeps_identity = true"),
    "is another patient's": (set_to(SOPInstanceUID="1.2.3", PatientID="OTHER"), {}, "changes_patient = true"),
    "is of another study": (set_to(SOPInstanceUID="1.2.3", StudyInstanceUID="1.2.4"), {}, "changes_patient = true"),
    "is of another class": (set_to(SOPInstanceUID="1.2.3", SOPClassUID="1.2.840.10008.5.1.4.1.1.4"), {}, "SOP class"),
    "has lost the pixels": (
        lambda ds: (delattr(ds, "PixelData"), setattr(ds, "SOPInstanceUID", "1.2.3")), {"keeps_identity": True}, "lost the pixel data",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "facts", "reason"), DERIVED.values(), ids=DERIVED)
def test_a_result_for_a_script_is_refused_that(bench, change, facts, reason):
    with pytest.raises(ToolError, match=reason):
        bench.run(bench.prepare(change, of=bench.source), **facts)
    assert not bench.result.exists()


def test_the_configuration_may_allow_what_is_refused_otherwise(bench):
    receipt = bench.run(bench.prepare(other_pixels, of=bench.source), keeps_identity=True)
    assert receipt.note == "the pixels were changed"
    bench.result.unlink()
    change = set_to(SOPInstanceUID="1.2.3", PatientID="ANON", StudyInstanceUID="1.2.4")
    assert bench.run(bench.prepare(change, of=bench.source), changes_patient=True).outcome == "made"


def test_a_file_whose_two_heads_disagree_is_refused(bench):
    bench.prepare()
    ds = pydicom.dcmread(bench.prepared / "made.dcm")
    ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    ds.save_as(bench.prepared / "made.dcm", enforce_file_format=False)
    with pytest.raises(TranscodeError, match="another SOP instance"):
        bench.run('cp "$PREPARED/made.dcm" "$2"')


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["-rf"], "may not be given"), (["ok", "ok"], "takes 1 arguments"), ([], "takes 1 arguments"), (["ok\n"], "may not be given"),
        (["x" * 300], "up to 256"), (["ok\0"], "up to"),
    ],
)  # fmt: skip
def test_a_script_passes_only_what_the_configuration_lets_it(bench, args, reason):
    tools = bench.tools(GOOD, words=["{0}"], args=["ok|[0-9]{1,3}"])
    with pytest.raises(ToolError, match=reason):
        tools.run("x", args, bench.source, bench.result)
    assert tools.run("x", ["17"], bench.source, bench.result).outcome == "made"


def test_a_tool_that_the_configuration_does_not_have_is_no_tool(bench):
    with pytest.raises(ToolError, match=r"no tool 'y'.*tools\.NAME"):
        bench.tools(GOOD).run("y", (), bench.source, bench.result)


def test_the_version_of_a_tool_changes_with_its_program_and_its_command(bench, tmp_path):
    program = tmp_path / "program"

    def version(text, *words):
        program.write_text(text)
        program.chmod(0o700)
        entry = config.Tool(command=(str(program), "{input}", "{output}", *words))
        return configured({"x": entry})["x"].version()

    assert len({version("#!/bin/sh\n"), version("#!/bin/sh\n#2"), version("#!/bin/sh\n", "-x")}) == 3
    assert version("#!/bin/sh\n") == version("#!/bin/sh\n")


def test_explicit_is_made_by_a_tool_too(bench):
    assert os.access("/bin/sh", os.X_OK)
    bench.source = bench.good
    bench.before = bench.good.read_bytes()
    line = 'cp "$PREPARED/plain.dcm" "$2"'
    (bench.prepared / "plain.dcm").write_bytes(shipped("CT_small.dcm").read_bytes())
    assert bench.recode(line, target=EXPLICIT_LE).result_syntax == EXPLICIT
