"""`hostd notify`: a channel is tried, and what was told is listed."""

import json
import sys
from pathlib import Path

from typer.testing import CliRunner

from hostd.archive import notices
from hostd.archive.archive import Archive
from hostd.cli import build
from hostd.testing.clock import ManualClock

sys.path.insert(0, str(Path(__file__).parents[1] / "delivery"))

from channels_kit import HookServer


def run(tmp_path, *arguments, url="http://127.0.0.1:1/geheim"):
    config = tmp_path / "hostd.toml"
    config.write_text(
        f'[node]\ndata = "data"\nallow_insecure_permissions = true\n[notify.ops]\nurl = "{url}"\ntimeout_s = 60\n'
    )
    return CliRunner().invoke(build(), ["notify", *arguments, "--config", str(config)])


def test_a_channel_is_tried_and_says_why_it_does_not_work_without_its_secret(tmp_path):
    with HookServer() as web:
        url = f"http://127.0.0.1:{web.port}/geheim"
        assert run(tmp_path, "test", "ops", url=url).exit_code == 0
        assert "hostd notify test ops" in web.bodies[0]["text"]
        web.status = 403
        refused = run(tmp_path, "test", "ops", url=url)
    assert refused.exit_code == 1
    assert "403" in refused.output
    assert "geheim" not in refused.output
    assert run(tmp_path, "test", "nobody").exit_code != 0


def test_what_was_told_is_listed_and_can_be_tried_again(tmp_path):
    (tmp_path / "data").mkdir()
    archive = Archive(tmp_path / "data", "node", ManualClock())
    archive.writer.do(lambda c: notices.ask(c, channel="ops", text="hello", key="k", every_s=None, now=1.0))
    with archive.read() as connection:
        (one,) = notices.listing(connection)
    archive.writer.do(lambda c: notices.settle(c, one, state="failed", error="503", now=2.0))
    archive.close()
    (listed,) = json.loads(run(tmp_path, "list", "--failed", "--json").output)
    assert (listed["state"], listed["last_error"], listed["text"]) == ("failed", "503", "hello")
    assert run(tmp_path, "retry", str(one.id)).exit_code == 0
    assert json.loads(run(tmp_path, "list", "--failed", "--json").output) == []
    assert "waiting" in run(tmp_path, "list").output
