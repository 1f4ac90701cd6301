"""P4: one place removes bytes, and only when nothing needs them."""

import pytest
import sqlalchemy as sa

from hostd.archive import deliveries, instances, receipts, scripts
from hostd.archive import tables as t
from hostd.archive.receipts import StoredReceipt
from hostd.archive.records import Attempt, Blob
from hostd.testing.made import arrive, header

BOTH_DATABASES = True

A = header().identity.instance


def hide(archive):
    archive.writer.do(lambda c: instances.hide(c, A, archive.clock.now()))


def files(archive):
    return len(list(archive.blobs.names()))


def ask(archive, transform=""):
    with archive.read() as connection:
        instance = instances.get(connection, A)
    number, _ = archive.writer.do(
        lambda c: deliveries.ask(
            c, instance=A, sop_instance_uid=instance.sop_instance_uid, sop_class_uid=instance.sop_class_uid, destination="modality:x",
            content=instance.received_sha256, blob=instance.blob.name, transform=transform, now=archive.clock.now(),
        )
    )  # fmt: skip
    return number, instance.blob.name


def finish(archive, number, outcome):
    archive.writer.do(lambda c: deliveries.claim(c, "modality:x", 1, archive.clock.now(), 10))
    archive.writer.do(lambda c: deliveries.finish(c, Attempt(number, 1, archive.clock.now(), outcome, ""), 1))


def test_what_is_in_the_archive_is_never_collected(archive, clock):
    arrive(archive)
    clock.advance(1e9)
    assert archive.collect(trash_seconds=0) == 0


def test_deleted_bytes_wait_in_the_trash(archive, clock):
    arrive(archive)
    hide(archive)
    assert archive.collect(trash_seconds=100) == 0
    clock.advance(99)
    assert archive.collect(trash_seconds=100) == 0
    clock.advance(2)
    assert archive.collect(trash_seconds=100) == 1
    assert files(archive) == 0


def test_an_event_that_a_script_has_not_passed_pins_its_file(archive):
    archive.writer.do(lambda c: scripts.meet(c, "a.py", 0.0, from_beginning=False))
    arrive(archive)
    hide(archive)
    assert archive.collect(trash_seconds=0) == 0
    archive.writer.do(lambda c: scripts.advance(c, "a.py", 0, after=0, to=4))
    assert archive.collect(trash_seconds=0) == 0, "the delete itself is yet to be told"
    archive.writer.do(lambda c: scripts.advance(c, "a.py", 0, after=4, to=5))
    assert archive.collect(trash_seconds=0) == 1


@pytest.mark.parametrize(("outcome", "removed"), [("delivered", 1), ("warning", 1), ("failed", 0)])
def test_an_open_or_failed_delivery_pins_its_file(archive, outcome, removed):
    arrive(archive)
    number, _ = ask(archive)
    hide(archive)
    assert archive.collect(trash_seconds=0) == 0
    finish(archive, number, outcome)
    assert archive.collect(trash_seconds=0) == removed
    assert files(archive) == 1 - removed


def test_the_trash_time_begins_when_the_last_pin_goes(archive, clock):
    arrive(archive)
    number, _ = ask(archive)
    hide(archive)
    archive.collect(trash_seconds=100)
    clock.advance(1000)
    finish(archive, number, "delivered")
    assert archive.collect(trash_seconds=100) == 0
    clock.advance(101)
    assert archive.collect(trash_seconds=100) == 1


def test_a_version_pins_its_file(archive):
    arrive(archive, content=b"one")
    arrive(archive, content=b"two")
    assert archive.collect(trash_seconds=0) == 0
    assert files(archive) == 2


def test_a_product_goes_when_its_deliveries_are_done_and_can_be_made_again(archive):
    arrive(archive)
    number, source = ask(archive, transform="T")
    product = archive.blobs.create()
    product.write(b"p")
    product.close()
    receipt = StoredReceipt(source, "T", "made", {}, Blob(product.name, 1, "s", "1.2.840.10008.1.2.4.90"))
    archive.writer.do(lambda c: receipts.keep(c, receipt, 1.0), blobs=[product.name])
    assert archive.collect(trash_seconds=1e9) == 0
    finish(archive, number, "delivered")
    assert archive.collect(trash_seconds=1e9) == 1
    with archive.read() as connection:
        kept = receipts.find(connection, source, "T")
    assert (kept.outcome, kept.result) == ("made", None)
    assert files(archive) == 1


def test_the_row_goes_before_the_file(archive, monkeypatch):
    """A crash between the two leaves a file without a row, which the sweep removes; never a row without its file."""
    arrive(archive)
    hide(archive)

    def crash(name):
        with archive.read() as connection:
            assert connection.execute(sa.select(t.blob.c.name).where(t.blob.c.name == name)).first() is None
        raise KeyboardInterrupt

    monkeypatch.setattr(archive.blobs, "unlink", crash)
    with pytest.raises(KeyboardInterrupt):
        archive.collect(trash_seconds=0)
