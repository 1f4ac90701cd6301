"""The benchmark of queries makes instances that can be stored, and says what it has measured."""

import io

from pydicom import dcmread

from benchmarks.query.__main__ import Row, Size, made, queries, section


def test_each_instance_is_of_its_study_and_series():
    one = dcmread(io.BytesIO(made(7, 1, 0)))
    assert (one.StudyInstanceUID, one.SeriesInstanceUID) == ("2.25.77.7", "2.25.77.7.1")
    assert one.PatientID == "P00007"


def test_a_query_finds_a_tenth_where_it_says_so():
    names = [str(dcmread(io.BytesIO(made(number, 0, 0))).PatientName) for number in range(40)]
    (within,) = [query for query in queries(40) if query.keys.get("PatientName")]
    assert sum("GARCIA" in name for name in names) == within.answers == 4


def test_the_section_says_which_are_slower():
    query = queries(20)[0]
    rows = [Row("C-FIND", query, [1.0, 1.0], [2.0, 4.0]), Row("QIDO-RS", query, [3.0], [2.0])]
    text = section(rows, Size(20, 2)).markdown()
    assert "| 1 | C-FIND | **3.00** [2.00 to 4.00] | 1.00 | 3.00 [2.00 to 4.00] |" in text
    fast, slow = section(rows, Size(20, 2)).targets
    assert (fast.what, fast.is_reached, fast.note) == ("C-FIND: times as fast as Orthanc", True, "none is slower")
    assert (slow.is_reached, slow.note) == (False, "1 of 1 are slower: one patient by its ID 0.67")
