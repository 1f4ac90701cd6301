"""What a command says to a user who may not look where it must, and where the system refuses something: one line, no traceback."""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

OTHER = 65534
_DROP_FROM_BOUNDING_SET = 24  # prctl(2)
_OVERRIDE, _READ_SEARCH = 1, 2  # capabilities(7)


def be_nobody_special():
    """Be a user to whom the permissions of files apply, for what is run next."""
    for capability in (_OVERRIDE, _READ_SEARCH):
        ctypes.CDLL(None).prctl(_DROP_FROM_BOUNDING_SET, capability, 0, 0, 0)


@pytest.fixture
def place(tmp_path):
    """A folder, with one in it that only its owner may look into, who is somebody else where we can have that."""
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o700)
    (locked / "file").write_text("")
    if os.geteuid():
        locked.chmod(0)
    else:
        os.chown(locked, OTHER, OTHER)
    yield tmp_path
    locked.chmod(0o700)


def run(place, *arguments, cwd=None, **options):
    """Run a command as one who may not look into everything."""
    environ = os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "HOSTD_NODE__ALLOW_INSECURE_PERMISSIONS": "true",
    }
    return subprocess.run(
        [sys.executable, "-m", "hostd", *map(str, arguments)],
        cwd=cwd or place, text=True, env=environ, timeout=120, check=False, stderr=subprocess.PIPE, preexec_fn=be_nobody_special,
        **{"stdout": subprocess.PIPE} | options,
    )  # fmt: skip


def written(place, options):
    file = place / "orthanc.json"
    file.write_text(json.dumps(options))
    file.chmod(0o644)
    return file


_DATA, _CERTIFICATE, _LONG = (
    {"StorageDirectory": "locked/db"}, {"SslEnabled": True, "SslCertificate": "locked/file"}, {"StorageDirectory": "n" * 300 + "/db"},
)  # fmt: skip


@pytest.mark.parametrize(("command", "options", "said"), [
    *((("status", "--config"), options, said) for options, said in ((_DATA, "locked"), (_CERTIFICATE, "locked/file"), (_LONG, "File name too long"))),
    *((("config", "check"), options, said) for options, said in ((_DATA, "locked"), (_CERTIFICATE, "locked/file"), (_LONG, "File name too long"))),
    (("config", "show"), _CERTIFICATE, "locked/file"),
])  # fmt: skip
def test_what_may_not_be_looked_at_is_named_with_what_to_do(place, command, options, said):
    result = run(place, *command, written(place, options))
    assert result.returncode == 2, result.stderr
    assert said in result.stderr
    assert ("run it as the user of the node" in result.stderr) == ("locked" in said)
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [("status", "--config", "locked/file"), ("import", "locked/file", "--dry-run")])
def test_a_file_that_may_not_be_looked_at_is_named(place, arguments):
    result = run(place, *arguments)
    assert (result.returncode, "Traceback" in result.stderr) == (2, False), result.stderr
    assert "locked/file cannot be looked at: Permission denied; run it as the user of the node" in result.stderr


def test_a_working_folder_that_may_not_be_looked_into_is_named(place):
    result = run(place, "status", cwd=place / "locked")
    assert (result.returncode, "Traceback" in result.stderr) == (2, False), result.stderr
    assert "hostd.toml cannot be looked at" in result.stderr


def test_a_working_folder_that_is_gone_is_told(place):
    (place / "gone").mkdir(mode=0o755)
    program = f"import os, sys; os.rmdir({str(place / 'gone')!r}); sys.argv = ['hostd', 'status']; import hostd.cli; hostd.cli.main()"
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=place / "gone", capture_output=True, text=True, env=environ, timeout=120, check=False
    )  # fmt: skip
    assert (result.returncode, "Traceback" in result.stderr) == (2, False), result.stderr
    assert "the current folder is no longer there" in result.stderr


def test_a_full_disk_for_what_is_printed_is_told_in_one_line(place):
    with Path("/dev/full").open("w") as full:
        result = run(place, "config", "show", written(place, {}), stdout=full)
    assert result.returncode == 2
    assert result.stderr == "hostd: No space left on device\n"
