"""/metrics: what Prometheus reads, and nothing of a patient."""

import pytest
from prometheus_client.parser import text_string_to_metric_families
from web_support import changed, dicom_file

from hostd.archive import conditions, deliveries, instances
from hostd.archive.conditions import Condition
from hostd.archive.records import Attempt


@pytest.fixture
def face(make_face):
    return make_face(destinations=lambda: {"peer:buffer": None, "modality:archive": None})


def read(client):
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def test_backlog_age_attempts_and_bytes_are_there(face, client):
    assert client.post("/instances", content=dicom_file()).status_code == 200
    now = face.archive.clock.now()

    def unit(connection):
        (one,) = instances.page(connection)
        common = {
            "instance": one.id, "sop_instance_uid": one.sop_instance_uid, "sop_class_uid": one.sop_class_uid,
            "content": one.received_sha256, "blob": one.blob.name, "now": now - 100,
        }  # fmt: skip
        first, _ = deliveries.ask(connection, destination="modality:archive", **common)
        deliveries.claim(connection, "modality:archive", 7, now, 1)
        deliveries.finish(connection, Attempt(first, 1, now, "delivered", "0x0000", 0, 0.25), 7)
        deliveries.ask(connection, destination="peer:buffer", **common)
        conditions.note(connection, Condition("destination:peer:buffer", True, now, "refused"))
        return one.blob.size

    size = face.archive.writer.do(unit)
    found = read(client)
    assert found["hostd_instances",] == 1
    assert found["hostd_deliveries", "modality:archive", "delivered"] == 1
    assert found["hostd_deliveries", "peer:buffer", "waiting"] == 1
    assert 100 <= found["hostd_delivery_oldest_seconds", "peer:buffer"] < 1000
    assert found["hostd_delivery_oldest_seconds", "modality:archive"] == 0
    assert found["hostd_destination_up", "peer:buffer"] == 0
    assert found["hostd_destination_up", "modality:archive"] == 1
    assert found["hostd_delivery_attempts_total", "modality:archive", "delivered"] == 1
    assert found["hostd_delivered_bytes_total", "modality:archive"] == size
    assert found["hostd_disk_free_bytes",] > 0
    assert found["hostd_events_total",] > 0


def test_nothing_of_a_patient_is_in_them(face, client):
    assert (
        client.post(
            "/instances", content=changed(dicom_file(), PatientID="SECRET-17", PatientName="Doe^Jane")
        ).status_code
        == 200
    )
    text = client.get("/metrics").text
    assert "SECRET-17" not in text
    assert "Doe" not in text
