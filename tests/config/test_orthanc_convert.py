"""`hostd config convert`: the hostd.toml that it writes is loaded to the settings that the JSON is run with."""

import json
import os
import shutil
import subprocess
import tomllib

import pytest
from typer.testing import CliRunner

from hostd.cli.convert import app
from hostd.cli.looking import settings_of
from hostd.config import hashing
from hostd.config.hashing import hash_password
from hostd.config.passwords import check_password
from hostd.config.settings import load, load_with_origins

SMALL_PRACTICE = """
/* Everything in one file. */
{
  "Name" : "Practice, ground floor",
  "StorageDirectory" : "/var/lib/orthanc/db",
  "DicomAet" : "${AET}", "DicomPort" : 11112, "HttpPort" : 8043,
  "RemoteAccessAllowed" : true,
  "AuthenticationEnabled" : true,
  "RegisteredUsers" : { "anna" : "geheim-anna", "ben" : "${BEN}" },
  "DicomModalities" : {
    "pacs" : [ "PACS", "10.0.0.7", 104 ], // the archive
    "viewer" : { "AET" : "VIEWER", "Host" : "viewer.example", "Port" : 11112, "AllowTranscoding" : false, "LocalAet" : "ME" }
  },
  "OrthancPeers" : {
    "buffer" : [ "http://10.0.0.8:8042/", "hostd", "${PEER}" ],
    "cloud" : { "Url" : "https://cloud.example/o/", "Username" : "u", "Password" : "geheim-cloud", "HttpHeaders" : { "X-Key" : "k" }, "Timeout" : 5 }
  },
  "IngestTranscoding" : "1.2.840.10008.1.2.4.50", "DicomLossyTranscodingQuality" : 80,
  "OverwriteInstances" : true, "StableAge" : 30, "HttpTimeout" : 20, "DicomScuTimeout" : 15,
  "LuaScripts" : [ "Autorouting.lua" ],
  "MaximumStorageSize" : 5000, "StorageCompression" : true
}
"""
NOTHING = "{}"
CONTAINER = '{"RemoteAccessAllowed": true, "AuthenticationEnabled": false, "OrthancPeers": {}, "Plugins": ["/plugins"], "DicomWeb": {"Enable": true}}'
ENVIRON = {"BEN": "geheim-ben", "PEER": "geheim-peer", "AET": "PRACTICE"}


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HOSTD_")]:
        monkeypatch.delenv(name)
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def orthanc(tmp_path):
    file = tmp_path / "orthanc.json"
    file.write_text(SMALL_PRACTICE)
    return file


@pytest.mark.parametrize("text", [SMALL_PRACTICE, NOTHING, CONTAINER])
def test_what_is_written_is_loaded_to_what_the_json_is_run_with(run, orthanc, tmp_path, text):
    orthanc.write_text(text)
    (tmp_path / "elsewhere").mkdir()
    written = tmp_path / "elsewhere" / "hostd.toml"
    result = run("convert", orthanc, "--to", written)
    assert result.exit_code == 0, result.output
    assert load(written) == load(orthanc)


def test_a_folder_is_converted_as_one_file_is(run, orthanc, tmp_path):
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "a.json").write_text('{"StorageDirectory": "db", "RegisteredUsers": {"anna": "x"}}')
    (folder / "b.json").write_text('{"AuthenticationEnabled": true} // b')
    assert run("convert", folder).exit_code == 0
    loaded = load(tmp_path / "hostd.toml")
    assert loaded == load(folder)
    assert loaded.node.data == folder / "hostd-data"
    assert loaded.users.keys() == {"anna"}


def test_it_is_for_its_owner_alone_and_has_hashes_for_passwords_of_users(run, orthanc, tmp_path):
    result = run("convert", orthanc)
    assert result.exit_code == 0, result.output
    written = tmp_path / "hostd.toml"
    assert written.stat().st_mode & 0o777 == 0o600
    text = written.read_text()
    for secret in ("geheim-anna", "geheim-ben", "geheim-peer"):
        assert secret not in text + result.output
    assert tomllib.loads(text)["peers"]["buffer"]["password_env"] == "PEER"
    assert "geheim-cloud" not in result.output
    users = load(written).users
    assert check_password(users, "anna", "geheim-anna")
    assert check_password(users, "ben", "geheim-ben")
    assert not check_password(users, "ben", "geheim-anna")


def test_what_is_not_taken_over_is_said_and_stands_above_it(run, orthanc, tmp_path):
    said = run("convert", orthanc).stderr
    above = (tmp_path / "hostd.toml").read_text().partition("[node]")[0]
    for words in (
        "Practice-ground-floor",
        "samples/auto-forwarding",
        "StorageCompression: ",
        "/var/lib/orthanc/hostd-data",
    ):
        assert words in said
        assert words in above


def test_what_is_there_is_not_overwritten(run, orthanc, tmp_path):
    (tmp_path / "hostd.toml").write_text("# mine\n")
    result = run("convert", orthanc)
    assert result.exit_code == 1
    assert "is there already" in result.stderr
    assert (tmp_path / "hostd.toml").read_text() == "# mine\n"


def test_nothing_is_written_of_what_is_wrong(run, orthanc, tmp_path):
    orthanc.write_text('{"HttpPort": 99999}')
    assert "HttpPort (http.port)" in str(run("convert", orthanc).exception)
    orthanc.with_name("hostd2.toml").write_text("[node]\n")
    assert "is no configuration of Orthanc's" in str(run("convert", tmp_path / "hostd2.toml").exception)
    assert not (tmp_path / "hostd.toml").exists()


def test_it_is_printed_where_that_is_wanted(run, orthanc, tmp_path):
    result = run("convert", orthanc, "--to", "-")
    assert tomllib.loads(result.stdout)["dicom"]["aets"] == ["PRACTICE"]
    assert not (tmp_path / "hostd.toml").exists()


def test_check_and_show_take_the_json_too(run, orthanc):
    checked = run("check", orthanc)
    assert checked.exit_code == 0, checked.output
    assert "StorageCompression: " in checked.output
    assert "nothing is wrong" in checked.output
    said = json.loads(run("check", orthanc, "--json").stdout)
    assert said["ok"]
    assert "StorageCompression" in [note["option"] for note in said["notes"]]
    shown = run("show", orthanc, "--json").stdout
    rows = {row["key"]: row for row in json.loads(shown)["settings"]}
    assert (rows["dicom.port"]["value"], rows["dicom.port"]["origin"]) == (11112, "file")
    assert "geheim" not in shown


def test_reading_it_again_changes_no_user(orthanc):
    assert load(orthanc, environ=ENVIRON) == load(orthanc, environ=ENVIRON)


def test_hostds_own_variables_win(orthanc):
    found = load_with_origins(orthanc, environ=ENVIRON | {"HOSTD_NODE__DATA": "/srv/hostd", "HOSTD_HTTP__PORT": "1"})
    assert str(found.settings.node.data) == "/srv/hostd"
    assert found.origin(("http", "port")) == "environment HOSTD_HTTP__PORT"


def test_a_file_of_a_folder_that_others_may_write_is_refused(run, tmp_path):
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "a.json").write_text("{}")
    (folder / "a.json").chmod(0o666)
    result = run("check", folder)
    assert result.exit_code == 2
    assert f"chmod go-w '{folder}/a.json'" in result.stderr


@pytest.mark.peers
@pytest.mark.skipif(shutil.which("Orthanc") is None, reason="Orthanc is not on the PATH")
def test_the_configuration_that_orthanc_writes_itself_is_taken_and_all_its_options_are_known(tmp_path):
    file = tmp_path / "orthanc.json"
    subprocess.run(["Orthanc", f"--config={file}"], check=True, capture_output=True, timeout=60)
    loaded = load_with_origins(file, environ={})
    assert [note.option for note in loaded.notes] == ["StorageDirectory"]
    assert (loaded.settings.dicom.port, loaded.settings.dicom.aets) == (4242, ("ORTHANC",))


def test_only_who_lets_users_sign_in_takes_the_time_to_hash_their_passwords(run, tmp_path, monkeypatch):
    file = tmp_path / "orthanc.json"
    file.write_text(
        json.dumps({"AuthenticationEnabled": True, "RegisteredUsers": {f"u{n}": f"p{n}" for n in range(5)}})
    )
    hashed = []
    monkeypatch.setattr(hashing, "hash_password", lambda password: hashed.append(password) or hash_password(password))
    for command in ("check", "show"):
        assert run(command, file).exit_code == 0
    settings = settings_of(file)
    assert hashed == []
    assert len(settings.users) == 5
    assert not any(check_password(settings.users, f"u{n}", f"p{n}") for n in range(5))
    assert check_password(load(file).users, "u3", "p3")
    assert sorted(hashed) == [f"p{n}" for n in range(5)]
