"""`[tools.NAME]`: what is wrong with a tool is said when the configuration is read."""

import pytest

from hostd.config.problems import InvalidConfigurationError
from hostd.config.settings import load
from hostd.dicom.syntaxes import EXPLICIT_LE, JPEG2000_LOSSLESS, JPEG_LOSSLESS_SV1
from hostd.startup import startup_problems
from hostd.transcoding.tool import configured

SEED = """
[tools.gdcmconv]
command = ["/usr/bin/gdcmconv", "--j2k", "{input}", "{output}"]
encodes = ["j2k"]

[tools.dcmcjpeg]
command = ["/usr/bin/dcmcjpeg", "{input}", "{output}"]
encodes = ["jpeg-lossless"]

[tools.dcmdjpeg]
command = ["/usr/bin/dcmdjpeg", "{input}", "{output}"]
encodes = ["explicit"]
"""


@pytest.fixture
def read(tmp_path):
    def reading(text):
        file = tmp_path / "hostd.toml"
        file.write_text(text)
        file.chmod(0o600)
        return load(file, environ={})

    return reading


def test_a_known_tool_is_two_lines(read):
    tools = configured(read(SEED).tools)
    assert [(tool.name, tool.makes) for tool in tools.values()] == [
        ("gdcmconv", JPEG2000_LOSSLESS), ("dcmcjpeg", JPEG_LOSSLESS_SV1), ("dcmdjpeg", EXPLICIT_LE),
    ]  # fmt: skip
    assert tools["gdcmconv"].recodes(EXPLICIT_LE, JPEG2000_LOSSLESS)
    assert not tools["gdcmconv"].recodes(EXPLICIT_LE, JPEG_LOSSLESS_SV1)


def test_a_tool_may_do_nothing_beyond_its_command_unless_told(read):
    tool = read(SEED).tools["gdcmconv"]
    assert (tool.args, tool.network, tool.reads, tool.unverified, tool.keeps_identity, tool.changes_patient) == (
        (), False, (), False, False, False,
    )  # fmt: skip


def test_a_program_that_is_not_there_does_not_stop_the_node(read):
    settings = read('[tools.x]\ncommand = ["/nowhere/x", "{input}", "{output}"]\n')
    assert startup_problems(settings) == []
    assert not configured(settings.tools)["x"].is_there


COMMAND = 'command = ["/bin/x", "{input}", "{output}"]\n'
WRONG = {
    "no command": ("", "is missing"),
    "no whole path": ('command = ["gdcmconv", "{input}", "{output}"]', "whole path"),
    "no input": ('command = ["/bin/x", "{output}"]', "{input} once; it has it 0 times"),
    "two outputs": ('command = ["/bin/x", "{input}", "{output}", "{output}"]', "{output} once; it has it 2 times"),
    "an unknown placeholder": ('command = ["/bin/x", "{input}", "{output}", "{file}"]', "{file}, which stands for nothing"),
    "a chosen program": ('command = ["/bin/{syntax}", "{input}", "{output}"]\nencodes = ["j2k"]', "without placeholders"),
    "args inside a text": ('command = ["/bin/x", "{input}", "{output}", "-a{args}"]\nargs = ["x"]', "by itself"),
    "arguments and no pattern": ('command = ["/bin/x", "{input}", "{output}", "{0}"]', "add args"),
    "a pattern and no arguments": (COMMAND + 'args = ["x"]', "no {args} or {0}"),
    "a codec with arguments": ('command = ["/bin/x", "{input}", "{output}", "{0}"]\nargs = ["x"]\nencodes = ["j2k"]', "two tools"),
    "no pattern at all": ('command = ["/bin/x", "{input}", "{output}", "{0}"]\nargs = ["("]', "no regular expression"),
    "a pattern without end": ('command = ["/bin/x", "{input}", "{output}", "{0}"]\nargs = ["(a+)+b"]', "for ever"),
    "a lossy syntax": (COMMAND + 'encodes = ["JPEG2000"]', "may lose information"),
    "an unknown syntax": (COMMAND + 'encodes = ["j2l"]', "did you mean jxl, j2k"),
    "an unknown source": (COMMAND + 'encodes = ["j2k"]\ndecodes = ["j2l"]', "did you mean jxl, j2k"),
    "several syntaxes, not told": (COMMAND + 'encodes = ["j2k", "rle"]', "no {syntax}"),
    "a syntax for nothing": ('command = ["/bin/x", "{input}", "{output}", "{syntax}"]', "encodes nothing"),
    "an unknown setting": (COMMAND + "netwrok = true", "did you mean tools.x.network"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_a_tool_is_said_at_once(read, text, reason):
    with pytest.raises(InvalidConfigurationError) as caught:
        read(f"[tools.x]\n{text}\n")
    assert reason in str(caught.value)
    assert "tools.x" in str(caught.value)


def test_a_tool_for_several_syntaxes_is_told_which(read, tmp_path):
    text = '[tools.x]\ncommand = ["/bin/x", "{input}", "{output}", "--to={syntax}"]\nencodes = ["j2k", "rle"]\n'
    tool = configured(read(text).tools)["x"]
    filled = tool.filled(tmp_path / "i", tmp_path / "o", (), JPEG2000_LOSSLESS)
    assert filled == ("/bin/x", f"{tmp_path}/i", f"{tmp_path}/o", f"--to={JPEG2000_LOSSLESS.uid}")


def test_builtin_has_three_places(read):
    assert read("").transcoding.builtin == "before"
    assert read('[transcoding]\nbuiltin = "disabled"\n').transcoding.builtin == "disabled"
    with pytest.raises(InvalidConfigurationError, match="'before', 'after' or 'disabled'"):
        read('[transcoding]\nbuiltin = "never"\n')
