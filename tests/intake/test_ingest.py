"""Transcoding before the acknowledgement: what is stored is proven, told truly, and safe before it is answered for (P1, P4)."""

import hashlib
import io
import threading

import numpy as np
import pytest
import sqlalchemy as sa
from ingest_kit import EXPLICIT, FROM_CT1, IMPLICIT, J2K, data_set_hash, image
from pydicom import dcmread

from hostd.archive import blobs, instances, receipts
from hostd.archive import tables as t
from hostd.archive.blobs import BlobFile, FolderBlobs
from hostd.archive.records import Origin
from hostd.dicom.syntaxes import lookup
from hostd.errors import CannotTranscodeError, CodecCrashedError, ConflictError, StorageError, WrongPixelsError
from hostd.intake.ingest import Policy
from hostd.intake.intake import Intake
from hostd.transcoding.products import Products
from hostd.transcoding.receipt import Receipt
from hostd.transcoding.stored import Stored
from hostd.transcoding.transform import Transform


def test_what_is_stored_is_the_product_and_the_original_is_let_go(make):
    bench = make()
    content = image(side=64)
    assert bench.receive(content) == "stored"
    instance = bench.instance()
    assert instance.blob.transfer_syntax == J2K
    assert instance.received_sha256 == data_set_hash(content)
    assert (instance.origin, instance.metadata) == (FROM_CT1, {})
    with bench.archive.read() as connection:
        assert instances.statistics(connection).size == instance.blob.size
    stored = bench.archive.blobs.path(instance.blob.name).read_bytes()
    assert (len(stored), hashlib.sha256(stored).hexdigest()) == (instance.blob.size, instance.blob.sha256)
    assert np.array_equal(bench.stored().pixel_array, dcmread(io.BytesIO(content)).pixel_array)
    assert bench.files() == [instance.blob.name]
    bench.check_files()
    assert bench.pending() == 0


def test_the_event_tells_what_is_stored_and_how_it_was_received(make):
    bench = make()
    content = image(syntax=IMPLICIT)
    bench.receive(content)
    event, header = bench.event(0)
    instance = bench.instance()
    assert (event.kind, event.blob, event.content) == ("stored_instance", instance.blob.name, data_set_hash(content))
    assert (header.transfer_syntax, header.size) == (J2K, instance.blob.size)
    receipt = Receipt.from_dict(event.receipt)
    assert (receipt.outcome, receipt.source_syntax, receipt.result_syntax) == ("made", IMPLICIT, J2K)
    assert (receipt.source_sha256, receipt.result_sha256) == (hashlib.sha256(content).hexdigest(), instance.blob.sha256)
    assert receipt.pixel_hash_before == receipt.pixel_hash_after != ""
    assert receipt.verified_by
    (row,) = bench.rows(t.receipt)
    assert (row.outcome, row.result, row.facts) == ("made", instance.blob.name, event.receipt)


def test_the_product_waits_in_the_trash_like_any_other_file_for_it_cannot_be_made_again(make):
    bench = make()
    bench.receive(image())
    bench.archive.writer.do(lambda c: instances.hide(c, bench.instance().id, bench.archive.clock.now()))
    assert bench.archive.collect(trash_seconds=100) == 0
    bench.archive.clock.advance(101)
    assert bench.archive.collect(trash_seconds=100) == 1


def test_nothing_is_transcoded_without_a_policy_and_there_is_no_receipt(make):
    bench = make(policy=Policy())
    bench.receive(image())
    event, header = bench.event(0)
    assert (bench.pool.calls, event.receipt, header.transfer_syntax) == (0, None, EXPLICIT)
    assert bench.instance().blob.transfer_syntax == EXPLICIT


def test_what_came_by_c_store_is_transcoded_too(make):
    bench = make()
    content = image()
    offset = len(content) - len(content[content.index(b"\x08\x00\x16\x00") :])
    reception = bench.intake.receive(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        sop_instance_uid="1.2.3.4.1",
        transfer_syntax=EXPLICIT,
        origin=FROM_CT1,
    )
    reception.write(content[offset:])
    assert reception.finish().outcome == "stored"
    assert bench.instance().blob.transfer_syntax == J2K


def test_an_identical_repeat_is_not_transcoded(make):
    bench = make()
    assert bench.receive(image()) == "stored"
    assert bench.receive(image()) == "already stored"
    assert bench.pool.calls == 1
    assert bench.kinds() == ["stored_instance", "received_again"]
    event, header = bench.event(1)
    instance = bench.instance()
    assert (event.blob, header.transfer_syntax, header.size) == (instance.blob.name, J2K, instance.blob.size)
    assert event.receipt["outcome"] == "made"
    bench.check_files()


def test_of_two_that_come_at_one_time_the_second_is_a_repeat_and_is_not_transcoded(make):
    bench = make(threads=2)
    bench.pool.gate.clear()
    outcomes = []
    senders = [threading.Thread(target=lambda: outcomes.append(bench.receive(image()))) for _ in range(3)]
    for sender in senders:
        sender.start()
    assert bench.pool.entered.acquire(timeout=60)
    bench.pool.gate.set()
    for sender in senders:
        sender.join(60)
    assert sorted(outcomes) == ["already stored", "already stored", "stored"]
    assert bench.pool.calls == 1
    bench.check_files()


def test_the_same_image_in_another_transfer_syntax_is_other_content(make):
    bench = make()
    assert bench.receive(image()) == "stored"
    assert bench.receive(image(syntax=IMPLICIT)) == "replaced"
    assert bench.pool.calls == 2


def test_other_content_is_transcoded_and_the_earlier_product_is_a_version(make):
    bench = make()
    bench.receive(image(seed=1))
    first = bench.instance().blob
    assert bench.receive(image(seed=2)) == "replaced"
    second = bench.instance().blob
    assert [(row.blob, row.received_sha256) for row in bench.rows(t.version)] == [
        (first.name, data_set_hash(image(seed=1)))
    ]
    assert (second.transfer_syntax, second.name != first.name) == (J2K, True)
    event, header = bench.event(1)
    assert (event.kind, event.blob, header.transfer_syntax) == ("conflicting_instance", second.name, J2K)
    bench.check_files()


def test_with_the_first_kept_the_version_is_transcoded(make):
    bench = make(on_conflict="first")
    bench.receive(image(seed=1))
    assert bench.receive(image(seed=2)) == "kept as version"
    assert bench.receive(image(seed=2)) == "already stored"
    (version,) = bench.rows(t.version)
    event, header = bench.event(1)
    assert (event.blob, header.transfer_syntax) == (version.blob, J2K)
    assert bench.pool.calls == 2
    bench.check_files()


def test_what_is_refused_is_not_transcoded(make):
    bench = make(on_conflict="refuse")
    bench.receive(image(seed=1))
    with pytest.raises(ConflictError):
        bench.receive(image(seed=2))
    assert bench.pool.calls == 1
    assert bench.events()[1].blob is None
    bench.check_files()


def test_the_product_of_a_script_stays_as_it_is(make):
    bench = make()
    bench.receive(image(), origin=Origin("script"))
    assert (bench.pool.calls, bench.instance().blob.transfer_syntax) == (0, EXPLICIT)


# -- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failures", "reason", "is_final"),
    [
        ([CannotTranscodeError("its pixels are odd")], "its pixels are odd", True),
        ([WrongPixelsError("the pixels differ")], "the pixels differ", True),
        ([CodecCrashedError("it died"), CodecCrashedError("it died again")], "it died again", True),
        ([OSError(28, "No space left on device")], "No space left", False),
        ([StorageError("no file can be created")], "no file", False),
        ([ZeroDivisionError("oops")], "hostd failed: ZeroDivisionError: oops", False),
    ],
)
def test_a_failure_keeps_the_original_and_everything_says_so(make, capsys, failures, reason, is_final):
    bench = make()
    bench.pool.failures = list(failures)
    content = image()
    assert bench.receive(content) == "stored"
    instance = bench.instance()
    assert bench.archive.blobs.path(instance.blob.name).read_bytes() == content
    assert reason in instance.metadata["IngestTranscodingFailed"]
    event, header = bench.event(0)
    assert (event.kind, event.blob, header.transfer_syntax) == ("stored_instance", instance.blob.name, EXPLICIT)
    receipt = Receipt.from_dict(event.receipt)
    assert (receipt.outcome, receipt.source_syntax, receipt.result_syntax) == ("kept original", EXPLICIT, EXPLICIT)
    assert receipt.source_sha256 == receipt.result_sha256 == hashlib.sha256(content).hexdigest()
    assert reason in receipt.reason
    rows = bench.rows(t.receipt)
    assert [(row.source, row.outcome, row.result) for row in rows] == [
        (instance.blob.name, "kept original", None)
    ] * is_final
    assert "the original is kept" in capsys.readouterr().out
    bench.check_files()


def test_a_crash_is_tried_once_more(make):
    bench = make()
    bench.pool.failures = [CodecCrashedError("it died")]
    bench.receive(image())
    assert (bench.pool.calls, bench.instance().blob.transfer_syntax, bench.instance().metadata) == (2, J2K, {})


def test_a_product_of_another_instance_is_thrown_away(make, monkeypatch):
    bench = make()
    honest = bench.pool.transcode

    def confused(source, target, result, options=None):
        (source.parent / "other").write_bytes(image(2))
        return honest(source.parent / "other", target, result)

    monkeypatch.setattr(bench.pool, "transcode", confused)
    bench.receive(image())
    assert "another instance" in bench.instance().metadata["IngestTranscodingFailed"]
    assert bench.instance().blob.transfer_syntax == EXPLICIT


def test_what_no_installed_codec_writes_is_kept(make):
    bench = make(policy=Policy(lookup("JPEG2000MCLossless")))
    bench.receive(image())
    assert "1.2.840.10008.1.2.4.92" in bench.instance().metadata["IngestTranscodingFailed"]


def test_the_mark_of_a_failure_goes_with_the_content_that_failed(make):
    bench = make()
    bench.pool.failures = [CannotTranscodeError("no")]
    bench.receive(image(seed=1))
    bench.receive(image(seed=2))
    assert bench.instance().metadata == {}


def test_what_failed_on_ingest_is_not_tried_again_for_a_delivery(make):
    bench = make()
    bench.pool.failures = [CannotTranscodeError("no")]
    bench.receive(image())
    product = Products(bench.archive, bench.pool).bring(
        Stored(bench.instance().blob.name, "1.2.3.4.1", bench.instance().received_sha256), Transform.into(J2K)
    )
    assert (product.kept_original, product.reason, bench.pool.calls) == (True, "no", 1)


# -- the order of safety ------------------------------------------------------------------------------------------------


def test_file_then_directory_then_commit_then_answer(make, monkeypatch):
    bench = make()
    steps = []

    def noted(owner, name, step):
        original = getattr(owner, name)

        def replaced(self, *args):
            result = original(self, *args)
            steps.append(step(*args) if callable(step) else step)
            return result

        monkeypatch.setattr(owner, name, replaced)

    noted(BlobFile, "seal", "received file synced")
    noted(FolderBlobs, "sync_directories", lambda names: f"directory of {len(names)} synced")
    noted(type(bench.archive.writer), "_execute", "committed")
    noted(type(bench.pool), "transcode", "transcoded")
    noted(Intake, "_keep", "answered")
    bench.receive(image())
    # What was made is synced by the codec pool; what it was made of is not kept.
    assert steps == ["transcoded", "directory of 1 synced", "committed", "answered"]
    steps.clear()
    bench.pool.failures.append(CannotTranscodeError("no"))
    bench.receive(image(2))
    assert steps == ["received file synced", "directory of 1 synced", "committed", "answered"]
    steps.clear()
    bench.pool.gate.clear()
    bench.intake._ack_budget_s = 0.01
    bench.receive(image(3))
    assert steps == ["received file synced", "directory of 1 synced", "committed", "answered"]
    bench.pool.gate.set()


def test_in_a_burst_the_name_of_what_was_made_is_synced_after_it_was_made(make, monkeypatch):
    bench = make()
    for _ in range(blobs._AHEAD):
        bench.archive.blobs.create().abandon()
    synced = set()
    sync = blobs.sync_directory

    def noted(directory):
        sync(directory)
        synced.update(path.name for path in directory.iterdir() if path.stat().st_size)

    monkeypatch.setattr(blobs, "sync_directory", noted)
    bench.receive(image())
    assert bench.instance().blob.name.rpartition("/")[2] in synced


def test_a_received_file_that_cannot_be_synced_is_not_acknowledged_and_leaves_nothing(make, monkeypatch):
    bench = make()
    bench.pool.failures.append(CannotTranscodeError("no"))

    def fails(_file):
        raise StorageError("no")

    monkeypatch.setattr(BlobFile, "seal", fails)
    with pytest.raises(StorageError):
        bench.receive(image(1))
    bench.pool.gate.clear()
    bench.intake._ack_budget_s = 0.01
    with pytest.raises(StorageError):
        bench.receive(image(2))
    bench.pool.gate.set()
    monkeypatch.undo()
    bench.intake._ack_budget_s = 20.0
    assert bench.receive(image(2)) == "stored"
    assert [bench.instance(number) is None for number in (1, 2)] == [True, False]
    bench.until(lambda: bench.files() == sorted(row.name for row in bench.rows(t.blob)), "only what has a row stays")


def test_a_commit_that_fails_is_not_acknowledged_and_the_sweep_removes_both_files(make):
    bench = make()

    def fails(_connection):
        raise OSError(5, "Input/output error")

    sa.event.listen(bench.archive._writing, "commit", fails)
    with pytest.raises(StorageError):
        bench.receive(image())
    sa.event.remove(bench.archive._writing, "commit", fails)
    assert len(bench.files()) == 2
    assert bench.instance() is None
    bench.archive._sweep()
    assert bench.files() == []


def test_the_receipt_is_found_by_what_a_delivery_would_ask_for(make):
    bench = make()
    bench.receive(image())
    (row,) = bench.rows(t.receipt)
    with bench.archive.read() as connection:
        found = receipts.find(connection, row.source, Transform.into(J2K).canonical())
    assert found.result == bench.instance().blob
