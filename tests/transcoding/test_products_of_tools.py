"""A product of a tool is made once, sent under its own identity, made again when the tool changes, and never stands for the source."""

import hashlib

import pytest
from transcoding_images import EXPLICIT, J2K, instance_file

from hostd.archive import receipts
from hostd.errors import InstanceFault, ToolError
from hostd.transcoding.products import Products
from hostd.transcoding.receipt import Receipt
from hostd.transcoding.stored import Stored
from hostd.transcoding.transform import RunTool, Transcode, Transform

CROP = Transform((RunTool("crop", ("17",)),))


def stored(blob):
    return Stored(blob, "1.2.3", "c")


class FakeMaker:
    """Stands for the codecs and for the tools; writes files that only name their instance and transfer syntax."""

    def __init__(self):
        self.calls = []
        self.failure = None
        self.all = {"crop": self}
        self.edition = "one"

    def version(self):
        return self.edition

    def run(self, name, args, source, result):
        self.calls.append((name, *args))
        if self.failure:
            raise self.failure
        return self._written(result, EXPLICIT, "2.25.7")

    def transcode(self, source, target, result, options=None):
        self.calls.append(target.uid)
        assert b"2.25.7" in source.read_bytes()  # what the tool made, not the instance
        return self._written(result, target.uid, "2.25.7")

    def _written(self, result, syntax, uid):
        content = instance_file(uid, syntax)
        result.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        return Receipt("made", "", "a", digest, EXPLICIT, syntax, codec_version=self.edition, bytes_after=len(content))


@pytest.fixture
def maker():
    return FakeMaker()


@pytest.fixture
def products(archive, maker):
    return Products(archive, maker, maker)


def test_the_product_has_its_own_uid_also_when_it_is_found_again(products, maker, blob):
    made = products.bring(stored(blob), CROP)
    assert (made.sop_instance_uid, made.kept_original) == ("2.25.7", False)
    assert products.bring(stored(blob), CROP) == made
    assert maker.calls == [("crop", "17")]


def test_other_arguments_are_another_product(products, maker, blob):
    products.bring(stored(blob), CROP)
    products.bring(stored(blob), Transform((RunTool("crop", ("18",)),)))
    assert maker.calls == [("crop", "17"), ("crop", "18")]


def test_a_transcode_after_a_tool_is_of_what_the_tool_made(products, maker, blob):
    product = products.bring(stored(blob), CROP.then(Transcode(J2K)))
    assert (product.transfer_syntax, product.sop_instance_uid) == (J2K, "2.25.7")
    assert maker.calls == [("crop", "17"), J2K]


def test_a_tool_that_has_changed_makes_its_product_again(products, maker, blob):
    products.bring(stored(blob), CROP)
    maker.edition = "two"
    products.bring(stored(blob), CROP)
    products.bring(stored(blob), CROP)
    assert len(maker.calls) == 2


def test_what_a_tool_could_not_make_fails_and_leaves_nothing(products, maker, archive, blob):
    maker.failure = ToolError("the tool crop: it failed (exit status 3)")
    with pytest.raises(InstanceFault, match=r"what crop was to make.*exit status 3"):
        products.bring(stored(blob), CROP)
    with archive.read() as connection:
        assert receipts.find(connection, blob, CROP.canonical()) is None
    assert list(archive.blobs.names()) == [blob]
    maker.failure = None
    assert products.bring(stored(blob), CROP).sop_instance_uid == "2.25.7"


def test_a_program_that_is_not_there_now_is_no_verdict_on_the_instance(products, maker, blob):
    maker.failure = FileNotFoundError(2, "No such file or directory", "/usr/bin/crop")
    with pytest.raises(FileNotFoundError):
        products.bring(stored(blob), CROP)


def test_without_tools_a_step_for_one_fails(archive, maker, blob):
    with pytest.raises(InstanceFault, match="no external tools"):
        Products(archive, maker).bring(stored(blob), CROP)


def test_the_text_of_a_tool_step_is_stored_and_must_not_change():
    assert CROP.canonical() == '{"verb":"run_tool","name":"crop","args":["17"]}'
    told = Transform((RunTool("x", makes=J2K),))
    assert told.canonical() == '{"verb":"run_tool","name":"x","makes":"1.2.840.10008.1.2.4.90"}'
    assert Transform.parse(CROP.then(Transcode(J2K)).canonical()).steps == (*CROP.steps, Transcode(J2K))
    assert (CROP.required, CROP.then(Transcode(J2K)).required) == (CROP, CROP)
