import json
from contextlib import closing

import sqlalchemy as sa
from typer.testing import CliRunner

from hostd.archive import events, leases
from hostd.archive import scripts as rows
from hostd.archive import tables as t
from hostd.archive.archive import Archive
from hostd.cli import build
from hostd.clock import SystemClock
from hostd.config.place import Place


def shown(config, *arguments):
    result = CliRunner().invoke(build(), ["status", "--config", str(config), *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_it_says_what_the_node_holds_while_the_node_has_its_index_open(config, archive):
    def unit(connection):
        events.append(connection, "stored_instance", "i1", 1.0)
        rows.meet(connection, "a.py", 1.0, from_beginning=False)
        rows.refuse(connection, "a.py", "lib/rules.py line 3: syntax error")

        for number, (destination, state) in enumerate(
            [("archive", "delivered"), ("archive", "failed"), ("ai", "delivered")]
        ):
            row = {"instance": "i1", "sop_instance_uid": "1.2", "sop_class_uid": "1.3", "content": "c", "blob": "b", "priority": 0,
                   "not_before": 0.0, "next_attempt_at": 0.0, "created_at": float(number)}  # fmt: skip
            connection.execute(sa.insert(t.delivery).values(destination=destination, state=state, **row))

    archive.writer.do(unit)
    facts = json.loads(shown(config, "--json"))
    assert (facts["name"], facts["data"]) == ("hostd", str(config.parent / "data"))
    assert (facts["instances"], facts["events"], facts["scripts"]) == (0, 1, {"broken": 1})
    assert facts["deliveries"] == {"delivered": 2, "failed": 1}
    assert (facts["dicom"], facts["http"]) == ("127.0.0.1:4242", "127.0.0.1:8042")
    assert facts["isolation"]["asked"] == "required"
    assert facts["isolation"]["layers"]["rlimits"] == 1
    text = shown(config)
    assert "a.py: lib/rules.py line 3: syntax error" in text
    assert "deliveries: 2 delivered, 1 failed" in text


def test_it_says_which_layers_of_isolation_a_worker_gets_here(config, archive):
    isolation = json.loads(shown(config, "--json"))["isolation"]
    lacking = [layer for layer, value in isolation["layers"].items() if not value]
    text = shown(config)
    assert ("this system lacks" in text) == bool(lacking)
    for layer in isolation["layers"]:
        assert layer in text


def test_it_says_which_nodes_of_a_shared_index_run_and_who_holds_what(tmp_path, postgresql_url):
    config = tmp_path / "hostd.toml"
    config.write_text(f'[node]\nname = "b"\ndata = "{tmp_path}"\ndatabase = "{postgresql_url}"\n')
    config.chmod(0o600)
    opened = {}
    for name in "ab":
        (tmp_path / name).mkdir()
        opened[name] = Archive(Place(tmp_path / name, tmp_path / "blobs", postgresql_url), name, SystemClock())
    opened["b"].close()
    with closing(opened["a"]) as archive:
        archive.writer.do(lambda c: leases.acquire(c, "destination:modality:x", "a", 0.0, leases.SECONDS))
        facts = json.loads(shown(config, "--json"))
        text = shown(config)
    assert facts["nodes"] == {"a": "runs", "b": "was stopped"}
    assert facts["leases"] == {"destination:modality:x": "a"}
    assert "node a runs" in text
    assert "destination:modality:x is held by a" in text
    assert json.loads(shown(config, "--json"))["leases"] == {}  # a node that is stopped lets go of all
