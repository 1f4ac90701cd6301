"""A lossy product is an instance of its own, the same whenever it is made, pinned while it is wanted, and never traded for its source."""

import msgspec
import pytest
from pydicom import dcmread
from transcoding_images import EXPLICIT, J2K, shipped

from hostd.archive import deliveries, installation, instances, receipts
from hostd.archive.archive import Archive
from hostd.archive.records import Attempt, Origin
from hostd.errors import CannotTranscodeError, InstanceFault, UnlikeReceiptError, WrongPixelsError
from hostd.intake.intake import Intake
from hostd.testing.clock import ManualClock
from hostd.transcoding import identity
from hostd.transcoding.options import EncodeOptions
from hostd.transcoding.pool import CodecPool
from hostd.transcoding.products import Products
from hostd.transcoding.stored import Stored
from hostd.transcoding.transform import Transcode, Transform

J2K91 = "1.2.840.10008.1.2.4.91"
LOSSY = Transform((Transcode(J2K91, quality=60),))
CHAIN = LOSSY.then(Transcode(EXPLICIT))
DAY = 86_400.0


@pytest.fixture(scope="module")
def codecs():
    pool = CodecPool(workers=1)
    yield pool
    pool.close()


class Forger:
    """The codecs, until `alter` is set: it gets the result's path and the receipt, and gives another receipt, or raises."""

    def __init__(self, pool):
        self.pool, self.alter, self.options = pool, None, []

    def transcode(self, source, target, result, options=None):
        self.options.append(options)
        receipt = self.pool.transcode(source, target, result, options)
        if self.alter is None:
            return receipt
        try:
            return self.alter(result, receipt)
        except BaseException:
            result.unlink()
            raise


@pytest.fixture
def forger(codecs):
    return Forger(codecs)


@pytest.fixture
def products(archive, forger):
    return Products(archive, forger)


def received(archive, name="CT_small.dcm", content=None):
    reception = Intake(archive, on_conflict="newest", name_sender=lambda _: None).receive_file(origin=Origin("http"))
    reception.write(content or shipped(name).read_bytes())
    identifier = reception.finish().instance
    with archive.read() as connection:
        return instances.get(connection, identifier)


def of(instance):
    return Stored(instance.blob.name, instance.sop_instance_uid, instance.received_sha256)


def ask(archive, instance, transform):
    return archive.writer.do(
        lambda c: deliveries.ask(
            c, instance=instance.id, sop_instance_uid=instance.sop_instance_uid, sop_class_uid=instance.sop_class_uid,
            destination="peer:x", content=instance.received_sha256, blob=instance.blob.name, now=archive.clock.now(),
            transform=transform.canonical(),
        )
    )[0]  # fmt: skip


def end(archive, number, outcome):
    def settle(connection):
        deliveries.claim(connection, "peer:x", 1, archive.clock.now(), 1)
        return deliveries.finish(connection, Attempt(number, 1, archive.clock.now(), outcome, "said"), 1)

    assert archive.writer.do(settle)


def receipt_of(archive, instance, transform):
    with archive.read() as connection:
        return receipts.find(connection, instance.blob.name, transform.canonical())


# -- identity


def test_a_lossy_product_is_an_instance_of_its_own_and_its_receipt_names_it(archive, products):
    instance = received(archive)
    product = products.bring(of(instance), LOSSY)
    made = dcmread(product.path)
    assert product.sop_instance_uid == made.SOPInstanceUID == made.file_meta.MediaStorageSOPInstanceUID
    assert product.sop_instance_uid.startswith("2.25.")
    assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == instance.sop_instance_uid
    receipt = receipt_of(archive, instance, LOSSY)
    assert receipt.facts["sop_instance_uid"] == product.sop_instance_uid
    assert products.bring(of(instance), LOSSY) == product
    assert products.bring(of(instance), Transform.into(J2K)).sop_instance_uid == instance.sop_instance_uid


def test_a_chain_goes_out_under_the_identity_of_what_lost_information(archive, products):
    instance = received(archive)
    product = products.bring(of(instance), CHAIN)
    assert product.transfer_syntax == EXPLICIT
    assert product.sop_instance_uid == products.bring(of(instance), LOSSY).sop_instance_uid
    assert dcmread(product.path).SOPInstanceUID == product.sop_instance_uid
    again = products.bring(of(instance), LOSSY.then(Transcode(J2K91, quality=30)))
    assert again.sop_instance_uid not in {product.sop_instance_uid, instance.sop_instance_uid}
    ratios = dcmread(again.path).LossyImageCompressionRatio
    assert len(ratios) == 2
    assert ratios[0] == dcmread(product.path).LossyImageCompressionRatio


def test_the_same_file_gives_the_same_instance_and_anything_else_another(archive, products):
    one = received(archive)
    first = products.bring(of(one), LOSSY).sop_instance_uid
    archive.writer.do(lambda c: instances.hide(c, one.id, 1.0))
    second = received(archive)  # the same file again, under a new name
    assert products.bring(of(second), LOSSY).sop_instance_uid == first
    changed = dcmread(shipped("CT_small.dcm"))
    changed.PixelData = changed.PixelData[::-1]
    other_pixels = archive.data / "other.dcm"
    changed.save_as(other_pixels)
    third = received(archive, content=other_pixels.read_bytes())
    assert third.sop_instance_uid == second.sop_instance_uid
    others = {
        products.bring(of(third), LOSSY).sop_instance_uid,
        products.bring(of(second), Transform((Transcode(J2K91, quality=61),))).sop_instance_uid,
        products.bring(of(second), Transform((Transcode(J2K91, ratio=60),))).sop_instance_uid,
        products.bring(of(second), Transform((Transcode("1.2.840.10008.1.2.4.81", quality=60),))).sop_instance_uid,
    }
    assert len(others) == 4
    assert first not in others


def test_two_installations_give_the_same_file_different_identities(archive, products, codecs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("another")
    another = Archive(folder, "node", ManualClock())
    try:
        there = Products(another, codecs).bring(of(received(another)), LOSSY)
        assert there.sop_instance_uid != products.bring(of(received(archive)), LOSSY).sop_instance_uid
        kept = another.secret
    finally:
        another.close()
    reopened = Archive(folder, "node", ManualClock())
    try:
        assert reopened.secret == kept
        assert len(kept) == 32
        assert reopened.writer.do(installation.secret) == kept
    finally:
        reopened.close()


def test_the_secret_never_reaches_a_codec(archive, forger, products):
    products.bring(of(received(archive)), LOSSY)
    (options,) = forger.options
    assert archive.secret not in msgspec.msgpack.encode(options)
    assert len(options.identity) == 32


def test_no_two_lists_of_fields_have_the_same_key():
    def key(**changes):
        fields = {"sop_instance_uid": "1.2", "content": "3", "before": "", "syntax": "4", "target": "5"} | changes
        return identity.key_of(b"secret", identity.Made(**fields), EncodeOptions(quality=5))

    keys = {
        key(), key(sop_instance_uid="1.", content="23"), key(sop_instance_uid="1.23", content=""), key(before="x"),
        key(syntax="45", target=""), key(content='3","'),
    }  # fmt: skip
    assert len(keys) == 6
    assert identity.uid_of(b"k", ["a 1", "b 2"]) != identity.uid_of(b"k", ["a 1b 2"])


# -- what cannot be made


@pytest.mark.parametrize("transform", [LOSSY, CHAIN])
@pytest.mark.parametrize("error", [CannotTranscodeError("why not"), WrongPixelsError("why not")])
def test_a_lossy_product_that_cannot_be_made_is_never_its_source(archive, forger, products, transform, error):
    def fail(_result, _receipt):
        raise error

    instance = received(archive)
    forger.alter = fail
    with pytest.raises(InstanceFault, match=r"JPEG 2000.*why not"):
        products.bring(of(instance), transform)
    assert receipt_of(archive, instance, LOSSY) is None
    assert list(archive.blobs.names()) == [instance.blob.name]


def test_a_worker_that_lies_about_the_identity_is_caught(archive, forger, products):
    instance = received(archive)
    forger.alter = lambda _result, receipt: msgspec.structs.replace(receipt, sop_instance_uid="2.25.1")
    with pytest.raises(InstanceFault, match="another instance"):
        products.bring(of(instance), LOSSY)
    assert list(archive.blobs.names()) == [instance.blob.name]


# -- letting go, and making again


def collected(archive, seconds=DAY):
    """Let time pass, and have the collector look twice: when pins go, and when their time is over."""
    archive.collect(trash_seconds=DAY)
    archive.clock.advance(seconds)
    return archive.collect(trash_seconds=DAY)


@pytest.mark.parametrize("transform", [LOSSY, CHAIN])
@pytest.mark.parametrize("outcome", ["delivered", "failed"])
def test_a_lossy_product_stays_until_its_deliveries_end_and_no_longer(archive, products, transform, outcome):
    instance = received(archive)
    number = ask(archive, instance, transform)
    product, lossy = products.bring(of(instance), transform), products.bring(of(instance), LOSSY)
    assert collected(archive, 400 * DAY) == 0
    assert product.path.exists()
    assert lossy.path.exists()
    end(archive, number, outcome)
    collected(archive)
    is_wanted = outcome == "failed"  # it may be retried
    assert (product.path.exists(), lossy.path.exists()) == (is_wanted, is_wanted)


def test_a_lossy_product_whose_source_was_deleted_stays_too(archive, products):
    instance = received(archive)
    ask(archive, instance, CHAIN)
    lossy = products.bring(of(instance), LOSSY)
    products.bring(of(instance), CHAIN)
    archive.writer.do(lambda c: instances.hide(c, instance.id, archive.clock.now()))
    assert collected(archive, 400 * DAY) == 0
    assert lossy.path.exists()


@pytest.mark.parametrize("transform", [LOSSY, Transform.into(J2K)])
def test_what_was_let_go_is_made_again_and_is_the_same(archive, products, transform):
    instance = received(archive)
    first = products.bring(of(instance), transform)
    content = first.path.read_bytes()
    before = receipt_of(archive, instance, transform).facts
    collected(archive)
    assert not first.path.exists()
    second = products.bring(of(instance), transform)
    assert (second.sop_instance_uid, second.path.read_bytes()) == (first.sop_instance_uid, content)
    after = receipt_of(archive, instance, transform).facts
    assert {k: v for k, v in after.items() if k != "milliseconds"} == {
        k: v for k, v in before.items() if k != "milliseconds"
    }


def flipped(result, receipt):
    content = bytearray(result.read_bytes())
    content[-30] ^= 1
    result.write_bytes(content)
    return msgspec.structs.replace(receipt, result_sha256="0" * 64, pixel_hash_after="other")


@pytest.mark.parametrize("transform", [LOSSY, Transform.into(J2K)])
def test_what_is_made_again_and_differs_is_an_error_and_the_receipt_stands(archive, forger, products, transform, capfd):
    instance = received(archive)
    products.bring(of(instance), transform)
    collected(archive)
    before = receipt_of(archive, instance, transform)
    forger.alter = flipped
    with pytest.raises(UnlikeReceiptError, match="made again"):
        products.bring(of(instance), transform)
    assert receipt_of(archive, instance, transform) == before
    assert list(archive.blobs.names()) == [instance.blob.name]
    assert "differs from its receipt" in "".join(capfd.readouterr())


def test_without_loss_the_same_pixels_will_do_but_a_lossy_product_is_the_same_to_the_byte(archive, forger, products):
    instance = received(archive)
    lossless = Transform.into(J2K)
    for transform in (lossless, LOSSY):
        products.bring(of(instance), transform)
    collected(archive)
    forger.alter = lambda _result, receipt: msgspec.structs.replace(receipt, result_sha256="1" * 64)
    assert products.bring(of(instance), lossless).path.exists()
    with pytest.raises(UnlikeReceiptError):
        products.bring(of(instance), LOSSY)


def test_a_receipt_outlives_a_product_that_cannot_be_made_again(archive, forger, products):
    def fail(_result, _receipt):
        raise CannotTranscodeError("not any more")

    instance = received(archive)
    products.bring(of(instance), Transform.into(J2K))
    collected(archive)
    forger.alter = fail
    assert products.bring(of(instance), Transform.into(J2K)).reason == "not any more"
    assert receipt_of(archive, instance, Transform.into(J2K)).outcome == "made"
