"""A whole node and a study of which one image cannot be de-identified: nothing of it is kept as a product, and nothing of it leaves."""

from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from recorder import Recorder

from hostd.archive import tables as t

SCRIPT = """
def on_stable_study(study, host):
    nobody = host.anonymize(study, project="TRIAL7")
    host.store(nobody)
    host.forward(nobody, to="lab")
    host.forward(host.transcode(nobody, "j2k"), to="folder")
"""
ASSOCIATE_RQ, P_DATA_TF, RELEASE_RQ, ABORT = 1, 4, 5, 7
NAME, PATIENT, STUDY = "Ishmael^Unmistakable", "PAT-4711", "1.2.826.0.1.77"


@pytest.fixture
def lab(hostd):
    """A peer, and what sees every byte that goes to it."""
    peer = hostd.peer("LAB")
    recorder = Recorder(peer.port)
    yield SimpleNamespace(aet="LAB", port=recorder.port, recorder=recorder, peer=peer)
    recorder.stop()


@pytest.fixture
def node(hostd, lab, tmp_path):
    script = tmp_path / "trial.py"
    script.write_text(SCRIPT)
    tables = {
        "projects": {"TRIAL7": {}},
        "stable": {"quiet_s": 0.3},
        "folders": {"folder": {"path": str(tmp_path / "out")}},
    }
    (tmp_path / "out").mkdir()
    node = hostd.node(
        script, destinations={"lab": lab}, entries={"trial.py": {"may": ["anonymize", "store"]}}, tables=tables
    )
    node.out = tmp_path / "out"
    return node


def member(hostd, study=STUDY, **elements):
    return hostd.instance(
        PatientName=NAME, PatientID=PATIENT, StudyInstanceUID=study, SeriesInstanceUID=f"{study}.1", **elements
    )


def rows(node, table):
    with node.archive.read() as connection:
        return connection.execute(sa.select(table)).all()


def written(node):
    return [path for path in node.out.rglob("*") if path.is_file()]


def test_a_study_that_cannot_be_deidentified_is_neither_stored_nor_sent_not_one_byte_of_it(hostd, lab, node):
    node.receive(member(hostd, BurnedInAnnotation="NO"), member(hostd, BurnedInAnnotation="YES"))
    node.until(lambda: [one.state for one in node.deliveries()] == ["failed"] * 4, "all deliveries fail", timeout_s=60)
    node.until(lambda: [one.state for one in rows(node, t.task)] == ["failed"] * 2, "both stores fail", timeout_s=60)
    why = "could not be de-identified, so nothing of it is sent: text is burned into the pixels"
    assert all(why in one.last_error for one in node.deliveries())
    assert all("text is burned into the pixels" in one.last_error for one in rows(node, t.task))
    # An association asks what the peer takes, and is released: no P-DATA-TF, which is what carries anything of an instance.
    assert set(lab.recorder.pdu_types()) <= {ASSOCIATE_RQ, RELEASE_RQ, ABORT}
    assert not any(word.encode() in lab.recorder.seen for word in (NAME, PATIENT, STUDY))
    assert written(node) == []
    assert {one.study_instance_uid for one in rows(node, t.instance)} == {STUDY}
    assert len(rows(node, t.instance)) == 2

    # What is seen there would be seen: a study of the same patient without that statement is stored and arrives, of nobody.
    node.receive(member(hostd, study=f"{STUDY}.2"))
    (arrived,) = lab.peer.wait()
    node.until(
        lambda: len(rows(node, t.instance)) == 4 and len(written(node)) == 1, "it is stored and written", timeout_s=60
    )
    assert P_DATA_TF in lab.recorder.pdu_types()
    assert bytes(arrived.dataset.PixelData)[:64] in lab.recorder.seen
    seen = lab.recorder.seen + written(node)[0].read_bytes()
    for word in (NAME, PATIENT, STUDY):
        assert word.encode() not in seen
