"""Every row of PS3.15 Table E.1-1, at the top and deep inside sequences: nothing planted survives that the table takes."""

from __future__ import annotations

import io
from datetime import date, timedelta

import pytest
from editing_kit import content, done, project

from hostd.editing import profile
from hostd.editing.profile import Action
from hostd.editing.terms import Project
from hostd.transcoding import elements as el
from hostd.transcoding.edits import Anonymize
from hostd.transcoding.source import open_source

RULES = profile.table()
OPTIONS = {
    "uids": "retain_uids", "device": "retain_device_identity", "institution": "retain_institution",
    "patient": "retain_patient_characteristics", "descriptors": "clean_descriptors", "structured": "clean_structured_content",
    "graphics": "clean_graphics",
}  # fmt: skip
UNLISTED_SEQUENCE = 0x00180012  # Contrast/Bolus Agent Sequence
UNPLANTED = (b"US", b"AS", b"AT")
"""VRs of two to four bytes: whether they are gone is asked of the element, not of the bytes of the file."""


def planted(rule, level):
    """Return an element whose value is found nowhere else, and what to look for."""
    number = sorted(RULES).index(rule.tag) * 4 + level
    vr = rule.vr.encode()
    text = f"Zq{rule.tag:08X}{'abcd'[level]}"
    match rule.vr:
        case "DA":
            text = (date(1000, 1, 1) + timedelta(days=number * 90)).strftime("%Y%m%d").rjust(8, "0")
        case "DT":
            text = (
                f"{(date(1001, 1, 1) + timedelta(days=number * 90)):%Y%m%d}".rjust(8, "0")
                + f"1213{number % 60:02}.{number:06}"
            )
        case "TM":
            text = f"1011{number % 60:02}.{number:06}"
        case "UI":
            text = f"1.2.777.{number}.{rule.tag}"
        case "DS" | "IS":
            text = f"77{number:06}5"
        case "US":
            return el.with_number({}, rule.tag, 60000 + level)[rule.tag], b""
        case "AS":
            return el.with_text({}, rule.tag, vr, "087Y")[rule.tag], b""
        case "SQ":
            inside = el.with_text({}, 0x00100010, b"PN", text)
            inside = el.with_text(inside, 0x00080104, b"LO", text + "m")
            return el.with_items({}, rule.tag, [inside])[rule.tag], text.encode()
        case "UR":
            text = f"urn:{text}"
    return el.Element(rule.tag, vr, text.encode() + b" " * (len(text) % 2)), text.encode()


def every_attribute():
    """Return a file with every attribute of the table, at the top, in an item, and in an item of an item; and the markers."""
    markers = {}
    levels = []
    for level in range(3):
        elements = {}
        for rule in RULES.values():
            if rule.tag == 0xFFFCFFFC:
                continue
            elements[rule.tag], markers[rule.tag, level] = planted(rule, level)
        levels.append(elements)
    levels[1] = el.with_items(levels[1], UNLISTED_SEQUENCE, [levels[2]])
    whole = el.with_items(levels[0], UNLISTED_SEQUENCE, [levels[1]])
    for number in range(0, 4, 2):
        for group, element in ((0x5000, 0x3000), (0x6000, 0x3000), (0x6000, 0x1500), (0x6000, 0x4000)):
            text = f"Zqrepeat{group + number:04X}{element:04X}"
            tag = group + number << 16 | element
            whole[tag] = el.Element(tag, b"OB", text.encode())
            markers[tag, 0] = text.encode()
    whole = el.with_text(whole, 0x00080016, b"UI", "1.2.840.10008.5.1.4.1.1.66")
    return whole, markers


def survivors(options):
    whole, markers = every_attribute()
    padding = b"\xfc\xff\xfc\xffOB\0\0\x0e\0\0\0Zqpadding12345"
    raw, _ = done(Anonymize("TRIAL7"), content(whole) + padding, project(**options))
    assert b"Zqpadding" not in raw
    return raw, {(tag, level) for (tag, level), marker in markers.items() if marker and marker in raw}


def test_no_value_survives_the_basic_profile():
    raw, found = survivors({"dates": "remove"})
    assert not found
    assert b"Zq" not in raw
    assert b"1.2.777." not in raw


def test_the_test_would_see_what_survives():
    """A project that keeps an attribute keeps its marker, so the search above does find markers."""
    _, found = survivors({"dates": "remove", "keep": ("InstitutionName", "StudyDate")})
    assert {tag for tag, _ in found} == {0x00080080, 0x00080020}


def test_dates_that_move_leave_no_date_behind():
    _, found = survivors({})
    assert {RULES[tag].vr for tag, _ in found} == {"TM"}
    assert {tag for tag, _ in found} <= {tag for tag, rule in RULES.items() if "modified_dates" in rule.options}


def test_full_dates_stay_only_where_the_table_lets_them():
    _, found = survivors({"dates": "keep"})
    expected = {tag for tag, rule in RULES.items() if rule.options.get("full_dates") == "K"}
    assert {tag for tag, _ in found if RULES[tag].vr in ("DA", "DT", "TM")} == {
        tag for tag in expected if RULES[tag].vr in ("DA", "DT", "TM")
    }
    assert {tag for tag, _ in found} <= expected


@pytest.mark.parametrize("column", OPTIONS)
def test_an_option_keeps_what_its_column_says_and_nothing_else(column):
    _, found = survivors({"dates": "remove", OPTIONS[column]: True})
    keeps = {tag for tag, rule in RULES.items() if rule.options.get(column) == "K"}
    kept_texts = {tag for tag in keeps if RULES[tag].vr not in ("SQ", *(vr.decode() for vr in UNPLANTED))}
    # What stands inside of what the basic profile removes is gone with it, so only the top level must be there.
    assert {tag for tag, level in found if level == 0} >= kept_texts - GONE_WITH_THE_FILE
    assert {tag for tag, _ in found} <= keeps


GONE_WITH_THE_FILE = frozenset((0x00020003, 0x00001000, 0x00001001, 0x00041511))
"""Of groups that a data set does not have."""


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: f"{rule.tag:08X}-{rule.basic.replace('/', '')}")
def test_each_row_does_what_its_code_says(rule):
    """X: absent. Z: there and empty. D: there, not empty, another value. U: another UID."""
    element, _ = planted(rule, 0)
    whole = el.with_text({rule.tag: element}, 0x00080016, b"UI", "1.2.840.10008.5.1.4.1.1.66")
    if rule.tag != 0x00080018:
        whole = el.with_text(whole, 0x00080018, b"UI", "1.2.3.4")
    if rule.tag == 0xFFFCFFFC:
        assert rule.without_options is Action.REMOVE
        return
    raw, _ = done(Anonymize("TRIAL7"), whole, project(dates="remove"))
    after = open_source(io.BytesIO(raw), must_decode=False).header.get(rule.tag)
    if rule.tag in (0x00100010, 0x00100020):
        assert after.value.strip() == b"P1"
        return
    if rule.tag >> 16 < 8:
        assert after is None
        return
    match rule.without_options:
        case Action.REMOVE:
            assert after is None or rule.tag == 0x00120064
        case Action.EMPTY:
            assert after.value == b""
        case Action.DUMMY:
            assert after.value not in (b"", element.value)
        case Action.UID:
            assert after.value.startswith(b"2.25.")
        case Action.REFERENCES:
            assert el.items(after)
            assert element.value not in after.value
        case other:
            pytest.fail(f"the table has the code {other}")


def test_the_table_is_whole():
    """Edition 2026c has these many rows; none is twice, and each code is one that is known."""
    assert len(RULES) == 652
    assert sum(rule.basic == "X" for rule in RULES.values()) > 400
    assert {code for rule in RULES.values() for code in rule.options.values()} == {"K", "C"}


def test_the_fingerprint_differs_with_the_rules():
    assert Project("A").fingerprint() != Project("A", dates="keep").fingerprint()
    assert Project("A").fingerprint() == Project("A").fingerprint()
