"""`hostd replay`: a script over the node's own past, and what an edit of it would change."""

import json

import msgspec
import pytest
from typer.testing import CliRunner

from hostd.archive import instances, receiving, scripts
from hostd.archive.records import Blob, Origin
from hostd.archive.scripts import Version
from hostd.cli import build
from hostd.testing.made import EXPLICIT, arrive, header

FORWARDS = "def on_stored_instance(instance, host):\n    if instance.sop_instance_uid {}:\n        host.forward(instance, to='archive')\n"


@pytest.fixture
def config(config):
    config.write_text(
        config.read_text()
        + '[modalities.archive]\naet = "A"\nhost = "127.0.0.1"\nport = 104\n[scripts."slow.py"]\ntime_limit_s = 2\n'
    )
    return config


@pytest.fixture
def past(archive):
    """Three instances have come; the first was deleted since."""
    for last in "567":
        arrive(archive, f"1.2.3.4.{last}")

    def unit(connection):
        (first,) = instances.by_sop_instance_uid(connection, "1.2.3.4.5")
        instances.hide(connection, first.id, 2.0)

    archive.writer.do(unit)
    return archive


def run(config, *arguments):
    return CliRunner().invoke(build(), ["replay", *map(str, arguments), "--config", str(config)])


def script(config, name, condition):
    file = config.parent / name
    file.write_text(FORWARDS.format(condition))
    return file


def test_a_script_is_run_over_the_past_and_nothing_is_done(config, past):
    result = run(config, script(config, "new.py", "!= '1.2.3.4.6'"))
    assert result.exit_code == 0, result.output
    assert "over 3 past events" in result.output
    assert "would forward to modality:archive: 2" in result.output
    assert "would do nothing: 1" in result.output
    with past.read() as connection:
        assert (
            connection.exec_driver_sql("SELECT (SELECT count(*) FROM delivery) + (SELECT count(*) FROM run)").scalar()
            == 0
        )


def test_only_the_newest_events_are_replayed(config, past):
    result = run(config, script(config, "new.py", "!= '1.2.3.4.6'"), "--last", "2", "--json")
    assert [row["sop_instance_uid"] for row in json.loads(result.stdout)] == ["1.2.3.4.6", "1.2.3.4.7"]


def test_an_edit_is_compared_with_what_runs(config, past):
    def unit(connection):
        scripts.meet(connection, "router.py", 0.0, from_beginning=True)
        source = FORWARDS.format("== '1.2.3.4.6'")
        scripts.accept(connection, "router.py", Version("1a2b3c", source, ("on_stored_instance",)), 0.0)

    past.writer.do(unit)
    new = script(config, "router.py", "!= '1.2.3.4.6'")
    for old in ("router.py", "router.py@1a2b"):
        result = run(config, new, "--against", old)
        assert result.exit_code == 0, result.output
        assert "would now forward to modality:archive: 2 events" in result.output
        assert "would no longer forward to modality:archive: 1 event" in result.output
        assert "1.2.3.4.5" in result.output
    assert "no difference over 3 past events" in run(config, "router.py", "--against", "router.py@1a").output


def test_a_version_that_never_ran_is_named_with_those_that_did(config, past):
    result = run(config, "router.py")
    assert "no script of that name ever ran here" in str(result.exception)


def test_failures_are_told_and_do_not_end_the_replay(config, past):
    slow = config.parent / "slow.py"
    slow.write_text(
        "def on_stored_instance(instance, host):\n    while instance.sop_instance_uid == '1.2.3.4.6':\n        pass\n"
        "    if instance.sop_instance_uid == '1.2.3.4.7':\n        raise ValueError('seven')\n"
    )
    result = run(config, slow)
    assert result.exit_code == 1
    assert "was killed after 2 s" in result.output
    assert "ValueError: seven" in result.output
    assert "would fail: 2" in result.output
    assert "would do nothing: 1" in result.output


def test_what_is_no_longer_kept_cannot_be_asked_for(config, archive):
    file = archive.blobs.create()
    file.close()
    made = msgspec.structs.replace(header(), tags={0x00104000: ("LT", None)})  # too large to travel with the event
    arrival = receiving.Arrival(made, Blob(file.name, 0, "x", EXPLICIT), "x", Origin("http"), 1.0)
    archive.writer.do(lambda c: receiving.take_in(c, arrival, "newest"))
    file.path.unlink()
    asks = config.parent / "asks.py"
    asks.write_text("def on_stored_instance(instance, host):\n    print(instance.tags.PatientComments)\n")
    result = run(config, asks)
    assert result.exit_code == 1
    assert "no longer kept" in result.output
