"""What a key matches (PS3.4 §C.2.2.2), and that what is looked up by the folded text finds all of it."""

import fnmatch
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostd.dicom.matching import LAST, Wildcard, digits, exact, fold, matcher


def is_found(vr, key, stored, *, is_exact=False):
    wanted = matcher(vr, key, is_exact=is_exact)
    return wanted is None or wanted.matches(stored)


@pytest.mark.parametrize(
    ("vr", "key", "found", "not_found"),
    [
        ("LO", "", ["", "x"], []),
        ("LO", "*", ["", "x"], []),
        ("LO", "**", ["", "x"], []),
        ("LO", "?", ["x"], ["", "xy"]),
        ("SH", "A1", ["A1", " A1 ", "a1"], ["A12", "XA1", ""]),
        ("SH", "A*", ["A", "A1", "abc"], ["BA", ""]),
        ("SH", "*1", ["A1", "1", "11"], ["12"]),
        ("SH", "A?1*", ["AX1", "AX1YYY"], ["A1", "AXX1"]),
        ("SH", "*A*B*", ["AB", "xAyBz"], ["BA", "A"]),
        ("SH", "A*A", ["AA", "AxA"], ["A"]),
        ("LO", "[x].+", ["[X].+"], ["xx"]),
        ("LO", "A\\B", ["A", "B", "C\\B"], ["C"]),
        ("LO", "A\\\\B", ["A", "B"], ["C", ""]),
        ("LO", "A\\*", ["A", "C", ""], []),
        ("LT", "a\\b", ["A\\B"], ["a", "b"]),
        ("UI", "1.2\\1.3", ["1.2", "1.3\0"], ["1.4", ""]),
        ("UI", "1.2.*", ["1.2.3"], ["1.2", "1.3"]),
        ("CS", "CT\\M?", ["CT", "MR"], ["US", ""]),
        ("PN", "smith^john", ["Smith^John", "SMITH^JOHN^^^", "Smith^John=山田"], ["Smith", "Smith^Johnny"]),
        ("PN", "Smith^^", ["Smith", "Smith^"], ["Smith^J"]),
        ("PN", "muller*", ["Müller^Jörg", "MULLER", "Mu\u0308ller"], ["Möller"]),
        ("PN", "*山田*", ["Yamada^Tarou=山田^太郎"], ["Yamada"]),
        ("PN", "=山田*", ["Yamada^Tarou=山田^太郎=やまだ^たろう"], ["Yamada=Yama=山田", "Yamada"]),
        ("PN", "==やまだ*", ["Yamada^Tarou=山田^太郎=やまだ^たろう", "==やまだ"], ["Yamada=やまだ"]),
        ("PN", "Wang^Xiao????", ["Wang^XiaoDong=王^小東", "Wang^XiaoDong"], ["Wang^Xiao=王^小東一二三四"]),
        ("PN", "*Tarou", ["Yamada^Tarou=山田^太郎", "Tarou"], ["Yamada^Tarou^A"]),
        ("PN", "Ya*=山田*", ["Yamada=山田^太郎", "Yamada=山田=やまだ"], ["Sato=山田", "Yamada=佐藤", "Yamada"]),
        ("PN", "=山田^太郎", ["Yamada^Tarou=山田^太郎", "Yamada=山田^太郎^=やまだ"], ["Yamada=山田^太", "山田^太郎"]),
        ("PN", "Smith^=S*", ["Smith=Sm", "SMITH^^=SMI"], ["Smith^J=Sm", "Smith"]),
        ("PN", "ΣΊΣΥΦΟΣ", ["Σίσυφος"], ["Σ"]),
        ("DA", "20200131", ["20200131", "2020.01.31"], ["20200130", ""]),
        ("DA", "20200101-20200131", ["20200101", "20200131", "2020.01.15"], ["20200201", "20191231", ""]),
        ("DA", "-20200131", ["19000101", "20200131"], ["20200201", ""]),
        ("DA", "20200101-", ["20200101", "29991231"], ["20191231"]),
        ("DA", "202001*", ["20200115"], ["20200215"]),
        ("DA", "-", ["20200101", "2020.01.01"], ["", "-"]),
        ("TM", "-", ["10", "12:00:00"], [""]),
        ("DT", "-", ["20200101120000"], [""]),
        ("TM", "10", ["10", "1000", "100000", "100000.000000", "10:00:00"], ["1001", "110000"]),
        ("TM", "0800-1200", ["08", "0800", "115959.999", "12:00:59"], ["0759", "1201", ""]),
        ("TM", "-12", ["0000", "125959"], ["13"]),
        ("DT", "20200101-20200102", ["20200101120000", "20200102235959.5+0100"], ["20200103", "2019"]),
        ("DT", "20200101120000-0500", ["20200101120000", "20200101120000.000000-0500"], ["20200101130000"]),
        ("DT", "2020-2021", ["20200101", "20211231"], ["2022", "2019"]),
        ("IS", "1", ["1", " 01", "+1"], ["11", "x"]),
        ("DS", "1.5", ["1.50", "15e-1"], ["1.51"]),
        ("IS", "1*", ["12"], ["2"]),
    ],
)
def test_a_key_finds_what_it_should(vr, key, found, not_found):
    assert [stored for stored in found if not is_found(vr, key, stored)] == []
    assert [stored for stored in not_found if is_found(vr, key, stored)] == []


def test_what_is_whole_is_found_by_all_of_it_and_by_a_list_that_names_it():
    for key, found, not_found in (
        ("a", ["A"], ["a\\b", "b\\a"]), ("a\\b", ["a", "b", "A\\B"], ["b\\a", "a\\b\\c"]), ("a*", ["a\\b"], ["b\\a"]),
    ):  # fmt: skip
        wanted = matcher("LO", key, is_exact=False, is_whole=True)
        assert [one for one in found if not wanted.matches(one)] == []
        assert [one for one in not_found if wanted.matches(one)] == []


def test_exactly_means_case_and_accents_too():
    assert is_found("PN", "Müller*", "Müller^J", is_exact=True)
    assert is_found("PN", "Mu\u0308ller^J", "Müller^J", is_exact=True)
    for key in ("müller*", "Muller*", "MÜLLER^J"):
        assert not is_found("PN", key, "Müller^J", is_exact=True)


_TEXT = st.text(alphabet="abAB*?éÉßzΣς山が\u0308^= ", max_size=8)


@given(_TEXT, _TEXT.filter(lambda text: "\\" not in text), st.booleans())
def test_wildcards_are_those_of_a_shell(key, stored, is_exact):
    wanted = matcher("LO", key, is_exact=is_exact)
    if wanted is None:
        return
    form = exact if is_exact else fold
    pattern = re.compile(fnmatch.translate(form(key.strip(" "))), re.DOTALL)
    text = form(stored.strip(" "))
    assert wanted.matches(stored) == (bool(stored) and pattern.fullmatch(text) is not None)


@given(st.sampled_from(["LO", "PN", "SH", "UI", "CS"]), _TEXT, _TEXT, st.booleans(), st.booleans())
def test_what_matches_lies_where_it_is_looked_for(vr, key, stored, is_exact, is_whole):
    wanted = matcher(vr, key, is_exact=is_exact, is_whole=is_whole)
    if wanted is not None and wanted.spans is not None and wanted.matches(stored):
        assert any(first <= fold(stored.strip(" \0")) <= last for first, last in wanted.spans)


@given(st.from_regex(r"\d{0,8}(-\d{0,8})?", fullmatch=True), st.from_regex(r"\d{8}", fullmatch=True))
def test_dates_that_match_lie_where_they_are_looked_for(key, stored):
    wanted = matcher("DA", key, is_exact=True)
    if wanted is not None and wanted.spans is not None and wanted.matches(stored):
        assert any(first <= digits(stored) <= last for first, last in wanted.spans)


@given(_TEXT, _TEXT)
def test_what_begins_alike_begins_alike_folded(one, other):
    composed = exact(one + other)
    for length in range(len(composed)):
        assert fold(composed).startswith(fold(composed[:length]))
    assert fold(one) + LAST > fold(one)


def test_a_hostile_pattern_takes_no_time():
    began = time.process_time()
    assert not Wildcard("*a" * 500 + "b").matches("a" * 60_000)
    assert not Wildcard("*" + "?a" * 200 + "*b").matches("a" * 20_000)
    assert time.process_time() - began < 5
