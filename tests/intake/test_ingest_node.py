"""Whole nodes that transcode on ingest: what scripts see, and what is left after kill -9."""

from collections import Counter

import pytest
import requests
import sqlalchemy as sa
from ingest_kit import EXPLICIT, J2K, image
from node_kit import NodeProcess, Place, make_instances, sending, wait_until

from hostd.archive import instances
from hostd.archive import tables as t
from hostd.config.settings import Settings
from hostd.dicom.loss import EncodeOptions
from hostd.intake.configured import in_words, policy_of
from hostd.node import Node
from hostd.transcoding import registry

SCRIPT = """
def on_stored_instance(instance, host):
    receipt = instance.receipt
    if receipt is None:
        print("as received", instance.transfer_syntax.keyword)
    else:
        print(receipt.outcome, receipt.reason, instance.transfer_syntax.keyword, receipt.ratio > 1, receipt.codec != "",
              receipt.verified_by != "", receipt.source_syntax.keyword, receipt.result_syntax.keyword)
"""


class Running:
    """A node in this process, with one script, reached by HTTP."""

    def __init__(self, folder, **tables):
        (folder / "scripts").mkdir(mode=0o700)
        (folder / "scripts" / "show.py").write_text(SCRIPT)
        base = {
            "node": {"name": "n", "data": folder / "data", "scripts": folder / "scripts"},
            "dicom": {"enabled": False},
            "http": {"port": 0},
        }
        self.node = Node(Settings(**(base | tables)))
        self.node.start()
        self.archive = self.node.archive

    def upload(self, content):
        answer = requests.post(f"http://127.0.0.1:{self.node.http.port}/instances", data=content, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def metadata(self, instance):
        return requests.get(
            f"http://127.0.0.1:{self.node.http.port}/instances/{instance}/metadata?expand", timeout=60
        ).json()

    def logged(self, count):
        """Wait until the script has logged so many lines; return them."""

        def lines():
            with self.archive.read() as connection:
                found = [text for log in connection.execute(sa.select(t.run.c.log)).scalars() for _, text in log]
            return found if len(found) >= count else None

        return wait_until(f"{count} lines of the script", lines)


@pytest.fixture
def run(tmp_path, request):
    def start(**tables):
        running = Running(tmp_path, **tables)
        request.addfinalizer(running.node.stop)
        return running

    return start


@pytest.mark.parametrize("budget", [0.0, 20.0])
def test_the_script_sees_what_is_stored_with_its_receipt(run, budget):
    running = run(ingest={"transcode_to": "j2k", "ack_budget_s": budget})
    made = running.upload(image(1, side=64))
    assert made["Status"] == "Success"
    assert running.logged(1) == [
        "made  JPEG2000Lossless True True True ExplicitVRLittleEndian JPEG2000Lossless",
    ]
    assert running.metadata(made["ID"])["TransferSyntax"] == J2K
    assert running.upload(image(1, side=64))["Status"] == "AlreadyStored"
    running.upload(image(2, pixels=False))
    assert running.logged(2)[1] == "as received ExplicitVRLittleEndian"


def test_the_script_and_the_metadata_say_why_the_original_was_kept(run):
    running = run(ingest={"transcode_to": "JPEG2000Lossless"}, transcoding={"memory_mb": 512})
    content = bytearray(image(1, side=16))
    position = content.index(b"\x28\x00\x02\x01US")  # High Bit: one that does not go with Bits Stored
    content[position + 8 : position + 10] = b"\x0e\x00"
    kept = running.upload(bytes(content))
    (line,) = running.logged(1)
    reason = running.metadata(kept["ID"])["IngestTranscodingFailed"]
    assert reason
    assert (
        line
        == f"kept original {reason} ExplicitVRLittleEndian False False False ExplicitVRLittleEndian ExplicitVRLittleEndian"
    )
    assert running.metadata(kept["ID"])["TransferSyntax"] == EXPLICIT


@pytest.mark.parametrize("budget", [0.0, 20.0])
def test_a_lossy_result_is_the_instance_that_scripts_and_peers_see(run, budget):
    running = run(ingest={"transcode_to": "JPEGLSNearLossless", "near": 2, "ack_budget_s": budget})
    content = image(1, side=64)
    answer = running.upload(content)
    assert running.logged(1) == ["made  JPEGLSNearLossless True True True ExplicitVRLittleEndian JPEGLSNearLossless"]
    with running.archive.read() as connection:
        (made,) = instances.ids(connection)
    assert (answer["Status"], answer["ID"] == made) == ("Success", budget > 0)
    again = running.upload(content)
    assert (again["Status"], again["ID"], again["Path"]) == ("AlreadyStored", made, f"/instances/{made}")
    metadata = running.metadata(made)
    assert metadata["TransferSyntax"] == "1.2.840.10008.1.2.4.81"
    assert metadata["ModifiedFrom"] != made


def test_each_rule_has_its_own_loss_and_its_own_word_on_the_original():
    rules = [
        {"calling_aet": "A", "transcode_to": "JPEG2000", "ratio": 8.0, "keep_original": True},
        {"calling_aet": "B", "transcode_to": "JPEGBaseline8Bit", "quality": 80},
        {"calling_aet": "C", "transcode_to": "j2k"},
    ]
    ingest = {"transcode_to": "JPEGLSNearLossless", "near": 2, "keep_original": False, "rules": rules}
    policy = policy_of(Settings(ingest=ingest))
    assert (policy.options, policy.keep_original) == (EncodeOptions(near=2), False)
    assert [(rule.options, rule.keep_original) for rule in policy.rules] == [
        (EncodeOptions(ratio=8.0), True),
        (EncodeOptions(quality=80), False),
        (None, False),
    ]


def test_with_transcoding_switched_off_everything_is_kept_and_the_start_line_says_so(run):
    running = run(ingest={"transcode_to": "j2k"}, transcoding={"enabled": False})
    assert any("[transcoding] enabled is false" in sentence for sentence in running.node.facts().sentences())
    running.upload(image())
    assert running.logged(1) == ["as received ExplicitVRLittleEndian"]


@pytest.mark.parametrize(
    ("ingest", "said"),
    [
        ({}, None),
        ({"transcode_to": "j2k"}, "what arrives is brought to JPEG 2000 Lossless (1.2.840.10008.1.2.4.90)"),
        (
            {"transcode_to": "JPEGBaseline8Bit", "quality": 80},
            (
                "what arrives is brought to JPEG Baseline (1.2.840.10008.1.2.4.50) with loss (quality 80), each as an instance of its"
                " own; the originals are kept as versions"
            ),
        ),
        (
            {"transcode_to": "JPEGLSNearLossless", "near": 2, "keep_original": False},
            (
                "what arrives is brought to JPEG-LS Near-Lossless (1.2.840.10008.1.2.4.81) with loss (near 2), each as an instance of"
                " its own; the originals are removed"
            ),
        ),
        (
            {"rules": [{"calling_aet": "X", "transcode_to": "j2k"}]},
            "what arrives is kept as received, unless a rule of [ingest] says otherwise",
        ),
    ],
)
def test_the_start_line_says_what_is_transcoded(ingest, said):
    assert in_words(Settings(ingest=ingest)) == (said or "")


def test_a_target_that_nothing_writes_is_warned_of_at_start(capsys, monkeypatch):
    monkeypatch.setattr(registry, "encoders", lambda _: [])
    policy_of(Settings(ingest={"transcode_to": "j2k"}))
    assert "no codec of this installation writes" in capsys.readouterr().out


# -- kill -9 --------------------------------------------------------------------------------------------------------------

TO_J2K, TO_NEAR = 'transcode_to = "j2k"', 'transcode_to = "JPEGLSNearLossless"\nnear = 2'


@pytest.mark.parametrize(
    ("target", "budget", "point", "count"),
    [
        (TO_J2K, 0, "transcoded, no receipt", 2),
        pytest.param(TO_J2K, 0, "received and committed, not answered", 3, marks=pytest.mark.crash),
        pytest.param(TO_J2K, 20, "transcoded, no receipt", 2, marks=pytest.mark.crash),
        pytest.param(TO_NEAR, 0, "transcoded, no receipt", 2, marks=pytest.mark.crash),
        (TO_NEAR, 20, "received and committed, not answered", 3),
    ],
)
def test_a_kill_in_the_middle_of_an_ingest_loses_nothing_and_tells_each_once(tmp_path, target, budget, point, count):
    place = Place(tmp_path, "victim", script=SCRIPT, more=f"[ingest]\n{target}\nack_budget_s = {budget}\n")
    made = make_instances(8)
    acknowledged = set()
    record = tmp_path / "reached"
    with NodeProcess(place, "--kill", point, count, record) as node, sending(place, made, 2, acknowledged) as senders:
        node.wait_killed()
        assert record.read_text() == point
        with place.index() as connection:
            pending = connection.execute(sa.select(sa.func.count()).select_from(t.ingest)).scalar_one()
            told = connection.execute(
                sa.select(sa.func.count()).select_from(t.event).where(t.event.c.blob.is_not(None))
            )
            told = told.scalar_one()
            stored = instances.count(connection)
        assert stored == pending + told
        assert pending >= (1 if budget == 0 else 0)
        with NodeProcess(place) as again:
            wait_until("all are acknowledged", lambda: len(acknowledged) == len(made))
            wait_until("all ingests have ended", lambda: ended(place, len(made)))
            assert again.stop() == 0
    assert [sender.problem for sender in senders] == [None, None]
    with place.index() as connection:
        events = connection.execute(sa.select(t.event.c.subject, t.event.c.kind, t.event.c.receipt)).all()
        rows = connection.execute(
            sa.select(t.instance.c.id, t.blob.c.transfer_syntax).join(t.blob, t.blob.c.name == t.instance.c.blob)
        ).all()
        runs = connection.execute(sa.select(t.run.c.outcome)).scalars().all()
        originals = connection.execute(sa.select(sa.func.count()).where(t.version.c.is_original)).scalar_one()
        named = set(connection.execute(sa.select(t.blob.c.name)).scalars())
    told = Counter(event.subject for event in events if event.kind == "stored_instance")
    assert told == Counter(row.id for row in rows)
    assert len(rows) == len(made)
    assert {row.transfer_syntax for row in rows} == {J2K if target == TO_J2K else "1.2.840.10008.1.2.4.81"}
    assert originals == (0 if target == TO_J2K else len(made))
    assert {event.receipt["outcome"] for event in events if event.kind == "stored_instance"} == {"made"}
    assert runs == ["done"] * len(made)
    assert place.blob_names() == named


def ended(place, count):
    with place.index() as connection:
        pending = connection.execute(sa.select(sa.func.count()).select_from(t.ingest)).scalar_one()
        runs = connection.execute(sa.select(sa.func.count()).select_from(t.run)).scalar_one()
    return pending == 0 and runs >= count
