"""What is de-identified together is handed out together, or not at all."""

from pathlib import Path

import pytest

from hostd.errors import InstanceFault
from hostd.transcoding.edits import Anonymize, Modify
from hostd.transcoding.stored import Product, Stored
from hostd.transcoding.together import Together
from hostd.transcoding.transform import Transcode, Transform

NOBODY = Anonymize(project="TRIAL7")
THEN_COMPRESSED = Transform((NOBODY, Transcode("1.2.840.10008.1.2.4.90")))
ASKED = (7, "modality:archive")
STUDY = [Stored(name, f"1.2.{name}", "") for name in "abc"]


class Maker:
    """Makes products of all but what cannot be de-identified, and notes what it was asked for."""

    def __init__(self, *bad):
        self.bad = set(bad)
        self.asked = []

    def __call__(self, stored, transform):
        self.asked.append((stored.blob, transform))
        if stored.blob in self.bad:
            raise InstanceFault("text is burned into the pixels")
        return Product(Path(stored.blob), "", stored.blob, stored.sop_instance_uid)

    def names(self):
        return [blob for blob, _ in self.asked]


def test_all_others_are_deidentified_first_and_no_more_than_that():
    make = Maker()
    Together(make).require(THEN_COMPRESSED, ASKED, lambda: STUDY)
    assert make.asked == [(name, Transform((NOBODY,))) for name in "abc"]


def test_one_that_cannot_be_deidentified_holds_all_and_is_named():
    together = Together(Maker("b"))
    with pytest.raises(InstanceFault, match=r"as long as 1\.2\.b is among it: text is burned into the pixels"):
        together.require(THEN_COMPRESSED, ASKED, lambda: STUDY)


def test_once_all_could_be_nobody_looks_again():
    make = Maker()
    together = Together(make)
    together.require(THEN_COMPRESSED, ASKED, lambda: STUDY)
    together.require(THEN_COMPRESSED, ASKED, lambda: pytest.fail("it was read again"))


def test_the_one_that_failed_is_looked_at_first_the_next_time():
    make = Maker("c")
    together = Together(make)
    for _ in range(2):
        with pytest.raises(InstanceFault):
            together.require(THEN_COMPRESSED, ASKED, lambda: STUDY)
    assert make.names() == ["a", "b", "c", "c"]


def test_without_the_one_that_failed_the_others_go():
    together = Together(Maker("b"))
    with pytest.raises(InstanceFault):
        together.require(THEN_COMPRESSED, ASKED, lambda: STUDY)
    together.require(THEN_COMPRESSED, ASKED, lambda: [STUDY[0], STUDY[2]])


def test_what_is_not_deidentified_goes_one_by_one():
    for transform in (Transform(), Transform((Modify(set={"PatientID": "X"}),))):
        Together(Maker()).require(transform, ASKED, lambda: pytest.fail("nothing goes together"))
