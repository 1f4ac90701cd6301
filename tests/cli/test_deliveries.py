import json
from datetime import datetime

import pytest
from typer.testing import CliRunner

from hostd.archive import acceptance, commitments, instances, remotes
from hostd.archive import deliveries as rows
from hostd.archive.acceptance import Acceptance
from hostd.archive.records import Attempt, Blob
from hostd.cli import destinations
from hostd.cli.deliveries import app
from hostd.errors import NodeError, NotFoundError


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "hostd.toml"
    file.write_text(
        '[node]\ndata = "./data"\n[modalities.archive]\naet = "ARCHIVE"\nhost = "192.0.2.7"\nport = 104\n'
        '[peers.buffer]\nurl = "https://buffer.example/"\n'
    )
    (tmp_path / "data").mkdir(mode=0o700)
    return file


@pytest.fixture
def filled(archive):
    """Ask for five: to the archive 1 failed, 2 delivered, 3 failed without a file; to the buffer 4 failed, 5 waits."""
    kept, gone = Blob("test/00/a", 1, "s", "1.2"), "test/00/gone"

    def unit(connection):
        instances.add_blob(connection, kept, 1.0)

        def ask(destination, content, blob=kept.name):
            number, _ = rows.ask(
                connection, instance=f"i{content}", sop_instance_uid="1.2", sop_class_uid="1.3",
                destination=destination, content=content, blob=blob, now=1000.0,
            )  # fmt: skip
            return number

        def settle(outcome, answer):
            claimed = rows.claim(connection, destination, 7, 2000.0, 1)[0].id
            assert rows.finish(connection, Attempt(claimed, 1, 2001.0, outcome, answer, 0xA900, 0.5), 7)

        destination = "modality:archive"
        ask(destination, "1")
        settle("failed", "0xA900: [bold]no")
        ask(destination, "2")
        settle("delivered", "0x0000")
        ask(destination, "3", gone)
        settle("failed", "gone")
        destination = "peer:buffer"
        ask(destination, "4")
        settle("failed", "HTTP 400")
        ask(destination, "5")

    archive.writer.do(unit)
    return archive


def run(config, *arguments):
    return CliRunner().invoke(app, [*arguments, "--config", str(config)])


def numbers(config, *arguments):
    result = run(config, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return [row["id"] for row in json.loads(result.stdout)]


def states(archive):
    with archive.read() as connection:
        return {delivery.id: delivery.state for delivery in rows.listing(connection)}


def test_they_are_listed_with_and_without_the_word_list(config, filled):
    assert numbers(config) == numbers(config, "list") == [5, 4, 3, 2, 1]


def test_they_are_chosen(config, filled):
    assert numbers(config, "list", "--state", "failed") == [4, 3, 1]
    assert numbers(config, "list", "--state", "failed", "--state", "waiting") == [5, 4, 3, 1]
    assert numbers(config, "list", "--destination", "archive") == [3, 2, 1]
    assert numbers(config, "list", "--destination", "peer:buffer", "--limit", "1") == [5]
    assert numbers(config, "list", "--instance", "i2") == [2]
    assert numbers(config, "list", "--study", "1.2.3") == []


def test_a_destination_that_left_the_configuration_goes_by_its_full_name(config, filled):
    assert numbers(config, "list", "--destination", "peer:former") == []
    assert isinstance(run(config, "list", "--destination", "former").exception, NotFoundError)


def test_an_unknown_state_is_exit_code_2_and_names_those_there_are(config, filled):
    result = run(config, "list", "--state", "lost")
    assert result.exit_code == 2
    assert "waiting" in result.stderr


def test_people_get_a_table(config, filled):
    result = run(config)
    assert result.exit_code == 0
    assert "0xA900: [bold]no" in result.stdout


def test_one_is_shown_with_all_its_attempts(config, filled):
    shown = run(config, "show", "1", "--json")
    assert shown.exit_code == 0
    facts = json.loads(shown.stdout)
    assert facts["last_error"] == "0xA900: [bold]no"
    assert datetime.fromisoformat(facts["finished_at"]).timestamp() == 2001.0
    assert [(a["number"], a["outcome"], a["status"], a["seconds"]) for a in facts["history"]] == [
        (1, "failed", 0xA900, 0.5)
    ]
    text = run(config, "show", "1").stdout
    assert "state: failed" in text
    assert "0.50" in text
    assert "not tried yet" in run(config, "show", "5").stdout


def test_what_stands_in_for_what_and_how_commitment_stands_is_shown(config, filled):
    def unit(connection):
        failed = rows.get(connection, 1)
        made, _ = rows.ask(
            connection, instance="i1", sop_instance_uid="1.2", sop_class_uid="1.3", destination="modality:other",
            content="1", blob=failed.blob, now=2000.0, alternate_of=1,
        )  # fmt: skip
        rows.claim(connection, "modality:other", 7, 2000.0, 1)
        rows.finish(connection, Attempt(made, 1, 2001.0, "delivered", "0x0000"), 7, commits=True)
        commitments.ask(connection, "modality:other", "2.25.1", 2002.0, asked_before=0.0, limit=9)

    filled.writer.do(unit)
    failed, instead = (json.loads(run(config, "show", number, "--json").stdout) for number in ("1", "6"))
    assert failed["stand_in"] == {"id": 6, "destination": "modality:other", "state": "delivered"}
    assert (instead["stands_in_for"], instead["stand_in"], instead["commitment"]) == (1, None, "asked")
    assert (instead["commitment_transaction"], instead["commitment_reported_at"]) == ("2.25.1", None)
    assert datetime.fromisoformat(instead["commitment_asked_at"]).timestamp() == 2002.0
    assert "stand in: delivery 6 to modality:other, delivered" in run(config, "show", "1").stdout
    assert "commitment: asked" in run(config, "show", "6").stdout
    table = run(config).stdout
    assert "modality:other, for 1" in table
    assert "delivered, commitment asked" in table


def test_an_unknown_number_is_one_line_and_exit_code_1(config, filled):
    result = run(config, "show", "99")
    assert (result.exit_code, result.stderr) == (1, "hostd: there is no delivery 99\n")


def test_named_ones_are_tried_again(config, filled):
    result = run(config, "retry", "1", "4")
    assert result.exit_code == 0
    assert "2 deliveries" in result.stdout
    assert states(filled) == {1: "waiting", 2: "delivered", 3: "failed", 4: "waiting", 5: "waiting"}


@pytest.mark.parametrize("other", ["2", "3", "99"])
def test_when_one_of_the_named_cannot_be_none_is(config, filled, other):
    before = states(filled)
    result = run(config, "retry", "1", other)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert other in result.stderr
    assert states(filled) == before


def test_all_to_a_destination_are_tried_again_but_those_that_cannot_be(config, filled):
    result = run(config, "retry", "--destination", "archive", "--all", "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert answer["retried"] == [1]
    assert [left["id"] for left in answer["left"]] == [3]
    assert states(filled) == {1: "waiting", 2: "delivered", 3: "failed", 4: "failed", 5: "waiting"}
    assert run(config, "retry", "--destination", "buffer", "--all").exit_code == 0
    assert states(filled)[4] == "waiting"


@pytest.mark.parametrize(
    "arguments", [[], ["1", "--all"], ["--destination", "archive"], ["1", "--destination", "archive"]]
)
def test_a_retry_says_which(config, filled, arguments):
    before = states(filled)
    assert run(config, "retry", *arguments).exit_code == 2
    assert states(filled) == before


def test_a_folder_where_nothing_has_run_is_a_problem(config):
    assert isinstance(run(config).exception, NodeError)


def test_only_those_that_failed_for_a_reason_are_tried_again(config, filled):
    assert run(config, "retry", "--all", "--reason", "HTTP 400").exit_code == 0
    assert states(filled) == {1: "failed", 2: "delivered", 3: "failed", 4: "waiting", 5: "waiting"}


def test_held_and_released_with_a_record(config, filled):
    assert run(config, "hold", "5", "--why", "service").exit_code == 0
    assert states(filled)[5] == "held"
    assert run(config, "release", "--all", "--destination", "buffer").exit_code == 0
    assert states(filled)[5] == "waiting"
    history = json.loads(run(config, "show", "5", "--json").stdout)["history"]
    assert [entry["outcome"] for entry in history] == ["held", "released"]
    assert history[0]["answer"].endswith(": service")


def test_redirected_and_discarded(config, filled):
    answer = json.loads(run(config, "redirect", "5", "--to", "archive", "--json").stdout)
    assert (answer["done"], answer["made"]) == ([5], [{"id": 5, "new": 6}])
    assert run(config, "discard", "6").exit_code == 2  # without why
    assert run(config, "discard", "6", "--why", "wrong patient").exit_code == 0
    assert states(filled)[6] == "discarded"
    assert run(config, "redirect", "1").exit_code == 2
    assert isinstance(run(config, "redirect", "1", "--to", "nowhere").exception, NotFoundError)
    assert run(config, "discard", "2", "--why", "x").exit_code == 1
    assert states(filled)[2] == "delivered"


def test_destinations_show_what_waits_and_what_failed(config, filled):
    shown = CliRunner().invoke(destinations.app, ["--json", "--config", str(config)])
    assert shown.exit_code == 0, shown.output
    found = {one["destination"]: one for one in json.loads(shown.stdout)}
    assert found["modality:archive"]["deliveries"] == {"delivered": 1, "failed": 2}
    assert (found["peer:buffer"]["backlog"], found["peer:buffer"]["state"]) == (1, "works")
    assert "modality:archive" in CliRunner().invoke(destinations.app, ["--config", str(config)]).stdout


def test_what_was_put_by_http_is_a_destination_too(config, filled):
    filled.writer.do(lambda c: remotes.put(c, "peer", "new", ["http://192.0.2.9/", "anna", "hush"], 1.0, "anna"))
    filled.writer.do(lambda c: remotes.put(c, "modality", "archive", ["OTHER", "192.0.2.9", 104], 1.0, "anna"))
    shown = CliRunner().invoke(destinations.app, ["--json", "--config", str(config)])
    assert [one["destination"] for one in json.loads(shown.stdout)] == ["modality:archive", "peer:buffer", "peer:new"]
    assert "hush" not in shown.output
    assert CliRunner().invoke(destinations.app, ["show", "new", "--config", str(config)]).exit_code == 0


def test_one_destination_is_shown_with_what_it_accepts(config, filled):
    learnt = {"1.2.840.10008.5.1.4.1.1.2": Acceptance(("1.2.840.10008.1.2.1",), ("1.2.840.10008.1.2.4.90",))}
    filled.writer.do(lambda c: acceptance.remember(c, "modality:archive", learnt, 1000.0))

    def show(*arguments):
        return CliRunner().invoke(destinations.app, ["show", *arguments, "--config", str(config)])

    facts = json.loads(show("archive", "--json").stdout)
    assert facts["deliveries"] == {"delivered": 1, "failed": 2}
    assert facts["accepts"] == [
        {
            "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2", "accepted": ["1.2.840.10008.1.2.1"],
            "refused": ["1.2.840.10008.1.2.4.90"], "at": "1970-01-01T00:16:40.000+00:00",
        }
    ]  # fmt: skip
    text = show("archive").stdout
    assert "CT Image Storage" in text
    assert "Explicit VR Little Endian" in text
    assert "deliveries: 1 delivered, 2 failed" in text
    assert json.loads(show("buffer", "--json").stdout)["accepts"] == []
    assert show("peer:never").exit_code == 1


def test_a_destination_is_tested_from_the_command_line(config, filled, tmp_path):
    (tmp_path / "out").mkdir()
    config.write_text(config.read_text() + '[folders.export]\npath = "out"\n[folders.gone]\npath = "gone"\n')
    fine = CliRunner().invoke(destinations.app, ["test", "export", "--json", "--config", str(config)])
    assert json.loads(fine.stdout)["ok"] is True
    assert "MiB are free" in json.loads(fine.stdout)["said"][0]
    gone = CliRunner().invoke(destinations.app, ["test", "gone", "--config", str(config)])
    assert gone.exit_code == 1
    assert "No such file" in gone.stderr
