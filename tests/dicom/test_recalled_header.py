"""A header that is read beside the one before says what it says when it is read alone, whatever came before."""

import io
import random
import threading

from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from test_plain_header import SYNTAXES, data_set, encoded

from hostd.dicom import plain_header, recalled_header
from hostd.dicom.header import MAX_ELEMENTS, MAX_VALUE, read_header
from hostd.dicom.plain_header import Form
from hostd.dicom.recalled_header import Memory

FORM = Form(implicit=False, max_value=MAX_VALUE, max_elements=MAX_ELEMENTS)


def same(contents, form=FORM, memory=None):
    """Read data sets one after the other; each must say what it says alone. Return what is in mind afterwards."""
    memory = memory or Memory()
    for content in contents:
        alone = plain_header.read(content, form)
        beside = recalled_header.read(content, form, memory)
        assert beside == alone
        if alone is not None:
            assert list(beside.elements) == list(alone.elements)
    return memory


def written(dataset, syntax=SYNTAXES[1]):
    return encoded(dataset, syntax, undefined=True)


def changed(**elements):
    dataset = data_set()
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return written(dataset)


def test_of_two_that_differ_in_one_element_only_that_is_read_again(monkeypatch):
    read = []
    values = plain_header.Reader.values

    def watched(self, level, *args, **kwargs):
        if kwargs["depth"] == 0:
            read.append(sorted(level))
        return values(self, level, *args, **kwargs)

    monkeypatch.setattr(recalled_header.Reader, "values", watched)
    memory = Memory()
    for number in ("1", "22", "333"):
        recalled_header.read(changed(PatientID=number), FORM, memory)
    assert len(read[0]) > 10
    assert read[1:] == [[0x00100020], [0x00100020]]


def test_elements_that_come_go_and_change_are_noticed():
    some = changed(PatientID="2")
    more = changed(PatientID="another length", PatientSex="O", AccessionNumber="before", Columns=9)
    less = changed(PatientComments=None, Rows=None, ImageType=None)
    without_pixels = written(data_set(pixels=False))
    other = Dataset()
    other.SOPInstanceUID, other.PatientID, other.StudyID = "1.2", "1\\2", ""
    contents = [some, more, less, without_pixels, written(other), some, b"", more, written(Dataset()), less]
    same(contents + contents[::-1])


def test_text_is_read_by_its_own_character_set_and_numbers_by_their_own_sign():
    utf8, latin, none = (changed(SpecificCharacterSet=name) for name in ("ISO_IR 192", "ISO_IR 100", None))
    assert plain_header.read(utf8, FORM) != plain_header.read(latin, FORM)
    same([utf8, latin, none, latin, utf8, none, utf8])
    signed = encoded(data_set(nested=False), SYNTAXES[0], undefined=False)
    representation = b"\x28\0\x03\x01\2\0\0\0\1\0"
    assert representation in signed
    unsigned, neither = (signed.replace(representation, other) for other in (representation[:8] + b"\0\0", b""))
    form = Form(True, MAX_VALUE, MAX_ELEMENTS)
    assert plain_header.read(signed, form) != plain_header.read(unsigned, form)
    same([signed, unsigned, neither, signed, neither, unsigned, signed], form)


def test_what_there_is_no_room_for_is_left_out_as_ever_and_travels_in_the_next():
    small, large = data_set(), data_set()
    large.ReferencedPerformedProcedureStepSequence = Sequence([data_set() for _ in range(40)])
    for number in range(60):
        large.add_new(0x00291100 + number, "OB", b"y" * 1000)
        small.add_new(0x00291100 + number, "OB", b"y" * (1000 if number < 5 else 2))
    same([written(one) for one in (small, large, large, small, large, small, small)])
    tight = Form(implicit=False, max_value=MAX_VALUE, max_elements=40)
    same([written(data_set()), written(data_set())], tight)


def test_what_is_damaged_says_nothing_and_what_comes_after_it_all():
    whole = written(data_set())
    same([whole, whole[:-60], whole, whole[:100], whole, b"\xff" * 20, whole])


def unlike(seed, images=3, count=120):
    """Return headers of a series in which a few elements differ, and which is unlike any other."""
    choose = random.Random(seed)
    values = [choose.choice(["a", "bb", "ccc"]) if number % 3 else "same" for number in range(count)]
    contents = []
    for image in range(images):
        dataset = Dataset()
        for number, value in enumerate(values):
            dataset.add_new(0x00091000 + number, "LO", str(image) if number % 30 == 5 else value)
        contents.append(written(dataset))
    return contents


def test_runs_that_unlike_series_have_parted_are_joined_again_when_headers_are_alike():
    last = unlike(99)
    fewest = len(same(last).runs)
    memory = Memory()
    for seed in range(30):
        same(unlike(seed), memory=memory)
    assert len(same(last, memory=memory).runs) <= 32
    same([*last, *unlike(3), *last], memory=memory)
    for _ in range(3):  # however often they part, and in whatever order
        same([content for pair in zip(last, unlike(7), strict=True) for content in pair], memory=memory)
    same(last, memory=memory)
    assert fewest <= len(memory.runs) <= 32


def test_one_memory_serves_both_forms():
    memory = Memory()
    explicit, implicit = (encoded(data_set(), syntax, undefined=False) for syntax in reversed(SYNTAXES))
    for _ in range(2):
        same([explicit], memory=memory)
        same([implicit, explicit], Form(True, MAX_VALUE, MAX_ELEMENTS), memory)


def test_each_thread_has_its_own_in_mind():
    memory = same([written(data_set())])
    seen = []
    thread = threading.Thread(target=lambda: seen.append(memory.runs))
    thread.start()
    thread.join()
    assert seen == [[]]
    assert memory.runs


def test_the_header_of_an_instance_is_the_same_beside_another():
    dataset = data_set()
    dataset.SOPClassUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2", "1.3", "1.4"
    memory = Memory()
    for number in range(1, 4):
        dataset.SOPInstanceUID = f"1.5.{number}"
        content = written(dataset)
        facts = {"offset": 0, "transfer_syntax": SYNTAXES[1].uid, "size": len(content)}
        assert read_header(io.BytesIO(content), **facts, memory=memory) == read_header(io.BytesIO(content), **facts)


_PARTS = [(syntax.is_implicit_vr, encoded(data_set(), syntax, undefined=u)) for syntax in SYNTAXES for u in (0, 1)]
_EDITS = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=3)
_CUTS = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 60)), max_size=2)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(_PARTS), st.lists(st.tuples(_EDITS, _CUTS), min_size=2, max_size=5))
def test_whatever_came_before_a_header_says_the_same(part, changes):
    implicit, content = part
    contents = []
    for edits, cuts in changes:
        other = bytearray(content)
        for at, value in edits:
            other[at % len(other)] = value
        for source, target, count in cuts:  # something is taken from one place, and stands in another too
            other[target:target] = other[source : source + count]
        contents.append(bytes(other))
    same(contents, Form(implicit, MAX_VALUE, MAX_ELEMENTS))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sets(st.sampled_from(range(12))), min_size=2, max_size=6), st.randoms())
def test_any_elements_may_come_and_go(choices, random):
    contents = []
    for chosen in choices:
        dataset = Dataset()
        for number in sorted(chosen):
            dataset.add_new(0x00091000 + number, "LO", random.choice(["", "a", "bb", "ccc"]))
        contents.append(written(dataset))
    same(contents)
