"""A changed configuration is read again once it stands still, and a broken one changes nothing."""

import pytest
from structlog.testing import capture_logs

from hostd.config.rereading import Rereading
from hostd.config.settings import load_with_origins

GOOD = '[node]\nname = "a"\n'


@pytest.fixture
def file(tmp_path):
    made = tmp_path / "hostd.toml"
    made.write_text(GOOD)
    return made


@pytest.fixture
def taken():
    return []


@pytest.fixture
def reading(file, taken):
    return Rereading(file, lambda settings: taken.append(settings.node.name))


def test_a_change_is_taken_once_it_stands_still(file, reading, taken):
    assert not reading.look()
    file.write_text('[node]\nname = "b"\n')
    assert not reading.look(), "it may be half written"
    assert reading.look()
    assert not reading.look()
    assert taken == ["b"]


def test_what_changes_from_look_to_look_waits(file, reading, taken):
    for name in "bcd":
        file.write_text(f'[node]\nname = "{name}"\n')
        assert not reading.look()
    assert reading.look()
    assert taken == ["d"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[node\n", "line 1: this is not TOML"),
        ('[node]\nnam = "b"\n', "line 2: node.nam: there is no such setting: did you mean node.name?"),
        ("", "its file is empty, or gone"),
    ],
)
def test_a_broken_one_changes_nothing_and_says_why(file, reading, taken, text, says):
    file.write_text(text)
    with capture_logs() as logs:
        assert not reading.look()
        assert not reading.look()
        assert not reading.look(), "it is said once"
    assert taken == []
    (line,) = logs
    assert says in line["event"] + str(line.get("reason"))
    assert str(file) in str(line)
    file.write_text('[node]\nname = "c"\n')
    reading.look()
    assert reading.look()
    assert taken == ["c"]


def test_it_can_be_asked_to_read_what_has_not_changed(reading, taken):
    assert reading.look(at_once=True)
    assert taken == ["a"]


def test_a_folder_of_orthancs_is_read_again_when_one_of_its_files_changes_or_comes(tmp_path, taken):
    folder = tmp_path / "orthanc"
    folder.mkdir()
    (folder / "a.json").write_text('{"Name": "a"}')
    reading = Rereading(folder, lambda settings: taken.append((settings.node.name, settings.dicom.port)))
    assert not reading.look()
    (folder / "b.json").write_text('{"DicomPort": 104}')
    reading.look()
    assert reading.look()
    (folder / "a.json").write_text('{"Name": "other"}')
    reading.look()
    assert reading.look()
    assert taken == [("a", 104), ("other", 104)]


def test_what_is_to_be_said_of_a_changed_configuration_of_orthancs_is_said_once(tmp_path, taken):
    file = tmp_path / "orthanc.json"
    file.write_text('{"Name": "a", "StorageCompression": true}')
    reading = Rereading(file, lambda settings: taken.append(settings.node.name))
    with capture_logs() as logs:
        reading.start(load_with_origins(file).notes)
        reading.stop()
        reading.look(at_once=True)
        assert logs == []
        file.write_text('{"Name": "a", "StorageCompression": true, "WebDavDeleteAllowed": true}')
        reading.look(at_once=True)
        reading.look(at_once=True)
    (line,) = logs
    assert line["event"].startswith("WebDavDeleteAllowed: ")
    assert line["log_level"] == "warning"


def test_a_configuration_without_its_users_any_more_is_not_taken(tmp_path, taken):
    file = tmp_path / "orthanc.json"
    file.write_text('{"AuthenticationEnabled": true, "RegisteredUsers": {"anna": "x"}}')
    reading = Rereading(file, lambda settings: taken.append([*settings.users]))
    assert reading.look(at_once=True)
    file.write_text('{"AuthenticationEnabled": true, "RegisteredUsers": {}}')
    with capture_logs() as logs:
        assert not reading.look(at_once=True)
    assert taken == [["anna"]]
    assert "RegisteredUsers" in logs[0]["reason"]
