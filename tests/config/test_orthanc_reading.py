"""The text of Orthanc's configuration: comments, variables, folders."""

from pathlib import Path

import pytest

from hostd.config.orthanc.reading import FromVariable, files_of, is_orthanc, merged, parse
from hostd.config.problems import InvalidConfigurationError
from hostd.config.settings import load_with_origins
from hostd.errors import ConfigurationError

FILE = Path("/etc/orthanc/orthanc.json")


def read(text, **environ):
    return parse(FILE, text, environ)


def test_comments_are_left_out_and_texts_that_look_like_them_stay():
    text = r"""
    // the "first" line
    { "Name": "a // b /* c */", /* over
      two lines */ "Url": "http://x/", "Quoted": "\"//\"" // "HttpPort": 1
    }"""
    assert read(text) == {"Name": "a // b /* c */", "Url": "http://x/", "Quoted": '"//"'}


def test_commas_at_the_end_are_taken_as_orthanc_takes_them():
    assert read('{"a": [1, 2, /* more */ ], "b": ",]", }') == {"a": [1, 2], "b": ",]"}


def test_variables_are_put_into_texts_names_and_numbers():
    text = '{"Name": "${SITE}-${ROOM:-1}", "${SITE}": true, "HttpPort": ${PORT}, "DicomPort": ${OTHER:-104}, "A": "${NONE:-}"}'
    assert read(text, SITE="north", PORT="80") == {
        "Name": "north-1", "north": True, "HttpPort": 80, "DicomPort": 104, "A": "",
    }  # fmt: skip


def test_what_a_variable_holds_stays_a_text_whatever_is_in_it():
    assert read('{"Password": "${P}"}', P='a"b\\//${P}') == {"Password": 'a"b\\//${P}'}


def test_a_text_that_is_one_variable_keeps_its_name():
    password = read('{"Password": "${P}"}', P="geheim")["Password"]
    assert isinstance(password, FromVariable)
    assert (password, password.variable) == ("geheim", "P")


def test_variables_in_comments_need_not_be_set():
    assert read("{} // ${NONE}") == {}


def test_a_variable_that_is_not_set_is_named():
    with pytest.raises(InvalidConfigurationError, match="NONE") as refused:
        read('{"a": "${NONE}", "b": ${OTHER}, "c": "${NONE}"}', OTHER="1")
    assert len(refused.value.problems) == 1


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('{\n/* two\nlines */\n"HttpPort" 1}', 4, "JSON"),
        ('{"a": "geheim}', 1, "JSON"),
        ("[]", None, "object"),
        ("[" * 100_000, None, "deep"),
        ('{"a": ' + "[" * 900 + "]" * 900 + "}", None, "deep"),
        ('{"a": ' + "1" * 5000 + "}", None, "digits"),
    ],
)
def test_what_is_not_json_is_refused_with_its_line_and_without_its_content(text, line, says):
    with pytest.raises(InvalidConfigurationError, match=says) as refused:
        read(text)
    (problem,) = refused.value.problems
    assert (problem.file, problem.line) == (FILE, line)
    assert "geheim" not in str(problem)


def test_the_files_of_a_folder_are_read_in_order_and_others_left(tmp_path):
    for name in ("b.json", "a.json", "c.JSON", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "d.json").mkdir()
    assert [file.name for file in files_of(tmp_path)] == ["a.json", "b.json", "c.JSON"]
    assert files_of(tmp_path / "a.json") == [tmp_path / "a.json"]


def test_a_folder_without_any_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"no \*\.json"):
        files_of(tmp_path)


def test_files_are_put_together_and_an_option_in_two_of_them_is_refused_as_orthanc_does():
    one, two = Path("a.json"), Path("b.json")
    assert merged({one: '{"Name": "x"}', two: '{"HttpPort": 1}'}, {}) == {"Name": "x", "HttpPort": 1}
    with pytest.raises(InvalidConfigurationError, match="DicomModalities") as refused:
        merged({one: '{"DicomModalities": {"a": []}}', two: '{"DicomModalities": {"b": []}}'}, {})
    assert "a.json" in str(refused.value)
    assert "b.json" in str(refused.value)


def test_orthancs_configuration_is_known_by_its_name_or_its_beginning(tmp_path):
    assert is_orthanc(tmp_path)
    assert is_orthanc(Path("x.JSON"))
    for text in ("{}", "\n // a\n{}", "/* a */ {}"):
        assert is_orthanc(Path("configuration"), text)
    assert not is_orthanc(Path("hostd.toml"), "# {\n[node]\n")
    assert not is_orthanc(Path("hostd.toml"), "")


def test_what_stands_twice_in_one_object_is_told_and_the_last_counts(tmp_path):
    file = tmp_path / "orthanc.json"
    file.write_text('{"Name": "a", "Name": "b", "DicomModalities": {"x": ["X", "h", 1], "x": ["Y", "h", 1]}}')
    found = load_with_origins(file, environ={})
    assert (found.settings.node.name, found.settings.modalities["x"].aet) == ("b", "Y")
    assert {note.option for note in found.notes} >= {"Name", "x"}
