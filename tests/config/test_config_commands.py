from __future__ import annotations

import json
import os
import subprocess
import tomllib

import pytest
from certificates import Certificates, needs_openssl
from typer.testing import CliRunner

from hostd.cli.config import app
from hostd.config.passwords import check_password
from hostd.config.sections import User

SECRETS = """\
[http]
port = 8043
[peers.buffer]
url = "https://buffer.example/"
username = "u"
password = "hunter2secret"
[peers.other]
url = "https://other.example/"
username = "u"
password_env = "OTHER"
[users.anna]
password_hash = "$argon2id$v=19$m=64,t=1,p=1$aHVudGVyMnNlY3JldA$Y4bmYd5yXqdnL5wbvjNdfw"
[scripts."compress.py"]
config = {since = 2026-01-01, bracket = "[red]"}
"""


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HOSTD_")]:
        monkeypatch.delenv(name)

    def run(*arguments, **other):
        return CliRunner().invoke(app, list(arguments), **other)

    return run


def rows(result):
    return {row["key"]: row for row in json.loads(result.stdout)["settings"]}


def test_show_tells_value_and_origin_and_no_secret(run, config, monkeypatch):
    monkeypatch.setenv("HOSTD_DICOM__PORT", "4343")
    monkeypatch.setenv("OTHER", "hunter2secret")
    config.write(SECRETS)
    result = run("show", "--json")
    assert result.exit_code == 0, result.output
    shown = rows(result)
    assert shown["http.port"] == {"key": "http.port", "value": 8043, "origin": "file"}
    assert shown["dicom.port"] == {"key": "dicom.port", "value": 4343, "origin": "environment HOSTD_DICOM__PORT"}
    assert shown["dicom.aets"] == {"key": "dicom.aets", "value": ["HOSTD"], "origin": "default"}
    assert shown["peers.buffer.password"] == {"key": "peers.buffer.password", "value": "**********", "origin": "file"}
    assert shown["peers.other.password"]["origin"] == "password_env"
    assert shown['scripts."compress.py".config']["value"] == {"since": "2026-01-01", "bracket": "[red]"}
    assert json.loads(result.stdout)["file"] == str(config.path)
    table = run("show")
    assert table.exit_code == 0, table.output
    assert "environment HOSTD_DICOM__PORT" in table.output
    assert "[red]" in table.output
    for output in (result.output, table.output):
        assert "hunter2secret" not in output
        assert "aHVudGVyMnNlY3JldA" not in output


def test_show_without_a_file_shows_the_defaults(run):
    assert rows(run("show", "--json"))["http.port"]["value"] == 8042
    assert "no configuration file" in run("show").output


def test_show_of_what_cannot_be_loaded_ends_with_2_and_the_problems(run, config):
    config.write("[http]\nprot = 1\n")
    result = run("show", str(config.path))
    assert result.exit_code == 2
    assert "did you mean http.port" in result.stderr
    assert result.stdout == ""


def test_check_is_content_with_a_good_configuration(run, config):
    assert run("check").exit_code == 0
    config.write("[http]\nport = 1\n")
    result = run("check", str(config.path), "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"ok": True, "problems": []})


def test_check_lists_problems_with_file_and_line(run, config):
    config.write('[http]\nprot = 1\n[peers.p]\nurl = "https://u:hunter2secret@x/"\n')
    result = run("check")
    assert result.exit_code == 2
    assert f"{config.path}, line 2: http.prot" in result.stderr
    assert f"{config.path}, line 4: peers.p.url" in result.stderr
    found = json.loads(run("check", "--json").stdout)
    assert not found["ok"]
    assert [(p["key"], p["line"], p["file"]) for p in found["problems"]] == [
        ("http.prot", 2, str(config.path)),
        ("peers.p.url", 4, str(config.path)),
    ]
    assert "hunter2secret" not in result.output + json.dumps(found)


def test_check_finds_what_would_stop_the_start(run, config, tmp_path):
    config.write('[http]\nhost = "0.0.0.0"\n')
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "a.py").touch()
    (tmp_path / "scripts" / "a.py").chmod(0o666)
    result = run("check")
    assert result.exit_code == 2
    assert "there are no users" in result.stderr
    assert f"chmod go-w '{tmp_path}/scripts/a.py'" in result.stderr
    assert not (tmp_path / "hostd-data").exists()


def test_check_of_a_file_that_is_not_there_ends_with_2(run):
    result = run("check", "none.toml", "--json")
    assert result.exit_code == 2
    assert "there is no configuration file" in json.loads(result.stdout)["problems"][0]["message"]


def test_hash_password_prints_a_line_to_paste_and_never_the_password(run):
    result = run("hash-password", input="geheim\ngeheim\n")
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("password_hash")]
    assert "geheim" not in result.output
    assert check_password({"anna": User(**tomllib.loads(line))}, "anna", "geheim")
    assert "[users.NAME]" in result.stderr


def _junk(certificates, folder):
    file = folder / "junk.pem"
    file.write_text("-----BEGIN CERTIFICATE-----\njunk\n")
    return file


def _with_a_passphrase(certificates, folder):
    file = folder / "locked.key"
    subprocess.run(
        ["openssl", "rsa", "-aes128", "-passout", "pass:x", "-in", certificates.server[1], "-out", file],
        check=True,
        capture_output=True,
    )
    return file


@needs_openssl
@pytest.mark.parametrize(("files", "said"), [
    (lambda c, _: (c.server[0], c.client[1], None), "certificate_file: "),
    (lambda c, folder: (c.server[0], _with_a_passphrase(c, folder), None), "certificate_file: "),
    (lambda c, folder: (_junk(c, folder), c.server[1], None), "certificate_file: "),
    (lambda c, folder: (*c.server, _junk(c, folder)), "client_ca_file: "),
])  # fmt: skip
def test_check_finds_certificates_that_the_node_would_refuse(run, config, tmp_path, files, said):
    certificate, key, trusted = files(Certificates(tmp_path / "certificates"), tmp_path)
    for face, more in (("http", ""), ("dicom", "tls_port = 0\n")):
        text = f'certificate_file = "{certificate}"\nkey_file = "{key}"\n{more}'
        config.write(f"[{face}]\n{text}" + (f'client_ca_file = "{trusted}"\n' if trusted else ""))
        result = run("check")
        assert result.exit_code == 2
        assert f"{face}.{said}" in result.stderr
    both = config.folder / "both.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    options = {"SslEnabled": True, "SslCertificate": str(both)}
    if trusted:
        options |= {"SslVerifyPeers": True, "SslTrustedClientCertificates": str(trusted)}
    (config.folder / "orthanc.json").write_text(json.dumps(options))
    result = run("check", "orthanc.json")
    assert result.exit_code == 2
    assert ("SslTrustedClientCertificates (http." if trusted else "SslCertificate (http.") in result.stderr


@needs_openssl
def test_check_is_content_with_certificates_that_the_node_takes(run, config, tmp_path):
    certificates = Certificates(tmp_path / "certificates")
    certificate, key = certificates.server
    config.write(
        f'[http]\ncertificate_file = "{certificate}"\nkey_file = "{key}"\nclient_ca_file = "{certificates.ca}"\n'
    )
    assert run("check").exit_code == 0
