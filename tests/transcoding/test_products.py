"""Products are made once, proven by a receipt, and never stand for what could not be made."""

import hashlib
import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from products_kit import source, store
from pydicom import dcmread
from transcoding_images import CT, EXPLICIT, J2K, instance_file, shipped

from hostd.archive import deliveries, receipts
from hostd.errors import CannotTranscodeError, CodecCrashedError, InstanceFault, WrongPixelsError
from hostd.transcoding.pool import CodecPool
from hostd.transcoding.products import Products
from hostd.transcoding.receipt import Receipt
from hostd.transcoding.stored import Stored
from hostd.transcoding.transform import Transcode, Transform

J2K91 = "1.2.840.10008.1.2.4.91"
TO_J2K = Transform.into(J2K)


class FakePool:
    """Writes a file that only names the target syntax, or fails as told: `failures` are raised one after another."""

    def __init__(self):
        self.calls = []
        self.failures = []
        self.gives = "1.2.3"
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)

    def transcode(self, source, target, result, options=None):
        self.calls.append(target.uid)
        self.entered.release()
        assert self.gate.wait(60)
        if self.failures:
            raise self.failures.pop(0)
        content = instance_file(self.gives, target.uid)
        with result.open("xb") as file:
            file.write(content)
        digest = hashlib.sha256(content).hexdigest()
        return Receipt("made", "", "a", digest, EXPLICIT, target.uid, bytes_before=1, bytes_after=len(content))


@pytest.fixture
def pool():
    return FakePool()


@pytest.fixture
def products(archive, pool):
    return Products(archive, pool)


def of(blob):
    return Stored(blob, "1.2.3", "content")


def receipt_of(archive, blob, transform):
    with archive.read() as connection:
        return receipts.find(connection, blob, transform.canonical())


def files(archive):
    return sorted(archive.blobs.names())


def test_nothing_to_do_gives_the_source(products, pool, archive, blob):
    product = products.bring(of(blob), Transform())
    assert (product.path, product.transfer_syntax, product.blob) == (archive.blobs.path(blob), EXPLICIT, blob)
    assert not product.kept_original
    assert pool.calls == []


def test_a_file_that_is_in_that_syntax_already_is_used_as_it_is(products, pool, blob):
    assert products.bring(of(blob), Transform.into(EXPLICIT)).blob == blob
    assert pool.calls == []


def test_a_product_is_made_once_and_found_again(products, pool, archive, blob):
    first = products.bring(of(blob), TO_J2K)
    assert first == products.bring(of(blob), TO_J2K)
    assert pool.calls == [J2K]
    assert (first.transfer_syntax, first.path.exists()) == (J2K, True)
    receipt = receipt_of(archive, blob, TO_J2K)
    assert (receipt.outcome, receipt.result.name) == ("made", first.blob)
    assert receipt.result.sha256 == hashlib.sha256(first.path.read_bytes()).hexdigest()
    assert Receipt.from_dict(receipt.facts).result_syntax == J2K


def test_two_couriers_that_ask_at_the_same_time_make_one_transcode(products, pool, blob):
    pool.gate.clear()
    results = []
    threads = [threading.Thread(target=lambda: results.append(products.bring(of(blob), TO_J2K))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert pool.entered.acquire(timeout=60)
    pool.gate.set()
    for thread in threads:
        thread.join()
    assert pool.calls == [J2K]
    assert len({result.blob for result in results}) == 1
    assert products._locks._held == {}


def test_one_transcode_does_not_wait_for_another_of_another_file(products, pool, archive, blob):
    other = store(archive, source("1.2.4"))
    pool.gate.clear()
    threads = [threading.Thread(target=products.bring, args=(of(name), TO_J2K)) for name in (blob, other)]
    for thread in threads:
        thread.start()
    assert pool.entered.acquire(timeout=60)
    assert pool.entered.acquire(timeout=60)
    pool.gate.set()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("error", [CannotTranscodeError("why not"), WrongPixelsError("why not")])
def test_what_cannot_be_made_goes_on_as_it_is_and_the_receipt_says_why(products, pool, archive, blob, error):
    pool.failures = [error]
    product = products.bring(of(blob), TO_J2K)
    assert (product.blob, product.kept_original, product.reason) == (blob, True, "why not")
    receipt = receipt_of(archive, blob, TO_J2K)
    assert (receipt.outcome, receipt.result, receipt.facts["reason"]) == ("kept original", None, "why not")
    assert receipt.facts["source_sha256"] == hashlib.sha256(product.path.read_bytes()).hexdigest()
    assert products.bring(of(blob), TO_J2K) == product
    assert pool.calls == [J2K]
    assert files(archive) == [blob]


def test_another_patients_instance_is_thrown_away_and_the_source_goes_on(products, pool, archive, blob):
    pool.gives = "1.2.4"
    product = products.bring(of(blob), TO_J2K)
    assert (product.blob, product.kept_original) == (blob, True)
    assert "another instance" in product.reason
    assert files(archive) == [blob]


def test_what_must_be_changed_is_never_sent_unchanged(products, pool, archive, blob):
    transform = Transform.into(J2K, or_original=False)
    pool.failures = [CannotTranscodeError("why not")]
    with pytest.raises(InstanceFault, match=r"JPEG 2000 Lossless.*why not"):
        products.bring(of(blob), transform)
    assert receipt_of(archive, blob, transform) is None
    assert files(archive) == [blob]


def test_a_codec_that_crashed_gets_one_more_try(products, pool, blob):
    pool.failures = [CodecCrashedError("died")]
    assert not products.bring(of(blob), TO_J2K).kept_original
    assert len(pool.calls) == 2


def test_a_codec_that_crashes_twice_is_a_reason(products, pool, blob):
    pool.failures = [CodecCrashedError("died"), CodecCrashedError("died again")]
    assert products.bring(of(blob), TO_J2K).reason == "died again"


def test_a_codec_ended_because_the_node_stops_says_nothing_about_the_file(products, pool, archive, blob):
    products.stop()
    pool.failures = [CodecCrashedError("the node stops")]
    with pytest.raises(CodecCrashedError):
        products.bring(of(blob), TO_J2K)
    assert receipt_of(archive, blob, TO_J2K) is None
    assert len(pool.calls) == 1


def test_a_full_disk_is_no_verdict_on_the_file(products, pool, archive, blob):
    pool.failures = [OSError(28, "No space left on device")]
    with pytest.raises(OSError, match="No space"):
        products.bring(of(blob), TO_J2K)
    assert receipt_of(archive, blob, TO_J2K) is None
    assert products.bring(of(blob), TO_J2K).transfer_syntax == J2K


def test_a_receipt_that_cannot_be_entered_leaves_no_file(products, archive, blob, monkeypatch):
    monkeypatch.setattr(receipts, "keep", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        products.bring(of(blob), TO_J2K)
    assert files(archive) == [blob]


def test_a_product_that_was_let_go_is_made_again(products, pool, archive, blob):
    first = products.bring(of(blob), TO_J2K)
    assert archive.collect(trash_seconds=1e9) == 1
    assert not first.path.exists()
    second = products.bring(of(blob), TO_J2K)
    assert second.path.exists()
    assert second.blob != first.blob
    assert len(pool.calls) == 2


def test_a_product_whose_file_is_gone_is_made_again(products, pool, archive, blob):
    products.bring(of(blob), TO_J2K).path.unlink()
    assert products.bring(of(blob), TO_J2K).path.exists()
    assert len(pool.calls) == 2


def test_a_missing_or_unreadable_source_is_the_instances_fault(products, archive, blob):
    with pytest.raises(InstanceFault, match="cannot be read"):
        products.source(of(store(archive, b"this is no DICOM file at all")))
    archive.blobs.unlink(blob)
    with pytest.raises(InstanceFault, match="missing"):
        products.bring(of(blob), TO_J2K)


def test_a_delivery_names_its_file_and_transform(products, archive, blob):
    number, _ = archive.writer.do(
        lambda c: deliveries.ask(
            c, instance="i", sop_instance_uid="1.2.3", sop_class_uid=CT, destination="peer:x", content="c", blob=blob,
            transform=TO_J2K.canonical(), now=0.0,
        )
    )  # fmt: skip
    with archive.read() as connection:
        delivery = deliveries.get(connection, number)
    assert products.obtain(delivery).transfer_syntax == J2K
    with pytest.raises(InstanceFault, match="does not know"):
        products.obtain(replace(delivery, transform="{}"))


def test_the_codecs_make_a_product_of_a_real_image(archive):
    pool = CodecPool(workers=1)
    try:
        products = Products(archive, pool)
        source = shipped("CT_small.dcm")
        blob = store(archive, source.read_bytes())
        uid = str(dcmread(source, stop_before_pixels=True).SOPInstanceUID)
        product = products.bring(Stored(blob, uid, "content"), TO_J2K)
        assert (product.kept_original, product.transfer_syntax) == (False, J2K)
        assert products.source(of(product.blob)).transfer_syntax == J2K
        facts = receipt_of(archive, blob, TO_J2K).facts
        assert facts["pixel_hash_before"] == facts["pixel_hash_after"] != ""
    finally:
        pool.close()


uids = st.from_regex(r"[1-9]{1,5}(\.[0-9]{1,5}){1,5}", fullmatch=True)


@given(uids, st.booleans())
def test_a_transform_survives_its_text(to, or_original):
    transform = Transform.into(to, or_original=or_original)
    assert Transform.parse(transform.canonical()) == transform


def test_the_text_of_a_transform_is_stored_and_must_not_change():
    assert Transform.into(J2K).canonical() == '{"verb":"transcode","to":"1.2.840.10008.1.2.4.90"}'
    assert Transform((Transcode(J2K91, quality=80),)).canonical() == (
        '{"verb":"transcode","to":"1.2.840.10008.1.2.4.91","quality":80}'
    )
    assert Transform().canonical() == ""
    assert Transform.parse("") == Transform()


def test_the_text_of_the_first_steps_is_the_beginning_of_the_text_of_all():
    lossy = Transform((Transcode(J2K91, quality=80),))
    assert lossy.then(Transcode(EXPLICIT)).canonical().split("\n") == [
        lossy.canonical(), Transform.into(EXPLICIT).canonical(),
    ]  # fmt: skip


def test_a_change_of_syntax_without_loss_gives_way_to_the_next():
    assert Transform.into(J2K).then(Transcode(EXPLICIT)) == Transform.into(EXPLICIT)
    assert Transform.into(J2K, or_original=False).then(Transcode(EXPLICIT)) == Transform.into(
        EXPLICIT, or_original=False
    )
    assert Transform.into(J2K).then(Transcode(J2K91, quality=80)).steps == (Transcode(J2K91, quality=80),)
    assert len(Transform((Transcode(J2K91, quality=80),)).then(Transcode(EXPLICIT)).steps) == 2


def test_only_a_last_change_of_syntax_without_loss_may_be_left_out():
    lossy = Transform((Transcode(J2K91, quality=80),))
    assert Transform.into(J2K).required == Transform()
    assert Transform.into(J2K, or_original=False).required == Transform.into(J2K, or_original=False)
    assert lossy.required == lossy
    assert lossy.then(Transcode(EXPLICIT)).required == lossy


@pytest.mark.parametrize(
    "text", ["{}", "null", "x", '{"verb":"transcode","to":"1.2","or_original":1}',
             '{"verb":"transcode","to":"../x"}', '{"verb":"transcode","to":"1.2","odd":9}', '["1.2"]', "\n",
             '{"verb":"odd","to":"1.2"}']
)  # fmt: skip
def test_a_transform_of_an_unknown_kind_is_refused(text):
    with pytest.raises(CannotTranscodeError):
        Transform.parse(text)
