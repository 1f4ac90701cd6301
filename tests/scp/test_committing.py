"""Storage commitment as hostd gives it: what is good is promised and kept, what is not is named with its reason, and the report gets there."""

import contextlib
import threading

import pytest
import requests
from ports import free_port
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from requesting import associate
from retrieving_kit import CT, Holder, file_of

from hostd.archive import deletes, instances, promises, retention
from hostd.dicom.commitment import INSTANCE, PUSH_MODEL

MR = "1.2.840.10008.5.1.4.1.1.4"


class Asker:
    """A modality of pynetdicom: asks, and takes reports on a port of its own."""

    def __init__(self):
        self.port = free_port()
        self.reports = []
        self.status = 0
        self._came = threading.Condition()
        self._server = None

    @property
    def entry(self):
        return {"aet": "ASKER", "host": "127.0.0.1", "port": self.port}

    def listen(self):
        ae = AE(ae_title="ASKER")
        ae.add_supported_context(PUSH_MODEL, scu_role=False, scp_role=True)
        self._server = ae.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, self._take)]
        )
        return self

    def _take(self, event):
        said = event.event_information
        good = {str(one.ReferencedSOPInstanceUID) for one in said.get("ReferencedSOPSequence", ())}
        bad = {str(one.ReferencedSOPInstanceUID): one.FailureReason for one in said.get("FailedSOPSequence", ())}
        with self._came:
            self.reports.append((str(said.TransactionUID), event.event_type, good, bad, event.assoc.requestor.ae_title))
            self._came.notify_all()
        return self.status, None

    def wait(self, count=1):
        with self._came:
            assert self._came.wait_for(lambda: len(self.reports) >= count, 60)
            return self.reports[count - 1]

    def ask(self, holder, *references, transaction="1.2.3.4", instance=INSTANCE, action=1, aet="ASKER", data_set=None):
        """Ask a node; return the status of its answer."""
        ae = AE(ae_title=aet)
        ae.add_requested_context(PUSH_MODEL)
        association = associate(ae, "127.0.0.1", holder.port, ae_title="HOSTD")
        assert association.is_established
        try:
            status, _ = association.send_n_action(
                data_set or asked(transaction, references), action, PUSH_MODEL, instance
            )
        finally:
            association.release()
        return status.Status

    def close(self):
        if self._server is not None:
            self._server.shutdown()


def asked(transaction, references):
    data_set = Dataset()
    if transaction is not None:
        data_set.TransactionUID = transaction
    data_set.ReferencedSOPSequence = []
    for sop_class, uid in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        data_set.ReferencedSOPSequence.append(item)
    return data_set


@pytest.fixture
def asker():
    with contextlib.closing(Asker()) as made:
        yield made


@pytest.fixture
def hold(tmp_path, request, asker):
    """Start a node that holds so many made images."""

    def start(count=1, **given):
        delivery = {"first_retry_s": 0.2, "max_retry_s": 0.5}
        holder = Holder(tmp_path / "node", modalities={"asker": asker.entry}, delivery=delivery, **given)
        request.addfinalizer(holder.stop)
        holder.uids = holder.store(*(file_of(number) for number in range(1, count + 1)))
        return holder

    return start


def stored(holder, uid):
    with holder.archive.read() as connection:
        return instances.by_sop_instance_uid(connection, uid)


def held_by(holder, uid):
    with holder.archive.read() as connection:
        return [promises.holders(connection, one.id) for one in instances.by_sop_instance_uid(connection, uid)]


def last_request(holder):
    with holder.archive.read() as connection:
        return promises.listing(connection)[0]


def test_what_is_stored_and_whole_is_promised_and_the_rest_is_named_with_its_reason(hold, asker):
    asker.listen()
    holder = hold(4)
    good, damaged, gone, other = holder.uids
    path = holder.archive.blobs.path
    with path(stored(holder, damaged)[0].blob.name).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    path(stored(holder, gone)[0].blob.name).unlink()
    references = [(CT, good), (CT, damaged), (CT, gone), (MR, other), (CT, "1.2.3.99")]
    assert asker.ask(holder, *references) == 0
    transaction, event_type, committed, failed, title = asker.wait()
    assert (transaction, event_type, title) == ("1.2.3.4", 2, "HOSTD")
    assert committed == {good}
    assert failed == {damaged: 0x0110, gone: 0x0110, other: 0x0119, "1.2.3.99": 0x0112}
    assert held_by(holder, good) == [["asker"]]
    assert held_by(holder, damaged) == [[]]


def test_all_is_well_is_reported_as_such(hold, asker, kit):
    asker.listen()
    holder = hold(2)
    assert asker.ask(holder, *((CT, uid) for uid in holder.uids)) == 0
    assert asker.wait()[1:4] == (1, set(holder.uids), {})
    kit.until(lambda: last_request(holder).state == "reported")
    assert last_request(holder).failed == {}


def test_a_report_is_made_again_until_it_is_taken_also_after_a_restart(hold, asker, kit):
    holder = hold()
    assert asker.ask(holder, (CT, holder.uids[0])) == 0  # nobody listens
    kit.until(lambda: last_request(holder).attempts >= 2)
    assert "could not connect" in last_request(holder).last_error
    assert held_by(holder, holder.uids[0]) == [["asker"]]
    holder.stop()
    holder.start()
    asker.listen()
    assert asker.wait()[1:4] == (1, set(holder.uids), {})
    kit.until(lambda: last_request(holder).state == "reported")


def test_a_report_that_is_refused_is_not_made_again_and_the_record_says_so(hold, asker, kit):
    asker.status = 0x0115
    asker.listen()
    holder = hold()
    assert asker.ask(holder, (CT, holder.uids[0])) == 0
    kit.until(lambda: last_request(holder).state == "failed")
    assert "0x0115" in last_request(holder).last_error
    assert len(asker.reports) == 1
    assert held_by(holder, holder.uids[0]) == [["asker"]]


def test_what_is_promised_is_deleted_by_nobody_but_an_administrator_by_force(hold, asker):
    asker.listen()
    holder = hold(2, http={"port": 0})
    promised, free = holder.uids
    assert asker.ask(holder, (CT, promised)) == 0
    asker.wait()
    (one,) = stored(holder, promised)
    url = f"http://127.0.0.1:{holder.node.http.port}"
    for resource in (f"instances/{one.id}", f"series/{one.series}", f"studies/{one.study}", f"patients/{one.patient}"):
        answer = requests.delete(f"{url}/{resource}", timeout=60)
        assert answer.status_code == 409
        assert "has promised asker to keep" in answer.json()["Details"]
    assert stored(holder, promised)
    assert stored(holder, free)
    (said,) = requests.get(f"{url}/promises", timeout=60).json()
    assert (said["Modality"], said["Count"], said["Failed"]) == ("asker", 1, {})
    began = holder.archive.clock.now()
    assert requests.delete(f"{url}/instances/{one.id}", params={"force": "true"}, timeout=60).status_code == 200
    assert not stored(holder, promised)
    with holder.archive.read() as connection:
        rows = connection.exec_driver_sql("SELECT sop_instance_uid, broken_by, broken_at FROM promise").all()
    assert [(row.sop_instance_uid, row.broken_by) for row in rows] == [(promised, "somebody without a name")]
    assert rows[0].broken_at >= began


def test_what_is_promised_is_deleted_by_no_script_and_not_by_its_age(hold, asker):
    asker.listen()
    holder = hold(2)
    promised, free = holder.uids
    assert asker.ask(holder, (CT, promised)) == 0
    asker.wait()
    (one,) = stored(holder, promised)
    do, now = holder.archive.writer.do, holder.archive.clock.now()
    meant = {"instance": one.id, "content": one.received_sha256, "after": None}
    assert do(lambda c: deletes._carry_out(c, 0, meant, now)) == "held"
    facts = {"level": "series", "id": one.series, "number": 1 << 40}
    assert do(lambda c: deletes._carry_out(c, 0, {"many": facts, "after": None}, now)) == "held"
    assert stored(holder, free)
    assert do(lambda c: retention.expire(c, before=now + 1, now=now)) == 1
    assert do(lambda c: retention.expire(c, before=now + 1, now=now)) == 0
    assert stored(holder, promised)
    assert not stored(holder, free)


def test_requests_that_mean_nothing_and_those_of_strangers_are_refused(hold, asker):
    holder = hold()
    (uid,) = holder.uids
    assert asker.ask(holder, (CT, uid), instance="1.2.3") == 0x0112
    assert asker.ask(holder, (CT, uid), action=2) == 0x0123
    assert asker.ask(holder) == 0x0115
    assert asker.ask(holder, data_set=asked(None, [(CT, uid)])) == 0x0115
    assert asker.ask(holder, (CT, "1.2.x")) == 0x0115
    assert asker.ask(holder, (CT, uid), aet="STRANGER") == 0x0124
    with holder.archive.read() as connection:
        assert not promises.listing(connection)
    assert held_by(holder, uid) == [[]]
