"""C-FIND as a service: limits, keys that are not matched, filters, and identifiers that are none."""

import dataclasses
from types import SimpleNamespace

import msgspec
import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from hostd.archive import receiving
from hostd.archive.archive import Archive
from hostd.archive.records import Origin
from hostd.config.query import Query
from hostd.dicom import data_sets
from hostd.dicom.query import PATIENT_ROOT, STUDY_ROOT, Question
from hostd.errors import FilterRefusedError
from hostd.scp.finding import FindService
from hostd.scp.services import Cancelled, Refusal
from hostd.testing.clock import ManualClock
from hostd.testing.made import arrival, arrive, offer

EXPLICIT, IMPLICIT = data_sets.SYNTAXES


@pytest.fixture
def archive(tmp_path):
    opened = Archive(tmp_path, "node", ManualClock())
    yield opened
    opened.close()


def exchange(*, root=STUDY_ROOT, syntax=EXPLICIT, heed=lambda: None, data_set=None, extended=b"", **keys):
    asked = Dataset()
    for keyword, value in keys.items():
        setattr(asked, keyword, value)
    return SimpleNamespace(
        data_set=data_sets.encode(asked, syntax) if data_set is None else data_set,
        context=SimpleNamespace(abstract_syntax=root, transfer_syntax=syntax, extended=extended),
        origin=Origin("dicom", calling_aet="ASKER"),
        heed=heed,
    )


def find(archive, settings=None, ask_filters=None, **asked):
    service = FindService(archive, lambda: settings or Query(), aet="HOSTD", ask_filters=ask_filters)
    given = exchange(**asked)
    answers = list(service.answer(given))
    syntax = given.context.transfer_syntax
    return answers, [data_sets.decode(one.data_set, syntax) for one in answers if one.data_set is not None]


@pytest.mark.parametrize("syntax", data_sets.SYNTAXES)
def test_a_match_has_what_was_asked_for_and_where_it_is(archive, syntax):
    arrive(archive, "1.2.3.4.5")
    answers, (match,) = find(
        archive, syntax=syntax, QueryRetrieveLevel="STUDY", PatientID="P1", StudyDate="",
        NumberOfStudyRelatedInstances="", ModalitiesInStudy="", InstanceAvailability="",
    )  # fmt: skip
    assert [one.status for one in answers] == [0xFF00]
    assert {element.keyword: element.value for element in match} == {
        "QueryRetrieveLevel": "STUDY", "RetrieveAETitle": "HOSTD", "PatientID": "P1", "StudyDate": "",
        "NumberOfStudyRelatedInstances": 1, "ModalitiesInStudy": "CT", "InstanceAvailability": "ONLINE",
    }  # fmt: skip


def test_main_tags_that_are_numbers_and_such_as_are_empty_are_answered(archive):
    one = arrival(archive)
    tags = one.header.tags | {0x00541330: ("US", [7]), 0x00204000: ("LT", [])}
    one = dataclasses.replace(one, header=msgspec.structs.replace(one.header, tags=tags))
    archive.writer.do(lambda c: receiving.take_in(c, one, "newest"))
    _, (match,) = find(archive, QueryRetrieveLevel="IMAGE", ImageIndex=7, ImageComments="")
    assert (match.ImageIndex, match.ImageComments) == (7, "")


def test_more_than_the_limit_is_told_as_a_failure(archive):
    offer(archive, range(5))
    answers, matches = find(archive, Query(limit_instances=3), QueryRetrieveLevel="IMAGE", SOPInstanceUID="")
    assert len(matches) == 3
    assert (answers[-1].status, answers[-1].comment) == (0xA700, "there are more than 3: ask for less")
    answers, matches = find(archive, Query(limit_instances=5), QueryRetrieveLevel="IMAGE", SOPInstanceUID="")
    assert [one.status for one in answers] == [0xFF00] * 5


DAYS = {
    "before": ("20060705", "0959"), "first": ("20060705", "1000"), "night": ("20060706", "0200"), "no time": ("20060706", ""),
    "last": ("20060707", "1800"), "after": ("20060707", "180101"), "never": ("", "1200"),
}  # fmt: skip


@pytest.mark.parametrize(("level", "prefix"), [("STUDY", "Study"), ("SERIES", "Series"), ("IMAGE", "InstanceCreation")])
@pytest.mark.parametrize(("dates", "times", "apart", "together"), [
    ("20060705-20060707", "1000-1800", {"first", "last"}, {"first", "night", "no time", "last"}),
    ("20060707-", "0300-", {"last", "after"}, {"last", "after"}),
    ("-20060706", "-0300", {"night"}, {"before", "first", "night", "no time"}),
    ("20060705-20060707", "1000-", {"first", "last", "after"}, {"first", "last", "after"}),
    ("20060705", "0900-1800", {"before", "first"}, {"before", "first"}),
])  # fmt: skip
def test_dates_and_times_are_one_range_where_that_is_agreed_on(archive, level, prefix, dates, times, apart, together):
    tags = {prefix + part: tag_for_keyword(prefix + part) for part in ("Date", "Time")}
    for number, (name, (date, time)) in enumerate(DAYS.items()):
        one = arrival(archive, f"1.2.3.4.{number}", study=f"1.2.{number}", series=f"1.2.3.{number}", patient_id=name)
        own = {
            tags[f"{prefix}Date"]: ("DA", [date] if date else []),
            tags[f"{prefix}Time"]: ("TM", [time] if time else []),
        }
        one = dataclasses.replace(one, header=msgspec.structs.replace(one.header, tags=one.header.tags | own))
        archive.writer.do(lambda c, one=one: receiving.take_in(c, one, "newest"))
    asked = {"QueryRetrieveLevel": level, "PatientID": "", f"{prefix}Date": dates, f"{prefix}Time": times}
    for extended, expected in ((b"", apart), (b"\1", apart), (b"\1\0\0", apart), (b"\1\1\0", together)):
        answers, matches = find(archive, **asked, extended=extended)
        assert {str(one.PatientID) for one in matches} == expected
        assert {one.status for one in answers} == {0xFF00}
        assert {one[f"{prefix}Time"].value for one in matches} == {DAYS[name][1] for name in expected}


def test_keys_that_are_not_matched_are_told_by_the_status(archive):
    arrive(archive)
    item = Dataset()
    item.CodeValue = "x"
    answers, (match,) = find(archive, QueryRetrieveLevel="STUDY", PatientID="", ProcedureCodeSequence=[item])
    assert answers[0].status == 0xFF01
    assert match.PatientID == "P1"
    assert not match.ProcedureCodeSequence


def test_what_scripts_want_is_looked_for(archive):
    arrive(archive)
    _, matches = find(
        archive,
        None,
        lambda q, _o: Question(q.level, q.keys | {0x00100020: "P1"}),
        QueryRetrieveLevel="STUDY",
        PatientID="X",
    )
    assert len(matches) == 1

    def refuse(question, origin):
        raise FilterRefusedError(f"not {origin.calling_aet}", 0xA700)

    with pytest.raises(Refusal, match="not ASKER") as refused:
        find(archive, None, refuse, QueryRetrieveLevel="STUDY")
    assert refused.value.status == 0xA700


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"QueryRetrieveLevel": "PATIENT"}, 0xA900),
        ({"QueryRetrieveLevel": "WORLD", "root": PATIENT_ROOT}, 0xA900),
        ({"PatientID": "x"}, 0xA900),
        ({"data_set": b"\x08\x00\x52\x00CS\xff\xff12"}, 0xC000),
        ({"data_set": b"\x08\x00\x52\x00CS\x06\x00STUDY \x10\x00\x20\x00LO"}, 0xC000),
    ],
)
def test_an_identifier_that_is_none_is_refused(archive, asked, status):
    with pytest.raises(Refusal) as refused:
        find(archive, **asked)
    assert refused.value.status == status


def test_a_level_may_be_written_in_small_letters(archive):
    arrive(archive)
    _, (match,) = find(archive, QueryRetrieveLevel="study", PatientID="")
    assert match.QueryRetrieveLevel == "STUDY"


def test_a_cancel_ends_a_query_that_finds_nothing_yet(archive):
    offer(archive, range(10))

    def heed():
        raise Cancelled

    with pytest.raises(Cancelled):
        find(archive, heed=heed, QueryRetrieveLevel="IMAGE", PatientWeight="1")
