"""A product of an edit is made once, sent under its own identity, and never stands aside for the source."""

import hashlib

import pytest
from products_kit import source, store
from transcoding_images import EXPLICIT, J2K, instance_file

from hostd.archive import receipts
from hostd.errors import CannotEditError, CodecCrashedError, InstanceFault
from hostd.transcoding.edits import Anonymize, Modify, Redact
from hostd.transcoding.products import Products
from hostd.transcoding.receipt import Receipt
from hostd.transcoding.stored import Stored
from hostd.transcoding.transform import Transcode, Transform

TRIAL = Transform((Anonymize("TRIAL7"),))
STORED_UID, MADE_UID = "1.2.3", "2.25.7"


class FakeEditor:
    """Stands for editor and codecs; `failures` come first, one a call."""

    def __init__(self):
        self.calls = []
        self.failures = []

    def edit(self, step, source, result):
        self.calls.append(step)
        return self._written(result, EXPLICIT)

    def transcode(self, source, target, result, options=None):
        self.calls.append(target.uid)
        assert MADE_UID.encode() in source.read_bytes()  # what the edit made, not the instance
        return self._written(result, target.uid)

    def _written(self, result, syntax):
        if self.failures:
            raise self.failures.pop(0)
        content = instance_file(MADE_UID, syntax)
        result.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        return Receipt("made", "", "a", digest, EXPLICIT, syntax, bytes_after=len(content), sop_instance_uid=MADE_UID)


@pytest.fixture
def editor():
    return FakeEditor()


@pytest.fixture
def products(archive, editor):
    return Products(archive, editor, editor=editor)


@pytest.fixture
def stored(archive):
    return Stored(store(archive, source(STORED_UID)), STORED_UID, "c")


def test_the_product_is_made_once_and_has_its_own_uid(products, editor, stored):
    made = products.bring(stored, TRIAL)
    assert (made.sop_instance_uid, made.kept_original) == (MADE_UID, False)
    assert products.bring(stored, TRIAL) == made
    assert editor.calls == [Anonymize("TRIAL7")]


def test_other_rules_of_a_project_are_another_product(products, editor, stored):
    for rules in ("one", "two"):
        products.bring(stored, Transform((Anonymize("TRIAL7", rules=rules),)))
    assert [step.rules for step in editor.calls] == ["one", "two"]


def test_a_transcode_after_an_edit_is_of_what_the_edit_made(products, editor, stored):
    product = products.bring(stored, TRIAL.then(Transcode(J2K)))
    assert (product.transfer_syntax, editor.calls) == (J2K, [Anonymize("TRIAL7"), J2K])


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Anonymize("TRIAL7"), "could not be de-identified"),
        (Modify(remove=("PatientName",)), "could not be modified"),
        (Redact(((0, 0, 1, 1),)), "could not be blanked"),
    ],
)
def test_what_could_not_be_edited_fails_with_all_that_names_it_and_leaves_nothing(
    products, editor, archive, stored, step, words
):
    transform = Transform((step, Transcode(J2K, or_original=True)))
    editor.failures = [CannotEditError("text is burned into the pixels")] * 3
    for wanted in (transform, transform.required, Transform((step,))):
        with pytest.raises(InstanceFault, match=f"{words}, so nothing of it is sent: text is burned"):
            products.bring(stored, wanted)
    with archive.read() as connection:
        assert receipts.find(connection, stored.blob, Transform((step,)).canonical()) is None
    assert list(archive.blobs.names()) == [stored.blob]


def test_a_process_that_died_is_given_one_more_try(products, editor, stored):
    editor.failures = [CodecCrashedError("it died")]
    assert products.bring(stored, TRIAL).sop_instance_uid == MADE_UID
    editor.failures = [CodecCrashedError("it died")] * 2
    with pytest.raises(InstanceFault, match="it died"):
        products.bring(stored, Transform((Anonymize("TRIAL8"),)))


def test_where_nothing_edits_an_edit_fails(archive, editor, stored):
    with pytest.raises(InstanceFault, match="nothing here modifies instances"):
        Products(archive, editor).bring(stored, TRIAL)
